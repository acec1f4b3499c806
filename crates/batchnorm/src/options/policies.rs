//! A layer's parameters, and its policies in degenerate cases: a type for each question.

/// The parameters that a layer has, of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Affine {
    /// gamma and beta.
    #[default]
    ScaleAndShift,
    /// gamma only: y = gamma * xhat.
    ScaleOnly,
    /// beta only: y = xhat + beta.
    ShiftOnly,
    /// Neither: y = xhat.
    Neither,
}

impl Affine {
    /// True if there is a gamma.
    pub fn scales(self) -> bool {
        matches!(self, Affine::ScaleAndShift | Affine::ScaleOnly)
    }

    /// True if there is a beta.
    pub fn shifts(self) -> bool {
        matches!(self, Affine::ScaleAndShift | Affine::ShiftOnly)
    }
}

/// The policy for training with one value a channel: it has no spread, so nothing can be normalised by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SingleValue {
    /// Refuse.
    #[default]
    Error,
    /// Normalise by the running statistics, as in evaluation; these are not updated.
    UseRunning,
    /// The formula as it stands: y = beta, dx = 0. The running statistics are updated with the value as mean and
    /// with the population variance 0, whatever the estimator (the sample variance of one value does not exist).
    Population,
    /// y = beta, dx = 0; the running statistics are not updated.
    SkipUpdate,
}

/// The policy for training with a batch of no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EmptyBatch {
    /// An empty output, zero gradients, nothing updated, counters unmoved.
    #[default]
    Pass,
    /// Refuse.
    Error,
}

/// The policy for training with a channel that holds NaN or infinity, or whose `f64` variance overflows.
///
/// The channel's output is NaN in any case, and no other channel notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NonFinite {
    /// Leave the channel's running statistics as they are.
    #[default]
    Skip,
    /// Update them all the same: they become NaN.
    Update,
    /// Refuse the batch.
    Error,
}

/// The gradient of a channel whose values are all alike, so that the variance is exactly 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ConstantChannel {
    /// dx = 0: a channel without information passes none back.
    #[default]
    ZeroGradient,
    /// The derivative of the formula there, dx = gamma / sqrt(eps) * (dy - mean of dy), as PyTorch computes it: up
    /// to 316 times the upstream gradient at eps = 1e-5. (With eps = 0 it does not exist, and dx = 0.)
    Derivative,
}

/// The policy for evaluation without running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MissingRunning {
    /// Refuse.
    #[default]
    Error,
    /// Normalise by the batch, as PyTorch does with `track_running_stats=False`.
    BatchStatistics,
}

/// The policies for degenerate cases. Every default is the careful choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policies {
    /// Training on one value a channel.
    pub single_value: SingleValue,
    /// Training on no value at all.
    pub empty_batch: EmptyBatch,
    /// NaN and infinity in training.
    pub non_finite: NonFinite,
    /// The gradient of a channel whose values are all alike.
    pub constant_channel: ConstantChannel,
    /// Evaluation without running statistics.
    pub missing_running: MissingRunning,
}
