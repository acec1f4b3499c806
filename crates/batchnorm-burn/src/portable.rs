//! The layer by plain tensor operations, for backends that the extension does not know.

use batchnorm::{
    Activation, BatchMoments, CallError, EmptyBatch, Grouping, Moments, NonFinite, NormalizeBy, Policies,
    Renormalization, RenormalizationLimits, RunningStatistics, SingleValue, Switches,
};
use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor, TensorData};

use crate::error::Reason;
use crate::pass::{BatchNormPass, Scope, WeightValues};

/// The arithmetic by which a layer computes on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// The crate `batchnorm`'s: its accuracy, and bits that depend on nothing but the input. On Flex.
    Contract,
    /// Burn's tensor operations in the number type of the tensors, mean first and then the squares about it: as
    /// accurate as a two-pass `f32` computation is, and with whatever bits the backend gives. Gradients are Burn's own.
    /// Each training pass reads mean and variance back from the device. The gradient of a channel whose values are all
    /// alike is the formula's, not 0. On every backend but Flex.
    ///
    /// Tested on Flex alone, against [`Contract`](Self::Contract): the tensor operations are the same ones everywhere,
    /// but no other backend has run them here.
    TensorOperations,
}

impl Arithmetic {
    /// The arithmetic of a layer on a device.
    pub fn on(device: &Device) -> Arithmetic {
        let flex = |device: &Device| matches!(device.as_dispatch(), DispatchDevice::Flex(_));
        let exact = if device.is_autodiff() { flex(&device.clone().without_autodiff()) } else { flex(device) };
        if exact { Arithmetic::Contract } else { Arithmetic::TensorOperations }
    }
}

/// A vector `[channels]` as `[1, channels, 1, ...]`.
fn by_channel<const D: usize>(vector: Tensor<1>) -> Tensor<D> {
    let mut shape = [1; D];
    shape[1] = vector.dims()[0];
    vector.reshape(shape)
}

fn same_length(argument: &'static str, expected: usize, got: usize) -> Result<(), CallError> {
    if got == expected { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
}

/// The options of a layer that a pass goes by.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub epsilon: f64,
    pub policies: Policies,
    pub renormalization: Option<Renormalization>,
}

/// A forward pass without residual and activation: its output, and the moments that the running statistics are to take
/// in, in the accuracy of the tensors' number type.
pub fn forward<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    options: Options,
    pass: &BatchNormPass,
) -> Result<(Tensor<D>, BatchMoments), Reason> {
    let (samples, channels) = (x.dims()[0], x.dims()[1]);
    same_length("beta", channels, beta.dims()[0])?;
    let running = pass.running()?;
    if let Some(running) = &running {
        same_length("running_mean", channels, running.channels())?;
    }
    let Options { epsilon, policies, renormalization } = options;
    let limits = renormalization.zip(running.as_ref());
    let limits = limits.map(|(renormalization, running)| renormalization.limits(running.batches()));
    let layer = Layer { gamma, beta, epsilon, policies, pass, running, limits };
    match &pass.scope {
        Scope::Participants(_) => Err(Reason::NeedsContract { what: "participants" }),
        Scope::Weights(weights) => {
            let weights = tensor_of(weights, &x)?;
            layer.forward(x, Some(weights))
        }
        Scope::Ghost(size, weights) if samples > 0 => {
            let weights = weights.as_ref().map(|weights| tensor_of(weights, &x)).transpose()?;
            let mut whole: Option<BatchMoments> = None;
            let mut outputs = Vec::new();
            for start in (0..samples).step_by(size.get()) {
                let end = samples.min(start.saturating_add(size.get()));
                let of_group = |weights: &Tensor<D>| match weights.dims()[0] {
                    1 => weights.clone(),
                    _ => weights.clone().narrow(0, start, end - start),
                };
                let group = layer.forward(x.clone().narrow(0, start, end - start), weights.as_ref().map(of_group));
                let (y, batch) = group.map_err(|reason| reason.of_ghost(size.get()))?;
                outputs.push(y);
                whole = Some(whole.map_or_else(|| Ok(batch.clone()), |whole| whole.merge(&batch))?);
            }
            Ok((Tensor::cat(outputs, 0), whole.expect("there are samples")))
        }
        Scope::Batch | Scope::Ghost(..) => layer.forward(x, None),
    }
}

/// Weights on the device and in the number type of x, if they fit it.
fn tensor_of<const D: usize>(weights: &WeightValues, x: &Tensor<D>) -> Result<Tensor<D>, CallError> {
    let shape: Vec<usize> = x.dims().to_vec();
    let fits = |(&got, &length): (&usize, &usize)| got == length || got == 1;
    if !weights.shape.iter().zip(&shape).all(fits) {
        return Err(CallError::WeightsShape { expected: shape, got: weights.shape.clone() });
    }
    let data = TensorData::new(weights.values.clone(), weights.shape.clone());
    Ok(Tensor::from_data(data, (&x.device(), x.dtype())))
}

