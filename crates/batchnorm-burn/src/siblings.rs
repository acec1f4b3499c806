//! Burn's other norms by the arithmetic of the crate `batchnorm`: the same names, fields and records, so that a change of the
//! import is all, and weights from PyTorch are found by Burn's adapters.

use std::fmt;

use batchnorm::{Activation, ConfigError, Grouping, Policies, SampleConfig, Threads};
use burn::config::Config;
use burn::module::{
    Content, Devices, DisplaySettings, Initializer, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor, Param,
};
use burn::tensor::{Bool, Device, Tensor};

use crate::error::ForwardError;
use crate::name::LayerName;
use crate::sample_norm::{FusedSample, SampleParts};

/// Configuration of a [`LayerNorm`], with the fields of Burn's.
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Elements of the last axis; at least 1.
    pub d_model: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there is a beta.
    #[config(default = true)]
    pub bias: bool,
}

/// Configuration of a [`GroupNorm`], with the fields of Burn's.
#[derive(Config, Debug)]
pub struct GroupNormConfig {
    /// Groups of channels; they divide the channels evenly.
    pub num_groups: usize,
    /// Number of channels; at least 1.
    pub num_channels: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta.
    #[config(default = true)]
    pub affine: bool,
}

/// Configuration of an [`InstanceNorm`], with the fields of Burn's.
#[derive(Config, Debug)]
pub struct InstanceNormConfig {
    /// Number of channels; at least 1.
    pub num_channels: usize,
    /// Added to the variance inside the square root; finite and >= 0.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta.
    #[config(default = true)]
    pub affine: bool,
}

/// Configuration of an [`RmsNorm`], with the fields of Burn's.
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Elements of the last axis; at least 1.
    pub d_model: usize,
    /// Added to the mean of the squares inside the square root; finite and >= 0.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

/// Layer norm over the last axis (Ba et al. 2016), with the fields and records of `burn::nn::LayerNorm`; the formula is at
/// [`batchnorm::SampleNorm`], the arithmetic as of [`SampleNorm`](crate::SampleNorm).
///
/// ```
/// use batchnorm_burn::LayerNormConfig; // instead of burn::nn
/// use burn::tensor::{Device, Tensor};
/// let device = Device::default();
/// let norm = LayerNormConfig::new(8).init(&device);
/// assert_eq!(norm.forward(Tensor::<3>::ones([2, 7, 8], &device)).dims(), [2, 7, 8]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LayerNorm {
    /// Scale of each element.
    pub gamma: Param<Tensor<1>>,
    /// Shift of each element.
    pub beta: Option<Param<Tensor<1>>>,
    /// Added to the variance.
    pub epsilon: f64,
    /// The policies for degenerate cases.
    #[module(skip)]
    pub policies: Policies,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on.
    #[module(skip)]
    pub threads: Threads,
}

/// Group norm (Wu and He 2018) of tensors `[samples, channels, ...]`, with the fields and records of
/// `burn::nn::GroupNorm`; the formula is at [`batchnorm::SampleNorm`], the arithmetic as of
/// [`SampleNorm`](crate::SampleNorm).
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GroupNorm {
    /// Scale of each channel.
    pub gamma: Option<Param<Tensor<1>>>,
    /// Shift of each channel.
    pub beta: Option<Param<Tensor<1>>>,
    /// Groups of channels.
    pub num_groups: usize,
    /// Number of channels.
    pub num_channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether there are gamma and beta.
    pub affine: bool,
    /// The policies for degenerate cases.
    #[module(skip)]
    pub policies: Policies,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on.
    #[module(skip)]
    pub threads: Threads,
}

