//! One of the norms, chosen at run time.

use burn::config::Config;
use burn::module::Module;
use burn::nn::Identity;
use burn::tensor::{Device, Tensor};

use crate::config::BatchNormConfig;
use crate::module::BatchNorm;
use crate::siblings::{
    GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig,
};

/// Configuration of a [`Normalization`], as Burn's: built for any number of features, and fitted to the layer it follows by
/// [`with_num_features`](Self::with_num_features).
#[derive(Config, Debug)]
#[non_exhaustive]
pub enum NormalizationConfig {
    /// No norm.
    Identity,
    /// Batch norm.
    Batch(BatchNormConfig),
    /// Group norm.
    Group(GroupNormConfig),
    /// Instance norm.
    Instance(InstanceNormConfig),
    /// Layer norm.
    Layer(LayerNormConfig),
    /// RMS norm.
    Rms(RmsNormConfig),
}

/// One of the norms, as Burn's `Normalization`.
///
/// ```
/// use batchnorm_burn::{BatchNormConfig, Normalization, NormalizationConfig}; // instead of burn::nn
/// use burn::tensor::{Device, Tensor};
/// let config: NormalizationConfig = BatchNormConfig::new(0).with_epsilon(1e-3).into();
/// let device = Device::default();
/// let norm: Normalization = config.with_num_features(12).init(&device);
/// assert_eq!(norm.num_features(), 12);
/// assert_eq!(norm.forward(Tensor::<3>::ones([3, 12, 5], &device)).dims(), [3, 12, 5]);
/// ```
#[derive(Module, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "the variants hold the layers themselves, as Burn's do")]
pub enum Normalization {
    /// No norm.
    Identity(Identity),
    /// Batch norm.
    Batch(BatchNorm),
    /// Group norm.
    Group(GroupNorm),
    /// Instance norm.
    Instance(InstanceNorm),
    /// Layer norm.
    Layer(LayerNorm),
    /// RMS norm.
    Rms(RmsNorm),
}

macro_rules! one_of_them {
    ($($variant:ident: $layer:ident, $config:ident, $features:ident;)*) => {
        $(
            impl From<$config> for NormalizationConfig {
                fn from(config: $config) -> Self {
                    NormalizationConfig::$variant(config)
                }
            }

            impl From<$layer> for Normalization {
                fn from(layer: $layer) -> Self {
                    Normalization::$variant(layer)
                }
            }
        )*

        impl NormalizationConfig {
            /// The norm on a device.
            ///
            /// # Panics
            /// Where the norm's own `init` panics.
            #[track_caller]
            pub fn init(&self, device: &Device) -> Normalization {
                match self {
                    NormalizationConfig::Identity => Identity::new().into(),
                    $(NormalizationConfig::$variant(config) => config.init(device).into(),)*
                }
            }

            /// Sets the number of features.
            #[must_use]
            pub fn with_num_features(self, num_features: usize) -> Self {
                match self {
                    NormalizationConfig::Identity => self,
                    $(NormalizationConfig::$variant(config) => $config { $features: num_features, ..config }.into(),)*
                }
            }

            /// The number of features; 0 for no norm.
            pub fn num_features(&self) -> usize {
                match self {
                    NormalizationConfig::Identity => 0,
                    $(NormalizationConfig::$variant(config) => config.$features,)*
                }
            }
        }

        impl Normalization {
            /// The forward pass of the norm; by Burn's convention in training or evaluation, where that differs.
            ///
            /// # Panics
            /// Where the norm's own `forward` panics.
            pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
                match self {
                    Normalization::Identity(norm) => norm.forward(input),
                    $(Normalization::$variant(norm) => norm.forward(input),)*
                }
            }
        }
    };
}

one_of_them! {
    Batch: BatchNorm, BatchNormConfig, num_features;
    Group: GroupNorm, GroupNormConfig, num_channels;
    Instance: InstanceNorm, InstanceNormConfig, num_channels;
    Layer: LayerNorm, LayerNormConfig, d_model;
    Rms: RmsNorm, RmsNormConfig, d_model;
}

impl From<Identity> for Normalization {
    fn from(layer: Identity) -> Self {
        Normalization::Identity(layer)
    }
}

impl Normalization {
    /// The number of features; 0 for no norm.
    pub fn num_features(&self) -> usize {
        match self {
            Normalization::Identity(_) => 0,
            Normalization::Batch(norm) => norm.gamma.shape()[0],
            Normalization::Group(norm) => norm.num_channels,
            Normalization::Instance(norm) => norm.num_channels,
            Normalization::Layer(norm) => norm.gamma.shape()[0],
            Normalization::Rms(norm) => norm.gamma.shape()[0],
        }
    }
}
