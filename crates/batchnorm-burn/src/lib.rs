//! Batch normalisation for [Burn](burn), on the arithmetic of the crate [`batchnorm`].
//!
//! [`BatchNormConfig`] is turned into the module [`BatchNorm`], with the names and fields of Burn's own: a model that
//! has Burn's layer has this one after a change of its import.
//!
//! ```
//! use batchnorm_burn::{BatchNorm, BatchNormConfig}; // instead of burn::nn
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor, activation::relu};
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     hidden: Linear,
//!     norm: BatchNorm,
//!     output: Linear,
//! }
//!
//! impl Model {
//!     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
//!         self.output.forward(relu(self.norm.forward(self.hidden.forward(x))))
//!     }
//! }
//!
//! let device = Device::default().autodiff();
//! let model = Model {
//!     hidden: LinearConfig::new(64, 100).init(&device),
//!     norm: BatchNormConfig::new(100).init(&device),
//!     output: LinearConfig::new(100, 10).init(&device),
//! };
//! let x = Tensor::random([60, 64], Distribution::Default, &device);
//! let gradients = model.forward(x.clone()).square().mean().backward(); // normalises by the batch
//! assert!(model.norm.gamma.grad(&gradients).is_some());
//!
//! let y = model.valid().forward(x.without_autodiff()); // normalises by the running statistics
//! assert_eq!(y.dims(), [60, 10]);
//! ```
//!
//! Training and evaluation can also be called by name, and then mistakes come as values:
//!
//! ```
//! use batchnorm_burn::BatchNormConfig;
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::default(); // no autodiff needed
//! let norm = BatchNormConfig::new(3).with_name("encoder.norm2").init(&device);
//! let x = Tensor::<4>::random([8, 3, 5, 5], Distribution::Default, &device);
//!
//! let trained = norm.try_forward_train(x.clone())?; // by the batch; the running statistics follow at once
//! assert!(trained.not_updated.is_empty());
//! let y = norm.try_forward_eval(x)?; // by the running statistics
//! assert_eq!(y.dims(), [8, 3, 5, 5]);
//!
//! let error = norm.try_forward_train(Tensor::<2>::ones([1, 3], &device)).unwrap_err();
//! assert!(error.to_string().starts_with("encoder.norm2: input: training needs at least 2 values a channel, got 1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An activation ([ReLU or leaky ReLU](Activation)), and a residual before it, can be had in the same pass over memory
//! ([`Fused`]). All five forward passes have these forms:
//!
//! ```
//! use batchnorm_burn::{Activation, BatchNormConfig};
//! use burn::tensor::{Device, Distribution, Tensor, activation::relu};
//!
//! let device = Device::default().autodiff();
//! let norm = BatchNormConfig::new(3).init(&device);
//! let x = Tensor::<4>::random([8, 3, 5, 5], Distribution::Default, &device);
//! let shortcut = x.clone();
//!
//! let y = norm.then(Activation::Relu).forward(x.clone());
//! assert_eq!(y.into_data(), relu(norm.forward(x.clone())).into_data()); // the same bits
//!
//! let y = norm.adding(shortcut).then(Activation::Relu).forward(x); // relu(norm.forward(x) + shortcut)
//! assert_eq!(y.dims(), [8, 3, 5, 5]);
//! ```
//!
//! When a training goes wrong, there is something to call: [`pin`](BatchNorm::pin) for frozen layers,
//! [`hold`](BatchNorm::hold) for steps that may not count, [`counting`](BatchNorm::counting) and
//! [`weighing`](BatchNorm::weighing) for padding, [ghost batches](BatchNorm::ghost), [policies](Policies) for batches
//! that are too small, [`Participant`] for one batch over several threads, [`Recalibration`] for weights that never saw
//! a batch, [`Gap`] for a model that is good in training and bad in use: which layer it is. All layers of a model are reached by one call ([`norms`], [`map_norms`]) and told their paths by another
//! ([`name_layers`]); training on several devices needs nothing ([clones and replicas](BatchNorm#clones-and-replicas)).
//! For use without training a layer is folded into the one before it ([`fold_into`](BatchNorm::fold_into)). Beside batch norm
//! there are Burn's other norms under their names ([`LayerNorm`], [`GroupNorm`], [`InstanceNorm`], [`RmsNorm`],
//! [`Normalization`]), [`SampleNorm`] for any grouping, and [`Decorrelated`] (whitening), by the same arithmetic.
//!
//! Differences from `burn::nn::BatchNorm` of Burn 0.22, each on purpose:
//!
//! | | `burn::nn::BatchNorm` | here |
//! |---|---|---|
//! | running statistics in a record | lag one update | are those in use |
//! | a clone | shares running statistics | has its own; what it has seen goes to its origin when it is dropped |
//! | several devices | the devices' variances are averaged | the devices' batches are pooled |
//! | a message | "expected 3, got 4" | names the layer by its path, or the line that built it |
//! | one value a channel in training | 0, silently | an error naming the layer |
//! | running variance | population | sample, as in PyTorch; [`RunningVariance::Population`] by name |
//! | NaN or infinity in a channel | in the running statistics for ever | that channel's are not updated |
//! | training or evaluation | the device and a flag | the same in [`forward`](BatchNorm::forward); or said: [`forward_train`](BatchNorm::forward_train), [`forward_eval`](BatchNorm::forward_eval) |
//! | arithmetic (on Flex) | `f32` | `f64` in a fixed order, rounded once: the bits do not depend on threads or instruction set |
//!
//! The forward and backward passes are operations of their own in Burn's graph (a *backend extension*), for the
//! backend Flex, alone or under autodiff, in `f32` and `f64`; `f16` and `bf16` are cast to `f32` and back. They read
//! Burn's tensors where they lie, permuted and sliced ones too: nothing is copied. The backward pass takes the input
//! again from the graph, which keeps it anyway. On other backends the layer computes by tensor operations, without
//! these promises; [`BatchNorm::arithmetic`] says which.
//!
//! # Higher derivatives
//!
//! Burn's autodiff is of first order: a gradient it gives is no part of a graph, so that nothing can be differentiated
//! through it, this layer's backward pass as little as any other operation's. A gradient penalty, a Hessian-vector
//! product or a derivative forwards is had from the core instead, whose passes take the values of Burn's tensors:
//! [`Saved::jvp`](batchnorm::Saved::jvp), [`Saved::hvp`](batchnorm::Saved::hvp) and
//! [`Saved::double_backward`](batchnorm::Saved::double_backward), in closed form.
//!
//! ```
//! use batchnorm::{Axes, ParameterDirection, View, ViewMut};
//! use batchnorm_burn::BatchNormConfig;
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::default().autodiff();
//! let norm = BatchNormConfig::new(3).init(&device);
//! let x = Tensor::<2>::random([8, 3], Distribution::Default, &device).require_grad();
//! let gradients = norm.forward(x.clone()).powi_scalar(3).sum().backward();
//! let dx = x.grad(&gradients).expect("it is tracked"); // no part of a graph
//! assert!(!dx.is_require_grad());
//!
//! // The penalty sum dx^2 / 2 by x, through dx alone, for a loss whose dy is held.
//! let values = |tensor: Tensor<2>| tensor.into_data().to_vec::<f32>().expect("f32");
//! let (x, dy, dx) = (values(x), vec![1.0f32; 24], values(dx));
//! let view = |data| View::new(data, &[8, 3], Axes::NCHW).expect("8 x 3 values");
//! let saved = batchnorm::BatchNorm::new(3)?.forward_train(&view(&x))?.saved;
//! let mut by_x = vec![0.0f32; 24];
//! let mut out = ViewMut::new(&mut by_x, &[8, 3], Axes::NCHW)?;
//! saved.hvp(&view(&x), &view(&dy), &view(&dx), ParameterDirection::default(), &mut out)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In a model that has Burn's layer
//!
//! Change the import from `burn::nn` to `batchnorm_burn`. Old records load (save them from `model.valid()`: Burn's own
//! lag one update); stored configurations too. The variance in an old record is the population variance, and training
//! on from it goes towards the sample variance, PyTorch's: `.with_running_variance(RunningVariance::Population)` in the
//! configuration keeps Burn's convention. Where types are written `nn::BatchNorm`, [`use batchnorm_burn::nn`](nn) does. Two
//! things do not compile as they are: code that builds Burn's `RunningState` by hand must build a [`RunningTensor`], which
//! has its methods; and a configuration that is written out field by field needs `..BatchNormConfig::new(n)`. A single layer goes over by [`From`], in both directions:
//!
//! ```
//! use batchnorm_burn::{BatchNorm, RunningVariance};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::default();
//! let theirs = burn::nn::BatchNormConfig::new(3).init(&device);
//! let x = Tensor::<2>::random([8, 3], Distribution::Default, &device);
//! let y = theirs.forward(x.clone()); // no autodiff: it evaluates
//!
//! let ours = BatchNorm::from(theirs); // the same parameters and statistics, Burn's convention of the variance
//! ours.forward_eval(x).into_data().assert_approx_eq(&y.into_data(), burn::tensor::Tolerance::<f32>::default());
//!
//! // Trained in batches of 8 so far, and from here on by PyTorch's convention:
//! let ours = ours.convert_running_variance(RunningVariance::Sample, 8);
//! assert_eq!(ours.running_variance, RunningVariance::Sample);
//!
//! let back = burn::nn::BatchNorm::from(ours);
//! # let _ = back;
//! ```
//!
//! # Weights from PyTorch
//!
//! Weights are loaded by Burn's own store and adapters, which know the layer by its name. A file may have
//! `num_batches_tracked` or not:
//!
//! ```
//! use batchnorm_burn::{BatchNorm, BatchNormConfig};
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig, conv::{Conv2d, Conv2dConfig}};
//! use burn::store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
//! use burn::tensor::{Device, Tensor, activation::relu};
//!
//! // In PyTorch: Conv2d(2, 3, 3), BatchNorm2d(3), Linear(48, 4), by these names; saved by safetensors.torch.save_file.
//! #[derive(Module, Debug)]
//! struct Net {
//!     conv: Conv2d,
//!     norm: BatchNorm,
//!     output: Linear,
//! }
//!
//! let device = Device::default();
//! let mut net = Net {
//!     conv: Conv2dConfig::new([2, 3], [3, 3]).init(&device),
//!     norm: BatchNormConfig::new(3).init(&device),
//!     output: LinearConfig::new(48, 4).init(&device),
//! };
//! let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/torch_net.safetensors");
//! let mut store = SafetensorsStore::from_file(file).with_from_adapter(PyTorchToBurnAdapter);
//! let loaded = net.load_from(&mut store)?;
//! assert!(loaded.missing.is_empty());
//! assert_eq!(loaded.unused, ["norm.num_batches_tracked"]);
//!
//! // No autodiff, so by the running statistics of the file.
//! let y = relu(net.norm.forward(net.conv.forward(Tensor::<4>::ones([5, 2, 6, 6], &device))));
//! assert_eq!(net.output.forward(y.flatten::<2>(1, 3)).dims(), [5, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The other way, `with_to_adapter(BurnToPyTorchAdapter)` and `net.save_into(&mut store)` write what torch's
//! `load_state_dict` takes, strictly, with no count; [`save_with_batch_count`] writes the count too.

