//! Errors of views: memory that cannot be what it is said to be.

use thiserror::Error;

/// A memory layout that cannot be the view of an array with a channel axis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// Fewer than two axes.
    #[error(
        "shape: expected at least 2 axes (samples and channels), got {rank} (shape {shape:?}); add an axis of length 1"
    )]
    Rank {
        /// Number of axes given.
        rank: usize,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// The channel axis lies outside the shape.
    #[error("channel_axis: expected {}..={} for {rank} axes, got {axis}", -(*rank as isize), *rank as isize - 1)]
    ChannelAxis {
        /// Axis given; negative counts from the end.
        axis: isize,
        /// Number of axes.
        rank: usize,
    },
    /// A channel axis that is named twice.
    #[error(
        "channel_axes: expected each axis once, got {given:?}, in which axis {axis} stands twice; leave one of them out"
    )]
    RepeatedChannelAxis {
        /// The axis, counted from the front.
        axis: usize,
        /// Axes given; negative ones count from the end.
        given: Vec<isize>,
    },
    /// An empty list of channel axes.
    #[error(
        "channel_axes: expected at least 1 of {rank} axes, got none; name one, or give the array an axis of length 1 for it"
    )]
    NoChannelAxis {
        /// Number of axes.
        rank: usize,
    },
    /// Every axis is a channel axis: each value would be a channel of its own.
    #[error(
        "channel_axes: expected an axis beside them to take statistics over, but all {rank} axes hold channels; leave one out, or add an axis of length 1 for the samples"
    )]
    NothingTogether {
        /// Number of axes.
        rank: usize,
    },
    /// Not one role for each axis, or no channel axis.
    #[error(
        "roles: expected {rank} roles with at least one Channel, got {given} roles with {channels}; name each axis of the shape once"
    )]
    Roles {
        /// Number of axes.
        rank: usize,
        /// Number of roles given.
        given: usize,
        /// How many of them were `Channel`.
        channels: usize,
    },
    /// A channel axis of length zero.
    #[error("shape: axis {axis} holds channels and must have at least 1, got 0 in shape {shape:?}")]
    NoChannels {
        /// The channel axis, or the first of several that has length 0.
        axis: usize,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// More channels than a layer may have, or than an array without elements may.
    #[error(
        "shape: expected at most {limit} channels ({}) here, got {channels} in shape {shape:?}; {}",
        channel_axes(axes),
        right_axes(axes)
    )]
    TooManyChannels {
        /// Number of channels.
        channels: usize,
        /// How many there may be: fewer for an array without elements, whose statistics would be larger than it.
        limit: usize,
        /// The channel axes.
        axes: Vec<usize>,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// The shape's product does not fit an address space.
    #[error("shape: {shape:?} has more elements than can be addressed ({limit}); check the shape for a wrong axis")]
    Overflow {
        /// The shape given.
        shape: Vec<usize>,
        /// Greatest number of elements.
        limit: usize,
    },
    /// A buffer that is not exactly as long as a dense array of the shape.
    #[error("data: shape {shape:?} needs {expected} elements, got {got}; pass the whole buffer and nothing more")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// Elements the shape needs.
        expected: usize,
        /// Elements the buffer has.
        got: usize,
    },
    /// Not one stride for each axis.
    #[error("strides: expected {rank}, one for each axis of the shape, got {got}")]
    StrideCount {
        /// Number of axes.
        rank: usize,
        /// Number of strides given.
        got: usize,
    },
    /// Strides that lead outside the buffer.
    #[error(
        "strides: shape {shape:?} with strides {strides:?} from offset {offset} reaches elements {first}..={last}, the buffer has {got}; shorten the shape or pass a longer buffer"
    )]
    OutOfBounds {
        /// The shape given.
        shape: Vec<usize>,
        /// The strides given, in elements.
        strides: Vec<isize>,
        /// Offset of the first logical element.
        offset: usize,
        /// Lowest element reached.
        first: i128,
        /// Highest element reached.
        last: i128,
        /// Elements the buffer has.
        got: usize,
    },
    /// Two logical elements of an output share one place in memory.
    #[error(
        "strides: an output needs a place of its own for every element, but shape {shape:?} with strides {strides:?} overlaps itself; use distinct strides"
    )]
    Aliasing {
        /// The shape given.
        shape: Vec<usize>,
        /// The strides given, in elements.
        strides: Vec<isize>,
    },
}

/// Channel axes in the words of an error: `channel axis 1`, or `channel axes [1, 3]`.
pub fn channel_axes(axes: &[usize]) -> String {
    match axes {
        [axis] => format!("channel axis {axis}"),
        axes => format!("channel axes {axes:?}"),
    }
}

/// The question whether these channel axes are the right ones.
pub fn right_axes(axes: &[usize]) -> &'static str {
    if axes.len() == 1 { "is the channel axis right?" } else { "are the channel axes right?" }
}
