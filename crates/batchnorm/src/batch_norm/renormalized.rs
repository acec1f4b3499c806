//! Batch renormalisation: a training pass by the batch, corrected towards the running statistics. What it is, and its formulas, are
//! at [`Renormalization`](crate::Renormalization).
//!
//! To keep the digits where d and xhat cancel, y is computed as (x - m') s' + beta, with m' = m - d s / r, which is the running
//! mean where nothing is at its limit.

use crate::affine::inverse_deviation;
use crate::batch_norm::channel_vectors::Corrected;
use crate::batch_norm::correction::Correction;
use crate::batch_norm::input::InputKind;
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::renormalization::RenormalizationLimits;
use crate::parameters::WideParameters;
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::Moments;
use batchnorm_kernel::passes::two_sum;

/// Reason in the error of a batch that is to be renormalised by nothing, and its mend.
const RUNNING_TO_CORRECT_BY: &str = "batch renormalisation corrects the batch by them; install them (`RunningStatistics::start` before \
                                     the first batch), or train without `renormalization`";

/// What corrects one channel.
struct ChannelCorrection {
    r: f64,
    d: f64,
    /// What replaces the numbers of batch norm; nothing where the batch is left as it is.
    corrected: Option<Corrected>,
}

impl Normalizer {
    /// Errors if the batch is to be renormalised and nothing is there to do it by.
    pub(crate) fn check_renormalization(
        &self,
        channels: usize,
        running: Option<&RunningStatistics>,
    ) -> Result<(), CallError> {
        match (self.renormalization, running) {
            (Some(_), None) => Err(CallError::NoRunningStatistics { reason: RUNNING_TO_CORRECT_BY }),
            (Some(_), Some(running)) => same_length("running_mean", channels, running.channels()),
            (None, _) => Ok(()),
        }
    }

    /// The limits by which a batch behind these running statistics is renormalised; `None` where that leaves batch norm.
    pub(crate) fn open_limits<'r>(
        &self,
        running: Option<&'r RunningStatistics>,
    ) -> Option<(RenormalizationLimits, &'r RunningStatistics)> {
        let (renormalization, running) = self.renormalization.zip(running)?;
        let limits = renormalization.limits(running.batches());
        (!limits.are_closed()).then_some((limits, running))
    }

    /// Saved values of a training pass: by the batch, renormalised if the configuration says so.
    ///
    /// # Errors
    /// No running statistics to renormalise by, or those of another number of channels.
    pub(crate) fn saved_in_training(
        &self,
        batch: &BatchMoments,
        count: usize,
        kind: InputKind,
        parameters: &WideParameters,
        running: Option<&RunningStatistics>,
    ) -> Result<Saved, CallError> {
        self.check_renormalization(parameters.gamma.len(), running)?;
        let mut saved = self.saved_of_batch(batch, count, kind, parameters);
        let Some((limits, running)) = self.open_limits(running) else { return Ok(saved) };
        let channels = parameters.gamma.len();
        let mut correction = Correction { r: Vec::with_capacity(channels), d: Vec::with_capacity(channels) };
        for (channel, moments) in batch.channels().iter().enumerate() {
            let of_running = [running.mean()[channel], running.variance()[channel]];
            let ChannelCorrection { r, d, corrected } =
                self.correction_of(moments, of_running, limits, parameters.gamma[channel]);
            correction.r.push(r);
            correction.d.push(d);
            if let Some(corrected) = corrected {
                saved.channels.correct(channel, parameters.beta[channel], corrected);
            }
        }
        Ok(Saved { correction: Some(correction), ..saved })
    }

    /// The correction of a channel towards its running mean and variance.
    fn correction_of(
        &self,
        moments: &Moments,
        [running_mean, running_variance]: [f64; 2],
        RenormalizationLimits { r_max, d_max }: RenormalizationLimits,
        gamma: f64,
    ) -> ChannelCorrection {
        let nothing = ChannelCorrection { r: 1.0, d: 0.0, corrected: None };
        // No value: there is nothing to correct. Not finite: all of the channel is NaN as it is.
        if moments.count() == 0 || !moments.is_finite() {
            return nothing;
        }
        let (mean, mean_low) = moments.mean_pair();
        let variance = moments.population_variance();
        let deviation = (variance + self.epsilon).sqrt();
        let running_deviation = (running_variance + self.epsilon).sqrt();
        // 0 / 0: neither has a spread, or they do not differ.
        let quotient = |of: f64, by: f64, alike: f64| if of == 0.0 && by == 0.0 { alike } else { of / by };
        let (ratio, distance) = (
            quotient(deviation, running_deviation, 1.0),
            quotient((mean - running_mean) + mean_low, running_deviation, 0.0),
        );
        let (r, d) = (ratio.clamp(1.0 / r_max, r_max), distance.clamp(-d_max, d_max));
        let as_in_evaluation = r == ratio && d == distance;
        if r.is_infinite() || d.is_infinite() {
            // Without a limit, towards a running deviation of 0, to which evaluation gives y = beta.
            let beta = Corrected { mean, mean_low, to_batch_mean: mean_low, variance, scale: 0.0, shift: 0.0 };
            return ChannelCorrection { r: 0.0, d: 0.0, corrected: Some(beta) };
        }
        if r == 1.0 && d == 0.0 && !as_in_evaluation {
            // The limits leave batch norm.
            return nothing;
        }
        // r / s, which of an r within its limits is 1 / S.
        let inverse = if r == ratio {
            inverse_deviation(running_variance, self.epsilon)
        } else {
            r * inverse_deviation(variance, self.epsilon)
        };
        let batch = Corrected { mean, mean_low, to_batch_mean: mean_low, variance, scale: gamma * inverse, shift: 0.0 };
        let corrected = if as_in_evaluation {
            let to_batch_mean = (mean - running_mean) + mean_low;
            Corrected { mean: running_mean, mean_low: 0.0, to_batch_mean, ..batch }
        } else if d == 0.0 {
            batch
        } else if deviation == 0.0 {
            // Without a spread no other mean makes up for d.
            Corrected { shift: gamma * d, ..batch }
        } else {
            let (shifted, rest) = two_sum(mean, -d / inverse);
            Corrected { mean: shifted, mean_low: rest + mean_low, to_batch_mean: (mean - shifted) + mean_low, ..batch }
        };
        ChannelCorrection { r, d, corrected: Some(corrected) }
    }
}
