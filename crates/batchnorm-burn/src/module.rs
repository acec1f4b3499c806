//! The module.

use batchnorm::{Activation, BatchMoments, CallError, ConfigError, Policies, Switches, ViewError};
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param};
use burn::tensor::{DType, Tensor};

use crate::config::{RunningVariance, options};
use crate::error::{ForwardError, Reason};
use crate::fused::Fused;
use crate::held::Held;
use crate::participant::Participant;
use crate::portable::Arithmetic;
use crate::running::RunningTensor;

/// Batch normalisation (Ioffe and Szegedy 2015) of tensors `[samples, channels, ...]` of rank 2 and more:
/// of each channel, over all other axes,
///
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`
///
/// with the batch's mean and population variance in training and the running ones in evaluation. Gradients flow to
/// the input, gamma and beta, to each if it requires one: in training through mean and variance, in evaluation with
/// both constant. The gradient of a channel whose values are all alike is 0.
///
/// Built by [`BatchNormConfig`](crate::BatchNormConfig). [`then`](Self::then) and [`adding`](Self::adding) give it with
/// an activation and a residual in the same pass.
///
/// # Number types
/// `f32` and `f64` are computed as they are, `f16` and `bf16` in `f32` and cast back (statistics, gamma and beta are not
/// narrowed by that); others are an error. The output has the input's type.
///
/// # Backends
/// What this crate promises of accuracy and bits holds on Flex. On others the layer computes by tensor operations;
/// [`arithmetic`](Self::arithmetic) says which.
///
/// # State
/// The running statistics are `f32`. In training each forward pass updates them before it returns, with
/// `running = (1 - momentum) * running + momentum * batch` computed in `f64` and rounded once. They sit behind locks
/// of the module's own, for Burn's forward passes take `&self`; they are what a record saves and what evaluation
/// uses, and a clone gets a copy. Two threads that train one module update it one after the other, in no fixed order.
/// Replicas made by `fork` or `clone` do not report back.
///
/// A channel that held NaN or infinity, or whose new statistics exceed `f32`, is not updated; see [`Trained`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// Scale of each channel.
    pub gamma: Param<Tensor<1>>,
    /// Shift of each channel.
    pub beta: Param<Tensor<1>>,
    /// Whether [`forward`](Self::forward) may train: [`freeze`](Module::freeze) and [`valid`](Module::valid) clear it.
    pub training: Param<Flag>,
    /// Running mean of each channel.
    pub running_mean: RunningTensor,
    /// Running variance of each channel.
    pub running_var: RunningTensor,
    /// Weight of the new value in the running statistics.
    pub momentum: f64,
    /// Added to the variance inside the square root.
    pub epsilon: f64,
    /// The variance that `running_var` estimates.
    #[module(skip)]
    pub running_variance: RunningVariance,
    /// What errors call the layer.
    #[module(skip)]
    pub name: String,
    /// What every pass does, whatever the device, the flag and the call say; see [`pin`](Self::pin).
    #[module(skip)]
    pub pinned: Option<Switches>,
    /// What to do in degenerate cases; the defaults are those of the crate `batchnorm`.
    #[module(skip)]
    pub policies: Policies,
    /// In training, samples of a group that is normalised by its own statistics ([`Ghost`](batchnorm::Ghost)); the running
    /// ones are those of the whole batch. `None`: no groups.
    #[module(skip)]
    pub ghost: Option<usize>,
    /// With whom the layer normalises one batch together; see [`Participant`].
    #[module(skip)]
    pub participant: Option<Participant>,
    /// Moments that are not in the running statistics yet; see [`hold`](Self::hold).
    #[module(skip)]
    pub held: Held,
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

    /// What every pass does from here on, until `pin(None)`: so a layer that is frozen stays so when the network around it
    /// goes into training again, on to another device or through an optimizer. Evaluation never updates the running
    /// statistics, whatever is pinned; but it normalises by the batch where that is pinned, so unpin what was pinned for a
    /// training before the model is used. A record does not have it.
    ///
    /// ```
    /// use batchnorm_burn::{BatchNormConfig, Switches};
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// let device = Device::default().autodiff();
    /// let norm = BatchNormConfig::new(3).init(&device).pin(Some(Switches::frozen()));
    /// let x = Tensor::<2>::random([8, 3], Distribution::Default, &device);
    /// let y = norm.forward(x.clone()); // on a device that trains
    /// assert_eq!(y.into_data(), norm.forward_eval(x).into_data());
    /// ```
    #[must_use]
    pub fn pin(self, switches: Option<Switches>) -> Self {
        BatchNorm { pinned: switches, ..self }
    }

    /// The layer and nothing that follows it.
    fn alone<const D: usize>(&self) -> Fused<'_, D> {
        self.then(Activation::Identity)
    }

    pub(crate) fn error(&self, reason: Reason) -> ForwardError {
        ForwardError { layer: self.name.clone(), reason: Box::new(reason) }
    }

    /// How this layer computes on the device it is on: by the crate `batchnorm` on Flex, else by tensor operations, which
    /// promise less and have been tested on Flex alone; see [`Arithmetic`].
    pub fn arithmetic(&self) -> Arithmetic {
        Arithmetic::on(&self.running_mean.lock().device())
    }

    /// The options as the core takes them.
    pub(crate) fn options(&self, activation: Activation) -> Result<batchnorm::Config, ConfigError> {
        let options = options(self.epsilon, self.momentum, self.running_variance)?;
        Ok(options.policies(self.policies).activation(activation))
    }

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

/// Whether an input has a channel axis of so many channels.
pub(crate) fn check_channels<const D: usize>(input: &Tensor<D>, expected: usize) -> Result<(), Reason> {
    let shape = input.dims().to_vec();
    match shape.get(1) {
        None => Err(ViewError::Rank { rank: D, shape }.into()),
        Some(&got) if got != expected => {
            Err(CallError::Channels { argument: "input", expected, got, shape, axis: 1 }.into())
        }
        Some(_) => Ok(()),
    }
}

/// The number type in which a tensor of another one is computed.
pub(crate) fn computed_in(argument: &'static str, got: DType) -> Result<DType, Reason> {
    match got {
        DType::F64 => Ok(DType::F64),
        DType::F32 | DType::F16 | DType::BF16 => Ok(DType::F32),
        _ => Err(Reason::Type { argument, got }),
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

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.gamma.shape().dims();
        let content = content
            .add("num_features", &num_features)
            .add("momentum", &self.momentum)
            .add("epsilon", &self.epsilon)
            .add_debug_attribute("running_variance", &self.running_variance);
        let content = match &self.pinned {
            Some(pinned) => content.add_debug_attribute("pinned", pinned),
            None => content,
        };
        let content = match &self.ghost {
            Some(samples) => content.add("ghost", samples),
            None => content,
        };
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}
