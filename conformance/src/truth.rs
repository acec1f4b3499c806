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
    let streamed = problem.inputs.get("x").is_some_and(|x| x.recipe.is_some());
    let one_batch = problem.norm == Norm::Batch && matches!(problem.operation, Operation::Train | Operation::Eval);
    assert!(
        problem.activation.is_none() || (one_batch || problem.operation == Operation::Forward) && !streamed,
        "an activation behind a norm of one batch, or of each sample"
    );
    match (problem.norm, problem.operation) {
        (Norm::Batch, Operation::Train | Operation::Eval) if streamed => stream::of(problem),
        (Norm::Batch, Operation::Train | Operation::Eval) => batch::of(problem),
        (Norm::Batch, Operation::Updates) => sequence::updates(problem),
        (Norm::Batch, Operation::Population) => sequence::population(problem),
        (Norm::Batch, Operation::Chain) => sequence::chain(problem),
        (_, Operation::Forward) => rows::of(problem),
        (norm, operation) => panic!("the catalogue asks for {operation:?} of {norm:?}"),
    }
}
