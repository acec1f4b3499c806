//! Conversion between plain exponential averages, which hold what is left of their start, and averages without it.

use crate::options::averaging::UpdateWeight;
use crate::options::error::ConfigError;
use crate::statistics::running::RunningStatistics;

/// The values at which running statistics started, before the first batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartValues {
    /// The mean of every channel.
    pub mean: f64,
    /// The variance of every channel.
    pub variance: f64,
}

impl Default for StartValues {
    /// Mean 0 and variance 1, as here ([`RunningStatistics::start`]), in PyTorch, Keras, Flax and Burn.
    fn default() -> Self {
        StartValues { mean: 0.0, variance: 1.0 }
    }
}

impl StartValues {
    /// Mean 0 and variance 0: averages that are written by hand, Darknet's, Haiku's `hidden`.
    pub const ZEROS: StartValues = StartValues { mean: 0.0, variance: 0.0 };

    fn check(self) -> Result<(), ConfigError> {
        let StartValues { mean, variance } = self;
        for (argument, got) in [("start.mean", mean), ("start.variance", variance)] {
            if !got.is_finite() || argument == "start.variance" && got < 0.0 {
                return Err(ConfigError::Start { argument, got });
            }
        }
        Ok(())
    }
}

impl RunningStatistics {
    /// The averages without what is left in them of their start, from plain exponential ones: with o the weight of the old value
    /// and k the [updates](Self::updates) of a channel,
    ///
    /// ```text
    /// without = (plain - o^k start) / (1 - o^k)
    /// ```
    ///
    /// which is what [`Averaging::Debiased`](crate::Averaging::Debiased) would have come to and goes on from. A channel without
    /// an update stays at its start.
    ///
    /// ```
    /// use batchnorm::{RunningStatistics, StartValues, UpdateWeight};
    /// // Averages that started at 0, after one batch of mean 5 and variance 4.
    /// let plain = RunningStatistics::from_parts(&[0.5], &[0.4], 1)?;
    /// let weight = UpdateWeight::of_new(0.1)?;
    /// let running = plain.without_start(weight, StartValues::ZEROS)?;
    /// assert_eq!((running.mean(), running.variance()), (&[5.0][..], &[4.0][..]));
    /// # Ok::<(), batchnorm::ConfigError>(())
    /// ```
    ///
    /// Of averages of the variance, not of the deviation ([`Averaged`](crate::Averaged)), whose start is another.
    ///
    /// # Errors
    /// A start that is not finite, or of negative variance. A variance below what is left in it of its start: the updates, the
    /// weight or the start value were others.
    pub fn without_start(&self, weight: UpdateWeight, start: StartValues) -> Result<Self, ConfigError> {
        start.check()?;
        self.each_with_updates(|channel, [mean, variance], updates| {
            let (left, share) = (weight.left_of_start(updates), weight.share_of_updates(updates));
            if share == 0.0 {
                return Ok([mean, variance]);
            }
            let left_of_variance = left * start.variance;
            // (What was stored in f32 may be below it by its rounding.)
            if variance < left_of_variance * (1.0 - 1e-6) {
                let (argument, got, share) = ("running_variance", variance, left_of_variance);
                return Err(ConfigError::BelowStart { argument, channel, got, share, updates });
            }
            Ok([(mean - left * start.mean) / share, ((variance - left_of_variance) / share).max(0.0)])
        })
    }

    /// Plain exponential averages as they would be with this start: the way back from [`without_start`](Self::without_start),
    /// `plain = (1 - o^k) without + o^k start`, for a framework that goes on so.
    ///
    /// # Errors
    /// A start that is not finite, or of negative variance.
    pub fn with_start(&self, weight: UpdateWeight, start: StartValues) -> Result<Self, ConfigError> {
        start.check()?;
        self.each_with_updates(|_, [mean, variance], updates| {
            let (left, share) = (weight.left_of_start(updates), weight.share_of_updates(updates));
            Ok([share * mean + left * start.mean, share * variance + left * start.variance])
        })
    }

    /// Statistics of the same batches with another mean and variance of each channel, which `map` makes of its number, the two and
    /// its updates.
    fn each_with_updates(
        &self,
        map: impl Fn(usize, [f64; 2], u64) -> Result<[f64; 2], ConfigError>,
    ) -> Result<Self, ConfigError> {
        let channels = self.mean().iter().zip(self.variance()).zip(self.updates()).enumerate();
        let both = channels.map(|(channel, ((&mean, &variance), &updates))| map(channel, [mean, variance], updates));
        let (mean, variance): (Vec<f64>, Vec<f64>) =
            both.collect::<Result<Vec<_>, _>>()?.into_iter().map(|[mean, variance]| (mean, variance)).unzip();
        RunningStatistics::from_parts(&mean, &variance, self.batches())?.with_updates(self.updates())
    }
}
