//! The options of a batch-norm layer. They are checked once, when it is built.

use crate::options::averaging::{Averaged, Averaging, Estimator, UpdateWeight};
use crate::options::error::ConfigError;
use crate::options::limits::check_channels;
use crate::options::policies::{Affine, Policies};
use crate::options::renormalization::Renormalization;
use crate::options::switches::Switches;
use batchnorm_kernel::passes::Machine;
use batchnorm_kernel::{Activation, Threads, Tier};

/// The options of a batch-norm layer: by the conventions of a framework, and with what you set otherwise.
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
    /// The average by which running statistics follow the batches.
    pub averaging: Averaging,
    /// The variance that the running variance estimates.
    pub estimator: Estimator,
    /// The measure of spread that is averaged.
    pub averaged: Averaged,
    /// Batch renormalisation in training; `None` for batch norm.
    pub renormalization: Option<Renormalization>,
    /// True for a layer that keeps running statistics.
    pub track_running_statistics: bool,
    /// The parameters that the layer has.
    pub affine: Affine,
    /// The activation, applied in the same pass.
    pub activation: Activation,
    /// Number of channels; `None` takes it from the first training batch.
    pub channels: Option<usize>,
    /// The policies for degenerate cases.
    pub policies: Policies,
    /// The switches of every pass, whether training or evaluation is called; `None` leaves them to the call.
    pub pinned: Option<Switches>,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
    /// The threads that passes run on. Any number of them gives the same bits.
    pub threads: Threads,
}

impl Default for Config {
    fn default() -> Self {
        Config::pytorch()
    }
}

impl Config {
    /// The options in which frameworks differ, and the rest as all have it.
    fn preset(epsilon: f64, weight: UpdateWeight, estimator: Estimator) -> Config {
        Config {
            epsilon,
            averaging: Averaging::Exponential(weight),
            estimator,
            averaged: Averaged::default(),
            renormalization: None,
            track_running_statistics: true,
            affine: Affine::ScaleAndShift,
            activation: Activation::Identity,
            channels: None,
            policies: Policies::default(),
            pinned: None,
            tier: None,
            threads: Threads::default(),
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

    /// PaddlePaddle: eps 1e-5, weight of the old value 0.9, population variance.
    pub fn paddle() -> Config {
        Config::preset(1e-5, UpdateWeight::OLD_9, Estimator::Population)
    }

    /// MindSpore: eps 1e-5, weight of the old value 0.9, sample variance.
    pub fn mindspore() -> Config {
        Config::preset(1e-5, UpdateWeight::OLD_9, Estimator::Sample)
    }

    /// MXNet's Gluon: eps 1e-5, weight of the old value 0.9, population variance.
    pub fn gluon() -> Config {
        Config::preset(1e-5, UpdateWeight::OLD_9, Estimator::Population)
    }

    /// Haiku: eps 1e-5, weight of the old value 0.9 (its ResNets'; the layer itself has no default) in averages without their start
    /// ([`Averaging::Debiased`]), population variance.
    pub fn haiku() -> Config {
        Config::onnx().averaging(Averaging::Debiased(UpdateWeight::OLD_9))
    }

    /// Darknet: weight of the old value 0.99, sample variance, and eps 1e-12: what stands inside the root when 1e-6 is added
    /// outside of it, as its CPU code does, and the variance is made to fit ([`Convention::Darknet`]).
    ///
    /// [`Convention::Darknet`]: crate::Convention::Darknet
    pub fn darknet() -> Config {
        Config::preset(1e-12, UpdateWeight::OLD_99, Estimator::Sample)
    }

    /// Sets what is added to the variance inside the square root.
    pub fn epsilon(self, epsilon: f64) -> Config {
        Config { epsilon, ..self }
    }

    /// Sets the average by which running statistics follow the batches.
    pub fn averaging(self, averaging: impl Into<Averaging>) -> Config {
        Config { averaging: averaging.into(), ..self }
    }

    /// Sets the variance that the running variance estimates.
    pub fn estimator(self, estimator: Estimator) -> Config {
        Config { estimator, ..self }
    }

    /// Sets the measure of spread that is averaged.
    pub fn averaged(self, averaged: Averaged) -> Config {
        Config { averaged, ..self }
    }

    /// Sets batch renormalisation in training.
    pub fn renormalization(self, renormalization: impl Into<Option<Renormalization>>) -> Config {
        Config { renormalization: renormalization.into(), ..self }
    }

    /// Sets whether the layer keeps running statistics.
    pub fn track_running_statistics(self, track: bool) -> Config {
        Config { track_running_statistics: track, ..self }
    }

    /// Sets the parameters that the layer has.
    pub fn affine(self, affine: Affine) -> Config {
        Config { affine, ..self }
    }

    /// Sets the activation, which is applied in the same pass.
    pub fn activation(self, activation: Activation) -> Config {
        Config { activation, ..self }
    }

    /// Sets the number of channels.
    pub fn channels(self, channels: usize) -> Config {
        Config { channels: Some(channels), ..self }
    }

    /// Sets the policies for degenerate cases.
    pub fn policies(self, policies: Policies) -> Config {
        Config { policies, ..self }
    }

    /// Sets the switches of every pass, whether training or evaluation is called
    /// ([`BatchNorm::pin`](crate::BatchNorm::pin)).
    pub fn pinned(self, switches: Switches) -> Config {
        Config { pinned: Some(switches), ..self }
    }

    /// Forces an instruction set.
    pub fn tier(self, tier: Tier) -> Config {
        Config { tier: Some(tier), ..self }
    }

    /// Sets the threads that passes run on: instead of rayon's ([`Threads::current_pool`]) those that an
    /// [`Executor`](crate::Executor) lends, or the calling thread alone.
    pub fn threads(self, threads: Threads) -> Config {
        Config { threads, ..self }
    }

    /// Checks the options, and gives what runs the passes.
    pub(crate) fn check(&self) -> Result<Machine, ConfigError> {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(ConfigError::Epsilon { got: self.epsilon });
        }
        check_slope(self.activation)?;
        self.channels.map_or(Ok(()), check_channels)?;
        machine(self.tier, &self.threads)
    }
}

/// Errors unless the activation's slope is one.
pub(crate) fn check_slope(activation: Activation) -> Result<(), ConfigError> {
    let slope = activation.slope();
    if slope.is_finite() && slope >= 0.0 { Ok(()) } else { Err(ConfigError::Slope { got: slope }) }
}

/// What runs the passes on these.
pub(crate) fn machine(tier: Option<Tier>, threads: &Threads) -> Result<Machine, ConfigError> {
    let tier = tier.unwrap_or_else(Tier::best);
    let missing = || ConfigError::Tier { got: tier, available: Tier::available() };
    Machine::new(tier, threads.clone()).ok_or_else(missing)
}
