//! A batch norm of a file, whatever the file's kind: what is known of it, for findings and tables.

use crate::foldable::Verdict;
use crate::parameters::Summary;

/// Bytes that a layer may take, with its findings, and all of that as text.
pub(crate) const OF_A_LAYER: usize = 16 << 10;

/// A batch norm of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name: of the node, or of its tensors without what they end in.
    pub name: String,
    /// The graph within another one, or the function, that it is in; none in the model's own graph and in files without one.
    pub inside: Option<String>,
    /// Added to the variance, where the file says it.
    pub epsilon: Option<f64>,
    /// Weight of the old value in the running statistics, where the file says it.
    pub momentum: Option<f64>,
    /// What it stands behind, and what takes its output, where the file has a graph.
    pub neighbours: Option<Neighbours>,
    /// What its parameters are like; why they cannot be read otherwise.
    pub summary: Result<Summary, String>,
    /// How it runs, where the file says it.
    pub mode: Option<Mode>,
    /// Where its statistics are of each position and not of each channel.
    pub by_position: Option<ByPosition>,
    /// Whether it can be folded, where the file has a graph.
    pub verdict: Option<Verdict>,
    /// The bias of the layer that it stands behind, which it makes useless: that layer's name, and the largest size of the bias.
    pub useless_bias: Option<(String, f64)>,
    /// Other layers that use vectors of its own, some of them if they are many, and how many there are.
    pub shares_with: (Vec<String>, usize),
    /// Batches that its statistics are of, where the file says it.
    pub batches: Option<i64>,
}

/// The operators beside a batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    /// What makes its input.
    pub after: String,
    /// What takes its output.
    pub before: String,
}

/// How a batch norm runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By its running statistics.
    Inference,
    /// By the batch.
    Training,
    /// By the batch, which is made of constants: weights that are standardised.
    TrainingOfConstants,
    /// By the batch, each of whose channels is one of an example: instance norm.
    TrainingOfInstances,
}

/// Statistics of each position (`spatial` 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByPosition {
    /// Its vectors have a number for each channel: the attribute is wrong.
    Mistaken,
    /// Its vectors have more numbers than there are channels.
    Meant,
    /// The number of channels is not known.
    Unknown,
}
