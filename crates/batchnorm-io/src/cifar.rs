//! The published binary batches of CIFAR-10 and CIFAR-100: records of a fixed length, each some labels of a byte and 32 x 32 pixels,
//! first all red ones, then green, then blue, row by row. There is no header: the length tells the number of records.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::items::{Items, Place, Unread};
use crate::whole;

/// Colours, rows and columns of a picture.
pub const SHAPE: [usize; 3] = [3, 32, 32];
/// Bytes of a picture.
pub const PICTURE_BYTES: usize = 3 * 32 * 32;

/// A file of records, which are read as they are asked for.
#[derive(Debug)]
pub struct Batch {
    path: PathBuf,
    records: Items,
}

/// A batch that could not be read: which, and why.
#[derive(Debug, Error)]
#[error("{}: {defect}", path.display())]
pub struct BatchError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with a batch.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Defect {
    /// The file cannot be opened or read, or is a folder, pipe or device.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// No whole number of records.
    #[error(
        "expected records of {record} bytes ({labels} of labels, {PICTURE_BYTES} of pixels), got a file of {got} bytes; it is cut off, or of \
         another format (the binary version is meant, not the one for Python)"
    )]
    Length {
        /// Bytes of labels.
        labels: usize,
        /// Bytes of a record.
        record: usize,
        /// Bytes of the file.
        got: u64,
    },
    /// Records that the batch does not have.
    #[error("expected records before {records}, got {first} and {count} from there on")]
    Records {
        /// Number of records.
        records: usize,
        /// The first one asked for.
        first: usize,
        /// Number of records asked for.
        count: usize,
    },
}

impl Batch {
    /// Opens a batch with so many labels a record: 1 in CIFAR-10, 2 (coarse, fine) in CIFAR-100.
    ///
    /// # Errors
    /// [`BatchError`], with the path: the file cannot be read, or is no whole number of records.
    pub fn open(path: &Path, labels: usize) -> Result<Batch, BatchError> {
        let records = open(path, labels).map_err(|defect| BatchError { path: path.to_path_buf(), defect })?;
        Ok(Batch { path: path.to_path_buf(), records })
    }

    /// Number of records.
    pub fn records(&self) -> usize {
        self.records.count
    }

    /// Bytes of a record.
    pub fn record_bytes(&self) -> usize {
        self.records.bytes
    }

    /// Reads as many records as `into` has room for, from record `first` on.
    ///
    /// # Errors
    /// Records that there are not, `into` of no whole number of records among them; a file that cannot be read any more.
    pub fn read(&mut self, first: usize, into: &mut [u8]) -> Result<(), BatchError> {
        self.records.read(first, into).map_err(|unread| {
            let defect = match unread {
                Unread::Absent(count) => Defect::Records { records: self.records.count, first, count },
                Unread::System(error) => Defect::Read(error),
            };
            BatchError { path: self.path.clone(), defect }
        })
    }
}

fn open(path: &Path, labels: usize) -> Result<Items, Defect> {
    let file = whole::open(path)?;
    let (record, got) = (labels + PICTURE_BYTES, file.metadata()?.len());
    if got == 0 || !got.is_multiple_of(record as u64) {
        return Err(Defect::Length { labels, record, got });
    }
    Ok(Items { count: (got / record as u64) as usize, bytes: record, place: Place::OnDisk(file, 0) })
}
