//! Batch norm folded into the layer before it, for use without training.

use batchnorm::{CallError, NormalizeBy, inverse_deviation};
use burn::module::Param;
use burn::nn::Linear;
use burn::nn::conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
use burn::tensor::{Tensor, TensorData};

use crate::error::{ForwardError, Reason};
use crate::module::BatchNorm;
use crate::running::{dequantized, values};

/// A linear layer that a batch norm behind it can be folded into: Burn's `Linear`, `Conv1d` to `Conv3d` and
/// `ConvTranspose1d` to `ConvTranspose3d`, with groups and without.
pub trait Foldable: Sized {
    /// The layer with its output scaled and shifted by channels: `change(channel)` gives scale, mean and beta of
    /// `(output - mean) * scale + beta`. `Err` with the number of its channels where that is not `channels`.
    #[doc(hidden)]
    fn scaled(self, channels: usize, change: &dyn Fn(usize) -> Scaling) -> Result<Self, usize>;
}

/// What a batch norm does to a channel: `(output - mean) * scale + beta`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Scaling {
    scale: f64,
    mean: f64,
    beta: f64,
}

impl BatchNorm {
    /// The layer before this one with this one in it: what it computes then is `norm.forward_eval(before.forward(x))`, but for
    /// rounding. Weight and bias are computed in `f64` from the running statistics and rounded once:
    ///
    /// `weight' = weight * scale`, `bias' = (bias - mean) * scale + beta`, `scale = gamma / sqrt(variance + epsilon)`
    ///
    /// by output channels; a layer without a bias gets one. Quantised parameters are read as the numbers they stand for. The
    /// folded layer is for use: training it on is another thing than training the two.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::nn::conv::Conv2dConfig;
    /// use burn::tensor::{Device, Distribution, Tensor, Tolerance};
    /// let device = Device::default();
    /// let (conv, norm) = (Conv2dConfig::new([3, 8], [3, 3]).init(&device), BatchNormConfig::new(8).init(&device));
    /// let x = Tensor::<4>::random([2, 3, 9, 9], Distribution::Default, &device);
    /// norm.forward_train(conv.forward(x.clone()));
    /// let both = norm.forward_eval(conv.forward(x.clone()));
    /// let folded = norm.fold_into(conv)?;
    /// folded.forward(x).into_data().assert_approx_eq(&both.into_data(), Tolerance::<f32>::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Another number of output channels; a layer that is [pinned](Self::pin) to normalise by the batch; invalid options,
    /// parameters or running statistics.
    pub fn fold_into<L: Foldable>(&self, before: L) -> Result<L, ForwardError> {
        self.folded_into(before).map_err(|reason| self.error(reason))
    }

    fn folded_into<L: Foldable>(&self, before: L) -> Result<L, Reason> {
        if self.pinned.is_some_and(|pinned| pinned.normalize_by != NormalizeBy::Running) {
            return Err(Reason::Apart { one: "folding", other: "a pin to the batch's statistics" });
        }
        self.options(batchnorm::Activation::Identity)?.normalizer()?;
        let (running, gamma, beta) = (self.running()?, values(&self.gamma.val()), values(&self.beta.val()));
        let channels = gamma.len();
        for (argument, got) in [("beta", beta.len()), ("running_mean", running.channels())] {
            if got != channels {
                return Err(CallError::Length { argument, expected: channels, got }.into());
            }
        }
        let change = |channel: usize| Scaling {
            scale: gamma[channel] * inverse_deviation(running.variance()[channel], self.epsilon),
            mean: running.mean()[channel],
            beta: beta[channel],
        };
        before.scaled(channels, &change).map_err(|got| Reason::FoldedChannels { expected: channels, got })
    }
}

/// A weight with each value scaled by that of its output channel.
fn weight<const D: usize>(
    weight: Param<Tensor<D>>,
    channel: impl Fn(usize) -> usize,
    change: &dyn Fn(usize) -> Scaling,
) -> Param<Tensor<D>> {
    weight.map(|weight| {
        let weight = dequantized(weight);
        let (device, dtype, shape) = (weight.device(), weight.dtype(), weight.dims());
        let scaled = |(at, value): (usize, f64)| value * change(channel(at)).scale;
        let values: Vec<f64> = weight.into_data().iter::<f64>().enumerate().map(scaled).collect();
        Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
    })
}

