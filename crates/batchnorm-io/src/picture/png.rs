//! PNG, of every colour type and depth.
//!
//! The size is looked at before anything is decoded, and only the chunks that hold the picture are: a file takes twice its
//! bytes and, while it is decoded, three times those of its pixels: 410 MB were measured for [`MOST_PIXELS`] of 16-bit
//! colours with alpha, which end as 128 MiB.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_core::result::DecodingResult;
use zune_png::PngDecoder;

use super::defect::{Defect, Format, MOST_PIXELS};
use super::pixels::Picture;

/// How a file begins.
pub const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Length and name before a chunk's data, and the checksum behind it.
const CHUNK_FRAME: usize = 12;

/// Decodes a picture. Grey is spread to all three colours, a palette is looked up (an index beyond it is
/// black, as other programs have it), and depths below 16 bits are scaled so that full stays full.
///
/// # Errors
/// No PNG, cut off, too large, or broken (checksums included).
pub fn decode(bytes: &[u8]) -> Result<Picture, Defect> {
    let essence = essential_chunks(bytes)?;
    let options = DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .png_set_confirm_crc(true)
        .inflate_set_confirm_adler(true);
    let broken = |reason: String| Defect::Broken(Format::Png, reason.trim().trim_matches('"').to_owned());
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(&essence), options);
    let decoded = decoder.decode().map_err(|error| broken(error.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| broken(String::from("it has no size")))?;
    let samples: Vec<u16> = match decoded {
        // 255 times 257 is 65535.
        DecodingResult::U8(samples) => samples.into_iter().map(|sample| u16::from(sample) * 257).collect(),
        DecodingResult::U16(samples) => samples,
        _ => return Err(broken(String::from("its samples are no integers"))),
    };
    let full = u16::MAX;
    let pixels: Vec<[u16; 4]> = match decoder.colorspace() {
        Some(ColorSpace::Luma) => samples.iter().map(|&grey| [grey, grey, grey, full]).collect(),
        Some(ColorSpace::LumaA) => samples.as_chunks().0.iter().map(|&[grey, a]| [grey, grey, grey, a]).collect(),
        Some(ColorSpace::RGB) => samples.as_chunks().0.iter().map(|&[r, g, b]| [r, g, b, full]).collect(),
        Some(ColorSpace::RGBA) => samples.as_chunks().0.to_vec(),
        other => return Err(broken(format!("its colours are {other:?}"))),
    };
    if pixels.len() != width * height {
        return Err(broken(format!("{} pixels for {width} x {height}", pixels.len())));
    }
    Ok(Picture { width, height, pixels })
}

/// The file with those chunks alone that the pixels depend on; whole, of an allowed size, each chunk of a length its
/// kind can have. The decoder behind trusts some of that, and would inflate texts and profiles of any size.
fn essential_chunks(bytes: &[u8]) -> Result<Vec<u8>, Defect> {
    let (mut essence, mut rest) = (SIGNATURE.to_vec(), &bytes[SIGNATURE.len()..]);
    let mut header: Option<(u8, u8)> = None;
    let (mut palette, mut data) = (0, false);
    let broken = |reason: &str| Err(Defect::Broken(Format::Png, reason.to_owned()));
    loop {
        let Some((&length, _)) = rest.split_first_chunk::<4>() else {
            return Err(Defect::Truncated(Format::Png, bytes.len()));
        };
        let length = u32::from_be_bytes(length) as usize;
        let Some((chunk, after)) = length.checked_add(CHUNK_FRAME).and_then(|end| rest.split_at_checked(end)) else {
            return Err(Defect::Truncated(Format::Png, bytes.len()));
        };
        rest = after;
        let (name, content) = (&chunk[4..8], &chunk[8..8 + length]);
        if (name == b"IHDR") != header.is_none() {
            return broken("expected one header, at the beginning");
        }
        match (name, header) {
            (b"IHDR", _) => header = Some(check_header(content)?),
            (b"PLTE", _) if palette > 0 || data || !length.is_multiple_of(3) || !(3..=768).contains(&length) => {
                return broken("expected one palette of 1 to 256 colours, before the pixels");
            }
            (b"PLTE", _) => palette = length / 3,
            (b"tRNS", Some((_, colour))) => {
                let fits = match colour {
                    0 => length == 2,
                    2 => length == 6,
                    3 => (1..=palette).contains(&length),
                    _ => false,
                };
                if !fits || data {
                    return broken("its transparency does not fit its colours");
                }
            }
            (b"IDAT", Some((_, colour))) => {
                if colour == 3 && palette == 0 {
                    return broken("its palette is missing");
                }
                data = true;
            }
            (b"IEND", _) => {
                essence.extend(chunk);
                return if data { Ok(essence) } else { broken("it has no pixels") };
            }
            // A capital letter: nobody can draw the picture without it.
            _ if name[0].is_ascii_uppercase() => return broken("it has a chunk that this program does not know"),
            _ => continue,
        }
        essence.extend(chunk);
    }
}

/// Depth and colour type of a header with an allowed size and a pair of them that exists.
fn check_header(content: &[u8]) -> Result<(u8, u8), Defect> {
    let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, 0, 0, 0..=1] = content else {
        return Err(Defect::Broken(Format::Png, String::from("its header is malformed")));
    };
    let (width, height) = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
    match u64::from(width) * u64::from(height) {
        0 => return Err(Defect::Broken(Format::Png, format!("its size is {width} x {height}"))),
        1..=MOST_PIXELS => {}
        _ => return Err(Defect::Size(format!("{width} x {height} pixels"))),
    }
    match (colour, depth) {
        (0, 1 | 2 | 4 | 8 | 16) | (2 | 4 | 6, 8 | 16) | (3, 1 | 2 | 4 | 8) => Ok((depth, colour)),
        _ => Err(Defect::Broken(Format::Png, format!("there is no colour type {colour} of {depth} bits"))),
    }
}
