//! What was done to a model, and what was left.

use crate::health::{Code, Mend};

/// Something that was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The layer, as inspecting names it.
    pub layer: String,
    /// The finding that is mended; none where there is no finding of it.
    pub code: Option<Code>,
    /// What was done, in a sentence.
    pub text: String,
}

/// Something that was not mended, for it has not one right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The layer; none where it is about the whole file.
    pub layer: Option<String>,
    /// The finding; none where there is no finding of it.
    pub code: Option<Code>,
    /// Why it was left.
    pub reason: String,
    /// What to do about it.
    pub mend: Mend,
}

/// Why a finding stays as it is, where a mend was not even tried.
pub(super) fn why_left(code: Code) -> &'static str {
    match code {
        Code::AtTheirStart => "what the statistics were is not in the file",
        Code::NotFinite => "what the numbers were is not in the file",
        Code::NegativeVariance => "what the variances were is not in the file",
        Code::NoVariance => "whether the channel is dead or the statistics are wrong is not in the file",
        Code::BelowEpsilon => "it is right with the epsilon that it has",
        Code::DeadChannels => "a network without these channels is another one",
        Code::GammaAlike => "whether it is meant is not in the file",
        Code::HalfAtItsLimits => "what f16 has cut off is not in the file; as f32 it would only look sound",
        Code::LeftInTraining => "its parameters are not sound",
        Code::NeverTracked => "out of training mode it would do nothing, for its statistics are at their start",
        Code::TrainingOfConstants => "it could not be computed",
        Code::TrainingOfInstances => "it is meant: InstanceNormalization would say the same",
        Code::MomentumInverted => "which of the two readings is meant is not in the file",
        Code::EpsilonDiffers => "whether it was trained so is not in the file",
        Code::SpatialByMistake => "how many channels there are is not in the file",
        Code::SharedVectors => "whether it is meant is not in the file",
        Code::UselessBias => "it has not one right answer here",
        Code::BatchesContradict => "which of the two is right is not in the file",
        Code::NoBatchNorm => "there is nothing to mend",
        Code::NotReadable => "its parameters are not in the file",
    }
}
