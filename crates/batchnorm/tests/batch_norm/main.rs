//! Batch norm: each form of the layer against its formulas and against the ordinary form.

mod channel_axes;
mod collective;
mod constant_statistics;
mod forms_agree;
mod fused;
mod ghost;
mod graph;
mod in_place;
mod invertible;
mod jvp;
mod micro_batches;
mod odd_views;
mod parameter_types;
mod parts_and_groups;
mod passes;
mod policies;
mod renormalization;
mod second_order;
#[path = "../support/mod.rs"]
mod support;
mod switches;
mod variants;
mod weights;
mod weights_policies;
