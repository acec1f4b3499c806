//! Gradients against Burn's own, with a random upstream gradient.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::{Module, Param, ParamGroup};
use burn::tensor::{Device, Tensor};
use support::{Source, bits, by_channel, floats, vector};

/// Greatest error allowed, by the measure of the accuracy contract: errors of dx against |gamma| / deviation *
/// max|dy|, of dgamma against sum|dy * xhat|, of dbeta against sum|dy|.
const BOUND: f64 = 1e-6;

/// One channel's scales to measure errors by.
struct Scale {
    dx: f64,
    dgamma: f64,
    dbeta: f64,
}

fn scales(x: &[f32], dy: &[f32], gamma: &[f32], shape: &[usize]) -> Vec<Scale> {
    let (x, dy) = (by_channel(x, shape), by_channel(dy, shape));
    let scale = |(channel, x): (usize, &Vec<f64>)| {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + 1e-5).sqrt();
        let dy = &dy[channel];
        Scale {
            dx: f64::from(gamma[channel]).abs() * inverse * dy.iter().fold(0.0, |largest, dy| dy.abs().max(largest)),
            dgamma: dy.iter().zip(x).map(|(dy, x)| (dy * (x - mean) * inverse).abs()).sum(),
            dbeta: dy.iter().map(|dy| dy.abs()).sum(),
        }
    };
    x.iter().enumerate().map(scale).collect()
}

/// Both layers with the same parameters.
fn pair(gamma: &[f32], beta: &[f32], device: &Device) -> (BatchNorm, burn::nn::BatchNorm) {
    let mut ours = BatchNormConfig::new(gamma.len()).init(device);
    let mut theirs = burn::nn::BatchNormConfig::new(gamma.len()).init(device);
    (ours.gamma, ours.beta) = (Param::from_tensor(vector(gamma, device)), Param::from_tensor(vector(beta, device)));
    (theirs.gamma, theirs.beta) = (Param::from_tensor(vector(gamma, device)), Param::from_tensor(vector(beta, device)));
    (ours, theirs)
}

/// The greater of two errors; NaN is the greatest of all (`f64::max` would drop it).
fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn training_gradients<const D: usize>(index: usize, shape: &[usize]) {
    let mut source = Source::new(200 + index as u64);
    let device = Device::default().autodiff();
    let (gamma, beta) = (source.values(shape[1], 1.0, 0.5), source.values(shape[1], 0.0, 1.0));
    let (ours, theirs) = pair(&gamma, &beta, &device);
    let x = source.tensor::<D>(shape, &device);
    let dy = source.tensor::<D>(shape, &device);

    let (x_ours, x_theirs) = (x.clone().require_grad(), x.clone().require_grad());
    let y_ours = ours.forward(x_ours.clone());
    let y_theirs = theirs.forward(x_theirs.clone());
    let mut layers = [(&ours.gamma, &ours.beta, x_ours, y_ours), (&theirs.gamma, &theirs.beta, x_theirs, y_theirs)]
        .map(|(gamma, beta, x, y)| {
            let gradients = (y * dy.clone()).sum().backward();
            let gradient = |tensor: Tensor<1>| floats(tensor.grad(&gradients).unwrap());
            (floats(x.grad(&gradients).unwrap()), gradient(gamma.val()), gradient(beta.val()))
        })
        .into_iter();
    let (ours, theirs) = (layers.next().unwrap(), layers.next().unwrap());

    let scales = scales(&floats(x), &floats(dy), &gamma, shape);
    let mut worst = [0.0f64; 3];
    for (channel, (ours, theirs)) in by_channel(&ours.0, shape).iter().zip(by_channel(&theirs.0, shape)).enumerate() {
        for (ours, theirs) in ours.iter().zip(theirs) {
            worst[0] = greater(worst[0], (ours - theirs).abs() / scales[channel].dx);
        }
    }
    for channel in 0..shape[1] {
        let error = |ours: &[f32], theirs: &[f32]| (f64::from(ours[channel]) - f64::from(theirs[channel])).abs();
        worst[1] = greater(worst[1], error(&ours.1, &theirs.1) / scales[channel].dgamma);
        worst[2] = greater(worst[2], error(&ours.2, &theirs.2) / scales[channel].dbeta);
    }
    println!("{shape:?}: dx, dgamma, dbeta differ by {worst:?}");
    assert!(worst.iter().all(|&worst| worst <= BOUND), "{shape:?}: {worst:?}");
}

#[test]
fn in_training_they_equal_burns() {
    for_each_shape!(training_gradients);
}

#[test]
fn in_training_they_equal_burns_on_50_random_shapes() {
    let mut source = Source::new(800);
    let mut done = 0;
    while done < 50 {
        let rank = 2 + done % 4;
        let shape: Vec<usize> = source.values(rank, 4.0, 2.0).iter().map(|size| size.max(1.0) as usize).collect();
        if shape.iter().product::<usize>() / shape[1] < 2 {
            continue;
        }
        match rank {
            2 => training_gradients::<2>(1000 + done, &shape),
            3 => training_gradients::<3>(1000 + done, &shape),
            4 => training_gradients::<4>(1000 + done, &shape),
            _ => training_gradients::<5>(1000 + done, &shape),
        }
        done += 1;
    }
}