/// Instance norm (Ulyanov et al. 2016) of tensors `[samples, channels, ...]`, with the fields and records of
/// `burn::nn::InstanceNorm`; the formula is at [`batchnorm::SampleNorm`], the arithmetic as of
/// [`SampleNorm`](crate::SampleNorm).
///
/// A single position is an error that names the layer (Burn's layer gives beta, whatever the input), unless
/// [`policies`](Self::policies) take it.
///
/// Burn's adapters do not know its own `InstanceNorm`, so that a PyTorch file is not applied to it. This one shows itself
/// to them as the group norm that it is, of one channel a group.
#[derive(Clone, Debug)]
pub struct InstanceNorm {
    /// Scale of each channel.
    pub gamma: Option<Param<Tensor<1>>>,
    /// Shift of each channel.
    pub beta: Option<Param<Tensor<1>>>,
    /// Number of channels.
    pub num_channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether there are gamma and beta.
    pub affine: bool,
    /// The policies for degenerate cases.
    pub policies: Policies,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on.
    pub threads: Threads,
}

/// RMS norm over the last axis (Zhang and Sennrich 2019), with the fields and records of `burn::nn::RmsNorm`; the formula is
/// at [`batchnorm::SampleNorm`], the arithmetic as of [`SampleNorm`](crate::SampleNorm).
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RmsNorm {
    /// Scale of each element.
    pub gamma: Param<Tensor<1>>,
    /// Added to the mean of the squares.
    pub epsilon: f64,
    /// The policies for degenerate cases.
    #[module(skip)]
    pub policies: Policies,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on.
    #[module(skip)]
    pub threads: Threads,
}

/// As which Burn's adapters know the layer.
const GROUP_NORM: &str = "Struct:GroupNorm";

impl InstanceNorm {
    fn with_parameters(self, change: impl Fn(Param<Tensor<1>>) -> Param<Tensor<1>>) -> Self {
        InstanceNorm { gamma: self.gamma.map(&change), beta: self.beta.map(&change), ..self }
    }
}

/// What `derive(Module)` would write, but for the type that visitors are told.
impl Module for InstanceNorm {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (name, parameter) in [("gamma", &self.gamma), ("beta", &self.beta)] {
            visitor.enter_module(name, GROUP_NORM);
            parameter.visit(visitor);
            visitor.exit_module(name, GROUP_NORM);
        }
        visitor.enter_module("name", GROUP_NORM);
        self.name.visit(visitor);
        visitor.exit_module("name", GROUP_NORM);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let [gamma, beta] = [("gamma", self.gamma), ("beta", self.beta)].map(|(name, parameter)| {
            mapper.enter_module(name, GROUP_NORM);
            let mapped = Module::map(parameter, mapper);
            mapper.exit_module(name, GROUP_NORM);
            mapped
        });
        InstanceNorm { gamma, beta, ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        self.with_parameters(|parameter| parameter.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.with_parameters(|parameter| parameter.fork(device))
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.beta.collect_devices(self.gamma.collect_devices(devices))
    }

    fn valid(&self) -> Self {
        self.clone().with_parameters(|parameter| parameter.valid())
    }

    fn train(self) -> Self {
        self.with_parameters(Module::train)
    }

    fn materialize(self) -> Self {
        self.with_parameters(Module::materialize)
    }
}

impl ModuleDisplayDefault for InstanceNorm {
    fn content(&self, content: Content) -> Option<Content> {
        self.custom_content(content.set_top_level_type("InstanceNorm"))
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl fmt::Display for InstanceNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(Default::default()))
    }
}

/// Gamma and beta of so many values, by Burn's starts, where there are any.
fn vectors(size: usize, [gamma, beta]: [bool; 2], device: &Device) -> [Option<Param<Tensor<1>>>; 2] {
    let vector = |start: Initializer| start.init([size], device);
    [gamma.then(|| vector(Initializer::Ones)), beta.then(|| vector(Initializer::Zeros))]
}

/// The policies of a kind of norm, with its options checked by the core's rules.
fn policies(grouping: Grouping, size: usize, epsilon: f64) -> Result<Policies, ConfigError> {
    let options = SampleConfig::of(grouping).epsilon(epsilon);
    options.clone().build(&[size])?;
    Ok(options.policies)
}

