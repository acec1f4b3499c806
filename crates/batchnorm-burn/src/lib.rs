//! Batch normalisation for [Burn](burn), on the arithmetic of the crate [`batchnorm`].
//!
//! [`BatchNormConfig`] is turned into the module [`BatchNorm`], with the names and fields of Burn's own:
//!
//! ```
//! use batchnorm_burn::BatchNormConfig;
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::default().autodiff();
//! let norm = BatchNormConfig::new(3).init(&device);
//! let x = Tensor::<4>::random([8, 3, 5, 5], Distribution::Default, &device).require_grad();
//!
//! let y = norm.forward_train(x.clone()); // by the batch; the running statistics follow at once
//! let gradients = y.powi_scalar(2).sum().backward();
//! assert_eq!(x.grad(&gradients).unwrap().dims(), [8, 3, 5, 5]);
//!
//! let y = norm.forward_eval(x); // by the running statistics, whatever the device
//! # let _ = y;
//! ```
//!
//! What differs from `burn::nn::BatchNorm` of Burn 0.22, each on purpose:
//!
//! | | `burn::nn::BatchNorm` | here |
//! |---|---|---|
//! | running statistics in a record | lag one update | are those in use |
//! | a clone | shares running statistics | has its own |
//! | one value a channel in training | 0, silently | an error naming the layer |
//! | running variance | population | sample, as in PyTorch; [`RunningVariance::Population`] by name |
//! | NaN or infinity in a channel | in the running statistics for ever | that channel's are not updated |
//! | training or evaluation | the device and a flag | the same in [`forward`](BatchNorm::forward); or said: [`forward_train`](BatchNorm::forward_train), [`forward_eval`](BatchNorm::forward_eval) |
//! | arithmetic | `f32` | `f64` in a fixed order, rounded once: the bits do not depend on threads or instruction set |
//!
//! The forward and backward passes are operations of their own in Burn's graph (a *backend extension*), for the
//! backend Flex, alone or under autodiff, in `f32`. They read Burn's tensors where they lie, permuted and sliced ones
//! too: nothing is copied. The backward pass takes the input again from the graph, which keeps it anyway.

mod config;
mod conversion;
mod error;
mod extension;
mod module;
mod portable;
mod running;

pub use config::{BatchNormConfig, ExtendedConfig, RunningVariance};
pub use error::{ForwardError, Reason};
pub use module::{BatchNorm, Trained};
pub use portable::Arithmetic;
pub use running::RunningTensor;
