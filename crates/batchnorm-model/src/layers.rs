//! The batch norms of a model, out of a graph or out of named tensors.

mod of_graph;
mod of_weights;

pub(crate) use of_graph::{Found, each, layers as of_graph, parameters as parameters_of_graph};
pub use of_weights::Norm;
pub(crate) use of_weights::{layers as of_weights, parameters as parameters_of_weights};
