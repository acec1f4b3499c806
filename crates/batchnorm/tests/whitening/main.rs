//! Decorrelated batch norm.

mod accuracy;
mod bits;
mod cases;
mod directional;
mod errors;
mod policies;
mod rows;
mod running;
mod second_order;
#[path = "../support/mod.rs"]
mod support;
