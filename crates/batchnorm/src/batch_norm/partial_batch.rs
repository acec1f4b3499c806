//! One batch in parts that are never together in memory: micro-batches one after the other, or the parts of several
//! threads, processes, machines.
//!
//! Forward: the moments of each part, merged; then each part by the moments of the whole. Backward: the sums of each
//! part, added; then each part's dx by the sums of the whole. The result is that of the one large batch.

use crate::batch_norm::forward::NOTHING_TO_MIX_WITH;
use crate::batch_norm::input::Input;
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::policies::SingleValue;
use crate::options::switches::{NormalizeBy, Switches};
use crate::parameters::Parameters;
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::Call;
use batchnorm_kernel::{Element, Moments, Parameter, ViewMut};

impl Normalizer {
    /// The training forward pass of a part of a batch, into `y`: as [`train`](Self::train), by the moments of the whole
    /// batch, which the part belongs to ([`moments`](Self::moments) of each part, [merged](BatchMoments::merge)).
    ///
    /// The saved values give the part's share of the sums ([`Saved::parameter_gradients`]), and its dx from those of
    /// the whole ([`Saved::backward_part`]).
    ///
    /// A network needs the moments of a layer's input over all parts before any part can go on to the next layer: with
    /// L such layers, L + 1 forward sweeps over the micro-batches, each from the input on unless activations are kept.
    ///
    /// ```
    /// use batchnorm::{Axes, Config, Parameters, View, ViewMut};
    /// let normalizer = Config::pytorch().normalizer()?;
    /// let parts = [vec![1.0, 2.0, 3.0], vec![7.0, 9.0]]; // one channel
    /// let dy = [vec![1.0, 0.0, 0.5], vec![0.0, -1.0]];
    /// let view = |part| View::new(part, &[<[f64]>::len(part), 1], Axes::NCHW);
    ///
    /// let mut whole = normalizer.moments(&view(&parts[0])?);
    /// whole = whole.merge(&normalizer.moments(&view(&parts[1])?))?;
    ///
    /// let none = Parameters::<f64>::default();
    /// let (mut y, mut saved) = (parts.clone(), Vec::new());
    /// for (part, y) in parts.iter().zip(&mut y) {
    ///     let shape = [part.len(), 1];
    ///     saved.push(normalizer.train_part(&view(part)?, none, &whole, &mut ViewMut::new(y, &shape, Axes::NCHW)?)?);
    /// }
    ///
    /// let mut sums = saved[0].parameter_gradients(&view(&parts[0])?, &view(&dy[0])?)?;
    /// sums.add(&saved[1].parameter_gradients(&view(&parts[1])?, &view(&dy[1])?)?)?;
    /// let mut dx = dy.clone();
    /// for (i, dx) in dx.iter_mut().enumerate() {
    ///     let mut dx = ViewMut::new(dx, &[parts[i].len(), 1], Axes::NCHW)?;
    ///     saved[i].backward_part(&view(&parts[i])?, &view(&dy[i])?, &sums, &mut dx)?;
    /// }
    /// assert!(dx.iter().flatten().sum::<f64>().abs() < 1e-15); // as of any batch
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `train`, of the whole batch: one value a channel, no value, or a channel that is not finite, where the policies
    /// refuse that; moments of another number of channels, of different counts, or of fewer values than the part has. (What
    /// needs running statistics is refused here: [`forward_part`](Self::forward_part) takes them.) `y` is untouched then.
    pub fn train_part<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        whole: &BatchMoments,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        self.forward_part(input, parameters, Switches::train(), whole, None, y).map(|(saved, _)| saved)
    }

    /// The forward pass of a part of a batch by switches, into `y`: as [`forward`](Self::forward), by the moments of the whole
    /// batch where that plays a part. Gives what there is to take into the running statistics too: the moments of the whole
    /// batch, or those of no values where `update_running` is off. Every part gives the same ones: take them in once.
    ///
    /// ```
    /// use batchnorm::{Axes, Config, NormalizeBy, Parameters, RunningStatistics, Switches, UpdateWeight, View, ViewMut};
    /// let normalizer = Config::pytorch().normalizer()?;
    /// let running = RunningStatistics::from_parts(&[2.0], &[9.0], 100)?;
    /// let (left, right) = ([1.0, 3.0], [8.0]);
    /// let (left, right) = (View::new(&left, &[2, 1], Axes::NCHW)?, View::new(&right, &[1, 1], Axes::NCHW)?);
    /// let whole = normalizer.moments(&left).merge(&normalizer.moments(&right))?;
    ///
    /// let mix = Switches { normalize_by: NormalizeBy::Mix(UpdateWeight::of_new(0.5)?), ..Switches::train() };
    /// let mut y = [0.0];
    /// let mut out = ViewMut::new(&mut y, &[1, 1], Axes::NCHW)?;
    /// let none = Parameters::<f64>::default();
    /// let (_, batch) = normalizer.forward_part(&right, none, mix, &whole, Some(&running), &mut out)?;
    /// assert_eq!(batch.channels()[0].count(), 3);
    /// assert!((y[0] - (8.0 - 3.0) / (9.0f64 / 2.0 + 26.0 / 6.0 + 1e-5).sqrt()).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `forward`, of the whole batch; moments of another number of channels, of different counts, or of fewer values than the
    /// part has. `y` is untouched then.
    pub fn forward_part<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        switches: Switches,
        whole: &BatchMoments,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        let beside = input.check_forward(y.layout())?;
        let widened = parameters.widened(x.channels())?;
        same_length("whole", x.channels(), whole.channels().len())?;
        let normalize_by = switches.normalize_by.simplified();
        if normalize_by == NormalizeBy::Running {
            let checked = || self.check_belongs(input, whole).and_then(|()| self.check_finite(whole.clone()));
            let whole = switches.update_running.then(checked).transpose()?;
            let saved = self.eval(input, parameters, running, y)?;
            let none = || vec![Moments::EMPTY; x.channels()].into();
            return Ok((saved.switched(switches), whole.map_or_else(none, |whole| self.without_singles(whole))));
        }
        let to_mix = match normalize_by {
            NormalizeBy::Mix(weight) => Some((weight, running.ok_or(NOTHING_TO_MIX_WITH)?)),
            _ => None,
        };
        self.check_belongs(input, whole)?;
        if input.weights().is_some() {
            self.check_masks(whole)?;
        }
        let single = whole.channels().iter().any(Moments::is_single);
        let by_running = single && self.policies.single_value == SingleValue::UseRunning && running.is_some();
        if !by_running {
            self.check_whole_counts(input, whole)?;
        }
        let whole = self.check_finite(whole.clone())?;
        let is_empty = whole.channels().iter().all(|moments| moments.count() == 0);
        let (count, kind) = (x.count(), input.kind());
        let saved = match (to_mix, running) {
            // No value has no statistics to mix in.
            (_, Some(running)) if by_running || (to_mix.is_some() && is_empty) => {
                self.saved_of_running(x.channels(), count, kind, parameters, running)?
            }
            (Some((weight, running)), _) => {
                same_length("running_mean", x.channels(), running.channels())?;
                self.saved_of_mix(count, kind, &widened, weight, running, &whole)
            }
            _ => self.saved_in_training(&whole, count, kind, &widened, running)?,
        };
        self.normalize(x, &beside, &saved, y);
        let batch = if switches.update_running { whole } else { vec![Moments::EMPTY; x.channels()].into() };
        Ok((Saved { is_part: true, ..saved.switched(switches) }, batch))
    }

    /// Errors unless moments can be those of a batch with this part in it.
    fn check_belongs<T: Element>(&self, input: Input<T>, whole: &BatchMoments) -> Result<(), CallError> {
        if input.weights().is_some() {
            // How many values count may differ from channel to channel.
            return Ok(());
        }
        // Without weights all channels of the whole have the same count, and no fewer values than the part.
        let (part, count) = (input.x().count() as u64, whole.channels()[0].count());
        match whole.channels().iter().position(|moments| moments.count() != count || count < part) {
            Some(channel) => {
                let (expected, got) = (count.max(part), whole.channels()[channel].count());
                Err(CallError::OtherWhole { channel, expected, got })
            }
            None => Ok(()),
        }
    }

    /// Errors where the policies refuse a whole batch for the number of its values.
    fn check_whole_counts<T: Element>(&self, input: Input<T>, whole: &BatchMoments) -> Result<(), CallError> {
        match input.weights() {
            Some(_) => self.check_weights(whole),
            None => self.check_count(input.x(), whole.channels()[0].count()),
        }
    }
}
