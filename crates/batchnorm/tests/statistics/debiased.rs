//! Averages without a share of their start, and averages of the deviation.

use crate::support::Random;
use crate::support::wide::{DoubleDouble, wide};
use batchnorm::reference::sum;
use batchnorm::{
    Averaged, Averaging, Axes, BatchNorm, Config, ConfigError, Convention, Conversion, Estimator, Moments,
    RunningCovariance, RunningStatistics, StartValues, UpdateWeight, View, WhiteningConfig,
};

fn layer(averaging: impl Into<Averaging>) -> BatchNorm {
    Config::pytorch().averaging(averaging).channels(2).build().expect("a layer")
}

fn train(layer: &mut BatchNorm, x: &[f64]) {
    layer.train(&View::new(x, &[x.len() / 2, 2], Axes::NCHW).expect("a view")).expect("a right call");
}

fn weights() -> impl Iterator<Item = UpdateWeight> {
    let new = [1.0, 0.9, 0.5, 0.1, 1e-2, 1e-3, 1e-6];
    let of_new = new.map(|weight| UpdateWeight::of_new(weight).expect("a weight"));
    let of_old = [0.0, 0.9, 0.99, 0.999].map(|weight| UpdateWeight::of_old(weight).expect("a weight"));
    of_new.into_iter().chain(of_old)
}

/// sum w o^(k - i) batch_i / (1 - o^k), in double-double arithmetic.
fn truth(weight: UpdateWeight, batches: &[f64]) -> f64 {
    let k = batches.len();
    let [w, o] = [weight.new_value(), weight.old_value()].map(wide);
    let power = |exponent: usize| (0..exponent).fold(wide(1.0), |power, _| power * o);
    let weighted = sum(batches.iter().enumerate().map(|(i, &batch)| w * power(k - 1 - i) * wide(batch)));
    // The weights' own sum, which is 1 - o^k but for the rounding of 1 - w.
    let total: DoubleDouble = sum((0..k).map(|i| w * power(i)));
    (weighted / total).to_f64()
}

#[test]
fn a_debiased_average_is_the_sum_that_its_definition_says() {
    let mut random = Random::new(3300);
    let mut worst: f64 = 0.0;
    for weight in weights() {
        let mut layer = layer(Averaging::Debiased(weight));
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for number in 1..=60 {
            let x = random.normals(12, 0.5 * f64::from(number), 2.0);
            train(&mut layer, &x);
            let own: Vec<f64> = x.iter().copied().step_by(2).collect();
            let moments = Moments::of(&own);
            means.push(moments.mean());
            variances.push(moments.sample_variance().expect("6 values"));
            let running = layer.running().expect("tracked");
            for (got, batches) in [(running.mean()[0], &means), (running.variance()[0], &variances)] {
                let truth = truth(weight, batches);
                worst = worst.max((got / truth - 1.0).abs());
                assert!((got / truth - 1.0).abs() < 1e-14, "{weight:?} after {number}: {got} {truth}");
            }
            if number == 1 {
                assert_eq!(
                    (running.mean()[0], running.variance()[0]),
                    (means[0], variances[0]),
                    "it replaces the start"
                );
            }
        }
    }
    println!("worst distance from the definition {worst:.1e}");
}

/// The chapter's averages, which start at 0: after one batch evaluation divides by a tenth of the variance.
#[test]
fn evaluation_is_right_from_the_first_batch_on() {
    let x = [1.0f64, 10.0, 3.0, 30.0, 5.0, 80.0];
    let x = View::new(&x, &[3, 2], Axes::NCHW).expect("a view");
    let weight = UpdateWeight::of_new(0.1).expect("a weight");
    let mut debiased = Config::onnx().averaging(Averaging::Debiased(weight)).channels(2).build().expect("a layer");
    let trained = debiased.train(&x).expect("a right call").y;
    let evaluated = debiased.eval(&x).expect("a right call").y;
    let difference = trained.data().iter().zip(evaluated.data()).map(|(one, other)| (one - other).abs());
    assert!(difference.fold(0.0, f64::max) < 1e-15);
    let mut from_zero = Config::onnx().channels(2).build().expect("a layer");
    from_zero.set_running(RunningStatistics::from_parts(&[0.0; 2], &[0.0; 2], 0).expect("zeros")).expect("two");
    from_zero.train(&x).expect("a right call");
    assert!(
        from_zero.eval(&x).expect("a right call").y.data().iter().any(|y| y.abs() > 4.0),
        "what it is taken out for"
    );
}

