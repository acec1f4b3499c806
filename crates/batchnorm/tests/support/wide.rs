//! Double-double arithmetic, the truth for `f64`: the library's.

use batchnorm::Element;
pub use batchnorm::reference::number::DoubleDouble;
use std::borrow::Borrow;

pub fn wide(value: f64) -> DoubleDouble {
    DoubleDouble::from(value)
}

/// The values, widened.
pub fn widened<T: Element>(values: &[T]) -> Vec<DoubleDouble> {
    values.iter().map(|value| wide(value.to_f64())).collect()
}

/// The largest magnitude; NaN where there is one.
pub fn largest(values: impl IntoIterator<Item: Borrow<f64>>) -> f64 {
    let larger = |most: f64, value: f64| if most.is_nan() || value <= most { most } else { value };
    values.into_iter().fold(0.0, |most, value| larger(most, value.borrow().abs()))
}

/// The same of wide values.
pub fn largest_wide(values: &[DoubleDouble]) -> f64 {
    largest(values.iter().map(|value| value.to_f64()))
}
