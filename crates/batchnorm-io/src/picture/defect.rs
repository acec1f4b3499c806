//! What can be wrong with a picture.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Pixels of the largest picture that is read: 4096 x 4096.
pub const MOST_PIXELS: u64 = 1 << 24;
/// Bytes of the largest file that is read: 256 MiB, more than the largest picture takes without compression.
pub const MOST_BYTES: u64 = 1 << 28;

/// A picture that could not be read: which, and why.
#[derive(Debug, Error)]
#[error("{}: {defect}", path.display())]
pub struct PictureError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub defect: Defect,
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// That of the Joint Photographic Experts Group.
    Jpeg,
}

/// Its usual name.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
        })
    }
}

/// What is wrong with a picture.
#[derive(Debug, Error)]
pub enum Defect {
    /// The file cannot be opened or read, or is a folder, pipe or device.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It begins as none of the formats does.
    #[error("expected a PNG or JPEG picture, got a file that does not begin as one; export it as PNG")]
    Signature,
    /// It ends too soon.
    #[error("the {0} picture is cut off after {1} bytes; fetch or save it again")]
    Truncated(Format, usize),
    /// More pixels or bytes than are read.
    #[error("expected at most {MOST_PIXELS} pixels and {MOST_BYTES} bytes, got {0}; make the picture smaller")]
    Size(String),
    /// It begins as the format does, but breaks its rules.
    #[error("the {0} picture is broken: {1}; fetch or save it again")]
    Broken(Format, String),
}
