//! The layer by plain tensor operations, for backends that the extension does not know.

use batchnorm::{
    Activation, BatchMoments, CallError, EmptyBatch, Grouping, Moments, NonFinite, NormalizeBy, Policies, SingleValue,
    Switches,
};
use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor, TensorData};

use crate::error::Reason;
use crate::pass::{BatchNormPass, Over};

/// How a layer computes on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// By the crate `batchnorm`: its accuracy, and bits that depend on nothing but the input. On Flex.
    Contract,
    /// By Burn's tensor operations in the number type of the tensors, mean first and then the squares about it: as
    /// accurate as a two-pass `f32` computation is, and with whatever bits the backend gives. Gradients are Burn's own.
    /// Each training pass reads mean and variance back from the device. The gradient of a channel whose values are all alike is the
    /// formula's, not 0. On every backend but Flex.
    ///
    /// Tested on Flex alone, against [`Contract`](Self::Contract): the tensor operations are the same ones everywhere, but no
    /// other backend has run them here.
    TensorOperations,
}

impl Arithmetic {
    /// What a layer does on a device.
    pub fn on(device: &Device) -> Arithmetic {
        let flex = |device: &Device| matches!(device.as_dispatch(), DispatchDevice::Flex(_));
        let exact = if device.is_autodiff() { flex(&device.clone().without_autodiff()) } else { flex(device) };
        if exact { Arithmetic::Contract } else { Arithmetic::TensorOperations }
    }
}

/// `[channels]` as `[1, channels, 1, ...]`.
fn along<const D: usize>(vector: Tensor<1>) -> Tensor<D> {
    let mut shape = [1; D];
    shape[1] = vector.dims()[0];
    vector.reshape(shape)
}

fn same_length(argument: &'static str, expected: usize, got: usize) -> Result<(), CallError> {
    if got == expected { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
}

/// A pass: output, and what there is to take into the running statistics, as the tensors' number type has it.
pub fn forward<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    policies: Policies,
    pass: &BatchNormPass,
) -> Result<(Tensor<D>, BatchMoments), Reason> {
    let (samples, channels) = (x.dims()[0], x.dims()[1]);
    same_length("beta", channels, beta.dims()[0])?;
    same_length("running_mean", channels, pass.running.channels())?;
    let layer = Layer { gamma, beta, epsilon, policies, pass };
    match &pass.over {
        Over::Participants(_) => Err(Reason::NeedsContract { what: "participants" }),
        Over::Weights(weights) => {
            let shape: Vec<usize> = x.dims().to_vec();
            let fits = |(&own, &length): (&usize, &usize)| own == length || own == 1;
            if !weights.shape.iter().zip(&shape).all(fits) {
                return Err(CallError::WeightsShape { expected: shape, got: weights.shape.clone() }.into());
            }
            let data = TensorData::new(weights.values.clone(), weights.shape.clone());
            let weights = Tensor::from_data(data, (&x.device(), x.dtype()));
            layer.forward(x, Some(weights))
        }
        Over::Ghost(size) if samples > 0 => {
            let mut whole: Option<BatchMoments> = None;
            let mut outputs = Vec::new();
            for start in (0..samples).step_by(size.get()) {
                let end = samples.min(start.saturating_add(size.get()));
                let (y, batch) = layer.forward(x.clone().narrow(0, start, end - start), None)?;
                outputs.push(y);
                whole = Some(whole.map_or_else(|| Ok(batch.clone()), |whole| whole.merge(&batch))?);
            }
            Ok((Tensor::cat(outputs, 0), whole.expect("there are samples")))
        }
        Over::Batch | Over::Ghost(_) => layer.forward(x, None),
    }
}

