//! Bad calls: an error that names the layer, and a layer that is as it was.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig, Fused};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};
use support::{bits, vector};

fn layer() -> BatchNorm {
    BatchNormConfig::new(3).with_name("encoder.norm2").init(&Device::default())
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
    refused(&BatchNorm { momentum: 1.5, ..layer() }, x(), &["momentum", "1.5"]);
    let beta = Param::from_tensor(vector(&[0.0; 2], &device));
    refused(&BatchNorm { beta, ..layer() }, x(), &["beta", "expected 3", "got 2"]);

    let norm = layer();
    norm.running_var.update(vector(&[1.0, -1.0, 1.0], &device));
    refused(&norm, x(), &["running_var[1]", "-1"]);
    norm.running_var.update(vector(&[1.0, f32::NAN, 1.0], &device));
    refused(&norm, x(), &["running_var[1]", "NaN"]);
    norm.running_var.update(vector(&[1.0; 4], &device));
    refused(&norm, x(), &["running_var", "expected 3", "got 4"]);
    norm.running_mean.update(vector(&[1.0; 2], &device));
    refused(&norm, x(), &["running_mean", "expected 3", "got 2"]);
}

/// The message a call panics with.
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let call = std::panic::AssertUnwindSafe(call);
    let payload = std::panic::catch_unwind(call).err().expect("the call panics");
    payload.downcast_ref::<String>().cloned().expect("a message")
}

/// Every form of training says the same, with the layer's name, and leaves the statistics.
fn training_refused<const D: usize>(shape: [usize; D], message: &str) {
    let device = Device::default().autodiff();
    let norm = BatchNormConfig::new(3).with_name("encoder.norm2").init(&device);
    let before = (bits(norm.running_mean.value()), bits(norm.running_var.value()));
    let x = || Tensor::<D>::ones(shape, &device).require_grad();
    assert_eq!(norm.try_forward_train(x()).map(|_| ()).unwrap_err().to_string(), message);
    assert_eq!(panic_of(|| norm.forward_train(x())), message);
    assert_eq!(panic_of(|| norm.forward(x())), message);
    assert_eq!((bits(norm.running_mean.value()), bits(norm.running_var.value())), before);
}

#[test]
fn one_value_a_channel_in_every_rank() {
    let message = |shape: &str| {
        format!(
            "encoder.norm2: input: training needs at least 2 values a channel, got 1 (shape {shape}, channel axis 1); \
             use a larger batch, drop the last one, call `forward_eval`, or choose another `policies.single_value`"
        )
    };
    training_refused([1, 3], &message("[1, 3]"));
    training_refused([1, 3, 1], &message("[1, 3, 1]"));
    training_refused([1, 3, 1, 1], &message("[1, 3, 1, 1]"));
    training_refused([1, 3, 1, 1, 1], &message("[1, 3, 1, 1, 1]"));
    // Two values are enough, and evaluation has its statistics from elsewhere.
    let (norm, device) = (layer(), Device::default());
    assert!(norm.try_forward_train(Tensor::<3>::ones([1, 3, 2], &device)).is_ok());
    assert_eq!(norm.forward_eval(Tensor::<2>::ones([1, 3], &device)).dims(), [1, 3]);
}

#[test]
fn another_number_of_channels_in_every_rank() {
    let message = |got: usize, shape: &str| {
        format!(
            "encoder.norm2: input: expected 3 channels, got {got} (shape {shape}, channel axis 1); is the channel axis \
             right?"
        )
    };
    training_refused([4, 5], &message(5, "[4, 5]"));
    training_refused([4, 5, 2], &message(5, "[4, 5, 2]"));
    training_refused([4, 1, 2, 3], &message(1, "[4, 1, 2, 3]"));
    training_refused([4, 2, 1, 2, 3], &message(2, "[4, 2, 1, 2, 3]"));
}

#[test]
fn a_rank_without_channels() {
    training_refused(
        [3],
        "encoder.norm2: input: shape: expected at least 2 axes (samples and channels), got 1 (shape [3]); add an axis \
         of length 1",
    );
}

