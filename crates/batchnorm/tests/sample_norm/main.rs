//! Layer, group, instance and RMS norm, which do not look at the batch.

mod errors;
mod second_order;
mod siblings;
#[path = "../support/mod.rs"]
mod support;