/// Parameters and options of a pass.
struct Layer<'p> {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    policies: Policies,
    pass: &'p BatchNormPass,
    running: Option<RunningStatistics>,
    /// Limits of a pass that is renormalised.
    limits: Option<RenormalizationLimits>,
}

impl Layer<'_> {
    fn forward<const D: usize>(
        &self,
        x: Tensor<D>,
        weights: Option<Tensor<D>>,
    ) -> Result<(Tensor<D>, BatchMoments), Reason> {
        let Switches { normalize_by, update_running, train_parameters, gradient_through_statistics } =
            self.pass.switches;
        let (shape, channels) = (x.dims(), x.dims()[1]);
        let nothing = || BatchMoments::from(vec![Moments::EMPTY; channels]);
        if shape.contains(&0) {
            let trains = normalize_by != NormalizeBy::Running;
            if trains && self.policies.empty_batch == EmptyBatch::Error {
                return Err(CallError::EmptyBatch { shape: shape.to_vec() }.into());
            }
            return Ok((x, nothing()));
        }
        let masked = weights.as_ref().map(|weights| weights.clone().lower_equal_elem(0.0).expand(shape));
        // A masked value may be NaN, and 0 * NaN is NaN: it is replaced, not multiplied.
        let x = match &masked {
            Some(masked) => x.mask_fill(masked.clone(), 0.0),
            None => x,
        };
        // Weights of the running statistics and of the batch's.
        let (old, new) = match normalize_by {
            NormalizeBy::Batch => (0.0, 1.0),
            NormalizeBy::Running => (1.0, 0.0),
            NormalizeBy::Mix(weight) => (weight.old_value(), weight.new_value()),
        };
        let needs_batch = new > 0.0 || update_running;
        let batch = needs_batch.then(|| statistics(x.clone(), weights));
        let moments = batch.as_ref().map(|batch| batch.moments());
        let single = moments.as_ref().is_some_and(|channels| channels.iter().any(Moments::is_single));
        let by_running = new == 0.0 || (single && self.policies.single_value == SingleValue::UseRunning);
        if let Some(channels) = &moments {
            check_policies(channels, &shape, new > 0.0 && !by_running, masked.is_some(), self.policies)?;
        }
        let running = || self.running::<D>(&x);
        let [mean, variance] = match batch {
            Some(batch) if !by_running && old == 0.0 => [batch.mean, batch.variance],
            Some(batch) if !by_running => {
                let [mean, variance] = running();
                [mean * old + batch.mean * new, variance * old + batch.variance * new]
            }
            _ => running(),
        };
        let statistic = |tensor: Tensor<D>| if gradient_through_statistics { tensor } else { tensor.detach() };
        let parameter =
            |tensor: &Tensor<1>| by_channel(if train_parameters { tensor.clone() } else { tensor.clone().detach() });
        let deviation = (statistic(variance.clone()) + self.epsilon).sqrt();
        let normalized = (x.clone() - statistic(mean.clone())) / deviation;
        let normalized = match self.limits {
            Some(RenormalizationLimits { r_max, d_max }) if !by_running && old == 0.0 => {
                let [running_mean, running_variance] = self.running::<D>(&x);
                let deviation = (running_variance + self.epsilon).sqrt();
                let r = (variance.detach() + self.epsilon).sqrt() / deviation.clone();
                let d = (mean.detach() - running_mean) / deviation;
                normalized * r.clamp(1.0 / r_max, r_max) + d.clamp(-d_max, d_max)
            }
            _ => normalized,
        };
        let y = normalized * parameter(&self.gamma) + parameter(&self.beta);
        let y = match masked {
            Some(masked) => y.mask_fill(masked, 0.0),
            None => y,
        };
        // A single value updates the running statistics where it was normalised by, or where the policy takes it.
        let takes_single = self.policies.single_value == SingleValue::Population || new > 0.0;
        let to_take_in = |moments: Moments| if takes_single || !moments.is_single() { moments } else { Moments::EMPTY };
        let batch = moments.filter(|_| update_running);
        let batch = batch.map(|channels| channels.into_iter().map(to_take_in).collect::<Vec<_>>().into());
        Ok((y, batch.unwrap_or_else(nothing)))
    }

    /// Running mean and variance as tensors, on the device and in the number type of `like`.
    fn running<const D: usize>(&self, like: &Tensor<D>) -> [Tensor<D>; 2] {
        let running = self.running.as_ref().expect("given where a pass may go by them");
        let vector = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            by_channel(Tensor::from_data(data, (&like.device(), like.dtype())))
        };
        [vector(running.mean()), vector(running.variance())]
    }
}

/// Statistics of a batch, each `[1, channels, 1, ...]`.
struct Statistics<const D: usize> {
    count: Tensor<D>,
    weight: Tensor<D>,
    mean: Tensor<D>,
    variance: Tensor<D>,
}

