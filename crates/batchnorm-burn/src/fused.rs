//! The forward passes: of the layer, and of the layer with what follows it, in one pass over memory.

use batchnorm::Activation;
use burn::tensor::Tensor;

use crate::error::{ForwardError, Reason};
use crate::extension::{self, Pass};
use crate::module::{Arguments, BatchNorm, Trained};
use crate::portable::{self, Arithmetic};

/// A [`BatchNorm`] and what follows it, computed in one pass over memory:
///
/// `y = f(gamma * (x - mean) / sqrt(variance + epsilon) + beta + residual)`
///
/// with f an [`Activation`]. Made by [`BatchNorm::then`], and with a residual by [`BatchNorm::adding`]; the forward
/// passes are the layer's, and do to its running statistics what the layer's do.
///
/// ```
/// use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig};
/// use burn::module::Module;
/// use burn::nn::{PaddingConfig2d, conv::{Conv2d, Conv2dConfig}};
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// /// A residual block (He et al. 2016).
/// #[derive(Module, Debug)]
/// struct Block {
///     first: Conv2d,
///     first_norm: BatchNorm,
///     second: Conv2d,
///     second_norm: BatchNorm,
/// }
///
/// impl Block {
///     fn forward(&self, x: Tensor<4>) -> Tensor<4> {
///         // relu(first_norm(first(x)))
///         let inner = self.first_norm.then(Activation::Relu).forward(self.first.forward(x.clone()));
///         // relu(second_norm(second(inner)) + x)
///         self.second_norm.adding(x).then(Activation::Relu).forward(self.second.forward(inner))
///     }
/// }
///
/// let device = Device::default().autodiff();
/// let conv = || Conv2dConfig::new([3, 3], [3, 3]).with_padding(PaddingConfig2d::Same).init(&device);
/// let norm = || BatchNormConfig::new(3).init(&device);
/// let block = Block { first: conv(), first_norm: norm(), second: conv(), second_norm: norm() };
/// let x = Tensor::<4>::random([4, 3, 8, 8], Distribution::Default, &device).require_grad();
/// let gradients = block.forward(x.clone()).square().mean().backward();
/// assert_eq!(x.grad(&gradients).ok_or("no gradient")?.dims(), [4, 3, 8, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Against the layer and Burn's own operations
/// With ReLU and no residual, output and gradients are those of `relu(norm.forward(x))` to the bit in `f32` and `f64`
/// on [`Arithmetic::Contract`]. A leaky rectifier or a residual is computed in `f64` before y is rounded, once, where
/// one operation after the other rounds each result.
///
/// # Gradients
/// They go to the input, the residual, gamma and beta, to each if it requires one, and what nobody requires is not
/// computed. At 0 the derivative of f is that of the negative side, as in PyTorch (Burn's `leaky_relu` has 1 there). In
/// `f16` and `bf16` the side is that of y before it is cast back. The graph keeps the input, and the output where there
/// are a residual and an activation; the sum in front of the activation it need not keep.
#[derive(Debug, Clone)]
#[must_use = "nothing is computed before one of the forward passes"]
pub struct Fused<'n, const D: usize> {
    norm: &'n BatchNorm,
    residual: Option<Tensor<D>>,
    activation: Activation,
}

impl BatchNorm {
    /// The layer and an activation, in one pass: `norm.then(Activation::Relu).forward(x)` is `relu(norm.forward(x))`.
    pub fn then<const D: usize>(&self, activation: Activation) -> Fused<'_, D> {
        Fused { norm: self, residual: None, activation }
    }

    /// The layer and a tensor of the input's shape and number type that is added to its output, in one pass:
    /// `norm.adding(shortcut).then(Activation::Relu).forward(x)` is `relu(norm.forward(x) + shortcut)`.
    pub fn adding<const D: usize>(&self, residual: Tensor<D>) -> Fused<'_, D> {
        Fused { norm: self, residual: Some(residual), activation: Activation::Identity }
    }
}

impl<const D: usize> Fused<'_, D> {
    /// With an activation that comes last; in place of another one, if there is one.
    pub fn then(self, activation: Activation) -> Self {
        Fused { activation, ..self }
    }

    /// Training or evaluation, decided by the input as [`BatchNorm::forward`] does.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) or [`try_forward_eval`](Self::try_forward_eval) errs.
    pub fn forward(self, input: Tensor<D>) -> Tensor<D> {
        if input.is_autodiff() && self.norm.training.is_enabled() {
            self.forward_train(input)
        } else {
            self.forward_eval(input)
        }
    }

    /// [`BatchNorm::forward_train`], and what follows.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) errs, with its message.
    pub fn forward_train(self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_train(input).unwrap_or_else(|error| panic!("{error}")).output
    }

    /// [`BatchNorm::forward_eval`], and what follows.
    ///
    /// # Panics
    /// Where [`try_forward_eval`](Self::try_forward_eval) errs, with its message.
    pub fn forward_eval(self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_eval(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`BatchNorm::try_forward_train`], and what follows: the output is behind it, the batch's moments are the input's.
    ///
    /// # Errors
    /// As there; a residual of another shape or number type than the input's; a leaky rectifier's slope that is not finite
    /// or is negative. The layer is unchanged then.
    pub fn try_forward_train(self, input: Tensor<D>) -> Result<Trained<D>, ForwardError> {
        let norm = self.norm;
        self.train(input, norm.arithmetic()).map_err(|reason| norm.error(reason))
    }

    /// [`BatchNorm::try_forward_eval`], and what follows.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval(self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        let norm = self.norm;
        self.eval(input, norm.arithmetic()).map_err(|reason| norm.error(reason))
    }

    pub(crate) fn train(self, input: Tensor<D>, by: Arithmetic) -> Result<Trained<D>, Reason> {
        let Fused { norm, residual, activation } = self;
        let Arguments { given, x, residual, gamma, beta } = norm.arguments(input, residual)?;
        let options = norm.options(activation)?;
        let rule = options.rule()?;
        let (output, batch) = match by {
            Arithmetic::Contract => {
                let (output, batch) = extension::forward(x, residual, gamma, beta, Pass::Train(rule))?;
                (output, batch.expect("a training pass has moments"))
            }
            Arithmetic::TensorOperations => {
                let (z, batch) = portable::train(x, gamma, beta, norm.epsilon)?;
                (portable::followed(z, residual, activation), batch)
            }
        };
        let not_updated = norm.commit(&batch, options)?;
        Ok(Trained { output: output.cast(given), batch, not_updated })
    }

    pub(crate) fn eval(self, input: Tensor<D>, by: Arithmetic) -> Result<Tensor<D>, Reason> {
        let Fused { norm, residual, activation } = self;
        let Arguments { given, x, residual, gamma, beta } = norm.arguments(input, residual)?;
        let rule = norm.options(activation)?.rule()?;
        let running = norm.running()?;
        let output = match by {
            Arithmetic::Contract => extension::forward(x, residual, gamma, beta, Pass::Eval(rule, running))?.0,
            Arithmetic::TensorOperations => {
                portable::followed(portable::eval(x, gamma, beta, &running, norm.epsilon)?, residual, activation)
            }
        };
        Ok(output.cast(given))
    }
}
