//! Quantised models: parameters and running statistics are read as the numbers they stand for, and the error of the
//! output is that of Burn's layer.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{
    Activation, BatchNormConfig, DecorrelatedConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig,
    RmsNormConfig, SampleNormConfig,
};
use burn::module::{Lora, Module, ParamGroup, QLora, Quantizer};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Device, Tensor};
use support::{Source, bits, floats, vector};

/// The same network with our layer and with Burn's.
macro_rules! network {
    ($name:ident: $layer:item) => {
        mod $name {
            use burn::module::Module;
            use burn::nn::conv::{Conv2d, Conv2dConfig};
            use burn::nn::{Linear, LinearConfig};
            use burn::tensor::{Device, Tensor, activation::relu};
            $layer

            #[derive(Module, Debug)]
            pub struct Net {
                conv: Conv2d,
                pub norm: BatchNorm,
                output: Linear,
            }

            impl Net {
                pub fn new(device: &Device) -> Net {
                    Net {
                        conv: Conv2dConfig::new([2, 32], [3, 3]).init(device),
                        norm: BatchNormConfig::new(32).with_epsilon(1e-3).init(device),
                        output: LinearConfig::new(32, 32).init(device),
                    }
                }

                pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
                    let x = relu(self.norm.forward(self.conv.forward(x)));
                    self.output.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3))
                }
            }
        }
    };
}
network!(ours: use batchnorm_burn::{BatchNorm, BatchNormConfig};);
network!(theirs: use burn::nn::{BatchNorm, BatchNormConfig};);

fn quantizer(device: &Device) -> Quantizer {
    let scheme = device.settings().quantization.scheme.with_value(QuantValue::Q8S);
    Quantizer::new(Calibration::MinMax, scheme)
}

fn quantized<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::QFloat(_))
}

/// Both networks, trained alike: the second from the first one's record.
fn trained(seed: u64, device: &Device) -> (ours::Net, theirs::Net) {
    let mut source = Source::new(seed);
    let tracked = device.clone().autodiff();
    let mut net = ours::Net::new(&tracked);
    let vectors = |source: &mut Source, mean| vector(&source.values(32, mean, 0.5), &tracked).require_grad();
    net.norm.gamma = net.norm.gamma.map(|_| vectors(&mut source, 1.0));
    net.norm.beta = net.norm.beta.map(|_| vectors(&mut source, 0.0));
    for _ in 0..20 {
        net.forward(source.tensor::<4>(&[8, 2, 9, 9], &tracked));
    }
    let ours = net.valid();
    let theirs = theirs::Net::new(device).load_record(ours.clone().into_record());
    (ours, theirs)
}

fn distance(one: &Tensor<2>, other: &Tensor<2>) -> f32 {
    (one.clone() - other.clone()).abs().max().into_scalar::<f32>()
}

#[test]
fn a_whole_model_errs_as_with_burns_layer() {
    let device = Device::default();
    for seed in 1..4 {
        let (ours, theirs) = trained(seed, &device);
        let x = Source::new(100 + seed).tensor::<4>(&[8, 2, 9, 9], &device);
        let exact = ours.forward(x.clone());
        assert!(distance(&exact, &theirs.forward(x.clone())) < 1e-5);
        let (ours, theirs) =
            (ours.quantize_weights(&mut quantizer(&device)), theirs.quantize_weights(&mut quantizer(&device)));
        assert!(quantized(&ours.norm.gamma.val()) && quantized(&ours.norm.running_var.value()));
        let (got, expected) = (ours.forward(x.clone()), theirs.forward(x.clone()));
        let error = distance(&exact, &expected);
        println!("error of Burn's {error}, ours {}, apart {}", distance(&exact, &got), distance(&got, &expected));
        assert!(error > 1e-3, "quantising shows: {error}");
        assert!(distance(&got, &expected) < 1e-5, "ours and Burn's are alike");
    }
}