fn evaluation_gradients<const D: usize>(index: usize, shape: &[usize]) {
    let mut source = Source::new(300 + index as u64);
    let device = Device::default().autodiff();
    let (gamma, beta) = (source.values(shape[1], 1.0, 0.5), source.values(shape[1], 0.0, 1.0));
    let (ours, _) = pair(&gamma, &beta, &device);
    let variance: Vec<f32> = source.values(shape[1], 3.0, 0.4);
    ours.running_var.update(vector(&variance, &device));
    let (x, dy) = (source.tensor::<D>(shape, &device).require_grad(), source.tensor::<D>(shape, &device));

    let gradients = (ours.forward_eval(x.clone()) * dy.clone()).sum().backward();
    let dx = by_channel(&floats(x.grad(&gradients).unwrap()), shape);
    for (channel, dy) in by_channel(&floats(dy), shape).iter().enumerate() {
        // Mean and variance are constants: dx is dy times one number.
        let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + 1e-5).sqrt();
        for (dx, dy) in dx[channel].iter().zip(dy) {
            assert_eq!(*dx as f32, (dy * scale) as f32, "{shape:?}, channel {channel}");
        }
    }
}

#[test]
fn in_evaluation_the_statistics_are_constants() {
    for_each_shape!(evaluation_gradients);
}

/// The bits of the gradients that come where some of input, gamma and beta require one.
fn gradients_of(
    x: &Tensor<3>,
    dy: &Tensor<3>,
    [input, gamma, beta]: [bool; 3],
    training: bool,
) -> [Option<Vec<u32>>; 3] {
    let device = x.device();
    let require = |name, wanted, norm: BatchNorm| norm.set_require_grad_group(ParamGroup::from_path(name), wanted);
    let norm = require("gamma", gamma, require("beta", beta, BatchNormConfig::new(x.dims()[1]).init(&device)));
    let x = x.clone().set_require_grad(input);
    let y = if training { norm.forward_train(x.clone()) } else { norm.forward_eval(x.clone()) };
    // Something that requires a gradient, so that there is a graph when nobody does.
    let other = Tensor::<1>::ones([1], &device).require_grad();
    let gradients = ((y * dy.clone()).sum() + other.clone()).backward();
    assert!(other.grad(&gradients).is_some());
    let parameter = |tensor: Tensor<1>| tensor.grad(&gradients).map(bits);
    [x.grad(&gradients).map(bits), parameter(norm.gamma.val()), parameter(norm.beta.val())]
}

#[test]
fn they_go_to_who_asked_alone_and_are_the_same_for_him() {
    let device = Device::default().autodiff();
    let mut source = Source::new(400);
    let (x, dy) = (source.tensor::<3>(&[9, 4, 5], &device), source.tensor::<3>(&[9, 4, 5], &device));
    for training in [true, false] {
        let complete = gradients_of(&x, &dy, [true; 3], training).map(Option::unwrap);
        for combination in 0..8 {
            let wanted = [1, 2, 4].map(|bit| combination & bit != 0);
            let expected = [0, 1, 2].map(|which| wanted[which].then(|| complete[which].clone()));
            assert_eq!(gradients_of(&x, &dy, wanted, training), expected, "training {training}: {wanted:?}");
        }
    }
}

#[test]
fn no_grad_is_all_parameters_and_not_the_input() {
    let device = Device::default().autodiff();
    let input = Source::new(401).tensor::<2>(&[9, 4], &device).require_grad();
    let frozen = BatchNormConfig::new(4).init(&device).no_grad();
    let gradients = frozen.forward(input.clone()).powi_scalar(3).sum().backward();
    assert!(input.grad(&gradients).is_some());
    assert!(frozen.gamma.val().grad(&gradients).is_none());
    assert!(frozen.beta.val().grad(&gradients).is_none());
}

#[test]
fn they_do_not_depend_on_how_the_tensors_lie_in_memory() {
    let device = Device::default().autodiff();
    let mut source = Source::new(500);
    let norm = BatchNormConfig::new(3).init(&device);
    // NHWC in memory, NCHW in shape; and every second sample of a larger batch.
    let stored = source.tensor::<4>(&[8, 5, 4, 3], &device);
    let strided = stored.clone().permute([0, 3, 1, 2]).narrow(0, 2, 4);
    let dense = Tensor::<4>::from_data(strided.to_data(), &device);
    let dy = source.tensor::<4>(&[4, 5, 4, 3], &device).permute([0, 3, 1, 2]);
    let run = |x: Tensor<4>| {
        let x = x.detach().require_grad();
        let y = norm.forward_train(x.clone());
        let gradients = (y.clone() * dy.clone()).sum().backward();
        (bits(y), bits(x.grad(&gradients).unwrap()), bits(norm.gamma.val().grad(&gradients).unwrap()))
    };
    assert_eq!(run(strided), run(dense));
}

#[test]
fn of_a_sum_they_are_nought_and_n() {
    let device = Device::default().autodiff();
    let norm = BatchNormConfig::new(5).init(&device);
    let x = Source::new(600).tensor::<4>(&[6, 5, 3, 3], &device).require_grad();
    // The upstream gradient of a sum is one number with strides of 0.
    let gradients = norm.forward(x.clone()).sum().backward();
    assert!(floats(x.grad(&gradients).unwrap()).iter().all(|dx| dx.abs() < 1e-6));
    assert_eq!(floats(norm.beta.val().grad(&gradients).unwrap()), [54.0; 5]);
}

#[test]
fn a_layer_twice_in_one_graph_adds_them() {
    let device = Device::default().autodiff();
    let mut source = Source::new(700);
    let norm = BatchNormConfig::new(2).init(&device);
    let [a, b, dy] = [0, 1, 2].map(|_| source.tensor::<2>(&[7, 2], &device));
    let dbeta = |y: Tensor<2>| {
        let gradients = (y * dy.clone()).sum().backward();
        floats(norm.beta.val().grad(&gradients).unwrap())
    };
    let (first, second) = (dbeta(norm.forward(a.clone())), dbeta(norm.forward(b.clone())));
    let both = dbeta(norm.forward(a) + norm.forward(b));
    assert_eq!(both, [first[0] + second[0], first[1] + second[1]]);
}
