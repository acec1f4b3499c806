//! The saved values of a forward pass, and the backward pass by them.

use crate::batch_norm::buffers::GradientBuffers;
use crate::batch_norm::channel_vectors::ChannelVectors;
use crate::batch_norm::correction::Correction;
use crate::batch_norm::input::{Input, InputKind};
use crate::call_error::CallError;
use crate::check::{same_batch, same_length, same_shape};
use crate::gradients::ParameterGradients;
use crate::options::switches::Switches;
use crate::parameters::WideParameters;
use batchnorm_kernel::passes::{
    Backward, BatchStatistics, Beside, Call, ChannelConstants, GradientSums, Layout, Machine, NormalizeVectors,
    Statistics,
};
use batchnorm_kernel::{Activation, Element, Threads, View, ViewMut};

/// The values that a forward pass saves for its backward pass: of each channel the mean, the inverse standard
/// deviation, scale and shift, and whether the statistics depend on the input. The input itself is not kept; backward
/// takes it again.
///
/// ```
/// use batchnorm::{Axes, BatchNorm, View};
/// let layer = BatchNorm::new(1)?;
/// let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
/// let dy = View::new(&[1.0f64, 0.0, 0.0], &[3, 1], Axes::NCHW)?;
/// let saved = layer.forward_train(&x)?.saved;
/// let parameters = saved.parameter_gradients(&x, &dy)?; // without dx
/// assert_eq!(parameters.dbeta, [1.0]);
/// assert!((parameters.dgamma[0] + 2.0 / (14.0f64 / 3.0 + 1e-5).sqrt()).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// What the pass ran on, and its backward pass will.
    pub(crate) machine: Machine,
    /// The batch's share in mean and variance, as far as a gradient flows through it: 1 in training, 0 where they are
    /// constants.
    pub(crate) batch_share: f64,
    /// True if the gradients of gamma and beta are asked for.
    pub(crate) trains_parameters: bool,
    pub(crate) activation: Activation,
    pub(crate) kind: InputKind,
    /// Values a channel of the pass's own array.
    pub(crate) count: u64,
    /// True if the array was a part of a larger batch, whose statistics these are.
    pub(crate) is_part: bool,
    /// What the pass knows of each channel.
    pub(crate) channels: ChannelVectors,
    /// r and d of each channel, of a pass that was renormalised.
    pub(crate) correction: Option<Correction>,
}

impl Saved {
    /// Returns true if mean and variance are functions of the batch to the backward pass, false if they are constants.
    pub fn used_batch_statistics(&self) -> bool {
        self.batch_share > 0.0
    }

    /// Returns true if the backward pass is to give the gradients of gamma and beta
    /// ([`Switches::train_parameters`](crate::Switches::train_parameters)). [`backward`](Self::backward) gives them in
    /// any case, for they come with dx.
    pub fn trains_parameters(&self) -> bool {
        self.trains_parameters
    }

    /// The same pass with mean and variance as constants to the backward pass, by whatever it normalised:
    /// dx = gamma / sqrt(variance + eps) * dy.
    #[must_use]
    pub fn with_constant_statistics(self) -> Saved {
        Saved { batch_share: 0.0, ..self }
    }

    /// The same with the two switches that a backward pass goes by.
    pub(crate) fn switched(self, switches: Switches) -> Saved {
        let saved = if switches.gradient_through_statistics { self } else { self.with_constant_statistics() };
        Saved { trains_parameters: switches.train_parameters, ..saved }
    }

    /// The same with the backward pass on other threads than the forward pass's
    /// ([`Config::threads`](crate::Config::threads)).
    #[must_use]
    pub fn threads(self, threads: Threads) -> Saved {
        Saved { machine: Machine { threads, ..self.machine }, ..self }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The activation behind the normalisation in the forward pass.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The saved values of the same pass without residual and activation: its backward pass takes dz, which without an
    /// activation is dy and the residual's gradient.
    #[must_use]
    pub fn without_residual(&self) -> Saved {
        Saved { kind: InputKind::Plain, activation: Activation::Identity, ..self.clone() }
    }

    /// The backward pass, dx into a buffer. With s = gamma / sqrt(variance + eps) and xhat the normalised input,
    /// each channel has
    ///
    /// - after training: `dx = s * (dy - mean(dy) - xhat * mean(dy * xhat))`,
    /// - after evaluation: `dx = s * dy`,
    /// - by mixed statistics, w the batch's weight and m its mean:
    ///   `dx = s * (dy - w * mean(dy) - w * (x - m) / sqrt(variance + eps) * mean(dy * xhat))`,
    /// - renormalised, by r and d: see [`Renormalization`](crate::Renormalization),
    /// - all others: `dgamma = sum(dy * xhat)`, all: `dbeta = sum(dy)`.
    ///
    /// Behind an activation f, dy stands for `dy * f'(gamma * xhat + beta)` in all of them, and with a residual for
    /// `dy * f'(gamma * xhat + beta + residual)`, which is the residual's own gradient. With weights, see
    /// [`Weights`](crate::Weights).
    ///
    /// The input must be the forward pass's, with its output in the place of a residual
    /// ([`Input::with_output`](crate::Input::with_output)), or with its weights. gamma and beta are those of the
    /// forward pass, even if they were changed since. The gradient goes to a `&mut ViewMut` for dx, of a pass with a
    /// residual to [`GradientBuffers::with_residual`](crate::GradientBuffers::with_residual).
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; another kind of input or of buffers than the forward
    /// pass's; the pass of a part of a batch. The buffers are untouched then.
    pub fn backward<'i, 'v: 'i, 'o, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        buffers: impl Into<GradientBuffers<'o, T>>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let (input, mut buffers) = (input.into(), buffers.into());
        self.check_whole("call `backward_part`")?;
        let beside = input.check_backward(self.kind)?;
        self.check_arrays(input.x(), dy.layout())?;
        buffers.check(input.x().layout(), self.kind)?;
        let pass = self.pass(input.x(), beside.as_beside());
        let sums = T::operations().backward(pass, dy.memory(), buffers.outputs());
        Ok(self.corrected_gradients(ParameterGradients::from_sums(sums, self.channels())))
    }

