//! Values and running statistics against the core; clones, records, freezing.

#![allow(missing_docs)]

mod support;

use batchnorm::{Axes, Config, Estimator, RunningStatistics, UpdateWeight, View};
use batchnorm_burn::{BatchNorm, BatchNormConfig, RunningVariance};
use burn::module::{Module, Param};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Tensor, TensorData};
use support::{Source, bits, floats, vector};

/// The statistics as bits.
fn statistics(norm: &BatchNorm) -> (Vec<u32>, Vec<u32>) {
    (bits(norm.running_mean.value()), bits(norm.running_var.value()))
}

fn core_agrees<const D: usize>(index: usize, shape: &[usize]) {
    let mut source = Source::new(100 + index as u64);
    let (device, population) = (Device::default(), index % 2 == 1);
    let variance = if population { RunningVariance::Population } else { RunningVariance::Sample };
    let mut norm = BatchNormConfig::new(shape[1])
        .with_epsilon(1e-3)
        .with_momentum(0.3)
        .with_running_variance(variance)
        .init(&device);
    let (gamma, beta) = (source.values(shape[1], 1.0, 0.5), source.values(shape[1], 0.0, 1.0));
    (norm.gamma, norm.beta) = (Param::from_tensor(vector(&gamma, &device)), Param::from_tensor(vector(&beta, &device)));

    let estimator = if population { Estimator::Population } else { Estimator::Sample };
    let averaging = UpdateWeight::of_new(0.3).unwrap();
    let mut core = Config::pytorch().epsilon(1e-3).averaging(averaging).estimator(estimator).build().unwrap();
    core.set_gamma(&gamma).unwrap();
    core.set_beta(&beta).unwrap();

    for _ in 0..4 {
        let x = source.tensor::<D>(shape, &device);
        let values = floats(x.clone());
        let trained = core.train(&View::new(&values, shape, Axes::NCHW).unwrap()).unwrap();
        assert_eq!(floats(norm.forward_train(x.clone())), trained.y.data(), "{shape:?}");

        // The core's statistics are rounded after each update, as the module's are.
        let round = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let running = core.running().unwrap();
        let (mean, variance) = (round(running.mean()), round(running.variance()));
        core.set_running(RunningStatistics::from_parts(&mean, &variance, 0).unwrap()).unwrap();
        assert_eq!(floats(norm.running_mean.value()), mean, "{shape:?}");
        assert_eq!(floats(norm.running_var.value()), variance, "{shape:?}");

        let evaluated = core.eval(&View::new(&values, shape, Axes::NCHW).unwrap()).unwrap();
        assert_eq!(floats(norm.forward_eval(x)), evaluated.y.data(), "{shape:?}");
    }
}

#[test]
fn values_and_statistics_are_the_cores_to_the_bit() {
    for_each_shape!(core_agrees);
}

#[test]
fn the_running_mean_of_a_constant_channel_comes_to_it_to_the_bit_and_stays() {
    let device = Device::default();
    let constants = [1e-30f32, 0.1, 1.0, 100.1, 1e8, 1e15];
    let values: Vec<f32> = (0..8).flat_map(|_| constants).collect();
    let x = Tensor::<2>::from_data(TensorData::new(values, [8, constants.len()]), &device);
    for momentum in [0.5f64, 0.3, 0.1, 0.01] {
        let norm = BatchNormConfig::new(constants.len()).with_momentum(momentum).init(&device);
        // Until the share of the start, 0, is below half an ulp, and 1 / (2 momentum) more.
        let most = 25.0 * std::f64::consts::LN_2 / -(1.0 - momentum).ln() + 0.5 / momentum + 2.0;
        for _ in 0..most.ceil() as usize {
            norm.forward_train(x.clone());
        }
        let expected = constants.map(f32::to_bits);
        assert_eq!(bits(norm.running_mean.value()), expected, "momentum {momentum}, {most} updates");
        norm.forward_train(x.clone());
        assert_eq!(bits(norm.running_mean.value()), expected, "momentum {momentum} stays");
        assert!(floats(norm.forward_eval(x.clone())).into_iter().all(|y| y == 0.0), "beta");
    }
}

#[test]
fn burns_convention_decides_forward() {
    let device = Device::default();
    let x = Source::new(1).tensor::<2>(&[8, 3], &device);
    let norm = BatchNormConfig::new(3).init(&device.clone().autodiff());
    let (start, tracked) = (statistics(&norm), x.clone().autodiff());

    // No autodiff: evaluation, nothing changes.
    assert_eq!(bits(norm.forward(x.clone())), bits(norm.forward_eval(x.clone())));
    assert_eq!(bits(norm.valid().forward(x.clone())), bits(norm.forward_eval(x.clone())));
    let frozen = norm.clone().freeze();
    assert_eq!(bits(frozen.forward(tracked.clone())), bits(norm.forward_eval(x.clone())));
    assert_eq!((statistics(&norm), statistics(&frozen)), (start.clone(), start.clone()));

    // Autodiff: training. `no_grad` stops gradients, not statistics.
    let still = norm.clone().no_grad();
    let y = bits(norm.forward(tracked.clone()));
    assert_eq!(bits(still.forward(tracked.clone())), y);
    assert_ne!(statistics(&norm), start);
    assert_eq!(statistics(&still), statistics(&norm));
    assert_eq!(bits(norm.valid().train().forward(tracked)), y);
}

