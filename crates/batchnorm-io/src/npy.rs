//! One array in NumPy's `.npy` format, versions 1.0, 2.0 and 3.0.
//!
//! ```text
//! bytes   what
//! 6       93 'N' 'U' 'M' 'P' 'Y'
//! 2       version, major and minor
//! 2 or 4  h, the length of the header, little endian (2 bytes in version 1.0, else 4)
//! h       {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   spaces, newline
//! n * s   the numbers: n = the product of the shape (1 for `()`), s = 1, 2, 4 or 8 bytes each
//! ```
//!
//! The format is described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//! [`Rows`] reads parts of an array, along its first axis. [`read`] and [`parse`] accept exactly that length, not a byte less or more; [`write()`] and
//! [`encode`] give byte for byte what `np.save` gives for a contiguous array in C order.

mod array;
pub(crate) mod defect;
mod dtype;
mod header;
mod literal;
mod number;
mod reader;
mod rows;
mod writer;

pub use array::Array;
pub use defect::{Defect, NpyError};
pub use number::{Number, NumberType, Numbers, WholeType};
pub(crate) use reader::{decode, open};
pub use reader::{parse, read, shape};
pub use rows::Rows;
pub(crate) use rows::Stored;
pub(crate) use writer::header_for;
pub use writer::{encode, write};
