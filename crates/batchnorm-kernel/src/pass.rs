//! A pass as data: what it takes, and what its numbers follow from.

use crate::activation::Activation;
use crate::arithmetic::Arithmetic;
use crate::array::memory::{Readable, Writable};
use crate::kept::Vectors;
use crate::machine::Machine;
use crate::map::coefficients::Coefficients;
use crate::map::formulas::NormalizeCoefficients;
use crate::reduce::gradients::{ChannelConstants, GradientSums};
use std::ops::Range;

/// Something of each channel.
pub type OfChannel<'f, C> = &'f (dyn Fn(usize) -> C + Sync);

/// Something of each channel, from what was reduced of it.
pub type OfReduced<'f, V, C> = &'f (dyn Fn(usize, V) -> C + Sync);

/// An array that a pass takes beside x and dy.
#[derive(Debug)]
pub enum Beside<'a, T> {
    /// None.
    Nothing,
    /// In a forward pass what is added to z before the activation; in its backward pass the output, which tells the
    /// activation's derivative.
    Residual(&'a Readable<'a, T>),
    /// The number of times that each value counts.
    Weights(&'a Readable<'a, T>),
}

impl<T> Clone for Beside<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Beside<'_, T> {}

/// What normalises each channel, if it is known: see [`NormalizeCoefficients`].
#[derive(Debug, Clone, Copy)]
pub struct NormalizeVectors<'a> {
    /// The mean.
    pub mean: &'a [f64],
    /// gamma over the standard deviation.
    pub scale: &'a [f64],
    /// beta, less what the low part of the mean takes off.
    pub shift: &'a [f64],
}

/// A forward pass: y = f((x - mean) * scale + shift + residual), 0 where a weight is 0.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// What computes it.
    pub machine: &'a Machine,
    /// f.
    pub activation: Activation,
    /// Residual or weights.
    pub beside: Beside<'a, T>,
}

/// A backward pass of [`Forward`], with dz = dy f'(z).
pub struct Backward<'a, T> {
    /// What computes it.
    pub machine: &'a Machine,
    /// f.
    pub activation: Activation,
    /// Constants that the sums and z are computed with.
    pub channels: ChannelConstants<'a>,
    /// The forward pass's input.
    pub x: &'a Readable<'a, T>,
    /// Its output, if it had a residual; its weights.
    pub beside: Beside<'a, T>,
    /// Whether dx depends on the statistics.
    pub statistics: Statistics<'a>,
}

/// A backward pass that takes the output for the input: xhat = (z - beta) * gamma_reciprocal with z = f^-1(y).
pub struct OutputBackward<'a, T> {
    /// What computes it.
    pub machine: &'a Machine,
    /// f.
    pub activation: Activation,
    /// beta of each channel.
    pub beta: &'a [f64],
    /// 1 / gamma of each channel.
    pub gamma_reciprocal: &'a [f64],
    /// The forward pass's output.
    pub y: &'a Readable<'a, T>,
}

/// The part of the statistics in the gradient.
#[derive(Clone, Copy)]
pub enum Statistics<'a> {
    /// Functions of the batch: dx = scale * (dz - share * (mean(dz) + xhat * mean(dz xhat))).
    Batch(BatchStatistics<'a>),
    /// Constants: dx = scale * dz.
    Constants,
}

/// Statistics that depend on a batch, as dx takes them.
#[derive(Debug, Clone, Copy)]
pub struct BatchStatistics<'a> {
    /// n of each channel: the sum of the weights of all values that the statistics are of, without weights their number.
    pub total_weight: &'a [f64],
    /// What takes xhat about the mean's high part to that about the batch's mean, both over the deviation.
    pub xhat_low: &'a [f64],
    /// The batch's share in mean and variance: 1, or less where they are a mix.
    pub share: f64,
}

/// The outputs of a backward pass.
#[derive(Debug)]
pub struct GradientOutputs<'a, T> {
    /// The gradient of x.
    pub dx: Writable<'a, T>,
    /// The gradient of the residual, which is dz, of a pass that had one.
    pub dresidual: Option<Writable<'a, T>>,
}

impl<'a, T> GradientOutputs<'a, T> {
    /// Both, of a pass with a residual.
    pub(crate) fn both(self) -> [Writable<'a, T>; 2] {
        [self.dx, self.dresidual.expect("a pass with a residual has an output for its gradient")]
    }
}

impl<T> Clone for Backward<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Backward<'_, T> {}

impl<T> Clone for Forward<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Forward<'_, T> {}

impl ChannelConstants<'_> {
    /// Coefficients of z.
    #[inline(always)]
    pub(crate) fn normalize(&self, channel: usize) -> NormalizeCoefficients {
        NormalizeCoefficients { mean: self.mean[channel], scale: self.scale[channel], shift: self.shift[channel] }
    }

    /// Coefficients of dx where the statistics are the batch's, as the arithmetic takes them: of some neighbouring channels,
    /// from their sums. Quotients come first, for then they are computed side by side.
    pub(crate) fn input_gradients<M: Arithmetic>(
        &self,
        BatchStatistics { total_weight, xhat_low, share }: BatchStatistics,
        of: Range<usize>,
        sums: &[GradientSums],
    ) -> Coefficients<'static, 5> {
        let [mean, scale, shift, inverse_deviation, total_weight, xhat_low] =
            [self.mean, self.scale, self.shift, self.inverse_deviation, total_weight, xhat_low]
                .map(|vector| &vector[of.clone()]);
        let sums = &sums[..of.len()];
        let mut all = Vectors::of(of.len());
        let [means, scales, shifts, offsets, slopes] = all.each_mut();
        for (channel, (sums, n)) in sums.iter().zip(total_weight).enumerate() {
            (offsets[channel], slopes[channel]) = (sums.dy / n, sums.dy_xhat / n);
        }
        for channel in 0..of.len() {
            let (mean_dz, mean_dz_xhat) = (offsets[channel], slopes[channel]);
            let inverse_deviation = inverse_deviation[channel];
            // Of a gradient that is declared to be 0.
            let scale = if inverse_deviation == 0.0 { 0.0 } else { scale[channel] };
            let offset = share * (mean_dz - mean_dz_xhat * xhat_low[channel]);
            let slope = share * mean_dz_xhat * inverse_deviation;
            [offsets[channel], slopes[channel]] = M::offset_and_slope(scale, offset, slope);
            scales[channel] = scale;
        }
        means.copy_from_slice(mean);
        shifts.copy_from_slice(shift);
        Coefficients::Own(all)
    }
}
