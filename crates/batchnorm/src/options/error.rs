//! Errors of options and parameters, found before anything is computed.

use thiserror::Error;

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
    /// A limit of batch renormalisation that forbids even what needs no correction.
    #[error(
        "{argument}: expected {least} or more, got {got:?}; r_max 1 and d_max 0 are batch norm, the paper's are 3 and 5"
    )]
    RenormalizationLimit {
        /// The limit's name.
        argument: &'static str,
        /// The least that it may be.
        least: f64,
        /// The value given.
        got: f64,
    },
    /// A warm-up of batch renormalisation that ends before it begins.
    #[error(
        "{argument}: expected a number of batches from begin, {begin}, on, got {got}; it is the batch at which the limit has risen"
    )]
    WarmUp {
        /// The argument's name.
        argument: &'static str,
        /// Batches after which the limits begin to rise.
        begin: u64,
        /// The number given.
        got: u64,
    },
    /// Batch renormalisation of a layer without running statistics.
    #[error(
        "renormalization: it corrects by the running statistics, expected a layer that keeps some, got track_running_statistics false; keep them, or train by batch norm"
    )]
    RenormalizationUntracked,
    /// No channel, or more than a layer may have.
    #[error("channels: expected 1..={max}, got {got}; is it the length of the channel axis?", max = batchnorm_kernel::MAX_CHANNELS)]
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
    /// Too few values for a sample variance.
    #[error("{argument}: a sample variance needs at least 2 values a channel, got {got}; give the number of one batch")]
    FewValues {
        /// The argument's name.
        argument: &'static str,
        /// Number of values given.
        got: u64,
    },
    /// Not as many numbers as the matrices of all groups have.
    #[error("{argument}: expected {expected} numbers, the matrices of all groups one after the other, got {got}")]
    Matrices {
        /// The argument's name.
        argument: &'static str,
        /// Numbers of all groups' matrices.
        expected: usize,
        /// Numbers given.
        got: usize,
    },
    /// A matrix that is no covariance: not symmetric, or with a negative variance in some direction.
    #[error("{argument}: the matrix of group {group} is no covariance: {reason}; it is to be symmetric, row after row")]
    NotACovariance {
        /// The argument's name.
        argument: &'static str,
        /// The group.
        group: usize,
        /// The fault of the matrix.
        reason: String,
    },
    /// Statistics in groups of another size than the layer's.
    #[error("{argument}: expected groups of {expected} channels, got {got}; build the layer with that group")]
    OtherGroup {
        /// The argument's name.
        argument: &'static str,
        /// Channels a group of the layer.
        expected: usize,
        /// Channels a group of the statistics.
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
        /// The expected shape in words, for this kind of layer.
        expected: &'static str,
        /// The shape given.
        got: Vec<usize>,
    },
    /// More channels in a group than a matrix should have.
    #[error("group: expected at most {limit} channels that are decorrelated together, got {got}; 16 is usual")]
    LargeGroup {
        /// Channels a group.
        got: usize,
        /// The largest number of channels a group.
        limit: usize,
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
    /// Ghost batches of which the last one is one that training will refuse.
    #[error(
        "ghost: groups of {ghost} samples leave 1 of a batch of {batch}, which has nothing to normalise by; take groups of {better}, or choose another `SingleValue` policy"
    )]
    LastGhost {
        /// Samples of the batch.
        batch: usize,
        /// Samples of a ghost batch.
        ghost: usize,
        /// The next larger ghost batch that leaves more.
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
    /// A running variance that is less than what is left in it of its start value 1.
    #[error(
        "{argument}[{channel}]: expected at least {share:e}, which is what {updates} updates leave of the start value, got {got:?}; give the update weight and the number of updates of the training"
    )]
    BelowStart {
        /// The argument's name.
        argument: &'static str,
        /// Channel of the first such value.
        channel: usize,
        /// The value given.
        got: f64,
        /// The share of the start value that is left.
        share: f64,
        /// The number of updates.
        updates: u64,
    },
    /// A start of running statistics that none can have.
    #[error(
        "{argument}: expected a finite number, of a variance >= 0, got {got:?}; a mean starts at 0, a variance at 1 or 0"
    )]
    Start {
        /// The argument's name.
        argument: &'static str,
        /// The value given.
        got: f64,
    },
    /// A policy that needs running statistics, for a norm that has none.
    #[error(
        "policies.single_value: expected Error, Population or SkipUpdate, got UseRunning; a norm that does not look at the batch keeps no running statistics"
    )]
    NoRunningStatistics,
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
        /// The parameters that the layer was built with.
        affine: super::policies::Affine,
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
        got: batchnorm_kernel::Tier,
        /// The tiers that can run here.
        available: Vec<batchnorm_kernel::Tier>,
    },
}