struct Layer<'p> {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    policies: Policies,
    pass: &'p BatchNormPass,
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
        // What is masked may be NaN, which 0 times it is too.
        let x = match &masked {
            Some(masked) => x.mask_fill(masked.clone(), 0.0),
            None => x,
        };
        let (old, new) = match normalize_by {
            NormalizeBy::Batch => (0.0, 1.0),
            NormalizeBy::Running => (1.0, 0.0),
            NormalizeBy::Mix(weight) => (weight.old_value(), weight.new_value()),
        };
        let looks = new > 0.0 || update_running;
        let batch = looks.then(|| statistics(x.clone(), weights));
        let moments = batch.as_ref().map(|batch| batch.moments());
        let single = moments.as_ref().is_some_and(|all| all.iter().any(Moments::is_single));
        let by_running = new == 0.0 || (single && self.policies.single_value == SingleValue::UseRunning);
        if let Some(all) = &moments {
            refuse(all, &shape, new > 0.0 && !by_running, masked.is_some(), self.policies)?;
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
        let flowing = |tensor: Tensor<D>| if gradient_through_statistics { tensor } else { tensor.detach() };
        let trained =
            |tensor: &Tensor<1>| along(if train_parameters { tensor.clone() } else { tensor.clone().detach() });
        let deviation = (flowing(variance) + self.epsilon).sqrt();
        let y = (x - flowing(mean)) / deviation * trained(&self.gamma) + trained(&self.beta);
        let y = match masked {
            Some(masked) => y.mask_fill(masked, 0.0),
            None => y,
        };
        let population = self.policies.single_value == SingleValue::Population || new > 0.0;
        let teaches = |moments: &Moments| population || !moments.is_single();
        let of = |moments: Moments| if teaches(&moments) { moments } else { Moments::EMPTY };
        let batch = moments.filter(|_| update_running).map(|all| all.into_iter().map(of).collect::<Vec<_>>().into());
        Ok((y, batch.unwrap_or_else(nothing)))
    }

    fn running<const D: usize>(&self, like: &Tensor<D>) -> [Tensor<D>; 2] {
        let running = &self.pass.running;
        let vector = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            along(Tensor::from_data(data, (&like.device(), like.dtype())))
        };
        [vector(running.mean()), vector(running.variance())]
    }
}

/// Statistics of a batch, of each channel `[1, channels, 1, ...]`.
struct Statistics<const D: usize> {
    count: Tensor<D>,
    weight: Tensor<D>,
    mean: Tensor<D>,
    variance: Tensor<D>,
}

fn statistics<const D: usize>(x: Tensor<D>, weights: Option<Tensor<D>>) -> Statistics<D> {
    let shape = x.dims();
    let others: Vec<usize> = (0..D).filter(|&axis| axis != 1).collect();
    let Some(weights) = weights else {
        let mean = x.clone().mean_dims(&others);
        let variance = (x - mean.clone()).square().mean_dims(&others);
        let values = shape.iter().product::<usize>() / shape[1];
        let count = mean.clone().detach().zeros_like() + values as f64;
        return Statistics { weight: count.clone(), count, mean, variance };
    };
    let weights = weights.expand(shape);
    let count = weights.clone().greater_elem(0.0).float().cast(x.dtype()).sum_dims(&others);
    let weight = weights.clone().sum_dims(&others);
    // All masked: 0 by anything.
    let divisor = weight.clone().mask_fill(weight.clone().lower_equal_elem(0.0), 1.0);
    let mean = (x.clone() * weights.clone()).sum_dims(&others) / divisor.clone();
    let variance = ((x - mean.clone()).square() * weights).sum_dims(&others) / divisor;
    Statistics { count, weight, mean, variance }
}

impl<const D: usize> Statistics<D> {
    fn moments(&self) -> Vec<Moments> {
        let host = |tensor: &Tensor<D>| tensor.clone().into_data().iter::<f64>().collect::<Vec<f64>>();
        let [counts, weights, means, variances] = [&self.count, &self.weight, &self.mean, &self.variance].map(host);
        let of = |c: usize| {
            let (count, variance) = (counts[c] as u64, if counts[c] < 2.0 { 0.0 } else { variances[c] });
            Moments::from_statistics(count, weights[c], means[c], variance).expect("statistics of weighted values")
        };
        (0..counts.len()).map(of).collect()
    }
}

