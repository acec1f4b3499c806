//! Where the elements of an array lie, seen the way batch norm sees them: channels, and in each channel its values
//! in logical order.

use super::error::ViewError;
use super::geometry::Geometry;
use std::ops::Range;

/// What an axis of an array means to batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisRole {
    /// Samples of the batch; outermost in the logical order.
    Sample,
    /// Channels (features): each has its own statistics.
    Channel,
    /// Positions within a sample, such as height, width or time.
    Space,
}

/// Which axis holds the channels, or which axes do, and in which order the others are walked.
///
/// A channel's values are numbered through the sample axes first, then the space axes, each in the order of the
/// shape, the last one fastest. The order matters for nothing but the last bits of sums: two arrays with the same
/// logical order give the same bits, wherever their elements lie in memory.
///
/// ```
/// use batchnorm_kernel::{Axes, View};
/// let nchw = [1.0f32, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]; // 2 samples, 2 channels, 2 positions
/// let nhwc = [1.0f32, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]; // the same values in another order
/// let (first, last) = (View::new(&nchw, &[2, 2, 2], Axes::NCHW)?, View::new(&nhwc, &[2, 2, 2], Axes::NHWC)?);
/// assert_eq!((first.channel_axis(), last.channel_axis()), (1, 2));
/// assert_eq!((first.samples(), first.count()), (last.samples(), last.count()));
/// # Ok::<(), batchnorm_kernel::ViewError>(())
/// ```
///
/// Of several channel axes each combination of their indices is a channel, with statistics over all other axes. The channels are
/// numbered through the axes as they are listed, the last one fastest; gamma, beta and all statistics are flat, in that order.
/// (Flax' and tf.keras' `axis=(1, 3)` are always in the order of the shape: Flax keeps parameters and statistics as an array of
/// these axes, tf.keras puts axes of length 1 in place of the others. Either one, flattened row-major, is what belongs here for
/// axes that are listed ascending.) The results have the bits of the array that one would transpose to (others.., channels) and
/// reshape oneself; nothing is copied.
///
/// ```
/// use batchnorm_kernel::{Axes, View};
/// let x = [0.0f32; 8 * 3 * 5 * 4]; // samples, sensors, time, bands: statistics of each band of each sensor
/// let x = View::new(&x, &[8, 3, 5, 4], Axes::Channels(&[1, -1]))?;
/// assert_eq!((x.channel_axes(), x.channels(), x.count()), (&[1, 3][..], 3 * 4, 8 * 5)); // band 2 of sensor 1 is channel 1 * 4 + 2
/// # Ok::<(), batchnorm_kernel::ViewError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes<'r> {
    /// The channel axis by number; negative counts from the end. The first other axis is the samples.
    Channel(isize),
    /// Several channel axes by their numbers, at least one of them; negative ones count from the end. The first axis that is none
    /// of them is the samples.
    Channels(&'r [isize]),
    /// A role for every axis. Several channel axes count in the order of the shape.
    Roles(&'r [AxisRole]),
}

impl Axes<'_> {
    /// (samples, channels, ...): PyTorch, Burn, Candle, ONNX; also (samples, features).
    pub const NCHW: Axes<'static> = Axes::Channel(1);
    /// (samples, ..., channels): TensorFlow, Keras, Flax.
    pub const NHWC: Axes<'static> = Axes::Channel(-1);
    /// (rows, columns, channels, batch), as MATLAB's toolboxes order images.
    pub const MATLAB: Axes<'static> =
        Axes::Roles(&[AxisRole::Space, AxisRole::Space, AxisRole::Channel, AxisRole::Sample]);
}

/// The greatest number of channels: their statistics alone are gigabytes then.
pub const MAX_CHANNELS: usize = 1 << 28;
/// The greatest number of channels of an array without elements: its statistics should not dwarf it.
const MAX_EMPTY_CHANNELS: usize = 1 << 20;

/// Shape, strides and roles, checked once against the memory they describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Elements from one index of each axis to the next.
    pub strides: Vec<isize>,
    /// The channel axes, counted from the front: at least one, the one whose index changes fastest from channel to channel last.
    pub channel_axes: Vec<usize>,
    /// The other axes in logical order, outermost first.
    pub others: Vec<usize>,
    /// Number of these that are samples; the others are positions.
    pub samples: usize,
}

