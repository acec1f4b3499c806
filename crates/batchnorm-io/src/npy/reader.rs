//! From bytes to an [`Array`].

use std::fs::{self, File, FileType};
use std::io::Read;
use std::path::Path;

use half::f16;

use super::array::{Array, BLOCK_BYTES, element_count, shown};
use super::defect::{Defect, NpyError};
use super::dtype::ByteOrder;
use super::header::{Header, MAGIC};
use super::number::{Number, NumberType, Numbers, WholeType};

/// Bytes of the longest header: NumPy itself reads no more than 10,000 of those it does not trust.
const MOST_HEADER: u64 = 1 << 20;

/// Reads the array in the file at `path`. Numbers of either byte order come out in the machine's.
///
/// The memory used is bounded by the size of the file (of whole numbers, eight times that), whatever shape its header
/// claims: sizes are compared before anything is allocated.
///
/// # Errors
/// [`NpyError`] with the path and one [`Defect`]: `path` can not be opened or is no regular file (a
/// pipe would have no end), the header is malformed, the numbers are of a kind that is not read
/// ([`NumberType`]), or the length of the file is not exactly that of its header and array.
///
/// ```
/// use batchnorm_io::npy;
///
/// let error = npy::read("Cargo.toml".as_ref()).unwrap_err();
/// assert!(error.to_string().starts_with("Cargo.toml: not a .npy file"));
/// ```
pub fn read(path: &Path) -> Result<Array, NpyError> {
    open(path).and_then(|(file, length)| decode(file, length)).map_err(|defect| NpyError::at(path, defect))
}

/// The shape of the array in the file at `path`, of which no more than the header is read: for whoever has a limit, and
/// asks before [`read`] takes memory.
///
/// # Errors
/// As [`read`].
pub fn shape(path: &Path) -> Result<Vec<usize>, NpyError> {
    let shape = |(file, length)| Ok(announced(&mut Measured::new(file, length))?.0.shape);
    open(path).and_then(shape).map_err(|defect| NpyError::at(path, defect))
}

/// Reads the array that `bytes`, the whole content of a file, holds.
///
/// # Errors
/// As [`read`], without a path.
///
/// ```
/// use batchnorm_io::npy::{self, Numbers};
///
/// let bytes = npy::encode(&[2, 1], &[0.5f64, 0.25])?;
/// let array = npy::parse(&bytes)?;
/// assert_eq!(array.shape, [2, 1]);
/// assert_eq!(array.numbers, Numbers::F64(vec![0.5, 0.25]));
/// # Ok::<(), npy::NpyError>(())
/// ```
pub fn parse(bytes: &[u8]) -> Result<Array, NpyError> {
    Ok(decode(bytes, bytes.len() as u64)?)
}

/// The file and its length.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Defect> {
    // Looked at before it is opened, because opening a pipe waits for a writer; and again after,
    // because only the open file is certain to be the one that is read.
    let cannot_open = |reason| Defect::Open { reason };
    expect_regular(fs::metadata(path).map_err(cannot_open)?.file_type())?;
    let file = File::open(path).map_err(cannot_open)?;
    let metadata = file.metadata().map_err(cannot_open)?;
    expect_regular(metadata.file_type())?;
    Ok((file, metadata.len()))
}

fn expect_regular(file_type: FileType) -> Result<(), Defect> {
    if file_type.is_file() {
        return Ok(());
    }
    let found = if file_type.is_dir() { "a folder" } else { "a pipe, socket or device" };
    Err(Defect::NotAFile { found })
}

/// Reads from `input`, which has `length` bytes; no more than that is read or allocated.
pub(crate) fn decode(input: impl Read, length: u64) -> Result<Array, Defect> {
    let mut input = Measured::new(input, length);
    let (header, count) = announced(&mut input)?;
    let numbers = match header.number_type {
        NumberType::F16 => input.numbers::<f16>(count, header.byte_order)?,
        NumberType::F32 => input.numbers::<f32>(count, header.byte_order)?,
        NumberType::F64 => input.numbers::<f64>(count, header.byte_order)?,
        NumberType::Whole(whole) => Numbers::Whole(whole, input.wholes(count, whole, header.byte_order)?),
    };
    Ok(Array { shape: header.shape, fortran_order: header.fortran_order, numbers })
}