#[test]
fn explicit_calls_do_not_ask_the_device() {
    let device = Device::default();
    let x = Source::new(2).tensor::<2>(&[8, 3], &device);
    let plain = BatchNormConfig::new(3).init(&device);
    let tracked = BatchNormConfig::new(3).init(&device.clone().autodiff());
    assert_eq!(bits(plain.forward_train(x.clone())), bits(tracked.forward_train(x.clone().autodiff())));
    assert_eq!(statistics(&plain), statistics(&tracked));
    assert_eq!(bits(plain.forward_eval(x.clone())), bits(tracked.forward_eval(x.autodiff())));
}

#[test]
fn a_clone_has_statistics_of_its_own() {
    let device = Device::default().autodiff();
    let mut source = Source::new(3);
    let norm = BatchNormConfig::new(3).init(&device);
    norm.forward_train(source.tensor::<2>(&[8, 3], &device));
    let (clone, valid) = (norm.clone(), norm.valid());
    let before = statistics(&norm);
    assert_eq!(statistics(&clone), before);
    assert_eq!(clone.running_mean.id(), norm.running_mean.id());

    norm.forward_train(source.tensor::<2>(&[8, 3], &device));
    assert_ne!(statistics(&norm), before);
    assert_eq!(statistics(&clone), before);
    assert_eq!(statistics(&valid), before);
}

#[test]
fn a_record_holds_what_is_used() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4);
    let norm = BatchNormConfig::new(5).init(&device);
    for _ in 0..3 {
        norm.forward_train(source.tensor::<3>(&[4, 5, 6], &device));
    }
    let x = source.tensor::<3>(&[4, 5, 6], &device);
    let y = bits(norm.forward_eval(x.clone()));
    let bytes = norm.clone().into_record().into_bytes().unwrap();
    let loaded = BatchNormConfig::new(5).init(&device).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_eq!(bits(loaded.forward_eval(x.clone())), y);
    assert_eq!(statistics(&loaded), statistics(&norm));
    assert_eq!(loaded.running_var.id(), norm.running_var.id());
    assert!(!loaded.running_var.value().is_require_grad());
    assert!(loaded.gamma.val().is_require_grad());

    // A record of Burn's own layer has the same names.
    let theirs = burn::nn::BatchNormConfig::new(5).init(&device);
    let ours = norm.load_record(theirs.into_record());
    assert_eq!(floats(ours.running_var.value()), [1.0; 5]);
}

#[test]
fn unfreezing_everything_leaves_statistics_without_gradient() {
    let norm = BatchNormConfig::new(2).init(&Device::default().autodiff()).freeze().unfreeze();
    assert!(norm.gamma.val().is_require_grad());
    assert!(!norm.running_mean.value().is_require_grad());
    assert_eq!(norm.num_params(), 8);
}

#[test]
fn a_channel_that_is_not_finite_keeps_its_statistics() {
    let device = Device::default();
    let norm = BatchNormConfig::new(4).init(&device);
    // Not a number; a mean that fits and a variance that does not; statistics that fit; infinity.
    let x = Tensor::<2>::from_floats(
        [[1.0, 3e38, 1.0, f32::INFINITY], [f32::NAN, -3e38, 3.0, 1.0], [0.0, 1.0, 2.0, 1.0]],
        &device,
    );
    let trained = norm.try_forward_train(x).unwrap();
    assert_eq!(trained.not_updated, [0, 1, 3]);
    assert_eq!(trained.batch.non_finite(), [0, 3]);
    assert_eq!(floats(norm.running_mean.value()), [0.0, 0.0, 0.2, 0.0]);
    assert_eq!(floats(norm.running_var.value()), [1.0, 1.0, 1.0, 1.0]);
    let y = floats(trained.output);
    assert!(y[0].is_nan() && y[3].is_nan());
    assert!(y[1].is_finite() && y[2].is_finite());
}

#[test]
fn an_empty_batch_changes_nothing() {
    let device = Device::default().autodiff();
    let norm = BatchNormConfig::new(3).init(&device);
    let start = statistics(&norm);
    let x = Tensor::<2>::zeros([0, 3], &device).require_grad();
    assert_eq!(norm.forward(x.clone()).dims(), [0, 3]);
    assert_eq!(norm.forward_eval(x).dims(), [0, 3]);
    assert_eq!(statistics(&norm), start);
}