/// An array as rows of values: what is normalised together is a row. Axes by their place in the logical order, the
/// channel axes last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrangement {
    /// Axes that number the rows, outermost first.
    pub rows: Vec<usize>,
    /// Axes that number the values of a row, outermost first.
    pub values: Vec<usize>,
    /// Into how many groups the channels are cut, if no channel axis is one of the above: the groups are innermost in the rows,
    /// the channels of a group outermost in the values.
    pub groups: Option<usize>,
}

impl Layout {
    /// Resolves the roles of the axes, and checks shape and strides against each other.
    ///
    /// # Errors
    /// Rank below 2, another number of strides, more elements than can be addressed, roles or channel axes that do not fit the
    /// rank or leave no other axis, no channel or too many.
    pub fn new(shape: &[usize], strides: Vec<isize>, axes: Axes) -> Result<Layout, ViewError> {
        let rank = shape.len();
        if rank < 2 {
            return Err(ViewError::Rank { rank, shape: shape.to_vec() });
        }
        if strides.len() != rank {
            return Err(ViewError::StrideCount { rank, got: strides.len() });
        }
        elements(shape)?;
        let (channel_axes, others, samples) = resolve(axes, rank)?;
        if let Some(&axis) = channel_axes.iter().find(|&&axis| shape[axis] == 0) {
            return Err(ViewError::NoChannels { axis, shape: shape.to_vec() });
        }
        let channels = channel_axes.iter().map(|&axis| shape[axis]).product();
        let limit = if shape.contains(&0) { MAX_EMPTY_CHANNELS } else { MAX_CHANNELS };
        if channels > limit {
            return Err(ViewError::TooManyChannels { channels, limit, axes: channel_axes, shape: shape.to_vec() });
        }
        Ok(Layout { shape: shape.to_vec(), strides, channel_axes, others, samples })
    }

    /// The same array laid out densely in row-major (C) order, with the same roles.
    pub fn dense(&self) -> Layout {
        Layout { strides: row_major(&self.shape), ..self.clone() }
    }

    /// Some of an axis, and the offset of its first element.
    pub fn narrowed(&self, axis: usize, range: Range<usize>) -> (Layout, isize) {
        let mut narrow = self.clone();
        narrow.shape[axis] = range.len();
        (narrow, (range.start as isize).wrapping_mul(self.strides[axis]))
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channel_axes.iter().map(|&axis| self.shape[axis]).product()
    }

    /// All axes in logical order, the channel axes last.
    pub fn logical_axes(&self) -> impl Iterator<Item = usize> {
        self.others.iter().chain(&self.channel_axes).copied()
    }

    /// Place of an axis in the logical order.
    pub fn place(&self, axis: usize) -> usize {
        self.logical_axes().position(|other| other == axis).expect("an axis of the array")
    }

    /// Lengths in logical order, of the other axes and of the channel axes: what two arrays of one call must share.
    pub fn logical_shape(&self) -> [Vec<usize>; 2] {
        [&self.others, &self.channel_axes].map(|axes| axes.iter().map(|&axis| self.shape[axis]).collect())
    }

    /// Whether [`logical_shape`](Self::logical_shape) is another layout's.
    pub fn is_shaped_like(&self, other: &Layout) -> bool {
        self.others.len() == other.others.len()
            && self.logical_axes().map(|axis| self.shape[axis]).eq(other.logical_axes().map(|axis| other.shape[axis]))
    }

    /// Length and stride of an axis.
    fn step(&self, axis: usize) -> (usize, isize) {
        (self.shape[axis], self.strides[axis])
    }

    /// Lowest and highest element reached, relative to the first logical one; `None` for an empty array.
    fn span(&self) -> Option<(i128, i128)> {
        if self.is_empty() {
            return None;
        }
        let mut span = (0i128, 0i128);
        for (&length, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (length as i128 - 1) * stride as i128;
            if reach < 0 { span.0 += reach } else { span.1 += reach }
        }
        Some(span)
    }

