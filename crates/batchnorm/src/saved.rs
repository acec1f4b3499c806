//! What a forward pass leaves, and the backward pass from it.

use crate::config::Activation;
use crate::element::Element;
use crate::error::CallError;
use crate::kernel::leaves::GradientSums;
use crate::kernel::pointwise::Coefficients;
use crate::kernel::raw::Isa;
use crate::kernel::tier::Tier;
use crate::layout::Layout;
use crate::rule::{same_length, same_shape};
use crate::view::{View, ViewMut};

/// What a forward pass leaves for its backward pass: of each channel the mean, the inverse standard deviation, scale
/// and shift, and whether the statistics depend on the input. The input itself is not kept; backward takes it again.
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
    pub(crate) isa: Tier,
    /// The batch's share in mean and variance, as far as a gradient flows through it: 1 in training, 0 where they are
    /// constants.
    pub(crate) flow: f64,
    /// Whether gamma and beta are to be trained.
    pub(crate) trains_parameters: bool,
    pub(crate) activation: Activation,
    pub(crate) kind: Kind,
    /// Of each channel, n: the sum of the weights of all values that the statistics are of; their number where they have none.
    pub(crate) total: Vec<f64>,
    /// Values a channel of the pass's own array.
    pub(crate) count: u64,
    /// Whether the statistics are those of a larger batch, which the array was a part of.
    pub(crate) of_larger: bool,
    pub(crate) mean: Vec<f64>,
    /// What the mean's rest, which its f64 does not hold, takes off xhat.
    pub(crate) lag: Vec<f64>,
    /// The same for the mean of the batch, where it is another one (a mix): takes xhat to (x - batch mean) / deviation.
    pub(crate) batch_lag: Vec<f64>,
    /// 0 where the gradient is declared to be 0.
    pub(crate) inverse_deviation: Vec<f64>,
    /// gamma times the inverse standard deviation.
    pub(crate) scale: Vec<f64>,
    /// beta, less what the mean's rest takes off.
    pub(crate) shift: Vec<f64>,
}

/// What a pass took beside x: each kind has a backward pass of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Adding,
    Weighted,
}

const ADDING_A_PART: &str = "residual_gradient, and then without_residual().backward_part";

/// The gradients of gamma and beta in `f64`, before rounding to a parameter type.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGradients {
    /// Sum of dy * xhat, of each channel.
    pub dgamma: Vec<f64>,
    /// Sum of dy, of each channel.
    pub dbeta: Vec<f64>,
}

impl Saved {
    /// Whether mean and variance are functions of the batch to the backward pass, or constants.
    pub fn used_batch_statistics(&self) -> bool {
        self.flow > 0.0
    }

    /// Whether the backward pass is to give the gradients of gamma and beta
    /// ([`Switches::train_parameters`](crate::Switches::train_parameters)). [`backward`](Self::backward) gives them in
    /// any case, for they come with dx.
    pub fn trains_parameters(&self) -> bool {
        self.trains_parameters
    }

    /// The same pass with mean and variance as constants to the backward pass, by whatever it normalised:
    /// dx = gamma / sqrt(variance + eps) * dy.
    #[must_use]
    pub fn with_constant_statistics(self) -> Saved {
        Saved { flow: 0.0, ..self }
    }

