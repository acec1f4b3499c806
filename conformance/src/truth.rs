//! Expected values, in double-double arithmetic (about 32 digits) over the core's readable twin, and the scales that
//! errors are measured by (docs/numerics.md).

mod batch;
mod rows;
mod sequence;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use batchnorm::reference::Real;

use crate::case::{Norm, Operation, Problem};
use batchnorm::gradcheck::DoubleDouble;

/// What is true of a problem, by the output's name.
pub type Truths = BTreeMap<String, Truth>;

/// What is true of an output.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The output's shape.
    pub shape: Vec<usize>,
    /// Its values; NaN where it is NaN.
    pub values: Vec<DoubleDouble>,
    /// The derivative of the formula where 0 is declared to be the gradient.
    pub alternative: Option<Vec<DoubleDouble>>,
    /// The output's shape, with 1 where the scale is the same along an axis.
    pub scale_shape: Vec<usize>,
    /// What errors are measured by; infinite where the output is not judged.
    pub scale: Vec<f64>,
}

/// All that is true, and the largest mean/std of what is normalised together, which f64 bounds grow with.
pub fn of(problem: &Problem) -> (Truths, f64) {
    match (problem.norm, problem.operation) {
        (Norm::Batch, Operation::Train | Operation::Eval) if problem.inputs["x"].recipe.is_some() => {
            stream::of(problem)
        }
        (Norm::Batch, Operation::Train | Operation::Eval) => batch::of(problem),
        (Norm::Batch, Operation::Updates) => sequence::updates(problem),
        (Norm::Batch, Operation::Population) => sequence::population(problem),
        (Norm::Batch, Operation::Chain) => sequence::chain(problem),
        (_, Operation::Forward) => rows::of(problem),
        (norm, operation) => panic!("the catalogue asks for {operation:?} of {norm:?}"),
    }
}

/// The places of an output that is too large to be expected everywhere: its first and last elements, and some between.
pub fn probes(count: usize) -> Vec<usize> {
    const PROBES: usize = 64;
    (0..PROBES).map(|i| i * (count - 1) / (PROBES - 1)).collect()
}

type D = DoubleDouble;

fn d(value: f64) -> D {
    DoubleDouble::constant(value)
}

fn wide(values: &[f64]) -> Vec<D> {
    values.iter().map(|&value| d(value)).collect()
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The shape with 1 on every axis but one.
fn along(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(i, &length)| if i == axis { length } else { 1 }).collect()
}

impl Problem {
    /// Which axis holds the channels.
    pub fn channel_axis(&self) -> usize {
        self.roles.iter().position(|&role| role == crate::case::Role::Channel).expect("a channel axis")
    }

    /// An input's elements, if there is such an input.
    fn given(&self, name: &str) -> Option<Vec<f64>> {
        self.inputs.get(name).map(|input| input.to_f64())
    }
}
