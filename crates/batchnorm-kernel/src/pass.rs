//! A pass as data: what it takes, and what its numbers follow from.

use crate::activation::Activation;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::map::formulas::{InputGradientCoefficients, NormalizeCoefficients};
use crate::reduce::gradients::{ChannelConstants, GradientSums};

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
    /// Functions of the batch: dx by coefficients that follow from the sums of a channel.
    Batch(OfReduced<'a, GradientSums, InputGradientCoefficients>),
    /// Constants: dx = scale * dz.
    Constants,
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
    pub(crate) fn normalize(&self, channel: usize) -> NormalizeCoefficients {
        NormalizeCoefficients { mean: self.mean[channel], scale: self.scale[channel], shift: self.shift[channel] }
    }

    /// Coefficients of dx where the statistics are constants.
    pub(crate) fn input_gradient(&self, channel: usize) -> InputGradientCoefficients {
        let NormalizeCoefficients { mean, scale, shift } = self.normalize(channel);
        InputGradientCoefficients { mean, scale, shift, offset: 0.0, slope: 0.0 }
    }
}
