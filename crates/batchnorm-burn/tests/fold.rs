//! Batch norm folded into the layer before it, against the two in turn.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{BatchNorm, BatchNormConfig, Foldable, Switches};
use burn::module::{Module, Param};
use burn::nn::LinearConfig;
use burn::nn::conv::{
    Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig, ConvTranspose3dConfig,
};
use burn::tensor::{DType, Device, Tensor};
use support::{Source, floats, vector};

/// A trained norm: means and variances of all sizes, gamma of both signs.
fn norm(channels: usize, source: &mut Source) -> BatchNorm {
    let device = Device::default();
    let mut norm = BatchNormConfig::new(channels).with_epsilon(1e-3).with_name("norm").init(&device);
    let mut values = |mean, deviation| vector(&source.values(channels, mean, deviation), &device);
    norm.gamma = Param::from_tensor(values(0.0, 1.0));
    norm.beta = Param::from_tensor(values(0.0, 1.0));
    norm.running_mean.update(values(3.0, 5.0));
    norm.running_var.update(values(0.0, 2.0).square());
    norm
}

/// The folded layer and the two in turn, both in `f64`, where only the rounding of the folded weights to `f32` shows.
fn check<L: Foldable + Module, const D: usize, const E: usize>(
    source: &mut Source,
    layer: L,
    channels: usize,
    shape: [usize; D],
    forward: impl Fn(&L, Tensor<D>) -> Tensor<E>,
) {
    let norm = norm(channels, source);
    let x = source.tensor::<D>(&shape, &Device::default());
    let in_turn = norm.forward_eval(forward(&layer, x.clone()));
    let folded = norm.fold_into(layer.clone()).unwrap();
    let got = forward(&folded, x);
    let (got, expected) = (floats(got), floats(in_turn));
    let largest = expected.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() < 2e-5 * largest, "{got} {expected} of {largest}");
    }
    // The layer before has another number of channels.
    let other = self::norm(channels + 1, source).fold_into(layer).map(drop).unwrap_err().to_string();
    assert!(
        other.starts_with(&format!("norm: before: expected a layer of {} output channels", channels + 1)),
        "{other}"
    );
}

#[test]
fn every_linear_layer() {
    let mut source = Source::new(7001);
    let device = Device::default();
    for bias in [true, false] {
        let linear = LinearConfig::new(5, 7).with_bias(bias).init(&device);
        check(&mut source, linear, 7, [4, 5], |layer, x| layer.forward(x));
        for groups in [1, 2] {
            let conv = Conv1dConfig::new(4, 6, 3).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 9], |layer, x| layer.forward(x));
            let conv = Conv2dConfig::new([4, 6], [3, 2]).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 7, 8], |layer, x| layer.forward(x));
            let conv = Conv3dConfig::new([4, 6], [2, 3, 2]).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 4, 5, 6], |layer, x| layer.forward(x));
            let conv = ConvTranspose1dConfig::new([4, 6], 3).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 9], |layer, x| layer.forward(x));
            let conv = ConvTranspose2dConfig::new([4, 6], [3, 2]).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 7, 8], |layer, x| layer.forward(x));
            let conv = ConvTranspose3dConfig::new([4, 6], [2, 3, 2]).with_groups(groups).with_bias(bias).init(&device);
            check(&mut source, conv, 6, [2, 4, 3, 4, 5], |layer, x| layer.forward(x));
        }
        // Depthwise.
        let conv = Conv2dConfig::new([6, 6], [3, 3]).with_groups(6).with_bias(bias).init(&device);
        check(&mut source, conv, 6, [2, 6, 7, 8], |layer, x| layer.forward(x));
    }
}

#[test]
fn weights_are_rounded_once_and_identities_stay() {
    let mut source = Source::new(7002);
    let device = Device::default();
    let norm = norm(3, &mut source);
    let linear = LinearConfig::new(2, 3).init(&device);
    let folded = norm.fold_into(linear.clone()).unwrap();
    let running = norm.running_statistics().unwrap();
    let (gamma, beta) = (floats(norm.gamma.val()), floats(norm.beta.val()));
    let (old, bias) = (floats(linear.weight.val()), floats(linear.bias.as_ref().unwrap().val()));
    for c in 0..3 {
        let scale = f64::from(gamma[c]) / (running.variance()[c] + 1e-3).sqrt();
        let shift = (f64::from(bias[c]) - running.mean()[c]) * scale + f64::from(beta[c]);
        let near =
            |got: f32, expected: f64| assert!((f64::from(got) / expected - 1.0).abs() < 6e-8, "{got} {expected}");
        (0..2).for_each(|i| near(floats(folded.weight.val())[3 * i + c], f64::from(old[3 * i + c]) * scale));
        near(floats(folded.bias.as_ref().unwrap().val())[c], shift);
    }
    assert_eq!(folded.weight.id, linear.weight.id);
    assert_eq!(folded.bias.unwrap().id, linear.bias.unwrap().id);
}

#[test]
fn what_cannot_be_folded_is_said() {
    let mut source = Source::new(7003);
    let device = Device::default();
    let linear = || LinearConfig::new(2, 3).init(&device);
    let refusal = |norm: &BatchNorm| norm.fold_into(linear()).map(drop).unwrap_err().to_string();
    let by_batch = norm(3, &mut source).pin(Some(Switches::frozen_affine()));
    assert!(
        refusal(&by_batch).starts_with("norm: folding cannot be had together with a pin"),
        "{}",
        refusal(&by_batch)
    );
    assert!(norm(3, &mut source).pin(Some(Switches::frozen())).fold_into(linear()).is_ok());
    let spoiled = norm(3, &mut source);
    spoiled.running_var.update(vector(&[1.0, f32::NAN, 1.0], &device));
    assert!(refusal(&spoiled).starts_with("norm: running_var[1]"));
    let epsilon = BatchNorm { epsilon: -1.0, ..norm(3, &mut source) };
    assert!(refusal(&epsilon).contains("epsilon"));
}

#[test]
fn other_number_types_and_devices_stay() {
    let mut source = Source::new(7004);
    let device = Device::default().autodiff();
    let linear = LinearConfig::new(2, 3).with_bias(false).init(&device);
    let in_f64 = burn::nn::Linear { weight: linear.weight.map(|weight| weight.cast(DType::F64)), bias: None };
    let folded = norm(3, &mut source).fold_into(in_f64).unwrap();
    let bias = folded.bias.unwrap();
    assert_eq!((folded.weight.val().dtype(), bias.val().dtype()), (DType::F64, DType::F64));
    assert!(folded.weight.val().device().is_autodiff() && bias.val().device().is_autodiff());
}
