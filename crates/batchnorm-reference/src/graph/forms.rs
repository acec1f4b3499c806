//! The graphs of the norms: which nodes, and which uses what.

use super::error::GraphError;
use super::nodes::{Edge, Graph, Node};
use super::operation::{Join, Operation};
use crate::Real;

impl<R: Real> Graph<R> {
    /// Batch norm of one feature in training: gamma and beta are one number each.
    pub fn batch(x: &[R], gamma: R, beta: R, epsilon: R) -> Graph<R> {
        let (mut graph, x) = Graph::of(x);
        let squared_of = graph.centered(x);
        graph.normalized(squared_of, CENTRED, epsilon).scaled(Each::All(gamma), Each::All(beta))
    }

    /// Batch norm of one feature in evaluation: mean and variance are given numbers, no functions of x.
    pub fn evaluation(x: &[R], gamma: R, beta: R, mean: R, variance: R, epsilon: R) -> Graph<R> {
        let (mut graph, x) = Graph::of(x);
        let m = graph.leaf("mean", "m", Each::All(mean));
        let v = graph.leaf("variance", "v", Each::All(variance));
        let c = graph.push(["centered", "c", "c_i = x_i - m"], Operation::Subtract, &[(x, "1"), (m, "-1")]);
        graph.divided(c, v, CENTRED, epsilon).scaled(Each::All(gamma), Each::All(beta))
    }

    /// Layer, group or instance norm of one row, each element with its gamma_i and beta_i (in group and instance norm those
    /// of its channel).
    ///
    /// # Errors
    /// Another number of gammas or betas than there are values.
    pub fn row(x: &[R], gamma: &[R], beta: &[R], epsilon: R) -> Result<Graph<R>, GraphError> {
        GraphError::unless_one_each("gamma", x.len(), gamma)?;
        GraphError::unless_one_each("beta", x.len(), beta)?;
        let (mut graph, x) = Graph::of(x);
        let squared_of = graph.centered(x);
        Ok(graph.normalized(squared_of, CENTRED, epsilon).scaled(Each::Own(gamma), Each::Own(beta)))
    }

    /// RMS norm of one row: x itself is squared, there is no mean.
    ///
    /// # Errors
    /// Another number of gammas or betas than there are values.
    pub fn rms_row(x: &[R], gamma: &[R], beta: &[R], epsilon: R) -> Result<Graph<R>, GraphError> {
        GraphError::unless_one_each("gamma", x.len(), gamma)?;
        GraphError::unless_one_each("beta", x.len(), beta)?;
        let (graph, x) = Graph::of(x);
        Ok(graph.normalized(x, NOT_CENTRED, epsilon).scaled(Each::Own(gamma), Each::Own(beta)))
    }

    fn of(x: &[R]) -> (Graph<R>, usize) {
        let mut graph = Graph { nodes: Vec::new(), edges: Vec::new(), count: x.len() };
        let x = graph.leaf("x", "x", Each::Own(x));
        (graph, x)
    }

    /// x less its mean.
    fn centered(&mut self, x: usize) -> usize {
        let m = self.push(["mean", "m", "m = 1/n sum x_i"], Operation::Mean, &[(x, "1/n")]);
        self.push(["centered", "c", "c_i = x_i - m"], Operation::Subtract, &[(x, "1"), (m, "-1")])
    }

    /// Divided by the root of the mean of its squares plus eps.
    fn normalized(mut self, of: usize, words: Words, epsilon: R) -> Graph<R> {
        let q = self.push(words.squared, Operation::Square, &[(of, words.by_square)]);
        let v = self.push(words.mean_square, Operation::Mean, &[(q, "1/n")]);
        self.divided(of, v, words, epsilon)
    }

    fn divided(mut self, of: usize, v: usize, words: Words, epsilon: R) -> Graph<R> {
        let e = self.leaf("epsilon", "eps", Each::All(epsilon));
        let by_sum = "1 / (2 d)";
        let d = self.push(words.root, Operation::RootOfSum, &[(v, by_sum), (e, by_sum)]);
        let r = self.push(["inverse", "r", "r = 1 / d"], Operation::Reciprocal, &[(d, "-1 / d^2")]);
        self.push(words.normalized, Operation::Multiply, &[(of, "r"), (r, words.by_inverse)]);
        self
    }