fn statistics<const D: usize>(x: Tensor<D>, weights: Option<Tensor<D>>) -> Statistics<D> {
    let shape = x.dims();
    let reduced: Vec<usize> = (0..D).filter(|&axis| axis != 1).collect();
    let Some(weights) = weights else {
        let mean = x.clone().mean_dims(&reduced);
        let variance = (x - mean.clone()).square().mean_dims(&reduced);
        let values = shape.iter().product::<usize>() / shape[1];
        let count = mean.clone().detach().zeros_like() + values as f64;
        return Statistics { weight: count.clone(), count, mean, variance };
    };
    let weights = weights.expand(shape);
    let count = weights.clone().greater_elem(0.0).float().cast(x.dtype()).sum_dims(&reduced);
    let weight = weights.clone().sum_dims(&reduced);
    // A channel that is masked throughout has weight 0: its sums are 0, whatever they are divided by.
    let divisor = weight.clone().mask_fill(weight.clone().lower_equal_elem(0.0), 1.0);
    let mean = (x.clone() * weights.clone()).sum_dims(&reduced) / divisor.clone();
    let variance = ((x - mean.clone()).square() * weights).sum_dims(&reduced) / divisor;
    Statistics { count, weight, mean, variance }
}

impl<const D: usize> Statistics<D> {
    /// The moments of each channel, read back from the device.
    fn moments(&self) -> Vec<Moments> {
        let host = |tensor: &Tensor<D>| tensor.clone().into_data().iter::<f64>().collect::<Vec<f64>>();
        let [counts, weights, means, variances] = [&self.count, &self.weight, &self.mean, &self.variance].map(host);
        let channel = |c: usize| {
            let (count, variance) = (counts[c] as u64, if counts[c] < 2.0 { 0.0 } else { variances[c] });
            Moments::from_statistics(count, weights[c], means[c], variance).expect("statistics of weighted values")
        };
        (0..counts.len()).map(channel).collect()
    }
}

/// Checks a batch's moments against the policies; `normalizing` by them, or only taking them in.
fn check_policies(
    channels: &[Moments],
    shape: &[usize],
    normalizing: bool,
    weighted: bool,
    policies: Policies,
) -> Result<(), CallError> {
    let find = |property: fn(&Moments) -> bool| channels.iter().position(property);
    if policies.non_finite == NonFinite::Error {
        let not_finite: Vec<usize> = (0..channels.len()).filter(|&channel| !channels[channel].is_finite()).collect();
        if !not_finite.is_empty() {
            return Err(CallError::NonFinite { channels: not_finite });
        }
    }
    let refuses_one = matches!(policies.single_value, SingleValue::Error | SingleValue::UseRunning);
    match (find(Moments::is_single), find(|moments| moments.count() == 0)) {
        _ if !normalizing => Ok(()),
        (_, Some(channel)) if policies.empty_batch == EmptyBatch::Error => Err(CallError::AllMasked { channel }),
        (Some(channel), _) if refuses_one && weighted => {
            let (count, weight) = (channels[channel].count(), channels[channel].weight());
            Err(CallError::SingleWeighted { channel, count, weight })
        }
        (Some(_), _) if refuses_one => Err(CallError::SingleValue { shape: shape.to_vec(), axes: vec![1] }),
        _ => Ok(()),
    }
}

/// Layer, group, instance or RMS norm.
pub fn sample_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    grouping: Grouping,
    epsilon: f64,
) -> Tensor<D> {
    let shape = x.dims();
    if shape.contains(&0) {
        return x;
    }
    let rows = match grouping {
        Grouping::Layer { .. } | Grouping::Rms { .. } => shape[..D - 1].iter().product(),
        Grouping::Group { groups } | Grouping::GroupRms { groups } => shape[0] * groups,
        Grouping::Instance => shape[0] * shape[1],
    };
    let values: Tensor<2> = x.reshape([rows, shape.iter().product::<usize>() / rows]);
    let centered = match grouping {
        Grouping::Rms { .. } | Grouping::GroupRms { .. } => values,
        _ => values.clone() - values.mean_dim(1),
    };
    let deviation = (centered.clone().square().mean_dim(1) + epsilon).sqrt();
    let normalized: Tensor<D> = (centered / deviation).reshape(shape);
    let broadcast = |vector: Tensor<1>| match grouping {
        Grouping::Layer { .. } | Grouping::Rms { .. } => {
            let mut shape = [1; D];
            shape[D - 1] = vector.dims()[0];
            vector.reshape(shape)
        }
        _ => by_channel(vector),
    };
    normalized * broadcast(gamma) + broadcast(beta)
}

/// Adds a residual, then applies the activation. NaN stays NaN, and at 0 the derivative is that of the negative side,
/// as in the core.
pub fn add_and_activate<const D: usize>(
    z: Tensor<D>,
    residual: Option<Tensor<D>>,
    activation: Activation,
) -> Tensor<D> {
    let z = match residual {
        Some(residual) => z + residual,
        None => z,
    };
    let negative = |z: &Tensor<D>| z.clone().lower_equal_elem(0.0);
    match activation {
        Activation::Identity => z,
        Activation::LeakyRelu(slope) if slope > 0.0 => z.clone().mask_where(negative(&z), z * slope),
        // 0 * -infinity would be NaN.
        Activation::Relu | Activation::LeakyRelu(_) => z.clone().mask_fill(negative(&z), 0.0),
    }
}

#[cfg(test)]
mod tests;
