//! What is known of a data set: statistics of all its batches, and running statistics between conventions.

mod conventions;
mod debiased;
mod guess;
mod population;
mod running;
#[path = "../support/mod.rs"]
mod support;
