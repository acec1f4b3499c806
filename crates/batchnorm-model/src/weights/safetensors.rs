//! safetensors: a header of JSON with each tensor's type, shape and range, and their bytes behind it.
//!
//! What the crate `safetensors` leaves open is decided here: a name that stands there twice is refused (it keeps the last one), and so is
//! a header that would take more memory than the file.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use batchnorm_io::{beside, whole};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use thiserror::Error;

use super::named::{Element, Named, Place, Weights};
use super::written::{self, Entry, NOTES};
use crate::budget::{Budget, TooMuch};
use crate::excerpt::excerpt;
use crate::numbers::Precision;

/// Bytes of the length that stands before the header.
const BEFORE: u64 = 8;
/// The longest header, as the crate has it.
const LONGEST: u64 = 100_000_000;
/// Bytes that an entry and a length of a shape may take in memory.
const OF_ENTRY: usize = 320;
const OF_LENGTH: usize = 16;

/// A header that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer bytes than a length has, or than it says.
    #[error(
        "expected a header of {said} bytes behind its length, got {there}: the file is cut off, or no safetensors file"
    )]
    Cut {
        /// Bytes that it is said to have.
        said: u64,
        /// Bytes that are there.
        there: u64,
    },
    /// A header that does not begin with a brace.
    #[error("expected a header that begins with {{, got byte {got}")]
    Begin {
        /// The first byte.
        got: u8,
    },
    /// A header that is too long.
    #[error("expected a header of at most {LONGEST} bytes, got {got}")]
    Long {
        /// Its bytes.
        got: u64,
    },
    /// Too many entries for its size.
    #[error(transparent)]
    Parts(#[from] TooMuch),
    /// No JSON of the expected form; a name twice.
    #[error("header: {0}")]
    Json(String),
    /// Ranges that overlap, leave gaps, or do not fit their shapes.
    #[error("header: {0}")]
    Ranges(String),
    /// More or fewer bytes behind the header than its tensors have.
    #[error(
        "expected {expected} bytes behind the header, which its tensors have, got {got}: the file is cut off, or joined"
    )]
    Bytes {
        /// Bytes of all tensors.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
}

/// A file that is no safetensors.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// What a header says: tensors with their ranges behind it, and notes.
struct Header {
    tensors: Vec<(String, TensorInfo)>,
    notes: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { tensors: Vec::new(), notes: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == NOTES {
                        if !header.notes.is_empty() {
                            return Err(A::Error::custom(format!("expected each name once, got {NOTES:?} twice")));
                        }
                        header.notes = map.next_value::<Notes>()?.0;
                    } else {
                        let info = map.next_value()?;
                        header.tensors.push((name, info));
                    }
                }
                // (By places: a copy of each name would take as much again.)
                let mut order: Vec<usize> = (0..header.tensors.len()).collect();
                order.sort_unstable_by(|one, other| header.tensors[*one].0.cmp(&header.tensors[*other].0));
                match order.windows(2).find(|pair| header.tensors[pair[0]].0 == header.tensors[pair[1]].0) {
                    Some(pair) => {
                        let name = excerpt(&header.tensors[pair[0]].0);
                        Err(A::Error::custom(format!("expected each name once, got {name:?} twice")))
                    }
                    None => Ok(header),
                }
            }
        }
        deserializer.deserialize_map(Of)
    }
}

/// Notes in their order.
struct Notes(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Notes, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Notes;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Notes, A::Error> {
                let mut notes: Vec<(String, String)> = Vec::new();
                while let Some(note) = map.next_entry()? {
                    notes.push(note);
                }
                Ok(Notes(notes))
            }
        }
        deserializer.deserialize_map(Of)
    }
}

/// The tensors that a header has, for a file whose bytes behind the header are so many; ranges count from there.
///
/// # Errors
/// A header that is none, or does not fit the bytes behind it.
pub fn read_header(header: &[u8], behind: u64) -> Result<Weights, HeaderError> {
    let Header { mut tensors, notes } = parse(header, behind)?;
    // (A header may name them in any order.)
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let metadata = Metadata::new(None, tensors).map_err(|error| HeaderError::Ranges(excerpt(&error.to_string())))?;
    let expected = metadata.data_len() as u64;
    if expected != behind {
        return Err(HeaderError::Bytes { expected, got: behind });
    }
    let before = BEFORE + header.len() as u64;
    let named = metadata.offset_keys().into_iter().map(|name| {
        let info = metadata.info(&name).expect("a name of the metadata's own");
        let (start, end) = info.data_offsets;
        let place = Place::Range { file: 0, offset: before + start as u64, length: (end - start) as u64 };
        Named { shape: info.shape.clone(), element: element(info.dtype), place, name }
    });
    Ok(Weights { tensors: named.collect(), metadata: notes, files: Vec::new() })
}

