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

    /// Weight of the new value.
    pub fn new_value(self) -> f64 {
        self.new
    }

    /// Weight of the old value.
    pub fn old_value(self) -> f64 {
        self.old
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
