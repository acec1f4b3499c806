//! JPEG, baseline and progressive, grey, in colours or in CMYK.
//!
//! The size is looked at before anything is decoded. A file that ends too soon is refused, where other programs fill in grey. What was
//! damaged otherwise cannot be told, for the format has no checksums. The orientation that a camera notes is left alone, as PIL and
//! torchvision leave it.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::defect::{Defect, Format, MOST_PIXELS};
use super::pixels::Picture;

/// How a file begins.
pub const SIGNATURE: [u8; 3] = *b"\xff\xd8\xff";
const START_OF_SCAN: [u8; 2] = *b"\xff\xda";
const END_OF_IMAGE: [u8; 2] = *b"\xff\xd9";

/// Decodes a picture.
///
/// # Errors
/// Cut off, too large, or broken.
pub fn decode(bytes: &[u8]) -> Result<Picture, Defect> {
    let options = DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let broken = |reason: String| match reason.contains("Exhausted data") {
        true => Defect::Truncated(Format::Jpeg, bytes.len()),
        false => Defect::Broken(Format::Jpeg, reason.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    // The decoder does without the last few bytes. What ends a picture stands behind the beginning of its last scan, for pixels have no
    // such bytes.
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    if last(END_OF_IMAGE) < last(START_OF_SCAN) {
        return Err(Defect::Truncated(Format::Jpeg, bytes.len()));
    }
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| broken(error.to_string()))?;
    let info = decoder.info().ok_or_else(|| broken(String::from("it has no size")))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    match (width as u64) * (height as u64) {
        0 => return Err(broken(format!("its size is {width} x {height}"))),
        1..=MOST_PIXELS => {}
        _ => return Err(Defect::Size(format!("{width} x {height} pixels"))),
    }
    let samples = decoder.decode().map_err(|error| broken(error.to_string()))?;
    let (pixels, rest) = samples.as_chunks();
    if pixels.len() != width * height || !rest.is_empty() {
        return Err(broken(format!("{} samples for {width} x {height}", samples.len())));
    }
    // 255 times 257 is 65535.
    let wide = |sample: u8| u16::from(sample) * 257;
    let pixels = pixels.iter().map(|&[r, g, b]| [wide(r), wide(g), wide(b), u16::MAX]).collect();
    Ok(Picture { width, height, pixels })
}
