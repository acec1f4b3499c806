//! Degenerate input: the declared policies of numerics.md section 4, and what they leave of the state.

use crate::support::Random;
use batchnorm::{
    Affine, Averaging, Axes, BatchNorm, CallError, Config, ConstantChannel, EmptyBatch, Estimator, MissingRunning,
    Moments, NonFinite, Policies, RunningStatistics, SingleValue, UpdateWeight, View,
};

fn layer(policies: Policies) -> BatchNorm {
    let mut layer = Config::pytorch().channels(2).policies(policies).build().unwrap();
    layer.set_gamma(&[2.0, -1.0]).unwrap();
    layer.set_beta(&[0.5, 0.25]).unwrap();
    layer.set_running(RunningStatistics::from_parts(&[1.0, 3.0], &[4.0, 9.0], 7).unwrap()).unwrap();
    layer
}

fn column(data: &[f64]) -> View<'_, f64> {
    View::new(data, &[data.len() / 2, 2], Axes::NCHW).unwrap()
}

#[test]
fn one_value_a_channel_is_an_error_unless_declared() {
    let x = [5.0, 9.0];
    let dy = [1.0, 1.0];
    let mut refusing = layer(Policies::default());
    let before = refusing.running().cloned();
    assert!(matches!(refusing.train(&column(&x)), Err(CallError::SingleValue { .. })));
    assert_eq!(refusing.running().cloned(), before);

    for (policy, y, dx, batches) in [
        // (5 - 1) / 2 * 2 + .5 and (9 - 3) / 3 * -1 + .25, less eps; dx = gamma / sigma * dy
        (SingleValue::UseRunning, [4.5, -1.75], [1.0, -1.0 / 3.0], 7),
        (SingleValue::Population, [0.5, 0.25], [0.0, 0.0], 8),
        (SingleValue::SkipUpdate, [0.5, 0.25], [0.0, 0.0], 7),
    ] {
        let mut layer = layer(Policies { single_value: policy, ..Policies::default() });
        let trained = layer.train(&column(&x)).unwrap();
        let dx_got = layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap().dx;
        for c in 0..2 {
            assert!((trained.y.data()[c] - y[c]).abs() < 1e-5, "{policy:?}");
            assert!((dx_got.data()[c] - dx[c]).abs() < 1e-5, "{policy:?}");
        }
        let running = layer.running().unwrap();
        assert_eq!(running.batches(), batches, "{policy:?}");
        if policy == SingleValue::Population {
            // By the population variance 0: the sample variance of one value does not exist.
            assert_eq!((running.mean()[0], running.variance()[0]), (0.9 + 0.1 * 5.0, 0.9 * 4.0));
        }
    }
}

#[test]
fn one_value_by_running_statistics_needs_some() {
    let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    let mut untracked =
        Config::pytorch().channels(2).track_running_statistics(false).policies(policies).build().unwrap();
    assert!(matches!(untracked.train(&column(&[1.0, 2.0])), Err(CallError::NoRunningStatistics { .. })));
}

#[test]
fn one_value_that_is_not_finite_is_refused_or_taken_as_declared() {
    let x = [f64::NAN, 2.0];
    let mut refusing =
        layer(Policies { single_value: SingleValue::UseRunning, non_finite: NonFinite::Error, ..Policies::default() });
    assert_eq!(refusing.train(&column(&x)).unwrap_err(), CallError::NonFinite { channels: vec![0] });
    let mut taking =
        layer(Policies { single_value: SingleValue::Population, non_finite: NonFinite::Update, ..Policies::default() });
    taking.train(&column(&x)).unwrap();
    let running = taking.running().unwrap();
    assert!(running.mean()[0].is_nan() && running.variance()[0].is_nan() && running.variance()[1] == 0.9 * 9.0);
}

