//! Weights and masks of values, out of tensors.

use burn::tensor::{Bool, DType, Tensor};

use crate::error::Reason;
use crate::pass::WeightValues;

/// Weights of values, as the caller gave them.
#[derive(Debug, Clone)]
pub(crate) enum WeightTensor<const D: usize> {
    Weights(Tensor<D>),
    /// True where a value counts.
    Mask(Tensor<D, Bool>),
}

impl<const D: usize> WeightTensor<D> {
    /// Reads the weights from their device; `expected` is the number type of the input.
    pub fn read(self, expected: DType) -> Result<WeightValues, Reason> {
        let (values, shape) = match self {
            WeightTensor::Weights(weights) => {
                let (got, shape) = (weights.dtype(), weights.dims());
                if got != expected {
                    return Err(Reason::WeightsType { expected, got });
                }
                (weights.into_data().iter::<f64>().collect(), shape)
            }
            WeightTensor::Mask(counts) => {
                let shape = counts.dims();
                (counts.into_data().iter::<bool>().map(|counts| f64::from(u8::from(counts))).collect(), shape)
            }
        };
        let weights = WeightValues { values, shape: shape.to_vec() };
        weights.check()?;
        Ok(weights)
    }
}