#[test]
fn constant_batches_are_their_own_average_and_a_weight_of_0_is_the_plain_mean() {
    for weight in weights() {
        let mut layer = layer(Averaging::Debiased(weight));
        for _ in 0..50 {
            train(&mut layer, &[100.1, 1e15, 100.1, 1e15]);
            let running = layer.running().expect("tracked");
            assert_eq!((running.mean(), running.variance()), (&[100.1, 1e15][..], &[0.0, 0.0][..]), "{weight:?}");
        }
    }
    let mut random = Random::new(3301);
    let never = UpdateWeight::of_new(0.0).expect("a weight");
    let (mut debiased, mut cumulative) = (layer(Averaging::Debiased(never)), layer(Averaging::Cumulative));
    for _ in 0..20 {
        let x = random.normals(8, 1.0, 1.0);
        [&mut debiased, &mut cumulative].into_iter().for_each(|layer| train(layer, &x));
        assert_eq!(debiased.running(), cumulative.running());
    }
}

/// Each channel goes by its own number of updates.
#[test]
fn a_channel_that_was_skipped_has_its_first_batch_later() {
    let mut layer = layer(Averaging::Debiased(UpdateWeight::of_new(0.1).expect("a weight")));
    train(&mut layer, &[1.0, f64::NAN, 3.0, 4.0]);
    assert_eq!(layer.running().expect("tracked").updates(), [1, 0]);
    train(&mut layer, &[1.0, 5.0, 3.0, 7.0]);
    let running = layer.running().expect("tracked");
    assert_eq!(
        (running.updates(), running.mean(), running.variance()),
        (&[2, 1][..], &[2.0, 6.0][..], &[2.0, 2.0][..])
    );
}

#[test]
fn plain_averages_become_debiased_ones_and_back() {
    let mut random = Random::new(3302);
    for start in [StartValues::default(), StartValues::ZEROS, StartValues { mean: -3.0, variance: 7.0 }] {
        for weight in weights().filter(|weight| weight.new_value() < 1.0) {
            let (mut plain, mut debiased) = (layer(weight), layer(Averaging::Debiased(weight)));
            let at = |value: f64| [value; 2];
            let started = RunningStatistics::from_parts(&at(start.mean), &at(start.variance), 0).expect("right");
            plain.set_running(started).expect("two");
            for _ in 0..25 {
                let x = random.normals(8, 4.0, 1.5);
                [&mut plain, &mut debiased].into_iter().for_each(|layer| train(layer, &x));
                let [plain, debiased] = [&plain, &debiased].map(|layer| layer.running().expect("tracked"));
                let without = plain.without_start(weight, start).expect("right");
                let with = debiased.with_start(weight, start).expect("right");
                // What is divided by the share of the batches has lost as many digits.
                let share = 1.0 - weight.old_value().powi(plain.batches() as i32);
                let close = |one: &[f64], other: &[f64], bound: f64| {
                    one.iter().zip(other).all(|(one, other)| (one / other - 1.0).abs() < bound)
                };
                let bound = 1e-14 / share.max(weight.new_value());
                assert!(close(without.mean(), debiased.mean(), bound), "{weight:?} {start:?}");
                assert!(close(without.variance(), debiased.variance(), bound), "{weight:?} {start:?}");
                assert!(close(with.mean(), plain.mean(), 1e-13) && close(with.variance(), plain.variance(), 1e-13));
                assert_eq!((without.batches(), without.updates()), (debiased.batches(), debiased.updates()));
            }
        }
    }
}

