//! PyTorch's files, by `pytorch-reader`, which runs nothing of what is in them. Before it opens a file it is looked at whether that would
//! take more memory than the file and a fixed rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::mem;
use std::path::Path;

use batchnorm_io::whole;
use pytorch_reader::{DType, PytorchReader};
use thiserror::Error;

use super::archive::{Archive, Refused};
use super::named::{Element, Named, Place, Weights};
use super::pickle::{End, weigh};
use crate::excerpt::{beginning, excerpt};
use crate::numbers::Precision;

/// Bytes that any file may take in memory besides its own.
const FREE: u64 = 36 << 20;
/// Bytes that an object of a pickle may take in memory.
const OF_AN_OBJECT: u64 = 400;
/// Objects of each of the small pickles before the one that matters.
const OF_A_HEADER: u64 = 1000;
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
    /// What the reader says, or its beginning.
    #[error("{0}")]
    Reader(String),
    /// Bytes that are no pickle, or come behind one.
    #[error("expected pickles as torch.save writes them, got other bytes")]
    Pickle,
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

impl From<Refused> for PthError {
    fn from(refused: Refused) -> PthError {
        match refused {
            Refused::Io(error) => PthError::Io(error),
            Refused::TooLarge { limit } => PthError::Objects { limit },
            Refused::Because(why) => PthError::Archive(why),
        }
    }
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
    let reader = PytorchReader::new(path).map_err(|error| PthError::Reader(beginning(error)))?;
    let mut tensors: Vec<Named> = reader.into_tensors().into_iter().map(|(name, tensor)| named(name, tensor)).collect();
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(large) = tensors.iter().find(|tensor| tensor.bytes() > size) {
        return Err(PthError::Large { tensor: excerpt(&large.name), size, got: large.bytes() });
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

/// The pickles at the beginning of a file that is no archive: one, or five, of which the fourth has the objects.
fn weigh_stream(input: &mut BufReader<File>, room: u64) -> Result<(), PthError> {
    for at in 0..PICKLES {
        // (A pickle alone may be of any size.)
        if at > 0 && input.fill_buf()?.is_empty() {
            return Ok(());
        }
        let most = if at == 1 || at == 2 { OF_A_HEADER } else { room / OF_AN_OBJECT };
        is_light(weigh(input, most)?, room)?;
    }
    Ok(())
}

/// Refuses what is no pickle, and one that would take more room than there is.
fn is_light(end: End, room: u64) -> Result<(), PthError> {
    match end {
        End::Stopped(weight) if weight.names <= room / 4 => Ok(()),
        End::Broken => Err(PthError::Pickle),
        End::Stopped(_) | End::TooLarge => Err(PthError::Objects { limit: room }),
    }
}

/// The list of an archive's members, and its pickles.
fn weigh_archive(file: File, room: u64) -> Result<(), PthError> {
    let mut archive = Archive::open(file, room)?;
    let pickles = mem::take(&mut archive.pickles);
    if pickles.is_empty() {
        return Err(PthError::Archive(String::from("there is no data.pkl in it")));
    }
    let left = room - archive.weight;
    for (name, at) in pickles {
        is_light(weigh(&mut archive.member(at)?, left / OF_AN_OBJECT)?, left).map_err(|error| match error {
            PthError::Pickle => PthError::Archive(format!("{name} is no pickle")),
            other => other,
        })?;
    }
    Ok(())
}
