//! The arrays and loops of [`batchnorm`](https://docs.rs/batchnorm): reductions and maps over channels, in one fixed order of
//! summation, the same bits on every instruction set, layout and number of threads. No layer and no policy is decided here.
//!
//! Use the crate `batchnorm`, which re-exports what its users name of this one. What else is public here is the interface
//! between the two crates: it changes with them and promises nothing to others.
//!
//! In the order in which data flows, each standing on those before it:
//!
//! | where | what |
//! |---|---|
//! | [`Tier`], `machine` | instruction sets; eight `f64` at once, what all loops compute with |
//! | [`Number`] | the number types of arrays: `f32`, `f64`, `f16`, `bf16` |
//! | [`Moments`], [`Activation`] | count, mean and M2 of a set of values; what follows the normalisation |
//! | [`Threads`] | parts of work over threads that an [`Executor`] lends, results in order |
//! | [`View`], `array` | any array as channels and, in each, values in logical order; checked once; shared out between threads |
//! | `lanes` | slices taken as vectors |
//! | `reduce` | a value for each channel, in one fixed tree of chunks |
//! | `map` | outputs from inputs and coefficients of their channel |
//! | `rows` | the same for rows whose elements have parameters of their own |
//! | `whitening` | products between the channels of a group; channels mixed by a matrix |
//! | [`passes::Operations`] | the passes that layers ask for, compiled once for each [`Element`] type |

mod activation;
mod arithmetic;
mod array;
mod dispatch;
mod element;
mod kept;
mod lanes;
mod machine;
mod map;
mod moments;
mod number;
mod operations;
mod pass;
mod reduce;
mod rows;
mod threads;
#[doc(hidden)]
pub mod thresholds;
mod whitening;

pub use activation::Activation;
pub use array::error::ViewError;
pub use array::layout::{Axes, AxisRole, MAX_CHANNELS};
pub use array::view::{View, ViewMut};
pub use element::{Element, Parameter};
pub use machine::tier::Tier;
pub use moments::Moments;
pub use number::Number;
pub use threads::Threads;
pub use threads::executor::Executor;

/// What the layers of `batchnorm` ask for: operations on arrays, and passes as data. It changes with those layers, and is no
/// interface for others.
pub mod passes {
    pub use crate::array::channels::{put_channels, take_channels};
    pub use crate::array::error::{channel_axes, right_axes};
    pub use crate::array::geometry::{Geometry, MIN_RUN};
    pub use crate::array::layout::{Arrangement, Layout, elements, row_major};
    pub use crate::array::memory::{Readable, Writable};
    pub use crate::kept::{Room, Vectors};
    pub use crate::machine::Machine;
    pub use crate::map::formulas::{
        GradientAlongCoefficients, GroupGradientCoefficients, NormalizeCoefficients, OutputGradientCoefficients,
        TangentCoefficients,
    };
    pub use crate::moments::two_sum;
    pub use crate::operations::{Operations, OutputOperations};
    pub use crate::pass::{
        Backward, BatchStatistics, Beside, Forward, GradientOutputs, NormalizeVectors, OfChannel, OfReduced,
        OutputBackward, Statistics,
    };
    pub use crate::reduce::gradients::{ChannelConstants, GradientSums, about};
    pub use crate::reduce::tree::{Merge, joined_pairwise, pairwise_sum};
    pub use crate::rows::formulas::{Elements, RowMeans, RowNumbers};
    pub use crate::rows::plain::{PlainArrays, PlainPass, PlainRows, RowDirection};
    pub use crate::rows::{Scaling, Summed, at_once};
    pub use crate::threads::Call;
    pub use crate::whitening::Centered;
}