    /// [`backward`](Self::backward), dx over `dy`: the same bits, and no third array. Of passes without a residual and
    /// weights.
    ///
    /// # Errors
    /// As `backward`; `dy` is untouched then.
    pub fn backward_in_place<T: Element>(
        &self,
        x: &View<T>,
        dy: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        self.check_whole("call `backward_part`")?;
        if self.kind != InputKind::Plain {
            return Err(CallError::OtherPass { forward: self.kind.description(), call: "call `backward`" });
        }
        self.check_arrays(x, dy.layout())?;
        let pass = self.pass(x, Beside::Nothing);
        let sums = T::operations().backward_in_place(pass, dy.memory());
        Ok(self.corrected_gradients(ParameterGradients::from_sums(sums, self.channels())))
    }

    /// dgamma and dbeta alone, where nobody asks for dx: one sweep over the input and `dy`, and nothing is written. The
    /// same bits as [`backward`](Self::backward)'s. Of a part of a batch, its share in the sums of the whole.
    ///
    /// # Errors
    /// As `backward`, but for parts.
    pub fn parameter_gradients<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let beside = input.check_backward(self.kind)?;
        self.check_arrays(input.x(), dy.layout())?;
        let pass = self.pass(input.x(), beside.as_beside());
        let sums = T::operations().gradient_sums(pass, dy.memory());
        Ok(self.corrected_gradients(ParameterGradients::from_sums(sums, self.channels())))
    }

    /// The backward pass of a part of a batch ([`Normalizer::train_part`](crate::Normalizer::train_part)), dx into a
    /// buffer:
    ///
    /// ```text
    /// dx = gamma / sqrt(variance + eps) * (dy - dbeta / n - xhat * dgamma / n)
    /// ```
    ///
    /// with `whole`'s sums dgamma and dbeta over all n values of the whole batch, each part's
    /// [`parameter_gradients`](Self::parameter_gradients) [added](ParameterGradients::add). Inputs and buffers are
    /// those of [`backward`](Self::backward).
    ///
    /// # Errors
    /// As `backward`; sums of another number of channels. The buffers are untouched then.
    pub fn backward_part<'i, 'v: 'i, 'o, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        whole: &ParameterGradients,
        buffers: impl Into<GradientBuffers<'o, T>>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        let (input, mut buffers) = (input.into(), buffers.into());
        let beside = input.check_backward(self.kind)?;
        self.check_arrays(input.x(), dy.layout())?;
        buffers.check(input.x().layout(), self.kind)?;
        same_length("whole", self.channels(), whole.dgamma.len())?;
        same_length("whole", self.channels(), whole.dbeta.len())?;
        let pass = self.pass(input.x(), beside.as_beside());
        let of_channel = |channel: usize| {
            let (dgamma, dbeta) = (whole.dgamma[channel], whole.dbeta[channel]);
            GradientSums { dy: dbeta, dy_xhat: self.sum_of_batch_norm(channel, dgamma, dbeta) }
        };
        let sums: Vec<GradientSums> = (0..self.channels()).map(of_channel).collect();
        T::operations().input_gradient(pass, dy.memory(), &sums, buffers.outputs());
        Ok(())
    }

    /// The residual's gradient alone, `dy * f'`, where nobody asks for dx: one sweep over `dy` and `y`, the forward
    /// pass's output. The same bits as [`backward`](Self::backward)'s.
    ///
    /// # Errors
    /// Shapes that do not fit each other; a forward pass without a residual. `dresidual` is untouched then.
    pub fn residual_gradient<T: Element>(
        &self,
        y: &View<T>,
        dy: &View<T>,
        dresidual: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        if self.kind != InputKind::WithResidual {
            return Err(CallError::OtherPass { forward: self.kind.description(), call: "call `backward`" });
        }
        same_shape("dy", y.layout(), dy.layout())?;
        same_shape("dresidual", y.layout(), dresidual.layout())?;
        let (machine, activation) = (&self.machine, self.activation);
        T::operations().residual_gradient(machine, activation, y.memory(), dy.memory(), dresidual.memory());
        Ok(())
    }

    /// The backward pass as the loops take it.
    pub(crate) fn pass<'a, T: Element>(&'a self, x: &'a View<T>, beside: Beside<'a, T>) -> Backward<'a, T> {
        let batch = BatchStatistics {
            total_weight: self.channels.total_weight(),
            xhat_low: self.channels.batch_xhat_low(),
            share: self.batch_share,
        };
        Backward {
            machine: &self.machine,
            activation: self.activation,
            channels: self.channel_constants(),
            x: x.memory(),
            beside,
            statistics: if self.used_batch_statistics() { Statistics::Batch(batch) } else { Statistics::Constants },
        }
    }

    /// Coefficients of the forward pass.
    pub(crate) fn normalize_coefficients(&self) -> NormalizeVectors<'_> {
        let (mean, scale, shift) = (self.channels.mean(), self.channels.scale(), self.channels.shift());
        NormalizeVectors { mean, scale, shift }
    }

    /// Factor of dx after training: 0 where the gradient is declared to be 0, which an inverse deviation of 0 says.
    pub(crate) fn gradient_scale(&self, channel: usize) -> f64 {
        if self.channels.inverse_deviation()[channel] == 0.0 { 0.0 } else { self.channels.scale()[channel] }
    }

    /// Saved values of some of the channels, as of a pass of their own.
    pub(crate) fn of_channels(&self, channels: &[usize]) -> Saved {
        let correction = self.correction.as_ref().map(|correction| correction.selected(channels));
        Saved { channels: self.channels.selected(channels), correction, ..self.clone() }
    }

    /// Constants of each channel in the sums of a backward pass.
    pub(crate) fn channel_constants(&self) -> ChannelConstants<'_> {
        ChannelConstants {
            mean: self.channels.mean(),
            scale: self.channels.scale(),
            shift: self.channels.shift(),
            inverse_deviation: self.channels.inverse_deviation(),
            xhat_low: self.channels.xhat_low(),
            about: self.channels.about(),
        }
    }

    /// gamma and beta of a channel, or their directions, to the loops, which know batch norm alone.
    pub(crate) fn batch_norm_parameters(&self, channel: usize, parameters: [f64; 2]) -> [f64; 2] {
        self.correction.as_ref().map_or(parameters, |correction| correction.parameters(channel, parameters))
    }

    /// The parameters' gradients, from those of the loops.
    pub(crate) fn corrected_gradients(&self, gradients: ParameterGradients) -> ParameterGradients {
        match &self.correction {
            Some(correction) => correction.gradients(gradients),
            None => gradients,
        }
    }

    /// The parameters of a pass to the loops.
    pub(crate) fn all_batch_norm_parameters(&self, mut parameters: WideParameters) -> WideParameters {
        if let Some(correction) = &self.correction {
            for (channel, (gamma, beta)) in parameters.gamma.iter_mut().zip(parameters.beta.iter_mut()).enumerate() {
                [*gamma, *beta] = correction.parameters(channel, [*gamma, *beta]);
            }
        }
        parameters
    }

    /// The sum of dz xhat of a channel to the loops, from the gradients of gamma and beta.
    pub(crate) fn sum_of_batch_norm(&self, channel: usize, dgamma: f64, dbeta: f64) -> f64 {
        self.correction.as_ref().map_or(dgamma, |correction| correction.sum_by_batch(channel, dgamma, dbeta))
    }

    /// Errors after the pass of a part of a batch: dx depends on the sums over the whole batch, not on the part's own.
    pub(crate) fn check_whole(&self, call: &'static str) -> Result<(), CallError> {
        if !self.is_part || !self.used_batch_statistics() {
            return Ok(());
        }
        Err(CallError::OtherPass { forward: "that of a part of a batch", call })
    }

    /// Errors unless x and the upstream gradient fit each other and the forward pass.
    fn check_arrays<T: Element>(&self, x: &View<T>, dy: &Layout) -> Result<(), CallError> {
        same_shape("dy", x.layout(), dy)?;
        self.check_size("x", x)
    }

    /// Errors unless an array has the channels and the values of the forward pass.
    pub(crate) fn check_size<T: Element>(&self, argument: &'static str, array: &View<T>) -> Result<(), CallError> {
        same_batch(argument, self.channels(), self.count, array)
    }
}
