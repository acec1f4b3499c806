//! Statistics of a whole data set, batch by batch: what running statistics only follow.

use crate::error::{CallError, ConfigError};
use crate::moments::Moments;
use crate::rule::BatchMoments;
use crate::running::{Estimator, RunningStatistics, check_channels};

/// The moments of each channel over any number of batches of any sizes, as if they had been one: whatever their order
/// and grouping, equal to 1e-12. (The mean of the batches' variances is not that: it weighs batches of all sizes alike and
/// misses what lies between their means.)
///
/// ```
/// use batchnorm::{Axes, Config, Estimator, Population, View};
/// let (rule, mut population) = (Config::pytorch().rule()?, Population::new(1)?);
/// for batch in [&[1.0f32, 2.0][..], &[4.0], &[5.0, 8.0, 10.0]] {
///     let x = View::new(batch, &[batch.len(), 1], Axes::NCHW)?;
///     population.observe(&rule.moments(&x))?;
/// }
/// assert_eq!(population.channels()[0].mean(), 5.0);
/// let running = population.running(Estimator::Population)?; // for `BatchNorm::set_running`
/// assert_eq!(running.variance(), [10.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    channels: Vec<Channel>,
    batches: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Channel {
    moments: Moments,
    /// Batches with a value of this channel.
    batches: u64,
    /// Of the batches' means, each with the weight n^2.
    means: Spread,
    /// Of the batches' population variances, likewise.
    variances: Spread,
}

/// Weight, weighted mean, and weighted sum of squared deviations from it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Spread {
    weight: f64,
    mean: f64,
    m2: f64,
}

impl Spread {
    fn of(value: f64, count: u64) -> Spread {
        Spread { weight: count as f64 * count as f64, mean: value, m2: 0.0 }
    }

    /// With another spread, or for `sign` -1 without it.
    fn with(self, other: Spread, sign: f64) -> Spread {
        let weight = self.weight + sign * other.weight;
        if weight <= 0.0 || other.weight == 0.0 {
            return if weight <= 0.0 { Spread::default() } else { self };
        }
        let delta = other.mean - self.mean;
        let mean = self.mean + sign * delta * (other.weight / weight);
        let m2 = self.m2 + sign * (other.m2 + delta * delta * (self.weight * (other.weight / weight)));
        Spread { weight, mean, m2: m2.max(0.0) }
    }

    /// The standard error of sum(n v) / sum(n) over `batches` values v, where that is `center` of `total` values.
    fn standard_error(self, center: f64, total: u64, batches: u64) -> f64 {
        let (step, b) = (self.mean - center, batches as f64);
        let squares = self.m2 + self.weight * step * step;
        (b / (b - 1.0) * squares).sqrt() / total as f64
    }
}

/// How far mean and variance of a channel may still be from those of all data there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandardError {
    /// Of the mean, in the unit of the values.
    pub mean: f64,
    /// Of the variance, in the square of that unit.
    pub variance: f64,
}

impl Channel {
    fn of(moments: &Moments) -> Channel {
        let count = moments.count();
        if count == 0 {
            return Channel::default();
        }
        Channel {
            moments: *moments,
            batches: 1,
            means: Spread::of(moments.mean(), count),
            variances: Spread::of(moments.population_variance(), count),
        }
    }

    fn merge(&mut self, other: Channel) {
        self.moments = self.moments.merge(other.moments);
        self.batches += other.batches;
        self.means = self.means.with(other.means, 1.0);
        self.variances = self.variances.with(other.variances, 1.0);
    }

    /// `None` if the other is no part of it.
    fn without(self, other: Channel) -> Option<Channel> {
        Some(Channel {
            moments: self.moments.without(other.moments)?,
            batches: self.batches.checked_sub(other.batches)?,
            means: self.means.with(other.means, -1.0),
            variances: self.variances.with(other.variances, -1.0),
        })
    }
}

impl Population {
    /// Of no data.
    ///
    /// # Errors
    /// No channel, or more than [`MAX_CHANNELS`](crate::MAX_CHANNELS).
    pub fn new(channels: usize) -> Result<Population, ConfigError> {
        check_channels(channels)?;
        Ok(Population { channels: vec![Channel::default(); channels], batches: 0 })
    }

    /// Takes in a batch ([`Rule::moments`](crate::Rule::moments), or what a training pass returns). Gives the channels
    /// that are left out because they hold NaN or infinity.
    ///
    /// # Errors
    /// Another number of channels; the population is unchanged then.
    pub fn observe(&mut self, batch: &BatchMoments) -> Result<Vec<usize>, CallError> {
        self.check("batch", batch.channels().len())?;
        self.batches += u64::from(batch.channels().iter().any(|moments| moments.count() > 0));
        for (channel, moments) in self.channels.iter_mut().zip(batch.channels()) {
            if moments.is_finite() {
                channel.merge(Channel::of(moments));
            }
        }
        Ok(batch.non_finite())
    }

    /// Takes in a population of other data: of another part of the data set, another process.
    ///
    /// # Errors
    /// Another number of channels; the population is unchanged then.
    pub fn merge(&mut self, other: &Population) -> Result<(), CallError> {
        self.check("other", other.channels.len())?;
        self.batches += other.batches;
        self.channels.iter_mut().zip(&other.channels).for_each(|(channel, other)| channel.merge(*other));
        Ok(())
    }

