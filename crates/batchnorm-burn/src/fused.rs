//! The forward passes of the layer, alone and with a residual and an activation in the same pass over memory.

use std::num::NonZeroUsize;
use std::sync::Arc;

use batchnorm::{Activation, BatchMoments, ConfigError, Moments, NormalizeBy, Policies, SingleValue, Switches};
use burn::tensor::{Bool, DType, Tensor};

use crate::check::{check_channels, computed_in};
use crate::error::{ForwardError, Reason};
use crate::extension;
use crate::ledger::Now;
use crate::module::BatchNorm;
use crate::participant::Participant;
use crate::pass::{BatchNormPass, Pass, Scope, WeightValues};
use crate::portable::{self, Arithmetic};
use crate::running::dequantized;
use crate::weights::WeightTensor;

/// A [`BatchNorm`] with a residual and an activation, computed in one pass over memory:
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
/// one operation after the other rounds each result. Beside ghost batches and participants, residual and activation are
/// such operations; weights and masks take no residual.
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
    weights: Option<WeightTensor<D>>,
    activation: Activation,
}

/// The result of a training pass.
#[derive(Debug, Clone)]
pub struct Trained<const D: usize> {
    /// The output, of the input's shape.
    pub output: Tensor<D>,
    /// The moments that were to go into the running statistics: the batch's, or empty ones where the pass was not to
    /// update them.
    pub batch: BatchMoments,
    /// Channels whose running statistics were left as they were, because the batch's are not finite or the new ones
    /// would exceed `f32`; ascending.
    pub not_updated: Vec<usize>,
}

/// The result of a pass: [`Trained`], but for moments that nobody has computed.
#[derive(Debug)]
pub(crate) struct Passed<const D: usize> {
    pub output: Tensor<D>,
    pub batch: Option<BatchMoments>,
    pub not_updated: Vec<usize>,
}

impl BatchNorm {
    /// Training or evaluation by Burn's convention: [`forward_train`](Self::forward_train) if the input is on an
    /// autodiff device and the layer is not frozen, else [`forward_eval`](Self::forward_eval).
    ///
    /// # Panics
    /// Where [`forward_train`](Self::forward_train) or [`forward_eval`](Self::forward_eval) panics.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.plain().forward(input)
    }

    /// Normalises by the batch and updates the running statistics, whatever the device and the flag say; a layer that
    /// is [pinned](Self::pin) does what is pinned.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) errs, with its message.
    pub fn forward_train<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.plain().forward_train(input)
    }

    /// Normalises by the running statistics, whatever the device and the flag say.
    ///
    /// # Panics
    /// Where [`try_forward_eval`](Self::try_forward_eval) errs, with its message.
    pub fn forward_eval<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.plain().forward_eval(input)
    }

    /// [`forward_train`](Self::forward_train) with errors as values, and with the batch's moments. An empty batch
    /// gives an empty output and changes nothing.
    ///
    /// # Errors
    /// One value a channel; a rank below 2; another number of channels; another number type than those of [the
    /// layer](Self#number-types); invalid options, parameters or running statistics (set or loaded since the layer was
    /// built). The layer is unchanged then.
    pub fn try_forward_train<const D: usize>(&self, input: Tensor<D>) -> Result<Trained<D>, ForwardError> {
        self.plain().try_forward_train(input)
    }

    /// [`forward_eval`](Self::forward_eval) with errors as values.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        self.plain().try_forward_eval(input)
    }

    /// Makes a pass by these switches, whatever is pinned.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train). The layer is unchanged then.
    pub fn try_forward_by<const D: usize>(
        &self,
        input: Tensor<D>,
        switches: Switches,
    ) -> Result<Trained<D>, ForwardError> {
        self.plain().try_forward_by(input, switches)
    }

    /// The layer without residual, weights or activation.
    fn plain<const D: usize>(&self) -> Fused<'_, D> {
        self.then(Activation::Identity)
    }

    /// The layer and an activation behind it, in one pass: `norm.then(Activation::Relu).forward(x)` is
    /// `relu(norm.forward(x))`.
    pub fn then<const D: usize>(&self, activation: Activation) -> Fused<'_, D> {
        Fused { norm: self, residual: None, weights: None, activation }
    }

    /// The layer and a tensor of the input's shape and number type that is added to its output, in one pass:
    /// `norm.adding(shortcut).then(Activation::Relu).forward(x)` is `relu(norm.forward(x) + shortcut)`.
    pub fn adding<const D: usize>(&self, residual: Tensor<D>) -> Fused<'_, D> {
        Fused { residual: Some(residual), ..self.then(Activation::Identity) }
    }

    /// The layer over values that count by their weights; the formulas are at [`Weights`](batchnorm::Weights). Each
    /// axis of `weights` has the input's length, or 1 where all weights along it are the same. The output is 0 where
    /// the weight is. No gradient goes to the weights.
    pub fn weighing<const D: usize>(&self, weights: Tensor<D>) -> Fused<'_, D> {
        Fused { weights: Some(WeightTensor::Weights(weights)), ..self.then(Activation::Identity) }
    }

    /// The layer over the values where `counts` is true: the others are not looked at, may be NaN, and have the output
    /// 0. (Burn's padding masks are true where there is padding: `norm.counting(padding.bool_not())`.) Each axis has
    /// the input's length, or 1.
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
        Fused { weights: Some(WeightTensor::Mask(counts)), ..self.then(Activation::Identity) }
    }
}

