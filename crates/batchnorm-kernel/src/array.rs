//! Arrays of any strides: where their elements lie, and who may read and write them.

pub mod channels;
pub mod error;
pub mod geometry;
pub mod grid;
pub mod layout;
pub mod memory;
pub mod prefetch_distance;
mod transpose;
pub mod view;