#[test]
fn a_start_that_cannot_have_been_is_refused_and_one_without_updates_stays() {
    let weight = UpdateWeight::of_new(0.1).expect("a weight");
    let running = RunningStatistics::from_parts(&[0.0], &[0.5], 2).expect("right");
    let error = running.without_start(weight, StartValues::default()).expect_err("0.81 of 1 would be left");
    assert!(matches!(error, ConfigError::BelowStart { updates: 2, .. }), "{error}");
    let start = RunningStatistics::start(2).expect("two");
    assert_eq!(start.without_start(weight, StartValues::default()).as_ref(), Ok(&start));
    assert_eq!(start.with_start(weight, StartValues::default()).as_ref(), Ok(&start));
    let wrong = StartValues { mean: f64::NAN, variance: 1.0 };
    assert!(matches!(running.with_start(weight, wrong), Err(ConfigError::Start { argument: "start.mean", .. })));
}

/// Haiku's own: hidden = decay hidden + (1 - decay) batch from 0, average = hidden / (1 - decay^counter).
#[test]
fn haiku_s_preset_averages_as_haiku_does() {
    let mut random = Random::new(3303);
    let mut layer = Config::haiku().channels(2).build().expect("a layer");
    let mut hidden = [0.0; 2];
    for counter in 1..=30 {
        let x = random.normals(10, 2.0, 3.0);
        train(&mut layer, &x);
        let moments = Moments::of(&x.iter().copied().step_by(2).collect::<Vec<f64>>());
        for (hidden, batch) in hidden.iter_mut().zip([moments.mean(), moments.population_variance()]) {
            *hidden = 0.9 * *hidden + (1.0 - 0.9) * batch;
        }
        let running = layer.running().expect("tracked");
        let left = 1.0 - 0.9f64.powi(counter);
        for (got, hidden) in [running.mean()[0], running.variance()[0]].into_iter().zip(hidden) {
            assert!((got / (hidden / left) - 1.0).abs() < 1e-13, "{got} {}", hidden / left);
        }
    }
    // What is loaded goes on so; elsewhere it goes on as a plain average, which has forgotten its start.
    let running = layer.running().expect("tracked");
    for (to, expected) in [
        (Convention::Haiku, Averaging::Debiased(UpdateWeight::of_old(0.9).expect("a weight"))),
        (Convention::Flax, Averaging::Exponential(UpdateWeight::of_old(0.9).expect("a weight"))),
    ] {
        let conversion = Conversion::new(Convention::Haiku, to);
        let converted = conversion.statistics(running.mean(), running.variance(), Some(30)).expect("right");
        assert_eq!(converted.config.averaging, expected);
        assert_eq!(converted.variance, running.variance());
    }
}

#[test]
fn an_average_of_deviations_is_that_of_the_paper() {
    let mut random = Random::new(3304);
    for estimator in [Estimator::Sample, Estimator::Population] {
        let weight = UpdateWeight::of_new(0.2).expect("a weight");
        let config = Config::pytorch().averaged(Averaged::Deviation).averaging(weight).estimator(estimator);
        let mut layer = config.epsilon(1e-3).channels(2).build().expect("a layer");
        let mut deviation = (1.0f64 + 1e-3).sqrt();
        for _ in 0..40 {
            let x = random.normals(10, 2.0, 1e-2);
            train(&mut layer, &x);
            let moments = Moments::of(&x.iter().copied().step_by(2).collect::<Vec<f64>>());
            deviation += 0.2 * ((estimator.variance(&moments) + 1e-3).sqrt() - deviation);
            let got = (layer.running().expect("tracked").variance()[0] + 1e-3).sqrt();
            assert!((got / deviation - 1.0).abs() < 1e-14, "{got} {deviation}");
        }
    }
    // Alike stays alike, and never below 0.
    let mut layer = Config::pytorch().averaged(Averaged::Deviation).channels(2).build().expect("a layer");
    layer.set_running(RunningStatistics::from_parts(&[5.0; 2], &[0.0; 2], 1).expect("right")).expect("two");
    for _ in 0..50 {
        train(&mut layer, &[5.0; 4]);
        assert_eq!(layer.running().expect("tracked").variance(), [0.0; 2]);
    }
    layer.set_running(RunningStatistics::from_parts(&[5.0; 2], &[1e-9; 2], 1).expect("right")).expect("two");
    for _ in 0..500 {
        train(&mut layer, &[5.0; 4]);
        assert!(layer.running().expect("tracked").variance().iter().all(|&variance| variance >= 0.0));
    }
}

