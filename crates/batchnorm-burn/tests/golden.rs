//! The core's recorded PyTorch values (`crates/batchnorm/tests/golden`), against the module in `f32` and in `f64`.

#![allow(missing_docs)]

#[path = "../../batchnorm/tests/golden/form.rs"]
mod form;
mod support;

use std::collections::BTreeMap;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};
use form::{Array, Case, Settings, Step, load};
use support::by_channel;

/// Rounding of a value to `f32`, relative: the state of a layer has it whatever the type of its input.
const F32: f64 = 1.0 / (1 << 24) as f64;

/// The recorded values are `f64`, and in `f32` the module gets them rounded, so its truth differs from the record by
/// what that rounding does, whose bound follows below from the data; on top comes the error that the module itself may
/// make.
struct Precision {
    dtype: DType,
    /// Rounding of the inputs, relative.
    input: f64,
    /// The error that the arithmetic and its rounding may add, by numerics.md section 0's measures: in `f64` the core's
    /// own bound against the same file; in `f32` the contract's 2 units in the last place, which are 4 roundings.
    arithmetic: f64,
}

const PRECISIONS: [Precision; 2] = [
    Precision { dtype: DType::F64, input: 0.0, arithmetic: 1e-12 },
    Precision { dtype: DType::F32, input: F32, arithmetic: 4.0 * F32 },
];

/// One channel's values, and the measures of errors.
struct Channel {
    n: f64,
    /// max|x|
    largest: f64,
    /// max|xhat|, and 1 / sqrt(variance + epsilon), of the statistics that normalise.
    xhat: f64,
    inverse: f64,
    variance: f64,
    gamma: f64,
    beta: f64,
    max_dy: f64,
    sum_dy: f64,
    sum_products: f64,
}

impl Channel {
    fn constant(&self) -> bool {
        self.variance == 0.0
    }
}

/// The greatest running mean and variance so far, and the times they were rounded.
#[derive(Clone, Default)]
struct State {
    mean: f64,
    variance: f64,
    /// The error of the variance from the rounding of inputs.
    inherited: f64,
    roundings: f64,
}

fn maximum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

fn or(array: &Option<Array>, value: f64, channels: usize) -> Vec<f64> {
    array.as_ref().map_or(vec![value; channels], |array| array.data.clone())
}

/// Bounds of a step's errors: of y, dx, dgamma and dbeta in units of their measures, by channel.
fn bounds(precision: &Precision, channel: &Channel, state: &State, by_batch: bool) -> [f64; 4] {
    // The error of xhat, to first order. By the batch: x and the mean by `shift` each, the deviation by at most
    // `shift` of itself (the variance's error is at most 2 * shift * deviation). By the running statistics: x, mean and
    // half the relative error of the variance.
    let shift = precision.input * channel.largest * channel.inverse;
    let off = if by_batch {
        shift * (2.0 + channel.xhat)
    } else {
        let state_mean = state.roundings * F32 * state.mean * channel.inverse;
        let state_variance = (state.roundings * F32 * state.variance + state.inherited) * channel.inverse.powi(2);
        shift + state_mean + 0.5 * channel.xhat * state_variance
    };
    let relative = if by_batch { shift } else { off };
    // gamma, beta and dy are rounded too: one rounding each.
    let rounded = precision.input;
    let scale = (channel.gamma.abs() * channel.xhat).max(channel.beta.abs());
    let y = (channel.gamma.abs() * off + rounded * (channel.gamma.abs() * channel.xhat + channel.beta.abs()))
        / scale.max(f64::MIN_POSITIVE);
    // dx = gamma * inverse * (dy - mean(dy) - xhat * mean(dy * xhat)), and mean(|xhat|) <= 1.
    let terms = 2.0 + channel.xhat;
    let dx = relative * terms + off * (1.0 + channel.xhat) + 2.0 * rounded * terms;
    let dgamma = off * channel.sum_dy / channel.sum_products.max(f64::MIN_POSITIVE) + rounded;
    [y, dx, dgamma, rounded].map(|bound| bound + precision.arithmetic)
}

