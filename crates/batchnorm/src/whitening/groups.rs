//! Channels in groups of neighbours.

use crate::options::error::ConfigError;
use batchnorm_kernel::threads;
use std::ops::Range;

/// Number of threads for work that takes some d^3 operations for each group of d channels.
pub(super) fn threads_for_groups(sizes: &[usize]) -> usize {
    threads::threads_for(sizes.iter().map(|d| d.saturating_pow(3)).fold(0, usize::saturating_add))
}

/// The channels of each group: `group` of them, the last one what is left.
pub(super) fn groups(channels: usize, group: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..channels.div_ceil(group)).map(move |number| number * group..((number + 1) * group).min(channels))
}

/// The greatest number of channels of a group: its matrix takes 128 MB, and its eigenvalues hours.
pub(super) const MAX_GROUP: usize = 4096;

/// The number of channels of a group, cut to `channels`; errors for none or too many.
pub(super) fn checked_group(channels: usize, group: usize) -> Result<usize, ConfigError> {
    match group.min(channels) {
        0 => Err(ConfigError::Zero { argument: "group" }),
        got if got > MAX_GROUP => Err(ConfigError::LargeGroup { got, limit: MAX_GROUP }),
        fits => Ok(fits),
    }
}
