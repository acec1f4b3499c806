//! Errors of calls: arrays that do not fit, and what policies refuse.

use crate::options::switches::Switches;
use batchnorm_kernel::passes::{channel_axes, right_axes};
use thiserror::Error;

/// Reason in the error of an evaluation without running statistics, and its mend.
pub(crate) const NOTHING_TO_EVALUATE_BY: &str = "evaluation normalises by them; install those of the training (`set_running`, of a layer that tracks them), \
                                      or choose `MissingRunning::BatchStatistics`";

/// A call whose arrays do not fit each other or the layer, or that a declared policy refuses.
///
/// The layer is unchanged, to the bit, and so are the caller's buffers.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The array's channel count is not the layer's.
    #[error(
        "{argument}: expected {expected} channels, got {got} (shape {shape:?}, {}); {}",
        channel_axes(axes),
        right_axes(axes)
    )]
    Channels {
        /// The argument's name.
        argument: &'static str,
        /// The layer's number of channels.
        expected: usize,
        /// The array's number of channels.
        got: usize,
        /// The array's shape.
        shape: Vec<usize>,
        /// The array's channel axes.
        axes: Vec<usize>,
    },
    /// Two arrays of one pass differ in the number of their channel axes.
    #[error(
        "{argument}: expected as many channel axes as the input of the pass has ({expected}), got {got} (shape {shape:?}); name the same axes for both"
    )]
    ChannelAxes {
        /// The argument's name.
        argument: &'static str,
        /// The input's number of channel axes.
        expected: usize,
        /// The array's number of channel axes.
        got: usize,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// Two arrays of one pass differ in shape. (Their axes may stand in another order each: both shapes are in the argument's.)
    #[error(
        "{argument}: expected the shape {expected:?}, as the input of the pass has it, got {got:?}; the two must belong together"
    )]
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        got: Vec<usize>,
    },
    /// Weights that cannot be repeated to the input's shape.
    #[error(
        "weights: expected the input's shape {expected:?} with lengths of 1 where weights are to be repeated, got {got:?}"
    )]
    WeightsShape {
        /// The input's shape.
        expected: Vec<usize>,
        /// The shape of the weights.
        got: Vec<usize>,
    },
    /// Training where weights leave a channel values that count once together, or less: there is no spread to normalise by.
    /// (One value of weight 2 is two equal values, a constant channel.)
    #[error(
        "weights: normalising by the batch needs values in each channel that count more than once together, got {count} with the sum of weights {weight:?} in channel {channel}; mask less, scale the weights to sum up to the number of values, or choose another `SingleValue` policy"
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
        /// The smallest number of values that fits.
        expected: u64,
        /// Values in that channel's moments.
        got: u64,
    },
    /// A call that does not belong to this kind of forward pass.
    #[error("the saved forward pass was {forward}: {call}")]
    OtherPass {
        /// The forward pass, in words.
        forward: &'static str,
        /// The call that belongs to it.
        call: &'static str,
    },
    /// A backward pass with another kind of input than the forward pass had.
    #[error("the saved forward pass was {forward}: what comes behind it takes `{input}`")]
    OtherInput {
        /// The forward pass, in words.
        forward: &'static str,
        /// The input that its backward pass takes.
        input: &'static str,
    },
    /// [`Input::adding`](crate::Input::adding) in a backward pass.
    #[error(
        "input: a backward pass takes the forward pass's output in the place of the residual: `Input::with_output(&x, &y)`"
    )]
    ForwardInput,
    /// [`Input::with_output`](crate::Input::with_output) in a forward pass.
    #[error(
        "input: an output is for the backward pass; a forward pass with a residual takes `Input::adding(&x, &residual)`"
    )]
    BackwardInput,
    /// A residual in a pass of a norm that takes none.
    #[error(
        "input: layer, group, instance and RMS norm take no residual; add it to the output y, and its gradient is dy"
    )]
    NoResidual,
    /// No buffer for the residual's gradient after a forward pass with a residual, or one after a pass without.
    #[error("{}", if *expected {
        "dresidual: the saved forward pass was with a residual, expected a buffer for its gradient, got none: \
         `GradientBuffers::with_residual(&mut dx, &mut dresidual)`"
    } else {
        "dresidual: the saved forward pass was without a residual, which has no gradient: give `&mut dx` alone"
    })]
    ResidualBuffer {
        /// True after a forward pass with a residual.
        expected: bool,
    },
    /// The invertible form behind an activation that cannot be undone.
    #[error(
        "activation: the invertible form needs Identity or LeakyRelu with a slope > 0, got {activation:?}; use LeakyRelu(0.01), or `train` and `backward_in_place`, which keep the input"
    )]
    NotInvertible {
        /// The activation configured.
        activation: batchnorm_kernel::Activation,
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
        /// Values, or batches, to be taken out.
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
        /// The pinned switches.
        pinned: Switches,
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
        "x: expected a number of channels that {groups} groups divide evenly, got {channels} (shape {shape:?}, {}); {}",
        channel_axes(axes),
        right_axes(axes)
    )]
    Groups {
        /// Number of groups.
        groups: usize,
        /// The array's number of channels.
        channels: usize,
        /// The array's shape.
        shape: Vec<usize>,
        /// The array's channel axes.
        axes: Vec<usize>,
    },
    /// Groups that hold parts of several channel axes: such channels are no block of the array.
    #[error(
        "x: expected groups of channels that are made of whole channel axes, and of equal parts of one, got {groups} groups of {channels} channels (shape {shape:?}, {}); choose another number of groups, or copy the channels to one axis",
        channel_axes(axes)
    )]
    StraddlingGroups {
        /// Number of groups.
        groups: usize,
        /// The array's number of channels.
        channels: usize,
        /// The array's shape.
        shape: Vec<usize>,
        /// The array's channel axes.
        axes: Vec<usize>,
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
    /// One value where a norm looks at several together, under [`SingleValue::Error`](crate::SingleValue::Error).
    #[error(
        "x: expected at least 2 values that are normalised together ({together}), got 1 (shape {shape:?}), which has no spread: its output would be beta whatever the input; is an axis missing, or another norm meant? (`SingleValue::Population` takes it)"
    )]
    SingleTogether {
        /// What is normalised together, in words.
        together: &'static str,
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// Training on one value a channel: it has no spread to normalise by.
    #[error(
        "x: normalising by the batch needs at least 2 values a channel, got 1 (shape {shape:?}, {}); use a larger batch, drop the last one, or choose another `SingleValue` policy",
        channel_axes(axes)
    )]
    SingleValue {
        /// The input's shape.
        shape: Vec<usize>,
        /// The input's channel axes.
        axes: Vec<usize>,
    },
    /// Training on an empty batch under [`EmptyBatch::Error`](crate::EmptyBatch::Error).
    #[error(
        "x: expected at least 2 values that are normalised together, got 0 (shape {shape:?}); skip it or choose `EmptyBatch::Pass`"
    )]
    EmptyBatch {
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// A norm that does not look at the batch, where weights leave a set of values that is normalised together with values that
    /// count once together, or less.
    #[error(
        "weights: normalising needs values that count more than once together in each of the sets that are normalised together ({together}), got {count} with the sum of weights {weight:?} in number {row}; mask less, scale the weights to sum up to the number of values, or choose `SingleValue::Population`"
    )]
    SingleWeightedTogether {
        /// What is normalised together, in words.
        together: &'static str,
        /// The first set concerned, in the order of the array.
        row: usize,
        /// Values that count.
        count: u64,
        /// The sum of their weights.
        weight: f64,
    },
    /// A norm that does not look at the batch, where a set of values that is normalised together is all masked, under
    /// [`EmptyBatch::Error`](crate::EmptyBatch::Error).
    #[error(
        "weights: expected values that count in each of the sets that are normalised together ({together}), got none in number {row}; leave it out or choose `EmptyBatch::Pass`"
    )]
    AllMaskedTogether {
        /// What is normalised together, in words.
        together: &'static str,
        /// The first set concerned, in the order of the array.
        row: usize,
    },
    /// NaN or infinity under [`NonFinite::Error`](crate::NonFinite::Error).
    #[error("x: expected finite values, got NaN, infinity or an overflowing variance in {} channel(s), the first is channel {}; find the source or choose `NonFinite::Skip`", channels.len(), channels[0])]
    NonFinite {
        /// The channels concerned, ascending.
        channels: Vec<usize>,
    },
    /// The same in a norm that does not look at the batch.
    #[error("x: expected finite values, got NaN, infinity or an overflowing variance in {} of the sets that are normalised together ({together}), the first is number {}; find the source or choose `NonFinite::Skip`", rows.len(), rows[0])]
    NonFiniteTogether {
        /// What is normalised together, in words.
        together: &'static str,
        /// The sets concerned, ascending, in the order of the array.
        rows: Vec<usize>,
    },
    /// A covariance without an inverse where eps is 0.
    #[error(
        "{argument}: the covariance of group {group} ({channels} channels{}) cannot be inverted, its smallest eigenvalue is {eigenvalue:e} and epsilon is 0; use more values than channels, smaller groups, or an epsilon > 0",
        if *count > 0 { format!(", {count} values a channel") } else { String::new() }
    )]
    Singular {
        /// Where the covariance is from.
        argument: &'static str,
        /// The group.
        group: usize,
        /// Channels of the group.
        channels: usize,
        /// Values a channel it was computed from; 0 for a running covariance.
        count: u64,
        /// The smallest eigenvalue as computed: 0, but for rounding.
        eigenvalue: f64,
    },
    /// Statistics or a saved pass of another grouping than the layer's.
    #[error("{argument}: expected {expected} groups of at most {group} channels, got {got}; was it another layer's?")]
    OtherGroups {
        /// The argument's name.
        argument: &'static str,
        /// The layer's number of groups.
        expected: usize,
        /// The layer's channels a group.
        group: usize,
        /// Groups given.
        got: usize,
    },
    /// An array for which there is no memory.
    #[error("{argument}: {what} needs {bytes} bytes (shape {shape:?}), which cannot be had; split the batch")]
    Memory {
        /// The argument's name.
        argument: &'static str,
        /// The array that needs memory, in words.
        what: &'static str,
        /// The size of that array.
        bytes: usize,
        /// The shape of that array.
        shape: Vec<usize>,
    },
    /// Evaluation, or a policy that needs running statistics, without any.
    #[error("running statistics: expected some, got none: {reason}")]
    NoRunningStatistics {
        /// The reason why they are needed, and the mend.
        reason: &'static str,
    },
}
