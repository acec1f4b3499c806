//! A layout as the loops see it: for each channel its values in logical order, in runs.

use std::ops::Range;

/// Runs of at least this many adjacent values are taken as runs.
pub const MIN_RUN: usize = 16;

/// A layout as the kernels see it: axes that nest are one, axes of length one are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Number of channels.
    pub channels: usize,
    /// Elements from a channel to the next of its neighbours.
    pub channel_stride: isize,
    /// Channels at that distance from each other, from every multiple of this number on: a divisor of the channels. It is all of
    /// them, but where several channel axes do not nest.
    pub neighbours: usize,
    /// (length, stride) of the channel axes around the neighbours, outermost first: nearly always none.
    pub(crate) outer_channels: Vec<(usize, isize)>,
    /// Values a channel.
    pub count: usize,
    /// (length, stride) in logical order, innermost last; never empty.
    pub(crate) axes: Vec<(usize, isize)>,
}

impl Geometry {
    /// Of channel axes, outermost first, and of the axes of a channel's values, in logical order: (length, stride) each.
    pub(crate) fn new(
        channel_axes: impl Iterator<Item = (usize, isize)>,
        value_axes: impl Iterator<Item = (usize, isize)>,
    ) -> Geometry {
        let (outer_channels, (neighbours, channel_stride)) = nested(channel_axes);
        let (mut axes, inner) = nested(value_axes);
        axes.push(inner);
        let (channels, count) = (lengths(&outer_channels) * neighbours, lengths(&axes));
        Geometry { channels, channel_stride, neighbours, outer_channels, count, axes }
    }

    /// From the first value of channel 0 to that of another one.
    #[inline(always)]
    pub fn channel_offset(&self, channel: usize) -> isize {
        if self.outer_channels.is_empty() {
            channel as isize * self.channel_stride
        } else {
            self.offset_by_axes(channel)
        }
    }

    /// The same where channel axes do not nest: the index along each, times its stride.
    #[cold]
    fn offset_by_axes(&self, channel: usize) -> isize {
        let mut offset = (channel % self.neighbours) as isize * self.channel_stride;
        let mut rest = channel / self.neighbours;
        for &(length, stride) in self.outer_channels.iter().rev() {
            offset += (rest % length) as isize * stride;
            rest /= length;
        }
        offset
    }

    /// Length and stride of the innermost axis: a channel's values come in runs of this kind.
    pub fn inner(&self) -> (usize, isize) {
        self.axes[self.axes.len() - 1]
    }

    /// Number of values that lie on one innermost axis from a logical index on; the same for all channels.
    pub fn left(&self, index: usize) -> usize {
        self.locate(index).1
    }

    /// Offset of a logical index in channel 0, from where on `len` values lie side by side in each of some channels.
    ///
    /// # Panics
    /// Unless there are these channels, neighbours of each other, and from there on so many values in each, side by side.
    pub fn side_by_side(&self, channels: &Range<usize>, index: usize, len: usize) -> isize {
        let (offset, left) = self.locate(index);
        assert!(channels.end <= self.channels && index < self.count && len <= left && self.inner().1 == 1);
        assert!(are_neighbours(channels, self.neighbours));
        offset
    }

