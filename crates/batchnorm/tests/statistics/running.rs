//! Running statistics that follow batches which are all alike.

use batchnorm::{Averaging, Axes, BatchNorm, Config, RunningStatistics, UpdateWeight, View};

const VALUES: [f64; 6] = [1e-30, 0.1, 1.0, 100.1, 1e8, 1e15];

fn layer(averaging: Averaging) -> BatchNorm {
    Config::pytorch().averaging(averaging).channels(VALUES.len()).build().expect("a right configuration")
}

/// Eight samples of constant channels.
fn constants() -> Vec<f64> {
    (0..8 * VALUES.len()).map(|i| VALUES[i % VALUES.len()]).collect()
}

#[test]
fn statistics_that_equal_the_batchs_are_not_moved_by_a_bit_at_any_weight() {
    let x: Vec<f64> = (0..40).map(|i| (f64::from(i) * 0.37).sin() * 10f64.powi(i % 5 * 3)).collect();
    let x = View::new(&x, &[20, 2], Axes::NCHW).expect("a view");
    for percent in 0..=100 {
        let weight = UpdateWeight::of_new(f64::from(percent) / 100.0).expect("a weight");
        for weight in [weight, UpdateWeight::of_old(weight.new_value()).expect("a weight")] {
            let mut layer = Config::pytorch().averaging(weight).channels(2).build().expect("a right configuration");
            let rule = Config::pytorch().normalizer().expect("a right configuration");
            let batch = rule.moments(&x);
            let mean: Vec<f64> = batch.channels().iter().map(|moments| moments.mean()).collect();
            let variance: Vec<f64> =
                batch.channels().iter().map(|moments| moments.sample_variance().expect("20 values")).collect();
            let start = RunningStatistics::from_parts(&mean, &variance, 1).expect("right statistics");
            layer.set_running(start).expect("two channels");
            for _ in 0..5 {
                layer.train(&x).expect("a right call");
            }
            let running = layer.running().expect("tracked");
            assert_eq!((running.mean(), running.variance()), (&mean[..], &variance[..]), "{weight:?}");
        }
    }
}

#[test]
fn the_running_mean_of_a_constant_channel_comes_to_it_to_the_bit_and_stays() {
    let x = constants();
    let x = View::new(&x, &[8, VALUES.len()], Axes::NCHW).expect("a view");
    for weight in [0.5, 0.3, 0.1, 0.01, 0.001] {
        for start in [0.0, -1e9, 3e15, 1e-40] {
            let weight = UpdateWeight::of_new(weight).expect("a weight");
            let mut layer = layer(weight.into());
            let start = RunningStatistics::from_parts(&[start; VALUES.len()], &[1.0; VALUES.len()], 1);
            layer.set_running(start.expect("right statistics")).expect("as many channels");
            // Until the start's share is below half an ulp of the smallest value, and 1 / (2 weight) more.
            let decades = (3e15f64 / 1e-30).ln() + 53.0 * 2f64.ln();
            let most = (decades / -(1.0 - weight.new_value()).ln() + 0.5 / weight.new_value()).ceil() as usize + 2;
            for _ in 0..most {
                layer.train(&x).expect("a right call");
            }
            assert_eq!(layer.running().expect("tracked").mean(), VALUES, "{weight:?} after {most} updates");
            layer.train(&x).expect("a right call");
            assert_eq!(layer.running().expect("tracked").mean(), VALUES, "{weight:?} stays");
            let y = layer.eval(&x).expect("a right call").y;
            assert!(y.data().iter().all(|y| y.to_bits() == 0.0f64.to_bits()), "beta, {weight:?}");
        }
    }
}

#[test]
fn the_cumulative_average_of_a_constant_channel_is_exact_at_once() {
    let x = constants();
    let x = View::new(&x, &[8, VALUES.len()], Axes::NCHW).expect("a view");
    let mut layer = layer(Averaging::Cumulative);
    for _ in 0..100 {
        layer.train(&x).expect("a right call");
        let running = layer.running().expect("tracked");
        assert_eq!((running.mean(), running.variance()), (&VALUES[..], &[0.0; VALUES.len()][..]));
        assert!(layer.eval(&x).expect("a right call").y.data().iter().all(|y| *y == 0.0));
    }
}

#[test]
fn values_that_are_too_far_apart_to_be_subtracted_are_averaged_all_the_same() {
    let x = View::new(&[1.5e308, 1.5e308], &[2, 1], Axes::NCHW).expect("a view");
    let mut layer = Config::pytorch().channels(1).build().expect("a right configuration");
    layer.set_running(RunningStatistics::from_parts(&[-1.5e308], &[1.0], 1).expect("right")).expect("one channel");
    layer.train(&x).expect("a right call");
    let mean = layer.running().expect("tracked").mean()[0];
    assert!((mean / (0.9 * -1.5e308 + 0.1 * 1.5e308) - 1.0).abs() < 1e-15, "{mean}");
}
