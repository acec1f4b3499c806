//! Published figures beside those found.

use serde::{Deserialize, Serialize};

use super::question::{Cell, Published};
use crate::look::ACCURACY;
use crate::summary::Spread;
use crate::trial::Trial;

/// How far outside the range over our seeds a published figure may be and still count as near: most were taken with one seed.
pub const WIDENED: f64 = 0.01;

/// A published figure beside the one found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// The published one.
    pub published: Published,
    /// What was found, over the cells that have it.
    pub found: Option<Spread>,
    /// Cells that it was found in.
    pub cells: usize,
    /// Cells of the arm.
    pub of: usize,
    /// The published figure is in the range found, widened by a point on both sides.
    pub inside: bool,
}

pub(super) fn near(published: &Published, cells: &[Cell]) -> Near {
    let at = |trial: &Trial| match (&published.what, published.step) {
        (None, Some(step)) => trial.curve.iter().find(|point| point.step == step).map(|point| point.accuracy),
        (what, _) => trial.figure(what.as_deref().unwrap_or(ACCURACY)),
    };
    let of_arm = || cells.iter().filter(|cell| cell.arm == published.arm);
    let values: Vec<f64> = of_arm().filter_map(|cell| at(&cell.trial)).collect();
    let found = Spread::of(&values);
    // (Half a unit of the third digit, to which they are published.)
    let widened = WIDENED + 0.0005;
    let inside =
        found.is_some_and(|found| (found.least - widened..=found.greatest + widened).contains(&published.value));
    Near { published: published.clone(), found, cells: values.len(), of: of_arm().count(), inside }
}
