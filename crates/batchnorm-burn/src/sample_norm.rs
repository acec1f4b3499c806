//! Norms that do not look at the batch: layer, group, instance, RMS and grouped RMS norm.

use std::sync::Arc;

use batchnorm::{
    Activation, Affine, CallError, ConfigError, EmptyBatch, Grouping, Policies, SampleConfig, SingleValue, Threads,
};
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Bool, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::check::computed_in;
use crate::error::{ForwardError, Reason};
use crate::extension;
use crate::name::LayerName;
use crate::pass::{Pass, WeightValues};
use crate::portable::{self, Arithmetic};
use crate::running::dequantized;
use crate::weights::WeightTensor;

/// Configuration of a [`SampleNorm`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SampleNormConfig {
    /// The values that are normalised together.
    pub grouping: Grouping,
    /// Elements of the last axis for layer and RMS norm, channels for group and instance norm: gamma and beta have one
    /// value for each.
    pub size: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// The parameters there are: gamma and beta, or gamma alone.
    pub affine: Affine,
    /// The policies for degenerate cases; by default the core's: instance norm refuses one value, the others take it.
    pub policies: Option<Policies>,
    /// Name of the layer in errors, beside its path ([`LayerName`]).
    pub name: Option<String>,
}

impl Config for SampleNormConfig {}

impl SampleNormConfig {
    /// The norm over such groups, with epsilon 1e-5, gamma and beta.
    pub fn new(grouping: Grouping, size: usize) -> Self {
        SampleNormConfig { grouping, size, epsilon: 1e-5, affine: Affine::ScaleAndShift, policies: None, name: None }
    }

    /// Sets what is added to the variance inside the square root.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        SampleNormConfig { epsilon, ..self }
    }

    /// Sets the parameters there are.
    pub fn with_affine(self, affine: Affine) -> Self {
        SampleNormConfig { affine, ..self }
    }

    /// Sets the policies for degenerate cases.
    pub fn with_policies(self, policies: impl Into<Option<Policies>>) -> Self {
        SampleNormConfig { policies: policies.into(), ..self }
    }

    /// Sets a name of the layer in errors, which need not be its path.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        SampleNormConfig { name: Some(name.into()), ..self }
    }

    /// Layer norm over the last axis (Ba et al. 2016).
    pub fn layer(size: usize) -> Self {
        Self::new(Grouping::Layer { axes: 1 }, size)
    }

    /// RMS norm over the last axis (Zhang and Sennrich 2019), with gamma alone.
    pub fn rms(size: usize) -> Self {
        Self::new(Grouping::Rms { axes: 1 }, size).with_affine(Affine::ScaleOnly)
    }

    /// Group norm (Wu and He 2018) of tensors `[samples, channels, ...]`.
    pub fn group(groups: usize, channels: usize) -> Self {
        Self::new(Grouping::Group { groups }, channels)
    }

    /// Instance norm (Ulyanov et al. 2016) of tensors `[samples, channels, ...]`.
    pub fn instance(channels: usize) -> Self {
        Self::new(Grouping::Instance, channels)
    }

    /// Grouped RMS norm of tensors `[samples, channels, ...]`: group norm without the mean, with gamma alone.
    pub fn group_rms(groups: usize, channels: usize) -> Self {
        Self::new(Grouping::GroupRms { groups }, channels).with_affine(Affine::ScaleOnly)
    }

    /// The layer on a device: gamma 1, beta 0.
    ///
    /// # Panics
    /// Where [`try_init`](Self::try_init) errs.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SampleNorm {
        self.try_init(device).unwrap_or_else(|error| panic!("SampleNormConfig: {error}"))
    }

    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No element or group; channels that the groups do not divide evenly; an epsilon that is not finite or is
    /// negative; [`SingleValue::UseRunning`].
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<SampleNorm, ConfigError> {
        let SampleNormConfig { grouping, size, epsilon, affine, policies, name } = self.clone();
        let policies = policies.unwrap_or_else(|| SampleConfig::of(grouping).policies);
        // Built to be checked: the rules are the core's.
        SampleConfig::of(grouping).epsilon(epsilon).affine(affine).policies(policies).build(&[size])?;
        Ok(SampleNorm {
            gamma: affine.scales().then(|| Initializer::Ones.init([size], device)),
            beta: affine.shifts().then(|| Initializer::Zeros.init([size], device)),
            grouping,
            size,
            epsilon,
            policies,
            name: LayerName::built_here("SampleNorm", name),
            threads: Threads::default(),
        })
    }
}