/// The channels of a step.
fn channels(step: &Step, gamma: &[f64], beta: &[f64], running: (&[f64], &[f64]), epsilon: f64) -> Vec<Channel> {
    let (x, dy) = (by_channel(&step.x.data, &step.x.shape), by_channel(&step.dy.data, &step.dy.shape));
    let channel = |(c, (x, dy)): (usize, (&Vec<f64>, &Vec<f64>))| {
        let (mean, variance) = if step.uses_batch_statistics {
            let moments = batchnorm::Moments::of(x);
            (moments.mean(), moments.population_variance())
        } else {
            (running.0[c], running.1[c])
        };
        let inverse = batchnorm::inverse_deviation(variance, epsilon);
        let xhat = || x.iter().map(|x| (x - mean) * inverse);
        Channel {
            n: x.len() as f64,
            largest: maximum(x.iter().copied()),
            xhat: maximum(xhat()),
            inverse,
            variance,
            gamma: gamma[c],
            beta: beta[c],
            max_dy: maximum(dy.iter().copied()),
            sum_dy: dy.iter().map(|dy| dy.abs()).sum(),
            sum_products: xhat().zip(dy).map(|(xhat, dy)| (xhat * dy).abs()).sum(),
        }
    };
    x.iter().zip(&dy).enumerate().map(channel).collect()
}

struct Passed {
    y: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    not_updated: Vec<usize>,
}

fn tensor<const D: usize>(array: &Array, dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.data.clone(), array.shape.clone()), (device, dtype))
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn pass<const D: usize>(norm: &BatchNorm, step: &Step, dtype: DType) -> Passed {
    let device = Device::default().autodiff();
    let x = tensor::<D>(&step.x, dtype, &device).require_grad();
    let (y, not_updated) = if step.uses_batch_statistics {
        let trained = norm.try_forward_train(x.clone()).unwrap();
        (trained.output, trained.not_updated)
    } else {
        (norm.try_forward_eval(x.clone()).unwrap(), Vec::new())
    };
    assert_eq!(y.dtype(), dtype);
    let gradients = (y.clone() * tensor::<D>(&step.dy, dtype, &device)).sum().backward();
    let parameter = |tensor: Tensor<1>| doubles(tensor.grad(&gradients).unwrap());
    let (dgamma, dbeta) = (parameter(norm.gamma.val()), parameter(norm.beta.val()));
    Passed { y: doubles(y), dx: doubles(x.grad(&gradients).unwrap()), dgamma, dbeta, not_updated }
}

fn pass_of_rank(norm: &BatchNorm, step: &Step, dtype: DType) -> Passed {
    match step.x.shape.len() {
        2 => pass::<2>(norm, step, dtype),
        3 => pass::<3>(norm, step, dtype),
        4 => pass::<4>(norm, step, dtype),
        5 => pass::<5>(norm, step, dtype),
        6 => pass::<6>(norm, step, dtype),
        rank => panic!("rank {rank}"),
    }
}

/// Why the module does not take a case, or cannot be held to it in `f32`; where the module refuses, that it does.
fn refusal(case: &Case, precision: &Precision) -> Option<&'static str> {
    let config = BatchNormConfig::new(case.config.channels).with_epsilon(case.config.epsilon);
    let device = Device::default();
    let Some(weight) = case.config.weight_of_new_value else {
        return Some("a cumulative average, which Burn's configuration has no word for");
    };
    if !(0.0..=1.0).contains(&weight) {
        // torch takes such weights and ends with negative variances.
        assert!(config.with_momentum(weight).try_init(&device).is_err(), "{}", case.name);
        return Some("weight outside 0..1");
    }
    if case.steps[0].x.shape.len() < 2 {
        let norm = BatchNormConfig::new(1).init(&device);
        assert!(norm.try_forward_train(tensor::<1>(&case.steps[0].x, DType::F32, &device)).is_err());
        return Some("no channel axis");
    }
    if precision.dtype == DType::F32 {
        let fits = |value: &f64| *value == 0.0 || (*value as f32).is_normal();
        if !case.steps.iter().all(|step| step.x.data.iter().all(fits)) {
            return Some("values that f32 does not hold");
        }
        let distinct = |values: &[f64]| {
            let deviation = (batchnorm::Moments::of(values).population_variance() + case.config.epsilon).sqrt();
            F32 * maximum(values.iter().copied()) < deviation
        };
        let x = |step: &Step| by_channel(&step.x.data, &step.x.shape);
        if !case.steps.iter().flat_map(x).filter(|values| !values.is_empty()).all(|values| distinct(&values)) {
            return Some("values that differ by less than f32 resolves");
        }
    }
    None
}

