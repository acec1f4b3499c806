//! Checks that the arguments of a call fit each other.

use crate::call_error::CallError;
use batchnorm_kernel::passes::Layout;
use batchnorm_kernel::{Element, View};

/// Errors unless a vector has one value for each channel.
pub(crate) fn same_length(argument: &'static str, expected: usize, got: usize) -> Result<(), CallError> {
    if expected == got { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
}

/// Errors unless an array has the input's axes, compared in their logical order.
pub(crate) fn same_shape(argument: &'static str, x: &Layout, other: &Layout) -> Result<(), CallError> {
    let (expected, got) = (x.logical_shape(), other.logical_shape());
    if expected == got { Ok(()) } else { Err(CallError::Shape { argument, expected, got }) }
}

/// Errors unless an array has the layer's number of channels, or the forward pass's.
pub(crate) fn same_channels<T: Element>(
    argument: &'static str,
    expected: usize,
    array: &View<T>,
) -> Result<(), CallError> {
    let got = array.channels();
    if expected == got {
        return Ok(());
    }
    let (shape, axis) = (array.shape().to_vec(), array.channel_axis());
    Err(CallError::Channels { argument, expected, got, shape, axis })
}

/// Errors unless an array has the channels of the forward pass, and as many values in each.
pub(crate) fn same_batch<T: Element>(
    argument: &'static str,
    channels: usize,
    count: u64,
    array: &View<T>,
) -> Result<(), CallError> {
    same_channels(argument, channels, array)?;
    let (expected, got) = (count, array.count() as u64);
    if expected == got { Ok(()) } else { Err(CallError::OtherBatch { argument, expected, got }) }
}
