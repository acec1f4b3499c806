//! The options of a norm that does not look at the batch.

use crate::options::policies::{Affine, Policies, SingleValue};
use crate::sample_norm::grouping::Grouping;
use batchnorm_kernel::{Activation, Threads, Tier};

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
    /// Added to the variance (of the RMS norms: to the mean square) inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// The parameters that the layer has.
    pub affine: Affine,
    /// The activation, applied in the same pass: y = f(gamma * xhat + beta).
    pub activation: Activation,
    /// The policies for degenerate cases, in the words of all norms. What is normalised together is what a channel is there;
    /// of the RMS norms it is constant where it is 0, and one value is as good as many.
    /// There are no running statistics: [`SingleValue::UseRunning`] is refused, `SkipUpdate` says what `Population` says
    /// (y = beta, dx = 0), as [`NonFinite`](crate::NonFinite)'s `Update` what `Skip` says.
    pub policies: Policies,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
    /// The threads that passes run on. Any number of them gives the same bits.
    pub threads: Threads,
}

impl SampleConfig {
    /// The options of this norm by default. Instance norm refuses one value, as batch norm does; the others give beta
    /// (the RMS norms gamma times its sign, and beta).
    pub fn of(grouping: Grouping) -> SampleConfig {
        let (affine, single_value) = match grouping {
            Grouping::Layer { .. } | Grouping::Group { .. } => (Affine::ScaleAndShift, SingleValue::Population),
            Grouping::Rms { .. } | Grouping::GroupRms { .. } => (Affine::ScaleOnly, SingleValue::Population),
            Grouping::Instance => (Affine::Neither, SingleValue::Error),
        };
        let policies = Policies { single_value, ..Policies::default() };
        SampleConfig {
            grouping,
            epsilon: 1e-5,
            affine,
            activation: Activation::Identity,
            policies,
            tier: None,
            threads: Threads::default(),
        }
    }

    /// Layer norm over the last axes: eps 1e-5, gamma and beta.
    pub fn layer(axes: usize) -> SampleConfig {
        SampleConfig::of(Grouping::Layer { axes })
    }

    /// RMS norm over the last axes: eps 1e-5, gamma alone, as in the paper. (PyTorch takes the machine epsilon of the
    /// array's type for eps where none is given: 1.2e-7 for f32.)
    pub fn rms(axes: usize) -> SampleConfig {
        SampleConfig::of(Grouping::Rms { axes })
    }

    /// Group norm: eps 1e-5, gamma and beta.
    pub fn group(groups: usize) -> SampleConfig {
        SampleConfig::of(Grouping::Group { groups })
    }

    /// Grouped RMS norm: eps 1e-5, gamma alone, as in Mamba-2.
    pub fn group_rms(groups: usize) -> SampleConfig {
        SampleConfig::of(Grouping::GroupRms { groups })
    }

    /// Instance norm: eps 1e-5, neither gamma nor beta, as in PyTorch.
    pub fn instance() -> SampleConfig {
        SampleConfig::of(Grouping::Instance)
    }

    /// Sets what is added to the variance inside the square root.
    pub fn epsilon(self, epsilon: f64) -> SampleConfig {
        SampleConfig { epsilon, ..self }
    }

    /// Sets the parameters that the layer has.
    pub fn affine(self, affine: Affine) -> SampleConfig {
        SampleConfig { affine, ..self }
    }

    /// Sets the activation that follows in the same pass.
    ///
    /// ```
    /// use batchnorm::{Activation, Axes, SampleConfig, View};
    /// let norm = SampleConfig::layer(1).activation(Activation::Relu).build(&[3])?;
    /// let x = View::new(&[1.0f64, 2.0, 6.0], &[1, 3], Axes::NCHW)?;
    /// let (y, saved) = norm.forward(&x)?;
    /// assert!(y.data()[..2] == [0.0, 0.0] && y.data()[2] > 1.3);
    /// let gradients = norm.backward(&x, &x, &saved)?;
    /// assert_eq!(gradients.dbeta, Some(vec![0.0, 0.0, 6.0])); // relu is flat at the others
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn activation(self, activation: Activation) -> SampleConfig {
        SampleConfig { activation, ..self }
    }

    /// Sets the policies for degenerate cases.
    pub fn policies(self, policies: Policies) -> SampleConfig {
        SampleConfig { policies, ..self }
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
