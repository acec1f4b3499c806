//! Decorrelated batch norm.

mod accuracy;
mod bits;
mod errors;
mod policies;
mod rows;
mod running;
#[path = "../support/mod.rs"]
mod support;
