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
    if x.is_shaped_like(other) {
        return Ok(());
    }
    same_logical_shape(argument, &x.logical_shape(), other).map_err(|error| match error {
        // With another number of axes there is no order but the input's.
        CallError::Shape { argument, got, .. } if got.len() != x.shape.len() => {
            CallError::Shape { argument, expected: x.shape.clone(), got }
        }
        other => other,
    })
}

/// Errors unless an array has axes of these lengths, given as [`Layout::logical_shape`]. The error has them in the order of the array's
/// own axes, which is that of the caller.
pub(crate) fn same_logical_shape(
    argument: &'static str,
    expected: &[Vec<usize>; 2],
    array: &Layout,
) -> Result<(), CallError> {
    if *expected == array.logical_shape() {
        return Ok(());
    }
    let (got, channel_axes) = (array.shape.clone(), expected[1].len());
    let mut in_order = expected.concat();
    if in_order.len() == got.len() {
        if channel_axes != array.channel_axes.len() {
            let got = array.channel_axes.len();
            return Err(CallError::ChannelAxes { argument, expected: channel_axes, got, shape: array.shape.clone() });
        }
        array.logical_axes().zip(expected.iter().flatten()).for_each(|(axis, &length)| in_order[axis] = length);
    }
    Err(CallError::Shape { argument, expected: in_order, got })
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
    let (shape, axes) = (array.shape().to_vec(), array.channel_axes().to_vec());
    Err(CallError::Channels { argument, expected, got, shape, axes })
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
