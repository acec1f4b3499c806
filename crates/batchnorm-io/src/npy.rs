//! One array in NumPy's `.npy` format, versions 1.0, 2.0 and 3.0.
//!
//! ```text
//! bytes   what
//! 6       93 'N' 'U' 'M' 'P' 'Y'
//! 2       version, major and minor
//! 2 or 4  h, the length of the header, little endian (2 bytes in version 1.0, else 4)
//! h       {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   spaces, newline
//! n * s   the numbers: n = the product of the shape (1 for `()`), s = 2, 4 or 8 bytes each
//! ```
//!
//! The format is described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//! [`read`] and [`parse`] accept exactly that length, not a byte less or more; [`write()`] and
//! [`encode`] give byte for byte what `np.save` gives for a contiguous array in C order.

pub(crate) mod defect;
mod dtype;
mod header;
mod literal;
mod number;
mod reader;
mod writer;

pub use defect::{Defect, NpyError};
pub use number::{Number, NumberType, Numbers};
pub(crate) use reader::{decode, open};
pub use reader::{parse, read, shape};
pub(crate) use writer::header_for;
pub use writer::{encode, write};

/// An array as its file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The length of each axis. Empty for a single number (rank 0).
    ///
    /// The product of the axes that are not 0 is known to fit into `isize`, in bytes, so products of
    /// some of the axes do not overflow.
    pub shape: Vec<usize>,
    /// Which axis is adjacent in [`numbers`](Self::numbers): the last one (`false`, C order) or the
    /// first one (`true`, Fortran order).
    pub fortran_order: bool,
    /// The numbers in the order of the file; as many as the product of `shape`.
    pub numbers: Numbers,
}

/// Bytes converted at a time: enough to make a system call cheap, a multiple of every number's size.
const BLOCK_BYTES: usize = 64 * 1024;

/// The number of elements of `shape`, or `None` where the array would not fit the address space.
///
/// As in NumPy an axis of length 0 does not excuse the others: `(0, 10**12, 10**12)` is refused,
/// so that whoever multiplies some of the axes later need not fear an overflow.
fn element_count(shape: &[usize], bytes_each: usize) -> Option<usize> {
    let mut bytes = bytes_each;
    for &length in shape.iter().filter(|&&length| length != 0) {
        bytes = bytes.checked_mul(length)?;
    }
    if isize::try_from(bytes).is_err() {
        None
    } else if shape.contains(&0) {
        Some(0)
    } else {
        Some(bytes / bytes_each)
    }
}

/// The shape as Python writes a tuple: `()`, `(3,)`, `(2, 3)`.
fn python_tuple(shape: &[usize]) -> String {
    let mut text = String::from("(");
    for (axis, length) in shape.iter().enumerate() {
        if axis > 0 {
            text.push_str(", ");
        }
        text.push_str(&length.to_string());
    }
    // What makes a tuple of one number in brackets.
    text.push_str(if shape.len() == 1 { ",)" } else { ")" });
    text
}

/// The shape in a message: as Python writes it, its beginning if it has very many axes.
fn shown(shape: &[usize]) -> String {
    defect::excerpt(&python_tuple(shape))
}