#[test]
fn a_batch_that_does_not_count_does_not_tell_a_layer_its_channels() {
    let policies = Policies { single_value: SingleValue::SkipUpdate, ..Policies::default() };
    let mut fresh = Config::pytorch().policies(policies).build().unwrap();
    fresh.train(&column(&[1.0, 2.0])).unwrap();
    assert_eq!((fresh.channels(), fresh.running()), (None, None));
    assert!(matches!(fresh.eval(&column(&[1.0, 2.0])), Err(CallError::NoRunningStatistics { .. })));
    // Whatever tells the channels starts the running statistics.
    fresh.set_gamma(&[1.0, 2.0]).unwrap();
    assert_eq!(fresh.running(), Some(&RunningStatistics::start(2).unwrap()));
}

#[test]
fn an_empty_batch_changes_nothing() {
    let mut passing = layer(Policies::default());
    let before = passing.running().cloned();
    let trained = passing.train(&column(&[])).unwrap();
    assert_eq!(trained.y.shape(), [0, 2]);
    assert_eq!(passing.running().cloned(), before);
    let gradients = passing.backward(&column(&[]), &column(&[]), &trained.saved).unwrap();
    assert_eq!((gradients.dgamma.unwrap(), gradients.dbeta.unwrap()), (vec![0.0; 2], vec![0.0; 2]));
    assert_eq!(passing.eval(&column(&[])).unwrap().y.shape(), [0, 2]);

    let mut refusing = layer(Policies { empty_batch: EmptyBatch::Error, ..Policies::default() });
    assert!(matches!(refusing.train(&column(&[])), Err(CallError::EmptyBatch { .. })));
    assert_eq!(refusing.running().cloned(), before);

    // An empty space axis is as empty, and does not tell a layer its channels.
    let mut fresh = Config::pytorch().build().unwrap();
    fresh.train(&View::<f32>::new(&[], &[3, 2, 0], Axes::NCHW).unwrap()).unwrap();
    assert_eq!(fresh.channels(), None);
}

#[test]
fn alike_values_give_beta_and_no_gradient_unless_the_derivative_is_asked_for() {
    let x = [7.0, 1.0, 7.0, 2.0, 7.0, 6.0];
    let dy = [1.0, 0.0, 3.0, 0.0, 2.0, 0.0];
    for (policy, expected) in [
        (ConstantChannel::ZeroGradient, [0.0, 0.0, 0.0]),
        // gamma / sqrt(eps) * (dy - mean of dy)
        (ConstantChannel::Derivative, [-2.0 / 1e-5f64.sqrt(), 2.0 / 1e-5f64.sqrt(), 0.0]),
    ] {
        let mut layer = layer(Policies { constant_channel: policy, ..Policies::default() });
        let trained = layer.train(&column(&x)).unwrap();
        assert_eq!([trained.y.data()[0], trained.y.data()[2], trained.y.data()[4]], [0.5; 3]);
        let gradients = layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap();
        for (i, expected) in expected.iter().enumerate() {
            assert!((gradients.dx.data()[2 * i] - expected).abs() <= 1e-10 * expected.abs(), "{policy:?}");
        }
        assert_eq!((gradients.dgamma.unwrap()[0], gradients.dbeta.unwrap()[0]), (0.0, 6.0));
        // Updated normally.
        assert_eq!(layer.running().unwrap().batches(), 8);
        assert!((layer.running().unwrap().variance()[0] - 3.6).abs() < 1e-15);
    }
    // With eps 0 the derivative does not exist: 0 by declaration, and y = beta.
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let layer = Config::pytorch().epsilon(0.0).policies(policies).build().unwrap();
    let trained = layer.forward_train(&column(&x)).unwrap();
    assert_eq!(trained.y.data()[0], 0.0);
    assert_eq!(layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap().dx.data()[0], 0.0);
}

