//! Expected values, in double-double arithmetic (about 32 digits) over the core's readable twin, and the scales that
//! errors are measured by (docs/numerics.md).

mod batch;
mod number;
mod output;
mod rows;
mod running;
mod sequence;
mod stream;
#[cfg(test)]
mod tests;

use crate::case::{Norm, Operation, Problem};
pub use output::{Truth, Truths, probes};

/// The true outputs, and the largest mean/std of values that are normalised together, with which bounds of f64 grow.
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
