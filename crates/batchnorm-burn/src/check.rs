//! Checks of inputs that all layers share.

use batchnorm::{CallError, ViewError};
use burn::tensor::{DType, Tensor};

use crate::error::Reason;

/// Checks that an input has a channel axis, of the expected number of channels.
pub(crate) fn check_channels<const D: usize>(input: &Tensor<D>, expected: usize) -> Result<(), Reason> {
    let shape = input.dims().to_vec();
    match shape.get(1) {
        None => Err(ViewError::Rank { rank: D, shape }.into()),
        Some(&got) if got != expected => {
            Err(CallError::Channels { argument: "input", expected, got, shape, axes: vec![1] }.into())
        }
        Some(_) => Ok(()),
    }
}

/// The number type to compute in for a tensor of type `got`.
pub(crate) fn computed_in(argument: &'static str, got: DType) -> Result<DType, Reason> {
    match got {
        DType::F64 => Ok(DType::F64),
        DType::F32 | DType::F16 | DType::BF16 => Ok(DType::F32),
        _ => Err(Reason::Type { argument, got }),
    }
}
