//! What can be done with a batch norm, and why not more.

use std::fmt;

/// What can be done with a batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes into a layer.
    Foldable(Fold),
    /// It stays.
    Kept(Reason),
}

/// The layer that a batch norm goes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// The place of its node.
    pub into: usize,
    /// Where the batch norm stands, seen from that layer.
    pub side: Side,
    /// The kind of layer.
    pub target: Target,
    /// Nodes between the two, which stay as they are: from the layer to the norm, or from the norm to the layer.
    pub through: Vec<usize>,
    /// Of MatMul, the Add behind it that has the bias.
    pub bias: Option<usize>,
}

/// Where a batch norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Behind the layer.
    Behind,
    /// In front of it.
    Before,
}

/// A layer that takes a batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Conv, of any rank and number of groups.
    Conv,
    /// ConvTranspose, of any rank and number of groups.
    ConvTranspose,
    /// Gemm.
    Gemm,
    /// MatMul, with the Add of a bias behind it or without.
    MatMul,
    /// Another batch norm.
    BatchNorm,
}

/// Why a batch norm stays. Nodes are named by operator and name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It goes by the batch.
    Training,
    /// It has statistics of its own for each position.
    ByPosition,
    /// It is in a graph within another one, or in a function.
    Inside(String),
    /// Its parameters are no constants, not of one length, or not finite.
    Parameters(String),
    /// It gives its statistics as outputs too.
    Statistics,
    /// No layer beside it is linear.
    Neighbours {
        /// What makes its input.
        behind: String,
        /// What takes its output.
        before: String,
    },
    /// Something else takes the value between the two, too.
    Shared(String),
    /// The layer's weights are no constants, or of an unexpected shape.
    Weights(String),
    /// A node between the two moves channels, or may.
    Moves(String),
    /// What the norm shifts is padded between the two, or by the layer.
    Padding(String),
    /// The layer adds up as many terms at its edges as elsewhere only where it gets no shift.
    Edges(String),
    /// The channels of the norm are not those of the layer.
    Channels(String),
    /// It is not known how many axes the values at the layer have.
    Axes(String),
    /// A quantised graph.
    Quantised(String),
}

impl Reason {
    /// One word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Training => "training",
            Reason::ByPosition => "by-position",
            Reason::Inside(_) => "inside",
            Reason::Parameters(_) => "parameters",
            Reason::Statistics => "statistics",
            Reason::Neighbours { .. } => "neighbours",
            Reason::Shared(_) => "shared",
            Reason::Weights(_) => "weights",
            Reason::Moves(_) => "moves",
            Reason::Padding(_) => "padding",
            Reason::Edges(_) => "edges",
            Reason::Channels(_) => "channels",
            Reason::Axes(_) => "axes",
            Reason::Quantised(_) => "quantised",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Training => write!(f, "it normalises by the batch (training mode)"),
            Reason::ByPosition => {
                write!(f, "it has statistics for each position (spatial 0), and a layer has one weight for all of them")
            }
            Reason::Inside(what) => write!(f, "it is inside {what}"),
            Reason::Statistics => write!(f, "it gives its statistics as outputs too, which no layer does"),
            Reason::Parameters(why) => write!(f, "its parameters: {why}"),
            Reason::Neighbours { behind, before } => {
                write!(f, "no linear layer beside it: it stands behind {behind}, and its output goes to {before}")
            }
            Reason::Shared(what) => write!(f, "{what} is used elsewhere too"),
            Reason::Weights(why) => write!(f, "{why}"),
            Reason::Moves(node) => write!(f, "{node} stands between the two, and may move channels"),
            Reason::Padding(node) => write!(f, "{node} pads with zeros, which the norm's shift would have to reach"),
            Reason::Edges(node) => {
                write!(f, "{node} adds up fewer terms at its edges, where the norm's shift would be smaller")
            }
            Reason::Channels(what) => write!(f, "its channels are not those of {what}"),
            Reason::Axes(node) => {
                write!(
                    f,
                    "how many axes the output of {node} has is not said: its columns are channels only if there are two"
                )
            }
            Reason::Quantised(node) => {
                write!(f, "{node} stands between the two: a quantised graph has scales of its own")
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Conv => "Conv",
            Target::ConvTranspose => "ConvTranspose",
            Target::Gemm => "Gemm",
            Target::MatMul => "MatMul",
            Target::BatchNorm => "BatchNormalization",
        })
    }
}