/// What the policies refuse.
fn refuse(
    all: &[Moments],
    shape: &[usize],
    normalizing: bool,
    weighted: bool,
    policies: Policies,
) -> Result<(), CallError> {
    let find = |what: fn(&Moments) -> bool| all.iter().position(what);
    if policies.non_finite == NonFinite::Error {
        let channels: Vec<usize> = (0..all.len()).filter(|&channel| !all[channel].is_finite()).collect();
        if !channels.is_empty() {
            return Err(CallError::NonFinite { channels });
        }
    }
    let refuses_one = matches!(policies.single_value, SingleValue::Error | SingleValue::UseRunning);
    match (find(Moments::is_single), find(|moments| moments.count() == 0)) {
        _ if !normalizing => Ok(()),
        (_, Some(channel)) if policies.empty_batch == EmptyBatch::Error => Err(CallError::AllMasked { channel }),
        (Some(channel), _) if refuses_one && weighted => {
            let (count, weight) = (all[channel].count(), all[channel].weight());
            Err(CallError::SingleWeighted { channel, count, weight })
        }
        (Some(_), _) if refuses_one => Err(CallError::SingleValue { shape: shape.to_vec(), axis: 1 }),
        _ => Ok(()),
    }
}

/// Norms that do not look at the batch.
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
        Grouping::Group { groups } => shape[0] * groups,
        Grouping::Instance => shape[0] * shape[1],
    };
    let values: Tensor<2> = x.reshape([rows, shape.iter().product::<usize>() / rows]);
    let centered = match grouping {
        Grouping::Rms { .. } => values,
        _ => values.clone() - values.mean_dim(1),
    };
    let deviation = (centered.clone().square().mean_dim(1) + epsilon).sqrt();
    let normalized: Tensor<D> = (centered / deviation).reshape(shape);
    let across = |vector: Tensor<1>| match grouping {
        Grouping::Layer { .. } | Grouping::Rms { .. } => {
            let mut shape = [1; D];
            shape[D - 1] = vector.dims()[0];
            vector.reshape(shape)
        }
        _ => along(vector),
    };
    normalized * across(gamma) + across(beta)
}

