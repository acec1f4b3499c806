//! The norms beside batch norm: against Burn's own, against the core to the bit, and what they refuse.

#![allow(missing_docs)]

mod support;

use batchnorm::{Activation, Axes, Input, SampleConfig, View, Weights};
use batchnorm_burn::{
    Affine, BatchNormConfig, Decorrelated, DecorrelatedConfig, EmptyBatch, Executor, FusedSample, Policies, SampleNorm,
    SampleNormConfig, SingleValue, Threads,
};
use burn::module::{Module, Param};
use burn::nn::{GroupNormConfig, InstanceNormConfig, LayerNormConfig, RmsNormConfig};
use burn::tensor::activation::{leaky_relu, relu};
use burn::tensor::{Bool, DType, Device, Distribution, Tensor, TensorData};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Source, bits, floats, vector};

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0f32, |a, b| if b > a || b.is_nan() { b } else { a });
    assert!(worst <= 1e-5 * largest, "{what}: {worst:e}");
}

/// Output, dx, and the parameters' gradients of a forward pass.
fn step<const D: usize>(
    forward: impl Fn(Tensor<D>) -> Tensor<D>,
    x: &Tensor<D>,
    dy: &Tensor<D>,
    parameters: &[&Option<Param<Tensor<1>>>],
) -> Vec<Vec<f32>> {
    let x = x.clone().require_grad();
    let y = forward(x.clone());
    let gradients = (y.clone() * dy.clone()).sum().backward();
    let gradient =
        |param: &&Option<Param<Tensor<1>>>| param.as_ref().map(|param| floats(param.grad(&gradients).unwrap()));
    let mut results = vec![floats(y), floats(x.grad(&gradients).unwrap())];
    results.extend(parameters.iter().filter_map(gradient));
    results
}

fn with(mut norm: SampleNorm, gamma: &[f32], beta: &[f32], device: &Device) -> SampleNorm {
    norm.gamma = norm.gamma.map(|_| Param::from_tensor(vector(gamma, device)));
    norm.beta = norm.beta.map(|_| Param::from_tensor(vector(beta, device)));
    norm
}

#[test]
fn layer_group_instance_and_rms_norm_are_burns_but_for_rounding() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4301);
    for plane in [[1, 2], [3, 5], [8, 8]] {
        let shape = [3, 6, plane[0], plane[1]];
        let (x, dy) = (source.tensor::<4>(&shape, &device), source.tensor::<4>(&shape, &device));
        let (gamma, beta) = (source.values(6, 1.0, 0.5), source.values(6, 0.0, 1.0));
        let parameters = |x: &[f32]| Some(Param::from_tensor(vector(x, &device)));

        let mut theirs = GroupNormConfig::new(3, 6).init(&device);
        (theirs.gamma, theirs.beta) = (parameters(&gamma), parameters(&beta));
        let ours = with(SampleNormConfig::group(3, 6).init(&device), &gamma, &beta, &device);
        let expected = step(|x| theirs.forward(x), &x, &dy, &[&theirs.gamma, &theirs.beta]);
        let got = step(|x| ours.forward(x), &x, &dy, &[&ours.gamma, &ours.beta]);
        got.iter().zip(&expected).for_each(|(got, expected)| near("group", got, expected));

        let mut theirs = InstanceNormConfig::new(6).init(&device);
        (theirs.gamma, theirs.beta) = (parameters(&gamma), parameters(&beta));
        let ours = with(SampleNormConfig::instance(6).init(&device), &gamma, &beta, &device);
        let expected = step(|x| theirs.forward(x), &x, &dy, &[&theirs.gamma, &theirs.beta]);
        let got = step(|x| ours.forward(x), &x, &dy, &[&ours.gamma, &ours.beta]);
        got.iter().zip(&expected).for_each(|(got, expected)| near("instance", got, expected));

        let last = plane[1];
        let (gamma, beta) = (source.values(last, 1.0, 0.5), source.values(last, 0.0, 1.0));
        let mut theirs = LayerNormConfig::new(last).init(&device);
        (theirs.gamma, theirs.beta) = (parameters(&gamma).unwrap(), parameters(&beta));
        let ours = with(SampleNormConfig::layer(last).init(&device), &gamma, &beta, &device);
        let (their_gamma, their_beta) = (Some(theirs.gamma.clone()), theirs.beta.clone());
        let expected = step(|x| theirs.forward(x), &x, &dy, &[&their_gamma, &their_beta]);
        let got = step(|x| ours.forward(x), &x, &dy, &[&ours.gamma, &ours.beta]);
        got.iter().zip(&expected).for_each(|(got, expected)| near("layer", got, expected));

        let mut theirs = RmsNormConfig::new(last).with_epsilon(1e-5).init(&device);
        theirs.gamma = parameters(&gamma).unwrap();
        let ours = with(SampleNormConfig::rms(last).init(&device), &gamma, &[], &device);
        let expected = step(|x| theirs.forward(x), &x, &dy, &[&Some(theirs.gamma.clone())]);
        let got = step(|x| ours.forward(x), &x, &dy, &[&ours.gamma]);
        got.iter().zip(&expected).for_each(|(got, expected)| near("rms", got, expected));
        assert!(ours.beta.is_none());
    }
}