/// Whitening averages by the same weights.
#[test]
fn a_running_covariance_is_debiased_too() {
    let weight = UpdateWeight::of_new(0.1).expect("a weight");
    let config = WhiteningConfig::new(2, 2).averaging(Averaging::Debiased(weight));
    let mut layer = config.build().expect("a layer");
    let x = [1.0, 1.0, 2.0, 3.0, 3.0, 2.0];
    let batch = layer.train(&View::new(&x, &[3, 2], Axes::NCHW).expect("a view")).expect("a right call").batch;
    let running: &RunningCovariance = layer.running().expect("tracked");
    assert_eq!(running.covariances()[0], batch.groups()[0].covariance(Estimator::Sample));
    assert_eq!(running.mean(), [2.0, 2.0]);
}

#[test]
fn starts_that_cannot_be_are_refused_both_ways() {
    let weight = UpdateWeight::of_new(0.1).expect("a weight");
    let running = RunningStatistics::from_parts(&[5.0], &[4.0], 100).expect("statistics");
    let starts = [(0.0, f64::NAN), (0.0, -1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0), (f64::NEG_INFINITY, 1.0)];
    for (mean, variance) in starts {
        let start = StartValues { mean, variance };
        for refused in [running.without_start(weight, start), running.with_start(weight, start)] {
            let error = refused.expect_err("no start").to_string();
            assert!(error.starts_with("start."), "{error}");
        }
    }
}

/// As many updates as can be counted are not exceeded.
#[test]
fn a_count_that_is_full_stays_full() {
    for averaging in [Averaging::Cumulative, Averaging::Debiased(UpdateWeight::of_new(0.5).expect("a weight"))] {
        let mut layer = layer(averaging);
        layer
            .set_running(RunningStatistics::from_parts(&[1.0; 2], &[2.0; 2], u64::MAX).expect("statistics"))
            .expect("two");
        train(&mut layer, &[3.0, 3.0, 5.0, 5.0]);
        let running = layer.running().expect("tracked");
        assert_eq!((running.batches(), running.updates()), (u64::MAX, &[u64::MAX; 2][..]));
        let mean = if averaging == Averaging::Cumulative { 1.0 } else { 2.5 };
        assert!((running.mean()[0] - mean).abs() < 1e-15 && running.variance()[0].is_finite(), "{running:?}");
    }
}

/// An average that goes on in Haiku without a count would begin anew with its first batch: so a count is made up of which
/// nothing of a start is left.
#[test]
fn haiku_goes_on_from_averages_whose_count_is_not_known() {
    for from in [Convention::Keras, Convention::PyTorch, Convention::Haiku] {
        let weight = UpdateWeight::of_new(0.01).expect("a weight");
        let conversion = Conversion::new(from, Convention::Haiku).averaging(weight).values(1000);
        let converted = conversion.statistics(&[5.0], &[4.0], None).expect("a conversion");
        let mut running = converted.running().expect("statistics");
        let batch = Moments::from_statistics(4, 4.0, 8.0, 0.5).expect("statistics");
        running.update(&vec![batch].into(), &converted.config).expect("one channel");
        let expected = 0.99 * converted.mean[0] + 0.01 * 8.0;
        assert!((running.mean()[0] - expected).abs() < 1e-12, "{from}: {:?}", running.mean());
        // Statistics at their start have none behind them.
        let start = if from == Convention::Haiku { 0.0 } else { 1.0 };
        let fresh = conversion.statistics(&[0.0], &[start], None).expect("a conversion");
        assert_eq!(fresh.batches, Some(0), "{from}");
        // A count that contradicts the statistics is not used, and not made 0 either.
        if from == Convention::PyTorch {
            let contradicted = conversion.statistics(&[5.0], &[4.0], Some(0)).expect("a conversion");
            assert!(contradicted.batches > Some(1000));
        }
    }
}
