//! What a pass knows of each channel: a vector of each kind, all in one allocation, filled kind by kind.

use crate::affine::{corrected_shift, inverse_deviation};
use crate::parameters::WideParameters;
use batchnorm_kernel::passes::{Vectors, about};

/// The statistics that normalise a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelStatistics {
    /// n: the sum of the weights of all values that the statistics are of; without weights, their number.
    pub total_weight: f64,
    pub mean: f64,
    /// Low part of the mean: what the `f64` in `mean` does not hold.
    pub mean_low: f64,
    /// From the mean to the batch's: the low part, where it is the batch's.
    pub to_batch_mean: f64,
    /// What is divided by, without eps.
    pub variance: f64,
    /// That of the batch where the mean is the batch's.
    pub variance_about_mean: f64,
}

/// What replaces the numbers of a channel whose batch statistics are corrected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Corrected {
    /// What is taken off x, rounded.
    pub mean: f64,
    /// Low part of it.
    pub mean_low: f64,
    /// From it to the batch's mean.
    pub to_batch_mean: f64,
    /// The batch's variance.
    pub variance: f64,
    /// What the difference is multiplied by.
    pub scale: f64,
    /// Added behind that, beside beta.
    pub shift: f64,
}

/// Number of kinds.
const KINDS: usize = 8;

/// Vectors, each with a number of each channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelVectors(Vectors<KINDS>);

impl ChannelVectors {
    /// From the statistics of each channel. The gradient of those that `declares_zero` says is declared to be 0.
    ///
    /// Kind by kind, for then roots and quotients are computed side by side.
    pub fn new(
        WideParameters { gamma, beta }: &WideParameters,
        epsilon: f64,
        statistics: impl Fn(usize) -> ChannelStatistics,
        declares_zero: Option<impl Fn(usize) -> bool>,
    ) -> Self {
        let channels = gamma.len();
        let (gamma, beta) = (&gamma[..channels], &beta[..channels]);
        let mut all = Vectors::of(channels);
        let [weights, means, xhat_lows, batch_xhat_lows, inverse_deviations, scales, shifts, abouts] = all.each_mut();
        // (Said once, for the loops not to ask for each channel.)
        let lengths = [
            weights.len(),
            means.len(),
            xhat_lows.len(),
            batch_xhat_lows.len(),
            inverse_deviations.len(),
            scales.len(),
            shifts.len(),
            abouts.len(),
        ];
        assert!(lengths.iter().all(|&length| length == channels));
        for channel in 0..channels {
            let of = statistics(channel);
            weights[channel] = of.total_weight;
            means[channel] = of.mean;
            xhat_lows[channel] = of.mean_low;
            batch_xhat_lows[channel] = of.to_batch_mean;
            inverse_deviations[channel] = of.variance;
            abouts[channel] = about(of.mean, of.variance_about_mean);
        }
        inverse_deviations.iter_mut().for_each(|value| *value = inverse_deviation(*value, epsilon));
        for channel in 0..channels {
            scales[channel] = gamma[channel] * inverse_deviations[channel];
            shifts[channel] = corrected_shift(beta[channel], xhat_lows[channel], scales[channel]);
        }
        if let Some(declares_zero) = declares_zero {
            // An inverse deviation of 0 tells the backward pass. The scale stays: y has it.
            (0..channels)
                .filter(|&channel| declares_zero(channel))
                .for_each(|channel| inverse_deviations[channel] = 0.0);
        }
        for channel in 0..channels {
            xhat_lows[channel] *= inverse_deviations[channel];
            batch_xhat_lows[channel] *= inverse_deviations[channel];
        }
        ChannelVectors(all)
    }

    /// Replaces the numbers of y of one channel, whose shift is beta; xhat stays that of the batch.
    pub fn correct(&mut self, channel: usize, beta: f64, corrected: Corrected) {
        let Corrected { mean, mean_low, to_batch_mean, variance, scale, shift } = corrected;
        let [_, means, xhat_lows, batch_xhat_lows, inverse_deviations, scales, shifts, abouts] = self.0.each_mut();
        means[channel] = mean;
        xhat_lows[channel] = to_batch_mean * inverse_deviations[channel];
        batch_xhat_lows[channel] = xhat_lows[channel];
        scales[channel] = scale;
        // (Adding 0 would lose the sign of a negative zero.)
        let beta = if shift == 0.0 { beta } else { beta + shift };
        shifts[channel] = corrected_shift(beta, mean_low, scale);
        abouts[channel] = about(mean, variance);
    }

    /// Those of some of the channels.
    pub fn selected(&self, channels: &[usize]) -> Self {
        let mut all = Vectors::of(channels.len());
        for (vector, of) in all.each_mut().into_iter().zip(self.0.each()) {
            vector.iter_mut().zip(channels).for_each(|(value, &channel)| *value = of[channel]);
        }
        ChannelVectors(all)
    }

    /// Number of channels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// n: the sum of the weights of all values that the statistics are of; without weights, their number.
    pub fn total_weight(&self) -> &[f64] {
        self.0.vector(0)
    }

    /// The mean, rounded.
    pub fn mean(&self) -> &[f64] {
        self.0.vector(1)
    }

    /// Correction of xhat for the low part of the mean: `mean_low * inverse_deviation`.
    pub fn xhat_low(&self) -> &[f64] {
        self.0.vector(2)
    }

    /// Correction that takes xhat to (x - batch mean) / deviation: `xhat_low`, but where the mean is a mix.
    pub fn batch_xhat_low(&self) -> &[f64] {
        self.0.vector(3)
    }

    /// 1 / sqrt(variance + eps); 0 where the gradient is declared to be 0.
    pub fn inverse_deviation(&self) -> &[f64] {
        self.0.vector(4)
    }

    /// gamma times the inverse standard deviation.
    pub fn scale(&self) -> &[f64] {
        self.0.vector(5)
    }

    /// beta, less what the low part of the mean takes off.
    pub fn shift(&self) -> &[f64] {
        self.0.vector(6)
    }

    /// What is taken off the input in the sums of products.
    pub fn about(&self) -> &[f64] {
        self.0.vector(7)
    }
}
