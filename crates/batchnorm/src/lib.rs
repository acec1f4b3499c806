//! Batch normalisation, exact and reproducible: any rank, any layout, any number of threads, one result.
//!
//! For each channel, over all its values in a batch,
//!
//! ```text
//! mean = 1/n sum x          variance = 1/n sum (x - mean)^2
//! y    = gamma * (x - mean) / sqrt(variance + eps) + beta
//! ```
//!
//! in training; in evaluation the same with running estimates of mean and variance.
//!
//! # A tour, in the order in which data flows
//!
//! 1. **[`View`] and [`ViewMut`]** borrow any array: a slice with a shape, any strides, an `ndarray` view.
//!    [`Axes`] says which axis holds the channels.
//! 2. **[`Moments`]**: count, mean and M2 of each channel. They merge, in any grouping, to the moments of the whole (to
//!    about 1e-15).
//!    Pooled over batches they are a [`Population`].
//! 3. **[`Config`]** holds the options as types: [`Affine`], [`Averaging`] with [`UpdateWeight`], [`Estimator`],
//!    [`Policies`], and presets for the conventions of PyTorch, Keras, Flax, ONNX and Burn. It is checked once.
//! 4. **[`BatchNorm`]** is the layer: parameters and [`RunningStatistics`]. Training, evaluation and the backward
//!    pass are calls of their own; there is no mode to forget.
//!    What a pass does with its batch is also to be had as four independent [`Switches`], for a call or pinned.
//! 5. **[`Rule`]** is the same without state, for frameworks that keep parameters and statistics themselves;
//!    [`Saved`] is what a forward pass leaves for its backward pass.
//!    [`Rule::train_part`] and [`Saved::backward_part`] make one batch of parts that are never together; a
//!    [`Collective`] exchanges what all must know.
//! 6. **In place**, where memory is short: [`BatchNorm::eval_in_place`], [`BatchNorm::backward_in_place`] with the same
//!    bits, and [`BatchNorm::train_invertible`], whose backward pass takes its output instead of its input and has a
//!    bound of its own ([`Invertible`]).
//! 7. **[`SampleNorm`]**: layer, group, instance and RMS norm, which do not look at the batch; [`SampleRule`] without
//!    state. **[`Decorrelated`]** removes the correlations between the channels of a group too. Directional derivatives:
//!    [`Saved::jvp`], [`SampleSaved::jvp`].
//! 8. **[`Convention`]** and [`Conversion`]: whose checkpoint a file is, and its statistics by another framework's
//!    convention.
//! 9. **[`mod@reference`]** is the readable twin in plain loops: closed form, computation graph, Jacobian.
//!
//! ```
//! use batchnorm::{Axes, BatchNorm, View};
//! use ndarray::Array4;
//!
//! let mut layer = BatchNorm::new(3)?;
//! let images = Array4::from_shape_fn((8, 3, 16, 16), |(n, c, h, w)| (n * 7 + c * 5 + h * w) as f32);
//! let x = View::of(images.view(), Axes::NCHW)?;
//!
//! let trained = layer.train(&x)?;
//! let upstream = images.mapv(|value| value.sin());
//! let gradients = layer.backward(&x, &View::of(upstream.view(), Axes::NCHW)?, &trained.saved)?;
//! let dx = gradients.dx.into_array(); // an ndarray again, of the input's shape
//! let y = layer.eval(&x)?.y.into_array();
//! # assert_eq!((dx.shape(), y.shape()), (images.shape(), images.shape()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - **Accuracy**: f32 output is the correctly rounded value of the formula in all but a vanishing share of cases,
//!   f64 errors do not grow with mean/std; the bounds are in `docs/numerics.md` and each is a test.
//! - **Reproducibility**: the same bits over any number of threads, over the instruction sets of [`Tier`], and
//!   wherever the channel axis stands.
//! - **No surprises**: what happens with one value a channel, an empty batch, NaN or constant channels is declared
//!   in [`Policies`]; a failed call changes nothing.
//!
//! # Features
//!
//! | feature | default | buys | costs |
//! |---|---|---|---|
//! | `ndarray` | yes | views of and into `ndarray` arrays | the crate `ndarray` |
//! | `half` | yes | arrays of `f16` and `bf16` | the crate `half` |
//! | `rayon` | yes | work spread over the current rayon pool | the crate `rayon` |
//! | `serde` | no | [`Policies`] and [`Switches`] as data | the crate `serde` |

