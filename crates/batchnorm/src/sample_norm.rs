//! Norms that do not look at the batch: layer, group, instance and RMS norm.

pub mod config;
pub mod grouping;
pub mod layer;
pub mod normalizer;
pub mod plain;
pub mod saved;
pub mod second_order;
