//! Why a model cannot be handed to an engine.

use thiserror::Error;

use crate::onnx::TensorError;
use crate::wire::WireError;

/// A model that cannot be handed to an engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WrittenError {
    /// Statistics of each position.
    #[error(
        "{0}: its statistics are of each position (spatial 0), which engines no longer have; `inspect` says whether that is a mistake of the file"
    )]
    ByPosition(String),
    /// Training mode by statistics that are not in the file.
    #[error(
        "{0}: it is in training mode, and its statistics are no constants, so what it does to a batch is not known here; export it in evaluation mode"
    )]
    Training(String),
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Nested messages, which were read before.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Initialisers that are sparse.
    #[error("{0}: a sparse initialiser, which is not handed to engines")]
    Sparse(String),
    /// Functions of the model's own.
    #[error(
        "{0}: a function of the model's own, which is not handed to engines; export the model without functions (onnx.inliner does it)"
    )]
    Function(String),
}
