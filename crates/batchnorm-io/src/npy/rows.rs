//! An array that stays in its file, and is read row by row.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
// (Reads at a place of a file, whoever else does so at the same time, on every system.)
use rawzip::{FileReader, ReaderAt};

use super::array::{BLOCK_BYTES, shown};
use super::defect::{Defect, NpyError};
use super::dtype::ByteOrder;
use super::number::{NumberType, layout::Layout};
use super::reader::{self, Measured};

/// An array whose rows, the parts along its first axis, are read when they are asked for: memory does not grow with the file. Several
/// threads may read at once.
///
/// ```
/// use batchnorm_io::npy::{self, Rows};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("x.npy");
/// std::fs::write(&path, npy::encode(&[3, 2], &[0.5f64, 1.0, 1.5, 2.0, 2.5, 3.0])?)?;
/// let rows = Rows::open(&path)?;
/// assert_eq!((rows.shape(), rows.read(1..3)?), (&[3, 2][..], vec![1.5f32, 2.0, 2.5, 3.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Rows {
    path: Option<PathBuf>,
    shape: Vec<usize>,
    number_type: NumberType,
    order: ByteOrder,
    /// Numbers of a row.
    row: usize,
    /// The place of the first number behind the beginning of `stored`.
    first: u64,
    stored: Stored,
}

/// Where the bytes of a `.npy` file are: in a part of a file, or in memory.
#[derive(Debug)]
pub(crate) struct Stored {
    source: Source,
    /// The first byte, and how many there are.
    start: u64,
    length: u64,
}

#[derive(Debug)]
enum Source {
    File(Arc<FileReader>),
    Memory(Vec<u8>),
}

impl Rows {
    /// Opens the array in the file at `path`, of which no more than the header is read.
    ///
    /// # Errors
    /// As [`read`](super::read); a single number, or an array in Fortran order (but for one of a single axis longer than 1, whose order is
    /// the same).
    pub fn open(path: &Path) -> Result<Rows, NpyError> {
        let opened = reader::open(path).and_then(|(file, length)| {
            Rows::of(Stored { source: Source::File(Arc::new(FileReader::from(file))), start: 0, length })
        });
        let opened = opened.map_err(|defect| NpyError::at(path, defect))?;
        Ok(Rows { path: Some(path.to_path_buf()), ..opened })
    }

    /// The array whose bytes are there.
    pub(crate) fn of(stored: Stored) -> Result<Rows, Defect> {
        let mut input = Measured::new(Reading { stored: &stored, at: 0 }, stored.length);
        let (header, count) = reader::announced(&mut input)?;
        let first = input.position();
        let shape = header.shape;
        let Some(&rows) = shape.first() else { return Err(Defect::NoRows) };
        if header.fortran_order && shape.iter().filter(|&&length| length > 1).count() > 1 {
            return Err(Defect::FortranOrder { shape: shown(&shape) });
        }
        let row = count.checked_div(rows).unwrap_or(0);
        let (number_type, order) = (header.number_type, header.byte_order);
        Ok(Rows { path: None, shape, number_type, order, row, first, stored })
    }

    /// The length of each axis, one at least.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What kind of number the file holds.
    pub fn number_type(&self) -> NumberType {
        self.number_type
    }

    /// Reads rows, one behind another, as single precision: doubles and whole numbers become the nearest single (ties to even), which is
    /// infinite where a double is beyond all singles.
    ///
    /// # Errors
    /// Rows that there are not; what the system says, or a file that has shrunk; a whole number that no signed number of 64 bits holds; no
    /// memory for so many.
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, NpyError> {
        self.numbers(rows).map_err(|defect| NpyError { path: self.path.clone(), defect })
    }

    fn numbers(&self, rows: Range<usize>) -> Result<Vec<f32>, Defect> {
        let all = self.shape[0];
        if rows.start > rows.end || rows.end > all {
            return Err(Defect::Rows { rows: all, first: rows.start, end: rows.end });
        }
        // (No product overflows: those of all rows are bytes of the file.)
        let each = self.number_type.size();
        let count = rows.len() * self.row;
        let mut values = reader::reserve(count, size_of::<f32>())?;
        let mut block = vec![0; BLOCK_BYTES.min(count * each)];
        let mut at = self.first + (rows.start * self.row * each) as u64;
        while values.len() < count {
            let bytes = block.len().min((count - values.len()) * each);
            self.stored.read_exact(&mut block[..bytes], at).map_err(|reason| Defect::Read { reason })?;
            let before = rows.start * self.row + values.len();
            self.append(&mut values, &mut block[..bytes], before)?;
            at += bytes as u64;
        }
        Ok(values)
    }

    /// Appends the numbers that `bytes` hold, of which `before` are in front in the file.
    fn append(&self, values: &mut Vec<f32>, bytes: &mut [u8], before: usize) -> Result<(), Defect> {
        let each = self.number_type.size();
        if self.order == ByteOrder::Big {
            bytes.chunks_exact_mut(each).for_each(<[u8]>::reverse);
        }
        match self.number_type {
            NumberType::F16 => {
                values.extend(bytes.as_chunks().0.iter().map(|&number| f16::from_le_bytes(number).to_f32()))
            }
            NumberType::F32 => f32::append_little(values, bytes),
            NumberType::F64 => {
                values.extend(bytes.as_chunks().0.iter().map(|&number| f64::from_le_bytes(number) as f32))
            }
            NumberType::Whole(whole) => {
                for (at, number) in bytes.chunks_exact(each).enumerate() {
                    let number = whole.number(number).ok_or(Defect::HugeWhole { at: before + at })?;
                    values.push(number as f32);
                }
            }
        }
        Ok(())
    }
}

impl Stored {
    /// In a part of a file.
    pub fn in_file(reader: Arc<FileReader>, start: u64, length: u64) -> Stored {
        Stored { source: Source::File(reader), start, length }
    }

    /// In memory, all of it.
    pub fn in_memory(bytes: Vec<u8>) -> Stored {
        Stored { start: 0, length: bytes.len() as u64, source: Source::Memory(bytes) }
    }

    /// Reads as many bytes as `into` has room for, from a place on that is counted from the first byte; all of them are there.
    fn read_exact(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match &self.source {
            Source::File(reader) => reader.read_exact_at(into, self.start + at),
            Source::Memory(bytes) => bytes.read_exact_at(into, self.start + at),
        }
    }
}

/// The bytes from their beginning on, for the header.
struct Reading<'s> {
    stored: &'s Stored,
    at: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.stored.length - self.at).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        self.stored.read_exact(&mut into[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