impl<const D: usize> Fused<'_, D> {
    /// Sets the activation, which comes last; it replaces an earlier one.
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

    /// [`BatchNorm::forward_train`], with residual and activation.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) errs, with its message.
    pub fn forward_train(self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_train(input).unwrap_or_else(|error| panic!("{error}")).output
    }

    /// [`BatchNorm::forward_eval`], with residual and activation.
    ///
    /// # Panics
    /// Where [`try_forward_eval`](Self::try_forward_eval) errs, with its message.
    pub fn forward_eval(self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_eval(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`BatchNorm::try_forward_train`], with residual and activation: these are in the output, while the batch's
    /// moments are those of the input.
    ///
    /// # Errors
    /// As [`BatchNorm::try_forward_train`]; a residual of another shape or number type than the input's; a leaky
    /// rectifier's slope that is not finite or is negative. The layer is unchanged then.
    pub fn try_forward_train(self, input: Tensor<D>) -> Result<Trained<D>, ForwardError> {
        let switches = self.norm.pinned.unwrap_or(Switches::train());
        self.try_forward_by(input, switches)
    }

    /// [`BatchNorm::try_forward_eval`], with residual and activation.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval(self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        let norm = self.norm;
        let switches = norm.pinned.unwrap_or(Switches::evaluate());
        let switches = Switches { update_running: false, ..switches };
        let passed = self.pass(input, switches, false, norm.arithmetic()).map_err(|reason| norm.error(reason))?;
        Ok(passed.output)
    }

    /// [`BatchNorm::try_forward_by`], with residual and activation.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train).
    pub fn try_forward_by(self, input: Tensor<D>, switches: Switches) -> Result<Trained<D>, ForwardError> {
        let norm = self.norm;
        let passed = self.pass(input, switches, true, norm.arithmetic());
        let Passed { output, batch, not_updated } = passed.map_err(|reason| norm.error(reason))?;
        let nothing = || vec![Moments::EMPTY; norm.gamma.dims()[0]].into();
        Ok(Trained { output, batch: batch.unwrap_or_else(nothing), not_updated })
    }

    /// Makes a pass by switches; a layer that is observed (by a [recalibration](crate::Recalibration)) goes by its
    /// observation instead. Ghost batches and participants take part where `training` is true: evaluation waits for
    /// nobody.
    pub(crate) fn pass(
        self,
        input: Tensor<D>,
        switches: Switches,
        training: bool,
        arithmetic: Arithmetic,
    ) -> Result<Passed<D>, Reason> {
        let Fused { norm, residual, weights, activation } = self;
        norm.check_updates()?;
        let observed = norm.held.observed_by();
        let switches = observed.map_or(switches, |normalize_by| Switches { normalize_by, ..Switches::train() });
        let training = training && observed.is_none();
        let ghost = norm.ghost.filter(|_| training && switches.normalize_by == NormalizeBy::Batch);
        let participant = norm.participant.clone().filter(|_| training);
        let weights = weights.map(|weights| weights.read(input.dtype())).transpose()?;
        let Arguments { input_type, x, residual, gamma, beta } = norm.arguments(input, residual)?;
        let scope = scope(weights, ghost, participant)?;
        // The core adds a residual in a pass over the whole batch only; elsewhere residual and activation are
        // operations of their own behind the pass.
        let adds_in_pass = matches!(scope, Scope::Batch) && arithmetic == Arithmetic::Contract;
        let adds_behind = residual.is_some() && !adds_in_pass;
        let options = norm.options(activation)?;
        // One value has no variance of its own, but an observation over many batches takes it in.
        let options = match observed {
            Some(NormalizeBy::Running) => {
                options.policies(Policies { single_value: SingleValue::Population, ..norm.policies })
            }
            _ => options,
        };
        // The activation is checked in any case, also where it is computed behind the pass.
        let normalizer = options.normalizer()?;
        let normalizer =
            if adds_behind { options.clone().activation(Activation::Identity).normalizer()? } else { normalizer };
        // Of many channels and few samples, reading and checking them takes as long as the pass.
        let by_batch = switches.normalize_by == NormalizeBy::Batch
            && norm.policies.single_value != SingleValue::UseRunning
            && norm.renormalization.is_none();
        let running = (!by_batch).then(|| norm.cells());
        let prepared = (norm.held.prepared(), norm.epsilon);
        let pass = BatchNormPass { normalizer, switches, running, prepared, scope, layer: norm.name.handle() };
        let (output, (batch, part)) = match arithmetic {
            Arithmetic::Contract if adds_behind => {
                let (z, report) = extension::forward(x, None, gamma, beta, Pass::BatchNorm(Box::new(pass)))?;
                (portable::add_and_activate(z, residual, activation), report.moments())
            }
            Arithmetic::Contract => {
                let (y, report) = extension::forward(x, residual, gamma, beta, Pass::BatchNorm(Box::new(pass)))?;
                (y, report.moments())
            }
            Arithmetic::TensorOperations => {
                let BatchNorm { epsilon, policies, renormalization, .. } = *norm;
                let options = portable::Options { epsilon, policies, renormalization };
                let (z, batch) = portable::forward(x, gamma, beta, options, &pass)?;
                (portable::add_and_activate(z, residual, activation), (Some(batch), None))
            }
        };
        // Without moments (in evaluation, or of an empty batch) nothing is updated, held or observed.
        let batch = batch.filter(|batch| batch.channels().iter().any(|moments| moments.count() > 0));
        let not_updated = match &batch {
            None => Vec::new(),
            Some(batch) => norm.ledger().train(norm.cells(), Now { rule: &options, batch, part: part.as_ref() })?,
        };
        Ok(Passed { output: output.cast(input_type), batch, not_updated })
    }
}

