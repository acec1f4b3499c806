//! Running statistics, by which evaluation normalises.

use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::averaging::{Averaging, UpdateWeight};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::limits::{check_channels, finite_values};
use crate::options::policies::{NonFinite, Policies, SingleValue};
use crate::statistics::batch::BatchMoments;
use batchnorm_kernel::{Moments, Parameter};

/// Running mean and variance of each channel, in `f64`, and the number of batches that went into them. A layer starts
/// with [`start`](Self::start); a checkpoint comes in through [`from_parts`](Self::from_parts):
///
/// ```
/// use batchnorm::{BatchNorm, RunningStatistics};
/// let mut layer = BatchNorm::new(2)?;
/// layer.set_running(RunningStatistics::from_parts(&[0.5f32, -1.0], &[4.0, 0.25], 1000)?)?;
/// assert_eq!(layer.running().map(|running| running.variance()), Some(&[4.0, 0.25][..]));
/// assert!(RunningStatistics::from_parts(&[0.0], &[-1.0], 0).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// # Errors
    /// No channel, or more than [`MAX_CHANNELS`](crate::MAX_CHANNELS).
    pub fn start(channels: usize) -> Result<Self, ConfigError> {
        check_channels(channels)?;
        let updates = vec![0; channels];
        Ok(RunningStatistics { mean: vec![0.0; channels], variance: vec![1.0; channels], batches: 0, updates })
    }

    /// From a checkpoint; `batches` is what a cumulative average goes on from. Where channels were skipped,
    /// [`with_updates`](Self::with_updates) says how many updates each has had.
    ///
    /// # Errors
    /// Different lengths, no channel, NaN or infinity, a negative variance.
    pub fn from_parts<P: Parameter>(mean: &[P], variance: &[P], batches: u64) -> Result<Self, ConfigError> {
        check_channels(mean.len())?;
        let mean = finite_values("running_mean", mean, mean.len())?;
        let variance = finite_values("running_variance", variance, mean.len())?;
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

    /// Updates of each channel: fewer than [`batches`](Self::batches) where a channel was skipped.
    pub fn updates(&self) -> &[u64] {
        &self.updates
    }

    /// These statistics with the number of updates of each channel, as [`updates`](Self::updates) gave it.
    ///
    /// # Errors
    /// Another length than the channels.
    pub fn with_updates(self, updates: &[u64]) -> Result<Self, ConfigError> {
        if updates.len() != self.channels() {
            let (expected, got) = (self.channels(), updates.len());
            return Err(ConfigError::Length { argument: "updates", expected, got });
        }
        Ok(RunningStatistics { updates: updates.to_vec(), ..self })
    }

    /// A mix with the statistics of other data, `old * own + new * other` of mean and variance, as a start on a domain
    /// of which little is known yet: with N for the samples that these are worth and n of the other data,
    /// new = n / (N + n) (Schneider et al. 2020). Both variances must be of the same estimator.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn mixed(&self, other: &RunningStatistics, weight: UpdateWeight) -> Result<Self, ConfigError> {
        if other.channels() != self.channels() {
            let (expected, got) = (self.channels(), other.channels());
            return Err(ConfigError::Length { argument: "other", expected, got });
        }
        let mix = |old: &[f64], new: &[f64]| -> Vec<f64> {
            old.iter().zip(new).map(|(old, new)| weight.average(*old, *new)).collect()
        };
        let (mean, variance) = (mix(&self.mean, &other.mean), mix(&self.variance, &other.variance));
        Ok(RunningStatistics { mean, variance, ..self.clone() })
    }

    /// Takes in the moments of one batch by the conventions and policies of a configuration: of each channel
    /// `running = old weight * running + new weight * batch` (of the deviations, where these are
    /// [averaged](crate::Averaged)). Gives the channels that were skipped because they are not finite.
    ///
    /// Channels without a value, and with one value where the policy says so, stay as they are; if that goes for all
    /// of them, the batch does not count.
    ///
    /// # Errors
    /// Another number of channels; the statistics are unchanged then.
    pub fn update(&mut self, batch: &BatchMoments, config: &Config) -> Result<Vec<usize>, CallError> {
        same_length("batch", self.channels(), batch.channels().len())?;
        let mut skipped = Vec::new();
        let counted = u64::from(updates_any_channel(batch, &config.policies));
        self.batches = self.batches.saturating_add(counted);
        let regular = |moments: &Moments| updates_channel(moments, &config.policies) && moments.is_finite();
        if let Averaging::Exponential(weight) = config.averaging
            && batch.channels().iter().all(regular)
        {
            // The same without the questions that each channel is asked below: of many channels they take longer than the
            // averages.
            for (mean, moments) in self.mean.iter_mut().zip(batch.channels()) {
                *mean = weight.average(*mean, moments.mean());
            }
            for (variance, moments) in self.variance.iter_mut().zip(batch.channels()) {
                let new = config.estimator.variance(moments);
                *variance = config.averaged.average(weight, config.epsilon, *variance, new);
            }
            self.updates.iter_mut().for_each(|updates| *updates = updates.saturating_add(1));
            return Ok(skipped);
        }
        for (channel, moments) in batch.channels().iter().enumerate() {
            if !updates_channel(moments, &config.policies) {
                continue;
            }
            if !moments.is_finite() && config.policies.non_finite != NonFinite::Update {
                skipped.push(channel);
                continue;
            }
            self.updates[channel] = self.updates[channel].saturating_add(1);
            let weight = config.averaging.weight_of_update(self.updates[channel]);
            self.mean[channel] = weight.average(self.mean[channel], moments.mean());
            let (old, new) = (self.variance[channel], config.estimator.variance(moments));
            self.variance[channel] = config.averaged.average(weight, config.epsilon, old, new);
        }
        Ok(skipped)
    }
}

/// True if the running statistics take in a channel's moments, if these are finite.
fn updates_channel(moments: &Moments, policies: &Policies) -> bool {
    enough_values(moments.count(), moments.is_single(), policies)
}

/// True if `count` values are enough for an update; they may be a `single` one, which has no spread.
pub(crate) fn enough_values(count: u64, single: bool, policies: &Policies) -> bool {
    match count {
        0 => false,
        _ if single => !matches!(policies.single_value, SingleValue::SkipUpdate | SingleValue::UseRunning),
        _ => true,
    }
}

/// True if the running statistics of some channel take in the batch: else it does not count as one.
pub(crate) fn updates_any_channel(batch: &BatchMoments, policies: &Policies) -> bool {
    batch.channels().iter().any(|moments| updates_channel(moments, policies))
}
