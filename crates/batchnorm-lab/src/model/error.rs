//! What can be wrong with a model's bytes.

use thiserror::Error;

/// Marks the files of this version of the crate, but for those that [`FIRST_FORMAT`] can describe.
pub const FORMAT: &str = "batchnorm-model 2";
/// Marks the files of plain trainings on the digits.
pub const FIRST_FORMAT: &str = "batchnorm-model 1";

/// Bytes that are no model, or a network that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// No safetensors file, or not all of it.
    #[error("cut off, or no safetensors file: {0}")]
    Safetensors(String),
    /// A safetensors file of something else.
    #[error(
        "expected a file of `batchnorm train`, got a safetensors file without its description, which programs drop that keep \
         tensors alone"
    )]
    Foreign,
    /// A description beside a file that has its own.
    #[error("expected a file without a description, for one was given, got one that has its own")]
    TwoDescriptions,
    /// A file of another version.
    #[error("expected format \"{FORMAT}\" or \"{first}\", got {0}", first = FIRST_FORMAT)]
    Format(String),
    /// A description that is broken or describes no network of this program.
    #[error("its description is broken: {0}")]
    Description(String),
    /// Tensors that are not those described.
    #[error("tensor {name}: expected {expected}, got {got}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// The tensor that the description promises.
        expected: String,
        /// The tensor or value that is there.
        got: String,
    },
    /// What the optimiser keeps is missing in part, or is of another optimiser.
    #[error("what the optimiser keeps (training.optimizer.*) is not all there; train anew")]
    Optimizer,
    /// Burn refused what passed all checks.
    #[error("Burn's store: {0}")]
    Store(String),
}

/// Text from a strange file, which may be long and have line breaks, as one short line of a message.
pub(super) fn one_line(text: &str) -> String {
    shortened(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// At most 120 characters of a text.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(120).collect();
    if short.len() < text.len() {
        short += " ...";
    }
    short
}
