//! Errors of forward passes, with the name of the layer that they arose in.

use batchnorm::{CallError, CollectiveError, ConfigError, ViewError, WeightsError};
use burn::tensor::DType;
use thiserror::Error;

/// A forward pass that could not be done. The layer is as it was.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{layer}: {reason}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct ForwardError {
    /// The layer's path in the model, once that is known; else the name it was given, or its type.
    pub layer: String,
    /// The reason.
    pub reason: Box<Reason>,
    /// Of a layer that has neither: where it was built, and the call that tells its path.
    pub hint: Option<String>,
}

/// The reason why a forward pass failed.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// A tensor that has no channel axis.
    #[error("input: {0}")]
    Layout(#[from] ViewError),
    /// Shapes that do not fit the layer.
    #[error("{}", in_burns_words(.0))]
    Call(CallError),
    /// Training on one value a channel: it has no spread to normalise by.
    #[error(
        "input: training needs at least 2 values a channel, got 1 (shape {shape:?}, channel axis 1); use a larger batch, drop the last one, call `forward_eval`, or choose another `policies.single_value`"
    )]
    SingleValue {
        /// Shape of the input.
        shape: Vec<usize>,
    },
    /// Options, parameters or running statistics that the layer should not have: public fields set or records loaded
    /// since it was built.
    #[error(transparent)]
    State(ConfigError),
    /// Another number type than `f32`, `f64`, `f16` and `bf16`.
    #[error("{argument}: expected F32, F64, F16 or BF16, got {got:?}; cast it with `.cast(DType::F32)`")]
    Type {
        /// Name of the tensor.
        argument: &'static str,
        /// Its number type.
        got: DType,
    },
    /// A residual of another number type than the input's.
    #[error(
        "residual: expected the input's number type {expected:?}, got {got:?}; cast it with `.cast(DType::{expected:?})`"
    )]
    ResidualType {
        /// The input's number type.
        expected: DType,
        /// The residual's number type.
        got: DType,
    },
    /// A residual of another shape than the input's.
    #[error(
        "residual: expected the input's shape {expected:?}, got {got:?}; to repeat it along an axis, `.expand(..)` it"
    )]
    ResidualShape {
        /// The input's shape.
        expected: Vec<usize>,
        /// The residual's shape.
        got: Vec<usize>,
    },
    /// Weights of another number type than the input's.
    #[error(
        "weights: expected the input's number type {expected:?}, got {got:?}; cast them with `.cast(DType::{expected:?})`"
    )]
    WeightsType {
        /// The input's number type.
        expected: DType,
        /// The number type of the weights.
        got: DType,
    },
    /// Weights of which one is negative, NaN or infinite, or that are not as many as their shape has.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Two things that cannot be had in one pass.
    #[error("{one} cannot be had together with {other}; leave one of them out")]
    Apart {
        /// One of the two.
        one: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// No count of updates, on which the layer's average or renormalisation depends.
    #[error(
        "updates: expected the updates of each channel, on which the layer's average or renormalisation depends, got None; set these by `averaging_by` and `renormalizing`, not in the fields"
    )]
    NoUpdates,
    /// Ghost batches of no samples.
    #[error("ghost: expected 1 sample a group or more, got 0; `None` is no ghost batches")]
    Ghost,
    /// A ghost batch of one value a channel.
    #[error(
        "input: a ghost batch (groups of {size} samples, the last one of {shape:?}) has 1 value a channel, and training needs at least 2; choose another `ghost`, batches that leave no such group, or another `policies.single_value`"
    )]
    SingleInGhost {
        /// Samples of a ghost batch.
        size: usize,
        /// Shape of the group.
        shape: Vec<usize>,
    },
    /// A ghost batch of too few values that count.
    #[error("{} (in a ghost batch, a group of {size} samples: another `ghost` may leave no such group)", in_burns_words(.error))]
    WeightsInGhost {
        /// Samples of a ghost batch.
        size: usize,
        /// What is wrong in it.
        error: CallError,
    },
    /// A layer to fold into that has another number of output channels.
    #[error(
        "before: expected a layer of {expected} output channels to fold into, got {got}; is it the one before this norm?"
    )]
    FoldedChannels {
        /// Channels of the norm.
        expected: usize,
        /// Output channels of the layer.
        got: usize,
    },
    /// Something that tensor operations cannot do.
    #[error(
        "{what} need the arithmetic of the crate `batchnorm`, which is there on Flex; this layer is on another backend"
    )]
    NeedsContract {
        /// The thing that was asked for.
        what: &'static str,
    },
    /// The other participants did not come, or came with something else.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// A leaky rectifier with a slope that is negative, NaN or infinite.
    #[error("activation: expected a leaky rectifier's slope to be finite and >= 0, got {got:?}; 0.01 is usual")]
    Slope {
        /// The value given.
        got: f64,
    },
}

impl Reason {
    /// The reason, where it arose in a ghost batch of `size` samples.
    pub(crate) fn of_ghost(self, size: usize) -> Reason {
        match self {
            Reason::SingleValue { shape } => Reason::SingleInGhost { size, shape },
            Reason::Call(error @ (CallError::AllMasked { .. } | CallError::SingleWeighted { .. })) => {
                Reason::WeightsInGhost { size, error }
            }
            other => other,
        }
    }
}

impl From<ConfigError> for Reason {
    fn from(error: ConfigError) -> Self {
        // Fields that have another name in Burn than in the core.
        let burn_name = |argument| match argument {
            "running_variance" => "running_var",
            "weight_of_new" => "momentum",
            other => other,
        };
        Reason::State(match error {
            // The slope is the call's, not the layer's.
            ConfigError::Slope { got } => return Reason::Slope { got },
            ConfigError::Weight { argument, got } => ConfigError::Weight { argument: burn_name(argument), got },
            ConfigError::Length { argument, expected, got } => {
                ConfigError::Length { argument: burn_name(argument), expected, got }
            }
            ConfigError::NotFinite { argument, channel, got } => {
                ConfigError::NotFinite { argument: burn_name(argument), channel, got }
            }
            ConfigError::NegativeVariance { argument, channel, got } => {
                ConfigError::NegativeVariance { argument: burn_name(argument), channel, got }
            }
            other => other,
        })
    }
}

/// The core's sentence, with the name that the input has here.
fn in_burns_words(error: &CallError) -> String {
    let text = error.to_string();
    match text.strip_prefix("x: ") {
        Some(rest) => format!("input: {rest}"),
        None => text,
    }
}

impl From<CallError> for Reason {
    fn from(error: CallError) -> Self {
        match error {
            // The core's text speaks of the core's calls.
            CallError::SingleValue { shape, .. } => Reason::SingleValue { shape },
            other => Reason::Call(other),
        }
    }
}
