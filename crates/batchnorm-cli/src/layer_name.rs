//! Names of the norms, as values of `--layer`.

use batchnorm::Grouping;
use clap::ValueEnum;
use std::num::NonZeroUsize;

/// Batch norm, and its siblings, which normalise each sample by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayerName {
    /// batch norm: each channel over all samples
    Batch,
    /// layer norm: each sample over all its values
    #[value(alias = "layer")]
    Norm,
    /// group norm: each sample over the values of --groups groups of channels
    Group,
    /// instance norm: each channel of each sample
    Instance,
    /// RMS norm: each sample divided by its root mean square, not centred
    Rms,
}

impl LayerName {
    /// The grouping of a sibling norm in arrays of `rank` axes, the first one the samples'; `None` for batch norm.
    pub fn grouping(self, rank: usize, groups: NonZeroUsize) -> Option<Grouping> {
        let axes = rank - 1;
        match self {
            LayerName::Batch => None,
            LayerName::Norm => Some(Grouping::Layer { axes }),
            LayerName::Group => Some(Grouping::Group { groups: groups.get() }),
            LayerName::Instance => Some(Grouping::Instance),
            LayerName::Rms => Some(Grouping::Rms { axes }),
        }
    }
}

/// The word by which a norm is asked for.
pub fn name(layer: LayerName) -> String {
    layer.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