/// The tensors of a forward pass, in the number type to compute in.
struct Arguments<const D: usize> {
    /// The number type of the input, and of the output.
    input_type: DType,
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
}

impl BatchNorm {
    /// Checks the tensors of a forward pass, and casts them to the number type to compute in.
    fn arguments<const D: usize>(&self, input: Tensor<D>, residual: Option<Tensor<D>>) -> Result<Arguments<D>, Reason> {
        let input = dequantized(input);
        let (gamma, beta) = (dequantized(self.gamma.val()), dequantized(self.beta.val()));
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
        let input_type = input.dtype();
        let residual = residual.map(dequantized);
        if let Some(residual) = &residual {
            if residual.dtype() != input_type {
                return Err(Reason::ResidualType { expected: input_type, got: residual.dtype() });
            }
            if residual.dims() != input.dims() {
                let (expected, got) = (input.dims().to_vec(), residual.dims().to_vec());
                return Err(Reason::ResidualShape { expected, got });
            }
        }
        // Casts are operations of the graph: gradients come back in the types that the tensors have. A cast to the
        // tensor's own type is no operation.
        let computed = computed_in("input", input_type)?;
        Ok(Arguments {
            input_type,
            x: input.cast(computed),
            residual: residual.map(|residual| residual.cast(computed)),
            gamma: gamma.cast(computed),
            beta: beta.cast(computed),
        })
    }
}

/// The scope of a pass's statistics; at most one of the three narrows or widens it.
fn scope(
    weights: Option<WeightValues>,
    ghost: Option<usize>,
    participant: Option<Participant>,
) -> Result<Scope, Reason> {
    const PARTICIPANTS: &str = "participants";
    let exclude = |one, other| Err(Reason::Apart { one, other });
    match (weights, ghost, participant) {
        (None, None, None) => Ok(Scope::Batch),
        (Some(weights), None, None) => Ok(Scope::Weights(Arc::new(weights))),
        (weights, Some(samples), None) => {
            Ok(Scope::Ghost(NonZeroUsize::new(samples).ok_or(Reason::Ghost)?, weights.map(Arc::new)))
        }
        (None, None, Some(participant)) => Ok(Scope::Participants(participant)),
        (_, Some(_), Some(_)) => exclude("ghost batches", PARTICIPANTS),
        (Some(_), None, Some(_)) => exclude("weights", PARTICIPANTS),
    }
}