    /// What the forward pass multiplies and adds.
    pub(crate) fn coefficients(&self) -> Coefficients<3> {
        Coefficients::new(self.mean.len(), |c| [self.mean[c], self.scale[c], self.shift[c]])
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// What followed the normalisation in the forward pass.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// What the same pass would have left without residual and activation: its backward pass takes dz, which without an
    /// activation is dy and the residual's gradient.
    #[must_use]
    pub fn without_residual(&self) -> Saved {
        Saved { kind: Kind::Plain, activation: Activation::Identity, ..self.clone() }
    }

    /// The backward pass, dx into a buffer. With s = gamma / sqrt(variance + eps) and xhat the normalised input,
    /// each channel has
    ///
    /// - after training: `dx = s * (dy - mean(dy) - xhat * mean(dy * xhat))`,
    /// - after evaluation: `dx = s * dy`,
    /// - by mixed statistics, w the batch's weight and m its mean:
    ///   `dx = s * (dy - w * mean(dy) - w * (x - m) / sqrt(variance + eps) * mean(dy * xhat))`,
    /// - all: `dgamma = sum(dy * xhat)`, `dbeta = sum(dy)`.
    ///
    /// Behind an activation f, dy stands for `dy * f'(gamma * xhat + beta)` in all of them.
    ///
    /// `x` must be the forward pass's input. gamma and beta are those of the forward pass, even if they were changed
    /// since.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; a forward pass with a residual. `dx` is untouched then.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check_whole("backward_part")?;
        self.check(x, &dy.layout, Kind::Plain)?;
        same_shape("dx", &x.layout, &dx.layout)?;
        let (isa, activation, constants) = (self.isa(), self.activation, self.constants());
        let (arrays, dx) = ([&x.memory, &dy.memory], &mut dx.memory);
        Ok(self.parameters(if self.used_batch_statistics() {
            T::backward(isa, activation, constants, arrays, dx, &|channel, sums| self.by_batch(channel, sums))
        } else {
            let of = |channel, _| self.by_constants(channel);
            T::backward_by_constants(isa, activation, constants, arrays, dx, &of)
        }))
    }

    /// [`backward`](Self::backward), dx over `dy`: the same bits, and no third array.
    ///
    /// # Errors
    /// As `backward`; `dy` is untouched then.
    pub fn backward_in_place<T: Element>(
        &self,
        x: &View<T>,
        dy: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check_whole("backward_part")?;
        self.check(x, &dy.layout, Kind::Plain)?;
        let (isa, activation, constants) = (self.isa(), self.activation, self.constants());
        let (x, dy) = (&x.memory, &mut dy.memory);
        Ok(self.parameters(if self.used_batch_statistics() {
            T::backward_in_place(isa, activation, constants, x, dy, &|c, sums| self.by_batch(c, sums))
        } else {
            T::backward_by_constants_in_place(isa, activation, constants, x, dy, &|c, _| self.by_constants(c))
        }))
    }

    /// dgamma and dbeta alone, where nobody asks for dx: one sweep over `x` and `dy`, and nothing is written. The
    /// same bits as [`backward`](Self::backward)'s.
    ///
    /// # Errors
    /// As `backward`.
    pub fn parameter_gradients<T: Element>(&self, x: &View<T>, dy: &View<T>) -> Result<ParameterGradients, CallError> {
        self.check(x, &dy.layout, Kind::Plain)?;
        let arrays = [&x.memory, &dy.memory];
        Ok(self.parameters(T::gradient_sums(self.isa(), self.activation, self.constants(), arrays)))
    }

    /// The backward pass of a forward pass with a residual, y = f(gamma * xhat + beta + residual). `y` is that pass's
    /// output, which tells f's derivative.
    ///
    /// The residual's gradient `dy * f'` goes into `dresidual`; dx and the parameters' gradients follow from it as in
    /// [`backward`](Self::backward).
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; a forward pass without a residual. The buffers are
    /// untouched then.
    pub fn backward_adding<T: Element>(
        &self,
        x: &View<T>,
        y: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
        dresidual: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check_whole(ADDING_A_PART)?;
        self.check(x, &dy.layout, Kind::Adding)?;
        same_shape("y", &x.layout, &y.layout)?;
        same_shape("dx", &x.layout, &dx.layout)?;
        same_shape("dresidual", &x.layout, &dresidual.layout)?;
        let arrays = [&x.memory, &dy.memory, &y.memory];
        let outs = [&mut dx.memory.reborrow(), &mut dresidual.memory.reborrow()];
        let (isa, activation, constants) = (self.isa(), self.activation, self.constants());
        Ok(self.parameters(if self.used_batch_statistics() {
            T::backward_adding(isa, activation, constants, arrays, outs, &|channel, sums| self.by_batch(channel, sums))
        } else {
            let of = |channel, _| self.by_constants(channel);
            T::backward_adding_by_constants(isa, activation, constants, arrays, outs, &of)
        }))
    }

