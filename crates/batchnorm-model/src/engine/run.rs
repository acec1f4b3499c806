//! What an engine does.

use std::borrow::Cow;

use thiserror::Error;

use super::array::Array;

/// What runs models. Several threads may run one at a time each.
pub trait Engine: Sync {
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

/// What an engine cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A model that it does not load: an operator that it lacks, or a version of one.
    #[error(
        "the engine {engine} cannot load this model: {why}; what needs no running (inspect, fold) works all the same"
    )]
    Load {
        /// The engine.
        engine: &'static str,
        /// What it says.
        why: String,
    },
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
