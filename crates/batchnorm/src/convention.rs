//! Conventions of frameworks: the names of a layer's numbers, and their meaning.

pub mod conversion;
pub mod guess;
pub mod names;
pub mod start;
