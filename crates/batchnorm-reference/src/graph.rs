//! The computation graph as data: nodes with their values, edges with the derivative along each.
//!
//! [`staged`](super::staged) writes the same passes out line by line. Here they are a walk that knows no formula of batch
//! norm: forward, a node's value is its [`Operation`] on the nodes before it; backward, what flows along an edge is the
//! gradient of the node it leads to, times the edge's local derivative, and a node's gradient is the sum of what flows
//! back along all edges that leave it. So it can be drawn, listed and checked node by node.
//!
//! ```text
//! x ---> mean m ---> centered c ---> squared q ---> variance v ---> deviation d ---> inverse r ---> normalized xhat
//!  \_______________/ \____________________________________________________________________________/       |
//!                                                                    epsilon --^            gamma --> scaled s
//!                                                                                            beta --> y
//! ```
//!
//! (Wengert 1964; the nodes as in Kratzert 2016, "Understanding the backward pass through batch normalization layer".)

mod error;
mod forms;
mod nodes;
mod operation;

pub use error::GraphError;
pub use nodes::{Edge, Graph, Node};
pub use operation::{Join, Operation};