/// The header, and how many numbers follow, which the length is known to hold.
pub(super) fn announced(input: &mut Measured<impl Read>) -> Result<(Header, usize), Defect> {
    let length = input.length;
    let start = length.min(MAGIC.len() as u64) as usize;
    let magic = input.take(start as u64, "magic number")?;
    if magic != MAGIC[..start] {
        return Err(Defect::Magic { found: magic });
    }
    input.require((MAGIC.len() - start) as u64, "magic number")?;

    let version = input.take(2, "version")?;
    let (major, minor) = (version[0], version[1]);
    let length_bytes = match (major, minor) {
        (1, 0) => 2,
        (2, 0) | (3, 0) => 4,
        _ => return Err(Defect::Version { major, minor }),
    };
    let header_length =
        input.take(length_bytes, "header length")?.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
    input.require(header_length, "header")?;
    if header_length > MOST_HEADER {
        return Err(Defect::LongHeader { length: header_length });
    }
    let header = Header::parse(&input.take(header_length, "header")?, major)?;

    let bytes_each = header.number_type.size();
    let count = element_count(&header.shape, bytes_each)
        .ok_or_else(|| Defect::TooLarge { shape: shown(&header.shape), bytes_each })?;
    let data_bytes = (count * bytes_each) as u64;
    input.require(data_bytes, "data")?;
    let expected = input.position + data_bytes;
    if length > expected {
        return Err(Defect::Trailing { shape: shown(&header.shape), expected, found: length });
    }
    Ok((header, count))
}

/// A source of known length. Asks for no memory before it knows that there are bytes to fill it.
pub(super) struct Measured<R> {
    input: R,
    length: u64,
    position: u64,
}

impl<R> Measured<R> {
    /// A source of so many bytes, at its beginning.
    pub fn new(input: R, length: u64) -> Measured<R> {
        Measured { input, length, position: 0 }
    }

    /// Bytes that were read.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl<R: Read> Measured<R> {
    fn require(&self, bytes: u64, part: &'static str) -> Result<(), Defect> {
        // Both terms are far below 2^63: a position inside a file, and a header of 32 bits or an
        // array that `element_count` has bounded.
        let expected = self.position + bytes;
        if expected > self.length {
            return Err(Defect::Truncated { part, expected, found: self.length });
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64, part: &'static str) -> Result<Vec<u8>, Defect> {
        self.require(bytes, part)?;
        let mut taken = reserve(bytes as usize, 1)?;
        taken.resize(bytes as usize, 0);
        self.fill(&mut taken)?;
        Ok(taken)
    }

    fn numbers<T: Number>(&mut self, count: usize, order: ByteOrder) -> Result<Numbers, Defect> {
        let bytes_each = T::TYPE.size();
        let mut values: Vec<T> = reserve(count, bytes_each)?;
        let mut block = vec![0; BLOCK_BYTES.min(count * bytes_each)];
        while values.len() < count {
            let bytes = block.len().min((count - values.len()) * bytes_each);
            self.fill(&mut block[..bytes])?;
            match order {
                ByteOrder::Little => T::append_little(&mut values, &block[..bytes]),
                ByteOrder::Big => T::append_big(&mut values, &block[..bytes]),
            }
        }
        Ok(T::wrap(values))
    }

    fn wholes(&mut self, count: usize, whole: WholeType, order: ByteOrder) -> Result<Vec<i64>, Defect> {
        let bytes_each = NumberType::Whole(whole).size();
        let mut values: Vec<i64> = reserve(count, size_of::<i64>())?;
        let mut block = vec![0; BLOCK_BYTES.min(count * bytes_each)];
        while values.len() < count {
            let bytes = block.len().min((count - values.len()) * bytes_each);
            self.fill(&mut block[..bytes])?;
            for number in block[..bytes].chunks_exact_mut(bytes_each) {
                if order == ByteOrder::Big {
                    number.reverse();
                }
                values.push(whole.number(number).ok_or(Defect::HugeWhole { at: values.len() })?);
            }
        }
        Ok(values)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Defect> {
        self.input.read_exact(bytes).map_err(|reason| Defect::Read { reason })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Room for `count` values, or an error where a plain allocation would end the program.
pub(super) fn reserve<T>(count: usize, bytes_each: usize) -> Result<Vec<T>, Defect> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Defect::Memory { bytes: count as u64 * bytes_each as u64 })?;
    Ok(values)
}
