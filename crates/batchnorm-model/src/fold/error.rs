//! Why a model cannot be folded.

use thiserror::Error;

use crate::budget::TooMuch;
use crate::numbers::Precision;
use crate::wire::WireError;

/// A model that cannot be folded.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FoldError {
    /// A proof that fails: it is a mistake of this program, and nothing is written.
    #[error(
        "{layer}: folded and original differ by {error:e} at a sampled position, and rounding explains {bound:e} at most; please report this model, which was not changed"
    )]
    Proof {
        /// The layer.
        layer: String,
        /// The largest error.
        error: f64,
        /// The largest bound.
        bound: f64,
    },
    /// A layer whose numbers cannot be read.
    #[error("{layer}: {why}")]
    Layer {
        /// The layer.
        layer: String,
        /// Why.
        why: String,
    },
    /// New numbers that overflow the type of the layer's weights.
    #[error("{layer}: with its norms in it numbers would be larger than {precision}, in which they are kept, has any")]
    Overflow {
        /// The layer.
        layer: String,
        /// The type.
        precision: Precision,
    },
    /// A folded model that is none: it is a mistake of this program, and nothing is written.
    #[error("the folded model cannot run: {why}; please report this model, which was not changed")]
    Written {
        /// Why.
        why: String,
    },
    /// Norms that share larger vectors than a model of its size has.
    #[error(transparent)]
    Parts(#[from] TooMuch),
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}