    /// dgamma and dbeta alone, of a forward pass with a residual, where nobody asks for dx: as
    /// [`parameter_gradients`](Self::parameter_gradients), and the same bits as
    /// [`backward_adding`](Self::backward_adding)'s.
    ///
    /// # Errors
    /// As `backward_adding`.
    pub fn parameter_gradients_adding<T: Element>(
        &self,
        x: &View<T>,
        y: &View<T>,
        dy: &View<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check(x, &dy.layout, Kind::Adding)?;
        same_shape("y", &x.layout, &y.layout)?;
        let arrays = [&x.memory, &dy.memory, &y.memory];
        Ok(self.parameters(T::gradient_sums_adding(self.isa(), self.activation, self.constants(), arrays)))
    }

    /// The residual's gradient alone, `dy * f'`, where nobody asks for dx: one sweep over `dy` and `y`, the forward
    /// pass's output. The same bits as [`backward_adding`](Self::backward_adding)'s.
    ///
    /// # Errors
    /// Shapes that do not fit each other; a forward pass without a residual. `dresidual` is untouched then.
    pub fn residual_gradient<T: Element>(
        &self,
        y: &View<T>,
        dy: &View<T>,
        dresidual: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        self.check_kind(Kind::Adding)?;
        same_shape("dy", &y.layout, &dy.layout)?;
        same_shape("dresidual", &y.layout, &dresidual.layout)?;
        T::residual_gradient(self.isa(), self.activation, [&dy.memory, &y.memory], &mut dresidual.memory);
        Ok(())
    }

    /// The coefficients of a channel's dx where the statistics are those of the batch.
    fn by_batch(&self, channel: usize, sums: GradientSums) -> [f64; 5] {
        let n = self.total[channel];
        let (mean_dz, mean_dz_xhat) = (sums.dy / n, sums.dy_xhat / n);
        let offset = self.flow * (mean_dz - mean_dz_xhat * self.batch_lag[channel]);
        let slope = self.flow * mean_dz_xhat * self.inverse_deviation[channel];
        [self.mean[channel], self.gradient_scale(channel), self.shift[channel], offset, slope]
    }

    /// The coefficients of dx where the statistics are constants.
    fn by_constants(&self, channel: usize) -> [f64; 3] {
        [self.mean[channel], self.scale[channel], self.shift[channel]]
    }

    /// The factor of dx after training. Where the gradient is declared to be 0, so is the inverse standard deviation.
    pub(crate) fn gradient_scale(&self, channel: usize) -> f64 {
        if self.inverse_deviation[channel] == 0.0 { 0.0 } else { self.scale[channel] }
    }

    /// The same pass, of some channels.
    pub(crate) fn of_channels(&self, channels: &[usize]) -> Saved {
        let of = |vector: &[f64]| channels.iter().map(|&channel| vector[channel]).collect();
        let [mean, scale, shift, inverse_deviation, lag] = self.constants().map(of);
        let (batch_lag, total) = (of(&self.batch_lag), of(&self.total));
        Saved { mean, scale, shift, inverse_deviation, lag, batch_lag, total, ..*self }
    }

    pub(crate) fn isa(&self) -> Isa {
        Isa::new(self.isa).expect("the forward pass ran on it")
    }

    /// What the sums of a backward pass need of each channel.
    pub(crate) fn constants(&self) -> [&[f64]; 5] {
        [&self.mean, &self.scale, &self.shift, &self.inverse_deviation, &self.lag].map(|vector| &vector[..])
    }

