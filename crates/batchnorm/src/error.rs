//! What can go wrong, by the place where it goes wrong.
//!
//! Every message names the argument, says what was expected and what came, and how to mend it.

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
    /// Not one role for each axis, or not exactly one channel axis.
    #[error(
        "roles: expected {rank} roles with exactly one Channel, got {given} roles with {channels}; name each axis of the shape once"
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
    #[error("shape: the channel axis (axis {axis}) must have at least 1 channel, got 0 in shape {shape:?}")]
    NoChannels {
        /// The channel axis.
        axis: usize,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// More channels than a layer may have, or than an array without elements may.
    #[error(
        "shape: expected at most {limit} channels (axis {axis}) here, got {channels} in shape {shape:?}; is the channel axis right?"
    )]
    TooManyChannels {
        /// Number of channels.
        channels: usize,
        /// How many there may be: fewer for an array without elements, whose statistics would be larger than it.
        limit: usize,
        /// The channel axis.
        axis: usize,
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

/// An option or a parameter outside what the formula allows.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// eps is NaN, infinite or negative.
    #[error("epsilon: expected a finite number >= 0, got {got:?}; the usual value is 1e-5")]
    Epsilon {
        /// The value given.
        got: f64,
    },
    /// An update weight outside 0..=1.
    #[error(
        "{argument}: expected a weight in 0..=1, got {got:?}; PyTorch's momentum 0.1 is weight_of_new 0.1, Keras' and Flax' 0.99 is weight_of_old 0.99"
    )]
    Weight {
        /// Which of the two constructors.
        argument: &'static str,
        /// The value given.
        got: f64,
    },
    /// No channel, or more than a layer may have.
    #[error("channels: expected 1..={max}, got {got}; leave it out to take the number from the first batch", max = crate::MAX_CHANNELS)]
    Channels {
        /// The number given.
        got: usize,
    },
    /// A vector whose length is not the number of channels.
    #[error("{argument}: expected {expected} values, one for each channel, got {got}")]
    Length {
        /// The argument's name.
        argument: &'static str,
        /// Number of channels.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// A number of samples, or the like, that must not be 0.
    #[error("{argument}: expected 1 or more, got 0")]
    Zero {
        /// The argument's name.
        argument: &'static str,
    },
    /// Groups that do not divide the channels evenly.
    #[error(
        "groups: expected a divisor of the {channels} channels, got {groups}; 1 is all of them together, {channels} each alone"
    )]
    Groups {
        /// Number of groups given.
        groups: usize,
        /// Number of channels.
        channels: usize,
    },
    /// Parameters with another number of values than there are elements that have one each.
    #[error("{argument}: expected {expected} values, one for each element of {shape:?}, got {got}")]
    ElementLength {
        /// The argument's name.
        argument: &'static str,
        /// Number of elements.
        expected: usize,
        /// Number of values given.
        got: usize,
        /// The axes whose elements have parameters.
        shape: Vec<usize>,
    },
    /// Parameters of another shape than what a layer normalises together.
    #[error("shape: expected {expected}, got {got:?}; it is what gamma and beta have one value for each element of")]
    ParameterShape {
        /// What was expected, and of which kind of layer.
        expected: &'static str,
        /// The shape given.
        got: Vec<usize>,
    },
    /// A data set whose last batch training will refuse.
    #[error(
        "samples: {samples} in batches of {batch} leave 1 for the last one, which has nothing to normalise by; drop the last batch, take {} or choose another `SingleValue` policy",
        if *better > 0 { format!("batches of {better},") } else { "more samples,".to_string() }
    )]
    LastBatch {
        /// Samples of the data set.
        samples: usize,
        /// Samples a batch.
        batch: usize,
        /// The next larger size of batch that leaves more; 0 if there is none.
        better: usize,
    },
    /// A number that no stored population has.
    #[error("rows[{channel}][{column}]: expected what `Population::to_rows` gives, got {got:?}; is it another file?")]
    NotAPopulation {
        /// The channel.
        channel: usize,
        /// The column of the number.
        column: usize,
        /// The number.
        got: f64,
    },
    /// A slope that is negative, NaN or infinite.
    #[error("activation: a leaky rectifier's slope is finite and >= 0, got {got:?}; 0.01 is usual")]
    Slope {
        /// The value given.
        got: f64,
    },
    /// A parameter or statistic that is NaN or infinite.
    #[error("{argument}[{channel}]: expected a finite number, got {got:?}; repair the value before it is installed")]
    NotFinite {
        /// The argument's name.
        argument: &'static str,
        /// Channel of the first bad value.
        channel: usize,
        /// The value given.
        got: f64,
    },
    /// A negative variance.
    #[error(
        "{argument}[{channel}]: a variance is >= 0, got {got:?}; was the standard deviation's logarithm or a difference passed?"
    )]
    NegativeVariance {
        /// The argument's name.
        argument: &'static str,
        /// Channel of the first bad value.
        channel: usize,
        /// The value given.
        got: f64,
    },
    /// gamma or beta given to a layer built without it.
    #[error(
        "{argument}: this layer was built with {affine:?} and has none; build it with a configuration whose `affine` includes it"
    )]
    Absent {
        /// The argument's name.
        argument: &'static str,
        /// What the layer was built with.
        affine: crate::Affine,
    },
    /// Running statistics installed in a layer that keeps none.
    #[error(
        "running statistics: this layer was built with track_running_statistics(false), expected none, got {got} channels; build it with tracking on"
    )]
    Untracked {
        /// Number of channels given.
        got: usize,
    },
    /// An instruction set this machine lacks.
    #[error("tier: this machine has {available:?}, got {got:?}; choose one of those or leave it out")]
    Tier {
        /// The tier asked for.
        got: crate::Tier,
        /// What can run here.
        available: Vec<crate::Tier>,
    },
}

