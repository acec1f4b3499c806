//! Which batches the policies take, and by what these are normalised. All that may be refused is found out here, before
//! anything is written.

use crate::batch_norm::input::Input;
use crate::batch_norm::normalizer::Normalizer;
use crate::call_error::CallError;
use crate::options::policies::{EmptyBatch, NonFinite, SingleValue};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::{Element, Moments, View};

/// By what a batch is normalised that the policies take.
pub(crate) enum Admitted<'r> {
    /// By itself; with its moments, where these had to be known to decide.
    ByBatch(Option<BatchMoments>),
    /// By the running statistics, as [`SingleValue::UseRunning`] has it; with the batch's own moments.
    ByRunning(&'r RunningStatistics, BatchMoments),
}

const ONE_BY_RUNNING: &str = "one value a channel under SingleValue::UseRunning; train on a larger batch first, \
                              install them, or choose another `SingleValue` policy";

impl Normalizer {
    /// By what a batch is normalised in training.
    pub(crate) fn admit<'r, T: Element>(
        &self,
        input: Input<T>,
        running: Option<&'r RunningStatistics>,
    ) -> Result<Admitted<'r>, CallError> {
        let x = input.x();
        let by_running = self.policies.single_value == SingleValue::UseRunning;
        let running = || running.ok_or(CallError::NoRunningStatistics { reason: ONE_BY_RUNNING });
        if input.weights().is_some() {
            // How many values count is known when they have been looked at.
            let batch = self.moments_of(input)?;
            self.check_masks(&batch)?;
            if by_running && batch.channels().iter().any(Moments::is_single) {
                return Ok(Admitted::ByRunning(running()?, self.check_finite(batch)?));
            }
            self.check_weights(&batch)?;
            return Ok(Admitted::ByBatch(Some(self.check_finite(batch)?)));
        }
        if by_running && x.count() == 1 {
            return Ok(Admitted::ByRunning(running()?, self.check_finite(self.moments(x))?));
        }
        self.check_count(x, x.count() as u64)?;
        // Only this policy needs a sweep of its own; else the moments come with the pass.
        let measured = self.policies.non_finite == NonFinite::Error;
        let batch = measured.then(|| self.check_finite(self.moments(x))).transpose()?;
        Ok(Admitted::ByBatch(batch))
    }

    /// [`admit`](Self::admit) for passes that need the moments beforehand: the batch's, and the running statistics where it
    /// is normalised by those.
    pub(crate) fn admit_measured<'r, T: Element>(
        &self,
        input: Input<T>,
        running: Option<&'r RunningStatistics>,
    ) -> Result<(BatchMoments, Option<&'r RunningStatistics>), CallError> {
        Ok(match self.admit(input, running)? {
            Admitted::ByBatch(Some(batch)) => (batch, None),
            Admitted::ByBatch(None) => (self.moments(input.x()), None),
            Admitted::ByRunning(running, batch) => (batch, Some(running)),
        })
    }

    /// The moments, unless the policy refuses channels that are not finite.
    pub(crate) fn check_finite(&self, batch: BatchMoments) -> Result<BatchMoments, CallError> {
        let channels = batch.non_finite();
        if self.policies.non_finite == NonFinite::Error && !channels.is_empty() {
            return Err(CallError::NonFinite { channels });
        }
        Ok(batch)
    }

    /// Errors where the policies refuse a batch of `count` values a channel, which `x` belongs to.
    pub(crate) fn check_count<T: Element>(&self, x: &View<T>, count: u64) -> Result<(), CallError> {
        match count {
            0 if self.policies.empty_batch == EmptyBatch::Error => {
                Err(CallError::EmptyBatch { shape: x.shape().to_vec() })
            }
            1 if matches!(self.policies.single_value, SingleValue::Error | SingleValue::UseRunning) => {
                let (shape, axis) = (x.shape().to_vec(), x.channel_axis());
                Err(CallError::SingleValue { shape, axis })
            }
            _ => Ok(()),
        }
    }

    /// Errors where the policies refuse a batch of whose channels so little counts.
    pub(crate) fn check_weights(&self, batch: &BatchMoments) -> Result<(), CallError> {
        self.check_masks(batch)?;
        let refused = matches!(self.policies.single_value, SingleValue::Error | SingleValue::UseRunning);
        match batch.channels().iter().position(Moments::is_single) {
            Some(channel) if refused => {
                let moments = batch.channels()[channel];
                Err(CallError::SingleWeighted { channel, count: moments.count(), weight: moments.weight() })
            }
            _ => Ok(()),
        }
    }

    /// Errors where the policies refuse a batch with a channel that is all masked.
    fn check_masks(&self, batch: &BatchMoments) -> Result<(), CallError> {
        match batch.channels().iter().position(|moments| moments.count() == 0) {
            Some(channel) if self.policies.empty_batch == EmptyBatch::Error => Err(CallError::AllMasked { channel }),
            _ => Ok(()),
        }
    }
}
