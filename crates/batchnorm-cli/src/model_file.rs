//! Reading of model files.

use std::io::ErrorKind;
use std::path::Path;

use batchnorm_io::whole;
use batchnorm_lab::model::{Description, MOST_BYTES, Model, ModelError};

use crate::failure::Failure;

/// The reason why a file is no model, without the file's name, and how to mend that if the flags can.
pub struct Unreadable {
    pub reason: String,
    pub mend: Option<&'static str>,
}

impl From<String> for Unreadable {
    fn from(reason: String) -> Unreadable {
        Unreadable { reason, mend: None }
    }
}

/// The description in `--description`.
pub fn description(path: Option<&Path>) -> Result<Option<Description>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let named = |reason: String| {
        Failure::input(format!(
            "--description: {}: {reason}; give the description as JSON (what a file of `batchnorm train` has in its metadata, or \
             what `train --json` printed), or a file of `batchnorm train` that has it",
            path.display()
        ))
    };
    let bytes = bytes(path).map_err(named)?;
    Description::from_bytes(&bytes).map(Some).map_err(|error| named(error.to_string()))
}

/// The model in a file, ready for training or not; described by its own description, or by one that it lacks.
pub fn read(path: &Path, description: Option<Description>) -> Result<Model, Unreadable> {
    let bytes = bytes(path)?;
    let model = match description {
        None => Model::from_bytes(bytes),
        Some(description) => Model::with_description(bytes, description),
    };
    model.map_err(|error| Unreadable {
        mend: match error {
            ModelError::Foreign => Some(
                "give it by --description FILE (JSON, or a file of `batchnorm train` of the same network), or name another file",
            ),
            ModelError::TwoDescriptions => Some("leave --description out"),
            _ => None,
        },
        reason: error.to_string(),
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = whole::read(path, MOST_BYTES).map_err(|error| match path.read_link() {
        Ok(target) if error.kind() == ErrorKind::NotFound => {
            format!("it is a link to {}, where nothing is", target.display())
        }
        _ => error.to_string(),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("expected a model of at most {MOST_BYTES} bytes, got a larger file"));
    }
    Ok(bytes)
}
