//! Batch normalisation, exact and reproducible: any rank, any layout, any number of threads, one result.
//!
//! # Batch norm in ten minutes
//!
//! A network's layer gives, for a batch of samples, an array: a value for each sample and channel (a channel is also
//! called a feature), and behind a convolution for each position in a plane too: `[samples, channels]` or
//! `[samples, channels, height, width]`. Batch norm (Ioffe and Szegedy 2015) takes each channel for itself. Over all n
//! values x of the channel in the batch, of all samples and positions,
//!
//! ```text
//! mean     = 1/n sum x
//! variance = 1/n sum (x - mean)^2                  the population variance
//! xhat     = (x - mean) / sqrt(variance + eps)     the normalised input: mean 0, variance 1 (less what eps takes)
//! y        = gamma * xhat + beta                   gamma and beta: one number each for a channel, learnt
//! ```
//!
//! so that whatever layer comes next sees values of a known size, and gamma and beta say of which. Three samples of one
//! channel, 1, 2 and 6, have mean 3 and variance 14/3:
//!
//! ```
//! use batchnorm::{Axes, BatchNorm, View};
//!
//! let mut layer = BatchNorm::new(1)?; // one channel; gamma 1, beta 0, eps 1e-5
//! let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?; // samples, channels
//! let trained = layer.train(&x)?;
//!
//! let deviation = (14.0f64 / 3.0 + 1e-5).sqrt();
//! for (y, x) in trained.y.data().iter().zip([1.0, 2.0, 6.0]) {
//!     assert!((y - (x - 3.0) / deviation).abs() < 1e-15);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **In use there is no batch**, or another one, and a sample's output must not depend on its neighbours. So training
//! keeps running estimates of mean and variance, and evaluation normalises by those. By PyTorch's conventions, the
//! default, each batch counts a tenth, and the estimate is of the *sample* variance (divided by n - 1); starts are 0
//! and 1:
//!
//! ```
//! # use batchnorm::{Axes, BatchNorm, View};
//! # let mut layer = BatchNorm::new(1)?;
//! # let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
//! # layer.train(&x)?;
//! let running = layer.running().expect("it has seen a batch");
//! assert!((running.mean()[0] - 0.1 * 3.0).abs() < 1e-15);
//! assert!((running.variance()[0] - (0.9 * 1.0 + 0.1 * 7.0)).abs() < 1e-15); // 14 / 2 = 7
//!
//! let y = layer.eval(&x)?.y; // by these
//! assert!((y.data()[0] - (1.0 - 0.3) / (1.6f64 + 1e-5).sqrt()).abs() < 1e-15);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What goes wrong with batch norm mostly goes wrong here: estimates that are not those of the data in use, conventions
//! mixed up, training and evaluation confused. [`Convention`], [`Population`], [`Switches`] and the pages in
//! `docs/situations` are about that.
//!
//! **The gradient needs the batch too**, for each x moves the mean and the variance by which all are normalised. With
//! dy the gradient of a loss by y, and the means over the channel,
//!
//! ```text
//! dbeta  = sum dy
//! dgamma = sum dy * xhat
//! dx     = gamma / sqrt(variance + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))
//! ```
//!
//! so dx never pushes all values of a channel together (they add up to 0), nor, but for eps, spreads them: a shift and
//! a stretch of the batch change no y. A loss that pulls at the first sample alone moves all three:
//!
//! ```
//! # use batchnorm::{Axes, BatchNorm, View};
//! # let mut layer = BatchNorm::new(1)?;
//! # let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
//! # let trained = layer.train(&x)?;
//! let dy = View::new(&[1.0f64, 0.0, 0.0], &[3, 1], Axes::NCHW)?;
//! let gradients = layer.backward(&x, &dy, &trained.saved)?;
//! let dx = gradients.dx.data();
//! assert!(dx.iter().all(|dx| dx.abs() > 0.02) && dx.iter().sum::<f64>().abs() < 1e-15);
//! assert_eq!(gradients.dbeta, Some(vec![1.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/math.md` derives it, each equation a test; [`mod@reference`] has it as code that is written to be read: in
//! closed form ([`reference::compact`]), node by node through the computation graph ([`reference::staged`], and as data
//! [`reference::graph`]), as the full Jacobian ([`reference::jacobian`]), forwards ([`reference::tangent`]) and to the
//! second order ([`reference::second_order`]). `batchnorm explain` shows it with numbers of your own.
//!
//! **A single batch loses nothing**: gamma = sqrt(variance + eps) and beta = mean give its input back ([`undoing`]).
//! What is lost is how batches differ in mean and variance.
//!
//! # A tour, in the order in which data flows
//!
//! 1. **[`View`] and [`ViewMut`]** borrow any array: a slice with a shape, any strides, an `ndarray` view.
//!    [`Axes`] says which axis holds the channels, or which axes together.
//! 2. **[`Input`]** is what a pass takes: a `&View` alone, or one with a residual ([`Input::adding`]) or with
//!    [`Weights`], which also mask ([`Input::weighted`]).
//! 3. **[`Moments`]**: count, mean and M2 of each channel, the first that is computed. They merge, in any grouping, to
//!    the moments of the whole (to about 1e-15). Pooled over batches they are a [`Population`].
//! 4. **[`Config`]** holds the options as types: [`Affine`], [`Averaging`] with [`UpdateWeight`], [`Estimator`],
//!    [`Policies`], [`Renormalization`], and presets for the conventions of PyTorch, Keras, Flax, ONNX and Burn. It is checked once.
//! 5. **[`BatchNorm`]** is the layer: parameters and [`RunningStatistics`]. Training, evaluation and the backward
//!    pass are calls of their own; there is no mode to forget. What a pass does with its batch can also be chosen by
//!    four independent [`Switches`], for a call or pinned.
//! 6. **[`Saved`]** goes from a forward pass to its backward pass, which takes the input again; after a residual with
//!    the output in the residual's place ([`Input::with_output`]). Gradients are returned as [`Gradients`], or written
//!    to the caller's [`GradientBuffers`].
//! 7. **[`Normalizer`]** is the same without state, for frameworks that keep parameters and statistics themselves.
//!    [`Normalizer::forward_part`] and [`Saved::backward_part`] make one batch of parts that are never in memory
//!    together; a [`Collective`] exchanges the numbers that all parts must know. [`Ghost`] does the opposite: it
//!    normalises one large batch in small groups.
//! 8. **In place**, where memory is short: [`BatchNorm::eval_in_place`], [`BatchNorm::backward_in_place`] with the same
//!    bits, and [`BatchNorm::train_invertible`], whose backward pass takes its output instead of its input and has a
//!    bound of its own ([`Invertible`]).
//! 9. **[`SampleNorm`]**: layer, group, instance, RMS and grouped RMS norm, which do not look at the batch, with an
//!    activation, weights and masks as batch norm has them; [`SampleNormalizer`] without state. **[`Decorrelated`]** removes the correlations between the channels of a group too.
//! 10. **Derivatives beyond the backward pass**: along a direction ([`Saved::jvp`]), of second order ([`Saved::hvp`],
//!     [`Saved::double_backward`]); of the siblings too ([`SampleSaved`], [`SavedWhitening`]).
//! 11. **[`Convention`]** and [`Conversion`] tell whose checkpoint a file is, and convert its statistics to another
//!     framework's convention.
//! 12. **[`mod@reference`]** is the readable twin in plain loops: closed form, computation graph, Jacobian.
//!
//! Two crates stand beside this one: `batchnorm-kernel` below it, which has all loops over elements (this crate has
//! layers, policies and statistics), and `batchnorm-gradcheck` above it, which says what is wrong with somebody else's
//! gradients.
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
//! - **Accuracy**: f32 output within 2 units in the last place (measured: the correctly rounded value in all but a
//!   vanishing share of cases), f64 within 1e-13 (1 + mean/std) (measured: 2e-15, whatever mean/std); all bounds are in
//!   `docs/numerics.md` and each is a test.
//! - **Reproducibility**: the same bits over any number of threads, over the instruction sets of [`Tier`], and
//!   wherever the channel axis stands, or several.
//! - **No surprises**: what happens with one value a channel, an empty batch, NaN or constant channels is declared
//!   in [`Policies`]; a failed call changes nothing.
//!
//! # Features
//!
//! | feature | default | buys | costs |
//! |---|---|---|---|
//! | `ndarray` | yes | views of and into `ndarray` arrays | the crate `ndarray` |
//! | `half` | yes | arrays of `f16` and `bf16` | the crate `half` |
//! | `rayon` | yes | work spread over the threads of a rayon pool, or as many beside it ([`Threads`] tells, and has others) | the crates `rayon`, on Linux `rustix` |
//! | `serde` | no | [`Policies`], [`Switches`] and [`Renormalization`] as data | the crate `serde` |

