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

/// The right values of dgamma or dbeta in another order.
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
    let (mut right, mut largest_allowed, mut size) = (Vec::with_capacity(dx.len()), 0.0f64, 0.0f64);
    for number in 0..problem.rows.count() {
        let row = Row::new(problem, number)?;
        right.extend(row.right_values());
        (largest_allowed, size) = (largest_allowed.max(allowed(&row)), size.max(row.measure()));
    }
    Ok(is_permuted(dx, right, largest_allowed, size).then_some(&ORDER))
}

/// Whether values are the right ones but for their order, each to within what is allowed; they are of this size.
pub(crate) fn is_permuted(given: &[f64], mut right: Vec<f64>, allowed: f64, size: f64) -> bool {
    // Of few values every set is near every other; and a wide tolerance, with both sorted, fits any set.
    if given.len() < 4 || allowed > 1e-3 * size {
        return false;
    }
    let mut given = given.to_vec();
    given.sort_unstable_by(f64::total_cmp);
    right.sort_unstable_by(f64::total_cmp);
    given.iter().zip(&right).all(|(given, right)| (given - right).abs() <= allowed)
}
