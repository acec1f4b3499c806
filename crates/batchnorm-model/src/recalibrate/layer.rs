//! A norm whose statistics were measured anew.

use batchnorm::{Population, RunningStatistics, UpdateWeight};
use serde::{Deserialize, Serialize};

use super::error::RecalibrateError;
use crate::engine::{WrittenNorm, statistics_of};
use crate::numbers::{Numbers, Precision};
use crate::statistics::Statistics;

/// A standard error of the mean, in standard deviations, above which more data are needed: the norm's output is off by as much.
const MOST_ERROR: f64 = 0.05;

/// A norm whose statistics were measured anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recalibrated {
    /// The place of its node in the graph.
    pub node: usize,
    /// Its name.
    pub name: String,
    /// The statistics of the file.
    pub old: Statistics,
    /// The new ones, as the file's number type holds them.
    pub new: Statistics,
    /// Values of each channel that they are of.
    pub values: u64,
    /// How far they moved.
    pub drift: Drift,
    /// Standard errors, by how samples differ from each other; none of one sample.
    pub errors: Option<Errors>,
    /// Those of each channel's mean and variance, in their units.
    pub channel_errors: Option<Vec<[f64; 2]>>,
}

/// How far statistics moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `|new mean - old mean| / sqrt(old variance + epsilon)`: the median of the channels and the largest.
    pub mean: [f64; 2],
    /// `sqrt((new variance + epsilon) / (old variance + epsilon))`: the least of the channels, the median and the largest.
    pub deviation: [f64; 3],
}

/// How well statistics are known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// The standard error of the mean, `/ sqrt(variance + epsilon)`: the median of the channels and the largest.
    pub mean: [f64; 2],
    /// The standard error of the variance, `/ (variance + epsilon)`, likewise.
    pub variance: [f64; 2],
    /// Samples that would bring the mean's median error down to a twentieth of a standard deviation, where it is above that.
    pub samples_needed: Option<u64>,
}

impl Recalibrated {
    pub(super) fn of(
        norm: &WrittenNorm,
        population: &Population,
        mix: Option<UpdateWeight>,
    ) -> Result<Recalibrated, RecalibrateError> {
        let channels = population.channels();
        let measured = statistics_of(&channels);
        let old = &norm.statistics;
        let overflow = || RecalibrateError::NotFinite { layer: norm.name.clone(), channels: channels.len() };
        let new = match mix {
            Some(weight) => mixed(old, &measured, weight).ok_or_else(overflow)?,
            None => measured,
        };
        let new =
            Statistics { mean: stored(&new.mean, norm.precision), variance: stored(&new.variance, norm.precision) };
        let not_finite =
            new.mean.iter().zip(&new.variance).filter(|(mean, variance)| !(mean.is_finite() && variance.is_finite()));
        let not_finite = not_finite.count();
        if not_finite > 0 {
            return Err(RecalibrateError::NotFinite { layer: norm.name.clone(), channels: not_finite });
        }
        let epsilon = norm.epsilon;
        let pairs =
            || (0..new.mean.len()).map(|at| (at, old.variance[at].max(0.0) + epsilon, new.variance[at] + epsilon));
        let means = pairs().map(|(at, before, _)| (new.mean[at] - old.mean[at]).abs() / before.sqrt()).collect();
        let deviations = pairs().map(|(_, before, after)| (after / before).sqrt()).collect();
        let [_, median, largest] = spread(means);
        let known: Option<Vec<_>> = population.standard_errors().into_iter().collect();
        let channel_errors =
            known.as_ref().map(|errors| errors.iter().map(|error| [error.mean, error.variance]).collect());
        let errors = known.map(|errors| {
            let relative = |of: &dyn Fn(usize) -> f64| spread((0..errors.len()).map(of).collect());
            let scale = |at: usize| channels[at].population_variance() + epsilon;
            let mean = relative(&|at| errors[at].mean / scale(at).sqrt());
            let variance = relative(&|at| errors[at].variance / scale(at));
            let needed = (population.batches() as f64 * (mean[1] / MOST_ERROR).powi(2)).ceil() as u64;
            Errors {
                mean: [mean[1], mean[2]],
                variance: [variance[1], variance[2]],
                samples_needed: (mean[1] > MOST_ERROR).then_some(needed),
            }
        });
        Ok(Recalibrated {
            node: norm.node,
            name: norm.name.clone(),
            old: old.clone(),
            values: channels.first().map_or(0, |channel| channel.count()),
            drift: Drift { mean: [median, largest], deviation: spread(deviations) },
            errors,
            channel_errors,
            new,
        })
    }
}

/// Numbers as a file holds them: those that are in use.
fn stored(numbers: &[f64], precision: Precision) -> Vec<f64> {
    let bytes = precision.bytes_of(numbers.iter().copied());
    Numbers::of_bytes(bytes, precision).map(|numbers| numbers.to_vec()).unwrap_or_default()
}

/// The least number, the median and the largest.
fn spread(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    let at = |at: usize| numbers.get(at).copied().unwrap_or(f64::NAN);
    [at(0), at(numbers.len() / 2), at(numbers.len().saturating_sub(1))]
}

/// The mix of old and new statistics.
fn mixed(old: &Statistics, new: &Statistics, weight: UpdateWeight) -> Option<Statistics> {
    let running =
        |statistics: &Statistics| RunningStatistics::from_parts(&statistics.mean, &statistics.variance, 0).ok();
    let mixed = running(old)?.mixed(&running(new)?, weight).ok()?;
    Some(Statistics { mean: mixed.mean().to_vec(), variance: mixed.variance().to_vec() })
}
