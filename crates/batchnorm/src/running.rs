//! Running statistics: what evaluation normalises by. The estimator and the direction of the update are decided
//! here and nowhere else.

use crate::config::{NonFinite, Policies, SingleValue};
use crate::element::Parameter;
use crate::error::ConfigError;
use crate::moments::Moments;

/// The variance that the *running* variance estimates. (Normalising is always by the population variance.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Estimator {
    /// M2 / (n - 1): PyTorch, Candle, cuDNN.
    #[default]
    Sample,
    /// M2 / n: Burn, Flax, Keras 3, ONNX.
    Population,
}

impl Estimator {
    /// The variance of a batch by this estimator; of one value, 0.
    pub fn variance(self, moments: &Moments) -> f64 {
        match self {
            Estimator::Sample => moments.sample_variance().unwrap_or(0.0),
            Estimator::Population => moments.population_variance(),
        }
    }
}

/// The weights of an exponential moving average: `running = old * running + new * batch`, old + new = 1.
///
/// "Momentum" is the weight of the *new* value in PyTorch and Burn, and of the *old* one in Keras, Flax and ONNX.
/// Here it is always said which.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateWeight {
    new: f64,
    old: f64,
}

impl UpdateWeight {
    pub(crate) const NEW_TENTH: UpdateWeight = UpdateWeight { new: 0.1, old: 1.0 - 0.1 };
    pub(crate) const OLD_99: UpdateWeight = UpdateWeight { new: 1.0 - 0.99, old: 0.99 };
    pub(crate) const OLD_9: UpdateWeight = UpdateWeight { new: 1.0 - 0.9, old: 0.9 };

    /// By the weight of the new value (PyTorch's momentum, 0.1).
    ///
    /// # Errors
    /// A weight outside 0..=1, or NaN.
    pub fn of_new(weight: f64) -> Result<Self, ConfigError> {
        Self::check("weight_of_new", weight)?;
        Ok(UpdateWeight { new: weight, old: 1.0 - weight })
    }

    /// By the weight of the old value (Keras' and Flax' momentum, 0.99; ONNX' 0.9).
    ///
    /// # Errors
    /// A weight outside 0..=1, or NaN.
    pub fn of_old(weight: f64) -> Result<Self, ConfigError> {
        Self::check("weight_of_old", weight)?;
        Ok(UpdateWeight { new: 1.0 - weight, old: weight })
    }

    fn check(argument: &'static str, weight: f64) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&weight) { Ok(()) } else { Err(ConfigError::Weight { argument, got: weight }) }
    }

    /// Weight of the new value.
    pub fn new_value(self) -> f64 {
        self.new
    }

    /// Weight of the old value.
    pub fn old_value(self) -> f64 {
        self.old
    }
}

/// How running statistics follow the batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Averaging {
    /// Exponential moving average.
    Exponential(UpdateWeight),
    /// The plain mean of the statistics of all batches so far, each batch with the same weight (PyTorch's
    /// `momentum=None`). The first batch replaces the start values.
    Cumulative,
}

impl From<UpdateWeight> for Averaging {
    fn from(weight: UpdateWeight) -> Self {
        Averaging::Exponential(weight)
    }
}

/// Running mean and variance of each channel, in `f64`, and how many batches went into them.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningStatistics {
    mean: Vec<f64>,
    variance: Vec<f64>,
    batches: u64,
    /// Updates of each channel: fewer than `batches` where a channel was skipped.
    updates: Vec<u64>,
}

impl RunningStatistics {
    /// Mean 0 and variance 1: a layer that has seen nothing passes its input through. (A variance that started at
    /// 0 would blow up the first evaluations.)
    pub fn start(channels: usize) -> Self {
        RunningStatistics {
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
            batches: 0,
            updates: vec![0; channels],
        }
    }

    /// From a checkpoint; `batches` is what a cumulative average goes on from.
    ///
    /// # Errors
    /// Different lengths, no channel, NaN or infinity, a negative variance.
    pub fn from_parts<P: Parameter>(mean: &[P], variance: &[P], batches: u64) -> Result<Self, ConfigError> {
        if mean.is_empty() {
            return Err(ConfigError::Channels);
        }
        let mean = finite("running_mean", mean, mean.len())?;
        let variance = finite("running_variance", variance, mean.len())?;
        if let Some(channel) = variance.iter().position(|&value| value < 0.0) {
            let got = variance[channel];
            return Err(ConfigError::NegativeVariance { argument: "running_variance", channel, got });
        }
        let updates = vec![batches; mean.len()];
        Ok(RunningStatistics { mean, variance, batches, updates })
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Variance of each channel, by the layer's estimator.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// Batches committed so far.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Takes in the moments of one batch, one for each channel.
    pub(crate) fn update(
        &mut self,
        batch: &[Moments],
        averaging: Averaging,
        estimator: Estimator,
        policies: &Policies,
    ) {
        let count = batch.first().map_or(0, Moments::count);
        let single = count == 1 && matches!(policies.single_value, SingleValue::SkipUpdate | SingleValue::UseRunning);
        if count == 0 || single {
            return;
        }
        self.batches += 1;
        for (channel, moments) in batch.iter().enumerate() {
            if !moments.is_finite() && policies.non_finite != NonFinite::Update {
                continue;
            }
            self.updates[channel] += 1;
            let weight = match averaging {
                Averaging::Exponential(weight) => weight,
                Averaging::Cumulative => {
                    let new = 1.0 / self.updates[channel] as f64;
                    UpdateWeight { new, old: 1.0 - new }
                }
            };
            let average = |old: f64, new: f64| weight.old * old + weight.new * new;
            self.mean[channel] = average(self.mean[channel], moments.mean());
            self.variance[channel] = average(self.variance[channel], estimator.variance(moments));
        }
    }
}

/// The values in `f64`, if there are `expected` and all are finite.
pub(crate) fn finite<P: Parameter>(
    argument: &'static str,
    values: &[P],
    expected: usize,
) -> Result<Vec<f64>, ConfigError> {
    if values.len() != expected {
        return Err(ConfigError::Length { argument, expected, got: values.len() });
    }
    let values: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(channel) => Err(ConfigError::NotFinite { argument, channel, got: values[channel] }),
        None => Ok(values),
    }
}
