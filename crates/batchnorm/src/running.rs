//! Running statistics: what evaluation normalises by. The estimator and the direction of the update are decided
//! here and nowhere else.

use crate::config::{Config, NonFinite, Policies, SingleValue};
use crate::element::Parameter;
use crate::error::{CallError, ConfigError};
use crate::layout::MAX_CHANNELS;
use crate::moments::Moments;
use crate::rule::{BatchMoments, same_length};

/// The variance that the *running* variance estimates. (Normalising is always by the population variance.)
/// Of n values with M2 = sum (x - mean)^2:
///
/// ```
/// use batchnorm::{Estimator, Moments};
/// let moments = Moments::of(&[1.0f64, 2.0, 6.0]); // M2 = 14
/// assert_eq!(Estimator::Sample.variance(&moments), 7.0);
/// assert_eq!(Estimator::Population.variance(&moments), 14.0 / 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Estimator {
    /// M2 / (n - 1): PyTorch, Candle, cuDNN.
    #[default]
    Sample,
    /// M2 / n: Burn, Flax, Keras 3, ONNX.
    Population,
}

impl Estimator {
    /// The variance of a batch by this estimator; of one value, which has no sample variance, the population's.
    pub fn variance(self, moments: &Moments) -> f64 {
        match self {
            Estimator::Sample => moments.sample_variance().unwrap_or(moments.population_variance()),
            Estimator::Population => moments.population_variance(),
        }
    }

    /// What M2 of so many values is divided by: n - 1 or n; of one value, which has no sample variance, 1.
    pub(crate) fn divisor(self, count: u64) -> f64 {
        match self {
            Estimator::Sample => count.saturating_sub(1).max(1) as f64,
            Estimator::Population => count.max(1) as f64,
        }
    }

    /// What takes a variance of `values` values by this estimator to the other one's: n / (n - 1) from the population to
    /// the sample variance, (n - 1) / n back, 1 where they are the same.
    ///
    /// A running variance over batches of n values each takes the same factor, all but what is left in it of the start
    /// value ([`Conversion`](crate::Conversion) leaves that out).
    ///
    /// ```
    /// use batchnorm::Estimator;
    /// assert_eq!(Estimator::Population.factor_to(Estimator::Sample, 5)?, 1.25);
    /// assert_eq!(Estimator::Sample.factor_to(Estimator::Population, 5)?, 0.8);
    /// # Ok::<(), batchnorm::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than 2 values, of which there is no sample variance, if the estimators differ.
    pub fn factor_to(self, to: Estimator, values: u64) -> Result<f64, ConfigError> {
        if self == to {
            return Ok(1.0);
        }
        if values < 2 {
            return Err(ConfigError::FewValues { argument: "values", got: values });
        }
        Ok(self.divisor(values) / to.divisor(values))
    }
}

/// The weights of an exponential moving average: `running = old * running + new * batch`, old + new = 1.
///
/// "Momentum" is the weight of the *new* value in PyTorch and Burn, and of the *old* one in Keras, Flax and ONNX.
/// Here it is always said which.
///
/// ```
/// use batchnorm::UpdateWeight;
/// let pytorch = UpdateWeight::of_new(0.1)?;
/// let keras = UpdateWeight::of_old(0.99)?;
/// assert_eq!((pytorch.old_value(), keras.old_value()), (0.9, 0.99));
/// assert!(UpdateWeight::of_new(1.5).is_err());
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Weights"))]
pub struct UpdateWeight {
    new: f64,
    old: f64,
}

/// As stored: both weights, of which either alone loses bits.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Weights {
    new: f64,
    old: f64,
}

#[cfg(feature = "serde")]
impl TryFrom<Weights> for UpdateWeight {
    type Error = ConfigError;

    fn try_from(Weights { new, old }: Weights) -> Result<Self, ConfigError> {
        let given = UpdateWeight { new, old };
        let made = if new <= old { UpdateWeight::of_new(new)? } else { UpdateWeight::of_old(old)? };
        let other = if new <= old { UpdateWeight::of_old(old)? } else { UpdateWeight::of_new(new)? };
        match given == made || given == other {
            true => Ok(given),
            false => Err(ConfigError::Weight { argument: "old", got: old }),
        }
    }
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

