//! Pictures, PNG or JPEG, as red, green, blue and alpha in 16 bits; and pictures of another size. [`look`] tells the size without decoding.
//!
//! What a file is, its first bytes say, whatever its name.

mod defect;
mod jpeg;
mod look;
mod pixels;
mod png;
mod reader;

pub use defect::{Defect, Format, MOST_BYTES, MOST_PIXELS, PictureError};
pub use look::{Look, look};
pub use pixels::{Filter, Picture};
pub use reader::{decode, read};
