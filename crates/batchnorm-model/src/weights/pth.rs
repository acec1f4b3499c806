//! PyTorch's files, by `pytorch-reader`, which runs nothing of what is in them. Before it opens a file it is looked at whether that would
//! take more memory than the file and a fixed rest.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use batchnorm_io::whole;
use pytorch_reader::{DType, PytorchError, PytorchReader};
use rawzip::{CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, RECOMMENDED_BUFFER_SIZE, ZipArchive};
use thiserror::Error;

use super::named::{Element, Named, Place, Weights};
use super::pickle::{End, weigh};
use crate::numbers::Precision;

/// Bytes that any file may take in memory besides its own.
const FREE: u64 = 40 << 20;
/// Bytes that an object of a pickle, and a member of an archive, may take in memory.
const OF_AN_OBJECT: u64 = 200;
const OF_A_MEMBER: u64 = 1024;
/// Pickles of a file of PyTorch before 1.6: its magic number, its version, the machine, the object, and the keys of what follows.
const PICKLES: usize = 5;

/// A file that is none of PyTorch's, or is not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PthError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An archive that is damaged, or has no `data.pkl`.
    #[error("expected an archive that torch.save wrote: {0}")]
    Archive(String),
    /// Its objects.
    #[error(
        "expected objects that {limit} bytes of memory have room for, which is plenty for a model of this size, got more"
    )]
    Objects {
        /// Bytes of memory that there are for them.
        limit: u64,
    },
    /// A container from 2016.
    #[error(
        "expected a file of PyTorch 0.1.10 or later, got a TAR of an earlier one; load it with PyTorch and save it again"
    )]
    Tar,
    /// What the reader says.
    #[error(transparent)]
    Reader(#[from] PytorchError),
    /// Views of a few numbers as many.
    #[error(
        "{tensor:?}: expected at most as many bytes as the file has, {size}, got {got}: a view of fewer numbers as more"
    )]
    Large {
        /// The tensor.
        tensor: String,
        /// The size of the file.
        size: u64,
        /// Bytes of the tensor.
        got: u64,
    },
}

/// The tensors of a file.
///
/// # Errors
/// What the system says; a file that is none of PyTorch's, or would take more memory than one of its size should.
pub fn read(path: &Path) -> Result<Weights, PthError> {
    let mut file = whole::open(path)?;
    let size = file.metadata()?.len();
    let room = FREE.saturating_add(size);
    let mut start = Vec::new();
    file.by_ref().take(262).read_to_end(&mut start)?;
    if start.get(257..262) == Some(b"ustar") {
        return Err(PthError::Tar);
    }
    file.seek(SeekFrom::Start(0))?;
    if start.starts_with(b"PK") {
        weigh_archive(file, room)?;
    } else {
        weigh_stream(&mut BufReader::new(file), room)?;
    }
    let reader = PytorchReader::new(path)?;
    let mut tensors: Vec<Named> = reader.into_tensors().into_iter().map(|(name, tensor)| named(name, tensor)).collect();
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(large) = tensors.iter().find(|tensor| tensor.bytes() > size) {
        return Err(PthError::Large { tensor: large.name.clone(), size, got: large.bytes() });
    }
    Ok(Weights { tensors, metadata: Vec::new(), files: Vec::new() })
}

fn named(name: String, tensor: pytorch_reader::Tensor) -> Named {
    let element = match tensor.dtype() {
        DType::F64 => Element::Floats(Precision::F64),
        DType::F32 => Element::Floats(Precision::F32),
        DType::F16 => Element::Floats(Precision::F16),
        DType::BF16 => Element::Floats(Precision::Bf16),
        DType::I64 => Element::I64,
        other => Element::Other(format!("{other:?}")),
    };
    Named { name, shape: tensor.shape().to_vec(), element, place: Place::Pth(tensor) }
}

/// The pickles at the beginning of a file that is no archive.
fn weigh_stream(input: &mut BufReader<File>, room: u64) -> Result<(), PthError> {
    let mut left = room / OF_AN_OBJECT;
    for _ in 0..PICKLES {
        match weigh(input, left)? {
            End::Stopped(objects) => left -= objects.min(left),
            End::Broken => break,
            End::TooLarge => return Err(PthError::Objects { limit: room }),
        }
    }
    Ok(())
}

/// The pickles of an archive, and how many members it has.
fn weigh_archive(file: File, room: u64) -> Result<(), PthError> {
    let broken = |error: rawzip::Error| PthError::Archive(error.to_string());
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(broken)?;
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let mut members = archive.entries(&mut buffer);
    let (mut pickles, mut count) = (Vec::new(), 0u64);
    let mut seen = HashSet::new();
    while let Some(member) = members.next_entry().map_err(broken)? {
        let name = member.file_path().as_bytes().to_vec();
        count += 1 + name.len() as u64 / OF_A_MEMBER * 4;
        if count.saturating_mul(OF_A_MEMBER) > room {
            return Err(PthError::Objects { limit: room });
        }
        let shown = String::from_utf8_lossy(&name).into_owned();
        // torch.save stores. A member that is packed may be of any size.
        if member.compression_method() != CompressionMethod::STORE {
            return Err(PthError::Archive(format!("{shown} is compressed, which torch.save never does")));
        }
        if name.ends_with(b"data.pkl") {
            pickles.push((shown, member.wayfinder()));
        }
        if !seen.insert(name) {
            return Err(PthError::Archive(String::from("two members have one name")));
        }
    }
    if pickles.is_empty() {
        return Err(PthError::Archive(String::from("there is no data.pkl in it")));
    }
    for (name, place) in pickles {
        let member = archive.get_entry(place).map_err(broken)?;
        match weigh(&mut BufReader::new(member.reader()), room / OF_AN_OBJECT)? {
            End::Stopped(_) => {}
            End::Broken => return Err(PthError::Archive(format!("{name} is no pickle"))),
            End::TooLarge => return Err(PthError::Objects { limit: room }),
        }
    }
    Ok(())
}