    /// `old weight * old + new weight * new`.
    pub(crate) fn average(self, old: f64, new: f64) -> f64 {
        self.old * old + self.new * new
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

impl Averaging {
    /// The weights of a batch, given its number from 1 on.
    pub(crate) fn weight_of_update(self, number: u64) -> UpdateWeight {
        match self {
            Averaging::Exponential(weight) => weight,
            Averaging::Cumulative => {
                let new = 1.0 / number as f64;
                UpdateWeight { new, old: 1.0 - new }
            }
        }
    }
}

impl From<UpdateWeight> for Averaging {
    fn from(weight: UpdateWeight) -> Self {
        Averaging::Exponential(weight)
    }
}

/// Running mean and variance of each channel, in `f64`, and how many batches went into them.
/// A layer starts with [`start`](Self::start); a checkpoint comes in through [`from_parts`](Self::from_parts):
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

    /// Updates of each channel: fewer than [`batches`](Self::batches) where a channel was skipped.
    pub fn updates(&self) -> &[u64] {
        &self.updates
    }

    /// The same statistics with the number of updates of each channel, as [`updates`](Self::updates) gave it.
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

    /// A mix with the statistics of other data, `old * own + new * other` of mean and variance, as a start on a domain of which
    /// little is known yet: with N for the samples that these are worth and n of the other data, new = n / (N + n) (Schneider
    /// et al. 2020). Both variances must be of the same estimator.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn mixed(&self, other: &RunningStatistics, weight: UpdateWeight) -> Result<Self, ConfigError> {
        if other.channels() != self.channels() {
            let (expected, got) = (self.channels(), other.channels());
            return Err(ConfigError::Length { argument: "other", expected, got });
        }
        let mix = |own: &[f64], other: &[f64]| -> Vec<f64> {
            own.iter().zip(other).map(|(own, other)| weight.old * own + weight.new * other).collect()
        };
        let (mean, variance) = (mix(&self.mean, &other.mean), mix(&self.variance, &other.variance));
        Ok(RunningStatistics { mean, variance, ..self.clone() })
    }

    /// Takes in the moments of one batch by the conventions and policies of a configuration: of each channel
    /// `running = old weight * running + new weight * batch`. Gives the channels that were skipped because they are
    /// not finite.
    ///
    /// Channels without a value, and with one value where the policy says so, stay as they are; if that goes for all
    /// of them, the batch does not count.
    ///
    /// # Errors
    /// Another number of channels; the statistics are unchanged then.
    pub fn update(&mut self, batch: &BatchMoments, config: &Config) -> Result<Vec<usize>, CallError> {
        same_length("batch", self.channels(), batch.channels().len())?;
        let mut skipped = Vec::new();
        self.batches += u64::from(counts(batch, &config.policies));
        for (channel, moments) in batch.channels().iter().enumerate() {
            if !informs(moments, &config.policies) {
                continue;
            }
            if !moments.is_finite() && config.policies.non_finite != NonFinite::Update {
                skipped.push(channel);
                continue;
            }
            self.updates[channel] += 1;
            let weight = config.averaging.weight_of_update(self.updates[channel]);
            let average = |old: f64, new: f64| weight.average(old, new);
            self.mean[channel] = average(self.mean[channel], moments.mean());
            self.variance[channel] = average(self.variance[channel], config.estimator.variance(moments));
        }
        Ok(skipped)
    }
}

/// Whether the running statistics change by a channel's moments, if these are finite.
fn informs(moments: &Moments, policies: &Policies) -> bool {
    values_inform(moments.count(), moments.is_single(), policies)
}

/// Whether they change by so many values, which may be too few to have a spread.
pub(crate) fn values_inform(count: u64, single: bool, policies: &Policies) -> bool {
    match count {
        0 => false,
        _ if single => !matches!(policies.single_value, SingleValue::SkipUpdate | SingleValue::UseRunning),
        _ => true,
    }
}

/// Whether a batch counts at all.
pub(crate) fn counts(batch: &BatchMoments, policies: &Policies) -> bool {
    batch.channels().iter().any(|moments| informs(moments, policies))
}

/// Errors unless a layer may have so many channels.
pub(crate) fn check_channels(channels: usize) -> Result<(), ConfigError> {
    if (1..=MAX_CHANNELS).contains(&channels) { Ok(()) } else { Err(ConfigError::Channels { got: channels }) }
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
