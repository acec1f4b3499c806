//! Double-double numbers by short names, for formulas.

use batchnorm::reference::Real;
use batchnorm_reference::number::DoubleDouble;

use crate::kinds::Element;

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

/// Whether a rectifier lets z through, of values of which `most` is the largest.
///
/// # Panics
/// Of a z that is about 0 by chance: rounding would decide its gradient, in whatever arithmetic it is computed.
pub fn is_open(z: &D, most: f64, element: Element) -> bool {
    let z = z.to_f64();
    let clear = z == 0.0 || z.abs() > 1e-9 * most && element.round(z) != 0.0;
    assert!(clear, "no telling which side of 0 the input of the rectifier is on: {z:e}");
    z > 0.0
}
