//! The averaging of running statistics: the variance that is averaged, and the weights of old and new.

use crate::options::error::ConfigError;
use batchnorm_kernel::Moments;

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
            Estimator::Sample => moments.sample_variance().unwrap_or_else(|| moments.population_variance()),
            Estimator::Population => moments.population_variance(),
        }
    }

    /// The divisor of M2 of so many values: n - 1 or n; of one value, which has no sample variance, 1.
    pub(crate) fn divisor(self, count: u64) -> f64 {
        match self {
            Estimator::Sample => count.saturating_sub(1).max(1) as f64,
            Estimator::Population => count.max(1) as f64,
        }
    }

    /// The factor from the variance of `values` values by this estimator to that by another: n / (n - 1) from the
    /// population to the sample variance, (n - 1) / n back, 1 where they are the same.
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

/// The stored form: both weights, of which either alone loses bits.
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
        let stored = UpdateWeight { new, old };
        // One of the two was given and the other computed as 1 - it; which one is not stored, so either may be.
        let by_smaller = if new <= old { UpdateWeight::of_new(new)? } else { UpdateWeight::of_old(old)? };
        let by_larger = if new <= old { UpdateWeight::of_old(old)? } else { UpdateWeight::of_new(new)? };
        match stored == by_smaller || stored == by_larger {
            true => Ok(stored),
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

    /// Errors unless a weight is in 0..=1.
    fn check(argument: &'static str, weight: f64) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&weight) { Ok(()) } else { Err(ConfigError::Weight { argument, got: weight }) }
    }

    /// `old weight * old + new weight * new`, from the heavier of the two by a share of their difference.
    ///
    /// Two equal values give that value, to the bit. From another value repeated averages with the same `new` come to it, to
    /// the bit: where the share is too small to be seen beside `old`, the next number towards `new` is taken. That is so
    /// for at most the last 1 / (2 new weight) updates, and moves an average by an ulp at most where it would have stood still.
    #[inline]
    pub(crate) fn average(self, old: f64, new: f64) -> f64 {
        let difference = new - old;
        if !difference.is_finite() {
            // Not finite, or too far apart to be subtracted.
            return self.old * old + self.new * new;
        }
        if self.new > 0.5 {
            return new - self.old * difference;
        }
        let moved = old + self.new * difference;
        match () {
            () if moved != old || self.new == 0.0 || difference == 0.0 => moved,
            () if difference > 0.0 => old.next_up(),
            () => old.next_down(),
        }
    }

    /// What the batches of so many updates weigh together in an average, 1 - o^updates; the rest is what its start weighs.
    ///
    /// To a few units in the last place: by doubling, with products and sums of positive numbers alone.
    pub(crate) fn share_of_updates(self, updates: u64) -> f64 {
        // q(2 k) = q(k) (2 - q(k)), q(k + 1) = w + o q(k), from the highest bit on.
        (0..u64::BITS - updates.leading_zeros()).rev().fold(0.0, |share, bit| {
            let doubled = share * (2.0 - share);
            if updates >> bit & 1 == 1 { self.new + self.old * doubled } else { doubled }
        })
    }

    /// What the start of an average weighs after so many updates, o^updates.
    ///
    /// By repeated squaring, with the same bits on every machine, which `powf` does not promise.
    pub(crate) fn left_of_start(self, mut updates: u64) -> f64 {
        let (mut result, mut square) = (1.0, self.old);
        while updates > 0 {
            if updates % 2 == 1 {
                result *= square;
            }
            square *= square;
            updates /= 2;
        }
        result
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

/// The measure of spread of which the batches are averaged. What is kept is a variance in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Averaged {
    /// The variance, by the [`Estimator`].
    #[default]
    Variance,
    /// The standard deviation sqrt(variance + eps), as in the paper on batch renormalisation (Ioffe 2017, algorithm 1): the running
    /// variance becomes average^2 - eps.
    Deviation,
}

impl Averaged {
    /// The running variance `old` once a batch's, `new`, has been taken in.
    #[inline]
    pub(crate) fn average(self, weight: UpdateWeight, epsilon: f64, old: f64, new: f64) -> f64 {
        match self {
            Averaged::Variance => weight.average(old, new),
            // (Alike stay alike, to the bit.)
            Averaged::Deviation if old == new => old,
            Averaged::Deviation => {
                let deviation = weight.average((old + epsilon).sqrt(), (new + epsilon).sqrt());
                let variance = deviation * deviation - epsilon;
                // Rounding makes no variance negative; NaN stays.
                if variance < 0.0 { 0.0 } else { variance }
            }
        }
    }
}

/// The average by which running statistics follow the batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Averaging {
    /// Exponential moving average.
    Exponential(UpdateWeight),
    /// The plain mean of the statistics of all batches so far, each batch with the same weight (PyTorch's
    /// `momentum=None`). The first batch replaces the start values.
    Cumulative,
    /// Exponential moving average without its start: what the start values would still weigh is taken out, and the batches' own
    /// weights are scaled up to a sum of 1 (Kingma and Ba 2015 call it bias correction; Haiku's averages are such). After k updates
    /// with the weights o of the old and w of the new value,
    ///
    /// ```text
    /// running = sum over i = 1..k of w o^(k - i) batch_i / (1 - o^k)
    /// ```
    ///
    /// so that the first batch replaces the start values, and an average of equal batches is that batch from the first one on. (A
    /// plain average that starts at 0 is 10 % of the batch's variance after one update of weight 0.1: evaluation by it explodes.)
    /// A weight of 0 is the limit for small ones, [`Cumulative`](Self::Cumulative). It goes by the
    /// [updates](crate::RunningStatistics::updates) of each channel, which are saved with the statistics.
    Debiased(UpdateWeight),
}

impl Averaging {
    /// The weights of a batch, given its number from 1 on.
    pub(crate) fn weight_of_update(self, number: u64) -> UpdateWeight {
        match self {
            Averaging::Exponential(weight) => weight,
            Averaging::Debiased(weight) if weight.new > 0.0 => {
                // From a sum of weights 1 - o^(k - 1) to 1 - o^k = w + o (1 - o^(k - 1)).
                let before = weight.old * weight.share_of_updates(number - 1);
                let sum = weight.new + before;
                UpdateWeight { new: weight.new / sum, old: before / sum }
            }
            Averaging::Cumulative | Averaging::Debiased(_) => {
                let new = 1.0 / number as f64;
                UpdateWeight { new, old: 1.0 - new }
            }
        }
    }

    /// The weights given, if it has some.
    pub fn update_weight(self) -> Option<UpdateWeight> {
        match self {
            Averaging::Exponential(weight) | Averaging::Debiased(weight) => Some(weight),
            Averaging::Cumulative => None,
        }
    }
}

impl From<UpdateWeight> for Averaging {
    fn from(weight: UpdateWeight) -> Self {
        Averaging::Exponential(weight)
    }
}
