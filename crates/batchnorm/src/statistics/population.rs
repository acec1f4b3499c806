//! Statistics of a whole data set, batch by batch, which running statistics only follow.

use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::averaging::Estimator;
use crate::options::error::ConfigError;
use crate::options::limits::check_channels;
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use crate::statistics::standard_error::{NON_NEGATIVE, SUMS, Spread, StandardErrors};
use batchnorm_kernel::Moments;

/// The moments of each channel over any number of batches of any sizes, as if they had been one: whatever their order
/// and grouping, equal to 1e-12. (The mean of the batches' variances is not that: it weighs batches of all sizes alike
/// and misses what lies between their means.)
///
/// ```
/// use batchnorm::{Axes, Config, Estimator, Population, View};
/// let (normalizer, mut population) = (Config::pytorch().normalizer()?, Population::new(1)?);
/// for batch in [&[1.0f32, 2.0][..], &[4.0], &[5.0, 8.0, 10.0]] {
///     let x = View::new(batch, &[batch.len(), 1], Axes::NCHW)?;
///     population.observe(&normalizer.moments(&x))?;
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

/// Moments of one channel and the spread of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Channel {
    moments: Moments,
    /// Batches with a value of this channel.
    batches: u64,
    /// Spread of the batches' means and variances.
    spread: Spread,
}

impl Channel {
    /// One batch, if it has a value of this channel.
    fn of_batch(moments: &Moments) -> Channel {
        if moments.count() == 0 {
            return Channel::default();
        }
        let spread = Spread::of_batch(moments.mean(), moments.population_variance(), moments.weight());
        Channel { moments: *moments, batches: 1, spread }
    }

    #[must_use]
    fn merge(self, other: Channel) -> Channel {
        Channel {
            moments: self.moments.merge(other.moments),
            batches: self.batches.saturating_add(other.batches),
            spread: self.spread.with(other.spread, 1.0),
        }
    }

    /// The channel without batches that were merged into it; `None` if they cannot have been.
    fn without(self, other: Channel) -> Option<Channel> {
        let remaining = Channel {
            moments: self.moments.without(other.moments)?,
            batches: self.batches.checked_sub(other.batches)?,
            spread: self.spread.with(other.spread, -1.0),
        };
        match (remaining.moments.count(), remaining.batches) {
            // What is left of mean and spread then is rounding.
            (0, 0) => Some(Channel::default()),
            // Values that are left belong to batches, each of which has one at least.
            (count, batches) if batches == 0 || count < batches => None,
            _ => Some(remaining),
        }
    }
}

impl Population {
    /// A population of no data.
    ///
    /// # Errors
    /// No channel, or more than [`MAX_CHANNELS`](crate::MAX_CHANNELS).
    pub fn new(channels: usize) -> Result<Population, ConfigError> {
        check_channels(channels)?;
        Ok(Population { channels: vec![Channel::default(); channels], batches: 0 })
    }

    /// Takes in a batch ([`Normalizer::moments`](crate::Normalizer::moments), or what an ordinary training pass
    /// returns). Gives the channels that are left out because they hold NaN or infinity, or would overflow.
    ///
    /// # Errors
    /// Another number of channels; the population is unchanged then.
    pub fn observe(&mut self, batch: &BatchMoments) -> Result<Vec<usize>, CallError> {
        same_length("batch", self.channels.len(), batch.channels().len())?;
        self.batches =
            self.batches.saturating_add(u64::from(batch.channels().iter().any(|moments| moments.count() > 0)));
        let mut left_out = Vec::new();
        for (number, (channel, moments)) in self.channels.iter_mut().zip(batch.channels()).enumerate() {
            let merged = channel.merge(Channel::of_batch(moments));
            if moments.is_finite() && merged.moments.is_finite() {
                *channel = merged;
            } else {
                left_out.push(number);
            }
        }
        Ok(left_out)
    }

    /// Takes in a population of other data: of another part of the data set, another process.
    ///
    /// # Errors
    /// Another number of channels; the population is unchanged then.
    pub fn merge(&mut self, other: &Population) -> Result<(), CallError> {
        same_length("other", self.channels.len(), other.channels.len())?;
        self.batches = self.batches.saturating_add(other.batches);
        self.channels.iter_mut().zip(&other.channels).for_each(|(channel, other)| *channel = channel.merge(*other));
        Ok(())
    }

