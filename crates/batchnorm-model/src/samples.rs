//! The user's data as inputs of a model: arrays of inputs as they are, tables, or pictures that a [`Recipe`](crate::recipe::Recipe) prepares.
//!
//! [`Samples::open`] tells the kind, checks what can be checked without the values, and keeps no pictures and no arrays in memory but those
//! that cannot be read in parts; [`Samples::read`] gives the values of some samples.

mod arrays;
mod error;
mod folder;
mod labels;
mod pictures;
mod prepare;
mod set;

pub use arrays::{MOST_TABLE_NUMBERS, MOST_UNPACKED};
pub use error::SamplesError;
pub use labels::MOST_LABEL;
#[cfg(feature = "engine")]
pub(crate) use prepare::put;
pub use set::{Data, InputShape, Samples};
