//! Double-double arithmetic, the truth for `f64`: the library's.

pub use batchnorm::reference::number::DoubleDouble;

/// The values, widened.
pub fn widened<T: batchnorm::Element>(values: &[T]) -> Vec<DoubleDouble> {
    values.iter().map(|value| DoubleDouble::from(value.to_f64())).collect()
}
