//! IDX arrays of unsigned bytes, the format of MNIST and its kin: two zero bytes, the type, the rank, each length in 32 bits (the
//! highest byte first), then the numbers, the last axis fastest. Packed by gzip or not.
//!
//! An array that is not packed stays on disk, and is read item by item. One that is packed is unpacked into memory, no further
//! than its header says and the caller allows.

use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use crate::items::{Items, Place, Unread};
use crate::whole;

/// Axes of the array with the most: a picture's rows, columns and colours, by samples, and some.
const MOST_AXES: usize = 8;
/// The type of unsigned bytes.
const UNSIGNED_BYTES: u8 = 0x08;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An array whose items, the parts along its first axis, are read one by one.
#[derive(Debug)]
pub struct Idx {
    path: PathBuf,
    shape: Vec<usize>,
    items: Items,
}

/// An array that could not be read: which, and why.
#[derive(Debug, Error)]
#[error("{}: {defect}", path.display())]
pub struct IdxError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with an IDX file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Defect {
    /// The file cannot be opened or read, or is a folder, pipe or device.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It does not begin as an IDX file does.
    #[error(
        "expected an IDX file, which begins with two zero bytes, a type and a rank, got {0}; is it another format?"
    )]
    Magic(String),
    /// Numbers of another type.
    #[error("expected unsigned bytes (type 0x08), got type {0:#04x}; save pictures and labels as bytes")]
    Type(u8),
    /// No axis, or too many.
    #[error("expected 1 to {MOST_AXES} axes, got {0}; is it another format?")]
    Rank(usize),
    /// Lengths whose product no file can hold.
    #[error("expected an array that a file can hold, got one of shape {0:?}; its header is broken")]
    Size(Vec<u32>),
    /// More or fewer bytes than the header says.
    #[error(
        "its header says shape {shape:?}, {expected} bytes, and {got} follow it; {}",
        if got < expected { "it is cut off, fetch it again" } else { "it is broken, or another format" }
    )]
    Length {
        /// The shape in the header.
        shape: Vec<usize>,
        /// Bytes of that shape.
        expected: u64,
        /// Bytes behind the header; of a packed file at most one more than expected.
        got: u64,
    },
    /// A packed array that takes more memory than is allowed.
    #[error(
        "expected a packed array of at most {most} bytes, got one of {got}; unpack it (gunzip), so that it can stay on disk"
    )]
    Memory {
        /// The largest number of bytes.
        most: u64,
        /// The bytes that it takes.
        got: u64,
    },
    /// gzip says that the file is damaged.
    #[error("gzip cannot unpack it: {0}; it is damaged or cut off, fetch it again")]
    Packed(io::Error),
    /// Items that the array does not have.
    #[error("expected items before {items}, got {first} and {count} from there on")]
    Items {
        /// Number of items.
        items: usize,
        /// The first one asked for.
        first: usize,
        /// Number of items asked for.
        count: usize,
    },
}

impl Idx {
    /// Opens an array. One that is packed is unpacked here, into at most `most` bytes.
    ///
    /// # Errors
    /// [`IdxError`], with the path: the file cannot be read, is no IDX file of unsigned bytes, is longer or shorter than its header
    /// says, or takes more than `most` bytes unpacked.
    pub fn open(path: &Path, most: u64) -> Result<Idx, IdxError> {
        let named = |defect| IdxError { path: path.to_path_buf(), defect };
        let (shape, place) = open(path, most).map_err(named)?;
        let items = Items { count: shape[0], bytes: shape[1..].iter().product(), place };
        Ok(Idx { path: path.to_path_buf(), shape, items })
    }

    /// The shape, as the header has it.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of items: the length of the first axis.
    pub fn items(&self) -> usize {
        self.items.count
    }

    /// Bytes of an item: the product of the other lengths.
    pub fn item_bytes(&self) -> usize {
        self.items.bytes
    }

    /// Reads as many items as `into` has room for, from item `first` on.
    ///
    /// # Errors
    /// Items that there are not, `into` of no whole number of items among them; a file that cannot be read any more.
    pub fn read(&mut self, first: usize, into: &mut [u8]) -> Result<(), IdxError> {
        self.items.read(first, into).map_err(|unread| {
            let defect = match unread {
                Unread::Absent(count) => Defect::Items { items: self.items.count, first, count },
                Unread::System(error) => Defect::Read(error),
            };
            IdxError { path: self.path.clone(), defect }
        })
    }
}

/// The shape, and where the numbers are.
fn open(path: &Path, most: u64) -> Result<(Vec<usize>, Place), Defect> {
    let mut file = whole::open(path)?;
    let mut begin = Vec::new();
    file.by_ref().take(GZIP.len() as u64).read_to_end(&mut begin)?;
    file.rewind()?;
    if begin != GZIP {
        let length = file.metadata()?.len();
        let shape = header(&mut file)?;
        let (offset, expected) = (file.stream_position()?, bytes_of(&shape));
        let got = length.saturating_sub(offset);
        return match got == expected {
            true => Ok((shape, Place::OnDisk(file, offset))),
            false => Err(Defect::Length { shape, expected, got }),
        };
    }
    let packed = |defect| match defect {
        Defect::Read(error) => Defect::Packed(error),
        other => other,
    };
    let mut unpacked = MultiGzDecoder::new(BufReader::new(file));
    let shape = header(&mut unpacked).map_err(packed)?;
    let expected = bytes_of(&shape);
    if expected > most {
        return Err(Defect::Memory { most, got: expected });
    }
    let mut numbers = Vec::new();
    unpacked.take(expected + 1).read_to_end(&mut numbers).map_err(Defect::Packed)?;
    let got = numbers.len() as u64;
    if got != expected {
        return Err(Defect::Length { shape, expected, got });
    }
    Ok((shape, Place::InMemory(numbers)))
}

/// The shape in a header, of which the product of the lengths is below 2^63.
fn header(from: &mut impl Read) -> Result<Vec<usize>, Defect> {
    let mut magic = Vec::new();
    from.by_ref().take(4).read_to_end(&mut magic)?;
    let &[0, 0, number_type, rank] = &magic[..] else {
        let got = if magic.len() < 4 { format!("{} bytes in all", magic.len()) } else { format!("{magic:02x?}") };
        return Err(Defect::Magic(got));
    };
    match number_type {
        UNSIGNED_BYTES => {}
        // The other types that there are.
        0x09 | 0x0b..=0x0e => return Err(Defect::Type(number_type)),
        _ => return Err(Defect::Magic(format!("{magic:02x?}"))),
    }
    if !(1..=MOST_AXES).contains(&usize::from(rank)) {
        return Err(Defect::Rank(usize::from(rank)));
    }
    let mut lengths = vec![0u32; usize::from(rank)];
    for length in &mut lengths {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Defect::Magic(String::from("a file that ends in its header")),
            _ => Defect::Read(error),
        })?;
        *length = u32::from_be_bytes(bytes);
    }
    let product = lengths.iter().try_fold(1u64, |product, &length| product.checked_mul(length.into()));
    if product.is_none_or(|product| product > i64::MAX as u64) {
        return Err(Defect::Size(lengths));
    }
    Ok(lengths.into_iter().map(|length| length as usize).collect())
}

/// Bytes of an array whose header was read.
fn bytes_of(shape: &[usize]) -> u64 {
    shape.iter().map(|&length| length as u64).product()
}
