//! The right numbers in other places.

use crate::error::ProblemError;
use crate::mistakes::{Mistake, mistake};
use crate::problem::Problem;
use crate::row::Row;

/// The right values in another order.
pub static ORDER: Mistake = mistake(
    "right values in another order",
    "every value is right, but not where it stands: a reshape that should have been a transposition, or the other way round",
    "bring dx back to x's axes by the inverse of the transposition that was made before; reshape alone keeps no axis",
);

/// The same of dgamma and dbeta.
pub(crate) static ORDER_OF_PARAMETERS: Mistake = mistake(
    ORDER.name,
    "every value is right, but stands with another parameter",
    "bring the channels (or elements) into gamma's order; was something rolled, sorted or reversed?",
);

/// [`ORDER`], if that explains dx: sorted, it is the right one.
pub(crate) fn explaining(
    problem: &Problem,
    dx: &[f64],
    allowed: &impl Fn(&Row) -> f64,
) -> Result<Option<&'static Mistake>, ProblemError> {
    let (mut right, mut most, mut size) = (Vec::with_capacity(dx.len()), 0.0f64, 0.0f64);
    for number in 0..problem.rows.count() {
        let row = Row::new(problem, number)?;
        let line = row.right();
        right.extend((0..problem.rows.values()).map(|i| row.at(&line, i)));
        (most, size) = (most.max(allowed(&row)), size.max(row.measure()));
    }
    Ok(is_permuted(dx, right, most, size).then_some(&ORDER))
}

/// Whether values are the right ones but for their order, each to within `most`; they are of this size.
pub(crate) fn is_permuted(given: &[f64], mut right: Vec<f64>, most: f64, size: f64) -> bool {
    // Of few values every set is near every other, and where much is allowed, sorting alone brings anything near.
    if given.len() < 4 || most > 1e-3 * size {
        return false;
    }
    let mut given = given.to_vec();
    given.sort_unstable_by(f64::total_cmp);
    right.sort_unstable_by(f64::total_cmp);
    given.iter().zip(&right).all(|(given, right)| (given - right).abs() <= most)
}
