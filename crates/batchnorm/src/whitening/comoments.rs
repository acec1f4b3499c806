//! Count, means and comoments of a group of channels: the statistics of a batch in decorrelated batch norm.

use crate::call_error::CallError;
use crate::options::averaging::Estimator;
use batchnorm_kernel::passes::two_sum;

/// Count, mean of each channel and the matrix of comoments, sum (x_i - mean_i)(x_j - mean_j), of a group of channels.
///
/// Kept in `f64`, the means as unevaluated sums of two. Those of disjoint sets merge to those of their union, by Chan's
/// formula with an outer product: with delta the difference of the means,
/// `C = C_a + C_b + delta delta^T * n_a n_b / (n_a + n_b)`.
///
/// ```
/// use batchnorm::{Axes, Decorrelated, View};
/// let layer = Decorrelated::new(2, 2)?;
/// let x = View::new(&[1.0, 1.0, 2.0, 3.0, 3.0, 2.0], &[3, 2], Axes::NCHW)?;
/// let batch = layer.forward_train(&x)?.batch;
/// assert_eq!((batch.groups()[0].count(), batch.groups()[0].mean()), (3, &[2.0, 2.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Comoments {
    count: u64,
    mean: Vec<f64>,
    /// Low parts of the means: what the `f64` in `mean` do not hold.
    mean_low: Vec<f64>,
    /// The comoments, row after row.
    matrix: Vec<f64>,
}

impl Comoments {
    /// Comoments of no values.
    pub(super) fn empty(channels: usize) -> Comoments {
        let zeros = vec![0.0; channels];
        Comoments { count: 0, mean: zeros.clone(), mean_low: zeros, matrix: vec![0.0; channels * channels] }
    }

    /// Comoments from the means, each as its high and low part, and the lower triangle of the matrix, row by row.
    pub(super) fn from_triangle(count: u64, means: &[[f64; 2]], triangle: &[f64]) -> Comoments {
        let d = means.len();
        let element = |at: usize| {
            let (i, j) = ((at / d).max(at % d), (at / d).min(at % d));
            triangle[i * (i + 1) / 2 + j]
        };
        Comoments {
            count,
            mean: means.iter().map(|mean| mean[0]).collect(),
            mean_low: means.iter().map(|mean| mean[1]).collect(),
            matrix: (0..d * d).map(element).collect(),
        }
    }

    /// The comoments of the union of two disjoint sets.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn merge(&self, other: &Comoments) -> Result<Comoments, CallError> {
        let (expected, got) = (self.channels(), other.channels());
        if expected != got {
            return Err(CallError::Length { argument: "other", expected, got });
        }
        if self.count == 0 || other.count == 0 {
            return Ok(if self.count == 0 { other.clone() } else { self.clone() });
        }
        let count = self.count.saturating_add(other.count);
        let share = other.count as f64 / count as f64;
        let delta: Vec<f64> =
            (0..expected).map(|i| (other.mean[i] - self.mean[i]) + (other.mean_low[i] - self.mean_low[i])).collect();
        let means = (0..expected).map(|i| two_sum(self.mean[i], self.mean_low[i] + delta[i] * share));
        let (mean, mean_low) = means.unzip();
        let weight = self.count as f64 * share;
        let element = |at: usize| {
            let product = delta[at / expected] * delta[at % expected];
            self.matrix[at] + other.matrix[at] + product * weight
        };
        Ok(Comoments { count, mean, mean_low, matrix: (0..expected * expected).map(element).collect() })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Values a channel.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The comoments, row after row: symmetric to the bit.
    pub fn matrix(&self) -> &[f64] {
        &self.matrix
    }

    /// The covariance matrix by an estimator: comoments / (n - 1) or / n; of one value, which has no sample covariance,
    /// the population's, of none zeros.
    pub fn covariance(&self, estimator: Estimator) -> Vec<f64> {
        let divisor = estimator.divisor(self.count);
        self.matrix.iter().map(|sum| sum / divisor).collect()
    }

    /// Returns true if all means and comoments are finite: false where one channel held NaN or infinity or overflowed.
    pub fn is_finite(&self) -> bool {
        self.mean.iter().chain(&self.matrix).all(|value| value.is_finite())
    }

    /// High and low part of each mean.
    pub(super) fn means(&self) -> impl Iterator<Item = [f64; 2]> {
        self.mean.iter().zip(&self.mean_low).map(|(&mean, &mean_low)| [mean, mean_low])
    }
}

/// The comoments of one training batch, one for each group: what a commit takes into the running statistics. Those of
/// micro-batches or of other machines are merged group by group first ([`Comoments::merge`]).
#[derive(Debug, Clone, PartialEq)]
pub struct BatchComoments(Vec<Comoments>);

impl From<Vec<Comoments>> for BatchComoments {
    /// Comoments that were merged elsewhere, one for each group.
    fn from(groups: Vec<Comoments>) -> Self {
        BatchComoments(groups)
    }
}

impl BatchComoments {
    /// The comoments, one for each group.
    pub fn groups(&self) -> &[Comoments] {
        &self.0
    }

    /// Groups that held NaN or infinity, or whose covariance overflowed; ascending.
    pub fn non_finite(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&group| !self.0[group].is_finite()).collect()
    }

    /// The comoments of two parts of a batch, group by group.
    ///
    /// # Errors
    /// Another number of groups or of channels in one.
    pub fn merge(&self, other: &BatchComoments) -> Result<BatchComoments, CallError> {
        let (expected, got) = (self.0.len(), other.0.len());
        if expected != got {
            let group = self.0.first().map_or(0, Comoments::channels);
            return Err(CallError::OtherGroups { argument: "other", expected, group, got });
        }
        self.0.iter().zip(&other.0).map(|(one, other)| one.merge(other)).collect::<Result<_, _>>().map(BatchComoments)
    }
}
