//! From arrays to an archive.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::path::EntryPath;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::defect::{NpzDefect, NpzError};
use super::directory::plain;
use super::limits::SUFFIX;
use crate::npy::{self, Number};

/// Whether the arrays are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// As they are, as `np.savez` does: the file's bytes depend on nothing but the arrays.
    #[default]
    Stored,
    /// Smaller, as `np.savez_compressed` does: the bytes depend on the version of the packer too, and on which of its packers `flate2`
    /// is built with (a crate beside this one that asks for zlib-rs, as readers of PyTorch's files do, changes it for all).
    Deflated,
}

/// Writes arrays, one after another, into one archive. There is no time in it: the same arrays give the same bytes.
///
/// Nothing is sought, so a pipe will do, and the sizes of a member stand behind it and in the directory: readers that go
/// by the directory, as NumPy and nearly all others do, read it.
///
/// ```
/// use batchnorm_io::npz::{Packing, Writer};
///
/// let mut writer = Writer::new(Vec::new(), Packing::Stored);
/// writer.array("x", &[3], &[1.0f32, 2.0, 3.0])?;
/// let error = writer.array("x", &[1], &[1.0f32]).unwrap_err();
/// assert_eq!(error.to_string(), "argument `name` is 'x', expected one that the archive does not have yet");
/// let bytes = writer.finish()?;
/// assert!(bytes.starts_with(b"PK"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    archive: ZipArchiveWriter<W>,
    packing: Packing,
    names: Vec<String>,
}

impl<W: Write> Writer<W> {
    /// An archive without arrays, into `out`.
    pub fn new(out: W, packing: Packing) -> Writer<W> {
        Writer { archive: ZipArchiveWriter::new(out), packing, names: Vec::new() }
    }

    /// Writes one array, in C order.
    ///
    /// # Errors
    /// What `out` says, or [`io::ErrorKind::InvalidInput`] around an [`NpzError`] for a name that is empty, a path or
    /// already there, or around an [`NpyError`](npy::NpyError) where the product of `shape` is not the length of
    /// `values`. Nothing is written for such an array.
    pub fn array<T: Number>(&mut self, name: &str, shape: &[usize], values: &[T]) -> io::Result<()> {
        let expected = if !plain(name) {
            Some("a name without '/', '\\', ':' and control characters")
        } else if name.len() + SUFFIX.len() > usize::from(u16::MAX) {
            Some("a shorter one")
        } else if self.names.iter().any(|own| own == name) {
            Some("one that the archive does not have yet")
        } else {
            None
        };
        if let Some(expected) = expected {
            let found = npy::defect::excerpt(name);
            return Err(invalid(NpzError::from(NpzDefect::Argument { found, expected })));
        }
        // Before the member is begun, which can not be taken back.
        npy::header_for(shape, values).map_err(|defect| invalid(npy::NpyError::from(defect)))?;
        let method = match self.packing {
            Packing::Stored => CompressionMethod::STORE,
            Packing::Deflated => CompressionMethod::DEFLATE,
        };
        let member = self.archive.new_file(EntryPath::conformant(format!("{name}{SUFFIX}")));
        let (mut entry, config) = member.compression_method(method).start().map_err(io_error)?;
        let descriptor = match self.packing {
            Packing::Stored => {
                let mut out = config.wrap(&mut entry);
                npy::write(&mut out, shape, values)?;
                out.finish().map_err(io_error)?.1
            }
            Packing::Deflated => {
                let mut out = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
                npy::write(&mut out, shape, values)?;
                let (encoder, descriptor) = out.finish().map_err(io_error)?;
                encoder.finish()?;
                descriptor
            }
        };
        entry.finish(descriptor).map_err(io_error)?;
        self.names.push(name.to_string());
        Ok(())
    }

    /// Writes the directory, without which the archive is none, and gives `out` back.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(self) -> io::Result<W> {
        self.archive.finish().map_err(io_error)
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn io_error(error: rawzip::Error) -> io::Error {
    match error.into_kind() {
        rawzip::ErrorKind::IO(error) => error,
        kind => io::Error::new(io::ErrorKind::InvalidInput, kind.to_string()),
    }
}
