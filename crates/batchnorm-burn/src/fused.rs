//! The forward passes: of the layer, and of the layer with what follows it, in one pass over memory.

use std::num::NonZeroUsize;
use std::sync::Arc;

use batchnorm::{Activation, BatchMoments, ConfigError, NormalizeBy, Policies, SingleValue, Switches};
use burn::tensor::{Bool, DType, Tensor};

use crate::check::{check_channels, computed_in};
use crate::error::{ForwardError, Reason};
use crate::extension;
use crate::module::BatchNorm;
use crate::participant::Participant;
use crate::pass::{BatchNormPass, Pass, Scope, WeightValues};
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
/// one operation after the other rounds each result. Beside ghost batches and participants, residual and activation are such
/// operations; weights and masks take no residual.
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
    weights: Option<Weighted<D>>,
    activation: Activation,
}

/// What a training pass returns.
#[derive(Debug, Clone)]
pub struct Trained<const D: usize> {
    /// The output, of the input's shape.
    pub output: Tensor<D>,
    /// What there was to take into the running statistics: the batch's moments, or none where the pass was not to update them.
    pub batch: BatchMoments,
    /// Channels whose running statistics were left as they were, because the batch's are not finite or the new ones
    /// would exceed `f32`; ascending.
    pub not_updated: Vec<usize>,
}

/// Weights as they were given.
#[derive(Debug, Clone)]
enum Weighted<const D: usize> {
    Weights(Tensor<D>),
    Counting(Tensor<D, Bool>),
}