#[test]
fn bits_are_the_cores_in_every_type_and_records_and_configurations_come_back() {
    let device = Device::default();
    let x: Tensor<3> = Source::new(4302).tensor(&[5, 4, 21], &device) + 1000.0;
    let norm = SampleNormConfig::group(2, 4).with_affine(Affine::Neither).init(&device);
    let core = SampleConfig::group(2).affine(Affine::Neither).build(&[4]).unwrap();
    let data = floats(x.clone());
    let view = View::new(&data, &[5, 4, 21], Axes::NCHW).unwrap();
    assert_eq!(floats(norm.forward(x.clone())), core.forward(&view).unwrap().0.data());
    assert_eq!(norm.forward(x.clone().cast(DType::F64)).dtype(), DType::F64);
    assert_eq!(norm.forward(x.clone().cast(DType::BF16)).dtype(), DType::BF16);
    assert_eq!(bits(norm.forward(x.clone().narrow(0, 1, 1))), bits(norm.forward(x).narrow(0, 1, 1)), "in any company");

    let config = SampleNormConfig::rms(7).with_epsilon(1e-3).with_name("norm");
    let back: SampleNormConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!((back.grouping, back.epsilon, back.affine), (config.grouping, 1e-3, Affine::ScaleOnly));
    let layer = back.init(&device);
    assert_eq!(layer.clone().load_record(layer.into_record()).grouping, config.grouping);
}

/// One of each kind, for tensors `[_, 6, 8]`.
fn each_kind() -> [SampleNormConfig; 5] {
    [
        SampleNormConfig::layer(8),
        SampleNormConfig::rms(8),
        SampleNormConfig::group(3, 6),
        SampleNormConfig::group_rms(3, 6),
        SampleNormConfig::instance(6),
    ]
}

#[test]
fn a_grouped_rms_norm_is_an_rms_norm_of_each_group() {
    let device = Device::default();
    let mut source = Source::new(4307);
    let x: Tensor<3> = source.tensor(&[4, 6, 8], &device) + 0.5;
    let gamma = source.values(6, 1.0, 0.5);
    let norm = with(SampleNormConfig::group_rms(3, 6).init(&device), &gamma, &[], &device);
    assert!(norm.beta.is_none());
    let each = SampleNormConfig::rms(16).with_affine(Affine::Neither).init(&device);
    let expected = each.forward(x.clone().reshape([12, 16])).reshape([4, 6, 8]);
    let expected = expected * vector(&gamma, &device).reshape([1, 6, 1]);
    near("group_rms", &floats(norm.forward(x)), &floats(expected));
}

#[test]
fn an_activation_in_the_pass_is_the_one_behind_it() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4308);
    for config in each_kind() {
        let (x, dy) = (source.tensor::<3>(&[4, 6, 8], &device), source.tensor::<3>(&[4, 6, 8], &device));
        let norm = config.init(&device);
        let count = norm.gamma.as_ref().unwrap().dims()[0];
        let norm = with(norm, &source.values(count, 1.0, 0.5), &source.values(count, 0.0, 1.0), &device);
        let parameters = [&norm.gamma, &norm.beta];
        for slope in [0.0, 0.1] {
            let activation = if slope == 0.0 { Activation::Relu } else { Activation::LeakyRelu(slope) };
            let got = step(|x| norm.then(activation).forward(x), &x, &dy, &parameters);
            let behind = |y| if slope == 0.0 { relu(y) } else { leaky_relu(y, slope) };
            let expected = step(|x| behind(norm.forward(x)), &x, &dy, &parameters);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            // (A slope is multiplied by before y is rounded.)
            assert!(slope > 0.0 || bits(&got[0]) == bits(&expected[0]), "y of {:?}", norm.grouping);
            got.iter().zip(&expected).for_each(|(got, expected)| near("gradients", got, expected));
        }
        // The last one set is the one that holds.
        let both = norm.then(Activation::Relu).then(Activation::Identity).forward(x.clone());
        assert_eq!(bits(both), bits(norm.forward(x)));
    }
}