#[test]
fn not_finite_values_are_skipped_taken_or_refused() {
    let x = [f64::NAN, 1.0, 2.0, 2.0, 3.0, 6.0];
    for policy in [NonFinite::Skip, NonFinite::Update, NonFinite::Error] {
        let mut layer = layer(Policies { non_finite: policy, ..Policies::default() });
        let before = layer.running().cloned().unwrap();
        let result = layer.train(&column(&x));
        let running = layer.running().unwrap();
        match policy {
            NonFinite::Error => {
                assert_eq!(result.unwrap_err(), CallError::NonFinite { channels: vec![0] });
                assert_eq!(*running, before);
                let mut y = [-1.0; 6];
                let mut out = batchnorm::ViewMut::new(&mut y, &[3, 2], Axes::NCHW).unwrap();
                assert!(layer.forward_train_into(&column(&x), &mut out).is_err());
                assert_eq!(y, [-1.0; 6], "the buffer is untouched");
            }
            _ => {
                let trained = result.unwrap();
                assert_eq!(trained.batch.non_finite(), [0]);
                assert!(trained.y.data().iter().step_by(2).all(|y| y.is_nan()));
                assert!((running.mean()[1] - (2.7 + 0.1 * 3.0)).abs() < 1e-15);
                assert_eq!(running.mean()[0].is_nan(), policy == NonFinite::Update);
                assert_eq!(running.variance()[0].is_nan(), policy == NonFinite::Update);
                assert_eq!(running.batches(), 8);
            }
        }
    }
}

