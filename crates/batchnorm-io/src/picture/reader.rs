//! Reading of pictures of any format.

use std::path::Path;

use super::defect::{Defect, Format, MOST_BYTES, PictureError};
use super::pixels::Picture;
use super::{jpeg, png};
use crate::whole;

/// Reads the picture in a file.
///
/// # Errors
/// [`PictureError`], with the path: the file cannot be read, or what [`decode`] says.
pub fn read(path: &Path) -> Result<Picture, PictureError> {
    let decoded = whole::read(path, MOST_BYTES).map_err(Defect::Read).and_then(|bytes| decode(&bytes));
    decoded.map_err(|defect| PictureError { path: path.to_path_buf(), defect })
}

/// Decodes a picture. Grey is spread to all three colours, a palette is looked up (an index beyond it is
/// black, as other programs have it), and depths below 16 bits are scaled so that full stays full.
///
/// # Errors
/// No PNG or JPEG, cut off, too large, or broken (checksums of a PNG included).
pub fn decode(bytes: &[u8]) -> Result<Picture, Defect> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Defect::Size(format!("over {MOST_BYTES} bytes")));
    }
    let begins = |signature: &[u8]| bytes.starts_with(signature);
    let cut = |signature: &[u8]| !bytes.is_empty() && signature.starts_with(bytes);
    match () {
        () if begins(&png::SIGNATURE) => png::decode(bytes),
        () if begins(&jpeg::SIGNATURE) => jpeg::decode(bytes),
        () if cut(&png::SIGNATURE) => Err(Defect::Truncated(Format::Png, bytes.len())),
        () if cut(&jpeg::SIGNATURE) => Err(Defect::Truncated(Format::Jpeg, bytes.len())),
        () => Err(Defect::Signature),
    }
}
