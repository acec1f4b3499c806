//! Whether the arguments of a call fit each other.

use crate::call_error::CallError;
use batchnorm_kernel::passes::Layout;

pub(crate) fn same_length(argument: &'static str, expected: usize, got: usize) -> Result<(), CallError> {
    if expected == got { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
}

pub(crate) fn same_shape(argument: &'static str, x: &Layout, other: &Layout) -> Result<(), CallError> {
    let (expected, got) = (x.logical_shape(), other.logical_shape());
    if expected == got { Ok(()) } else { Err(CallError::Shape { argument, expected, got }) }
}