#[test]
fn a_skipped_channel_keeps_the_right_weight_in_a_cumulative_average() {
    let mut layer =
        Config::pytorch().averaging(Averaging::Cumulative).estimator(Estimator::Population).build().unwrap();
    layer.train(&column(&[2.0, 2.0, 4.0, 4.0])).unwrap();
    layer.train(&column(&[f64::INFINITY, 0.0, 0.0, 10.0])).unwrap();
    layer.train(&column(&[6.0, 6.0, 10.0, 10.0])).unwrap();
    let running = layer.running().unwrap();
    assert_eq!(running.mean()[0], (3.0 + 8.0) / 2.0);
    assert!((running.mean()[1] - (3.0 + 5.0 + 8.0) / 3.0).abs() < 1e-15);
    assert!((running.variance()[1] - (1.0 + 25.0 + 4.0) / 3.0).abs() < 1e-14);
    assert_eq!((running.batches(), running.updates()), (3, &[2, 3][..]));

    // Stored and restored, it goes on as if nothing had been.
    let restored = RunningStatistics::from_parts(running.mean(), running.variance(), running.batches());
    let restored = restored.unwrap().with_updates(running.updates()).unwrap();
    assert_eq!(&restored, running);
    let mut other =
        Config::pytorch().averaging(Averaging::Cumulative).estimator(Estimator::Population).build().unwrap();
    other.set_running(restored).unwrap();
    other.train(&column(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    layer.train(&column(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(other.running(), layer.running());
}

#[test]
fn merged_moments_of_micro_batches_can_be_committed() {
    let mut random = Random::new(502);
    let x = random.normals(60, 2.0, 3.0);
    let (mut whole, mut parts) = (layer(Policies::default()), layer(Policies::default()));
    whole.train(&column(&x)).unwrap();
    let batches: Vec<_> = [0..14, 14..50, 50..60]
        .map(|range| parts.forward_train(&column(&x[range])).unwrap().batch)
        .into_iter()
        .collect();
    let merged: Vec<_> = (0..2)
        .map(|channel| batches.iter().fold(Moments::EMPTY, |all, batch| all.merge(batch.channels()[channel])))
        .collect();
    assert_eq!(parts.commit(&merged.into()).unwrap(), [] as [usize; 0]);
    for (one, other) in [
        (whole.running().unwrap().mean(), parts.running().unwrap().mean()),
        (whole.running().unwrap().variance(), parts.running().unwrap().variance()),
    ] {
        assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() <= 1e-14 * one.abs()));
    }
}

#[test]
fn a_commit_tells_which_channels_it_skipped() {
    let mut layer = layer(Policies::default());
    let batch = layer.forward_train(&column(&[f64::NAN, 1.0, 2.0, 3.0])).unwrap().batch;
    assert_eq!(layer.commit(&batch).unwrap(), [0]);
}

#[test]
fn evaluation_without_running_statistics_is_an_error_unless_declared() {
    let x = [1.0, 2.0, 3.0, 6.0];
    let fresh = Config::pytorch().build().unwrap(); // knows no channels, has seen no batch
    assert!(matches!(fresh.eval(&column(&x)), Err(CallError::NoRunningStatistics { .. })));
    let policies = Policies { missing_running: MissingRunning::BatchStatistics, ..Policies::default() };
    let layer = Config::pytorch().track_running_statistics(false).policies(policies).build().unwrap();
    let evaluated = layer.eval(&column(&x)).unwrap();
    assert!(evaluated.saved.used_batch_statistics());
    assert_eq!(evaluated.y, layer.forward_train(&column(&x)).unwrap().y);
}

#[test]
fn a_step_is_committed_or_discarded() {
    let mut random = Random::new(500);
    let x = random.normals(20, 3.0, 2.0);
    let mut layer = layer(Policies::default());
    let before = layer.running().cloned();
    let trained = layer.forward_train(&column(&x)).unwrap();
    drop(trained);
    assert_eq!(layer.running().cloned(), before, "a forward pass alone changes nothing");
    let trained = layer.forward_train(&column(&x)).unwrap();
    layer.commit(&trained.batch).unwrap();
    let mut other = self::layer(Policies::default());
    other.train(&column(&x)).unwrap();
    assert_eq!(layer.running(), other.running());
}

#[test]
fn the_backward_pass_knows_its_forward_pass() {
    let mut random = Random::new(501);
    let (x, dy) = (random.normals(40, 3.0, 2.0), random.normals(40, 0.5, 1.0));
    let mut layer = layer(Policies::default());
    let evaluated = layer.eval(&column(&x)).unwrap();
    let gradients = layer.backward(&column(&x), &column(&dy), &evaluated.saved).unwrap();
    for (i, dx) in gradients.dx.data().iter().enumerate() {
        // Constants: gamma / sqrt(running variance + eps) * dy.
        let slope = [2.0 / (4.0 + 1e-5f64).sqrt(), -1.0 / (9.0 + 1e-5f64).sqrt()][i % 2];
        assert!((dx - slope * dy[i]).abs() < 1e-15);
    }
    // gamma changed between forward and backward: the gradient is that of the forward pass.
    let trained = layer.forward_train(&column(&x)).unwrap();
    let dx = layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap().dx;
    layer.set_gamma(&[100.0, 100.0]).unwrap();
    assert_eq!(layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap().dx, dx);
}

#[test]
fn presets_say_what_their_framework_does() {
    let weight = |config: &Config| {
        let weight = config.averaging.update_weight().expect("no preset is cumulative");
        (weight.new_value(), weight.old_value())
    };
    use Estimator::{Population, Sample};
    for (config, epsilon, new, estimator) in [
        (Config::pytorch(), 1e-5, 0.1, Sample),
        (Config::keras(), 1e-3, 0.01, Population),
        (Config::flax(), 1e-5, 0.01, Population),
        (Config::onnx(), 1e-5, 0.1, Population),
        (Config::burn(), 1e-5, 0.1, Population),
    ] {
        assert_eq!((config.epsilon, config.estimator), (epsilon, estimator));
        assert!((weight(&config).0 - new).abs() < 1e-16 && weight(&config).0 + weight(&config).1 == 1.0);
    }
    assert_eq!(Config::default(), Config::pytorch());
    assert_eq!(UpdateWeight::of_new(0.25).unwrap(), UpdateWeight::of_old(0.75).unwrap());
}

#[test]
fn scale_and_shift_are_each_optional() {
    let x = [1.0, 2.0, 3.0, 6.0];
    let dy = [1.0, 0.5, -1.0, 0.25];
    for affine in [Affine::ScaleAndShift, Affine::ScaleOnly, Affine::ShiftOnly, Affine::Neither] {
        let mut layer = Config::pytorch().affine(affine).channels(2).build().unwrap();
        assert_eq!(layer.gamma(), affine.scales().then(|| vec![1.0, 1.0]));
        assert_eq!(layer.beta(), affine.shifts().then(|| vec![0.0, 0.0]));
        let trained = layer.train(&column(&x)).unwrap();
        let gradients = layer.backward(&column(&x), &column(&dy), &trained.saved).unwrap();
        assert_eq!((gradients.dgamma.is_some(), gradients.dbeta.is_some()), (affine.scales(), affine.shifts()));
        assert!((trained.y.data()[0] + 1.0).abs() < 1e-5);
    }
}

#[test]
fn channels_come_from_the_first_batch() {
    let mut layer = Config::pytorch().build().unwrap();
    assert_eq!((layer.channels(), layer.gamma(), layer.running().cloned()), (None, None, None));
    layer.train(&column(&[1.0, 2.0, 3.0, 6.0])).unwrap();
    assert_eq!((layer.channels(), layer.gamma()), (Some(2), Some(vec![1.0, 1.0])));
    let three = [0.0; 9];
    let wrong = layer.train(&View::new(&three, &[3, 3], Axes::NCHW).unwrap());
    assert!(matches!(wrong, Err(CallError::Channels { expected: 2, got: 3, .. })));
}

/// fastai 1352, mmsegmentation 272: a last batch of one sample, found out at the end of an epoch.
#[test]
fn a_last_batch_that_is_too_small_is_told_before_the_training() {
    let config = Config::pytorch();
    for (samples, batch, positions, last) in [
        (100, 10, 1, Some(10)),
        (101, 10, 1, None),
        (101, 10, 49, Some(1)),
        (5, 8, 1, Some(5)),
        (1, 8, 1, None),
        (3, 1, 1, None),
    ] {
        let told = config.preflight(samples, batch, positions);
        match last {
            Some(last) => assert_eq!(told.map(|told| (told.samples, told.values)), Ok((last, last * positions))),
            None => {
                let error = told.expect_err("one value a channel").to_string();
                assert!(error.contains(&samples.to_string()) && error.contains("SingleValue"), "{error}");
            }
        }
    }
    let error = config.preflight(101, 10, 1).expect_err("one value a channel").to_string();
    assert!(error.contains("batches of 11,"), "{error}"); // 101 = 9 * 11 + 2
    assert!(config.preflight(1, usize::MAX, 1).is_err());
    assert!(config.clone().pinned(batchnorm::Switches::frozen()).preflight(101, 10, 1).is_ok());
    let loose = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    assert!(Config::pytorch().policies(loose).preflight(101, 10, 1).is_ok());
    // Groups of a full batch, and of the last one.
    for (samples, batch, ghost, fits) in [(64, 16, 8, true), (64, 16, 5, false), (20, 16, 8, true), (20, 16, 3, false)]
    {
        assert_eq!(config.preflight_ghost(samples, batch, ghost, 1).is_ok(), fits, "{samples} {batch} {ghost}");
        assert!(config.preflight_ghost(samples, batch, ghost, 2).is_ok());
    }
    let error = config.preflight_ghost(64, 16, 5, 1).expect_err("16 = 3 * 5 + 1").to_string();
    assert!(error.contains("take groups of 6,"), "{error}");
    assert!(config.preflight_ghost(64, 16, 0, 1).expect_err("none").to_string().starts_with("ghost"));
    for (samples, batch, positions, argument) in [(0, 1, 1, "samples"), (1, 0, 1, "batch"), (4, 2, 0, "positions")] {
        let error = config.preflight(samples, batch, positions).expect_err("none").to_string();
        assert!(error.starts_with(argument), "{error}");
    }
}
