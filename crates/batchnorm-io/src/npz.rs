//! Several arrays in one file, NumPy's `.npz`: a zip archive of `.npy` files, stored or deflated.
//!
//! ```text
//! name.npy   one member for each array `name`, its bytes those of [`npy`](crate::npy)
//! ```
//!
//! [`Npz::open`] reads the directory and checks all that can be checked without the arrays: names, duplicates, methods,
//! sizes, members that share bytes. [`Npz::array`] reads one array, and checks its length and its checksum.
//! [`Writer`] writes archives that have the same bytes whenever they have the same arrays.
//!
//! An archive of a few bytes may claim, and hold, arrays without end. Nothing is allocated for what could not come out of
//! the bytes there are (deflate makes at most 1032 bytes of one), and nothing beyond a limit: [`LIMIT`], or the
//! caller's own.
//!
//! The formats: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html> and
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.

mod defect;
mod directory;
mod limits;
mod reader;
mod writer;

pub use defect::{NpzDefect, NpzError};
pub use limits::LIMIT;
pub use reader::Npz;
pub use writer::{Packing, Writer};