mod batch_count;
mod check;
mod config;
mod conversion;
mod error;
mod extension;
mod fold;
mod fused;
mod gap;
mod held;
mod ledger;
mod lineage;
mod module;
mod name;
mod normalization;
mod participant;
mod pass;
mod portable;
mod prepared;
mod reach;
mod recalibration;
mod running;
mod sample_norm;
mod siblings;
mod statistics;
mod traversal;
mod walk;
mod weights;
mod whitening;

pub use batchnorm::{
    Activation, Affine, Averaged, ConstantChannel, EmptyBatch, Executor, Grouping, NonFinite, NormalizeBy, Policies,
    Renormalization, SingleValue, Switches, Threads, UpdateWeight,
};

pub use batch_count::save_with_batch_count;
pub use config::{BatchNormConfig, RunningAverage, RunningVariance};
pub use error::{ForwardError, Reason};
pub use fold::Foldable;
pub use fused::{Fused, Trained};
pub use gap::{Exchanged, ExchangedScores, Gap, GapError, GapReport, LayerGap};
pub use held::Held;
pub use module::BatchNorm;
pub use name::LayerName;
pub use normalization::{Normalization, NormalizationConfig};
pub use participant::Participant;
pub use portable::Arithmetic;
pub use reach::{Norm, Norms, map_norms, name_layers, norms};
pub use recalibration::{Measured, Recalibrated, RecalibratedLayer, Recalibration, RecalibrationError};
pub use running::RunningTensor;
pub use sample_norm::{FusedSample, SampleNorm, SampleNormConfig};
pub use siblings::{
    GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig,
};
pub use whitening::{Decorrelated, DecorrelatedConfig};