/// The greatest error of some values, as a part of what it may be.
fn worst(got: &[f64], expected: &[f64], allowed: impl Fn(usize) -> f64) -> f64 {
    assert_eq!(got.len(), expected.len());
    let errors = got.iter().zip(expected).enumerate().map(|(i, (got, expected))| {
        let error = (got - expected).abs();
        assert!(!error.is_nan(), "got {got}, expected {expected}");
        if error == 0.0 { 0.0 } else { error / allowed(i) }
    });
    maximum(errors)
}

/// Runs a case; the greatest errors of y, dx, dgamma, dbeta, running mean and variance as parts of their bounds.
fn run(case: &Case, precision: &Precision) -> [f64; 6] {
    let device = Device::default().autodiff();
    let Settings { channels: count, epsilon, .. } = case.config;
    let weight = case.config.weight_of_new_value.expect("not refused");
    let mut norm = BatchNormConfig::new(count).with_epsilon(epsilon).with_momentum(weight).init(&device);
    let (gamma, beta) = (or(&case.initial.gamma, 1.0, count), or(&case.initial.beta, 0.0, count));
    let vector =
        |values: &[f64], dtype| tensor::<1>(&Array { shape: vec![count], data: values.to_vec() }, dtype, &device);
    norm.gamma = Param::from_tensor(vector(&gamma, precision.dtype));
    norm.beta = Param::from_tensor(vector(&beta, precision.dtype));
    let mut running = (or(&case.initial.running_mean, 0.0, count), or(&case.initial.running_var, 1.0, count));
    norm.running_mean.update(vector(&running.0, DType::F32));
    norm.running_var.update(vector(&running.1, DType::F32));

    let mut largest = [0.0f64; 6];
    let mut states: Vec<State> = (0..count)
        .map(|c| State { mean: running.0[c].abs(), variance: running.1[c], inherited: 0.0, roundings: 1.0 })
        .collect();
    for (number, step) in case.steps.iter().enumerate() {
        let at = format!("{} step {number} in {:?}", case.name, precision.dtype);
        let statistics = |norm: &BatchNorm| (doubles(norm.running_mean.value()), doubles(norm.running_var.value()));
        let before = statistics(&norm);
        let passed = pass_of_rank(&norm, step, precision.dtype);
        if step.x.data.is_empty() {
            assert_eq!(statistics(&norm), before, "{at}: an empty batch changes nothing");
            continue;
        }
        // The exact values where they were recorded; torch itself is off there.
        let truth = step.exact.as_ref().unwrap_or(&step.expect);
        let channels = channels(step, &gamma, &beta, (&running.0, &running.1), epsilon);
        let bounds: Vec<[f64; 4]> = channels
            .iter()
            .zip(&states)
            .map(|(channel, state)| bounds(precision, channel, state, step.uses_batch_statistics))
            .collect();
        let plane: usize = step.x.shape[2..].iter().product();
        let channel_of = |i: usize| i / plane % count;
        let y_scale = |c: usize| (channels[c].gamma.abs() * channels[c].xhat).max(channels[c].beta.abs());
        let mut errors = [0.0; 6];
        errors[0] = worst(&passed.y, &truth.y.data, |i| bounds[channel_of(i)][0] * y_scale(channel_of(i)));
        // A channel whose values are all alike has no gradient, by this project's declaration.
        let by_declaration = |c: usize| step.uses_batch_statistics && channels[c].constant();
        let dx: Vec<f64> = truth
            .dx
            .data
            .iter()
            .enumerate()
            .map(|(i, &dx)| if by_declaration(channel_of(i)) { 0.0 } else { dx })
            .collect();
        errors[1] = worst(&passed.dx, &dx, |i| {
            let channel = &channels[channel_of(i)];
            bounds[channel_of(i)][1] * channel.gamma.abs() * channel.inverse * channel.max_dy
        });
        for (which, got, expected) in [(2, &passed.dgamma, &truth.dgamma), (3, &passed.dbeta, &truth.dbeta)] {
            let measure = |c: usize| if which == 2 { channels[c].sum_products } else { channels[c].sum_dy };
            if let Some(expected) = expected {
                errors[which] = worst(got, &expected.data, |c| bounds[c][which] * measure(c));
            }
        }
        if let (true, Some(mean), Some(variance)) =
            (case.config.track_running_stats, &truth.running_mean, &truth.running_var)
        {
            if step.training {
                for (c, (state, channel)) in states.iter_mut().zip(&channels).enumerate() {
                    let sample = channel.n / (channel.n - 1.0);
                    state.mean = state.mean.max(channel.largest);
                    state.variance = state.variance.max(variance.data[c]).max(channel.variance * sample);
                    state.inherited += 2.0 * precision.input * channel.largest * channel.variance.sqrt() * sample;
                    state.roundings += 1.0;
                }
            }
            let (got_mean, got_variance) = statistics(&norm);
            // A value beyond f32 is not taken in, by this project's declaration: the channel keeps its statistics.
            let fits = |c: usize| (mean.data[c] as f32).is_finite() && (variance.data[c] as f32).is_finite();
            let expected_kept: Vec<usize> = (0..count).filter(|&c| !fits(c)).collect();
            assert_eq!(passed.not_updated, expected_kept, "{at}");
            let expected = |truth: &[f64], before: &[f64]| -> Vec<f64> {
                (0..count).map(|c| if fits(c) { truth[c] } else { before[c] }).collect()
            };
            // One rounding for each time it was stored, and one for that of the inputs; in the subnormals a rounding is
            // half a step.
            let least = |c: usize| states[c].roundings * f64::from(f32::from_bits(1)) / 2.0;
            errors[4] = worst(&got_mean, &expected(&mean.data, &before.0), |c| {
                (states[c].roundings + 1.0) * F32 * states[c].mean + least(c)
            });
            errors[5] = worst(&got_variance, &expected(&variance.data, &before.1), |c| {
                states[c].roundings * F32 * states[c].variance + states[c].inherited + least(c)
            });
            running = (mean.data.clone(), variance.data.clone());
        }
        assert!(errors.iter().all(|&error| error <= 1.0), "{at}: parts of the bounds: {errors:?}");
        for (largest, error) in largest.iter_mut().zip(errors) {
            *largest = largest.max(error);
        }
    }
    largest
}

#[test]
fn torchs_recorded_values_statistics_and_gradients() {
    let cases: Vec<Case> = load("torch.json");
    assert_eq!(cases.len(), 100);
    // 13 cases need what the module does not offer, or are refused; 5 more have values beyond f32.
    for (precision, refusals) in PRECISIONS.iter().zip([13, 18]) {
        let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let (mut ran, mut steps) = (0, 0);
        for case in &cases {
            match refusal(case, precision) {
                Some(why) => refused.entry(why).or_default().push(&case.name),
                None => {
                    let parts = run(case, precision);
                    println!("{:?} {}: parts of the bounds {parts:.2?}", precision.dtype, case.name);
                    (ran, steps) = (ran + 1, steps + case.steps.len());
                }
            }
        }
        let count: usize = refused.values().map(Vec::len).sum();
        println!("{:?}: {ran} cases ran ({steps} steps), {count} were refused: {refused:#?}", precision.dtype);
        assert_eq!(ran + count, cases.len());
        assert_eq!(count, refusals);
    }
}
