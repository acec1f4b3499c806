//! Running a model: values by their names, from given ones, wherever in the graph they stand.
//!
//! An engine gets bytes that were written here ([`Written`]), not those of the file: batch norms by opset 15 whose statistics are inputs, so
//! that each run says what they are; every floating-point number as f32; values in an order in which they can run.

mod array;
mod choice;
#[cfg(feature = "ort")]
mod elements;
mod error;
mod messages;
#[cfg(feature = "ort")]
mod ort;
mod passes;
mod rten;
mod run;
mod stages;
#[cfg(feature = "ort")]
mod subgraph;
mod written;

pub use array::{Array, Numbers};
pub use choice::EngineChoice;
pub use error::WrittenError;
pub use messages::moved_by_one;
#[cfg(feature = "ort")]
pub use ort::OnnxRuntime;
pub use passes::{
    Given, Keeper, PassError, Passes, Source, State, borrowed, given, in_batches, in_parallel, of_samples,
    statistics_of,
};
pub use rten::Rten;
pub use run::{Engine, EngineError, Optimiser};
pub use stages::Stages;
pub use written::{Written, WrittenInput, WrittenNorm};