/// Weights that are none.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not as many as their shape has.
    #[error(transparent)]
    Layout(#[from] ViewError),
    /// A negative weight, NaN or infinity.
    #[error("weights[{at}]: expected a finite number >= 0, got {got:?}; a weight says how often a value counts")]
    NoWeight {
        /// Where it stands.
        at: usize,
        /// The value given.
        got: f64,
    },
}

/// A call whose arrays do not fit each other or the layer, or that a declared policy refuses.
///
/// The layer is unchanged, to the bit, and so are the caller's buffers.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The array's channel count is not the layer's.
    #[error(
        "{argument}: expected {expected} channels, got {got} (shape {shape:?}, channel axis {axis}); is the channel axis right?"
    )]
    Channels {
        /// The argument's name.
        argument: &'static str,
        /// The layer's number of channels.
        expected: usize,
        /// The array's.
        got: usize,
        /// The array's shape.
        shape: Vec<usize>,
        /// The array's channel axis.
        axis: usize,
    },
    /// Two arrays of one call differ in shape (compared as samples, space and channels).
    #[error(
        "{argument}: expected the input's axes {expected:?} (samples and space, then channels), got {got:?}; the two views must describe the same array"
    )]
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// The input's axes.
        expected: Vec<usize>,
        /// The argument's axes.
        got: Vec<usize>,
    },
    /// Weights that cannot be repeated to the input's shape.
    #[error(
        "weights: expected the input's shape {expected:?} with lengths of 1 where weights are to be repeated, got {got:?}"
    )]
    WeightsShape {
        /// The input's shape.
        expected: Vec<usize>,
        /// That of the weights.
        got: Vec<usize>,
    },
    /// Training where weights leave a channel one value, or values that count once together: there is no spread to normalise by.
    #[error(
        "weights: normalising by the batch needs at least 2 values a channel that count more than once together, got {count} with the sum of weights {weight:?} in channel {channel}; mask less, scale the weights to sum up to the number of values, or choose another `SingleValue` policy"
    )]
    SingleWeighted {
        /// The first channel concerned.
        channel: usize,
        /// Values that count.
        count: u64,
        /// The sum of their weights.
        weight: f64,
    },
    /// Training where a channel is all masked, under [`EmptyBatch::Error`](crate::EmptyBatch::Error).
    #[error(
        "weights: expected at least 2 values a channel that count, got 0 in channel {channel}; skip the step or choose `EmptyBatch::Pass`"
    )]
    AllMasked {
        /// The first channel concerned.
        channel: usize,
    },
    /// The backward pass was given another batch than its forward pass.
    #[error(
        "{argument}: the saved forward pass had {expected} values a channel, got {got}; pass that pass's own array"
    )]
    OtherBatch {
        /// The argument's name.
        argument: &'static str,
        /// Values a channel in the forward pass.
        expected: u64,
        /// Values a channel now.
        got: u64,
    },
    /// Moments that are not those of a batch with the part in it.
    #[error(
        "whole: expected the moments of one batch that has the part in it, {expected} values or more in every channel, got {got} in channel {channel}; merge those of all parts"
    )]
    OtherWhole {
        /// The first channel concerned.
        channel: usize,
        /// Values at least.
        expected: u64,
        /// Values in that channel's moments.
        got: u64,
    },
    /// A backward pass for an input without a residual after a forward pass with one, or the other way round.
    #[error("the saved forward pass was {forward}: call `{call}`")]
    OtherPass {
        /// What the forward pass was.
        forward: &'static str,
        /// The backward pass that belongs to it.
        call: &'static str,
    },
    /// The invertible form behind an activation that cannot be undone.
    #[error(
        "activation: the invertible form needs Identity or LeakyRelu with a slope > 0, got {activation:?}; use LeakyRelu(0.01), or `train` and `backward_in_place`, which keep the input"
    )]
    NotInvertible {
        /// The activation configured.
        activation: crate::Activation,
    },
    /// A population is to be taken out of one that does not hold it.
    #[error(
        "other: it is no part of the population, which has {expected} values or batches in channel {channel}, against {got}; only what was taken in can be taken out"
    )]
    NotAPart {
        /// The first channel concerned.
        channel: usize,
        /// Values, or batches, in the population.
        expected: u64,
        /// Those to be taken out.
        got: u64,
    },
    /// Running statistics are asked of a population that holds no value.
    #[error("population: channel {channel} has no value yet; observe a batch first (channels with NaN are left out)")]
    NothingObserved {
        /// The first channel concerned.
        channel: usize,
    },
    /// A call that can do one thing only, of a layer pinned to another.
    #[error("{call}: does not do what the layer is pinned to, {pinned:?}; call `forward` or `eval`, or `pin(None)`")]
    Pinned {
        /// The call.
        call: &'static str,
        /// What is pinned.
        pinned: crate::Switches,
    },
    /// A vector whose length is not the number of channels.
    #[error("{argument}: expected {expected} values, one for each channel, got {got}")]
    Length {
        /// The argument's name.
        argument: &'static str,
        /// Number of channels.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// Parameters with another number of values than there are elements that have one each.
    #[error("{argument}: expected {expected} values, one for each element of {shape:?}, got {got}")]
    ElementLength {
        /// The argument's name.
        argument: &'static str,
        /// Number of elements.
        expected: usize,
        /// Number of values given.
        got: usize,
        /// The axes whose elements have parameters.
        shape: Vec<usize>,
    },
    /// Groups that do not divide an array's channels evenly.
    #[error(
        "x: expected a number of channels that {groups} groups divide evenly, got {channels} (shape {shape:?}, channel axis {axis}); is the channel axis right?"
    )]
    Groups {
        /// Number of groups.
        groups: usize,
        /// The array's number of channels.
        channels: usize,
        /// The array's shape.
        shape: Vec<usize>,
        /// The array's channel axis.
        axis: usize,
    },
    /// Fewer axes than are to be normalised over.
    #[error("x: expected at least {expected} axes, the last ones to normalise over, got shape {shape:?}")]
    LastAxes {
        /// Number of axes that are normalised over.
        expected: usize,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// Other last axes than the layer normalises over.
    #[error("x: expected the last axes to be {expected:?}, over which the layer normalises, got shape {shape:?}")]
    LastShape {
        /// The layer's shape.
        expected: Vec<usize>,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// Instance norm of one position in each channel.
    #[error(
        "x: instance norm needs at least 2 positions in a channel, got 1 (shape {shape:?}); its output would be beta whatever the input: is there a space axis, or is it group norm or layer norm that is meant?"
    )]
    SinglePosition {
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// Training on one value a channel: it has no spread to normalise by.
    #[error(
        "x: normalising by the batch needs at least 2 values a channel, got 1 (shape {shape:?}, channel axis {axis}); use a larger batch, drop the last one, or choose another `SingleValue` policy"
    )]
    SingleValue {
        /// The input's shape.
        shape: Vec<usize>,
        /// The input's channel axis.
        axis: usize,
    },
    /// Training on an empty batch under [`EmptyBatch::Error`](crate::EmptyBatch::Error).
    #[error(
        "x: expected at least 2 values a channel, got 0 (shape {shape:?}); skip the step or choose `EmptyBatch::Pass`"
    )]
    EmptyBatch {
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// NaN or infinity under [`NonFinite::Error`](crate::NonFinite::Error).
    #[error("x: expected finite values, got NaN, infinity or an overflowing variance in {} channel(s), the first is channel {}; find the source or choose `NonFinite::Skip`", channels.len(), channels[0])]
    NonFinite {
        /// The channels concerned, ascending.
        channels: Vec<usize>,
    },
    /// More than the memory has.
    #[error("{argument}: {what} needs {bytes} bytes (shape {shape:?}), which cannot be had; split the batch")]
    Memory {
        /// The argument's name.
        argument: &'static str,
        /// What of it needs memory.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Evaluation, or a policy that needs running statistics, without any.
    #[error("running statistics: expected some, got none: {reason}")]
    NoRunningStatistics {
        /// Why they are needed, and how to mend it.
        reason: &'static str,
    },
}
