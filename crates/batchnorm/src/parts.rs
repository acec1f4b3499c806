//! One batch in parts that are never together in memory: micro-batches one after the other, or the parts of several
//! threads, processes, machines.
//!
//! Forward: the moments of each part, merged; then each part by the moments of the whole. Backward: the sums of each part,
//! added; then each part's dx by the sums of the whole. The result is that of the one large batch.

use crate::element::{Element, Parameter};
use crate::error::CallError;
use crate::input::Input;
use crate::moments::Moments;
use crate::rule::{BatchMoments, Parameters, Rule, same_length, same_shape};
use crate::saved::{Kind, ParameterGradients, Saved};
use crate::view::{View, ViewMut};

impl BatchMoments {
    /// The moments of two parts of a batch together, channel by channel ([`Moments::merge`]).
    ///
    /// # Errors
    /// Another number of channels.
    pub fn merge(&self, other: &BatchMoments) -> Result<BatchMoments, CallError> {
        same_length("other", self.channels().len(), other.channels().len())?;
        let pairs = self.channels().iter().zip(other.channels());
        Ok(BatchMoments::from(pairs.map(|(own, other)| own.merge(*other)).collect::<Vec<Moments>>()))
    }
}

impl ParameterGradients {
    /// Adds those of another part of the batch.
    ///
    /// # Errors
    /// Another number of channels; nothing is added then.
    pub fn add(&mut self, other: &ParameterGradients) -> Result<(), CallError> {
        same_length("other", self.dgamma.len(), other.dgamma.len())?;
        same_length("other", self.dbeta.len(), other.dbeta.len())?;
        self.dgamma.iter_mut().zip(&other.dgamma).for_each(|(own, other)| *own += other);
        self.dbeta.iter_mut().zip(&other.dbeta).for_each(|(own, other)| *own += other);
        Ok(())
    }
}

impl Rule {
    /// The training forward pass of a part of a batch, into `y`: as [`train`](Self::train), by the moments of the whole
    /// batch, which the part belongs to ([`moments`](Self::moments) of each part, [merged](BatchMoments::merge)).
    ///
    /// What it leaves gives the part's share of the sums ([`Saved::parameter_gradients`]), and its dx from those of the
    /// whole ([`Saved::backward_part`]).
    ///
    /// A network needs the moments of a layer's input over all parts before any part can go on to the next layer: with L
    /// such layers, L + 1 forward sweeps over the micro-batches, each from the input on unless activations are kept.
    ///
    /// ```
    /// use batchnorm::{Axes, Config, Parameters, View, ViewMut};
    /// let rule = Config::pytorch().rule()?;
    /// let parts = [vec![1.0, 2.0, 3.0], vec![7.0, 9.0]]; // one channel
    /// let dy = [vec![1.0, 0.0, 0.5], vec![0.0, -1.0]];
    /// let view = |part| View::new(part, &[<[f64]>::len(part), 1], Axes::NCHW);
    ///
    /// let mut whole = rule.moments(&view(&parts[0])?);
    /// whole = whole.merge(&rule.moments(&view(&parts[1])?))?;
    ///
    /// let none = Parameters::<f64>::default();
    /// let (mut y, mut saved) = (parts.clone(), Vec::new());
    /// for (part, y) in parts.iter().zip(&mut y) {
    ///     let shape = [part.len(), 1];
    ///     saved.push(rule.train_part(&view(part)?, none, &whole, &mut ViewMut::new(y, &shape, Axes::NCHW)?)?);
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
    /// As `train`, of the whole batch: one value a channel (under `SingleValue::UseRunning` too: take `eval` then), no value,
    /// or a channel that is not finite, where the policies refuse that; moments of another number of channels, of different counts, or of fewer values than the part has. `y`
    /// is untouched then.
    pub fn train_part<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        whole: &BatchMoments,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let input = input.into();
        let x = input.x();
        input.check(y)?;
        let widened = parameters.widened(x.channels())?;
        same_length("whole", x.channels(), whole.channels().len())?;
        if input.kind() == Kind::Weighted {
            // How many values count may differ from channel to channel.
            self.acceptable_weights(whole)?;
        } else {
            let (part, count) = (x.count() as u64, whole.channels()[0].count());
            if let Some(channel) = whole.channels().iter().position(|moments| moments.count() != count || count < part)
            {
                let (expected, got) = (count.max(part), whole.channels()[channel].count());
                return Err(CallError::OtherWhole { channel, expected, got });
            }
            self.acceptable_count(x, count)?;
        }
        let whole = self.acceptable(whole.clone())?;
        let saved = self.by_batch(&whole, x.count(), input.kind(), &widened);
        self.normalize(input, y, saved.coefficients());
        Ok(Saved { of_larger: true, ..saved })
    }
}

impl Saved {
    /// The backward pass of a part of a batch ([`Rule::train_part`]), dx into a buffer:
    ///
    /// ```text
    /// dx = gamma / sqrt(variance + eps) * (dy - dbeta / n - xhat * dgamma / n)
    /// ```
    ///
    /// with `whole`'s sums dgamma and dbeta over all n values of the whole batch, each part's
    /// [`parameter_gradients`](Self::parameter_gradients) [added](ParameterGradients::add). Behind a residual, take
    /// [`residual_gradient`](Self::residual_gradient) for dy and [`without_residual`](Self::without_residual).
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass, sums of another number of channels; a forward pass with a
    /// residual. `dx` is untouched then.
    pub fn backward_part<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        whole: &ParameterGradients,
        dx: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        self.check(x, &dy.layout, Kind::Plain)?;
        same_shape("dx", &x.layout, &dx.layout)?;
        self.check_sums(whole)?;
        self.input_gradient(x, dy, whole, dx);
        Ok(())
    }
}
