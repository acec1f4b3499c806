//! The layers whose gradients are checked, by the names of `--layer`.

use batchnorm::Grouping;
use clap::ValueEnum;
use std::num::NonZeroUsize;

/// Slope of the leaky rectifier below 0.
pub const LEAKY_SLOPE: f64 = 0.1;
/// Weight of the batch's statistics in mixed ones.
pub const BATCH_SHARE: f64 = 0.3;

/// The layer and its variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layer {
    /// batch norm: in training, or with --mode eval in evaluation
    Batch,
    /// batch norm in evaluation
    Evaluation,
    /// by the running statistics and the batch's, mixed
    Mixed,
    /// batch norm and max(y, 0) in one
    Relu,
    /// batch norm and a leaky rectifier in one
    LeakyRelu,
    /// batch norm, a residual and max(y, 0) in one
    Residual,
    /// with weights and masked values
    Weighted,
    /// in groups of samples, each a batch of its own
    Ghost,
    /// the form that keeps its output instead of its input
    Invertible,
    /// layer norm: each sample over all its values
    #[value(alias = "layer")]
    Norm,
    /// group norm
    Group,
    /// instance norm: each channel of each sample
    Instance,
    /// RMS norm
    Rms,
    /// decorrelated batch norm
    Whitening,
    /// batch renormalisation: batch norm corrected towards the running statistics by r and d, which are constants to the gradient
    Renormalized,
    /// RMS norm of groups of channels
    GroupRms,
}

impl Layer {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether each element has a gamma and beta of its own, not each channel.
    pub fn has_element_parameters(self) -> bool {
        matches!(self, Layer::Norm | Layer::Rms)
    }

    /// Whether it is normalised by the root mean square, without the mean.
    pub fn is_root_mean_square(self) -> bool {
        matches!(self, Layer::Rms | Layer::GroupRms)
    }

    /// Whether it has groups of channels.
    pub fn has_groups(self) -> bool {
        matches!(self, Layer::Group | Layer::GroupRms)
    }

    /// The grouping of a norm that looks at each sample by itself, in arrays of `rank` axes, the first one the samples'; `None` of
    /// the others.
    pub fn grouping(self, rank: usize, groups: NonZeroUsize) -> Option<Grouping> {
        let (axes, groups) = (rank - 1, groups.get());
        match self {
            Layer::Norm => Some(Grouping::Layer { axes }),
            Layer::Rms => Some(Grouping::Rms { axes }),
            Layer::Group => Some(Grouping::Group { groups }),
            Layer::GroupRms => Some(Grouping::GroupRms { groups }),
            Layer::Instance => Some(Grouping::Instance),
            _ => None,
        }
    }

    /// Slope of the activation below 0; `None` without an activation.
    pub fn negative_slope(self) -> Option<f64> {
        match self {
            Layer::Relu | Layer::Residual => Some(0.0),
            Layer::LeakyRelu | Layer::Invertible => Some(LEAKY_SLOPE),
            _ => None,
        }
    }
}
