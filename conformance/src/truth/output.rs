//! The true value of an output, with what its error is measured by.

use std::collections::BTreeMap;

use batchnorm::gradcheck::DoubleDouble;

/// What is true of a problem, by the output's name.
pub type Truths = BTreeMap<String, Truth>;

/// What is true of an output.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The output's shape.
    pub shape: Vec<usize>,
    /// Its values; NaN where it is NaN.
    pub values: Vec<DoubleDouble>,
    /// The derivative of the formula where 0 is declared to be the gradient.
    pub alternative: Option<Vec<DoubleDouble>>,
    /// The output's shape, with 1 where the scale is the same along an axis.
    pub scale_shape: Vec<usize>,
    /// What errors are measured by; infinite where the output is not judged.
    pub scale: Vec<f64>,
}

/// The places of an output that is too large to be expected everywhere: its first and last elements, and some between.
pub fn probes(count: usize) -> Vec<usize> {
    const PROBES: usize = 64;
    (0..PROBES).map(|i| i * (count - 1) / (PROBES - 1)).collect()
}

/// The shape with 1 on every axis but one.
pub fn along(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(i, &length)| if i == axis { length } else { 1 }).collect()
}
