//! Conventions of frameworks: what they call a layer's numbers, and what those numbers mean.

pub mod conversion;
pub mod names;
