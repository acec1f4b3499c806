//! What nodes do, and how their values meet.

use crate::{Real, mean, sum};

/// What a node does with the nodes before it. Where one of two has a single value, that value meets each of the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: its values are given.
    Leaf,
    /// 1/n sum a_i.
    Mean,
    /// a_i - b_i.
    Subtract,
    /// a_i^2.
    Square,
    /// sqrt(a_i + b_i).
    RootOfSum,
    /// 1 / a_i.
    Reciprocal,
    /// a_i b_i.
    Multiply,
    /// a_i + b_i.
    Add,
}

/// How the values of two nodes meet on the edge between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Value i is used for value i, and so the gradient goes back.
    EachToEach,
    /// One value is used for every i: what flows back is summed up over them.
    OneToEach,
    /// All values are averaged into one: each gets 1/n of what flows back.
    EachToOne,
}

/// The value at i, of one for all or of one for each.
fn at<R: Copy>(values: &[R], i: usize) -> R {
    if values.len() == 1 { values[0] } else { values[i] }
}

fn common_length<R>(a: &[R], b: &[R]) -> usize {
    match (a.len(), b.len()) {
        (1, n) | (n, 1) => n,
        (n, m) => n.min(m),
    }
}

impl Operation {
    /// The node's values, by those of the nodes it uses. A leaf has none, and so has what misses an operand.
    pub fn value<R: Real>(self, operands: &[&[R]]) -> Vec<R> {
        let two = |of: fn(R, R) -> R| match operands {
            [a, b] => (0..common_length(a, b)).map(|i| of(at(a, i), at(b, i))).collect(),
            _ => Vec::new(),
        };
        let one = |of: fn(R) -> R| operands.first().map_or(Vec::new(), |a| a.iter().map(|&a| of(a)).collect());
        match self {
            Operation::Leaf => Vec::new(),
            Operation::Mean => operands.first().map_or(Vec::new(), |a| vec![mean(a.iter().copied())]),
            Operation::Subtract => two(|a, b| a - b),
            Operation::Square => one(|a| a * a),
            Operation::RootOfSum => two(|a, b| (a + b).sqrt()),
            Operation::Reciprocal => one(|a| R::constant(1.0) / a),
            Operation::Multiply => two(|a, b| a * b),
            Operation::Add => two(|a, b| a + b),
        }
    }

    /// The derivative of value i by the i-th value of one operand (of a mean: of the one value by any), by the values of
    /// the operands and of the node itself: one for each i, or one that holds for all.
    pub fn derivative<R: Real>(self, operand: usize, operands: &[&[R]], value: &[R]) -> Vec<R> {
        let (one, two) = (R::constant(1.0), R::constant(2.0));
        let own = operands.get(operand).copied().unwrap_or_default();
        match self {
            Operation::Leaf => Vec::new(),
            Operation::Mean => vec![one / R::constant(own.len() as f64)],
            Operation::Subtract if operand == 1 => vec![-one],
            Operation::Subtract | Operation::Add => vec![one],
            Operation::Square => own.iter().map(|&a| two * a).collect(),
            Operation::RootOfSum => value.iter().map(|&root| one / (two * root)).collect(),
            Operation::Reciprocal => value.iter().zip(own).map(|(_, &a)| -(one / (a * a))).collect(),
            // The other factor.
            Operation::Multiply => operands.get(1 - operand.min(1)).copied().unwrap_or_default().to_vec(),
        }
    }
}

impl Join {
    /// What flows back along an edge: the gradient of the node it leads to, times the local derivative; `count` values
    /// where the node it comes from has one for each i.
    pub(super) fn back<R: Real>(self, gradient: &[R], local: &[R], count: usize) -> Vec<R> {
        let products = gradient.iter().enumerate().map(|(i, &gradient)| gradient * at(local, i));
        match self {
            Join::EachToEach => products.collect(),
            Join::OneToEach => vec![sum(products)],
            Join::EachToOne => products.flat_map(|part| vec![part; count]).collect(),
        }
    }
}