/// Burn's module `nn` with the norms of this crate in the place of Burn's: for code that writes `nn::BatchNorm`, where
/// `use burn::nn;` becomes `use batchnorm_burn::nn;`.
///
/// ```
/// use batchnorm_burn::nn; // instead of burn::nn
/// use burn::tensor::{Device, Tensor};
/// let device = Device::default();
/// let conv = nn::conv::Conv2dConfig::new([3, 8], [3, 3]).init(&device); // Burn's
/// let norm: batchnorm_burn::BatchNorm = nn::BatchNormConfig::new(8).init(&device);
/// let y = norm.forward(conv.forward(Tensor::<4>::ones([2, 3, 9, 9], &device)));
/// assert_eq!(y.dims(), [2, 8, 7, 7]);
/// let norm: batchnorm_burn::Normalization = nn::norm::NormalizationConfig::Group(nn::GroupNormConfig::new(2, 8)).init(&device);
/// # let _ = norm;
/// ```
pub mod nn {
    pub use crate::{
        BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
        LayerNormConfig, RmsNorm, RmsNormConfig,
    };
    pub use burn::nn::*;

    /// Burn's module `nn::norm`, likewise.
    pub mod norm {
        pub use super::{
            BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
            LayerNormConfig, RmsNorm, RmsNormConfig,
        };
        pub use crate::{Normalization, NormalizationConfig};
        pub use burn::nn::norm::*;
    }
}

/// The examples of `docs/situations` that are Burn models, compiled as tests.
#[cfg(doctest)]
mod situations {
    #[doc = include_str!("../../../docs/situations/in-a-burn-model.md")]
    struct InABurnModel;
    #[doc = include_str!("../../../docs/situations/recalibration.md")]
    struct Recalibrated;
}
