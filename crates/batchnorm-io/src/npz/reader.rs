//! From an archive to its arrays.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use rawzip::{ErrorKind, FileReader, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipEntry, ZipLocator};

use super::defect::{NpzDefect, NpzError};
use super::directory::{self, Entry, damage, damaged};
use super::limits::{LIMIT, SUFFIX};
use crate::npy::{self, Array, Rows, Stored};

/// An archive whose directory has been read and checked. Arrays are read when they are asked for.
///
/// ```
/// use batchnorm_io::npz::{Npz, Packing, Writer};
///
/// let mut writer = Writer::new(Vec::new(), Packing::Deflated);
/// writer.array("x", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
/// writer.array("gamma", &[2], &[1.0f64, 0.5])?;
///
/// let archive = Npz::parse(writer.finish()?)?;
/// assert_eq!(archive.names().collect::<Vec<_>>(), ["x", "gamma"]);
/// assert_eq!(archive.array("gamma")?.numbers.to_f64(), [1.0, 0.5]);
/// let error = archive.array("beta").unwrap_err();
/// assert_eq!(error.to_string(), "has no array 'beta', only 'x', 'gamma'; ask for one of these");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Npz {
    path: Option<PathBuf>,
    source: Source,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Source {
    File(ZipArchive<Arc<FileReader>>),
    Memory(ZipArchive<Vec<u8>>),
}

impl Npz {
    /// The archive in the file at `path`, whose arrays are no larger than [`LIMIT`] together.
    ///
    /// # Errors
    /// [`NpzError`] with the path, the member where it is about one, and an [`NpzDefect`]: `path` is no regular file, or
    /// no zip archive, or a damaged one; a member that is not `NAME.npy`, or whose name is a path; a name twice; a member
    /// that is encrypted, packed otherwise than stored or deflated, shares bytes with another, or claims more than its
    /// bytes can hold.
    ///
    /// ```
    /// use batchnorm_io::npz::Npz;
    ///
    /// let error = Npz::open("Cargo.toml".as_ref()).unwrap_err();
    /// assert!(error.to_string().starts_with("Cargo.toml: not a .npz file: expected a zip archive"));
    /// ```
    pub fn open(path: &Path) -> Result<Npz, NpzError> {
        Self::open_within(path, LIMIT)
    }

    /// [`open`](Self::open) with a limit of one's own, in bytes, on all arrays together.
    ///
    /// # Errors
    /// As there.
    pub fn open_within(path: &Path, limit: u64) -> Result<Npz, NpzError> {
        Self::opened(path, limit).map_err(|error| NpzError { path: Some(path.to_path_buf()), ..error })
    }

    fn opened(path: &Path, limit: u64) -> Result<Npz, NpzError> {
        let (file, length) = npy::open(path).map_err(NpzDefect::File)?;
        let mut start = [0; 6];
        let taken = length.min(start.len() as u64) as usize;
        let reader = Arc::new(FileReader::from(file));
        reader.read_at(&mut start[..taken], 0).map_err(|reason| NpzDefect::Read { reason })?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipLocator::new()
            .locate_in_reader(reader, &mut buffer, length)
            .map_err(|(_, error)| located(error, &start))?;
        whole(&archive, length)?;
        let entries = directory::read(&archive, limit)?;
        Ok(Npz { path: Some(path.to_path_buf()), source: Source::File(archive), entries })
    }

    /// The archive that `bytes`, the whole content of a file, holds; its arrays are no larger than [`LIMIT`] together.
    ///
    /// # Errors
    /// As [`open`](Self::open), without a path.
    pub fn parse(bytes: Vec<u8>) -> Result<Npz, NpzError> {
        Self::parse_within(bytes, LIMIT)
    }

