//! Limits on the numbers that a layer is given.

use crate::options::error::ConfigError;
use batchnorm_kernel::{MAX_CHANNELS, Parameter};

/// Errors unless a layer may have so many channels.
pub(crate) fn check_channels(channels: usize) -> Result<(), ConfigError> {
    if (1..=MAX_CHANNELS).contains(&channels) { Ok(()) } else { Err(ConfigError::Channels { got: channels }) }
}

/// The values in `f64`, if there are `expected` and all are finite.
pub(crate) fn finite_values<P: Parameter>(
    argument: &'static str,
    values: &[P],
    expected: usize,
) -> Result<Vec<f64>, ConfigError> {
    if values.len() != expected {
        return Err(ConfigError::Length { argument, expected, got: values.len() });
    }
    let values: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(channel) => Err(ConfigError::NotFinite { argument, channel, got: values[channel] }),
        None => Ok(values),
    }
}