/// Layer, group, instance or RMS norm by the arithmetic of the crate `batchnorm`: accuracy and bits as of
/// [`BatchNorm`](crate::BatchNorm), on Flex; by tensor operations elsewhere. Training and evaluation are the same, and
/// a sample's output does not depend on the batch it is in.
///
/// The formulas and what happens with values that are all alike are at [`batchnorm::SampleNorm`]. The fields `gamma`
/// and `beta` are those of Burn's `LayerNorm`, `GroupNorm`, `InstanceNorm` and `RmsNorm`.
///
/// ```
/// use batchnorm_burn::SampleNormConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// let device = Device::default().autodiff();
/// let norm = SampleNormConfig::group(2, 6).init(&device);
/// let x = Tensor::<4>::random([3, 6, 5, 5], Distribution::Normal(100.0, 1.0), &device).require_grad();
/// let gradients = norm.forward(x.clone()).square().mean().backward();
/// assert!(x.grad(&gradients).is_some());
///
/// let norm = SampleNormConfig::layer(8).init(&device); // over the last axis
/// assert_eq!(norm.forward(Tensor::<3>::ones([2, 7, 8], &device)).dims(), [2, 7, 8]);
/// ```
#[derive(Module, Debug)]
pub struct SampleNorm {
    /// Scale of each element or channel.
    pub gamma: Option<Param<Tensor<1>>>,
    /// Shift of each element or channel.
    pub beta: Option<Param<Tensor<1>>>,
    /// The values that are normalised together.
    #[module(skip)]
    pub grouping: Grouping,
    /// Elements or channels.
    pub size: usize,
    /// Added to the variance inside the square root.
    pub epsilon: f64,
    /// The policies for degenerate cases.
    #[module(skip)]
    pub policies: Policies,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on; by default rayon's ([`Threads::current_pool`]). Any number of them gives the same bits. A
    /// record does not have it.
    #[module(skip)]
    pub threads: Threads,
}

impl SampleNorm {
    /// The forward pass.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) errs, with its message.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward`](Self::forward) with errors as values. `f32` and `f64` are computed as they are, `f16` and `bf16` in
    /// `f32` and cast back; quantised tensors are read as the numbers they stand for.
    ///
    /// # Errors
    /// A rank below 2; another size of the last axis, or number of channels; another number type; what the policies
    /// refuse, by default instance norm of a single position; invalid options or parameters.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        self.parts().fused().try_forward(input)
    }

    /// The layer and an activation behind it, in one pass: `norm.then(Activation::Relu).forward(x)` is
    /// `relu(norm.forward(x))`.
    pub fn then<const D: usize>(&self, activation: Activation) -> FusedSample<'_, D> {
        self.parts().fused().then(activation)
    }

    /// The layer over values that count by their weights, as [`BatchNorm::weighing`](crate::BatchNorm::weighing).
    pub fn weighing<const D: usize>(&self, weights: Tensor<D>) -> FusedSample<'_, D> {
        self.parts().fused().weighing(weights)
    }

    /// The layer over the values where `counts` is true, as [`BatchNorm::counting`](crate::BatchNorm::counting).
    ///
    /// ```
    /// use batchnorm_burn::SampleNormConfig;
    /// use burn::tensor::{Bool, Device, Tensor};
    /// let device = Device::default();
    /// let norm = SampleNormConfig::instance(1).init(&device);
    /// // Two sequences, the second one a step shorter; what pads it is not data.
    /// let x = Tensor::<3>::from_floats([[[1.0, 2.0, 3.0]], [[5.0, 9.0, f32::NAN]]], &device);
    /// let counts = Tensor::<3, Bool>::from_data([[[true; 3]], [[true, true, false]]], &device);
    /// let y = norm.counting(counts).forward(x).into_data();
    /// assert!(y.iter::<f32>().all(|y| y.is_finite()));
    /// ```
    pub fn counting<const D: usize>(&self, counts: Tensor<D, Bool>) -> FusedSample<'_, D> {
        self.parts().fused().counting(counts)
    }

    pub(crate) fn parts(&self) -> SampleParts<'_> {
        let SampleNorm { gamma, beta, grouping, size, epsilon, policies, name, threads } = self;
        let (gamma, beta) = (gamma.as_ref(), beta.as_ref());
        SampleParts {
            gamma,
            beta,
            grouping: *grouping,
            size: *size,
            epsilon: *epsilon,
            policies: *policies,
            name,
            threads,
        }
    }
}