fn parse(header: &[u8], behind: u64) -> Result<Header, HeaderError> {
    if let Some(&got) = header.first().filter(|byte| **byte != b'{') {
        return Err(HeaderError::Begin { got });
    }
    // An entry has a brace, a length of a shape a comma, and neither can be had for less.
    let count = |sign: u8| header.iter().filter(|byte| **byte == sign).count();
    let mut budget = Budget::of(header.len().saturating_add(usize::try_from(behind).unwrap_or(usize::MAX)));
    budget.take_bytes(count(b'{').saturating_mul(OF_ENTRY).saturating_add(count(b',').saturating_mul(OF_LENGTH)))?;
    // (Also where a text is skipped, which JSON's reader does not look into.)
    let header = str::from_utf8(header).map_err(|error| HeaderError::Json(error.to_string()))?;
    serde_json::from_str(header).map_err(|error| HeaderError::Json(excerpt(&error.to_string())))
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F32 => Element::Floats(Precision::F32),
        Dtype::F64 => Element::Floats(Precision::F64),
        Dtype::F16 => Element::Floats(Precision::F16),
        Dtype::BF16 => Element::Floats(Precision::Bf16),
        Dtype::I64 => Element::I64,
        other => Element::Other(other.to_string()),
    }
}

/// The tensors of a file. Its header alone is read.
///
/// # Errors
/// What the system says; no safetensors file.
pub fn read(path: &Path) -> Result<Weights, SafetensorsError> {
    let mut file = whole::open(path)?;
    let size = file.metadata()?.len();
    let cut = |said: u64| SafetensorsError::Header(HeaderError::Cut { said, there: size.saturating_sub(BEFORE) });
    if size < BEFORE {
        return Err(cut(0));
    }
    let mut length = [0; BEFORE as usize];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > size - BEFORE {
        return Err(cut(length));
    }
    if length > LONGEST {
        return Err(HeaderError::Long { got: length }.into());
    }
    let header = beside::read_range(&mut file, BEFORE, length)?;
    let mut weights = read_header(&header, size - BEFORE - length)?;
    weights.files = vec![PathBuf::from(path)];
    Ok(weights)
}

/// A tensor to be written: its name, its element type as the format names it, its shape, and its values.
struct Tensor<'w> {
    name: &'w str,
    element: &'w str,
    shape: &'w [usize],
    values: Values<'w>,
}

enum Values<'w> {
    Kept(&'w Named),
    New(&'w [u8]),
}

/// Writes tensors as a safetensors file, in their order: those of `weights` that have a name in `names`, under that name and with the
/// values of `new` where there are some; then `added` ones of i64. Memory is taken for one tensor at a time.
///
/// # Errors
/// What the writer says; values that cannot be read.
pub fn write(
    weights: &Weights,
    names: &[Option<String>],
    new: &[Option<Vec<u8>>],
    added: &[(String, i64)],
    out: &mut dyn Write,
) -> io::Result<()> {
    let counts: Vec<[u8; 8]> = added.iter().map(|(_, count)| count.to_le_bytes()).collect();
    let kept = weights.tensors.iter().zip(names).zip(new).filter_map(|((tensor, name), new)| {
        let values = new.as_ref().map_or(Values::Kept(tensor), |bytes| Values::New(bytes));
        Some(Tensor { name: name.as_ref()?, element: dtype(&tensor.element), shape: &tensor.shape, values })
    });
    let added = added.iter().zip(&counts).map(|((name, _), bytes)| Tensor {
        name,
        element: written::I64,
        shape: &[],
        values: Values::New(bytes),
    });
    let tensors: Vec<Tensor> = kept.chain(added).collect();
    let entries = tensors.iter().map(|&Tensor { name, element, shape, ref values }| Entry {
        name,
        element,
        shape,
        bytes: match values {
            Values::Kept(tensor) => tensor.bytes(),
            Values::New(bytes) => bytes.len() as u64,
        },
    });
    out.write_all(&written::head(&weights.metadata, entries))?;
    for tensor in &tensors {
        match tensor.values {
            Values::Kept(tensor) => out.write_all(&weights.bytes(tensor).map_err(io::Error::other)?)?,
            Values::New(bytes) => out.write_all(bytes)?,
        }
    }
    Ok(())
}

fn dtype(element: &Element) -> &str {
    match element {
        Element::Floats(precision) => written::dtype(*precision),
        Element::I64 => written::I64,
        Element::Other(other) => other,
    }
}

/// Joins the tensors of another file to those that are there.
pub(super) fn join(to: &mut Weights, from: Weights) {
    let files = to.files.len();
    to.files.extend(from.files);
    to.tensors.extend(from.tensors.into_iter().map(|tensor| Named {
        place: match tensor.place {
            Place::Range { file, offset, length } => Place::Range { file: file + files, offset, length },
            #[cfg(feature = "pth")]
            other => other,
        },
        ..tensor
    }));
}
