//! Decorrelated batch norm.

mod accuracy;
mod layer;
#[path = "../support/mod.rs"]
mod support;
