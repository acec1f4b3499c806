//! Why gradients cannot be judged.

use batchnorm::CallError;
use thiserror::Error;

/// Arrays and parameters that gradients cannot be judged by.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// Arrays that do not fit each other, or a grouping that does not fit the shape.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Several channel axes: the usual mistakes, such as a wrong axis, are told apart for one.
    #[error(
        "{argument}: expected one channel axis, along which mistakes are looked for, got the axes {axes:?} (shape {shape:?}); copy the channels to one axis"
    )]
    ChannelAxes {
        /// The argument's name.
        argument: &'static str,
        /// The channel axes.
        axes: Vec<usize>,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A vector of another length than there are parameters.
    #[error("{argument}: expected {expected} values, one for each parameter, got {got}{hint}")]
    Length {
        /// The argument's name.
        argument: &'static str,
        /// Number of parameters.
        expected: usize,
        /// Number of values.
        got: usize,
        /// What the other length may come from; empty where nothing is known.
        hint: String,
    },
    /// A number that cannot be.
    #[error(
        "{argument}: expected {expected}, got {got} at {index:?}; what is computed of it would be no number either"
    )]
    Number {
        /// The argument's name.
        argument: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Where it stands in its array; empty for a number by itself.
        index: Vec<usize>,
        /// What it is.
        got: f64,
    },
    /// Nothing to judge by.
    #[error("x: expected at least 2 values that are normalised together, got 0 (shape {shape:?})")]
    Empty {
        /// The shape.
        shape: Vec<usize>,
    },
    /// One value alone has no spread: y is beta whatever it is.
    #[error(
        "x: expected at least 2 values that are normalised together, got 1 (shape {shape:?}{}), which has no gradient: {}",
        axis.map(|axis| format!(", channel axis {axis}")).unwrap_or_default(),
        if axis.is_some() { "pass a larger batch, or is the channel axis right?" } else { "is an axis missing, or another norm meant?" }
    )]
    SingleValue {
        /// The shape.
        shape: Vec<usize>,
        /// The channel axis, of batch norm.
        axis: Option<usize>,
    },
    /// The same of a channel with masked values.
    #[error(
        "weights: expected at least 2 values that count in every channel, got fewer in channel {channel}; mask less"
    )]
    SingleCounting {
        /// The first channel concerned.
        channel: usize,
    },
    /// More values than are looked at.
    #[error(
        "x: expected at most {limit} values, got {values} (shape {shape:?}); a part of the channels, or of the batch, shows a \
         mistake as well"
    )]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
        /// Its values.
        values: usize,
        /// How many may be.
        limit: usize,
    },
    /// Squares of the values leave the range of f64, or fall below it with eps = 0.
    #[error("x: expected a variance + eps within 1e-290 .. 1e290, got {got:e} in {what} {row}; scale the input")]
    Range {
        /// Channel or row.
        what: &'static str,
        /// Its number.
        row: usize,
        /// The variance + eps, as far as it could be computed.
        got: f64,
    },
    /// The gradient itself, or gamma^2 dy, leaves the range of f64.
    #[error("dy: expected gradients within the range of f64, got larger ones in {what} {row}; scale dy or gamma")]
    Overflow {
        /// Channel or row.
        what: &'static str,
        /// Its number.
        row: usize,
    },
    /// Nothing was given to be judged.
    #[error("expected at least one of dx, dgamma and dbeta, got none")]
    NothingGiven,
}