#[test]
fn weighted_passes_are_the_cores_and_masked_values_change_nothing() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4309);
    for (at, config) in each_kind().into_iter().enumerate() {
        let shape = [4, 6, 8];
        let norm = config.init(&device);
        let count = norm.gamma.as_ref().unwrap().dims()[0];
        let (gamma, beta) = (source.values(count, 1.0, 0.5), source.values(count, 0.0, 1.0));
        let norm = with(norm, &gamma, &beta, &device);
        let (x, dy) = (source.tensor::<3>(&shape, &device), source.tensor::<3>(&shape, &device));
        let weights: Vec<f32> = (0..192).map(|i| [1.0, 0.0, 2.0, 0.5, 1.0][(i * 7 + i / 8 + at) % 5]).collect();
        let [values, dy_values] = [&x, &dy].map(|tensor| floats(tensor.clone()));

        let activation = Activation::LeakyRelu(0.1);
        let core = SampleConfig::of(norm.grouping).affine(config.affine).activation(activation);
        let mut core = core.build(&[count]).unwrap();
        core.set_gamma(&gamma).unwrap();
        if norm.beta.is_some() {
            core.set_beta(&beta).unwrap();
        }
        let axes = Axes::NCHW;
        let [view, dy_view] = [&values, &dy_values].map(|values| View::new(values, &shape, axes).unwrap());
        let weighted = Weights::new(&weights, &shape).unwrap();
        let (y, saved) = core.forward(Input::weighted(&view, &weighted)).unwrap();
        let gradients = core.backward(Input::weighted(&view, &weighted), &dy_view, &saved).unwrap();

        let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape(shape);
        let by_weights = |x| norm.weighing(tensor(&weights)).then(activation).forward(x);
        let got = step(by_weights, &x, &dy, &[&norm.gamma, &norm.beta]);
        assert_eq!(got[0], y.data(), "{:?}", norm.grouping);
        assert_eq!(got[1], gradients.dx.data(), "{:?}", norm.grouping);
        assert_eq!(got[2], gradients.dgamma.unwrap(), "{:?}", norm.grouping);

        // What counts nothing may be anything, and a mask is weights of 0 and 1.
        let counts: Vec<bool> = weights.iter().map(|&weight| weight > 0.0).collect();
        let counts = Tensor::<3, Bool>::from_data(TensorData::new(counts, shape), &device);
        let poisoned = x.clone().mask_fill(counts.clone().bool_not(), f32::NAN);
        let by_mask = |x| norm.counting(counts.clone()).forward(x);
        let clean = step(by_mask, &x, &dy, &[&norm.gamma, &norm.beta]);
        assert_eq!(step(by_mask, &poisoned, &dy, &[&norm.gamma, &norm.beta]), clean, "{:?}", norm.grouping);
        assert!(clean[0].iter().zip(&weights).all(|(y, weight)| (*weight == 0.0) <= (*y == 0.0)));
        let ones = norm.weighing(counts.float()).forward(x.clone());
        assert_eq!(floats(ones), clean[0], "{:?}", norm.grouping);
    }
}

#[test]
fn what_weighted_sample_norms_refuse_is_named() {
    let device = Device::default();
    let x = || Tensor::<3>::ones([2, 6, 8], &device);
    let norm = SampleNormConfig::layer(8).with_name("block.norm").init(&device);
    let refusal = |fused: FusedSample<'_, 3>| fused.try_forward(x()).map(drop).unwrap_err().to_string();
    let shape = refusal(norm.weighing(Tensor::ones([2, 5, 8], &device)));
    assert!(shape.starts_with("block.norm: weights: ") && shape.contains("[2, 5, 8]"), "{shape}");
    let number_type = refusal(norm.weighing(x().cast(DType::F64)));
    assert!(number_type.starts_with("block.norm: weights: ") && number_type.contains("F64"), "{number_type}");
    assert!(refusal(norm.weighing(-x())).contains("weights"));
    assert!(refusal(norm.then(Activation::LeakyRelu(-1.0))).contains("-1"));
    // One value left of what an instance norm normalises together.
    let counts = Tensor::<3, Bool>::from_data([[[true, false, false, false, false, false, false, false]]], &device);
    let instance = SampleNormConfig::instance(6).init(&device);
    assert!(instance.counting(counts.clone()).try_forward(x()).is_err());
    // A mask of one row is a row's.
    let row = Tensor::<1>::from_floats([1.0, 2.0, 4.0, 9.0, 0.0, 0.0, 0.0, f32::NAN], &device);
    let counts = Tensor::<1, Bool>::from_data([true, true, true, true, false, false, false, false], &device);
    let four = SampleNormConfig::layer(4).init(&device).forward(row.clone().narrow(0, 0, 4));
    assert_eq!(bits(norm.counting(counts).forward(row).narrow(0, 0, 4)), bits(four));
}