/// A bias for so many channels, of the device and number type of `like`.
fn bias<const D: usize>(
    bias: Option<Param<Tensor<1>>>,
    channels: usize,
    like: &Tensor<D>,
    change: &dyn Fn(usize) -> Scaling,
) -> Param<Tensor<1>> {
    let shifted = |old: Option<Tensor<1>>| {
        let old = old.map_or_else(|| vec![0.0; channels], |old| values(&old));
        let shifted = |(channel, value): (usize, &f64)| {
            let Scaling { scale, mean, beta } = change(channel);
            (value - mean) * scale + beta
        };
        let values: Vec<f64> = old.iter().enumerate().map(shifted).collect();
        Tensor::from_data(TensorData::new(values, [channels]), (&like.device(), like.dtype()))
    };
    match bias {
        Some(bias) => bias.map(|old| shifted(Some(old))),
        // As trainable as the weight.
        None if like.is_autodiff() && !like.is_require_grad() => {
            Param::from_tensor(shifted(None)).set_require_grad(false)
        }
        None => Param::from_tensor(shifted(None)),
    }
}

/// Implements folding for a layer with `weight` and `bias`: its number of output channels, and which of them a value of the
/// weight belongs to, both by the weight's shape and the layer.
macro_rules! foldable {
    ($($layer:ty, channels: $channels:expr, of: $of:expr;)*) => {$(
        impl Foldable for $layer {
            fn scaled(self, channels: usize, change: &dyn Fn(usize) -> Scaling) -> Result<Self, usize> {
                let shape = self.weight.dims();
                let got = $channels(&self, &shape[..]);
                if got != channels {
                    return Err(got);
                }
                let like = dequantized(self.weight.val());
                let bias = bias(self.bias.clone(), channels, &like, change);
                let of = |at: usize| $of(&self, &shape[..], at);
                let weight = weight(self.weight.clone(), of, change);
                let mut folded = self;
                (folded.weight, folded.bias) = (weight, Some(bias));
                Ok(folded)
            }
        }
    )*};
}

/// `[out, in / groups, kernel...]`.
fn of_convolution(shape: &[usize], at: usize) -> usize {
    at / shape[1..].iter().product::<usize>()
}

/// `[in, out / groups, kernel...]`.
fn of_transposed(groups: usize, shape: &[usize], at: usize) -> usize {
    let kernel: usize = shape[2..].iter().product();
    let (input, output) = (at / (shape[1] * kernel), at / kernel % shape[1]);
    input / (shape[0] / groups) * shape[1] + output
}

foldable! {
    // [in, out]
    Linear, channels: |_: &Linear, shape: &[usize]| shape[1], of: |_: &Linear, shape: &[usize], at| at % shape[1];
    Conv1d, channels: |_: &Conv1d, shape: &[usize]| shape[0], of: |_: &Conv1d, shape, at| of_convolution(shape, at);
    Conv2d, channels: |_: &Conv2d, shape: &[usize]| shape[0], of: |_: &Conv2d, shape, at| of_convolution(shape, at);
    Conv3d, channels: |_: &Conv3d, shape: &[usize]| shape[0], of: |_: &Conv3d, shape, at| of_convolution(shape, at);
    ConvTranspose1d, channels: |layer: &ConvTranspose1d, shape: &[usize]| shape[1] * layer.groups,
        of: |layer: &ConvTranspose1d, shape, at| of_transposed(layer.groups, shape, at);
    ConvTranspose2d, channels: |layer: &ConvTranspose2d, shape: &[usize]| shape[1] * layer.groups,
        of: |layer: &ConvTranspose2d, shape, at| of_transposed(layer.groups, shape, at);
    ConvTranspose3d, channels: |layer: &ConvTranspose3d, shape: &[usize]| shape[1] * layer.groups,
        of: |layer: &ConvTranspose3d, shape, at| of_transposed(layer.groups, shape, at);
}
