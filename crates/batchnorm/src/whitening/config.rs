//! Options of decorrelated batch norm.

use crate::options::averaging::{Averaging, Estimator};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::limits::check_channels;
use crate::options::policies::{Affine, Policies};
use crate::whitening::groups::checked_group;
use batchnorm_kernel::passes::Machine;
use batchnorm_kernel::{Threads, Tier};

/// The options of a layer of decorrelated batch norm. Checked once, by [`build`](Self::build).
///
/// ```
/// use batchnorm::{Affine, UpdateWeight, WhiteningConfig};
/// let layer = WhiteningConfig::new(64, 16).epsilon(1e-3).affine(Affine::Neither).build()?;
/// assert_eq!((layer.config().channels, layer.config().group), (64, 16));
/// assert_eq!(layer.config().averaging, UpdateWeight::of_new(0.1)?.into());
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WhiteningConfig {
    /// Number of channels.
    pub channels: usize,
    /// Channels that are decorrelated from each other: neighbours, from the first on. The last group has what is left,
    /// as in the implementation of the paper's authors.
    pub group: usize,
    /// Added to the eigenvalues of the covariance; finite and >= 0.
    pub epsilon: f64,
    /// The average by which running statistics follow the batches.
    pub averaging: Averaging,
    /// The covariance that the running covariance estimates. (Whitening is always by the population covariance.)
    pub estimator: Estimator,
    /// True for a layer that keeps running statistics.
    pub track_running_statistics: bool,
    /// The parameters that the layer has.
    pub affine: Affine,
    /// The policies for degenerate cases; "a channel" that is not finite means its whole group here.
    pub policies: Policies,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
    /// The threads that passes run on. Any number of them gives the same bits.
    pub threads: Threads,
}

impl WhiteningConfig {
    /// eps 1e-5, weight of the new value 0.1 (both as the paper's authors have them), sample covariance, gamma and
    /// beta.
    pub fn new(channels: usize, group: usize) -> WhiteningConfig {
        let Config { epsilon, averaging, estimator, track_running_statistics, affine, policies, tier, threads, .. } =
            Config::pytorch();
        WhiteningConfig {
            channels,
            group,
            epsilon,
            averaging,
            estimator,
            track_running_statistics,
            affine,
            policies,
            tier,
            threads,
        }
    }

    /// Sets what is added to the eigenvalues.
    pub fn epsilon(self, epsilon: f64) -> Self {
        WhiteningConfig { epsilon, ..self }
    }

    /// Sets the average by which running statistics follow the batches, by an [`UpdateWeight`](crate::UpdateWeight) or
    /// an [`Averaging`].
    pub fn averaging(self, averaging: impl Into<Averaging>) -> Self {
        WhiteningConfig { averaging: averaging.into(), ..self }
    }

    /// Sets the covariance that the running covariance estimates.
    pub fn estimator(self, estimator: Estimator) -> Self {
        WhiteningConfig { estimator, ..self }
    }

    /// Sets whether the layer keeps running statistics.
    pub fn track_running_statistics(self, track: bool) -> Self {
        WhiteningConfig { track_running_statistics: track, ..self }
    }

    /// Sets the parameters that the layer has.
    pub fn affine(self, affine: Affine) -> Self {
        WhiteningConfig { affine, ..self }
    }

    /// Sets the policies for degenerate cases.
    pub fn policies(self, policies: Policies) -> Self {
        WhiteningConfig { policies, ..self }
    }

    /// Forces an instruction set.
    pub fn tier(self, tier: Tier) -> Self {
        WhiteningConfig { tier: Some(tier), ..self }
    }

    /// Sets the threads that passes run on ([`Config::threads`]).
    pub fn threads(self, threads: Threads) -> Self {
        WhiteningConfig { threads, ..self }
    }

    /// Checks the options; gives them with the size of a group cut to the channels, and what runs the passes.
    pub(super) fn checked(mut self) -> Result<(WhiteningConfig, Machine), ConfigError> {
        check_channels(self.channels)?;
        self.group = checked_group(self.channels, self.group)?;
        // eps and the tier are checked as those of batch norm.
        let threads = self.threads.clone();
        let machine = Config { epsilon: self.epsilon, tier: self.tier, threads, ..Config::pytorch() }.check()?;
        Ok((self, machine))
    }
}