    /// The runs of each channel in a range of logical indices.
    #[inline(always)]
    pub fn runs(&self, range: Range<usize>) -> Runs<'_> {
        Runs { geometry: self, range, next: None }
    }

    /// True where a channel's values come in runs long enough to be taken side by side.
    pub(crate) fn in_runs(&self) -> bool {
        let (length, stride) = self.inner();
        stride == 1 && (length >= MIN_RUN || self.count == length)
    }

    /// True where the values of another layout come in runs of the same lengths.
    pub(crate) fn has_runs_of(&self, other: &Geometry) -> bool {
        self.axes.len() == other.axes.len() && self.axes.iter().zip(&other.axes).skip(1).all(|(a, b)| a.0 == b.0)
    }

    /// From a run to the next one of its channel.
    pub fn next_run(&self) -> Option<isize> {
        self.axes.len().checked_sub(2).map(|axis| self.axes[axis].1)
    }

    /// True where the array is a dense table with one row of all channels for each logical index.
    pub fn is_dense_rows(&self) -> bool {
        (self.channels == 1 || self.channel_stride == 1 && self.neighbours == self.channels)
            && self.axes.len() == 1
            && (self.count <= 1 || self.axes[0].1 == self.channels as isize)
    }

    /// Where the planes of all channels follow each other, sample after sample: the same elements as rows, one for each sample, in
    /// which a channel of its own is each place in the plane of a channel.
    pub(crate) fn planes_as_rows(&self) -> Option<Geometry> {
        let (plane, stride) = self.inner();
        let width = self.channels * plane;
        let samples = match self.axes[..] {
            [_] => 1,
            [(samples, stride), _] if stride == width as isize => samples,
            _ => return None,
        };
        let all = self.channels > 1 && self.neighbours == self.channels;
        let dense = all && stride == 1 && self.channel_stride == plane as isize;
        dense.then(|| Geometry::new([(width, 1)].into_iter(), [(samples, width as isize)].into_iter()))
    }

    /// Offset of a logical index in channel 0, and how many values from there on lie on the same innermost axis.
    pub fn locate(&self, index: usize) -> (isize, usize) {
        let mut offset = 0;
        let mut rest = index;
        let mut left = 0;
        for (position, &(length, stride)) in self.axes.iter().enumerate().rev() {
            // The outermost axis takes what is left: no division where there is one axis.
            let at = if position == 0 { rest } else { rest % length };
            rest = if position == 0 { 0 } else { rest / length };
            offset += at as isize * stride;
            if position + 1 == self.axes.len() {
                left = length - at;
            }
        }
        (offset, left)
    }
}

/// True where some channels are neighbours of each other, in arrays where each `neighbours` of them are.
#[inline(always)]
pub(crate) fn are_neighbours(channels: &Range<usize>, neighbours: usize) -> bool {
    channels.end <= neighbours || is_in_one(channels, neighbours)
}

/// True where some channels lie between two multiples of `neighbours`.
#[cold]
fn is_in_one(channels: &Range<usize>, neighbours: usize) -> bool {
    channels.len() <= neighbours - channels.start % neighbours
}

/// The parts of some channels that are neighbours of each other, where each `neighbours` of them are.
pub(crate) fn in_neighbourhoods(channels: Range<usize>, neighbours: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = channels.start;
    std::iter::from_fn(move || {
        let part = start..channels.end.min((start / neighbours + 1) * neighbours);
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}

/// Values of a plane, where those of all channels follow each other, alike in all of some arrays of one shape
/// ([`Geometry::planes_as_rows`]).
pub(crate) fn plane_in_rows<'g>(arrays: impl IntoIterator<Item = &'g Geometry>) -> Option<usize> {
    let mut planes = arrays.into_iter().map(|array| Some(array.planes_as_rows()?.channels / array.channels));
    let first = planes.next()??;
    planes.all(|plane| plane == Some(first)).then_some(first)
}

/// The runs of a geometry in a range of logical indices.
#[derive(Debug, Clone)]
pub struct Runs<'g> {
    geometry: &'g Geometry,
    range: Range<usize>,
    /// Offset of the next run, where it is known without a division.
    next: Option<isize>,
}

impl Iterator for Runs<'_> {
    /// Offset in channel 0, and how many values lie on one innermost axis from there.
    type Item = (isize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(isize, usize)> {
        if self.range.is_empty() {
            return None;
        }
        let (length, stride) = self.geometry.inner();
        let located = || self.geometry.locate(self.range.start);
        let (offset, left) = self.next.map_or_else(located, |offset| (offset, length));
        let len = left.min(self.range.len());
        self.range.start += len;
        if let [(_, outer), _] = self.geometry.axes[..] {
            self.next = Some(offset - (length - left) as isize * stride + outer);
        }
        Some((offset, len))
    }
}

/// Number of elements of some axes (length, stride).
fn lengths(axes: &[(usize, isize)]) -> usize {
    axes.iter().map(|axis| axis.0).product()
}

/// Axes (length, stride), outermost first, as the kernels want them: those of length 1 are gone, those that nest are one. The
/// innermost one apart.
fn nested(all: impl Iterator<Item = (usize, isize)>) -> (Vec<(usize, isize)>, (usize, isize)) {
    let (mut around, mut inner) = (Vec::new(), None);
    for (length, stride) in all.filter(|axis| axis.0 != 1) {
        inner = match inner {
            // The outer axis steps exactly over this one: walk the two as one.
            Some((outer, step)) if length > 0 && step == stride.wrapping_mul(length as isize) => {
                Some((outer * length, stride))
            }
            outer => {
                around.extend(outer);
                Some((length, stride))
            }
        };
    }
    (around, inner.unwrap_or((1, 1)))
}
