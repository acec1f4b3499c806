//! Double-double numbers by short names, for formulas.

use batchnorm::gradcheck::DoubleDouble;
use batchnorm::reference::Real;

/// About 32 digits.
pub type D = DoubleDouble;

pub fn d(value: f64) -> D {
    DoubleDouble::constant(value)
}

pub fn wide(values: &[f64]) -> Vec<D> {
    values.iter().map(|&value| d(value)).collect()
}

pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, value| most.max(value.abs()))
}