#[test]
fn what_is_read_are_the_numbers() {
    let device = Device::default();
    let norm = trained(5, &device).0.norm;
    let before = norm.running_statistics().unwrap();
    let norm = norm.quantize_weights(&mut quantizer(&device));
    let after = norm.running_statistics().unwrap();
    let near = |one: &[f64], other: &[f64]| {
        let largest = other.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        one.iter().zip(other).for_each(|(one, other)| assert!((one - other).abs() <= largest / 127.0, "{one} {other}"));
    };
    near(after.mean(), before.mean());
    near(after.variance(), before.variance());
    // Training from there: the statistics are plain numbers again, the parameters stay as they are.
    let x = Source::new(6).tensor::<2>(&[8, 32], &device);
    let plain = BatchNormConfig::new(32).with_epsilon(1e-3).init(&device);
    plain.set_running_statistics(&after).unwrap();
    plain.forward_train(x.clone());
    norm.forward_train(x.clone());
    assert_eq!(bits(norm.running_var.value()), bits(plain.running_var.value()));
    assert!(quantized(&norm.gamma.val()));
    // With a residual, in a fused pass, folded, converted.
    let y = norm.adding(x.clone()).then(Activation::Relu).forward_eval(x.clone());
    assert!(distance(&y, &burn::tensor::activation::relu(norm.forward_eval(x.clone()) + x.clone())) < 1e-5);
    let linear = burn::nn::LinearConfig::new(32, 32).init(&device).quantize_weights(&mut quantizer(&device));
    let in_turn = norm.forward_eval(linear.forward(x.clone()));
    let folded = norm.fold_into(linear).unwrap();
    assert!(distance(&folded.forward(x.clone()), &in_turn) < 1e-4);
    let theirs = burn::nn::BatchNorm::from(norm.clone());
    assert!(distance(&theirs.forward(x.clone()), &norm.forward_eval(x)) < 1e-5);
}

#[test]
fn groups_records_and_low_rank_adapters() {
    let device = Device::default();
    let (net, _) = trained(7, &device);
    let x = Source::new(8).tensor::<4>(&[8, 2, 9, 9], &device);
    let exact = net.forward(x.clone());
    // A group that leaves the norm alone.
    let group = ParamGroup::from_any_predicates(vec!["output.weight"]);
    let by_group = net.clone().quantize_weights_group(&mut quantizer(&device), group);
    assert!(!quantized(&by_group.norm.gamma.val()));
    assert!(distance(&by_group.forward(x.clone()), &exact) < 0.05);
    // A record of a quantised model loads into one.
    let whole = net.clone().quantize_weights(&mut quantizer(&device));
    let y = whole.forward(x.clone());
    let again = ours::Net::new(&device).quantize_weights(&mut quantizer(&device)).load_record(whole.into_record());
    assert_eq!(bits(again.forward(x.clone())), bits(y));

    // QLoRA: the base is quantised, what is trained are the adapters; the norm adapts its statistics.
    let tracked = device.clone().autodiff();
    let adapted = net.train().apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer(&device)));
    assert!(quantized(&adapted.norm.gamma.val()));
    let before = floats(adapted.norm.running_mean.value());
    let mut optimizer = SgdConfig::new().init();
    let gradients = adapted.forward(x.clone().autodiff()).square().mean().backward();
    let gradients = GradientsParams::from_grads(gradients, &adapted);
    assert!(!gradients.is_empty());
    let adapted = optimizer.step(0.1, adapted, gradients);
    assert_ne!(floats(adapted.norm.running_mean.value()), before);
    assert!(floats(adapted.valid().forward(x)).iter().all(|y| y.is_finite()));
    drop(tracked);
}

#[test]
fn the_sibling_norms_too() {
    let device = Device::default();
    let mut source = Source::new(9);
    let x = source.tensor::<2>(&[6, 32], &device);
    macro_rules! check {
        ($layer:expr) => {
            let layer = $layer;
            let exact = layer.forward(x.clone());
            let layer = layer.quantize_weights(&mut quantizer(&device));
            // Gamma 1 and beta 0 are exact in any scheme but for the scale's rounding.
            assert!(distance(&layer.forward(x.clone()), &exact) < 1e-2);
        };
    }
    check!(SampleNormConfig::layer(32).init(&device));
    check!(LayerNormConfig::new(32).init(&device));
    check!(RmsNormConfig::new(32).init(&device));
    check!(GroupNormConfig::new(4, 32).init(&device));
    let instance = InstanceNormConfig::new(32).init(&device).quantize_weights(&mut quantizer(&device));
    assert!(floats(instance.forward(x.clone().reshape([1, 32, 6]))).iter().all(|y| y.abs() < 5.0));
    let white = DecorrelatedConfig::new(32, 8).init(&device);
    white.forward_train(source.tensor::<2>(&[64, 32], &device));
    let exact = white.forward_eval(x.clone());
    let white = white.quantize_weights(&mut quantizer(&device));
    let error = distance(&white.forward_eval(x.clone()), &exact);
    assert!(error > 0.0 && error < 0.5, "{error}");
    white.try_forward_train(source.tensor::<2>(&[64, 32], &device)).unwrap();
}
