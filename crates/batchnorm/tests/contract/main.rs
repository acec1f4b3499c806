//! What docs/numerics.md promises of every array: how accurate, with which bits, at which sizes and strides, and what is
//! refused.

mod accuracy;
mod any_strides;
mod bits;
mod errors;
mod plain_sums;
mod poison;
mod random_arrays;
mod sentences;
#[path = "../support/mod.rs"]
mod support;
mod thresholds;
mod what_others_get_wrong;
