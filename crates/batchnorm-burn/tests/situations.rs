//! The module in the situations of `docs/situations`: pinned, held, masked, in ghost batches.

#![allow(missing_docs)]

mod support;

use batchnorm::{Axes, Config, Input, Moments, Parameters, View, ViewMut, Weights};
use batchnorm_burn::{
    Activation, BatchNorm, BatchNormConfig, NormalizeBy, Policies, SingleValue, Switches, UpdateWeight,
};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use support::{Source, bits, floats};

fn training() -> Device {
    Device::default().autodiff()
}

fn norm(device: &Device) -> BatchNorm {
    BatchNormConfig::new(3).with_name("block.norm").init(device)
}

fn statistics(norm: &BatchNorm) -> (Vec<u32>, Vec<u32>) {
    (bits(norm.running_mean.value()), bits(norm.running_var.value()))
}

fn input(device: &Device) -> Tensor<4> {
    Source::new(4101).tensor(&[6, 3, 2, 5], device)
}

/// pytorch 66073 and 10856: freezing lasts until the network around it trains again.
#[test]
fn frozen_survives_training_devices_and_optimizers() {
    let device = training();
    let mut norm = norm(&device).pin(Some(Switches::frozen()));
    norm.running_mean.update(Tensor::from_floats([1.0, -1.0, 0.5], &device));
    let before = statistics(&norm);
    let x = input(&device).require_grad();
    for round in 0..3 {
        let y = norm.forward(x.clone());
        assert_eq!(bits(y.clone()), bits(norm.forward_eval(x.clone())), "{round}");
        let gradients = y.square().sum().backward();
        assert!(norm.gamma.grad(&gradients).is_none() && norm.beta.grad(&gradients).is_none());
        assert!(x.grad(&gradients).is_some());
        let gamma = bits(norm.gamma.val());
        let gradients = GradientsParams::from_grads(gradients, &norm);
        norm = SgdConfig::new().init().step(0.1, norm, gradients);
        assert_eq!(bits(norm.gamma.val()), gamma);
        // Steps of a training loop around it.
        norm = norm.valid().train().to_device(&device).fork(&device);
        assert_eq!((statistics(&norm), norm.pinned), (before.clone(), Some(Switches::frozen())));
    }
    norm = norm.pin(None);
    norm.forward(x);
    assert_ne!(statistics(&norm), before);
}

#[test]
fn each_switch_is_its_own() {
    let device = training();
    let input = input(&device).require_grad();
    let mix = NormalizeBy::Mix(UpdateWeight::of_new(0.25).unwrap());
    for normalize_by in [NormalizeBy::Batch, NormalizeBy::Running, mix] {
        for number in 0..8 {
            let switches = Switches {
                normalize_by,
                update_running: number & 1 > 0,
                train_parameters: number & 2 > 0,
                gradient_through_statistics: number & 4 > 0,
            };
            let layer = norm(&device);
            let before = statistics(&layer);
            let trained = layer.try_forward_by(input.clone(), switches).unwrap();
            assert_eq!(statistics(&layer) != before, switches.update_running, "{switches:?}");
            let dy: Tensor<4> = Source::new(4102).tensor(&[6, 3, 2, 5], &device);
            let gradients = (trained.output.clone() * dy.clone()).sum().backward();
            assert_eq!(layer.gamma.grad(&gradients).is_some(), switches.train_parameters);
            // The core's pass over the same values.
            let mut core = Config::pytorch().channels(3).build().unwrap();
            let (x, dy) = (floats(input.clone()), floats(dy));
            let view = |data| View::new(data, &[6, 3, 2, 5], Axes::NCHW).unwrap();
            let passed = core.forward(&view(&x), switches).unwrap();
            assert_eq!(floats(trained.output), passed.y.data());
            let expected = core.backward(&view(&x), &view(&dy), &passed.saved).unwrap();
            assert_eq!(floats(input.grad(&gradients).unwrap()), expected.dx.data(), "{switches:?}");
        }
    }
}

