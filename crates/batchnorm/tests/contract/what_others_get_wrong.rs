//! What was measured on other implementations (named with each test), and what is right. Facts that have a test elsewhere:
//! `update_bn` and fvcore in statistics/population.rs, conventions in statistics/conventions.rs, and in batch_norm/ padding in
//! weights_policies.rs, frozen layers in switches.rs, one value a channel and last batches in policies.rs, participants in
//! collective.rs, micro-batches in micro_batches.rs.

use crate::support::Random;
use batchnorm::{
    Averaging, Axes, BatchNorm, CallError, Config, ConfigError, Estimator, Parameters, Population, RunningStatistics,
    UpdateWeight, View, ViewMut, scale_and_shift,
};

fn column(data: &[f64]) -> View<'_, f64> {
    View::new(data, &[data.len(), 1], Axes::NCHW).expect("a column")
}

fn layer() -> BatchNorm {
    BatchNorm::new(1).expect("a layer")
}

#[test]
fn torch_accepts_options_that_are_none() {
    assert!(matches!(Config::pytorch().epsilon(f64::NAN).build(), Err(ConfigError::Epsilon { .. })));
    for weight in [f64::NAN, -1.2] {
        assert!(matches!(UpdateWeight::of_new(weight), Err(ConfigError::Weight { .. })));
    }
    let negative = RunningStatistics::from_parts(&[0.0], &[-1.0], 0);
    assert!(matches!(negative, Err(ConfigError::NegativeVariance { channel: 0, .. })));
    // A (2, 2) weight: four values for two channels.
    let mut two = BatchNorm::new(2).expect("a layer");
    assert_eq!(two.set_gamma(&[1.0; 4]), Err(ConfigError::Length { argument: "gamma", expected: 2, got: 4 }));
    assert_eq!(two.gamma(), Some(vec![1.0; 2]));
}

#[test]
fn torch_counts_a_batch_whose_call_failed() {
    let mut layer = layer();
    assert!(matches!(layer.train(&column(&[1.0])), Err(CallError::SingleValue { .. })));
    let running = layer.running().expect("tracked");
    assert_eq!((running.batches(), running.updates()), (0, &[0][..]));
}

#[test]
fn torch_halves_a_cumulative_average_by_an_empty_batch() {
    let mut layer = Config::pytorch().averaging(Averaging::Cumulative).channels(1).build().expect("a layer");
    layer.train(&column(&[4.0, 6.0])).expect("a right call");
    let before = layer.running().cloned();
    layer.train(&column(&[])).expect("an empty batch passes");
    assert_eq!(layer.running().cloned(), before);
    assert_eq!(before.expect("tracked").mean(), [5.0]);
}

/// pytorch 90342.
#[test]
fn torch_keeps_a_nan_of_one_batch_in_its_statistics_for_ever() {
    let mut layer = layer();
    let trained = layer.train(&column(&[1.0, f64::NAN, 3.0])).expect("reported, not refused");
    assert_eq!(trained.batch.non_finite(), [0]);
    assert_eq!(layer.running().expect("tracked").mean(), [0.0]);
    layer.train(&column(&[1.0, 3.0])).expect("a right call");
    assert!(layer.running().expect("tracked").mean()[0].is_finite());
}

#[test]
fn candle_has_a_variance_of_nan_after_one_value_a_channel() {
    // Refused by default; with a policy that takes it, the statistics are numbers.
    for policy in [batchnorm::SingleValue::Population, batchnorm::SingleValue::SkipUpdate] {
        let policies = batchnorm::Policies { single_value: policy, ..Default::default() };
        let mut layer = Config::pytorch().policies(policies).channels(1).build().expect("a layer");
        layer.train(&column(&[7.0])).expect("taken");
        assert!(layer.running().expect("tracked").variance()[0].is_finite(), "{policy:?}");
    }
}

#[test]
fn burn_stores_another_variance_than_it_says() {
    let of = |config: Config| {
        let mut layer = config.channels(1).build().expect("a layer");
        layer.train(&column(&[1.0, 2.0, 4.0, 9.0])).expect("a right call");
        layer.running().expect("tracked").variance()[0]
    };
    // M2 = 38: each preset stores what its framework documents, and says which.
    assert_eq!(
        (Config::pytorch().estimator, of(Config::pytorch())),
        (Estimator::Sample, 1.0 + 0.1 * (38.0 / 3.0 - 1.0))
    );
    assert_eq!((Config::burn().estimator, of(Config::burn())), (Estimator::Population, 1.0 + 0.1 * (9.5 - 1.0)));
}