    /// Takes out a population that was taken in before: data that left the set. Rounding grows where little is left:
    /// mean and variance are off by about 1e-16 times the share of what was there to what is left, and the standard
    /// errors are as large as what rounding has left in them, where that is more than they.
    ///
    /// # Errors
    /// Another number of channels; what cannot be a part of it. The population is unchanged then.
    pub fn subtract(&mut self, other: &Population) -> Result<(), CallError> {
        same_length("other", self.channels.len(), other.channels.len())?;
        let pairs = self.channels.iter().zip(&other.channels).enumerate();
        let remaining = pairs.map(|(channel, (whole, part))| {
            let [expected, got] = [whole, part].map(|channel| channel.moments.count());
            whole.without(*part).ok_or(CallError::NotAPart { channel, expected, got })
        });
        let remaining: Vec<Channel> = remaining.collect::<Result<_, _>>()?;
        let batches = self.batches.checked_sub(other.batches);
        let (expected, got) = (self.batches, other.batches);
        self.batches = batches.ok_or(CallError::NotAPart { channel: 0, expected, got })?;
        self.channels = remaining;
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

    /// Standard errors of each channel's mean and population variance, from how the batches differ from each other.
    /// With n values in a batch of mean m and variance u, N values in all and B batches:
    ///
    /// ```text
    /// of the mean      sqrt(B / (B - 1) * sum n^2 (m - mean)^2) / N
    /// of the variance  sqrt(B / (B - 1) * sum n^2 (u + (m - mean)^2 - variance)^2) / N
    /// ```
    ///
    /// Batches count as independent of each other, values within one do not: neighbouring pixels are alike. For many
    /// batches: of a few, both are rough, the variance's more so. `None` for fewer than two batches.
    pub fn standard_errors(&self) -> Vec<Option<StandardErrors>> {
        let errors = |channel: &Channel| {
            let Channel { moments, batches, spread } = channel;
            let whole = [moments.mean(), moments.population_variance()];
            (*batches > 1).then(|| spread.standard_errors(whole, moments.weight(), *batches))
        };
        self.channels.iter().map(errors).collect()
    }

    /// The population as running statistics, to be installed in a layer
    /// ([`BatchNorm::set_running`](crate::BatchNorm::set_running)): the variance by the layer's estimator.
    ///
    /// # Errors
    /// A channel without a value, or whose moments overflow.
    pub fn running(&self, estimator: Estimator) -> Result<RunningStatistics, CallError> {
        if let Some(channel) = self.channels.iter().position(|channel| channel.moments.count() == 0) {
            return Err(CallError::NothingObserved { channel });
        }
        let channels: Vec<usize> =
            (0..self.channels.len()).filter(|&channel| !self.channels[channel].moments.is_finite()).collect();
        if !channels.is_empty() {
            return Err(CallError::NonFinite { channels });
        }
        let mean: Vec<f64> = self.channels.iter().map(|channel| channel.moments.mean()).collect();
        let variance: Vec<f64> = self.channels.iter().map(|channel| estimator.variance(&channel.moments)).collect();
        let updates: Vec<u64> = self.channels.iter().map(|channel| channel.batches).collect();
        let running = RunningStatistics::from_parts(&mean, &variance, self.batches)
            .and_then(|running| running.with_updates(&updates));
        Ok(running.expect("finite moments of at least one channel"))
    }

    /// A row for each channel, to be stored and given to [`from_rows`](Self::from_rows) again: count, weight, high and
    /// low part of the mean, M2, batches, the sources of the standard errors (a shift, nine sums and their rounding),
    /// last the batches of all channels. Exact for counts up to 2^53.
    pub fn to_rows(&self) -> Vec<[f64; ROW]> {
        let row = |channel: &Channel| {
            let Channel { moments, batches, spread } = channel;
            let mut row = [0.0; ROW];
            row[..5].copy_from_slice(&moments.to_parts());
            row[5] = *batches as f64;
            row[6] = spread.shift;
            row[7..7 + SUMS].copy_from_slice(&spread.sums);
            row[7 + SUMS..ROW - 1].copy_from_slice(&spread.noise);
            row[ROW - 1] = self.batches as f64;
            row
        };
        self.channels.iter().map(row).collect()
    }

    /// The population of which [`to_rows`](Self::to_rows) gave these rows.
    ///
    /// # Errors
    /// No row; numbers that no population has.
    pub fn from_rows(rows: &[[f64; ROW]]) -> Result<Population, ConfigError> {
        check_channels(rows.len())?;
        let channel = |(channel, row): (usize, &[f64; ROW])| {
            let [count, weight, mean, mean_low, m2, batches, shift, .., all_batches] = *row;
            let mut sums = [0.0; SUMS];
            sums.copy_from_slice(&row[7..7 + SUMS]);
            let noise = [row[7 + SUMS], row[8 + SUMS]];
            let is_count = |value: f64| value >= 0.0 && value.fract() == 0.0 && value <= (1u64 << 53) as f64;
            let empty = count == 0.0;
            // One check for each of the first columns, in their order. A channel without values has no weight, mean or
            // batch.
            let valid = [
                is_count(count),
                weight.is_finite() && weight >= 0.0 && empty == (weight == 0.0),
                mean.is_finite() && !(empty && mean != 0.0),
                mean_low.is_finite() && !(empty && mean_low != 0.0),
                m2.is_finite() && m2 >= 0.0 && !(count < 2.0 && m2 != 0.0),
                is_count(batches) && batches <= count && empty == (batches == 0.0),
                shift.is_finite(),
            ];
            let bad_sum = || {
                let negative = NON_NEGATIVE.into_iter().find(|&sum| sums[sum] < 0.0 || sums[sum].is_nan());
                let bad_noise = noise.iter().position(|noise| noise.is_nan() || *noise < 0.0).map(|at| 7 + SUMS + at);
                let has_weight = empty && sums[0] != 0.0;
                if has_weight { Some(7) } else { negative.map(|sum| 7 + sum).or(bad_noise) }
            };
            // The last column is the same in all rows.
            let valid_last = is_count(all_batches) && all_batches >= batches && all_batches == rows[0][ROW - 1];
            let bad_last = || (!valid_last).then_some(ROW - 1);
            if let Some(column) = valid.iter().position(|valid| !valid).or_else(bad_sum).or_else(bad_last) {
                return Err(ConfigError::NotAPopulation { channel, column, got: row[column] });
            }
            let moments = Moments::from_parts([count, weight, mean, mean_low, m2]);
            Ok(Channel { moments, batches: batches as u64, spread: Spread { shift, sums, noise } })
        };
        let channels = rows.iter().enumerate().map(channel).collect::<Result<Vec<_>, _>>()?;
        Ok(Population { channels, batches: rows[0][ROW - 1] as u64 })
    }
}

/// Number of values in the stored row of a channel.
pub const ROW: usize = 10 + SUMS;
