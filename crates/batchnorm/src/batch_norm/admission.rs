//! Admission of a training batch: the policies refuse it, or say which statistics normalise it. This is decided before
//! anything is written.

use crate::batch_norm::input::Input;
use crate::batch_norm::normalizer::Normalizer;
use crate::call_error::CallError;
use crate::options::policies::{EmptyBatch, NonFinite, SingleValue};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::{Element, Moments, View};

/// The statistics that normalise a batch which the policies admit.
pub(crate) enum Admitted<'r> {
    /// The batch's own; with its moments, where the decision needed them.
    ByBatch(Option<BatchMoments>),
    /// The running statistics, by [`SingleValue::UseRunning`]; with the batch's own moments.
    ByRunning(&'r RunningStatistics, BatchMoments),
}

/// Reason in the error of a batch that only missing running statistics could normalise, and its mend.
const RUNNING_FOR_SINGLE_VALUE: &str = "one value a channel under SingleValue::UseRunning; train on a larger batch \
                                        first, install them, or choose another `SingleValue` policy";

impl Normalizer {
    /// Chooses the statistics that normalise a batch in training; errors where the policies refuse it.
    pub(crate) fn admit<'r, T: Element>(
        &self,
        input: Input<T>,
        running: Option<&'r RunningStatistics>,
    ) -> Result<Admitted<'r>, CallError> {
        let x = input.x();
        let single_by_running = self.policies.single_value == SingleValue::UseRunning;
        let running = || running.ok_or(CallError::NoRunningStatistics { reason: RUNNING_FOR_SINGLE_VALUE });
        if input.weights().is_some() {
            // How many values of a channel count is known from the moments alone.
            let batch = self.moments_of(input)?;
            self.check_masks(&batch)?;
            // One such channel is enough: a pass normalises all channels by the same kind of statistics.
            if single_by_running && batch.channels().iter().any(Moments::is_single) {
                return Ok(Admitted::ByRunning(running()?, self.check_finite(batch)?));
            }
            self.check_weights(&batch)?;
            return Ok(Admitted::ByBatch(Some(self.check_finite(batch)?)));
        }
        if single_by_running && x.count() == 1 {
            return Ok(Admitted::ByRunning(running()?, self.check_finite(self.moments(x))?));
        }
        self.check_count(x, x.count() as u64)?;
        // Only this policy needs the moments now, by a sweep of its own; else they come with the pass.
        let needs_moments = self.policies.non_finite == NonFinite::Error;
        let batch = needs_moments.then(|| self.check_finite(self.moments(x))).transpose()?;
        Ok(Admitted::ByBatch(batch))
    }

    /// [`admit`](Self::admit) for passes that need the moments beforehand: the batch's moments, and the running
    /// statistics if these normalise it.
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

    /// The moments given, unless the policy refuses channels that are not finite.
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
                let (shape, axes) = (x.shape().to_vec(), x.channel_axes().to_vec());
                Err(CallError::SingleValue { shape, axes })
            }
            _ => Ok(()),
        }
    }

    /// Errors where the policies refuse a weighted batch, because in some channel no value counts, or only one.
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
    pub(crate) fn check_masks(&self, batch: &BatchMoments) -> Result<(), CallError> {
        match batch.channels().iter().position(|moments| moments.count() == 0) {
            Some(channel) if self.policies.empty_batch == EmptyBatch::Error => Err(CallError::AllMasked { channel }),
            _ => Ok(()),
        }
    }
}
