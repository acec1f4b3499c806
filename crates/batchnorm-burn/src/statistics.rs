//! The running statistics of a layer: reading, installing and updating them; steps that are held until they are
//! committed.

use batchnorm::{Activation, BatchMoments, ConfigError, RunningStatistics};

use crate::error::ForwardError;
use crate::ledger::Now;
use crate::module::BatchNorm;
use crate::running::{Cell, RunningTensor, fits_f32, statistics_in, vector};

impl BatchNorm {
    /// The running statistics, as the crate `batchnorm` takes them.
    ///
    /// # Errors
    /// Tensors that cannot be statistics: different lengths, values that are not finite, a negative variance.
    pub fn running_statistics(&self) -> Result<RunningStatistics, ForwardError> {
        self.running().map_err(|error| self.error(error.into()))
    }

    /// Installs running statistics, rounded to `f32`; the variance is that of
    /// [`running_variance`](Self::running_variance)'s estimator. A layer that counts the [updates](Self::updates) of each channel goes on
    /// from theirs.
    ///
    /// # Errors
    /// Another number of channels; a value beyond `f32`. The layer is unchanged then.
    pub fn set_running_statistics(&self, running: &RunningStatistics) -> Result<(), ForwardError> {
        self.check_running_statistics(running)?;
        let rounded = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        self.ledger().end_given();
        let (mut mean, mut variance) = (self.running_mean.lock(), self.running_var.lock());
        let mut updates = self.updates.as_ref().map(RunningTensor::lock);
        // All held, so that no reader sees an old one and a new one.
        *mean = vector(rounded(running.mean()), &mean.device());
        *variance = vector(rounded(running.variance()), &variance.device());
        if let Some(updates) = &mut updates {
            **updates = vector(running.updates().iter().map(|&updates| updates as f32).collect(), &updates.device());
        }
        Ok(())
    }

    /// Checks that these could be installed.
    pub(crate) fn check_running_statistics(&self, running: &RunningStatistics) -> Result<(), ForwardError> {
        let [expected] = self.gamma.dims();
        let got = running.channels();
        if got != expected {
            return Err(self.error(ConfigError::Length { argument: "running_mean", expected, got }.into()));
        }
        for (argument, values) in [("running_mean", running.mean()), ("running_var", running.variance())] {
            if let Some(channel) = values.iter().position(|&value| !fits_f32(value)) {
                let got = values[channel];
                return Err(self.error(ConfigError::NotFinite { argument, channel, got }.into()));
            }
        }
        Ok(())
    }

    /// Begins to hold moments: from here on, training passes keep theirs apart instead of taking them into the running
    /// statistics, until [`commit_held`](Self::commit_held) or [`discard_held`](Self::discard_held) decides on them.
    /// For a step that may be skipped because its gradients overflow, for a forward pass that is computed a second
    /// time, for two forward passes before one backward.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// let norm = BatchNormConfig::new(3).init(&Device::default());
    /// let x = Tensor::<2>::random([8, 3], Distribution::Default, &Device::default());
    /// norm.hold();
    /// norm.forward_train(x.clone());
    /// norm.discard_held(); // the step was skipped
    /// norm.forward_train(x);
    /// assert_eq!(norm.held_batches(), Some(1));
    /// norm.commit_held()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(&self) {
        self.held.hold();
    }

    /// Number of batches held; `None` if each is taken in at once.
    pub fn held_batches(&self) -> Option<usize> {
        self.held.batches()
    }

    /// The moments held so far, of one batch after the other; none where each is taken in at once.
    pub fn held_moments(&self) -> Vec<BatchMoments> {
        self.held.moments()
    }

    /// Takes the moments held so far into the running statistics, batch after batch, and goes on holding. Gives the
    /// channels that were not updated by one of them, as [`Trained::not_updated`](crate::Trained::not_updated).
    ///
    /// # Errors
    /// Invalid options or running statistics; the moments are still held then.
    pub fn commit_held(&self) -> Result<Vec<usize>, ForwardError> {
        self.may_commit_held()?;
        let rule = self.options(Activation::Identity).map_err(|error| self.error(error.into()))?;
        self.ledger().commit_held(self.cells(), &rule).map_err(|reason| self.error(reason))
    }

    /// Checks that [`commit_held`](Self::commit_held) would not fail.
    pub(crate) fn may_commit_held(&self) -> Result<(), ForwardError> {
        self.check_updates().map_err(|reason| self.error(reason))?;
        self.options(Activation::Identity).map_err(|error| self.error(error.into()))?;
        self.running_statistics().map(drop)
    }

    /// Drops the moments held so far, and goes on holding. Gives the number of batches dropped.
    pub fn discard_held(&self) -> usize {
        self.held.discard()
    }

    /// Ends holding. Moments that are still held are dropped: commit them before. Gives the number of batches dropped.
    pub fn release(&self) -> usize {
        self.held.release()
    }

    /// Takes the moments of a batch into the running statistics, by the layer's conventions and policies. Gives the
    /// channels that were left as they were, because the batch's are not finite or the new ones would exceed `f32`.
    ///
    /// # Errors
    /// Another number of channels; invalid options or running statistics. The layer is unchanged then.
    pub fn commit(&self, batch: &BatchMoments) -> Result<Vec<usize>, ForwardError> {
        self.check_updates().map_err(|reason| self.error(reason))?;
        let rule = self.options(Activation::Identity).map_err(|error| self.error(error.into()))?;
        let seen = Now { rule: &rule, batch, part: None };
        self.ledger().commit(self.cells(), seen).map_err(|reason| self.error(reason))
    }

    /// The running statistics as the core takes them.
    pub(crate) fn running(&self) -> Result<RunningStatistics, ConfigError> {
        statistics_in(&self.cells())
    }

    /// Where the running statistics stand.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        [&self.running_mean, &self.running_var].into_iter().chain(&self.updates).map(RunningTensor::cell).collect()
    }
}