const LAYER: Grouping = Grouping::Layer { axes: 1 };
const RMS: Grouping = Grouping::Rms { axes: 1 };

impl LayerNormConfig {
    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No element; an epsilon that is not finite or is negative.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<LayerNorm, ConfigError> {
        let (size, epsilon) = (self.d_model, self.epsilon);
        let policies = policies(LAYER, size, epsilon)?;
        let [_, beta] = vectors(size, [false, self.bias], device);
        let (gamma, name) = (Initializer::Ones.init([size], device), LayerName::built_here("LayerNorm", None));
        Ok(LayerNorm { gamma, beta, epsilon, policies, name, threads: Threads::default() })
    }
}

impl GroupNormConfig {
    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No channel or group; channels that the groups do not divide evenly; an epsilon that is not finite or is negative.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<GroupNorm, ConfigError> {
        let GroupNormConfig { num_groups, num_channels, epsilon, affine } = *self;
        let policies = policies(Grouping::Group { groups: num_groups }, num_channels, epsilon)?;
        let [gamma, beta] = vectors(num_channels, [affine; 2], device);
        let (name, threads) = (LayerName::built_here("GroupNorm", None), Threads::default());
        Ok(GroupNorm { gamma, beta, num_groups, num_channels, epsilon, affine, policies, name, threads })
    }
}

impl InstanceNormConfig {
    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No channel; an epsilon that is not finite or is negative.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<InstanceNorm, ConfigError> {
        let InstanceNormConfig { num_channels, epsilon, affine } = *self;
        let policies = policies(Grouping::Instance, num_channels, epsilon)?;
        let [gamma, beta] = vectors(num_channels, [affine; 2], device);
        let (name, threads) = (LayerName::built_here("InstanceNorm", None), Threads::default());
        Ok(InstanceNorm { gamma, beta, num_channels, epsilon, affine, policies, name, threads })
    }
}

impl RmsNormConfig {
    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No element; an epsilon that is not finite or is negative.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<RmsNorm, ConfigError> {
        let (size, epsilon) = (self.d_model, self.epsilon);
        let policies = policies(RMS, size, epsilon)?;
        let (gamma, name) = (Initializer::Ones.init([size], device), LayerName::built_here("RmsNorm", None));
        Ok(RmsNorm { gamma, epsilon, policies, name, threads: Threads::default() })
    }
}

impl LayerNorm {
    fn parts(&self) -> SampleParts<'_> {
        let LayerNorm { gamma, beta, epsilon, policies, name, threads } = self;
        let ([size], beta) = (gamma.shape().dims(), beta.as_ref());
        let (gamma, grouping) = (Some(gamma), LAYER);
        SampleParts { gamma, beta, grouping, size, epsilon: *epsilon, policies: *policies, name, threads }
    }
}

impl GroupNorm {
    fn parts(&self) -> SampleParts<'_> {
        let GroupNorm { gamma, beta, num_groups, num_channels, epsilon, policies, name, threads, .. } = self;
        let (gamma, beta, grouping) = (gamma.as_ref(), beta.as_ref(), Grouping::Group { groups: *num_groups });
        let (size, epsilon, policies) = (*num_channels, *epsilon, *policies);
        SampleParts { gamma, beta, grouping, size, epsilon, policies, name, threads }
    }
}

impl InstanceNorm {
    fn parts(&self) -> SampleParts<'_> {
        let InstanceNorm { gamma, beta, num_channels, epsilon, policies, name, threads, .. } = self;
        let (gamma, beta, grouping) = (gamma.as_ref(), beta.as_ref(), Grouping::Instance);
        let (size, epsilon, policies) = (*num_channels, *epsilon, *policies);
        SampleParts { gamma, beta, grouping, size, epsilon, policies, name, threads }
    }
}

