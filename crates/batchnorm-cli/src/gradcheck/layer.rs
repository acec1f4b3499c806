//! The layers whose gradients are checked, by the names of `--layer`.

use clap::ValueEnum;

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
}

impl Layer {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether each element has a gamma and beta of its own, not each channel.
    pub fn has_element_parameters(self) -> bool {
        matches!(self, Layer::Norm | Layer::Rms)
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
