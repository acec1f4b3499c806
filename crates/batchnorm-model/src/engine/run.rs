//! What an engine does.

use std::borrow::Cow;
use std::path::PathBuf;

use thiserror::Error;

use super::array::Array;

/// What runs models. Several threads may run one at a time each.
pub trait Engine: Sync {
    /// Its name, with its version.
    fn name(&self) -> &str;

    /// The values of some names, computed from given ones. What comes before a given value is not computed; a value that constants make
    /// needs none given.
    ///
    /// # Errors
    /// What the engine says of a node, or of given values that do not fit.
    fn run(&self, given: Vec<(&str, Cow<'_, Array>)>, wanted: &[&str]) -> Result<Vec<Array>, EngineError>;

    /// Does work that runs the model several times, where that costs least: an engine with threads of its own does it in one of them.
    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}

/// Whether the engine changes a graph before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimiser {
    /// It runs the graph as it is: what is measured is what the file says.
    Off,
    /// It folds and fuses. (What a comparison of rounding is made with.)
    On,
}

/// What an engine cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A model that it does not load: an operator that it lacks, or a version of one.
    #[error(
        "the engine {engine} cannot load this model: {why}; what needs no running (inspect, fold without data) works all the same{}",
        other_engine(engine)
    )]
    Load {
        /// The engine.
        engine: &'static str,
        /// What it says.
        why: String,
    },
    /// Something of an operator that it lacks, which is seen when it runs.
    #[error("the engine {engine} lacks what this model needs: {why}{}", other_engine(engine))]
    Lacks {
        /// The engine.
        engine: &'static str,
        /// What it says.
        why: String,
    },
    /// A library that is not there, is none, or is too old.
    #[error(
        "--engine onnxruntime:{}: expected the library ONNX Runtime, 1.17 or later (libonnxruntime.so; in Python's package onnxruntime capi/libonnxruntime.so.VERSION), got: {why}",
        path.display()
    )]
    Library {
        /// The path that was given.
        path: PathBuf,
        /// What the system or the library says.
        why: String,
    },
    /// An engine that this was built without.
    #[error("this was built without the engine onnxruntime; build it with the feature `ort`")]
    NotBuilt,
    /// A run that failed.
    #[error("the engine {engine} cannot run this model: {why}")]
    Run {
        /// The engine.
        engine: &'static str,
        /// What it says.
        why: String,
    },
    /// A name that nothing in the model has.
    #[error("the engine {engine} knows no value {name}")]
    Name {
        /// The engine.
        engine: &'static str,
        /// The name.
        name: String,
    },
}

/// What may run what an engine lacks, as the end of a sentence.
fn other_engine(engine: &str) -> &'static str {
    match (engine == "rten", cfg!(feature = "ort")) {
        (false, _) => "",
        (true, true) => "; ONNX Runtime may run it: --engine onnxruntime:PATH with the path of libonnxruntime.so",
        (true, false) => {
            "; ONNX Runtime may run it: --engine onnxruntime:PATH with the path of libonnxruntime.so, of a program built with the feature `ort`"
        }
    }
}