    /// Takes out a population that was taken in before: data that left the set. Rounding grows where little is left: the
    /// variance is off by about 1e-16 of that of all there was.
    ///
    /// # Errors
    /// Another number of channels; more values or batches than there are. The population is unchanged then.
    pub fn subtract(&mut self, other: &Population) -> Result<(), CallError> {
        self.check("other", other.channels.len())?;
        let pairs = self.channels.iter().zip(&other.channels).enumerate();
        let left = pairs.map(|(channel, (own, other))| {
            let [expected, got] = [own, other].map(|channel| channel.moments.count());
            own.without(*other).ok_or(CallError::NotAPart { channel, expected, got })
        });
        let left: Vec<Channel> = left.collect::<Result<_, _>>()?;
        self.channels = left;
        self.batches = self.batches.saturating_sub(other.batches);
        Ok(())
    }

    /// Moments of each channel over all that was observed.
    pub fn channels(&self) -> Vec<Moments> {
        self.channels.iter().map(|channel| channel.moments).collect()
    }

    /// Batches that were observed.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// The standard errors of each channel, from how the batches differ from each other (with n values in a batch, N in
    /// all and B batches):
    ///
    /// ```text
    /// standard error of the mean = sqrt(B / (B - 1) * sum n^2 (batch mean - mean)^2) / N
    /// ```
    ///
    /// and with the batches' variances for the variance. Batches count as independent of each other, values within one do
    /// not: neighbouring pixels are alike. `None` for fewer than two batches.
    pub fn standard_errors(&self) -> Vec<Option<StandardError>> {
        let of = |channel: &Channel| {
            let (moments, total) = (&channel.moments, channel.moments.count());
            (channel.batches > 1).then(|| StandardError {
                mean: channel.means.standard_error(moments.mean(), total, channel.batches),
                variance: channel.variances.standard_error(channel.variances.mean, total, channel.batches),
            })
        };
        self.channels.iter().map(of).collect()
    }

    /// As running statistics, to be installed in a layer ([`BatchNorm::set_running`](crate::BatchNorm::set_running)):
    /// the variance by the layer's estimator.
    ///
    /// # Errors
    /// A channel without a value.
    pub fn running(&self, estimator: Estimator) -> Result<RunningStatistics, CallError> {
        if let Some(channel) = self.channels.iter().position(|channel| channel.moments.count() == 0) {
            return Err(CallError::NothingObserved { channel });
        }
        let mean: Vec<f64> = self.channels.iter().map(|channel| channel.moments.mean()).collect();
        let variance: Vec<f64> = self.channels.iter().map(|channel| estimator.variance(&channel.moments)).collect();
        Ok(RunningStatistics::from_parts(&mean, &variance, self.batches)
            .expect("finite moments of at least one channel"))
    }

    /// A row for each channel, to be stored and given to [`from_rows`](Self::from_rows) again: count, mean, what the mean
    /// lacks to the true one, M2, batches, then of the batches' means and of their variances each weight, mean and M2;
    /// last the batches of all channels. Exact for counts up to 2^53.
    pub fn to_rows(&self) -> Vec<[f64; ROW]> {
        let of = |channel: &Channel| {
            let Channel { moments, batches, means, variances } = channel;
            let (mean, rest) = moments.mean_pair();
            let [count, batches, all] = [moments.count(), *batches, self.batches].map(|count| count as f64);
            let [first, second] = [means, variances].map(|spread| [spread.weight, spread.mean, spread.m2]);
            [
                count,
                mean,
                rest,
                moments.m2(),
                batches,
                first[0],
                first[1],
                first[2],
                second[0],
                second[1],
                second[2],
                all,
            ]
        };
        self.channels.iter().map(of).collect()
    }

    /// What [`to_rows`](Self::to_rows) gave.
    ///
    /// # Errors
    /// No row; a number that no population has.
    pub fn from_rows(rows: &[[f64; ROW]]) -> Result<Population, ConfigError> {
        check_channels(rows.len())?;
        let count =
            |value: f64| (value >= 0.0 && value.fract() == 0.0 && value <= (1u64 << 53) as f64).then_some(value as u64);
        let of = |(channel, row): (usize, &[f64; ROW])| {
            let wrong = |column| ConfigError::NotAPopulation { channel, column, got: row[column] };
            if let Some(column) = (0..ROW).find(|&column| !row[column].is_finite()) {
                return Err(wrong(column));
            }
            if let Some(column) = [3, 5, 7, 8, 10].into_iter().find(|&column| row[column] < 0.0) {
                return Err(wrong(column));
            }
            let whole = |column: usize| count(row[column]).ok_or(wrong(column));
            let spread = |at: usize| Spread { weight: row[at], mean: row[at + 1], m2: row[at + 2] };
            let moments = Moments::from_parts(whole(0)?, [row[1], row[2], row[3]]);
            Ok((Channel { moments, batches: whole(4)?, means: spread(5), variances: spread(8) }, whole(11)?))
        };
        let all = rows.iter().enumerate().map(of).collect::<Result<Vec<_>, _>>()?;
        let batches = all[0].1;
        Ok(Population { channels: all.into_iter().map(|(channel, _)| channel).collect(), batches })
    }

    fn check(&self, argument: &'static str, got: usize) -> Result<(), CallError> {
        let expected = self.channels.len();
        if got == expected { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
    }
}

/// Numbers of a channel, as they are stored.
pub const ROW: usize = 12;
