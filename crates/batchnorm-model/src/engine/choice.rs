//! Which engine runs a model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "ort")]
use super::ort::OnnxRuntime;
use super::rten::Rten;
use super::run::{Engine, EngineError, Optimiser};
use super::written::Written;
use crate::os_path;

/// Which engine runs a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum EngineChoice {
    /// `rten`, which is a part of this library.
    #[default]
    Rten,
    /// `onnxruntime`, a library in a file (feature `ort`).
    OnnxRuntime(#[serde(with = "os_path")] PathBuf),
}

impl EngineChoice {
    /// Tells whether this was built with the engine `onnxruntime`.
    pub const HAS_ONNXRUNTIME: bool = cfg!(feature = "ort");

    /// Loads a model that was written for engines.
    ///
    /// # Errors
    /// What the engine says of the model; a library that cannot be loaded, or that this was built without.
    pub fn load(&self, written: &Written, optimiser: Optimiser) -> Result<Box<dyn Engine>, EngineError> {
        match self {
            EngineChoice::Rten => Ok(Box::new(Rten::load(written.bytes.clone(), optimiser)?)),
            #[cfg(feature = "ort")]
            EngineChoice::OnnxRuntime(library) => Ok(Box::new(OnnxRuntime::load(written, library, optimiser)?)),
            #[cfg(not(feature = "ort"))]
            EngineChoice::OnnxRuntime(_) => Err(EngineError::NotBuilt),
        }
    }
}