impl RmsNorm {
    fn parts(&self) -> SampleParts<'_> {
        let RmsNorm { gamma, epsilon, policies, name, threads } = self;
        let [size] = gamma.shape().dims();
        let (gamma, grouping) = (Some(gamma), RMS);
        SampleParts { gamma, beta: None, grouping, size, epsilon: *epsilon, policies: *policies, name, threads }
    }
}

/// What is the same of all four.
macro_rules! sibling {
    ($layer:ident, $config:ident, axis: $axis:literal, shown: [$($field:literal => $value:expr),*]) => {
        impl $config {
            /// The layer on a device: gamma 1, beta 0.
            ///
            /// # Panics
            /// Where [`try_init`](Self::try_init) errs.
            #[track_caller]
            pub fn init(&self, device: &Device) -> $layer {
                self.try_init(device).unwrap_or_else(|error| panic!("{}: {error}", stringify!($config)))
            }
        }

        impl $layer {
            /// The forward pass.
            ///
            /// # Panics
            /// Where [`try_forward`](Self::try_forward) errs, with its message.
            pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
                self.try_forward(input).unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`forward`](Self::forward) with errors as values. `f32` and `f64` are computed as they are, `f16` and
            /// `bf16` in `f32` and cast back; quantised tensors are read as the numbers they stand for.
            ///
            /// # Errors
            #[doc = concat!("Another ", $axis, " than the layer's; another number type; what the policies refuse; options")]
            /// or parameters that were set and are invalid.
            pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
                self.parts().fused().try_forward(input)
            }

            /// The layer and an activation behind it, in one pass.
            pub fn then<const D: usize>(&self, activation: Activation) -> FusedSample<'_, D> {
                self.parts().fused().then(activation)
            }

            /// The layer over values that count by their weights ([`SampleNorm::weighing`](crate::SampleNorm::weighing)).
            pub fn weighing<const D: usize>(&self, weights: Tensor<D>) -> FusedSample<'_, D> {
                self.parts().fused().weighing(weights)
            }

            /// The layer over the values where `counts` is true ([`SampleNorm::counting`](crate::SampleNorm::counting)).
            pub fn counting<const D: usize>(&self, counts: Tensor<D, Bool>) -> FusedSample<'_, D> {
                self.parts().fused().counting(counts)
            }
        }

        impl ModuleDisplay for $layer {
            fn custom_settings(&self) -> Option<DisplaySettings> {
                DisplaySettings::new().with_new_line_after_attribute(false).optional()
            }

            fn custom_content(&self, content: Content) -> Option<Content> {
                let content = content$(.add($field, &$value(self)))*;
                match self.name.is_known() {
                    true => content.add("name", &self.name.to_string()).optional(),
                    false => content.optional(),
                }
            }
        }
    };
}

sibling!(LayerNorm, LayerNormConfig, axis: "size of the last axis", shown: [
    "d_model" => |norm: &LayerNorm| norm.gamma.shape().num_elements(),
    "epsilon" => |norm: &LayerNorm| norm.epsilon,
    "bias" => |norm: &LayerNorm| norm.beta.is_some()
]);
sibling!(GroupNorm, GroupNormConfig, axis: "number of channels, or rank below 2,", shown: [
    "num_groups" => |norm: &GroupNorm| norm.num_groups,
    "num_channels" => |norm: &GroupNorm| norm.num_channels,
    "epsilon" => |norm: &GroupNorm| norm.epsilon,
    "affine" => |norm: &GroupNorm| norm.affine
]);
sibling!(InstanceNorm, InstanceNormConfig, axis: "number of channels, or rank below 2,", shown: [
    "num_channels" => |norm: &InstanceNorm| norm.num_channels,
    "epsilon" => |norm: &InstanceNorm| norm.epsilon,
    "affine" => |norm: &InstanceNorm| norm.affine
]);
sibling!(RmsNorm, RmsNormConfig, axis: "size of the last axis", shown: [
    "d_model" => |norm: &RmsNorm| norm.gamma.shape().num_elements(),
    "epsilon" => |norm: &RmsNorm| norm.epsilon
]);
