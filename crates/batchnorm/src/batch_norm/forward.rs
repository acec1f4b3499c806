//! The forward passes: by the batch, by the running statistics, by a mix of both, and by switches that say which.

use crate::batch_norm::admission::Admitted;
use crate::batch_norm::channel_vectors::ChannelStatistics;
use crate::batch_norm::input::{BesideMemory, Input, InputKind};
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::{CallError, NOTHING_TO_EVALUATE_BY};
use crate::check::same_length;
use crate::options::averaging::UpdateWeight;
use crate::options::policies::{ConstantChannel, MissingRunning, SingleValue};
use crate::options::switches::{NormalizeBy, Switches};
use crate::parameters::{Parameters, WideParameters};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::{self, Call, two_sum};
use batchnorm_kernel::thresholds::{FEW_ELEMENTS, FEW_VALUES};
use batchnorm_kernel::{Element, Moments, Parameter, View, ViewMut};

/// The error of a mix without running statistics.
pub(crate) const NOTHING_TO_MIX_WITH: CallError = CallError::NoRunningStatistics {
    reason: "they are half of `NormalizeBy::Mix`; install them (`set_running`), or choose `NormalizeBy::Batch`",
};

impl Normalizer {
    /// The training forward pass, into `y`: of each channel
    /// `y = f(gamma * (x - mean) / sqrt(variance + eps) + beta)` with the batch's mean and population variance, f the
    /// [`Activation`](crate::Activation); the input's residual is added before f.
    ///
    /// `running` is needed for [`SingleValue::UseRunning`] and for [batch renormalisation](crate::Renormalization) alone, and
    /// never changed.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit, and what the policies refuse. `y` is untouched then.
    pub fn train<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        let beside = input.check_forward(y.layout())?;
        let widened = parameters.widened(x.channels())?;
        self.check_renormalization(x.channels(), running)?;
        // What two sweeps take in any case; and few values a channel: what is done for each channel takes longer than the
        // values, and is done once then.
        let rows = x.memory().geometry().is_dense_rows();
        let few = x.count() <= FEW_VALUES && x.count() * x.channels() <= FEW_ELEMENTS;
        let measured = match self.admit(input, running)? {
            Admitted::ByRunning(running, batch) => {
                return Ok((self.eval(input, parameters, Some(running), y)?, batch));
            }
            Admitted::ByBatch(None) if rows || few || self.open_limits(running).is_some() => Some(self.moments(x)),
            Admitted::ByBatch(batch) => batch,
        };
        if let Some(batch) = measured {
            let saved = self.saved_in_training(&batch, x.count(), input.kind(), &widened, running)?;
            self.normalize(x, &beside, &saved, y);
            return Ok((saved, batch));
        }
        // The moments are not known yet: each channel is measured and normalised at once.
        let coefficients = |channel: usize, moments: Moments| {
            self.coefficients(&moments, widened.gamma[channel], widened.beta[channel])
        };
        let mut channels = T::operations().train(self.pass(&beside), x.memory(), y.memory(), &coefficients);
        // The loops give no moments for an empty batch.
        channels.resize(x.channels(), Moments::EMPTY);
        let batch = BatchMoments::from(channels);
        Ok((self.saved_of_batch(&batch, x.count(), input.kind(), &widened), batch))
    }

    /// The evaluation forward pass, into `y`: the same formula with the running mean and variance, which are
    /// constants to the backward pass.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit; no running statistics under [`MissingRunning::Error`]. `y` is untouched
    /// then.
    pub fn eval<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        let Some(running) = running else {
            if self.policies.missing_running == MissingRunning::BatchStatistics {
                let by_batch = Normalizer { renormalization: None, ..self.clone() };
                return by_batch.train(input, parameters, None, y).map(|(saved, _)| saved);
            }
            return Err(CallError::NoRunningStatistics { reason: NOTHING_TO_EVALUATE_BY });
        };
        let beside = input.check_forward(y.layout())?;
        let saved = self.saved_of_running(x.channels(), x.count(), input.kind(), parameters, running)?;
        self.normalize(x, &beside, &saved, y);
        Ok(saved)
    }

    /// The forward pass as the loops take it.
    pub(crate) fn pass<'a, T>(&'a self, beside: &'a BesideMemory<'_, '_, T>) -> passes::Forward<'a, T> {
        passes::Forward { machine: &self.machine, activation: self.activation, beside: beside.as_beside() }
    }

    /// Writes y from the input and the saved values of the pass. All that could fail was checked before.
    pub(crate) fn normalize<T: Element>(
        &self,
        x: &View<T>,
        beside: &BesideMemory<T>,
        saved: &Saved,
        y: &mut ViewMut<T>,
    ) {
        T::operations().normalize(self.pass(beside), x.memory(), y.memory(), saved.normalize_coefficients());
    }

    /// The forward pass as the switches say, into `y`. `y = f(gamma * (x - mean) / sqrt(variance + eps) + beta)`, mean
    /// and variance those of [`Switches::normalize_by`], f the [`Activation`](crate::Activation); the input's residual
    /// is added before f.
    ///
    /// Gives what the backward pass needs, and what there is to take into the running statistics: the moments of the
    /// batch, or none where `update_running` is off. `running` is never changed.
    ///
    /// # Errors
    /// As [`train`](Self::train) where the batch plays a part, else as [`eval`](Self::eval); no running statistics to
    /// mix with. `y` is untouched then.
    pub fn forward<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        switches: Switches,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let input = input.into();
        let none = || BatchMoments::from(vec![Moments::EMPTY; input.x().channels()]);
        let (saved, batch) = self.forward_by_switches(input, parameters, switches, running, y)?;
        Ok((saved, batch.unwrap_or_else(none)))
    }

    /// [`forward`](Self::forward), with `None` for the moments where there is nothing to take into the running
    /// statistics.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_by_switches<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        switches: Switches,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, Option<BatchMoments>), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let with_moments = |(saved, batch)| (saved, Some(batch));
        let (saved, batch) = match switches.normalize_by.simplified() {
            NormalizeBy::Batch => with_moments(self.train(input, parameters, running, y)?),
            NormalizeBy::Mix(weight) => with_moments(self.mix(input, parameters, weight, running, y)?),
            NormalizeBy::Running => {
                // All that may be refused comes before anything is written.
                let moments = || self.check_finite(self.moments_of(input)?);
                let batch = switches.update_running.then(moments).transpose()?;
                let batch = batch.map(|batch| self.without_singles(batch));
                (self.eval(input, parameters, running, y)?, batch)
            }
        };
        Ok((saved.switched(switches), batch.filter(|_| switches.update_running)))
    }

    /// The moments of a batch that was normalised by the running statistics. One value a channel is no reason to refuse it
    /// then; but it has no variance for the running statistics, which leave such a channel out unless the policy takes its
    /// variance as 0.
    pub(crate) fn without_singles(&self, batch: BatchMoments) -> BatchMoments {
        let takes_single = self.policies.single_value == SingleValue::Population;
        let kept = |moments: &Moments| if moments.is_single() && !takes_single { Moments::EMPTY } else { *moments };
        batch.channels().iter().map(kept).collect::<Vec<_>>().into()
    }

    /// The forward pass by a mix of batch and running statistics, the batch with the weight of the new value.
    fn mix<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: Input<'i, 'v, T>,
        parameters: Parameters<P>,
        weight: UpdateWeight,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let x = input.x();
        let running = running.ok_or(NOTHING_TO_MIX_WITH)?;
        let beside = input.check_forward(y.layout())?;
        let widened = parameters.widened(x.channels())?;
        same_length("running_mean", x.channels(), running.channels())?;
        let (batch, by_running) = self.admit_measured(input, Some(running))?;
        // No value, or one under `SingleValue::UseRunning`, has no statistics to mix in.
        if by_running.is_some() || x.count() == 0 {
            return Ok((self.eval(input, parameters, Some(running), y)?, batch));
        }
        let saved = self.saved_of_mix(x.count(), input.kind(), &widened, weight, running, &batch);
        self.normalize(x, &beside, &saved, y);
        Ok((saved, batch))
    }

    /// Saved values of a pass by mixed statistics.
    pub(crate) fn saved_of_mix(
        &self,
        count: usize,
        kind: InputKind,
        parameters: &WideParameters,
        weight: UpdateWeight,
        running: &RunningStatistics,
        batch: &BatchMoments,
    ) -> Saved {
        let (old, new) = (weight.old_value(), weight.new_value());
        let declares_zero = self.policies.constant_channel == ConstantChannel::ZeroGradient;
        // The variance of the mix is 0 where that of both is.
        let is_constant =
            |channel: usize| batch.channels()[channel].is_constant() && running.variance()[channel] == 0.0;
        let statistics = |channel: usize| {
            let moments = &batch.channels()[channel];
            let (running_mean, running_variance) = (running.mean()[channel], running.variance()[channel]);
            let (batch_mean, batch_mean_low) = moments.mean_pair();
            // NaN where the channel is not finite, so that all of its output is.
            let step = if moments.is_finite() { (batch_mean - running_mean) + batch_mean_low } else { f64::NAN };
            // old * running + new * batch as running + new * (batch - running): the small step is rounded, not the
            // mean.
            let (mean, mean_low) = two_sum(running_mean, new * step);
            let variance = moments.population_variance();
            ChannelStatistics {
                total_weight: moments.weight(),
                mean,
                mean_low,
                to_batch_mean: (batch_mean - mean) + batch_mean_low,
                variance: old * running_variance + new * variance,
                variance_about_mean: variance,
            }
        };
        let saved = self.saved_of(count, kind, parameters, statistics, declares_zero.then_some(is_constant));
        Saved { batch_share: new, ..saved }
    }
}
