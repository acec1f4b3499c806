//! Why statistics cannot be measured.

use thiserror::Error;

use crate::engine::PassError;

/// Why statistics cannot be measured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecalibrateError {
    /// The engine, or the data.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// NaN or infinity on the way.
    #[error(
        "{layer}: expected finite values, got NaN or infinity in {channels} of its channels; `inspect` finds layers that make them, and data of another preprocessing may overflow"
    )]
    NotFinite {
        /// The norm.
        layer: String,
        /// How many channels.
        channels: usize,
    },
    /// A norm whose input does not come from the data.
    #[error("{0}: its input does not depend on the data, so they say nothing of its statistics")]
    Constant(String),
    /// No data.
    #[error("expected one sample or more, got none")]
    Empty,
    /// A state of another recalibration.
    #[error("the state to go on from is not one of this recalibration")]
    Progress,
    /// A norm that is meant to look at batches, beside which a gap is not measured.
    #[error(
        "{0}: it normalises by its batch in use too, and the gap of such a model is not measured; where it is a norm of constants, `inspect --fix` makes one of it first"
    )]
    ByBatch(String),
    /// Outputs of whole numbers alone.
    #[error(
        "its outputs are whole numbers, whose change says nothing; make the scores before them (before ArgMax) an output"
    )]
    Whole,
    /// Answers that do not fit the labels.
    #[error("{0}")]
    Labels(String),
    /// Stopped by the caller.
    #[error("stopped")]
    Stopped,
}
