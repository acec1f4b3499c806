//! The options of the module, by Burn's names.

use batchnorm::{Config as Options, ConfigError, Estimator, LastBatch, Policies, Switches, UpdateWeight};
use burn::config::Config;

/// The variance that the running variance estimates. Normalising is always by the population variance.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RunningVariance {
    /// M2 / (n - 1): PyTorch, Candle, cuDNN.
    Sample,
    /// M2 / n: Burn's own, Flax, Keras 3, ONNX.
    Population,
}

impl RunningVariance {
    pub(crate) fn estimator(self) -> Estimator {
        match self {
            RunningVariance::Sample => Estimator::Sample,
            RunningVariance::Population => Estimator::Population,
        }
    }
}

/// Configuration of a [`BatchNorm`](crate::BatchNorm), with the fields of Burn's: a stored configuration of either is
/// one of the other.
///
/// Options that Burn's has no field for come last, as they make it an [`ExtendedConfig`]:
/// [`with_name`](Self::with_name), [`with_running_variance`](Self::with_running_variance),
/// [`with_policies`](Self::with_policies), [`with_pinned`](Self::with_pinned), [`with_ghost`](Self::with_ghost).
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// Number of channels; at least 1.
    pub num_features: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Weight of the *new* value in the running statistics, as in Burn and PyTorch; in 0..=1.
    #[config(default = 0.1)]
    pub momentum: f64,
}

/// A [`BatchNormConfig`], and the options that Burn's has no field for.
#[derive(Config, Debug)]
pub struct ExtendedConfig {
    /// The fields of Burn's configuration.
    pub base: BatchNormConfig,
    /// The variance that the running variance estimates.
    #[config(default = "RunningVariance::Sample")]
    pub running_variance: RunningVariance,
    /// Name of the layer in errors; by default `BatchNorm`.
    pub name: Option<String>,
    /// Behaviour in degenerate cases; by default that of the crate `batchnorm`.
    pub policies: Option<Policies>,
    /// Switches that every pass goes by, whatever the device, the flag and the call say
    /// ([`BatchNorm::pin`](crate::BatchNorm::pin)).
    pub pinned: Option<Switches>,
    /// Samples of a ghost batch ([`BatchNorm::ghost`](crate::BatchNorm::ghost)); at least 1.
    pub ghost: Option<usize>,
}

impl BatchNormConfig {
    /// Sets the name of the layer in errors.
    pub fn with_name(self, name: Option<String>) -> ExtendedConfig {
        ExtendedConfig::new(self).with_name(name)
    }

    /// Sets the behaviour in degenerate cases.
    pub fn with_policies(self, policies: Policies) -> ExtendedConfig {
        ExtendedConfig::new(self).with_policies(Some(policies))
    }

    /// Sets switches that every pass goes by.
    pub fn with_pinned(self, switches: Option<Switches>) -> ExtendedConfig {
        ExtendedConfig::new(self).with_pinned(switches)
    }

    /// Sets the number of samples of a ghost batch.
    pub fn with_ghost(self, samples: Option<usize>) -> ExtendedConfig {
        ExtendedConfig::new(self).with_ghost(samples)
    }

    /// Sets the variance that the running variance estimates.
    pub fn with_running_variance(self, running_variance: RunningVariance) -> ExtendedConfig {
        ExtendedConfig::new(self).with_running_variance(running_variance)
    }
}

impl ExtendedConfig {
    /// Tells before the training whether the last batch will be too small, by the layer's policies and ghost batches: a
    /// data set of so many samples in batches of `batch`, with so many positions in a sample at this layer (1 for
    /// features).
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// let config = BatchNormConfig::new(3).with_name(None);
    /// assert_eq!(config.preflight(1000, 64, 1)?.samples, 40);
    /// assert!(config.preflight(1025, 64, 1).is_err());
    /// assert!(config.with_ghost(Some(13)).preflight(1000, 64, 1).is_err()); // 40 samples are three groups and one sample
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`batchnorm::Config::preflight`]; invalid options.
    pub fn preflight(&self, samples: usize, batch: usize, positions: usize) -> Result<LastBatch, ConfigError> {
        let BatchNormConfig { epsilon, momentum, .. } = self.base;
        let options = options(epsilon, momentum, self.running_variance)?.policies(self.policies.unwrap_or_default());
        let options = self.pinned.map_or(options.clone(), |switches| options.pinned(switches));
        let last = options.preflight(samples, batch, positions)?;
        if let Some(ghost) = self.ghost {
            // The groups of a full batch, and those of the last one.
            options.preflight(batch.min(samples), ghost, positions)?;
            options.preflight(last.samples, ghost, positions)?;
        }
        Ok(last)
    }
}

/// Name in errors of a layer that was given none.
pub(crate) const DEFAULT_NAME: &str = "BatchNorm";

/// The options as the core takes them, policies at their defaults.
pub(crate) fn options(epsilon: f64, momentum: f64, running_variance: RunningVariance) -> Result<Options, ConfigError> {
    Ok(Options::pytorch()
        .epsilon(epsilon)
        .averaging(UpdateWeight::of_new(momentum)?)
        .estimator(running_variance.estimator()))
}
