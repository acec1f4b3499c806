//! Batch norm without state: checked options, and from known statistics the [`Saved`] of a pass. The forward passes
//! themselves are in `forward`, `in_place`, `ghost` and `partial_batch`.
//!
//! [`BatchNorm`](crate::BatchNorm) keeps parameters and running statistics around this; frameworks that keep them in
//! tensors of their own call it directly.

use crate::affine::{corrected_shift, inverse_deviation, mean_or_nan};
use crate::batch_norm::channel_vectors::{ChannelValues, ChannelVectors};
use crate::batch_norm::input::InputKind;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::policies::{ConstantChannel, Policies};
use crate::parameters::{Parameters, WideParameters};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::{Machine, NormalizeCoefficients, about};
use batchnorm_kernel::{Activation, Moments, Parameter, Threads};

/// eps, policies and instruction set, checked: the formula without state.
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
    epsilon: f64,
    pub(crate) activation: Activation,
    pub(crate) policies: Policies,
    pub(crate) machine: Machine,
}

impl Config {
    /// Checks the options and gives the formula without state. `channels`, `affine` and what concerns running
    /// statistics do not matter to it.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn normalizer(&self) -> Result<Normalizer, ConfigError> {
        let machine = self.check()?;
        Ok(Normalizer { machine, epsilon: self.epsilon, activation: self.activation, policies: self.policies })
    }
}

/// The statistics that normalise a channel.
pub(crate) struct ChannelStatistics {
    pub total_weight: f64,
    pub mean: f64,
    /// Low part of the mean: what the `f64` in `mean` does not hold.
    pub mean_low: f64,
    /// From the mean to the batch's, where that is another one.
    pub to_batch_mean: Option<f64>,
    pub inverse_deviation: f64,
    /// That of the batch where the mean is the batch's, without eps.
    pub variance: f64,
    /// The gradient is declared to be 0.
    pub declared_zero: bool,
}

impl Normalizer {
    /// The same on other threads ([`Config::threads`]): for one call, or from here on.
    #[must_use]
    pub fn threads(self, threads: Threads) -> Normalizer {
        Normalizer { machine: Machine { threads, ..self.machine }, ..self }
    }

    pub(crate) fn epsilon(&self) -> f64 {
        self.epsilon
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
        // The scale stays where the gradient is declared to be 0: y has it.
        let declares_zero = self.policies.constant_channel == ConstantChannel::ZeroGradient;
        self.saved_of(count, kind, parameters, |channel| {
            let moments = &batch.channels()[channel];
            let (mean, mean_low) = mean_or_nan(moments);
            let variance = moments.population_variance();
            ChannelStatistics {
                total_weight: moments.weight(),
                mean,
                mean_low,
                to_batch_mean: None,
                inverse_deviation: inverse_deviation(variance, self.epsilon),
                variance,
                declared_zero: declares_zero && moments.is_constant(),
            }
        })
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
        let saved = self.saved_of(count, kind, &widened, |channel| ChannelStatistics {
            total_weight: count as f64,
            mean: mean[channel],
            mean_low: 0.0,
            to_batch_mean: None,
            inverse_deviation: inverse_deviation(variance[channel], self.epsilon),
            variance: variance[channel],
            declared_zero: false,
        });
        Ok(saved.with_constant_statistics())
    }

    /// Saved values of a pass by these statistics of each channel, all of which depend on the batch.
    pub(crate) fn saved_of(
        &self,
        count: usize,
        kind: InputKind,
        WideParameters { gamma, beta }: &WideParameters,
        of_channel: impl Fn(usize) -> ChannelStatistics,
    ) -> Saved {
        let (gamma, beta) = (&gamma[..], &beta[..gamma.len()]);
        let channels = ChannelVectors::new(gamma.len(), |channel| {
            let of = of_channel(channel);
            let scale = gamma[channel] * of.inverse_deviation;
            // An inverse deviation of 0 tells the backward pass that dx is declared to be 0.
            let inverse_deviation = if of.declared_zero { 0.0 } else { of.inverse_deviation };
            let xhat_low = of.mean_low * inverse_deviation;
            ChannelValues {
                total_weight: of.total_weight,
                mean: of.mean,
                xhat_low,
                batch_xhat_low: of.to_batch_mean.map_or(xhat_low, |step| step * of.inverse_deviation),
                inverse_deviation,
                scale,
                shift: corrected_shift(beta[channel], of.mean_low, scale),
                about: about(of.mean, of.variance),
            }
        });
        Saved {
            machine: self.machine.clone(),
            batch_share: 1.0,
            trains_parameters: true,
            activation: self.activation,
            kind,
            count: count as u64,
            is_part: false,
            channels,
        }
    }
}
