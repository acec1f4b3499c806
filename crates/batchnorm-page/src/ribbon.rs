//! Bands from a lower to an upper bound, place by place.

use crate::area::{Fill, Step};

/// A band over the places of an axis, each with bounds of its own: channels, layers.
///
/// It is drawn in steps, for between two channels there is nothing. Where a bound is not a number it has a gap; one that
/// is infinite goes to the edge of the chart.
///
/// ```
/// use batchnorm_page::{Fill, Ribbon};
///
/// let stored = Ribbon::new("stored", 1, Fill::Plain, [(-1.0, 1.0), (0.0, 2.0)]);
/// assert_eq!(stored.bounds, [(1.0, -1.0, 1.0), (2.0, 0.0, 2.0)]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ribbon {
    /// Its name in the chart's key.
    pub name: String,
    /// Number of its colour among the page's.
    pub colour: usize,
    /// Number of its outline's dash pattern among the page's.
    pub dash: usize,
    /// What fills it.
    pub fill: Fill,
    /// A place across, with the lower and the upper bound there; from left to right.
    pub bounds: Vec<(f64, f64, f64)>,
}

impl Ribbon {
    /// Lower and upper bounds at 1, 2, 3, ..., which [`Axis::index`](crate::Axis::index) shows. Plain ribbons have a solid outline, hatched ones a dashed one.
    pub fn new(name: &str, colour: usize, fill: Fill, bounds: impl IntoIterator<Item = (f64, f64)>) -> Ribbon {
        let bounds = bounds.into_iter().enumerate().map(|(at, (low, high))| ((at + 1) as f64, low, high));
        Ribbon { name: name.to_owned(), colour, dash: fill.dash(), fill, bounds: bounds.collect() }
    }
}

/// The steps of a ribbon, in parts between its gaps; `place` gives a point in the chart's units.
pub fn parts(bounds: &[(f64, f64, f64)], place: impl Fn(f64, f64) -> (f64, f64)) -> Vec<Vec<Step>> {
    let steps = steps(bounds, place);
    let parts = steps.split(Option::is_none).map(|part| {
        let mut merged: Vec<Step> = Vec::new();
        for step in part.iter().flatten() {
            match merged.last_mut() {
                // What is narrower than a unit goes from the lowest to the highest in it: nothing is smoothed away.
                Some(last) if step.right - last.left < 1.0 => {
                    last.right = step.right;
                    last.top = last.top.min(step.top);
                    last.bottom = last.bottom.max(step.bottom);
                }
                _ => merged.push(*step),
            }
        }
        merged
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// A step for each place, to half the way to its neighbours; none where a bound is not a number.
fn steps(bounds: &[(f64, f64, f64)], place: impl Fn(f64, f64) -> (f64, f64)) -> Vec<Option<Step>> {
    let half_way = |at: usize| match (bounds.get(at), bounds.get(at + 1)) {
        (Some((x, ..)), Some((next, ..))) => Some((next - x) / 2.0),
        _ => None,
    };
    let step = |(at, &(x, one, other)): (usize, &(f64, f64, f64))| {
        let (before, after) = (at.checked_sub(1).and_then(half_way), half_way(at));
        let (before, after) = (before.or(after).unwrap_or(0.5), after.or(before).unwrap_or(0.5));
        let (left, low) = place(x - before, one.min(other));
        let (right, high) = place(x + after, one.max(other));
        let known = !one.is_nan() && !other.is_nan() && x.is_finite();
        known.then_some(Step { left, right, top: high, bottom: low })
    };
    bounds.iter().enumerate().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flipped(x: f64, y: f64) -> (f64, f64) {
        (x, -y)
    }

    #[test]
    fn each_place_has_its_step_and_gaps_stay_open() {
        let step = |left, right, bottom: f64, top: f64| Step { left, right, top: -top, bottom: -bottom };
        let ribbon = Ribbon::new("", 0, Fill::Plain, [(0.0, 1.0), (3.0, 2.0), (f64::NAN, 1.0), (0.0, 0.5)]);
        assert_eq!(
            parts(&ribbon.bounds, flipped),
            [vec![step(0.5, 1.5, 0.0, 1.0), step(1.5, 2.5, 2.0, 3.0)], vec![step(3.5, 4.5, 0.0, 0.5)]]
        );
        assert_eq!(parts(&[(1.0, 2.0, 3.0)], flipped), [[step(0.5, 1.5, 2.0, 3.0)]]);
        assert!(parts(&[], flipped).is_empty() && parts(&[(1.0, f64::NAN, 3.0)], flipped).is_empty());
    }

    #[test]
    fn what_is_narrower_than_a_unit_keeps_its_extremes() {
        let bounds: Vec<(f64, f64, f64)> =
            (0..1000).map(|at| (f64::from(at), if at == 500 { -9.0 } else { 0.0 }, 1.0)).collect();
        let parts = parts(&bounds, |x, y| (x / 10.0, -y));
        assert_eq!(parts.len(), 1);
        assert!(parts[0].len() <= 120 && parts[0].iter().any(|step| step.bottom == 9.0), "{parts:?}");
        assert!(parts[0].windows(2).all(|pair| pair[0].right == pair[1].left));
    }
}