    /// [`parse`](Self::parse) with a limit of one's own, in bytes, on all arrays together.
    ///
    /// # Errors
    /// As there.
    pub fn parse_within(bytes: Vec<u8>, limit: u64) -> Result<Npz, NpzError> {
        let length = bytes.len() as u64;
        let start = bytes[..bytes.len().min(6)].to_vec();
        let archive = ZipArchive::from_slice(bytes).map_err(|error| located(error, &start))?.into_reader_archive();
        whole(&archive, length)?;
        let entries = directory::read(&archive, limit)?;
        Ok(Npz { path: None, source: Source::Memory(archive), entries })
    }

    /// The names of the arrays, in the order of the archive.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Whether there is an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// Reads the array of this name.
    ///
    /// # Errors
    /// No such array; what can be wrong with a `.npy` file ([`npy::read`]); bytes that do not unpack, or have another
    /// length or checksum than the archive says.
    pub fn array(&self, name: &str) -> Result<Array, NpzError> {
        self.member(name, |entry| match &self.source {
            Source::File(archive) => unpack(archive, entry),
            Source::Memory(archive) => unpack(archive, entry),
        })
    }

    /// The array of this name, to be read row by row. One that is stored stays in the file, of which all bytes are read here once, for
    /// its checksum; one that is deflated, of at most `most` bytes, is unpacked into memory in the type that it has in the file.
    ///
    /// # Errors
    /// As [`array`](Self::array), and as [`Rows::open`] of an array without rows; a deflated one of more than `most` bytes.
    pub fn rows(&self, name: &str, most: u64) -> Result<Rows, NpzError> {
        self.member(name, |entry| match &self.source {
            Source::File(archive) if !entry.deflated => {
                let (start, end) = member(archive, entry)?.compressed_data_range();
                verified(archive, entry, io::sink())?;
                // (The checksum's reader has seen to it that the archive says one length.)
                let stored = Stored::in_file(archive.get_ref().clone(), start, end - start);
                Rows::of(stored).map_err(NpzDefect::Array)
            }
            _ if entry.bytes > most => Err(NpzDefect::Unpacked { bytes: entry.bytes, most }),
            source => {
                let mut bytes = Vec::new();
                match source {
                    Source::File(archive) => verified(archive, entry, &mut bytes)?,
                    Source::Memory(archive) => verified(archive, entry, &mut bytes)?,
                }
                Rows::of(Stored::in_memory(bytes)).map_err(NpzDefect::Array)
            }
        })
    }

    /// The bytes that an array is unpacked into by [`rows`](Self::rows): none of one that is stored in a file.
    pub fn unpacked_bytes(&self, name: &str) -> u64 {
        let stays = |entry: &Entry| !entry.deflated && matches!(self.source, Source::File(_));
        let found = self.entries.iter().find(|entry| entry.name == name);
        found.filter(|entry| !stays(entry)).map_or(0, |entry| entry.bytes)
    }

    /// What `read` makes of the member of a name, its errors with path and member.
    fn member<T>(&self, name: &str, read: impl FnOnce(&Entry) -> Result<T, NpzDefect>) -> Result<T, NpzError> {
        let missing =
            || NpzDefect::Missing { name: name.to_string(), present: self.names().map(str::to_string).collect() };
        let found = self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| missing().into());
        let read = found.and_then(|entry| read(entry).map_err(|defect| defect.of(&format!("{name}{SUFFIX}"))));
        read.map_err(|error: NpzError| NpzError { path: self.path.clone(), ..error })
    }
}

/// Nothing may follow the archive: what does is hidden from readers, or the end of an archive that was overwritten.
fn whole<R>(archive: &ZipArchive<R>, length: u64) -> Result<(), NpzError> {
    match archive.end_offset() {
        end if end == length => Ok(()),
        end => Err(damage(format!("it ends at byte {end}, the file at {length}")).into()),
    }
}

/// What is wrong where no directory was found.
fn located(error: rawzip::Error, start: &[u8]) -> NpzError {
    match error.kind() {
        ErrorKind::MissingEndOfCentralDirectory if start.starts_with(b"PK\x03\x04") => {
            damage("its directory, at the end of the file, is missing".to_string()).into()
        }
        ErrorKind::MissingEndOfCentralDirectory => {
            let found = match start {
                [] => "an empty file",
                start if start.starts_with(npy_magic()) => "a single array in a .npy file",
                _ => "something else",
            };
            NpzDefect::NotAnArchive { found }.into()
        }
        _ => damaged(error),
    }
}

