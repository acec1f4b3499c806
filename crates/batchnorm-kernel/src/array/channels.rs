//! Some channels, copied out of an array and back.

use super::grid::Grid;
use super::memory::{Readable, Writable};
use crate::machine::Machine;

/// Values of a channel that are copied at a time.
const CHUNK_VALUES: usize = 1024;

/// Copies some channels of an array to an array of those alone, a row for each.
pub fn take_channels<T: Copy + Send + Sync>(
    machine: &Machine,
    from: &Readable<T>,
    channels: &[usize],
    into: &mut Writable<T>,
) {
    let count = into.geometry().count;
    let grid = Grid { channels: channels.len(), block: channels.len(), count, range: CHUNK_VALUES };
    let crew = machine.crew(channels.len() * count);
    Writable::for_each_cell(
        &mut [into],
        grid,
        crew,
        || (),
        |(), rows, range, [cell]| {
            for (row, &channel) in cell.runs(rows, range.start, range.len()).zip(channels) {
                from.gather_block(channel..channel + 1, range.clone(), row, range.len());
            }
        },
    );
}

/// The way back: each row of an array to its channel.
pub fn put_channels<T: Copy + Send + Sync>(
    machine: &Machine,
    from: &Readable<T>,
    channels: &[usize],
    into: &mut Writable<T>,
) {
    let (all, count) = (into.geometry().channels, into.geometry().count);
    let grid = Grid { channels: all, block: all, count, range: CHUNK_VALUES };
    let crew = machine.crew(channels.len() * count);
    Writable::for_each_cell(
        &mut [into],
        grid,
        crew,
        || (),
        |(), _, range, [cell]| {
            for (row, &channel) in from.runs(0..channels.len(), range.start, range.len()).zip(channels) {
                cell.scatter(channel, range.clone(), row);
            }
        },
    );
}
