//! Double-double arithmetic, the truth for `f64`: the library's, and its own test.

pub use batchnorm::gradcheck::DoubleDouble;
use batchnorm::reference::Real;

/// The values, widened.
pub fn widened<T: batchnorm::Element>(values: &[T]) -> Vec<DoubleDouble> {
    values.iter().map(|value| DoubleDouble::from(value.to_f64())).collect()
}

#[test]
fn double_double_knows_thirty_digits() {
    // sqrt(2)^2 - 2 and 1/3*3 - 1, and a sum that f64 loses.
    let two = DoubleDouble::from(2.0);
    assert!((two.sqrt() * two.sqrt() - two).to_f64().abs() < 1e-31);
    let third = DoubleDouble::from(1.0) / DoubleDouble::from(3.0);
    assert!((third * DoubleDouble::from(3.0) - DoubleDouble::from(1.0)).to_f64().abs() < 1e-31);
    let sum = DoubleDouble::from(1e16) + DoubleDouble::from(1e-10) - DoubleDouble::from(1e16);
    assert_eq!(sum.to_f64(), 1e-10);
}
