//! One batch in parts that are never together in memory: micro-batches one after the other, or the parts of several
//! threads, processes, machines.
//!
//! Forward: the moments of each part, merged; then each part by the moments of the whole. Backward: the sums of each
//! part, added; then each part's dx by the sums of the whole. The result is that of the one large batch.

use crate::batch_norm::input::Input;
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::parameters::Parameters;
use crate::statistics::batch::BatchMoments;
use batchnorm_kernel::passes::Call;
use batchnorm_kernel::{Element, Parameter, ViewMut};

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
    /// As `train`, of the whole batch: one value a channel (under `SingleValue::UseRunning` too: take `eval` then), no
    /// value, or a channel that is not finite, where the policies refuse that; moments of another number of channels,
    /// of different counts, or of fewer values than the part has. `y` is untouched then.
    pub fn train_part<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        whole: &BatchMoments,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        let beside = input.check_forward(y.layout())?;
        let widened = parameters.widened(x.channels())?;
        same_length("whole", x.channels(), whole.channels().len())?;
        if input.weights().is_some() {
            // How many values count may differ from channel to channel, and is known for the whole batch alone.
            self.check_weights(whole)?;
        } else {
            // Without weights all channels of the whole have the same count, and no fewer values than the part.
            let (part, count) = (x.count() as u64, whole.channels()[0].count());
            if let Some(channel) = whole.channels().iter().position(|moments| moments.count() != count || count < part)
            {
                let (expected, got) = (count.max(part), whole.channels()[channel].count());
                return Err(CallError::OtherWhole { channel, expected, got });
            }
            self.check_count(x, count)?;
        }
        let whole = self.check_finite(whole.clone())?;
        let saved = self.saved_of_batch(&whole, x.count(), input.kind(), &widened);
        self.normalize(x, &beside, &saved, y);
        Ok(Saved { is_part: true, ..saved })
    }
}