    /// Errors unless every element, counted from `offset`, lies inside a buffer of `len` elements.
    pub fn check_bounds(&self, offset: usize, len: usize) -> Result<(), ViewError> {
        let Some((low, high)) = self.span() else { return Ok(()) };
        let (first, last) = (offset as i128 + low, offset as i128 + high);
        if first < 0 || last >= len as i128 {
            let (shape, strides) = (self.shape.clone(), self.strides.clone());
            return Err(ViewError::OutOfBounds { shape, strides, offset, first, last, got: len });
        }
        Ok(())
    }

    /// Errors unless each element surely has a place of its own: sorted by stride, each axis steps over all that
    /// the smaller ones reach.
    pub fn check_distinct(&self) -> Result<(), ViewError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut axes: Vec<(i128, i128)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(length, _)| **length > 1)
            .map(|(&length, &stride)| ((stride as i128).abs(), length as i128))
            .collect();
        axes.sort_unstable();
        let mut reach = 0;
        for (stride, length) in axes {
            if stride <= reach {
                return Err(ViewError::Aliasing { shape: self.shape.clone(), strides: self.strides.clone() });
            }
            reach += stride * (length - 1);
        }
        Ok(())
    }

    /// The layout as the loops see it.
    pub fn geometry(&self) -> Geometry {
        let [channels, values] =
            [&self.channel_axes, &self.others].map(|axes| axes.iter().map(|&axis| self.step(axis)));
        Geometry::new(channels, values)
    }

    /// Cuts the channels into groups of neighbours: the axes (length, stride) that number the groups, and those that number the
    /// channels of a group. `None` where a group is not made of whole axes and equal parts of one, wherever the elements lie.
    fn grouped(&self, groups: usize) -> Option<[Vec<(usize, isize)>; 2]> {
        let (mut of_groups, mut of_channels) = (Vec::new(), Vec::new());
        let mut left = groups;
        for &axis in &self.channel_axes {
            let (length, stride) = self.step(axis);
            // So many parts of this axis are of different groups: its single indices, as long as there are groups enough.
            let parts = left.min(length);
            if parts == 0 || !left.is_multiple_of(parts) || !length.is_multiple_of(parts) {
                return None;
            }
            left /= parts;
            let each = length / parts;
            of_groups.push((parts, stride.wrapping_mul(each as isize)));
            of_channels.push((each, stride));
        }
        (left == 1).then_some([of_groups, of_channels])
    }

    /// Whether the channels can be cut into groups of this number: evenly, and with several channel axes so that each group is
    /// made of whole axes and an equal part of one. Wherever the elements lie.
    pub fn has_groups(&self, groups: usize) -> bool {
        self.grouped(groups).is_some()
    }

    /// Length and stride of the axes that number the rows, but those of length 1, and of those that number the values.
    ///
    /// # Panics
    /// Unless the arrangement has every axis once, and cuts the channels evenly.
    fn sides(&self, Arrangement { rows, values, groups }: &Arrangement) -> [Vec<(usize, isize)>; 2] {
        let rank = self.shape.len();
        let channels = if groups.is_some() { self.others.len()..rank } else { 0..0 };
        let mut all: Vec<usize> = rows.iter().chain(values).copied().chain(channels).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..rank), "every axis once");
        let axes: Vec<usize> = self.logical_axes().collect();
        let of = |&place: &usize| self.step(axes[place]);
        let [mut of_rows, mut of_values] = [rows, values].map(|axes| axes.iter().map(of).collect::<Vec<_>>());
        if let &Some(groups) = groups {
            let [of_groups, of_channels] = self.grouped(groups).expect("groups of one size");
            of_rows.extend(of_groups);
            of_values.splice(0..0, of_channels);
        }
        of_rows.retain(|axis| axis.0 != 1);
        [of_rows, of_values]
    }

    /// Number of axes of the rows, from the innermost one outwards, that step as one in each of some arrays of one shape.
    pub fn joined<const N: usize>(layouts: [&Layout; N], arrangement: &Arrangement) -> usize {
        let joined = |layout: &Layout| {
            let [rows, _] = layout.sides(arrangement);
            let steps = |pair: &[(usize, isize)]| pair[0].1 == pair[1].1.wrapping_mul(pair[1].0 as isize);
            let pairs = rows.windows(2).rev().take_while(|pair| steps(pair)).count();
            if rows.is_empty() { 0 } else { pairs + 1 }
        };
        layouts.map(joined).into_iter().min().unwrap_or(0)
    }

    /// The array in parts, each with some of the rows for channels, as many as the innermost `joined` axes of the rows
    /// number: from the first element to that of each part, and what all parts look like. All parts together have
    /// every element once. For arrays with elements.
    pub fn parts(&self, arrangement: &Arrangement, joined: usize) -> (Vec<isize>, Geometry) {
        assert!(!self.is_empty());
        let [rows, values] = self.sides(arrangement);
        let (outer, inner) = rows.split_at(rows.len() - joined);
        let one_step = inner.windows(2).all(|pair| pair[0].1 == pair[1].1.wrapping_mul(pair[1].0 as isize));
        assert!(one_step, "joined in this array");
        let mut offsets = vec![0];
        for &(length, stride) in outer {
            let steps = |&offset: &isize| (0..length).map(move |at| offset + at as isize * stride);
            offsets = offsets.iter().flat_map(steps).collect();
        }
        (offsets, Geometry::new(inner.iter().copied(), values.into_iter()))
    }
}

