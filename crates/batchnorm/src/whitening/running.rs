//! Running mean and covariance, by which evaluation whitens. Estimator and update weights are those of batch norm
//! (`options::averaging`).

use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::error::ConfigError;
use crate::options::limits::{check_channels, finite_values};
use crate::options::policies::NonFinite;
use crate::statistics::running::enough_values;
use crate::whitening::comoments::BatchComoments;
use crate::whitening::config::WhiteningConfig;
use crate::whitening::eigen::negative_eigenvalue;
use crate::whitening::groups::{checked_group, groups};
use batchnorm_kernel::Parameter;
use std::ops::Range;

/// Running mean of each channel and running covariance matrix of each group, in `f64`, and the number of batches that
/// went into them.
///
/// The *covariance* is averaged and its inverse square root taken in evaluation, so that the statistics mean the same
/// as those of batch norm and can come from a whole data set. (The implementation of the paper's authors averages the
/// matrices W of the batches instead: after `W` of unlike batches that is another matrix.)
///
/// ```
/// use batchnorm::RunningCovariance;
/// let running = RunningCovariance::start(3, 2)?; // 3 channels: a pair, and one alone
/// assert_eq!(running.covariances(), [vec![1.0, 0.0, 0.0, 1.0], vec![1.0]]);
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RunningCovariance {
    group: usize,
    mean: Vec<f64>,
    /// Covariance matrix of each group, row after row.
    covariances: Vec<Vec<f64>>,
    batches: u64,
    /// Updates of each group: fewer than `batches` where one was skipped.
    updates: Vec<u64>,
}

impl RunningCovariance {
    /// Mean 0 and covariance I: a layer that has seen nothing passes its input through, but for eps.
    ///
    /// # Errors
    /// No channel or too many; groups of none.
    pub fn start(channels: usize, group: usize) -> Result<Self, ConfigError> {
        check_channels(channels)?;
        let group = checked_group(channels, group)?;
        let identity = |range: Range<usize>| {
            let d = range.len();
            (0..d * d).map(|at| if at % (d + 1) == 0 { 1.0 } else { 0.0 }).collect()
        };
        let covariances: Vec<Vec<f64>> = groups(channels, group).map(identity).collect();
        let updates = vec![0; covariances.len()];
        Ok(RunningCovariance { group, mean: vec![0.0; channels], covariances, batches: 0, updates })
    }

    /// From a checkpoint: the mean of each channel, and the matrices of all groups one after the other, row after row;
    /// `batches` is what a cumulative average goes on from.
    ///
    /// # Errors
    /// No channel, groups of none, other lengths, NaN or infinity; a matrix that is not symmetric or has a negative
    /// eigenvalue (by more than rounding to `f32` explains).
    pub fn from_parts<P: Parameter>(
        mean: &[P],
        covariances: &[P],
        group: usize,
        batches: u64,
    ) -> Result<Self, ConfigError> {
        check_channels(mean.len())?;
        let sizes = groups(mean.len(), checked_group(mean.len(), group)?).map(|range| range.len() * range.len());
        let (expected, got) = (sizes.sum(), covariances.len());
        if got != expected {
            return Err(ConfigError::Matrices { argument: "running_covariance", expected, got });
        }
        let mut running = RunningCovariance::start(mean.len(), group)?;
        running.mean = finite_values("running_mean", mean, mean.len())?;
        let mut remaining = &finite_values("running_covariance", covariances, expected)?[..];
        for (number, matrix) in running.covariances.iter_mut().enumerate() {
            let (covariance, others) = remaining.split_at(matrix.len());
            check_covariance(covariance, number)?;
            matrix.copy_from_slice(covariance);
            remaining = others;
        }
        running.batches = batches;
        running.updates.fill(batches);
        Ok(running)
    }

    /// These statistics with the number of updates of each group, as [`updates`](Self::updates) gave it.
    ///
    /// # Errors
    /// Another length than the groups.
    pub fn with_updates(self, updates: &[u64]) -> Result<Self, ConfigError> {
        if updates.len() != self.updates.len() {
            let (expected, got) = (self.updates.len(), updates.len());
            return Err(ConfigError::Length { argument: "updates", expected, got });
        }
        Ok(RunningCovariance { updates: updates.to_vec(), ..self })
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Covariance matrix of each group by the layer's estimator, row after row.
    pub fn covariances(&self) -> &[Vec<f64>] {
        &self.covariances
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Channels of a group; the last one may have fewer.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Batches committed so far.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Updates of each group: fewer than [`batches`](Self::batches) where one was skipped.
    pub fn updates(&self) -> &[u64] {
        &self.updates
    }

    /// Takes in the comoments of one batch by the conventions and policies of a configuration: of each group
    /// `running = old weight * running + new weight * batch`, for the means and for the covariance by the configured
    /// estimator. Gives the groups that were skipped because they are not finite.
    ///
    /// Batches without a value, and with one value where the policy says so, do not count.
    ///
    /// # Errors
    /// Other groups; the statistics are unchanged then.
    pub fn update(&mut self, batch: &BatchComoments, config: &WhiteningConfig) -> Result<Vec<usize>, CallError> {
        let (expected, got) = (self.covariances.len(), batch.groups().len());
        let ranges: Vec<Range<usize>> = groups(self.channels(), self.group).collect();
        if expected != got {
            return Err(CallError::OtherGroups { argument: "batch", expected, group: self.group, got });
        }
        for (range, group) in ranges.iter().zip(batch.groups()) {
            same_length("batch", range.len(), group.channels())?;
        }
        let is_update = |count: u64| enough_values(count, count == 1, &config.policies);
        let counted = u64::from(batch.groups().iter().any(|group| is_update(group.count())));
        self.batches = self.batches.saturating_add(counted);
        let mut skipped = Vec::new();
        for (number, (range, comoments)) in ranges.into_iter().zip(batch.groups()).enumerate() {
            if !is_update(comoments.count()) {
                continue;
            }
            if !comoments.is_finite() && config.policies.non_finite != NonFinite::Update {
                skipped.push(number);
                continue;
            }
            self.updates[number] += 1;
            let weight = config.averaging.weight_of_update(self.updates[number]);
            let average = |old: &mut [f64], new: &[f64]| {
                old.iter_mut().zip(new).for_each(|(old, &new)| *old = weight.average(*old, new));
            };
            average(&mut self.mean[range], comoments.mean());
            average(&mut self.covariances[number], &comoments.covariance(config.estimator));
        }
        Ok(skipped)
    }
}

/// Errors unless the matrix of a group is symmetric and has no negative eigenvalue.
fn check_covariance(matrix: &[f64], group: usize) -> Result<(), ConfigError> {
    let d = matrix.len().isqrt();
    let wrong = |reason| Err(ConfigError::NotACovariance { argument: "running_covariance", group, reason });
    for (i, j) in (0..d).flat_map(|i| (0..i).map(move |j| (i, j))) {
        let (below, above) = (matrix[i * d + j], matrix[j * d + i]);
        if below != above {
            return wrong(format!("element ({i}, {j}) is {below:?}, ({j}, {i}) is {above:?}"));
        }
    }
    match negative_eigenvalue(matrix, d) {
        Some(value) => wrong(format!("it has the negative eigenvalue {value:e}")),
        None => Ok(()),
    }
}