#[test]
fn keras_has_nan_for_mean_100_and_deviation_001() {
    // E[x^2] - E[x]^2 in f32 is negative there.
    let x = Random::new(1400).normals_f32(256, 100.0, 0.01);
    let naive = x.iter().map(|x| x * x).sum::<f32>() / 256.0 - (x.iter().sum::<f32>() / 256.0).powi(2);
    assert!(!(5e-5..=1.5e-4).contains(&naive), "the naive formula has no right digit: {naive:e}");
    let trained = layer().train(&View::new(&x, &[256, 1], Axes::NCHW).expect("a column")).expect("a right call");
    let variance = trained.batch.channels()[0].population_variance();
    assert!((0.8e-4..1.2e-4).contains(&variance) && trained.y.data().iter().all(|y: &f32| y.is_finite()));
}

#[test]
fn burns_gradient_test_differentiates_a_sum_whose_gradient_is_0_for_any_batch_norm() {
    let x = Random::new(1401).normals(32, 3.0, 2.0);
    let mut layer = layer();
    let saved = layer.train(&column(&x)).expect("a right call").saved;
    let of = |dy: &[f64]| layer.backward(&column(&x), &column(dy), &saved).expect("a right call").dx.into_data();
    assert!(of(&[1.0; 32]).iter().all(|dx| dx.abs() < 1e-15), "of sum(y), so it proves nothing");
    let random = of(&Random::new(1402).normals(32, 0.0, 1.0));
    assert!(random.iter().any(|dx| dx.abs() > 0.1), "of a random upstream gradient, it tells");
}

#[test]
fn mmcv_compares_a_folded_layer_with_itself() {
    // Against another computation: the layer's own evaluation, which is not x * scale + shift.
    let mut layer = layer();
    layer.set_gamma(&[1.7]).expect("one");
    layer.set_beta(&[-0.3]).expect("one");
    layer.set_running(RunningStatistics::from_parts(&[2.5], &[0.04], 1).expect("statistics")).expect("one channel");
    let (scale, shift) = scale_and_shift(1.7, -0.3, 2.5, 0.04, layer.config().epsilon);
    let x = [2.0, 2.5, 3.7, -10.0];
    let y = layer.eval(&column(&x)).expect("a right call").y;
    for (x, y) in x.iter().zip(y.data()) {
        assert!((x * scale + shift - y).abs() < 1e-13 * (1.0 + y.abs()));
    }
    // A shift that is off by a little is seen.
    assert!((2.0 * scale + shift + 1e-6 - y.data()[0]).abs() > 1e-7);
}

/// timm 106, ema-pytorch 29, swa 8: weights that are an average never saw a batch, and the statistics beside them are those of
/// other weights.
#[test]
fn averaged_weights_need_statistics_of_their_own() {
    let mut random = Random::new(1403);
    let x = random.normals(64, 1.0, 2.0);
    let weighed = |weight: f64| x.iter().map(|x| x * weight).collect::<Vec<f64>>();
    // A layer behind weights 1 and 3, averaged to 2: the average of the two layers' statistics is not that of weight 2.
    let variance = |weight: f64| batchnorm::Moments::of(&weighed(weight)).population_variance();
    assert!(((variance(1.0) + variance(3.0)) / 2.0 / variance(2.0) - 1.0).abs() > 0.2);
    let mut layer = layer();
    let mut population = Population::new(1).expect("one channel");
    for batch in weighed(2.0).chunks(16) {
        population.observe(&layer.forward_train(&column(batch)).expect("a right call").batch).expect("one channel");
    }
    layer.set_running(population.running(Estimator::Population).expect("observed")).expect("one channel");
    assert!((layer.running().expect("tracked").variance()[0] / variance(2.0) - 1.0).abs() < 1e-12);
}

/// Before opset 14 the ONNX reference evaluator is wrong; what the operator says is the same from 7 up. The file of cases
/// (golden/onnx.json) is made of onnxruntime and the operator's own node tests; this is the formula beside them.
#[test]
fn onnx_evaluates_by_the_population_variance_as_given() {
    let rule = Config::onnx().normalizer().expect("a rule");
    let running = RunningStatistics::from_parts(&[1.0], &[4.0], 0).expect("statistics");
    let parameters = Parameters { gamma: Some(&[2.0]), beta: Some(&[0.5]) };
    let mut y = [0.0; 2];
    let mut out = ViewMut::new(&mut y, &[2, 1], Axes::NCHW).expect("a column");
    rule.eval(&column(&[1.0, 5.0]), parameters, Some(&running), &mut out).expect("a right call");
    assert!((y[0] - 0.5).abs() < 1e-15 && (y[1] - (0.5 + 8.0 / 4.00001f64.sqrt())).abs() < 1e-14);
}
