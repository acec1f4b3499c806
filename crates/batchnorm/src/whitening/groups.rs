//! Channels in groups of neighbours.

use crate::options::error::ConfigError;
use batchnorm_kernel::passes::Machine;
use std::ops::Range;

/// What work on each group gives, which takes some d^3 operations for one of d channels.
pub(super) fn of_each_group<R: Send>(machine: &Machine, sizes: &[usize], work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let operations = sizes.iter().map(|d| d.saturating_pow(3)).fold(0, usize::saturating_add);
    machine.threads.map(operations, sizes.len(), work)
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