impl BatchNorm {
    /// Training or evaluation by Burn's convention: [`forward_train`](Self::forward_train) if the input is on an
    /// autodiff device and the layer is not frozen, else [`forward_eval`](Self::forward_eval).
    ///
    /// # Panics
    /// As these.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.alone().forward(input)
    }

    /// Normalises by the batch and updates the running statistics, whatever the device and the flag say; a layer that is
    /// [pinned](Self::pin) does what is pinned.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) errs, with its message.
    pub fn forward_train<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.alone().forward_train(input)
    }

    /// Normalises by the running statistics, whatever the device and the flag say.
    ///
    /// # Panics
    /// Where [`try_forward_eval`](Self::try_forward_eval) errs, with its message.
    pub fn forward_eval<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.alone().forward_eval(input)
    }

    /// [`forward_train`](Self::forward_train) with errors as values, and with the batch's moments. An empty batch
    /// gives an empty output and changes nothing.
    ///
    /// # Errors
    /// One value a channel; a rank below 2; another number of channels; another number type than those above; options, parameters
    /// or running statistics that are no such (set or loaded since the layer was built). The layer is unchanged then.
    pub fn try_forward_train<const D: usize>(&self, input: Tensor<D>) -> Result<Trained<D>, ForwardError> {
        self.alone().try_forward_train(input)
    }

    /// [`forward_eval`](Self::forward_eval) with errors as values.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        self.alone().try_forward_eval(input)
    }

    /// A pass by these switches, whatever is pinned.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train). The layer is unchanged then.
    pub fn try_forward_by<const D: usize>(
        &self,
        input: Tensor<D>,
        switches: Switches,
    ) -> Result<Trained<D>, ForwardError> {
        self.alone().try_forward_by(input, switches)
    }

    /// The layer and nothing that follows it.
    fn alone<const D: usize>(&self) -> Fused<'_, D> {
        self.then(Activation::Identity)
    }

    /// The layer and an activation, in one pass: `norm.then(Activation::Relu).forward(x)` is `relu(norm.forward(x))`.
    pub fn then<const D: usize>(&self, activation: Activation) -> Fused<'_, D> {
        Fused { norm: self, residual: None, weights: None, activation }
    }

    /// The layer and a tensor of the input's shape and number type that is added to its output, in one pass:
    /// `norm.adding(shortcut).then(Activation::Relu).forward(x)` is `relu(norm.forward(x) + shortcut)`.
    pub fn adding<const D: usize>(&self, residual: Tensor<D>) -> Fused<'_, D> {
        Fused { residual: Some(residual), ..self.then(Activation::Identity) }
    }

    /// The layer over values that count by their weights; the formulas are at [`Weights`](batchnorm::Weights). Each axis of
    /// `weights` has the input's length, or 1 where all weights along it are the same. The output is 0 where the weight is.
    /// No gradient goes to the weights.
    pub fn weighing<const D: usize>(&self, weights: Tensor<D>) -> Fused<'_, D> {
        Fused { weights: Some(Weighted::Weights(weights)), ..self.then(Activation::Identity) }
    }

    /// The layer over the values where `counts` is true: the others are not looked at, may be NaN, and have the output 0.
    /// (Burn's padding masks are true where there is padding: `norm.counting(padding.bool_not())`.) Each axis has the
    /// input's length, or 1.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::tensor::{Device, Tensor};
    /// let device = Device::default();
    /// let norm = BatchNormConfig::new(1).init(&device);
    /// // Two sequences of three steps; what pads the second one is not data.
    /// let x = Tensor::<3>::from_floats([[[1.0, 2.0, 3.0]], [[5.0, 9.0, f32::NAN]]], &device);
    /// let counts = Tensor::<3, burn::tensor::Bool>::from_data([[[true; 3]], [[true, true, false]]], &device);
    /// let trained = norm.counting(counts).try_forward_train(x)?;
    /// assert_eq!(trained.batch.channels()[0].mean(), 4.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn counting<const D: usize>(&self, counts: Tensor<D, Bool>) -> Fused<'_, D> {
        Fused { weights: Some(Weighted::Counting(counts)), ..self.then(Activation::Identity) }
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
        let switches = self.norm.pinned.unwrap_or(Switches::train());
        self.try_forward_by(input, switches)
    }

    /// [`BatchNorm::try_forward_eval`], and what follows.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval(self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        let norm = self.norm;
        let switches = norm.pinned.unwrap_or(Switches::evaluate());
        let switches = Switches { update_running: false, ..switches };
        let trained = self.pass(input, switches, false, norm.arithmetic()).map_err(|reason| norm.error(reason))?;
        Ok(trained.output)
    }

    /// [`BatchNorm::try_forward_by`], and what follows.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train).
    pub fn try_forward_by(self, input: Tensor<D>, switches: Switches) -> Result<Trained<D>, ForwardError> {
        let norm = self.norm;
        self.pass(input, switches, true, norm.arithmetic()).map_err(|reason| norm.error(reason))
    }

    /// A pass by switches, unless the layer is observed. In `training`, ghost batches and participants have their part in it:
    /// evaluation waits for nobody.
    pub(crate) fn pass(
        self,
        input: Tensor<D>,
        switches: Switches,
        training: bool,
        by: Arithmetic,
    ) -> Result<Trained<D>, Reason> {
        let Fused { norm, residual, weights, activation } = self;
        let observed = norm.held.normalizes_by();
        let switches = observed.map_or(switches, |normalize_by| Switches { normalize_by, ..Switches::train() });
        let training = training && observed.is_none();
        let ghost = norm.ghost.filter(|_| training && switches.normalize_by == NormalizeBy::Batch);
        let participant = norm.participant.clone().filter(|_| training);
        let weights = weights.map(|weights| weights.read(input.dtype())).transpose()?;
        let Arguments { given, x, residual, gamma, beta } = norm.arguments(input, residual)?;
        let scope = scope(weights, ghost, participant)?;
        // Beside anything else, a residual and what follows it are operations of their own.
        let alone = matches!(scope, Scope::Batch) && by == Arithmetic::Contract;
        let apart = !alone && residual.is_some();
        let options = norm.options(activation)?;
        // One value says nothing of a variance, but it is one of the values that an observation is made of.
        let options = match observed {
            Some(NormalizeBy::Running) => {
                options.policies(Policies { single_value: SingleValue::Population, ..norm.policies })
            }
            _ => options,
        };
        // Checked with its activation, whoever computes that.
        let rule = options.rule()?;
        let rule = if apart { options.clone().activation(Activation::Identity).rule()? } else { rule };
        let pass = BatchNormPass { rule, switches, running: norm.running()?, scope, layer: norm.name.clone() };
        let (output, batch) = match by {
            Arithmetic::Contract if apart => {
                let (z, report) = extension::forward(x, None, gamma, beta, Pass::BatchNorm(pass))?;
                (portable::followed(z, residual, activation), report.moments())
            }
            Arithmetic::Contract => {
                let (y, report) = extension::forward(x, residual, gamma, beta, Pass::BatchNorm(pass))?;
                (y, report.moments())
            }
            Arithmetic::TensorOperations => {
                let (z, batch) = portable::forward(x, gamma, beta, norm.epsilon, norm.policies, &pass)?;
                (portable::followed(z, residual, activation), batch)
            }
        };
        // Evaluation, and a batch of nothing, leave the statistics alone, and whoever holds or observes them.
        let not_updated = if batch.channels().iter().all(|moments| moments.count() == 0) {
            Vec::new()
        } else {
            match norm.held.keeps(&batch)? {
                Some(left_out) => left_out,
                None => norm.take_in(&batch, options)?,
            }
        };
        Ok(Trained { output: output.cast(given), batch, not_updated })
    }
}