#[test]
fn what_sample_norms_refuse_is_named() {
    let device = Device::default();
    let refusal = |config: SampleNormConfig, shape: [usize; 3]| {
        let norm = config.with_name("block.norm").init(&device);
        norm.try_forward(Tensor::<3>::ones(shape, &device)).map(drop).unwrap_err().to_string()
    };
    assert!(
        refusal(SampleNormConfig::layer(4), [2, 3, 5]).starts_with("block.norm: input: expected 4 channels, got 5")
    );
    assert!(refusal(SampleNormConfig::group(2, 4), [2, 3, 5]).contains("expected 4 channels, got 3"));
    let single = refusal(SampleNormConfig::instance(3), [2, 3, 1]);
    let says = "block.norm: input: expected at least 2 values that are normalised together (a sample's channel, at all positions)";
    assert!(single.starts_with(says) && single.contains("[2, 3, 1]"), "{single}");
    // By declaration instance norm takes one value, and the others refuse it.
    let with = |config: SampleNormConfig, single_value| {
        config.with_policies(Some(Policies { single_value, ..Policies::default() })).init(&device)
    };
    let one = Tensor::<3>::ones([2, 3, 1], &device);
    let beta = with(SampleNormConfig::instance(3), SingleValue::Population).forward(one.clone());
    assert_eq!(floats(beta), [0.0; 6]);
    for config in [SampleNormConfig::layer(1), SampleNormConfig::group(3, 3)] {
        assert_eq!(floats(config.init(&device).forward(one.clone())), [0.0; 6]);
        assert!(with(config, SingleValue::Error).try_forward(one.clone()).is_err());
    }
    assert_eq!(
        floats(SampleNormConfig::rms(1).with_policies(Some(Policies::default())).init(&device).forward(one)).len(),
        6
    );
    let running = Some(Policies { single_value: SingleValue::UseRunning, ..Policies::default() });
    assert!(SampleNormConfig::group(3, 3).with_policies(running).try_init(&device).is_err());
    let strict = Some(Policies { empty_batch: EmptyBatch::Error, ..Policies::default() });
    let none = SampleNormConfig::layer(4).with_policies(strict).init(&device);
    assert!(none.try_forward(Tensor::<2>::zeros([0, 4], &device)).is_err());
    assert!(SampleNormConfig::group(3, 4).try_init(&device).is_err());
    assert!(SampleNormConfig::layer(4).with_epsilon(-1.0).try_init(&device).is_err());
    let norm = SampleNormConfig::group(2, 4).init(&device);
    assert!(norm.try_forward(Tensor::<1>::ones([4], &device)).is_err());
    // One row is a row, as of Burn's layer norm.
    let norm = SampleNormConfig::layer(4).init(&device);
    let row = Tensor::<1>::from_floats([1.0, 2.0, 4.0, 9.0], &device);
    assert_eq!(bits(norm.forward(row.clone())), bits(norm.forward(row.unsqueeze::<2>())));
}

fn whitened(device: &Device) -> Decorrelated {
    DecorrelatedConfig::new(5, 3).with_name("white").init(device)
}

