//! Running a model: values by their names, from given ones, wherever in the graph they stand.
//!
//! An engine gets bytes that were written here ([`Written`]), not those of the file: batch norms by opset 15 whose statistics are inputs, so
//! that each run says what they are; every floating-point number as f32; values in an order in which they can run.

mod array;
mod error;
mod messages;
mod passes;
mod rten;
mod run;
mod stages;
mod written;

pub use array::{Array, Numbers};
pub use error::WrittenError;
pub use messages::moved_by_one;
pub use passes::{
    Given, Keeper, PassError, Passes, Source, State, borrowed, given, in_parallel, of_samples, statistics_of,
};
pub use rten::{Optimiser, Rten};
pub use run::{Engine, EngineError};
pub use stages::Stages;
pub use written::{Written, WrittenInput, WrittenNorm};
