//! Options as types, checked once, when a layer is built.

pub mod averaging;
pub mod config;
pub mod error;
pub mod limits;
pub mod policies;
pub mod preflight;
pub mod renormalization;
pub mod switches;
