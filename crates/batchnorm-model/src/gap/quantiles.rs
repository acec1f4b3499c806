//! Quantiles of what a norm sees, channel by channel, in one pass and little memory.

use serde::{Deserialize, Serialize};

use crate::engine::{Array, WrittenNorm};
use crate::statistics::Statistics;

/// The shares of the values that lie below.
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// Bins, and the deviations on either side of the mean that they cover; what lies beyond is counted in the last ones.
const BINS: usize = 256;
const DEVIATIONS: f64 = 8.0;

/// For each channel the values below which these [shares](QUANTILES) lie: within a sixteenth of the channel's deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantiles(pub Vec<[f64; 5]>);

/// Bins about the mean of each channel of a norm, in which values are counted.
pub(super) struct Histogram {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Histogram {
    /// For a norm that sees values with these statistics.
    pub fn of(norm: &WrittenNorm, statistics: &Statistics) -> Histogram {
        let deviation = |variance: &f64| (variance.max(0.0) + norm.epsilon).sqrt();
        Histogram { means: statistics.mean.clone(), deviations: statistics.variance.iter().map(deviation).collect() }
    }

    /// The counts of a batch [N, C, ...].
    pub fn count(&self, array: &Array) -> Vec<u64> {
        let channels = self.means.len();
        let mut counts = vec![0; BINS * channels];
        let Some(values) = array.as_floats() else { return counts };
        let plane = array.shape.iter().skip(2).product::<usize>().max(1);
        for (at, values) in values.chunks(plane).enumerate() {
            let channel = at % channels;
            let scale = BINS as f64 / (2.0 * DEVIATIONS * self.deviations[channel]);
            let counts = &mut counts[channel * BINS..(channel + 1) * BINS];
            for &value in values {
                let place = (f64::from(value) - self.means[channel]) * scale + (BINS / 2) as f64;
                // (As a whole number it ends at the bounds of its type.)
                counts[(place as usize).min(BINS - 1)] += 1;
            }
        }
        counts
    }

    /// What follows from the counts of all.
    pub fn quantiles(&self, counts: &[u64]) -> Quantiles {
        let of = |(channel, counts): (usize, &[u64])| {
            let all: u64 = counts.iter().sum();
            QUANTILES.map(|share| {
                let below = share * all as f64;
                let mut seen = 0.0;
                let mut bin = 0.0;
                for (at, &count) in counts.iter().enumerate() {
                    let count = count as f64;
                    if seen + count >= below && count > 0.0 {
                        bin = at as f64 + (below - seen) / count;
                        break;
                    }
                    seen += count;
                }
                let width = 2.0 * DEVIATIONS / BINS as f64;
                self.means[channel] + (bin * width - DEVIATIONS) * self.deviations[channel]
            })
        };
        Quantiles(counts.chunks(BINS).enumerate().map(of).collect())
    }
}