    /// gamma times that, plus beta.
    fn scaled(mut self, gamma: Each<R>, beta: Each<R>) -> Graph<R> {
        let xhat = self.nodes.len() - 1;
        let (s, by_xhat) = match gamma {
            Each::Own(_) => ("s_i = gamma_i xhat_i", "gamma_i"),
            Each::All(_) => ("s_i = gamma xhat_i", "gamma"),
        };
        let y = if let Each::Own(_) = beta { "y_i = s_i + beta_i" } else { "y_i = s_i + beta" };
        let gamma = self.leaf("gamma", "gamma", gamma);
        let s = self.push(["scaled", "s", s], Operation::Multiply, &[(gamma, "xhat_i"), (xhat, by_xhat)]);
        let beta = self.leaf("beta", "beta", beta);
        self.push(["y", "y", y], Operation::Add, &[(s, "1"), (beta, "1")]);
        self
    }

    fn leaf(&mut self, name: &'static str, symbol: &'static str, values: Each<R>) -> usize {
        let (each, values) = match values {
            Each::Own(values) => (true, values.to_vec()),
            Each::All(value) => (false, vec![value]),
        };
        let operation = Operation::Leaf;
        self.nodes.push(Node { name, symbol, formula: symbol, operation, each, values, gradient: Vec::new() });
        self.nodes.len() - 1
    }

    /// A node by its name, symbol and formula, and what it uses, each with the formula of the local derivative.
    fn push(
        &mut self,
        [name, symbol, formula]: [&'static str; 3],
        operation: Operation,
        uses: &[(usize, &'static str)],
    ) -> usize {
        let to = self.nodes.len();
        let each = operation != Operation::Mean && uses.iter().any(|&(from, _)| self.nodes[from].each);
        for (operand, &(from, formula)) in uses.iter().enumerate() {
            let join = match (self.nodes[from].each, each) {
                (true, false) => Join::EachToOne,
                (false, true) => Join::OneToEach,
                _ => Join::EachToEach,
            };
            self.edges.push(Edge { from, to, operand, join, formula, local: Vec::new(), gradient: Vec::new() });
        }
        let (values, gradient) = (Vec::new(), Vec::new());
        self.nodes.push(Node { name, symbol, formula, operation, each, values, gradient });
        self.nodes[to].values = self.value(to);
        for edge in self.edges.len() - uses.len()..self.edges.len() {
            self.edges[edge].local = self.local(edge);
        }
        to
    }
}

/// A parameter: one for all elements, or one of each.
enum Each<'a, R> {
    All(R),
    Own(&'a [R]),
}

/// What differs where the mean is not taken off: names, symbols and formulas.
#[derive(Clone, Copy)]
struct Words {
    squared: [&'static str; 3],
    by_square: &'static str,
    mean_square: [&'static str; 3],
    root: [&'static str; 3],
    normalized: [&'static str; 3],
    by_inverse: &'static str,
}

const CENTRED: Words = Words {
    squared: ["squared", "q", "q_i = c_i^2"],
    by_square: "2 c_i",
    mean_square: ["variance", "v", "v = 1/n sum q_i"],
    root: ["deviation", "d", "d = sqrt(v + eps)"],
    normalized: ["normalized", "xhat", "xhat_i = c_i r"],
    by_inverse: "c_i",
};

const NOT_CENTRED: Words = Words {
    squared: ["squared", "q", "q_i = x_i^2"],
    by_square: "2 x_i",
    mean_square: ["mean_square", "v", "v = 1/n sum q_i"],
    root: ["root_mean_square", "d", "d = sqrt(v + eps)"],
    normalized: ["normalized", "xhat", "xhat_i = x_i r"],
    by_inverse: "x_i",
};