/// A norm that does not look at the batch with an activation, weights or a mask, computed in one pass; made by
/// [`SampleNorm::then`], [`weighing`](SampleNorm::weighing) and [`counting`](SampleNorm::counting), and by those of [`LayerNorm`],
/// [`GroupNorm`], [`InstanceNorm`] and [`RmsNorm`]. Weights and masks are computed by the crate `batchnorm` alone (on Flex); their
/// passes take plain loops, some ten times the time of those without.
///
/// [`LayerNorm`]: crate::LayerNorm
/// [`GroupNorm`]: crate::GroupNorm
/// [`InstanceNorm`]: crate::InstanceNorm
/// [`RmsNorm`]: crate::RmsNorm
#[derive(Debug, Clone)]
#[must_use = "nothing is computed before the forward pass"]
pub struct FusedSample<'n, const D: usize> {
    norm: SampleParts<'n>,
    weights: Option<WeightTensor<D>>,
    activation: Activation,
}

impl<const D: usize> FusedSample<'_, D> {
    /// Sets the activation, which comes last; it replaces an earlier one.
    pub fn then(self, activation: Activation) -> Self {
        FusedSample { activation, ..self }
    }

    /// Sets how often each value counts; no gradient goes to the weights.
    pub fn weighing(self, weights: Tensor<D>) -> Self {
        FusedSample { weights: Some(WeightTensor::Weights(weights)), ..self }
    }

    /// Sets which values count.
    pub fn counting(self, counts: Tensor<D, Bool>) -> Self {
        FusedSample { weights: Some(WeightTensor::Mask(counts)), ..self }
    }

    /// The forward pass.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) errs, with its message.
    pub fn forward(self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward`](Self::forward) with errors as values.
    ///
    /// # Errors
    /// As those of the layer; weights that do not fit the input, or leave too little; weights on another backend than Flex; a leaky
    /// rectifier's slope that is not finite or is negative.
    pub fn try_forward(self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        let FusedSample { norm, weights, activation } = self;
        let name = norm.name;
        norm.fused_pass(input, weights, activation).map_err(|reason| name.error(reason))
    }
}

/// What a layer, group, instance or RMS norm computes by, whatever its module is called.
#[derive(Debug, Clone)]
pub(crate) struct SampleParts<'n> {
    pub gamma: Option<&'n Param<Tensor<1>>>,
    pub beta: Option<&'n Param<Tensor<1>>>,
    pub grouping: Grouping,
    pub size: usize,
    pub epsilon: f64,
    pub policies: Policies,
    pub name: &'n LayerName,
    pub threads: &'n Threads,
}

impl<'n> SampleParts<'n> {
    /// The norm without weights and activation.
    pub fn fused<const D: usize>(self) -> FusedSample<'n, D> {
        FusedSample { norm: self, weights: None, activation: Activation::Identity }
    }

    fn fused_pass<const D: usize>(
        self,
        input: Tensor<D>,
        weights: Option<WeightTensor<D>>,
        activation: Activation,
    ) -> Result<Tensor<D>, Reason> {
        let arithmetic = Arithmetic::on(&input.device());
        let weights = weights.map(|weights| weights.read(input.dtype())).transpose()?;
        let over_last_axis = matches!(self.grouping, Grouping::Layer { .. } | Grouping::Rms { .. });
        if D == 1 && over_last_axis {
            // One row, which Burn's own norms of the last axis take too.
            let shape = input.dims();
            let weights = weights.map(|weights| WeightValues { shape: vec![1, weights.shape[0]], ..weights });
            let y: Tensor<2> = self.pass(input.reshape([1, shape[0]]), weights, activation, arithmetic)?;
            return Ok(y.reshape(shape));
        }
        self.pass(input, weights, activation, arithmetic)
    }

    pub fn pass<const D: usize>(
        &self,
        input: Tensor<D>,
        weights: Option<WeightValues>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> Result<Tensor<D>, Reason> {
        let input = dequantized(input);
        let input_type = input.dtype();
        let computed = computed_in("input", input_type)?;
        let options = SampleConfig::of(self.grouping).epsilon(self.epsilon).policies(self.policies);
        let options = options.activation(activation).threads(self.threads.clone());
        let (normalizer, device) = (options.normalizer()?, input.device());
        self.check(&input)?;
        let vector = |param: Option<&Param<Tensor<1>>>, absent: f64| match param {
            Some(param) => dequantized(param.val()).cast(computed),
            None => (Tensor::<1>::zeros([self.size], &device) + absent).cast(computed),
        };
        let (x, gamma, beta) = (input.cast(computed), vector(self.gamma, 1.0), vector(self.beta, 0.0));
        let y = match arithmetic {
            Arithmetic::Contract => {
                let pass = Pass::Sample { normalizer, weights: weights.map(Arc::new), name: self.name.handle() };
                extension::forward(x, None, gamma, beta, pass)?.0
            }
            Arithmetic::TensorOperations if weights.is_some() => {
                return Err(Reason::NeedsContract { what: "weights of a norm that does not look at the batch" });
            }
            Arithmetic::TensorOperations => {
                let z = portable::sample_norm(x, gamma, beta, self.grouping, self.epsilon);
                portable::add_and_activate(z, None, activation)
            }
        };
        Ok(y.cast(input_type))
    }

    fn check<const D: usize>(&self, input: &Tensor<D>) -> Result<(), Reason> {
        let shape = input.dims().to_vec();
        if D < 2 {
            return Err(batchnorm::ViewError::Rank { rank: D, shape }.into());
        }
        let axis = match self.grouping {
            Grouping::Layer { .. } | Grouping::Rms { .. } => D - 1,
            _ => 1,
        };
        let (expected, got) = (self.size, shape[axis]);
        if got != expected {
            return Err(CallError::Channels { argument: "input", expected, got, shape, axes: vec![axis] }.into());
        }
        for (argument, param) in [("gamma", self.gamma), ("beta", self.beta)] {
            if let Some([got]) = param.map(|param| param.dims()).filter(|dims| *dims != [expected]) {
                return Err(ConfigError::Length { argument, expected, got }.into());
            }
        }
        let together = match self.grouping {
            Grouping::Layer { .. } | Grouping::Rms { .. } => expected,
            Grouping::Group { groups } | Grouping::GroupRms { groups } => {
                expected / groups * shape[2..].iter().product::<usize>()
            }
            Grouping::Instance => shape[2..].iter().product(),
        };
        let centred = self.grouping.is_centred();
        if shape.contains(&0) {
            if self.policies.empty_batch == EmptyBatch::Error {
                return Err(CallError::EmptyBatch { shape }.into());
            }
        } else if together == 1 && centred && self.policies.single_value == SingleValue::Error {
            return Err(CallError::SingleTogether { together: self.grouping.together(), shape }.into());
        }
        Ok(())
    }
}
