//! The true value of an output, with what its error is measured by.

use std::collections::BTreeMap;

use batchnorm::gradcheck::DoubleDouble;

/// The true values of all outputs, by the output's name.
pub type Truths = BTreeMap<String, Truth>;

/// The true value of an output.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The output's shape.
    pub shape: Vec<usize>,
    /// Its elements; NaN where NaN is right.
    pub values: Vec<DoubleDouble>,
    /// The derivative of the formula where 0 is declared to be the gradient.
    pub alternative: Option<Vec<DoubleDouble>>,
    /// The output's shape, with length 1 on axes along which the scale is the same.
    pub scale_shape: Vec<usize>,
    /// Divisors of the errors; infinite where the output is not judged.
    pub scale: Vec<f64>,
}

/// The elements that are judged of an output too large to be stored: the first and last, and some between.
pub fn probes(count: usize) -> Vec<usize> {
    const PROBES: usize = 64;
    (0..PROBES).map(|i| i * (count - 1) / (PROBES - 1)).collect()
}

/// The shape with length 1 on every axis but one.
pub fn along(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(i, &length)| if i == axis { length } else { 1 }).collect()
}