mod affine;
mod batch_norm;
mod call_error;
mod check;
mod convention;
mod gradients;
mod options;
mod parameters;
mod sample_norm;
mod statistics;
mod tensor;
mod whitening;

#[doc(inline)]
pub use batchnorm_reference as reference;

pub use affine::{inverse_deviation, scale_and_shift, undoing};
pub use batch_norm::buffers::GradientBuffers;
pub use batch_norm::collective::{Collective, CollectiveError, Team};
pub use batch_norm::ghost::{Ghost, GhostTrained};
pub use batch_norm::input::Input;
pub use batch_norm::invertible::Invertible;
pub use batch_norm::layer::{BatchNorm, Evaluated, Trained};
pub use batch_norm::normalizer::Normalizer;
pub use batch_norm::prepared::Prepared;
pub use batch_norm::saved::Saved;
pub use batch_norm::weights::{Weights, WeightsError};
#[doc(hidden)] // for the tests of both sides of each; no part of the interface
pub use batchnorm_kernel::thresholds;
pub use batchnorm_kernel::{
    Activation, Axes, AxisRole, Element, Executor, MAX_CHANNELS, Moments, Number, Parameter, Threads, Tier, View,
    ViewError, ViewMut,
};
pub use call_error::CallError;
pub use convention::conversion::{Conversion, Converted, Difference, Note};
pub use convention::guess::{ConventionError, Guess};
pub use convention::names::{Convention, Entry, Keys};
pub use convention::start::StartValues;
pub use gradients::{Gradients, ParameterGradients};
pub use options::averaging::{Averaged, Averaging, Estimator, UpdateWeight};
pub use options::config::Config;
pub use options::error::ConfigError;
pub use options::policies::{Affine, ConstantChannel, EmptyBatch, MissingRunning, NonFinite, Policies, SingleValue};
pub use options::preflight::LastBatch;
pub use options::renormalization::{Renormalization, RenormalizationLimits};
pub use options::switches::{NormalizeBy, Switches};
pub use parameters::{ParameterDirection, Parameters};
pub use sample_norm::config::SampleConfig;
pub use sample_norm::grouping::Grouping;
pub use sample_norm::layer::SampleNorm;
pub use sample_norm::normalizer::SampleNormalizer;
pub use sample_norm::saved::SampleSaved;
pub use statistics::batch::BatchMoments;
pub use statistics::population::{Population, ROW as POPULATION_ROW};
pub use statistics::running::RunningStatistics;
pub use statistics::standard_error::StandardErrors;
pub use tensor::Tensor;
pub use whitening::comoments::{BatchComoments, Comoments};
pub use whitening::config::WhiteningConfig;
pub use whitening::layer::{Decorrelated, Whitened};
pub use whitening::running::RunningCovariance;
pub use whitening::saved::SavedWhitening;

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
    #[doc = include_str!("../../../docs/situations/start-of-averages.md")]
    struct StartOfAverages;
    #[doc = include_str!("../../../docs/situations/whitening.md")]
    struct Whitening;
}