/// Strides of a dense array, last axis fastest.
pub fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1isize;
    for (stride, &length) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.wrapping_mul(length as isize);
    }
    strides
}

/// Strides of a dense array, first axis fastest.
pub(crate) fn column_major(shape: &[usize]) -> Vec<isize> {
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    row_major(&reversed).into_iter().rev().collect()
}

/// The number of elements of a shape, if it can be addressed (zero lengths do not excuse an absurd shape).
pub fn elements(shape: &[usize]) -> Result<usize, ViewError> {
    // Half of the address space, for the widest element.
    let limit = isize::MAX as usize / 8;
    let overflow = || ViewError::Overflow { shape: shape.to_vec(), limit };
    let nonzero = shape
        .iter()
        .filter(|&&length| length > 0)
        .try_fold(1usize, |product, &length| product.checked_mul(length))
        .filter(|&product| product <= limit)
        .ok_or_else(overflow)?;
    Ok(if shape.contains(&0) { 0 } else { nonzero })
}

/// The channel axes, the others, and how many of those are samples.
fn resolve(axes: Axes, rank: usize) -> Result<(Vec<usize>, Vec<usize>, usize), ViewError> {
    let (channels, others, samples) = match axes {
        Axes::Channel(axis) => by_number(&[axis], rank)?,
        Axes::Channels(axes) => by_number(axes, rank)?,
        Axes::Roles(roles) => {
            let with = |role| (0..roles.len()).filter(move |&axis| roles[axis] == role);
            let channels: Vec<usize> = with(AxisRole::Channel).collect();
            if channels.is_empty() || roles.len() != rank {
                return Err(ViewError::Roles { rank, given: roles.len(), channels: channels.len() });
            }
            let others = with(AxisRole::Sample).chain(with(AxisRole::Space)).collect();
            (channels, others, with(AxisRole::Sample).count())
        }
    };
    if others.is_empty() { Err(ViewError::NothingTogether { rank }) } else { Ok((channels, others, samples)) }
}

/// The same, of channel axes by their numbers.
fn by_number(axes: &[isize], rank: usize) -> Result<(Vec<usize>, Vec<usize>, usize), ViewError> {
    let mut channels = Vec::with_capacity(axes.len());
    for &axis in axes {
        let counted = if axis < 0 { axis.checked_add(rank as isize) } else { Some(axis) };
        let counted = counted.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
        let channel = counted.ok_or(ViewError::ChannelAxis { axis, rank })?;
        if channels.contains(&channel) {
            return Err(ViewError::RepeatedChannelAxis { axis: channel, given: axes.to_vec() });
        }
        channels.push(channel);
    }
    if channels.is_empty() {
        return Err(ViewError::NoChannelAxis { rank });
    }
    let others = (0..rank).filter(|axis| !channels.contains(axis)).collect();
    Ok((channels, others, 1))
}
