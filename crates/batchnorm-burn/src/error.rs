//! What can go wrong in a forward pass, with the name of the layer it went wrong in.

use batchnorm::{CallError, CollectiveError, ConfigError, ViewError, WeightsError};
use burn::tensor::DType;
use thiserror::Error;

/// A forward pass that could not be done. The layer is as it was.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{layer}: {reason}")]
pub struct ForwardError {
    /// The layer's name.
    pub layer: String,
    /// What was wrong.
    pub reason: Box<Reason>,
}

/// What was wrong with a forward pass.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// A tensor that has no channel axis.
    #[error("input: {0}")]
    Layout(#[from] ViewError),
    /// Shapes that do not fit the layer.
    #[error(transparent)]
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
        /// Which tensor.
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
        /// The residual's.
        got: DType,
    },
    /// A residual of another shape than the input's.
    #[error(
        "residual: expected the input's shape {expected:?}, got {got:?}; to repeat it along an axis, `.expand(..)` it"
    )]
    ResidualShape {
        /// The input's shape.
        expected: Vec<usize>,
        /// The residual's.
        got: Vec<usize>,
    },
    /// Weights of another number type than the input's.
    #[error(
        "weights: expected the input's number type {expected:?}, got {got:?}; cast them with `.cast(DType::{expected:?})`"
    )]
    WeightsType {
        /// The input's number type.
        expected: DType,
        /// That of the weights.
        got: DType,
    },
    /// Weights that are none.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Two things that cannot be had in one pass.
    #[error("{one} cannot be had together with {other}; leave one of them out")]
    Apart {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Ghost batches of no samples.
    #[error("ghost: expected 1 sample a group or more, got 0; `None` is no ghost batches")]
    Ghost,
    /// What tensor operations cannot do.
    #[error(
        "{what} need the arithmetic of the crate `batchnorm`, which is there on Flex; this layer is on another backend"
    )]
    NeedsContract {
        /// What was asked.
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

impl From<ConfigError> for Reason {
    fn from(error: ConfigError) -> Self {
        // The core's names for what Burn's fields are called otherwise.
        let named = |argument| match argument {
            "running_variance" => "running_var",
            "weight_of_new" => "momentum",
            other => other,
        };
        Reason::State(match error {
            // Of the call, not of the layer.
            ConfigError::Slope { got } => return Reason::Slope { got },
            ConfigError::Weight { argument, got } => ConfigError::Weight { argument: named(argument), got },
            ConfigError::Length { argument, expected, got } => {
                ConfigError::Length { argument: named(argument), expected, got }
            }
            ConfigError::NotFinite { argument, channel, got } => {
                ConfigError::NotFinite { argument: named(argument), channel, got }
            }
            ConfigError::NegativeVariance { argument, channel, got } => {
                ConfigError::NegativeVariance { argument: named(argument), channel, got }
            }
            other => other,
        })
    }
}

impl From<CallError> for Reason {
    fn from(error: CallError) -> Self {
        match error {
            // The core's words are of its own calls.
            CallError::SingleValue { shape, .. } => Reason::SingleValue { shape },
            other => Reason::Call(other),
        }
    }
}
