//! Batch norm without state: checked options, and from known statistics the [`Saved`] of a pass. The forward passes
//! themselves are in `forward`, `in_place`, `ghost` and `partial_batch`.
//!
//! [`BatchNorm`](crate::BatchNorm) keeps parameters and running statistics around this; frameworks that keep them in
//! tensors of their own call it directly.

use crate::affine::{corrected_shift, inverse_deviation, mean_or_nan};
use crate::batch_norm::channel_vectors::{ChannelStatistics, ChannelVectors};
use crate::batch_norm::input::InputKind;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::policies::{ConstantChannel, Policies};
use crate::options::renormalization::Renormalization;
use crate::parameters::{Parameters, WideParameters};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::{Machine, NormalizeCoefficients};
use batchnorm_kernel::{Activation, Moments, Parameter, Threads};

/// eps, policies, batch renormalisation and instruction set, checked: the formula without state.
///
/// ```
/// use batchnorm::{Axes, Config, Parameters, View, ViewMut};
/// let normalizer = Config::pytorch().normalizer()?;
/// let (x, dy) = ([1.0f32, 10.0, 3.0, 30.0], [1.0f32, 0.0, 0.0, 0.0]); // 2 samples of 2 features
/// let x = View::new(&x, &[2, 2], Axes::NCHW)?;
/// let (mut y, mut dx) = ([0.0f32; 4], [0.0f32; 4]);
///
/// let parameters = Parameters { gamma: Some(&[2.0f32, 1.0]), beta: None };
/// let (saved, batch) = normalizer.train(&x, parameters, None, &mut ViewMut::new(&mut y, &[2, 2], Axes::NCHW)?)?;
/// assert_eq!(batch.channels()[1].mean(), 20.0);
/// assert!((y[0] + 2.0).abs() < 1e-4);
///
/// let dy = View::new(&dy, &[2, 2], Axes::NCHW)?;
/// let gradients = saved.backward(&x, &dy, &mut ViewMut::new(&mut dx, &[2, 2], Axes::NCHW)?)?;
/// assert_eq!(gradients.dbeta, [1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Normalizer {
    pub(crate) epsilon: f64,
    pub(crate) activation: Activation,
    pub(crate) policies: Policies,
    pub(crate) renormalization: Option<Renormalization>,
    pub(crate) machine: Machine,
}

impl Config {
    /// Checks the options and gives the formula without state. `channels`, `affine` and how running statistics are kept
    /// do not matter to it.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn normalizer(&self) -> Result<Normalizer, ConfigError> {
        let machine = self.check()?;
        let Config { epsilon, activation, policies, renormalization, .. } = *self;
        Ok(Normalizer { machine, epsilon, activation, policies, renormalization })
    }
}

impl Normalizer {
    /// The same on other threads ([`Config::threads`]): for one call, or from here on.
    #[must_use]
    pub fn threads(self, threads: Threads) -> Normalizer {
        Normalizer { machine: Machine { threads, ..self.machine }, ..self }
    }

    /// The inverse standard deviation of a channel.
    pub(crate) fn inverse_deviation_of(&self, moments: &Moments) -> f64 {
        inverse_deviation(moments.population_variance(), self.epsilon)
    }

    /// Coefficients that normalise a channel, from its moments.
    pub(crate) fn coefficients(&self, moments: &Moments, gamma: f64, beta: f64) -> NormalizeCoefficients {
        let (mean, mean_low) = mean_or_nan(moments);
        let scale = gamma * self.inverse_deviation_of(moments);
        NormalizeCoefficients { mean, scale, shift: corrected_shift(beta, mean_low, scale) }
    }

    /// Saved values of a pass by the batch.
    pub(crate) fn saved_of_batch(
        &self,
        batch: &BatchMoments,
        count: usize,
        kind: InputKind,
        parameters: &WideParameters,
    ) -> Saved {
        let declares_zero = self.policies.constant_channel == ConstantChannel::ZeroGradient;
        let channels = &batch.channels()[..parameters.gamma.len()];
        let is_constant = |channel: usize| channels[channel].is_constant();
        let statistics = |channel: usize| {
            let moments = &channels[channel];
            let (mean, mean_low) = mean_or_nan(moments);
            let variance = moments.population_variance();
            ChannelStatistics {
                total_weight: moments.weight(),
                mean,
                mean_low,
                to_batch_mean: mean_low,
                variance,
                variance_about_mean: variance,
            }
        };
        self.saved_of(count, kind, parameters, statistics, declares_zero.then_some(is_constant))
    }

    /// Saved values of a pass by running statistics, with which that pass itself computes too.
    pub(crate) fn saved_of_running<P: Parameter>(
        &self,
        channels: usize,
        count: usize,
        kind: InputKind,
        parameters: Parameters<P>,
        running: &RunningStatistics,
    ) -> Result<Saved, CallError> {
        let widened = parameters.widened(channels)?;
        same_length("running_mean", channels, running.channels())?;
        let (mean, variance) = (running.mean(), running.variance());
        let statistics = |channel: usize| ChannelStatistics {
            total_weight: count as f64,
            mean: mean[channel],
            mean_low: 0.0,
            to_batch_mean: 0.0,
            variance: variance[channel],
            variance_about_mean: variance[channel],
        };
        let saved = self.saved_of(count, kind, &widened, statistics, None::<fn(usize) -> bool>);
        Ok(saved.with_constant_statistics())
    }

    /// Saved values of a pass by these statistics of each channel, all of which depend on the batch. The gradient of those that
    /// `declares_zero` says is declared to be 0.
    pub(crate) fn saved_of(
        &self,
        count: usize,
        kind: InputKind,
        parameters: &WideParameters,
        statistics: impl Fn(usize) -> ChannelStatistics,
        declares_zero: Option<impl Fn(usize) -> bool>,
    ) -> Saved {
        Saved {
            machine: self.machine.clone(),
            batch_share: 1.0,
            trains_parameters: true,
            activation: self.activation,
            kind,
            count: count as u64,
            is_part: false,
            channels: ChannelVectors::new(parameters, self.epsilon, statistics, declares_zero),
            correction: None,
        }
    }
}