/// What follows a pass: the residual is added, then comes the activation. NaN stays NaN, and at 0 the derivative is that
/// of the negative side, as in the core.
pub fn followed<const D: usize>(z: Tensor<D>, residual: Option<Tensor<D>>, activation: Activation) -> Tensor<D> {
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
mod tests {
    use super::*;
    use crate::BatchNormConfig;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn close(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 2e-5 * theirs.abs().max(1.0), "{ours} and {theirs}");
        }
    }

    /// The same numbers in every run: what is random could stand where rounding decides the side of 0.
    fn fixed<const D: usize>(shape: [usize; D], step: usize, device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| (i * step % 1009) as f32 / 200.0 - 1.6).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    #[test]
    fn both_ways_agree_in_output_statistics_and_gradients() {
        let device = Device::default().autodiff();
        let shape = [5, 3, 4, 3];
        let [x, residual, dy] = [701, 433, 179].map(|step| fixed(shape, step, &device));
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
            for adding in [false, true] {
                let run = |by: Arithmetic| {
                    let norm = BatchNormConfig::new(3).init(&device);
                    let (x, residual) = (x.clone().require_grad(), residual.clone().require_grad());
                    let fused = || match adding {
                        true => norm.adding(residual.clone()).then(activation),
                        false => norm.then(activation),
                    };
                    let mut all = Vec::new();
                    let trained = fused().pass(x.clone(), Switches::train(), true, by).unwrap().output;
                    for y in [trained, fused().pass(x.clone(), Switches::evaluate(), false, by).unwrap().output] {
                        let gradients = (y.clone() * dy.clone()).sum().backward();
                        all.push(values(y));
                        all.push(values(x.grad(&gradients).unwrap()));
                        all.push(residual.grad(&gradients).map_or(Vec::new(), values));
                        all.push(values(norm.gamma.grad(&gradients).unwrap()));
                        all.push(values(norm.beta.grad(&gradients).unwrap()));
                    }
                    all.push(values(norm.running_mean.value()));
                    all.push(values(norm.running_var.value()));
                    all
                };
                let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
                for (number, (ours, theirs)) in ways.enumerate() {
                    println!("{activation:?}, adding {adding}, number {number}");
                    assert_eq!(theirs.is_empty(), !adding && number % 5 == 2 && number < 10);
                    close(&ours, &theirs);
                }
            }
        }
        assert_eq!(BatchNormConfig::new(3).init(&device).arithmetic(), Arithmetic::Contract);
    }

    #[test]
    fn the_kink_and_what_is_not_a_number_are_the_same() {
        let device = Device::default().autodiff();
        let edges = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0, 0.0, -2.0, 3.0];
        for activation in
            [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.0), Activation::LeakyRelu(0.25)]
        {
            let run = |by: Arithmetic| {
                // gamma and beta 0: z is 0 (or not a number), and the residual alone decides.
                let mut norm = BatchNormConfig::new(1).init(&device);
                norm.gamma = burn::module::Param::from_tensor(Tensor::zeros([1], &device));
                let x = Tensor::<2>::ones([7, 1], &device);
                let residual = Tensor::<1>::from_floats(edges, &device).reshape([7, 1]).require_grad();
                let y = norm
                    .adding(residual.clone())
                    .then(activation)
                    .pass(x, Switches::evaluate(), false, by)
                    .unwrap()
                    .output;
                let gradients = y.clone().sum().backward();
                let bits = |values: Vec<f32>| -> Vec<u32> {
                    let one_nan = |value: f32| if value.is_nan() { f32::NAN } else { value };
                    values.into_iter().map(|value| one_nan(value).to_bits()).collect()
                };
                (bits(values(y)), bits(values(residual.grad(&gradients).unwrap())))
            };
            assert_eq!(run(Arithmetic::TensorOperations), run(Arithmetic::Contract), "{activation:?}");
        }
    }

    /// Every combination of switches, masks, weights and ghost batches, by both ways.
    #[test]
    fn switches_weights_and_ghosts_are_the_same() {
        let device = Device::default().autodiff();
        let [x, dy, residual] = [701, 179, 433].map(|step| fixed([6, 3, 4], step, &device));
        let weights = fixed::<3>([6, 1, 4], 37, &device).clamp_min(0.0);
        let mix = NormalizeBy::Mix(batchnorm::UpdateWeight::of_new(0.3).unwrap());
        let mut all = Vec::new();
        for normalize_by in [NormalizeBy::Batch, NormalizeBy::Running, mix] {
            for bits in 0..8 {
                all.push(Switches {
                    normalize_by,
                    update_running: bits & 1 > 0,
                    train_parameters: bits & 2 > 0,
                    gradient_through_statistics: bits & 4 > 0,
                });
            }
        }
        for switches in all {
            for kind in 0..3 {
                let run = |by: Arithmetic| {
                    let mut norm = BatchNormConfig::new(3).init(&device);
                    norm.ghost = (kind == 0).then_some(4);
                    norm.running_var.update(Tensor::from_floats([0.5, 2.0, 1.5], &device));
                    let x = x.clone().require_grad();
                    let fused = match kind {
                        0 => norm.adding(residual.clone()),
                        1 => norm.weighing(weights.clone()),
                        _ => norm.counting(weights.clone().greater_elem(0.0)),
                    };
                    let y = fused.then(Activation::Relu).pass(x.clone(), switches, true, by).unwrap().output;
                    let gradients = (y.clone() * dy.clone()).sum().backward();
                    let mut all = vec![values(y), values(x.grad(&gradients).unwrap())];
                    for parameter in [&norm.gamma, &norm.beta] {
                        assert_eq!(parameter.grad(&gradients).is_some(), switches.train_parameters, "{switches:?}");
                        all.push(parameter.grad(&gradients).map_or(Vec::new(), values));
                    }
                    all.push(values(norm.running_mean.value()));
                    all.push(values(norm.running_var.value()));
                    all
                };
                let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
                for (number, (ours, theirs)) in ways.enumerate() {
                    println!("{switches:?}, kind {kind}, number {number}");
                    close(&ours, &theirs);
                }
            }
        }
    }

    #[test]
    fn policies_of_weights_and_ghosts_are_the_same() {
        let device = Device::default();
        let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 5.0], [4.0, f32::NAN]], &device);
        let singles = [SingleValue::Error, SingleValue::UseRunning, SingleValue::Population, SingleValue::SkipUpdate];
        for single_value in singles {
            for empty_batch in [EmptyBatch::Pass, EmptyBatch::Error] {
                let policies = Policies { single_value, empty_batch, ..Policies::default() };
                for counts in [[false; 3], [true, false, false], [true, true, false]] {
                    let run = |by: Arithmetic| {
                        let norm = BatchNormConfig::new(2).with_policies(policies).init(&device);
                        let counts: Tensor<2, burn::tensor::Bool> =
                            Tensor::<1, burn::tensor::Bool>::from_data(counts, &device).reshape([3, 1]);
                        let passed = norm.counting(counts).pass(x.clone(), Switches::train(), true, by);
                        let told = passed.map(|trained| values(trained.output)).map_err(|error| error.to_string());
                        (told, values(norm.running_mean.value()), values(norm.running_var.value()))
                    };
                    let (ours, theirs) = (run(Arithmetic::TensorOperations), run(Arithmetic::Contract));
                    println!("{policies:?}, {counts:?}");
                    close(&ours.1, &theirs.1);
                    close(&ours.2, &theirs.2);
                    match (ours.0, theirs.0) {
                        (Ok(ours), Ok(theirs)) => close(&ours, &theirs),
                        (ours, theirs) => assert_eq!(ours, theirs),
                    }
                }
                let run = |by: Arithmetic| {
                    let mut norm = BatchNormConfig::new(2).with_policies(policies).init(&device);
                    norm.ghost = Some(2);
                    let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 5.0], [4.0, 7.0]], &device);
                    let passed = norm.then(Activation::Identity).pass(x, Switches::train(), true, by);
                    passed.map(|trained| values(trained.output)).map_err(|error| error.to_string())
                };
                match (run(Arithmetic::TensorOperations), run(Arithmetic::Contract)) {
                    (Ok(ours), Ok(theirs)) => close(&ours, &theirs),
                    (ours, theirs) => assert_eq!(ours, theirs),
                }
            }
        }
    }

    #[test]
    fn sample_norms_are_the_same() {
        use crate::SampleNormConfig;
        let device = Device::default().autodiff();
        for config in [
            SampleNormConfig::layer(8),
            SampleNormConfig::rms(8),
            SampleNormConfig::group(2, 4),
            SampleNormConfig::instance(4),
        ] {
            let run = |by: Arithmetic| {
                let norm = config.init(&device);
                let x = fixed([3, 4, 8], 701, &device).require_grad();
                let y = norm.pass(x.clone(), by).unwrap();
                let gradients = (y.clone() * fixed([3, 4, 8], 179, &device)).sum().backward();
                let gamma = values(norm.gamma.as_ref().unwrap().grad(&gradients).unwrap());
                [values(y), values(x.grad(&gradients).unwrap()), gamma]
            };
            let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
            ways.for_each(|(ours, theirs)| close(&ours, &theirs));
        }
    }

    #[test]
    fn policies_are_the_same() {
        let device = Device::default();
        let norm = BatchNormConfig::new(2).init(&device);
        let (by, plain) = (Arithmetic::TensorOperations, Activation::Identity);
        let single = norm
            .then(plain)
            .pass(Tensor::<2>::ones([1, 2], &device), Switches::train(), true, by)
            .unwrap_err()
            .to_string();
        assert_eq!(
            single,
            norm.then(plain)
                .pass(Tensor::<2>::ones([1, 2], &device), Switches::train(), true, Arithmetic::Contract)
                .unwrap_err()
                .to_string()
        );
        assert_eq!(
            norm.then(plain)
                .pass(Tensor::<2>::ones([0, 2], &device), Switches::train(), true, by)
                .unwrap()
                .output
                .dims(),
            [0, 2]
        );
        let bad = Tensor::<2>::from_floats([[f32::NAN, 1.0], [1.0, 3.0]], &device);
        assert_eq!(norm.then(plain).pass(bad, Switches::train(), true, by).unwrap().not_updated, [0]);
        close(&values(norm.running_mean.value()), &[0.0, 0.2]);
    }
}
