//! The options of a norm that does not look at the batch.

use crate::options::policies::{Affine, ConstantChannel};
use crate::sample_norm::grouping::Grouping;
use batchnorm_kernel::{Threads, Tier};

/// The options of a norm that does not look at the batch.
///
/// ```
/// use batchnorm::{Affine, SampleConfig};
/// let layer = SampleConfig::layer(1).epsilon(1e-6).affine(Affine::ScaleOnly).build(&[768])?;
/// assert_eq!(layer.gamma().map(|gamma| gamma.len()), Some(768));
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SampleConfig {
    /// The values that are normalised together.
    pub grouping: Grouping,
    /// Added to the variance (of [`Grouping::Rms`]: to the mean square) inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// The parameters that the layer has.
    pub affine: Affine,
    /// The gradient where all values that are normalised together are alike (of [`Grouping::Rms`]: are 0).
    pub constant_group: ConstantChannel,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
    /// The threads that passes run on. Any number of them gives the same bits.
    pub threads: Threads,
}

impl SampleConfig {
    /// The options that the norms share by default, eps among them.
    fn preset(grouping: Grouping, affine: Affine) -> SampleConfig {
        let (constant_group, threads) = (ConstantChannel::default(), Threads::default());
        SampleConfig { grouping, epsilon: 1e-5, affine, constant_group, tier: None, threads }
    }

    /// Layer norm over the last axes: eps 1e-5, gamma and beta.
    pub fn layer(axes: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Layer { axes }, Affine::ScaleAndShift)
    }

    /// RMS norm over the last axes: eps 1e-5, gamma alone, as in the paper. (PyTorch takes the machine epsilon of the
    /// array's type for eps where none is given: 1.2e-7 for f32.)
    pub fn rms(axes: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Rms { axes }, Affine::ScaleOnly)
    }

    /// Group norm: eps 1e-5, gamma and beta.
    pub fn group(groups: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Group { groups }, Affine::ScaleAndShift)
    }

    /// Instance norm: eps 1e-5, neither gamma nor beta, as in PyTorch.
    pub fn instance() -> SampleConfig {
        SampleConfig::preset(Grouping::Instance, Affine::Neither)
    }

    /// Sets what is added to the variance inside the square root.
    pub fn epsilon(self, epsilon: f64) -> SampleConfig {
        SampleConfig { epsilon, ..self }
    }

    /// Sets the parameters that the layer has.
    pub fn affine(self, affine: Affine) -> SampleConfig {
        SampleConfig { affine, ..self }
    }

    /// Sets the gradient where all values that are normalised together are alike.
    pub fn constant_group(self, constant_group: ConstantChannel) -> SampleConfig {
        SampleConfig { constant_group, ..self }
    }

    /// Forces an instruction set.
    pub fn tier(self, tier: Tier) -> SampleConfig {
        SampleConfig { tier: Some(tier), ..self }
    }

    /// Sets the threads that passes run on ([`Config::threads`](crate::Config::threads)).
    pub fn threads(self, threads: Threads) -> SampleConfig {
        SampleConfig { threads, ..self }
    }
}
