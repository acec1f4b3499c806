//! Options as types. Nothing is checked here but when a layer is built: [`Config::build`] checks once.

use crate::error::ConfigError;
use crate::kernel::raw::Isa;
use crate::kernel::tier::Tier;
use crate::layer::BatchNorm;
use crate::running::{Averaging, Estimator, UpdateWeight, check_channels};
use crate::switches::Switches;

/// Which of the two parameters a layer has.
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
    /// Whether there is a gamma.
    pub fn scales(self) -> bool {
        matches!(self, Affine::ScaleAndShift | Affine::ScaleOnly)
    }

    /// Whether there is a beta.
    pub fn shifts(self) -> bool {
        matches!(self, Affine::ScaleAndShift | Affine::ShiftOnly)
    }
}

/// What training does with one value a channel: it has no spread, so nothing can be normalised by it.
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

/// What training does with a batch of no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EmptyBatch {
    /// An empty output, zero gradients, nothing updated, counters unmoved.
    #[default]
    Pass,
    /// Refuse.
    Error,
}

/// What training does with a channel that holds NaN or infinity, or whose `f64` variance overflows.
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

/// What the gradient is where all values of a channel are alike and the variance is exactly 0.
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

/// What follows the normalisation in the same pass over memory: y = f(gamma * xhat + beta), and
/// y = f(gamma * xhat + beta + residual) where the input has a residual ([`Input::adding`](crate::Input::adding)).
///
/// The backward pass tells the sign of z = gamma * xhat + beta from the input again instead of storing it; the
/// derivative at 0 is that of the negative side, as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// Nothing: f(z) = z.
    #[default]
    Identity,
    /// The rectifier, f(z) = max(z, 0). NaN stays NaN.
    Relu,
    /// The leaky rectifier: z where it is positive, slope * z where not. The slope is finite and >= 0.
    LeakyRelu(f64),
}

impl Activation {
    /// Slope on the negative side: 1, 0, or as given.
    pub fn slope(self) -> f64 {
        match self {
            Activation::Identity => 1.0,
            Activation::Relu => 0.0,
            Activation::LeakyRelu(slope) => slope,
        }
    }
}

/// What evaluation does without running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MissingRunning {
    /// Refuse.
    #[default]
    Error,
    /// Normalise by the batch, as PyTorch does with `track_running_stats=False`.
    BatchStatistics,
}

/// What to do in degenerate cases. Every default is the careful choice.
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

/// What a batch-norm layer is to be, by the conventions of a framework and with what differs.
///
/// ```
/// use batchnorm::{Affine, Config, UpdateWeight};
/// let layer = Config::keras().epsilon(1e-5).affine(Affine::ScaleOnly).channels(64).build()?;
/// assert_eq!(layer.config().averaging, UpdateWeight::of_old(0.99)?.into());
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Added to the variance inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// How running statistics follow the batches.
    pub averaging: Averaging,
    /// Which variance the running variance estimates.
    pub estimator: Estimator,
    /// Whether there are running statistics at all.
    pub track_running_statistics: bool,
    /// Which parameters there are.
    pub affine: Affine,
    /// What follows in the same pass.
    pub activation: Activation,
    /// Number of channels; `None` takes it from the first training batch.
    pub channels: Option<usize>,
    /// What to do in degenerate cases.
    pub policies: Policies,
    /// What every pass does, whether training or evaluation is called; `None` leaves it to the call.
    pub pinned: Option<Switches>,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
}

impl Default for Config {
    fn default() -> Self {
        Config::pytorch()
    }
}

impl Config {
    fn preset(epsilon: f64, weight: UpdateWeight, estimator: Estimator) -> Config {
        Config {
            epsilon,
            averaging: Averaging::Exponential(weight),
            estimator,
            track_running_statistics: true,
            affine: Affine::ScaleAndShift,
            activation: Activation::Identity,
            channels: None,
            policies: Policies::default(),
            pinned: None,
            tier: None,
        }
    }

    /// PyTorch: eps 1e-5, weight of the new value 0.1, sample variance.
    pub fn pytorch() -> Config {
        Config::preset(1e-5, UpdateWeight::NEW_TENTH, Estimator::Sample)
    }

    /// Keras 3: eps 1e-3, weight of the old value 0.99, population variance.
    pub fn keras() -> Config {
        Config::preset(1e-3, UpdateWeight::OLD_99, Estimator::Population)
    }

    /// Flax: eps 1e-5, weight of the old value 0.99, population variance.
    pub fn flax() -> Config {
        Config::preset(1e-5, UpdateWeight::OLD_99, Estimator::Population)
    }

    /// ONNX: eps 1e-5, weight of the old value 0.9, population variance.
    pub fn onnx() -> Config {
        Config::preset(1e-5, UpdateWeight::OLD_9, Estimator::Population)
    }

    /// Burn: eps 1e-5, weight of the new value 0.1, population variance.
    pub fn burn() -> Config {
        Config::preset(1e-5, UpdateWeight::NEW_TENTH, Estimator::Population)
    }

    /// Sets what is added to the variance inside the square root.
    pub fn epsilon(self, epsilon: f64) -> Config {
        Config { epsilon, ..self }
    }

    /// Sets how running statistics follow the batches.
    pub fn averaging(self, averaging: impl Into<Averaging>) -> Config {
        Config { averaging: averaging.into(), ..self }
    }

    /// Sets which variance the running variance estimates.
    pub fn estimator(self, estimator: Estimator) -> Config {
        Config { estimator, ..self }
    }

    /// Sets whether there are running statistics.
    pub fn track_running_statistics(self, track: bool) -> Config {
        Config { track_running_statistics: track, ..self }
    }

    /// Sets which parameters there are.
    pub fn affine(self, affine: Affine) -> Config {
        Config { affine, ..self }
    }

    /// Sets what follows in the same pass.
    pub fn activation(self, activation: Activation) -> Config {
        Config { activation, ..self }
    }

    /// Sets the number of channels.
    pub fn channels(self, channels: usize) -> Config {
        Config { channels: Some(channels), ..self }
    }

    /// Sets what to do in degenerate cases.
    pub fn policies(self, policies: Policies) -> Config {
        Config { policies, ..self }
    }

    /// Sets what every pass does, whether training or evaluation is called ([`BatchNorm::pin`]).
    pub fn pinned(self, switches: Switches) -> Config {
        Config { pinned: Some(switches), ..self }
    }

    /// Forces an instruction set.
    pub fn tier(self, tier: Tier) -> Config {
        Config { tier: Some(tier), ..self }
    }

    /// Checks the options and builds the layer: gamma 1, beta 0, running mean 0, running variance 1.
    ///
    /// # Errors
    /// eps or an activation's slope not finite or negative, zero channels, a tier this machine lacks.
    pub fn build(self) -> Result<BatchNorm, ConfigError> {
        BatchNorm::from_config(self)
    }

    /// Checks the options; the tier found is returned, ready to run.
    pub(crate) fn check(&self) -> Result<Isa, ConfigError> {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(ConfigError::Epsilon { got: self.epsilon });
        }
        let slope = self.activation.slope();
        if !(slope.is_finite() && slope >= 0.0) {
            return Err(ConfigError::Slope { got: slope });
        }
        self.channels.map_or(Ok(()), check_channels)?;
        let tier = self.tier.unwrap_or_else(Tier::best);
        Isa::new(tier).ok_or_else(|| ConfigError::Tier { got: tier, available: Tier::available() })
    }
}
