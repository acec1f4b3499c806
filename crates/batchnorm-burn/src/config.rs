//! The options of the module, by Burn's names.

use std::fmt;

use batchnorm::{
    Averaged, Averaging, Config as Options, ConfigError, Estimator, LastBatch, Policies, Renormalization, Switches,
    UpdateWeight,
};
use burn::config::{Config, config_to_json};
use serde::{Deserialize, Serialize};

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

    fn is_default(&self) -> bool {
        *self == RunningVariance::default()
    }
}

impl Default for RunningVariance {
    /// PyTorch's.
    fn default() -> Self {
        RunningVariance::Sample
    }
}

/// Configuration of a [`BatchNorm`](crate::BatchNorm): the fields of Burn's, and options that Burn's layer does not have.
///
/// A configuration that Burn's layer stored loads as one of this layer, and one that was stored here loads as one of
/// Burn's, without what that has no field for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchNormConfig {
    /// Number of channels; at least 1.
    pub num_features: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// Weight of the *new* value in the running statistics, as in Burn and PyTorch; in 0..=1.
    pub momentum: f64,
    /// The variance that the running variance estimates.
    #[serde(default, skip_serializing_if = "RunningVariance::is_default")]
    pub running_variance: RunningVariance,
    /// The average by which the running statistics follow the batches.
    #[serde(default, skip_serializing_if = "RunningAverage::is_default")]
    pub averaging: RunningAverage,
    /// The measure of spread that is averaged.
    #[serde(default, skip_serializing_if = "is_variance")]
    pub averaged: Averaged,
    /// Batch renormalisation in training ([`Renormalization`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renormalization: Option<Renormalization>,
    /// Name of the layer in errors, beside its path ([`LayerName`](crate::LayerName)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Behaviour in degenerate cases; by default that of the crate `batchnorm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Policies>,
    /// Switches that every pass goes by, whatever the device, the flag and the call say
    /// ([`BatchNorm::pin`](crate::BatchNorm::pin)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Switches>,
    /// Samples of a ghost batch ([`BatchNorm::ghost`](crate::BatchNorm::ghost)); at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ghost: Option<usize>,
}

impl Config for BatchNormConfig {}

/// The average by which running statistics follow the batches, with [`momentum`](BatchNormConfig::momentum) as the weight of the
/// new value.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RunningAverage {
    /// Exponential, from mean 0 and variance 1: Burn's and PyTorch's.
    Exponential,
    /// Exponential, with what is left of the start taken out ([`Averaging::Debiased`]): right from the first batch on.
    Debiased,
    /// The plain mean of all batches ([`Averaging::Cumulative`], PyTorch's `momentum=None`); `momentum` plays no part.
    Cumulative,
}

impl RunningAverage {
    pub(crate) fn averaging(self, weight: UpdateWeight) -> Averaging {
        match self {
            RunningAverage::Exponential => Averaging::Exponential(weight),
            RunningAverage::Debiased => Averaging::Debiased(weight),
            RunningAverage::Cumulative => Averaging::Cumulative,
        }
    }

    fn is_default(&self) -> bool {
        *self == RunningAverage::default()
    }
}

impl Default for RunningAverage {
    /// Burn's.
    fn default() -> Self {
        RunningAverage::Exponential
    }
}

impl BatchNormConfig {
    /// The defaults of Burn and PyTorch for so many channels: epsilon 1e-5, momentum 0.1; the running variance as in
    /// PyTorch.
    pub fn new(num_features: usize) -> Self {
        BatchNormConfig {
            num_features,
            epsilon: 1e-5,
            momentum: 0.1,
            running_variance: RunningVariance::default(),
            averaging: RunningAverage::default(),
            averaged: Averaged::default(),
            renormalization: None,
            name: None,
            policies: None,
            pinned: None,
            ghost: None,
        }
    }

    /// Sets what is added to the variance inside the square root.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        BatchNormConfig { epsilon, ..self }
    }

    /// Sets the weight of the new value in the running statistics.
    pub fn with_momentum(self, momentum: f64) -> Self {
        BatchNormConfig { momentum, ..self }
    }

    /// Sets the variance that the running variance estimates.
    pub fn with_running_variance(self, running_variance: RunningVariance) -> Self {
        BatchNormConfig { running_variance, ..self }
    }

    /// Sets the average by which the running statistics follow the batches.
    pub fn with_averaging(self, averaging: RunningAverage) -> Self {
        BatchNormConfig { averaging, ..self }
    }

    /// Sets the measure of spread that is averaged.
    pub fn with_averaged(self, averaged: Averaged) -> Self {
        BatchNormConfig { averaged, ..self }
    }

    /// Sets batch renormalisation in training.
    ///
    /// ```
    /// use batchnorm_burn::{BatchNormConfig, Renormalization};
    /// let config = BatchNormConfig::new(64).with_renormalization(Renormalization::paper());
    /// # let _ = config;
    /// ```
    pub fn with_renormalization(self, renormalization: impl Into<Option<Renormalization>>) -> Self {
        BatchNormConfig { renormalization: renormalization.into(), ..self }
    }

    /// Sets a name of the layer in errors, which need not be its path.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        BatchNormConfig { name: Some(name.into()), ..self }
    }

    /// Sets the behaviour in degenerate cases.
    pub fn with_policies(self, policies: impl Into<Option<Policies>>) -> Self {
        BatchNormConfig { policies: policies.into(), ..self }
    }

    /// Sets switches that every pass goes by.
    pub fn with_pinned(self, switches: impl Into<Option<Switches>>) -> Self {
        BatchNormConfig { pinned: switches.into(), ..self }
    }

    /// Sets the number of samples of a ghost batch.
    pub fn with_ghost(self, samples: impl Into<Option<usize>>) -> Self {
        BatchNormConfig { ghost: samples.into(), ..self }
    }

    /// Tells before the training whether the last batch will be too small, by the layer's policies and ghost batches: a
    /// data set of so many samples in batches of `batch`, with so many positions in a sample at this layer (1 for
    /// features).
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// let config = BatchNormConfig::new(3);
    /// assert_eq!(config.preflight(1000, 64, 1)?.samples, 40);
    /// assert!(config.preflight(1025, 64, 1).is_err());
    /// assert!(config.with_ghost(13).preflight(1000, 64, 1).is_err()); // 40 samples are three groups and one sample
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`batchnorm::Config::preflight`]; invalid options; a ghost group that is too small, said as such.
    pub fn preflight(&self, samples: usize, batch: usize, positions: usize) -> Result<LastBatch, ConfigError> {
        let options = options(self.epsilon, self.momentum, self.running_variance)?;
        let options = options.policies(self.policies.unwrap_or_default());
        let options = self.pinned.map_or(options.clone(), |switches| options.pinned(switches));
        match self.ghost {
            Some(ghost) => options.preflight_ghost(samples, batch, ghost, positions),
            None => options.preflight(samples, batch, positions),
        }
    }
}

impl fmt::Display for BatchNormConfig {
    /// The configuration as JSON, as of Burn's configurations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&config_to_json(self))
    }
}

fn is_variance(averaged: &Averaged) -> bool {
    *averaged == Averaged::Variance
}

/// The options as the core takes them, what only this project has at its defaults.
pub(crate) fn options(epsilon: f64, momentum: f64, running_variance: RunningVariance) -> Result<Options, ConfigError> {
    Ok(Options::pytorch()
        .epsilon(epsilon)
        .averaging(UpdateWeight::of_new(momentum)?)
        .estimator(running_variance.estimator()))
}