mod affine;
mod collective;
mod config;
mod convention;
mod element;
mod error;
mod forward;
mod ghost;
pub mod gradcheck;
mod in_place;
mod input;
mod invertible;
mod kernel;
mod layer;
mod layout;
mod moments;
mod parallel;
mod parts;
mod population;
mod preflight;
pub mod reference;
mod rule;
mod running;
mod sample_norm;
mod sample_rule;
mod sample_saved;
mod saved;
mod spread;
mod switches;
mod tangent;
mod view;
mod weights;
mod whitening;

pub use affine::{inverse_deviation, scale_and_shift, undoing};
pub use collective::{Collective, CollectiveError, Team};
pub use config::{
    Activation, Affine, Config, ConstantChannel, EmptyBatch, MissingRunning, NonFinite, Policies, SingleValue,
};
pub use convention::{Convention, ConventionError, Conversion, Converted, Difference, Entry, Keys, Note};
pub use element::{Element, Number, Parameter};
pub use error::{CallError, ConfigError, ViewError, WeightsError};
pub use ghost::{Ghost, GhostTrained};
pub use input::Input;
pub use invertible::Invertible;
#[doc(hidden)] // no part of the interface
pub use kernel::edges;
pub use kernel::tier::Tier;
pub use layer::{BatchNorm, Evaluated, Gradients, Trained};
pub use layout::{Axes, AxisRole, MAX_CHANNELS};
pub use moments::Moments;
pub use population::{Population, ROW as POPULATION_ROW};
pub use preflight::LastBatch;
pub use rule::{BatchMoments, Parameters, Rule};
pub use running::{Averaging, Estimator, RunningStatistics, UpdateWeight};
pub use sample_norm::{Grouping, SampleConfig, SampleNorm};
pub use sample_rule::SampleRule;
pub use sample_saved::SampleSaved;
pub use saved::{ParameterGradients, Saved};
pub use spread::StandardErrors;
pub use switches::{NormalizeBy, Switches};
pub use tangent::ParameterDirection;
pub use view::{Tensor, View, ViewMut};
pub use weights::Weights;
pub use whitening::{
    BatchComoments, Comoments, Decorrelated, RunningCovariance, SavedWhitening, Whitened, WhiteningConfig,
};

/// The README's examples, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of `docs/situations`, compiled as tests.
#[cfg(doctest)]
mod situations {
    #[doc = include_str!("../../../docs/situations/another-domain.md")]
    struct AnotherDomain;
    #[doc = include_str!("../../../docs/situations/conversion.md")]
    struct Conversion;
    #[doc = include_str!("../../../docs/situations/discarded-steps.md")]
    struct DiscardedSteps;
    #[doc = include_str!("../../../docs/situations/frozen-layers.md")]
    struct FrozenLayers;
    #[doc = include_str!("../../../docs/situations/micro-batches.md")]
    struct MicroBatches;
    #[doc = include_str!("../../../docs/situations/not-a-number.md")]
    struct NotANumber;
    #[doc = include_str!("../../../docs/situations/padding.md")]
    struct Padding;
    #[doc = include_str!("../../../docs/situations/participants.md")]
    struct Participants;
    #[doc = include_str!("../../../docs/situations/population-statistics.md")]
    struct PopulationStatistics;
    #[doc = include_str!("../../../docs/situations/siblings.md")]
    struct Siblings;
    #[doc = include_str!("../../../docs/situations/small-batches.md")]
    struct SmallBatches;
    #[doc = include_str!("../../../docs/situations/whitening.md")]
    struct Whitening;
}