fn npy_magic() -> &'static [u8] {
    b"\x93NUMPY"
}

fn unpack<R: ReaderAt>(archive: &ZipArchive<R>, entry: &Entry) -> Result<Array, NpzDefect> {
    let member = member(archive, entry)?;
    let packed = member.reader();
    if entry.deflated {
        checked(member.verifying_reader(DeflateDecoder::new(packed)), entry.bytes)
    } else {
        checked(member.verifying_reader(packed), entry.bytes)
    }
}

fn member<'a, R: ReaderAt>(archive: &'a ZipArchive<R>, entry: &Entry) -> Result<ZipEntry<'a, R>, NpzDefect> {
    archive.get_entry(entry.place).map_err(|error| damage(error.to_string()))
}

/// Copies the bytes of a member, which are as many as the archive says and have its checksum.
fn verified<R: ReaderAt>(archive: &ZipArchive<R>, entry: &Entry, into: impl Write) -> Result<(), NpzDefect> {
    let member = member(archive, entry)?;
    let packed = member.reader();
    if entry.deflated {
        copied(member.verifying_reader(DeflateDecoder::new(packed)), entry.bytes, into)
    } else {
        copied(member.verifying_reader(packed), entry.bytes, into)
    }
}

fn copied(input: impl Read, bytes: u64, mut into: impl Write) -> Result<(), NpzDefect> {
    let mut input = Watched { input, fault: None };
    // One byte more is asked for than there should be: then the length is looked at.
    let copied = io::copy(&mut input.by_ref().take(bytes.saturating_add(1)), &mut into);
    match (input.fault, copied) {
        (Some(fault), _) => Err(fault),
        (None, Ok(found)) if found == bytes => Ok(()),
        (None, Ok(found)) => Err(NpzDefect::Checksum { reason: format!("expected {bytes} bytes, found {found}") }),
        (None, Err(reason)) => Err(NpzDefect::Read { reason }),
    }
}

/// The array, if its bytes are as many as the archive says and have its checksum.
fn checked(input: impl Read, bytes: u64) -> Result<Array, NpzDefect> {
    let mut input = Watched { input, fault: None };
    let array = npy::decode(&mut input, bytes);
    // The checksum is looked at when the last byte is read, and the length when one more is asked for: also where the
    // array's header is damaged, for then this is the better reason.
    let rest = io::copy(&mut input, &mut io::sink());
    match (input.fault, array) {
        (Some(fault), _) => Err(fault),
        (None, Err(defect)) => Err(NpzDefect::Array(defect)),
        (None, Ok(array)) => match rest {
            Ok(0) => Ok(array),
            Ok(more) => Err(NpzDefect::Checksum { reason: format!("expected {bytes} bytes, found {more} more") }),
            Err(reason) => Err(NpzDefect::Read { reason }),
        },
    }
}

/// Keeps the first error in its own words, which `Read` would wrap.
struct Watched<R> {
    input: R,
    fault: Option<NpzDefect>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.fault.get_or_insert_with(|| fault(error));
            }
            kind.into()
        })
    }
}

fn fault(error: io::Error) -> NpzDefect {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rawzip::Error>()).map(rawzip::Error::kind) {
        Some(ErrorKind::InvalidChecksum { expected, actual }) => {
            NpzDefect::Checksum { reason: format!("expected the checksum {expected:08x}, found {actual:08x}") }
        }
        Some(ErrorKind::InvalidSize { expected, actual }) => {
            NpzDefect::Checksum { reason: format!("expected {expected} bytes, found {actual}") }
        }
        Some(kind) => damage(kind.to_string()),
        None if matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ) =>
        {
            NpzDefect::Unpacking { reason: error }
        }
        None => NpzDefect::Read { reason: error },
    }
}
