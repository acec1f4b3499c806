//! What a format cannot say.

use thiserror::Error;

/// A layer that a format cannot say.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An epsilon beyond f32.
    #[error(
        "{path}: expected an epsilon that f32 holds, as attributes of ONNX are, got {epsilon:e}; train with another --epsilon"
    )]
    Epsilon {
        /// The norm.
        path: String,
        /// Its epsilon.
        epsilon: f64,
    },
    /// Epsilon 0 where a variance is or may be 0.
    #[error(
        "{path}: expected an epsilon above 0, got 0: {what} give 0 here, and are no number in ONNX and PyTorch; train with another --epsilon"
    )]
    NoEpsilon {
        /// The norm.
        path: String,
        /// What it is about.
        what: &'static str,
    },
    /// A running covariance without an inverse root.
    #[error("{path}: {why}")]
    Covariance {
        /// The norm.
        path: String,
        /// Why.
        why: String,
    },
    /// A norm that PyTorch has no module for.
    #[error(
        "{path}: expected a norm that PyTorch has, got decorrelated batch norm; export the network as .onnx, which takes its matrix"
    )]
    NotInPyTorch {
        /// The norm.
        path: String,
    },
}