#[test]
fn held_batches_count_when_they_are_committed() {
    let device = training();
    let layer = norm(&device);
    let before = statistics(&layer);
    let batches: Vec<Tensor<4>> = (0..3).map(|i| input(&device) + f64::from(i)).collect();
    assert_eq!(layer.held_batches(), None);
    layer.hold();
    layer.forward(batches[0].clone());
    // A step that overflowed: it never was.
    assert_eq!((layer.discard_held(), statistics(&layer)), (1, before.clone()));
    // pytorch 96136: a forward pass that is computed again is no second batch.
    layer.forward(batches[1].clone());
    layer.discard_held();
    layer.forward(batches[1].clone());
    layer.forward(batches[2].clone());
    layer.forward_eval(batches[0].clone()); // no batch to learn from
    layer.forward(Tensor::<4>::zeros([0, 3, 2, 5], &device));
    assert_eq!((layer.held_batches(), statistics(&layer)), (Some(2), before));
    // A copy goes its own way.
    let copy = layer.clone();
    assert_eq!(layer.commit_held().unwrap(), Vec::<usize>::new());
    assert_eq!((layer.held_batches(), copy.held_batches()), (Some(0), Some(2)));
    let expected = norm(&device);
    batches[1..].iter().for_each(|batch| drop(expected.forward(batch.clone())));
    assert_eq!(statistics(&layer), statistics(&expected));
    assert_eq!((copy.release(), copy.held_batches()), (2, None));
    // Moments that cannot be committed are still held.
    let mut broken = layer.clone();
    broken.forward(batches[0].clone());
    broken.momentum = 7.0;
    assert!(broken.commit_held().is_err() && broken.held_batches() == Some(1));
    // The moments of a pass are a value, which `commit` takes.
    let trained = copy.try_forward_by(batches[0].clone(), Switches::train()).unwrap();
    assert_eq!(trained.batch.channels()[0].count(), 60);
    assert!(copy.commit(&vec![Moments::EMPTY; 2].into()).unwrap_err().to_string().starts_with("block.norm: batch"));
}

#[test]
fn masks_and_weights_are_the_cores_to_the_bit() {
    let device = training();
    let x = input(&device).require_grad();
    let weights: Vec<f32> = (0..12).map(|i| (i % 4) as f32 / 2.0).collect();
    let weights = Tensor::<4>::from_data(TensorData::new(weights, [6, 1, 2, 1]), &device);
    let counts: Tensor<4, Bool> = weights.clone().greater_elem(0.0);
    let values = floats(weights.clone());
    let mask: Vec<bool> = values.iter().map(|&weight| weight > 0.0).collect();
    for masked in [false, true] {
        let layer = norm(&device);
        let fused = if masked { layer.counting(counts.clone()) } else { layer.weighing(weights.clone()) };
        let y = fused.then(Activation::Relu).forward(x.clone());
        let dy: Tensor<4> = Source::new(4103).tensor(&[6, 3, 2, 5], &device);
        let gradients = (y.clone() * dy.clone()).sum().backward();

        let normalizer = Config::pytorch().activation(Activation::Relu).normalizer().unwrap();
        let (data, upstream) = (floats(x.clone()), floats(dy));
        let view = |data| View::new(data, &[6, 3, 2, 5], Axes::NCHW).unwrap();
        let core = if masked { Weights::mask(&mask, &[6, 1, 2, 1]) } else { Weights::new(&values, &[6, 1, 2, 1]) };
        let core = core.unwrap();
        let (mut expected, mut dx) = (vec![0.0; data.len()], vec![0.0; data.len()]);
        let mut out = ViewMut::new(&mut expected, &[6, 3, 2, 5], Axes::NCHW).unwrap();
        let seen = view(&data);
        let parameters = Parameters { gamma: Some(&[1.0f32; 3]), beta: Some(&[0.0; 3]) };
        let (saved, batch) = normalizer.train(Input::weighted(&seen, &core), parameters, None, &mut out).unwrap();
        let mut out = ViewMut::new(&mut dx, &[6, 3, 2, 5], Axes::NCHW).unwrap();
        let sums = saved.backward(Input::weighted(&seen, &core), &view(&upstream), &mut out).unwrap();
        assert_eq!(floats(y), expected);
        assert_eq!(floats(x.grad(&gradients).unwrap()), dx);
        let rounded: Vec<f32> = sums.dgamma.iter().map(|&sum| sum as f32).collect();
        assert_eq!(floats(layer.gamma.grad(&gradients).unwrap()), rounded);
        let mean = (0.1 * batch.channels()[2].mean()) as f32;
        assert_eq!(floats(layer.running_mean.value())[2], mean);
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let device = Device::default();
    let layer = norm(&device);
    let x = || Tensor::<2>::ones([4, 3], &device);
    let refusal =
        |weights: Tensor<2>| layer.weighing(weights).try_forward_train(x()).map(drop).unwrap_err().to_string();
    let weights =
        |values: &[f32], shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device);
    assert!(refusal(weights(&[1.0; 2], [2, 1])).contains("weights: expected the input's shape [4, 3]"));
    assert!(refusal(weights(&[1.0, -1.0, 1.0, 1.0], [4, 1])).contains("weights[1]"));
    assert!(
        refusal(weights(&[1.0; 4], [4, 1]).cast(DType::F64)).contains("expected the input's number type F32, got F64")
    );
    let mut ghost = layer.clone();
    ghost.ghost = Some(2);
    let error = ghost.weighing(weights(&[1.0; 2], [2, 1])).try_forward_train(x()).map(drop).unwrap_err().to_string();
    assert!(error.contains("weights: expected the input's shape [4, 3]"), "{error}");
    ghost.ghost = Some(0);
    assert!(ghost.try_forward_train(x()).is_err());
    assert!(BatchNormConfig::new(3).with_ghost(Some(0)).try_init(&device).is_err());
}