#[test]
fn the_plain_evaluation_panics_with_the_same_words() {
    let x = || Tensor::<2>::zeros([4, 5], &Device::default());
    let said = layer().try_forward_eval(x()).unwrap_err().to_string();
    assert!(said.starts_with("encoder.norm2: input: expected 3 channels, got 5"), "{said}");
    assert_eq!(panic_of(|| layer().forward_eval(x())), said);
    // No autodiff, so `forward` evaluates.
    assert_eq!(panic_of(|| layer().forward(x())), said);
}

#[test]
fn a_layer_without_a_name_is_called_by_its_type() {
    let norm = BatchNormConfig::new(3).init(&Device::default());
    let said = norm.try_forward_train(Tensor::<2>::ones([1, 3], &Device::default())).unwrap_err().to_string();
    assert!(said.starts_with("BatchNorm: input: training needs"), "{said}");
    let hint = format!("(BatchNorm built at {}:{}; `name_layers(&model)` would give its path)", file!(), line!() - 3);
    assert!(said.ends_with(&hint), "{said}");
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

/// Both passes refuse a residual or an activation in these words, and the statistics stay.
fn fused_refused(fused: impl Fn(&BatchNorm) -> Fused<'_, 3>, x: &Tensor<3>, message: &str) {
    let norm = layer();
    let before = (bits(norm.running_mean.value()), bits(norm.running_var.value()));
    assert_eq!(fused(&norm).try_forward_train(x.clone()).map(|_| ()).unwrap_err().to_string(), message);
    assert_eq!(fused(&norm).try_forward_eval(x.clone()).map(|_| ()).unwrap_err().to_string(), message);
    assert_eq!(panic_of(|| fused(&norm).forward_train(x.clone())), message);
    assert_eq!(panic_of(|| fused(&norm).forward_eval(x.clone())), message);
    assert_eq!(panic_of(|| fused(&norm).forward(x.clone())), message);
    assert_eq!((bits(norm.running_mean.value()), bits(norm.running_var.value())), before);
}

#[test]
fn residuals_and_slopes() {
    let device = Device::default();
    let x = Tensor::<3>::ones([4, 3, 2], &device);
    for shape in [[4, 3, 1], [1, 3, 2], [3, 4, 2], [4, 5, 2], [0, 3, 2]] {
        fused_refused(
            |norm| norm.adding(Tensor::ones(shape, &device)).then(Activation::Relu),
            &x,
            &format!(
                "encoder.norm2: residual: expected the input's shape [4, 3, 2], got {shape:?}; to repeat it along an \
                 axis, `.expand(..)` it"
            ),
        );
    }
    fused_refused(
        |norm| norm.adding(Tensor::<3>::ones([4, 3, 2], &device).cast(DType::F64)),
        &x,
        "encoder.norm2: residual: expected the input's number type F32, got F64; cast it with `.cast(DType::F32)`",
    );
    for slope in [-0.1, f64::NAN, f64::INFINITY] {
        fused_refused(
            |norm| norm.then(Activation::LeakyRelu(slope)),
            &x,
            &format!(
                "encoder.norm2: activation: expected a leaky rectifier's slope to be finite and >= 0, got {slope:?}; \
                 0.01 is usual"
            ),
        );
    }
    // The layer's own refusals hold here, too; the input is checked first.
    fused_refused(
        |norm| norm.adding(Tensor::ones([4, 5, 1], &device)).then(Activation::Relu),
        &Tensor::ones([4, 5, 2], &device),
        "encoder.norm2: input: expected 3 channels, got 5 (shape [4, 5, 2], channel axis 1); is the channel axis right?",
    );
    let single = Tensor::<3>::ones([1, 3, 1], &device);
    let norm = layer();
    let fused = norm.adding(single.clone()).then(Activation::Relu);
    assert_eq!(
        fused.try_forward_train(single.clone()).unwrap_err(),
        norm.try_forward_train(single).unwrap_err(),
        "one value a channel"
    );
}
