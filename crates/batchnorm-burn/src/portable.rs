//! The layer by plain tensor operations, for backends that the extension does not know.

use batchnorm::{Activation, BatchMoments, CallError, Moments, RunningStatistics};
use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor, TensorData};

/// How a layer computes on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// By the crate `batchnorm`: its accuracy, and bits that depend on nothing but the input. On Flex.
    Contract,
    /// By Burn's tensor operations in the number type of the tensors, mean first and then the squares about it: as
    /// accurate as a two-pass `f32` computation is, and with whatever bits the backend gives. Gradients are Burn's own.
    /// Each training pass reads mean and variance back from the device. On every backend but Flex.
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

/// The training pass: output, and the batch's moments as the tensors' number type has them.
pub fn train<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Result<(Tensor<D>, BatchMoments), CallError> {
    let (shape, channels) = (x.dims(), x.dims()[1]);
    same_length("beta", channels, beta.dims()[0])?;
    let count = shape.iter().product::<usize>() / channels;
    match count {
        0 => return Ok((x, vec![Moments::EMPTY; channels].into())),
        1 => return Err(CallError::SingleValue { shape: shape.to_vec(), axis: 1 }),
        _ => {}
    }
    let others: Vec<usize> = (0..D).filter(|&axis| axis != 1).collect();
    let mean = x.clone().mean_dims(&others);
    let centered = x - mean.clone();
    let variance = centered.clone().square().mean_dims(&others);
    let y = centered / (variance.clone() + epsilon).sqrt() * along(gamma) + along(beta);

    let host = |tensor: Tensor<D>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
    let all = host(mean).into_iter().zip(host(variance)).map(|(mean, variance)| moments(count, mean, variance));
    Ok((y, all.collect::<Vec<_>>().into()))
}

/// The evaluation pass.
pub fn eval<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    running: &RunningStatistics,
    epsilon: f64,
) -> Result<Tensor<D>, CallError> {
    let channels = x.dims()[1];
    same_length("beta", channels, beta.dims()[0])?;
    same_length("running_mean", channels, running.channels())?;
    let device = x.device();
    let vector = |values: Vec<f64>| along(Tensor::from_data(TensorData::new(values, [channels]), (&device, x.dtype())));
    let mean: Tensor<D> = vector(running.mean().to_vec());
    let deviation = vector(running.variance().iter().map(|variance| (variance + epsilon).sqrt()).collect());
    Ok((x - mean) / deviation * along(gamma) + along(beta))
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

/// Moments with a count, a mean and a population variance, out of pairs `mean - s`, `mean + s`.
fn moments(count: usize, mean: f64, variance: f64) -> Moments {
    let in_pairs = count / 2 * 2;
    let spread = (variance * count as f64 / in_pairs as f64).sqrt();
    let mut doubled = Moments::of(&[mean - spread, mean + spread]);
    let mut all = if count > in_pairs { Moments::of(&[mean]) } else { Moments::EMPTY };
    let mut pairs = count / 2;
    while pairs > 0 {
        if pairs % 2 == 1 {
            all = all.merge(doubled);
        }
        doubled = doubled.merge(doubled);
        pairs /= 2;
    }
    all
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

    #[test]
    fn moments_have_what_they_were_given() {
        for count in [2, 3, 7, 64, 100_001] {
            let moments = moments(count, 5.0, 2.0);
            assert_eq!(moments.count(), count as u64);
            assert!((moments.mean() - 5.0).abs() < 1e-12);
            assert!((moments.population_variance() - 2.0).abs() < 1e-10);
        }
        assert!(!moments(4, f64::NAN, f64::NAN).is_finite());
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
                    let trained = fused().train(x.clone(), by).unwrap().output;
                    for y in [trained, fused().eval(x.clone(), by).unwrap()] {
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
                let y = norm.adding(residual.clone()).then(activation).eval(x, by).unwrap();
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

    #[test]
    fn policies_are_the_same() {
        let device = Device::default();
        let norm = BatchNormConfig::new(2).init(&device);
        let (by, plain) = (Arithmetic::TensorOperations, Activation::Identity);
        let single = norm.then(plain).train(Tensor::<2>::ones([1, 2], &device), by).unwrap_err().to_string();
        assert_eq!(
            single,
            norm.then(plain).train(Tensor::<2>::ones([1, 2], &device), Arithmetic::Contract).unwrap_err().to_string()
        );
        assert_eq!(norm.then(plain).train(Tensor::<2>::ones([0, 2], &device), by).unwrap().output.dims(), [0, 2]);
        let bad = Tensor::<2>::from_floats([[f32::NAN, 1.0], [1.0, 3.0]], &device);
        assert_eq!(norm.then(plain).train(bad, by).unwrap().not_updated, [0]);
        close(&values(norm.running_mean.value()), &[0.0, 0.2]);
    }
}
