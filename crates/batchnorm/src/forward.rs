//! The forward pass by switches: by the batch, by the running statistics, or by a mix of them.

use crate::affine::inverse_deviation;
use crate::config::{ConstantChannel, SingleValue};
use crate::element::{Element, Parameter};
use crate::error::CallError;
use crate::input::Input;
use crate::moments::{Moments, two_sum};
use crate::rule::{BatchMoments, Parameters, Rule, Widened, products, same_length};
use crate::running::{RunningStatistics, UpdateWeight};
use crate::saved::{Kind, Saved};
use crate::switches::{NormalizeBy, Switches};
use crate::view::ViewMut;

impl Rule {
    /// The forward pass as the switches say, into `y`. `y = f(gamma * (x - mean) / sqrt(variance + eps) + beta)`, mean and
    /// variance those of [`Switches::normalize_by`], f the [`Activation`](crate::Activation); the input's residual is
    /// added before f.
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
        let nothing = || BatchMoments::from(vec![Moments::EMPTY; input.x().channels()]);
        let (saved, batch) = self.by_switches(input, parameters, switches, running, y)?;
        Ok((saved, batch.unwrap_or_else(nothing)))
    }

    /// [`forward`](Self::forward); no moments where there is nothing to take into the running statistics.
    pub(crate) fn by_switches<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: Input<'i, 'v, T>,
        parameters: Parameters<P>,
        switches: Switches,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, Option<BatchMoments>), CallError> {
        let by = match switches.normalize_by {
            NormalizeBy::Mix(weight) if weight.new_value() == 0.0 => NormalizeBy::Running,
            NormalizeBy::Mix(weight) if weight.old_value() == 0.0 => NormalizeBy::Batch,
            other => other,
        };
        let all = |(saved, batch)| (saved, Some(batch));
        let (saved, batch) = match by {
            NormalizeBy::Batch => all(self.train(input, parameters, running, y)?),
            NormalizeBy::Mix(weight) => all(self.mix(input, parameters, weight, running, y)?),
            NormalizeBy::Running => {
                // All that may be refused comes before anything is written.
                let moments = || self.acceptable(self.moments_of(input)?);
                let batch = switches.update_running.then(moments).transpose()?;
                // One value is nothing to learn a variance from, and no reason to refuse: nothing is normalised by it.
                let population = self.policies.single_value == SingleValue::Population;
                let teaches = |moments: &Moments| population || !moments.is_single();
                let of = |moments: &Moments| if teaches(moments) { *moments } else { Moments::EMPTY };
                let batch = batch.map(|batch| batch.channels().iter().map(of).collect::<Vec<_>>().into());
                (self.eval(input, parameters, running, y)?, batch)
            }
        };
        let saved = if switches.gradient_through_statistics { saved } else { saved.with_constant_statistics() };
        let saved = Saved { trains_parameters: switches.train_parameters, ..saved };
        Ok((saved, batch.filter(|_| switches.update_running)))
    }

    fn mix<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: Input<'i, 'v, T>,
        parameters: Parameters<P>,
        weight: UpdateWeight,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        const REASON: &str = "they are half of `NormalizeBy::Mix`; train first, install them, or choose \
                              `NormalizeBy::Batch`";
        let x = input.x();
        let running = running.ok_or(CallError::NoRunningStatistics { reason: REASON })?;
        input.check(y)?;
        let widened = parameters.widened(x.channels())?;
        same_length("running_mean", x.channels(), running.channels())?;
        // Of nothing, or of one value under `SingleValue::UseRunning`, there is nothing to mix in.
        let (batch, instead) = self.judged(input, Some(running))?;
        if instead.is_some() || x.count() == 0 {
            return Ok((self.eval(input, parameters, Some(running), y)?, batch));
        }
        let saved = self.mixed(x.count(), input.kind(), &widened, weight, running, &batch);
        self.normalize(input, y, saved.coefficients());
        Ok((saved, batch))
    }

    /// What a pass by mixed statistics leaves.
    fn mixed(
        &self,
        count: usize,
        kind: Kind,
        Widened { gamma, beta }: &Widened,
        weight: UpdateWeight,
        running: &RunningStatistics,
        batch: &BatchMoments,
    ) -> Saved {
        let (old, new) = (weight.old_value(), weight.new_value());
        let channels = batch.channels().iter().zip(running.mean().iter().zip(running.variance()));
        let mut mean = Vec::with_capacity(gamma.len());
        let (mut rest, mut inverse, mut batch_lag) = (mean.clone(), mean.clone(), mean.clone());
        for (moments, (&running_mean, &running_variance)) in channels {
            let (batch_mean, batch_rest) = moments.mean_pair();
            // NaN where the channel is not finite, so that all of its output is.
            let step = if moments.is_finite() { (batch_mean - running_mean) + batch_rest } else { f64::NAN };
            let (mixed, left) = two_sum(running_mean, new * step);
            let variance = old * running_variance + new * moments.population_variance();
            let deviation = inverse_deviation(variance, self.epsilon());
            mean.push(mixed);
            rest.push(left);
            inverse.push(deviation);
            batch_lag.push(((batch_mean - mixed) + batch_rest) * deviation);
        }
        let scale = products(gamma, &inverse);
        if self.policies.constant_channel == ConstantChannel::ZeroGradient {
            let constant = batch.channels().iter().map(Moments::is_constant);
            let all = constant.zip(running.variance()).zip(&mut inverse);
            all.filter(|((constant, variance), _)| *constant && **variance == 0.0)
                .for_each(|(_, inverse)| *inverse = 0.0);
        }
        let saved = self.by_statistics(count, kind, beta, [mean, rest, inverse, scale]);
        let total = batch.channels().iter().map(Moments::weight).collect();
        Saved { flow: new, batch_lag, total, ..saved }
    }
}
