//! Decorrelated batch norm: whitening by the inverse square root of the covariance, in groups of channels.

pub mod comoments;
pub mod config;
mod eigen;
mod groups;
pub mod layer;
pub mod running;
pub mod saved;
mod second_order;
mod tangent;