/// What a forward pass takes.
pub(crate) struct Arguments<const D: usize> {
    /// The number type of the input, and of the output.
    pub given: DType,
    /// The tensors, in the type to compute in.
    pub x: Tensor<D>,
    pub residual: Option<Tensor<D>>,
    pub gamma: Tensor<1>,
    pub beta: Tensor<1>,
}

impl BatchNorm {
    /// What a forward pass takes, if all of it fits.
    pub(crate) fn arguments<const D: usize>(
        &self,
        input: Tensor<D>,
        residual: Option<Tensor<D>>,
    ) -> Result<Arguments<D>, Reason> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        for (argument, got) in [("input", input.dtype()), ("gamma", gamma.dtype()), ("beta", beta.dtype())] {
            computed_in(argument, got)?;
        }
        let [expected] = gamma.dims();
        check_channels(&input, expected)?;
        let vectors = [("beta", beta.dims()), ("running_mean", self.running_mean.lock().dims())];
        for (argument, [got]) in vectors.into_iter().chain([("running_var", self.running_var.lock().dims())]) {
            if got != expected {
                return Err(ConfigError::Length { argument, expected, got }.into());
            }
        }
        let given = input.dtype();
        if let Some(residual) = &residual {
            if residual.dtype() != given {
                return Err(Reason::ResidualType { expected: given, got: residual.dtype() });
            }
            if residual.dims() != input.dims() {
                let (expected, got) = (input.dims().to_vec(), residual.dims().to_vec());
                return Err(Reason::ResidualShape { expected, got });
            }
        }
        // Casts are operations of the graph: gradients come back in the types the tensors have. The same type is
        // no operation.
        let inner = computed_in("input", given)?;
        Ok(Arguments {
            given,
            x: input.cast(inner),
            residual: residual.map(|residual| residual.cast(inner)),
            gamma: gamma.cast(inner),
            beta: beta.cast(inner),
        })
    }
}

/// What the statistics of a layer's batch are taken over.
fn scope(
    weights: Option<WeightValues>,
    ghost: Option<usize>,
    participant: Option<Participant>,
) -> Result<Scope, Reason> {
    const WEIGHTS: &str = "weights";
    const GHOST: &str = "ghost batches";
    const PARTICIPANTS: &str = "participants";
    let apart = |one, other| Err(Reason::Apart { one, other });
    match (weights, ghost, participant) {
        (None, None, None) => Ok(Scope::Batch),
        (Some(weights), None, None) => Ok(Scope::Weights(Arc::new(weights))),
        (None, Some(samples), None) => Ok(Scope::Ghost(NonZeroUsize::new(samples).ok_or(Reason::Ghost)?)),
        (None, None, Some(participant)) => Ok(Scope::Participants(participant)),
        (Some(_), Some(_), _) => apart(WEIGHTS, GHOST),
        (Some(_), _, Some(_)) => apart(WEIGHTS, PARTICIPANTS),
        (_, Some(_), Some(_)) => apart(GHOST, PARTICIPANTS),
    }
}

impl<const D: usize> Weighted<D> {
    /// For an input of a number type.
    fn read(self, expected: DType) -> Result<WeightValues, Reason> {
        let (values, shape) = match self {
            Weighted::Weights(weights) => {
                let (got, shape) = (weights.dtype(), weights.dims());
                if got != expected {
                    return Err(Reason::WeightsType { expected, got });
                }
                (weights.into_data().iter::<f64>().collect(), shape)
            }
            Weighted::Counting(counts) => {
                let shape = counts.dims();
                (counts.into_data().iter::<bool>().map(|counts| f64::from(u8::from(counts))).collect(), shape)
            }
        };
        let weighing = WeightValues { values, shape: shape.to_vec() };
        weighing.check()?;
        Ok(weighing)
    }
}