#[test]
fn decorrelated_layers_are_the_cores_and_their_statistics_follow() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4303);
    let (x, dy) = (source.tensor::<4>(&[8, 5, 3, 4], &device), source.tensor::<4>(&[8, 5, 3, 4], &device));
    let layer = whitened(&device);
    let x = x.require_grad();
    let y = layer.forward(x.clone());
    let gradients = (y.clone() * dy.clone()).sum().backward();

    let mut core = batchnorm::Decorrelated::new(5, 3).unwrap();
    let (data, upstream) = (floats(x.clone()), floats(dy));
    let view = |data| View::new(data, &[8, 5, 3, 4], Axes::NCHW).unwrap();
    let trained = core.train(&view(&data)).unwrap();
    let expected = core.backward(&view(&data), &view(&upstream), &trained.saved).unwrap();
    assert_eq!(floats(y), trained.y.data());
    assert_eq!(floats(x.grad(&gradients).unwrap()), expected.dx.data());
    assert_eq!(Some(floats(layer.gamma.grad(&gradients).unwrap())), expected.dgamma);
    assert_eq!(Some(floats(layer.beta.grad(&gradients).unwrap())), expected.dbeta);
    let running: Vec<f32> = core.running().unwrap().covariances().concat().iter().map(|&value| value as f32).collect();
    assert_eq!(floats(layer.running_covariance.value()), running);

    // gamma alone asks: dx is nobody's.
    let y = layer.forward_train(x.clone().detach());
    assert!(layer.gamma.grad(&y.square().sum().backward()).is_some());
    let before = bits(layer.running_covariance.value());
    let valid = layer.valid();
    assert_eq!(bits(valid.running_covariance.value()), before);
    let evaluated = valid.forward(x.clone().without_autodiff());
    assert_eq!(bits(evaluated), bits(layer.forward_eval(x)));
    assert_eq!(bits(layer.running_covariance.value()), before, "evaluation learns nothing");
    let again = whitened(&device).load_record(layer.clone().into_record());
    assert_eq!(bits(again.running_covariance.value()), before);
}

#[test]
fn what_decorrelated_layers_refuse_is_named_and_changes_nothing() {
    let device = Device::default();
    let layer = whitened(&device);
    let before = bits(layer.running_covariance.value());
    let refusal = |x: Tensor<2>| layer.try_forward_train(x).map(drop).unwrap_err().to_string();
    assert!(refusal(Tensor::ones([4, 6], &device)).starts_with("white: input: expected 5 channels, got 6"));
    assert!(refusal(Tensor::ones([1, 5], &device)).contains("at least 2 values a channel"));
    assert_eq!(bits(layer.running_covariance.value()), before);
    // NaN in a group: the other one follows.
    let x: Tensor<2> = Source::new(4304).tensor(&[9, 5], &device);
    let nan = x.clone().slice_fill([0..1, 4..5], f32::NAN);
    let (_, skipped) = layer.try_forward_train(nan).unwrap();
    assert_eq!(skipped, [1]);
    let now = bits(layer.running_covariance.value());
    assert!(now[..9] != before[..9] && now[9..] == before[9..]);
    assert!(DecorrelatedConfig::new(5, 0).try_init(&device).is_err());
    let singular = DecorrelatedConfig::new(3, 3).with_epsilon(0.0).init(&device);
    let error = singular.try_forward_train(Tensor::<2>::ones([8, 3], &device)).map(drop).unwrap_err().to_string();
    assert!(error.contains("group 0") && error.contains("epsilon"), "{error}");
}

/// An executor that counts what it is asked for, and does all of it on the calling thread.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Executor for Counting {
    fn threads(&self) -> usize {
        2
    }
    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(1, Ordering::Relaxed);
        work(0);
    }
}

#[test]
fn passes_run_on_the_threads_that_a_module_is_given() {
    let executor = Arc::new(Counting::default());
    let threads = || Threads::of(executor.clone());
    let asked = || executor.0.swap(0, Ordering::Relaxed) > 0;
    let device = Device::default().autodiff();
    let x = Tensor::<3>::random([20, 8, 500], Distribution::Default, &device).require_grad();
    let gradients_ask = |y: Tensor<3>| {
        let forward = asked();
        y.square().sum().backward();
        forward && asked()
    };

    let mut batch_norm = BatchNormConfig::new(8).init(&device);
    batch_norm.threads = threads();
    assert!(gradients_ask(batch_norm.forward(x.clone())));
    assert_eq!(batch_norm.clone().threads, threads());
    let mut sample_norm = SampleNormConfig::group(2, 8).init(&device);
    sample_norm.threads = threads();
    assert!(gradients_ask(sample_norm.forward(x.clone())));
    let mut decorrelated = DecorrelatedConfig::new(8, 4).init(&device);
    decorrelated.threads = threads();
    assert!(gradients_ask(decorrelated.forward(x)));
}