    /// Whether the forward pass was of the kind that the backward pass is for.
    fn check_kind(&self, kind: Kind) -> Result<(), CallError> {
        if self.kind == kind {
            return Ok(());
        }
        let (forward, call) = match (self.kind, self.of_larger) {
            (Kind::Plain, false) => ("without a residual and weights", "backward"),
            (Kind::Plain, true) => ("of a part of a batch without a residual and weights", "backward_part"),
            (Kind::Adding, false) => ("with a residual", "backward_adding"),
            (Kind::Adding, true) => ("of a part of a batch with a residual", ADDING_A_PART),
            (Kind::Weighted, false) => ("with weights", "backward_weighted"),
            (Kind::Weighted, true) => ("of a part of a batch with weights", "backward_part_weighted"),
        };
        Err(CallError::OtherPass { forward, call })
    }

    /// dx from sums that are known already.
    pub(crate) fn input_gradient<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        sums: &ParameterGradients,
        dx: &mut ViewMut<T>,
    ) {
        let all = self.gradient_coefficients(sums);
        T::input_gradient(self.isa(), self.activation, [&x.memory, &dy.memory], &mut dx.memory, all);
    }

    /// The coefficients of dx from sums that are known already.
    pub(crate) fn gradient_coefficients(&self, sums: &ParameterGradients) -> Coefficients<5> {
        let ParameterGradients { dgamma, dbeta } = sums;
        let sums = |c: usize| GradientSums { dy: dbeta[c], dy_xhat: dgamma[c] };
        Coefficients::new(self.channels(), |channel| {
            if self.used_batch_statistics() {
                return self.by_batch(channel, sums(channel));
            }
            // Constants: whatever the sums are, they play no part.
            let [mean, scale, shift] = self.by_constants(channel);
            [mean, scale, shift, 0.0, 0.0]
        })
    }

    /// Whether sums have as many channels as the pass.
    pub(crate) fn check_sums(&self, whole: &ParameterGradients) -> Result<(), CallError> {
        same_length("whole", self.channels(), whole.dgamma.len())?;
        same_length("whole", self.channels(), whole.dbeta.len())
    }

    /// Whether the forward pass was that of a whole batch, so that the array's own sums are those that count.
    pub(crate) fn check_whole(&self, call: &'static str) -> Result<(), CallError> {
        if !self.of_larger || !self.used_batch_statistics() {
            return Ok(());
        }
        Err(CallError::OtherPass { forward: "that of a part of a batch", call })
    }

    /// Whether input and upstream gradient fit each other and the forward pass.
    pub(crate) fn check<T: Element>(&self, x: &View<T>, dy: &Layout, kind: Kind) -> Result<(), CallError> {
        self.check_kind(kind)?;
        same_shape("dy", &x.layout, dy)?;
        self.check_size("x", x)
    }

    /// Whether an array has the channels and the values of the forward pass.
    pub(crate) fn check_size<T: Element>(&self, argument: &'static str, array: &View<T>) -> Result<(), CallError> {
        if array.channels() != self.channels() {
            let (expected, got) = (self.channels(), array.channels());
            let (shape, axis) = (array.shape().to_vec(), array.channel_axis());
            return Err(CallError::Channels { argument, expected, got, shape, axis });
        }
        if array.count() as u64 != self.count {
            return Err(CallError::OtherBatch { argument, expected: self.count, got: array.count() as u64 });
        }
        Ok(())
    }

    /// The sums as gradients; zeros for an empty batch, which has none.
    pub(crate) fn parameters(&self, mut sums: Vec<GradientSums>) -> ParameterGradients {
        sums.resize(self.channels(), GradientSums::default());
        ParameterGradients {
            dgamma: sums.iter().map(|sum| sum.dy_xhat).collect(),
            dbeta: sums.iter().map(|sum| sum.dy).collect(),
        }
    }
}
