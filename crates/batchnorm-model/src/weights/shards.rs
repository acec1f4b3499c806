//! A model in several safetensors files, with an index of JSON that says in which of them each tensor is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use batchnorm_io::{beside, whole};
use serde::Deserialize;
use thiserror::Error;

use super::named::Weights;
use super::safetensors::{self, SafetensorsError};
use crate::excerpt::excerpt;

/// The longest index.
const LONGEST: u64 = 8 << 20;
/// Files of one model, at most.
const MOST: usize = 1024;

/// An index that is none, or does not fit its files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShardsError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Too long.
    #[error("expected an index of at most {LONGEST} bytes, got more")]
    Long,
    /// No JSON of the expected form.
    #[error("expected an index of safetensors files, an object with a weight_map of names to files: {0}")]
    Json(String),
    /// Too many files.
    #[error("expected at most {MOST} files, got {0}")]
    Files(usize),
    /// A file that cannot be opened where it is named.
    #[error(transparent)]
    Beside(#[from] beside::BesideError),
    /// A file that is no safetensors.
    #[error("{file}: {error}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: SafetensorsError,
    },
    /// A tensor in another file than the index says, or in two.
    #[error("{tensor:?}: expected it in {expected}, as the index says, got {got}")]
    Elsewhere {
        /// The tensor.
        tensor: String,
        /// The file of the index.
        expected: String,
        /// Where it is.
        got: String,
    },
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of the files of an index.
///
/// # Errors
/// No index; files that are not beside it, or are no safetensors; tensors that are not where the index says, or in two files.
pub fn read(path: &Path) -> Result<Weights, ShardsError> {
    let bytes = whole::read(path, LONGEST)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ShardsError::Long);
    }
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| ShardsError::Json(excerpt(&error.to_string())))?;
    let files: BTreeSet<&String> = index.weight_map.values().collect();
    if files.len() > MOST {
        return Err(ShardsError::Files(files.len()));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut all = Weights { tensors: Vec::new(), metadata: Vec::new(), files: Vec::new() };
    let mut found: HashMap<String, &String> = HashMap::new();
    for file in files {
        let shard = safetensors::read(&beside::find(folder, file)?)
            .map_err(|error| ShardsError::File { file: excerpt(file), error })?;
        for tensor in &shard.tensors {
            let said = index.weight_map.get(&tensor.name);
            let before = found.insert(tensor.name.clone(), file);
            if said != Some(file) || before.is_some() {
                let expected = said.map_or_else(|| String::from("no file"), Clone::clone);
                return Err(ShardsError::Elsewhere {
                    tensor: excerpt(&tensor.name),
                    expected: excerpt(&expected),
                    got: excerpt(file),
                });
            }
        }
        safetensors::join(&mut all, shard);
    }
    if let Some((tensor, expected)) = index.weight_map.iter().find(|(tensor, _)| !found.contains_key(*tensor)) {
        let got = String::from("none of this name there");
        return Err(ShardsError::Elsewhere { tensor: excerpt(tensor), expected: excerpt(expected), got });
    }
    Ok(all)
}
