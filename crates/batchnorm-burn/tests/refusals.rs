//! Bad calls: an error that names the layer, and a layer that is as it was.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use support::{bits, vector};

fn layer() -> BatchNorm {
    BatchNormConfig::new(3).with_name(Some(String::from("encoder.norm2"))).init(&Device::default())
}

/// Both passes refuse with all of `expected` in the message, and the statistics stay.
fn refused<const D: usize>(norm: &BatchNorm, x: Tensor<D>, expected: &[&str]) {
    let before = (bits(norm.running_mean.value()), bits(norm.running_var.value()));
    let train = norm.try_forward_train(x.clone()).map(|_| ()).unwrap_err().to_string();
    let eval = norm.try_forward_eval(x).map(|_| ()).unwrap_err().to_string();
    for message in [train, eval] {
        for part in ["encoder.norm2: "].iter().chain(expected) {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
    assert_eq!((bits(norm.running_mean.value()), bits(norm.running_var.value())), before);
}

#[test]
fn shapes_and_types() {
    let device = Device::default();
    refused(&layer(), Tensor::<1>::zeros([3], &device), &["input", "at least 2 axes", "[3]"]);
    refused(&layer(), Tensor::<2>::zeros([4, 5], &device), &["input", "expected 3 channels, got 5", "[4, 5]"]);
    refused(&layer(), Tensor::<4>::zeros([4, 1, 3, 3], &device), &["expected 3 channels, got 1"]);
}

#[test]
fn fields_set_to_what_they_cannot_be() {
    let device = Device::default();
    let x = || Tensor::<2>::zeros([4, 3], &device);
    refused(&BatchNorm { epsilon: f64::NAN, ..layer() }, x(), &["epsilon", "NaN"]);
    refused(&BatchNorm { momentum: 1.5, ..layer() }, x(), &["weight", "1.5"]);
    let beta = Param::from_tensor(vector(&[0.0; 2], &device));
    refused(&BatchNorm { beta, ..layer() }, x(), &["beta", "expected 3", "got 2"]);

    let norm = layer();
    norm.running_var.update(vector(&[1.0, -1.0, 1.0], &device));
    refused(&norm, x(), &["running_variance[1]", "-1"]);
    norm.running_var.update(vector(&[1.0, f32::NAN, 1.0], &device));
    refused(&norm, x(), &["running_variance[1]", "NaN"]);
    norm.running_var.update(vector(&[1.0; 4], &device));
    refused(&norm, x(), &["running_variance", "3", "4"]);
    norm.running_mean.update(vector(&[1.0; 4], &device));
    refused(&norm, x(), &["3", "4"]);
}

#[test]
fn one_value_a_channel() {
    let device = Device::default().autodiff();
    let norm = BatchNormConfig::new(3).init(&device);
    let start = bits(norm.running_var.value());
    for message in [
        norm.try_forward_train(Tensor::<2>::ones([1, 3], &device).require_grad()).unwrap_err().to_string(),
        norm.try_forward_train(Tensor::<4>::ones([1, 3, 1, 1], &device)).unwrap_err().to_string(),
    ] {
        assert!(
            message.starts_with("BatchNorm: x: normalising by the batch needs at least 2 values a channel, got 1"),
            "{message}"
        );
    }
    assert_eq!(bits(norm.running_var.value()), start);
    // Evaluation has its statistics from elsewhere.
    assert_eq!(norm.forward_eval(Tensor::<2>::ones([1, 3], &device)).dims(), [1, 3]);
}

#[test]
#[should_panic(expected = "encoder.norm2: input: expected 3 channels, got 5")]
fn the_plain_form_panics_as_burns_modules_do() {
    layer().forward(Tensor::<2>::zeros([4, 5], &Device::default()));
}

#[test]
fn options() {
    let device = Device::default();
    let message = |config: BatchNormConfig| config.try_init(&device).unwrap_err().to_string();
    assert!(message(BatchNormConfig::new(0)).starts_with("channels"));
    assert!(message(BatchNormConfig::new(3).with_epsilon(-1.0)).starts_with("epsilon"));
    assert!(message(BatchNormConfig::new(3).with_momentum(f64::NAN)).contains("weight"));
    assert!(BatchNormConfig::new(3).with_epsilon(0.0).with_momentum(1.0).try_init(&device).is_ok());
}
