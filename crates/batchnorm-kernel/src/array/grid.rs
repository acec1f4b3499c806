//! Work on an array, cut into cells.

use std::ops::Range;

/// An output cut into cells: blocks of channels times ranges of logical indices. Cells are numbered with the
/// channel block fastest.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub channels: usize,
    pub block: usize,
    pub count: usize,
    pub range: usize,
}

impl Grid {
    pub fn cells(&self) -> usize {
        self.channels.div_ceil(self.block) * self.count.div_ceil(self.range)
    }

    pub fn cell(&self, number: usize) -> (Range<usize>, Range<usize>) {
        let blocks = self.channels.div_ceil(self.block);
        let (channel, start) = (number % blocks * self.block, number / blocks * self.range);
        (channel..(channel + self.block).min(self.channels), start..(start + self.range).min(self.count))
    }
}

/// True where some channels and logical indices are part of others.
pub(crate) fn within(
    (all, whole): &(Range<usize>, Range<usize>),
    channels: &Range<usize>,
    range: &Range<usize>,
) -> bool {
    all.start <= channels.start && channels.end <= all.end && whole.start <= range.start && range.end <= whole.end
}
