//! What a picture's file says of it, found without decoding the pixels.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::defect::{MOST_BYTES, MOST_PIXELS, PictureError};
use super::{jpeg, png, reader};
use crate::whole;

/// Parts of a file that are looked at before its size is said; those of real pictures are some dozen.
const MOST_PARTS: usize = 10_000;

/// What a picture's file says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Whether it may have pixels that are not opaque.
    pub transparent: bool,
    /// Whether a camera noted (as EXIF) that the picture is to be turned or mirrored, which no reader of this module does.
    pub turned: bool,
}

/// Looks at the picture in a file, of which as a rule no more than the beginning is read; where it is not clear from that, the picture is
/// decoded.
///
/// # Errors
/// As [`read`](super::read). A file that is damaged behind its beginning is not told from a good one here.
pub fn look(path: &Path) -> Result<Look, PictureError> {
    let parts = || -> io::Result<Option<Look>> {
        let file = whole::open(path)?;
        let length = file.metadata()?.len();
        if length > MOST_BYTES {
            return Ok(None);
        }
        let mut parts = Parts { file: BufReader::with_capacity(1 << 12, file), left: MOST_PARTS };
        let begin = parts.bytes::<3>()?;
        match begin {
            jpeg::SIGNATURE => parts.of_jpeg(),
            _ if png::SIGNATURE.starts_with(&begin) && parts.bytes::<5>()? == png::SIGNATURE[3..] => parts.of_png(),
            _ => Ok(None),
        }
    };
    // Whatever is odd about the file, its reader says it better, or can do with it.
    let sensible = |look: &Look| (1..=MOST_PIXELS).contains(&(look.width as u64 * look.height as u64));
    if let Some(look) = parts().ok().flatten().filter(sensible) {
        return Ok(look);
    }
    let picture = reader::read(path)?;
    let transparent = picture.pixels.iter().any(|pixel| pixel[3] != u16::MAX);
    Ok(Look { width: picture.width, height: picture.height, transparent, turned: false })
}

/// The parts of a file, chunks or segments, one after the other.
struct Parts {
    file: BufReader<File>,
    left: usize,
}

impl Parts {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn content(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file.by_ref().take(length).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Whether another part may be looked at.
    fn next(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    /// The chunks of a PNG up to its pixels, behind its signature.
    fn of_png(&mut self) -> io::Result<Option<Look>> {
        let mut look = None;
        while self.next() {
            let length = u64::from(u32::from_be_bytes(self.bytes()?));
            let name = self.bytes::<4>()?;
            match (&name, &mut look) {
                (b"IHDR", None) if length == 13 => {
                    let side = |bytes: [u8; 4]| u32::from_be_bytes(bytes) as usize;
                    let (width, height) = (side(self.bytes()?), side(self.bytes()?));
                    let [_, colour, ..] = self.bytes::<5>()?;
                    look = Some(Look { width, height, transparent: matches!(colour, 4 | 6), turned: false });
                }
                (b"IDAT" | b"IEND", _) | (_, None) => return Ok(look),
                (b"eXIf", Some(look)) if length <= 1 << 16 => look.turned = turns(&self.content(length)?),
                (name, Some(look)) => {
                    look.transparent |= *name == *b"tRNS";
                    self.file.seek_relative(length as i64)?;
                }
            }
            // The checksum, at which the reader looks.
            self.file.seek_relative(4)?;
        }
        Ok(None)
    }

    /// The segments of a JPEG up to the one that says the size, behind the first three bytes.
    fn of_jpeg(&mut self) -> io::Result<Option<Look>> {
        // The third byte began the first segment.
        self.file.seek(SeekFrom::Start(2))?;
        let mut turned = false;
        while self.next() {
            let [0xff, mut marker] = self.bytes::<2>()? else { return Ok(None) };
            while marker == 0xff && self.next() {
                [marker] = self.bytes()?;
            }
            let length = u64::from(u16::from_be_bytes(self.bytes()?)).saturating_sub(2);
            match marker {
                // Where frames begin; three numbers between them are tables.
                0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                    let [_, h0, h1, w0, w1] = self.bytes::<5>()?;
                    let side = |bytes: [u8; 2]| usize::from(u16::from_be_bytes(bytes));
                    let (height, width) = (side([h0, h1]), side([w0, w1]));
                    return Ok(Some(Look { width, height, transparent: false, turned }));
                }
                0xe1 => {
                    if let Some(exif) = self.content(length)?.strip_prefix(b"Exif\0\0") {
                        turned |= turns(exif);
                    }
                }
                // Numbers that have no segment, or the pixels.
                0x00..=0x01 | 0xd0..=0xda => return Ok(None),
                _ => self.file.seek_relative(length as i64)?,
            }
        }
        Ok(None)
    }
}

/// Whether EXIF's orientation is another one than the usual: its fields are those of a TIFF file.
fn turns(exif: &[u8]) -> bool {
    const ORIENTATION: u64 = 0x0112;
    let little = exif.starts_with(b"II");
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let bytes = exif.get(at..at.checked_add(bytes)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
    };
    let orientation = || {
        let first = number(4, 4)? as usize;
        let fields = number(first, 2)? as usize;
        let field = (0..fields)
            .map(|field| first.saturating_add(2 + 12 * field))
            .find(|&at| number(at, 2) == Some(ORIENTATION))?;
        number(field.saturating_add(8), 2)
    };
    orientation().is_some_and(|orientation| (2..=8).contains(&orientation))
}