#[test]
fn ghost_batches_train_in_groups_and_evaluate_whole() {
    let device = training();
    let layer = BatchNormConfig::new(3).with_ghost(Some(4)).init(&device);
    let plain = norm(&device);
    let x = input(&device).require_grad();
    let y = layer.forward(x.clone());
    let apart = || plain.clone().train();
    let groups =
        Tensor::cat(vec![apart().forward(x.clone().narrow(0, 0, 4)), apart().forward(x.clone().narrow(0, 4, 2))], 0);
    assert_eq!(bits(y.clone()), bits(groups));
    plain.forward(x.clone());
    // Alike but for the last bits, which f32 hardly has.
    let pairs = |one: &BatchNorm, other: &BatchNorm| {
        floats(one.running_var.value()).into_iter().zip(floats(other.running_var.value())).collect::<Vec<_>>()
    };
    assert!(pairs(&layer, &plain).iter().all(|(one, other)| (one / other - 1.0).abs() < 1e-6));
    let gradients = y.square().mean().backward();
    assert!(x.grad(&gradients).is_some() && layer.gamma.grad(&gradients).is_some());
    assert_eq!(layer.forward_eval(x.clone()).dims(), [6, 3, 2, 5]);
    // A ragged group behind a residual and an activation.
    let fused = layer.adding(x.clone()).then(Activation::Relu).forward(x.clone());
    let in_turn = burn::tensor::activation::relu(layer.forward(x.clone()) + x.clone());
    assert_eq!(bits(fused), bits(in_turn));
    for slope in [-0.5, f64::NAN, f64::INFINITY] {
        let before = statistics(&layer);
        let refused = layer.adding(x.clone()).then(Activation::LeakyRelu(slope)).try_forward_train(x.clone());
        assert!(refused.map(drop).unwrap_err().to_string().contains("slope"));
        assert_eq!(statistics(&layer), before);
    }
}

#[test]
fn policies_are_those_of_the_configuration_and_are_stored_with_it() {
    let device = Device::default();
    let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    let switches = Switches::test_time(UpdateWeight::of_new(0.1).unwrap());
    let config = BatchNormConfig::new(3).with_policies(policies).with_pinned(Some(switches)).with_ghost(Some(16));
    let text = serde_json::to_string(&config).unwrap();
    let back: BatchNormConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(back, config);
    let layer = back.init(&device);
    assert_eq!((layer.policies, layer.pinned, layer.ghost), (policies, Some(switches), Some(16)));

    // One that has nothing but Burn's fields, and one stored by Burn.
    let plain =
        BatchNormConfig::new(3).with_running_variance(batchnorm_burn::RunningVariance::Sample).with_epsilon(1e-3);
    let theirs = burn::nn::BatchNormConfig::new(3).with_epsilon(1e-3);
    assert_eq!(serde_json::to_string(&plain).unwrap(), serde_json::to_string(&theirs).unwrap());
    let loaded: BatchNormConfig = serde_json::from_str(&theirs.to_string()).unwrap();
    assert_eq!(loaded, plain);
    let back: burn::nn::BatchNormConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(back.num_features, 3);

    // fastai 1352, mmsegmentation 272: the last batch is of one sample.
    let layer = BatchNormConfig::new(3).with_policies(policies).init(&device);
    let one = Tensor::<2>::from_floats([[3.0, 4.0, 5.0]], &device);
    assert_eq!(bits(layer.forward_train(one.clone())), bits(layer.forward_eval(one.clone())));
    let strict = norm(&device);
    let error = strict.try_forward_train(one).map(drop).unwrap_err().to_string();
    assert!(error.contains("block.norm") && error.contains("policies.single_value"), "{error}");
}
