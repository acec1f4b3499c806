//! An array of a file, and what its shape comes to.

use super::defect::excerpt;
use super::number::Numbers;

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
pub(super) const BLOCK_BYTES: usize = 64 * 1024;

/// The number of elements of `shape`, or `None` where the array would not fit the address space.
///
/// As in NumPy an axis of length 0 does not excuse the others: `(0, 10**12, 10**12)` is refused,
/// so that whoever multiplies some of the axes later need not fear an overflow.
pub(super) fn element_count(shape: &[usize], bytes_each: usize) -> Option<usize> {
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
pub(super) fn python_tuple(shape: &[usize]) -> String {
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
pub(super) fn shown(shape: &[usize]) -> String {
    excerpt(&python_tuple(shape))
}
