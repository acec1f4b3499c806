//! Nodes and edges with their values, and the walks over them.

use super::error::GraphError;
use super::operation::{Join, Operation};
use crate::{Real, sum};

/// A value of the graph: one number, or one for each x_i.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<R> {
    /// What it is called, as in [`staged::Nodes`](crate::staged::Nodes): `x`, `mean`, `centered`, ...
    pub name: &'static str,
    /// What formulas call it, without an index: `x`, `m`, `c`, ...
    pub symbol: &'static str,
    /// Its value by the nodes before it, such as `c_i = x_i - m`; of a leaf its symbol alone.
    pub formula: &'static str,
    /// What it does with the nodes before it.
    pub operation: Operation,
    /// Whether it has a value for each x_i; otherwise it has one.
    pub each: bool,
    /// The value, or values.
    pub values: Vec<R>,
    /// The gradient of the loss by each value; empty before [`Graph::backward`].
    pub gradient: Vec<R>,
}

/// A use of one node's value by another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge<R> {
    /// The node that is used, by its place in [`Graph::nodes`].
    pub from: usize,
    /// The node that uses it; `from < to`.
    pub to: usize,
    /// Which operand it is there, from 0.
    pub operand: usize,
    /// How values meet.
    pub join: Join,
    /// d to_i / d from_i (of a mean: d to / d from_i) as a formula, such as `2 c_i`.
    pub formula: &'static str,
    /// The same as numbers: one for each i, or one that holds for all.
    pub local: Vec<R>,
    /// The gradient that flows back along the edge, one for each value of `from`; empty before [`Graph::backward`].
    pub gradient: Vec<R>,
}

impl<R: Copy> Edge<R> {
    /// The local derivative at i.
    ///
    /// # Panics
    /// Where there is no such i and the derivative is not one for all.
    pub fn local_at(&self, i: usize) -> R {
        if self.local.len() == 1 { self.local[0] } else { self.local[i] }
    }
}

/// A forward pass of one feature, or of one row, as a graph without cycles; behind [`backward`](Self::backward) with all
/// gradients.
///
/// ```
/// use batchnorm_reference::graph::Graph;
/// let mut graph = Graph::batch(&[1.0, 2.0, 6.0], 1.5, 0.5, 1e-5);
/// graph.backward(&[1.0, 0.0, -0.5])?;
///
/// let variance = graph.find("variance").expect("batch norm has one");
/// assert_eq!(graph.nodes()[variance].values, [14.0 / 3.0]);
/// // centered is used twice, so its gradient is the sum of what flows back along two edges.
/// let centered = graph.find("centered").expect("batch norm has it");
/// let flows: Vec<f64> = graph.uses(centered).map(|edge| edge.gradient[0]).collect();
/// assert_eq!(flows.len(), 2);
/// assert_eq!(graph.nodes()[centered].gradient[0], flows[0] + flows[1]);
/// # Ok::<(), batchnorm_reference::graph::GraphError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Graph<R> {
    pub(super) nodes: Vec<Node<R>>,
    pub(super) edges: Vec<Edge<R>>,
    pub(super) count: usize,
}

impl<R: Real> Graph<R> {
    /// The nodes, each behind all that it uses; the last one is y.
    pub fn nodes(&self) -> &[Node<R>] {
        &self.nodes
    }

    /// The edges, in the order of the nodes they lead to, and there in the order of the formula.
    pub fn edges(&self) -> &[Edge<R>] {
        &self.edges
    }

    /// n, how many values x has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The place of the node of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The node of that name.
    pub fn get(&self, name: &str) -> Option<&Node<R>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The edges that lead to a node: what it uses.
    pub fn inputs(&self, node: usize) -> impl Iterator<Item = &Edge<R>> {
        self.edges.iter().filter(move |edge| edge.to == node)
    }

    /// The edges that leave a node: where it is used.
    pub fn uses(&self, node: usize) -> impl Iterator<Item = &Edge<R>> {
        self.edges.iter().filter(move |edge| edge.from == node)
    }

    /// The backward pass from `dy`, the gradient of the loss by each y_i. It may be repeated with another `dy`.
    ///
    /// # Errors
    /// Another number of values than y has; the graph is unchanged then.
    pub fn backward(&mut self, dy: &[R]) -> Result<(), GraphError> {
        GraphError::unless_one_each("dy", self.count, dy)?;
        for place in (0..self.nodes.len()).rev() {
            let uses: Vec<&[R]> = self.uses(place).map(|edge| &edge.gradient[..]).collect();
            let gradient: Vec<R> = match uses.is_empty() {
                true => dy.to_vec(),
                false => (0..self.nodes[place].values.len()).map(|i| sum(uses.iter().map(|flow| flow[i]))).collect(),
            };
            for edge in self.edges.iter_mut().filter(|edge| edge.to == place) {
                edge.gradient = edge.join.back(&gradient, &edge.local, self.count);
            }
            self.nodes[place].gradient = gradient;
        }
        Ok(())
    }

    /// The graph with other values in one node and everything behind it computed anew, without gradients: what the
    /// loss does when that node alone is moved. `None` where there is no such node, or it has another number of values.
    pub fn with(&self, name: &str, values: &[R]) -> Option<Graph<R>> {
        let moved = self.find(name)?;
        if values.len() != self.nodes[moved].values.len() {
            return None;
        }
        let mut graph = self.clone();
        graph.nodes.iter_mut().for_each(|node| node.gradient.clear());
        graph.edges.iter_mut().for_each(|edge| edge.gradient.clear());
        graph.nodes[moved].values = values.to_vec();
        for place in moved + 1..graph.nodes.len() {
            if graph.nodes[place].operation != Operation::Leaf {
                graph.nodes[place].values = graph.value(place);
            }
        }
        for edge in 0..graph.edges.len() {
            graph.edges[edge].local = graph.local(edge);
        }
        Some(graph)
    }

    /// d y_i / d x_l by n walks backward, each from one y_i: row i behind row i - 1, n x n values. (Of batch norm in closed
    /// form: [`jacobian`](crate::jacobian::jacobian).)
    pub fn jacobian(&self) -> Vec<R> {
        let mut graph = self.clone();
        let mut rows = Vec::with_capacity(self.count * self.count);
        let mut dy = vec![R::constant(0.0); self.count];
        for i in 0..self.count {
            dy[i] = R::constant(1.0);
            graph.backward(&dy).expect("dy has a value for each y_i");
            rows.extend_from_slice(&graph.nodes[0].gradient);
            dy[i] = R::constant(0.0);
        }
        rows
    }

    /// What a node is, by what it uses.
    pub(super) fn value(&self, place: usize) -> Vec<R> {
        self.nodes[place].operation.value(&self.operands(place))
    }

    fn operands(&self, place: usize) -> Vec<&[R]> {
        self.inputs(place).map(|edge| &self.nodes[edge.from].values[..]).collect()
    }

    /// The local derivative along an edge.
    pub(super) fn local(&self, edge: usize) -> Vec<R> {
        let Edge { to, operand, .. } = self.edges[edge];
        self.nodes[to].operation.derivative(operand, &self.operands(to), &self.nodes[to].values)
    }
}
