//! The options of the module, by Burn's names.

use batchnorm::{Config as Options, ConfigError, Estimator, UpdateWeight};
use burn::config::Config;
use burn::module::{Initializer, Param};
use burn::tensor::{Device, Tensor};

use crate::module::BatchNorm;
use crate::running::RunningTensor;

/// The variance that the running variance estimates. Normalising is always by the population variance.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RunningVariance {
    /// M2 / (n - 1): PyTorch, Candle, cuDNN.
    Sample,
    /// M2 / n: Burn's own, Flax, Keras 3, ONNX.
    Population,
}

impl RunningVariance {
    fn estimator(self) -> Estimator {
        match self {
            RunningVariance::Sample => Estimator::Sample,
            RunningVariance::Population => Estimator::Population,
        }
    }
}

/// Configuration of a [`BatchNorm`].
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
    /// The variance that the running variance estimates.
    #[config(default = "RunningVariance::Sample")]
    pub running_variance: RunningVariance,
    /// What errors call the layer; by default `BatchNorm`.
    pub name: Option<String>,
}

impl BatchNormConfig {
    /// The layer on a device: gamma 1, beta 0, running mean 0, running variance 1.
    ///
    /// # Panics
    /// Where [`try_init`](Self::try_init) errs.
    pub fn init(&self, device: &Device) -> BatchNorm {
        self.try_init(device).unwrap_or_else(|error| panic!("BatchNormConfig: {error}"))
    }

    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No features, an epsilon that is not finite or is negative, a momentum outside 0..=1.
    pub fn try_init(&self, device: &Device) -> Result<BatchNorm, ConfigError> {
        let channels = self.num_features;
        // Built to be checked: the rules are the core's.
        options(self.epsilon, self.momentum, self.running_variance)?.channels(channels).build()?;
        Ok(BatchNorm {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            training: Param::from_bool(true),
            running_mean: RunningTensor::new(Tensor::zeros([channels], device)),
            running_var: RunningTensor::new(Tensor::ones([channels], device)),
            momentum: self.momentum,
            epsilon: self.epsilon,
            running_variance: self.running_variance,
            name: self.name.clone().unwrap_or_else(|| String::from("BatchNorm")),
        })
    }
}

/// The options as the core takes them, policies at their defaults.
pub(crate) fn options(epsilon: f64, momentum: f64, running_variance: RunningVariance) -> Result<Options, ConfigError> {
    Ok(Options::pytorch()
        .epsilon(epsilon)
        .averaging(UpdateWeight::of_new(momentum)?)
        .estimator(running_variance.estimator()))
}
