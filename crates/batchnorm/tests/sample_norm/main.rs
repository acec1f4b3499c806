//! Layer, group, instance and RMS norm, which do not look at the batch.

mod accuracy;
mod activation;
mod bits;
mod degenerate_rows;
mod errors;
mod jvp;
mod norms_agree;
mod policies;
mod second_order;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod weights;
