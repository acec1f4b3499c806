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
//! | arithmetic (on Flex) | `f32` | `f64` in a fixed order, rounded once: the bits do not depend on threads or instruction set |
//!
//! The forward and backward passes are operations of their own in Burn's graph (a *backend extension*), for the
//! backend Flex, alone or under autodiff, in `f32` and `f64`; `f16` and `bf16` are cast to `f32` and back. They read
//! Burn's tensors where they lie, permuted and sliced ones too: nothing is copied. The backward pass takes the input
//! again from the graph, which keeps it anyway. On other backends the layer computes by tensor operations, without
//! these promises; [`BatchNorm::arithmetic`] says which.
//!
//! # In a model that has Burn's layer
//!
//! Change the import from `burn::nn` to `batchnorm_burn`. Old records load (save them from `model.valid()`: Burn's own
//! lag one update); stored configurations too. A single layer goes over by [`From`], in both directions. Code that
//! builds Burn's `RunningState` by hand must build a [`RunningTensor`], which has its methods.
//!
//! # Weights from PyTorch
//!
//! By Burn's own store and adapters, which know the layer by its name; `num_batches_tracked` may be there or not. (Ours
//! are written without it; torch's `load_state_dict` accepts that, strictly.)
//!
//! ```
//! use batchnorm_burn::BatchNormConfig;
//! use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
//! use burn::tensor::{Device, Tensor};
//!
//! #[derive(burn::module::Module, Debug)]
//! struct Model {
//!     norm: batchnorm_burn::BatchNorm,
//! }
//! let device = Device::default();
//! let mut model = Model { norm: BatchNormConfig::new(3).init(&device) };
//!
//! // norm.weight, norm.bias, norm.running_mean, norm.running_var
//! let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter);
//! model.save_into(&mut store)?;
//! let file = store.get_bytes()?; // SafetensorsStore::from_file("model.safetensors") for a file
//!
//! let mut store = SafetensorsStore::from_bytes(Some(file)).with_from_adapter(PyTorchToBurnAdapter);
//! let loaded = model.load_from(&mut store)?;
//! assert!(loaded.missing.is_empty());
//!
//! // No autodiff, so by the running statistics.
//! let y = model.norm.forward(Tensor::<2>::ones([4, 3], &device));
//! assert_eq!(y.dims(), [4, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
