//! Names of the norms, as values of `--layer`.

use clap::ValueEnum;

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

/// The word by which a norm is asked for.
pub fn name(layer: LayerName) -> String {
    layer.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
