//! Batch norm: the formula without state, and the layer that keeps parameters and running statistics around it.

pub mod admission;
pub mod buffers;
pub mod channel_vectors;
pub mod collective;
pub mod correction;
pub mod forward;
pub mod ghost;
pub mod in_place;
pub mod input;
pub mod invertible;
pub mod layer;
pub mod measure;
pub mod normalizer;
pub mod partial_batch;
pub mod prepared;
pub mod renormalized;
pub mod saved;
pub mod second_order;
pub mod tangent;
pub mod weights;