#[test]
fn the_display_says_what_the_layer_is() {
    let norm = BatchNormConfig::new(3).init(&Device::default());
    let text = norm.to_string();
    for part in ["BatchNorm", "num_features: 3", "momentum: 0.1", "epsilon: 0.00001", "Sample"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(format!("{:?}", norm.running_mean).contains("RunningTensor"));
}

#[test]
fn other_number_types_are_computed_by_the_stated_path() {
    let device = Device::default().autodiff();
    let mut source = Source::new(5);
    let x = source.tensor::<3>(&[6, 4, 5], &device);
    let dy = source.tensor::<3>(&[6, 4, 5], &device);
    let run = |dtype: DType| {
        let norm = BatchNormConfig::new(4).init(&device);
        let x = x.clone().cast(DType::BF16).cast(dtype).require_grad();
        let y = norm.forward(x.clone());
        assert_eq!(y.dtype(), dtype);
        let gradients = (y.clone().cast(DType::F32) * dy.clone()).sum().backward();
        let dx = x.grad(&gradients).unwrap();
        assert_eq!(dx.dtype(), dtype);
        let dgamma = norm.gamma.grad(&gradients).unwrap();
        assert_eq!((dgamma.dtype(), norm.running_var.value().dtype()), (DType::F32, DType::F32));
        (floats(y), floats(dx), floats(dgamma), statistics(&norm))
    };
    let single = run(DType::F32);
    // One input in all types, which hold it: the same statistics to the bit, outputs to the type's rounding.
    for (dtype, bound) in [(DType::F64, 1e-6), (DType::F16, 1e-3), (DType::BF16, 8e-3)] {
        let other = run(dtype);
        assert_eq!(other.3, single.3, "{dtype:?}");
        for (a, b) in [(&other.0, &single.0), (&other.1, &single.1), (&other.2, &single.2)] {
            let most = b.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound * most), "{dtype:?}");
        }
    }
}

/// What evaluation keeps from call to call must follow whatever it was made of.
#[test]
fn evaluation_sees_every_change() {
    let device = Device::default();
    let mut source = Source::new(9);
    let x = source.tensor::<2>(&[5, 3], &device);
    let mut norm = BatchNormConfig::new(3).init(&device);
    let mut last = bits(norm.forward_eval(x.clone()));
    let mut changed = |norm: &BatchNorm, what: &str| {
        // A clone has nothing prepared.
        let fresh = bits(norm.clone().forward_eval(x.clone()));
        assert_eq!(bits(norm.forward_eval(x.clone())), fresh, "{what}");
        assert_eq!(bits(norm.forward_eval(x.clone())), fresh, "{what}, again");
        assert_ne!(fresh, last, "{what}");
        last = fresh;
    };
    norm.gamma = norm.gamma.map(|gamma| gamma * 2.0);
    changed(&norm, "gamma");
    norm.beta = Param::from_tensor(vector(&[1.0, 2.0, 3.0], &device));
    changed(&norm, "beta");
    norm.forward_train(source.tensor::<2>(&[8, 3], &device));
    changed(&norm, "a training pass");
    norm.running_mean.update(vector(&[4.0, 5.0, 6.0], &device));
    changed(&norm, "the running mean");
    norm.running_var = batchnorm_burn::RunningTensor::new(vector(&[2.0, 3.0, 4.0], &device));
    changed(&norm, "another running variance");
    norm.epsilon = 0.5;
    changed(&norm, "epsilon");
    let running = RunningStatistics::from_parts(&[0.5f64; 3], &[7.0; 3], 0).unwrap();
    norm.set_running_statistics(&running).unwrap();
    changed(&norm, "statistics that were set");
    let mut norm = norm.no_grad();
    norm.gamma = norm.gamma.map(|gamma| gamma * vector(&[1.0, 1.0, -3.0], &device));
    changed(&norm, "a part of gamma");
    let replica = norm.clone();
    replica.forward_train(source.tensor::<2>(&[8, 3], &device));
    drop(replica);
    changed(&norm, "a replica's batch");
    let other = BatchNormConfig::new(3).init(&device).into_record();
    let norm = norm.load_record(other);
    changed(&norm, "a record");
    // Another number type in between, and other statistics that cannot be.
    let wide = norm.forward_eval(x.clone().cast(DType::F64));
    assert_eq!(wide.dtype(), DType::F64);
    assert_eq!(bits(norm.forward_eval(x.clone())), bits(norm.clone().forward_eval(x.clone())));
    norm.running_var.update(vector(&[1.0, -1.0, 1.0], &device));
    assert!(norm.try_forward_eval(x).is_err());
}

#[test]
fn what_a_layer_holds_is_not_spelt_out() {
    let norm = BatchNormConfig::new(3).init(&Device::default());
    let length = format!("{norm:?}").len();
    norm.hold();
    (0..50).for_each(|seed| drop(norm.forward_train(Source::new(seed).tensor::<2>(&[8, 3], &Device::default()))));
    let shown = format!("{norm:?}");
    assert!(shown.contains("held: Holding(50)") && shown.len() < length + 200, "{shown}");
}
