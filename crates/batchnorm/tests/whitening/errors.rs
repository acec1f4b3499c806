//! Bad calls: typed errors that leave layer and buffers as they were.

use super::rows::view;
use crate::support::Random;
use batchnorm::{
    Affine, Axes, CallError, ConfigError, Decorrelated, RunningCovariance, View, ViewMut, WhiteningConfig,
};

#[test]
fn bad_calls_are_typed_errors_that_name_the_argument_and_both_values() {
    let config = |error: Result<Decorrelated, ConfigError>| error.unwrap_err().to_string();
    let says = |message: String, parts: &[&str]| {
        println!("{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message} lacks one of {parts:?}");
    };
    says(config(Decorrelated::new(0, 1)), &["channels", "0"]);
    says(config(Decorrelated::new(4, 0)), &["group", "0"]);
    says(config(WhiteningConfig::new(4, 2).epsilon(f64::NAN).build()), &["epsilon", "NaN"]);
    assert_eq!(Decorrelated::new(4, 100).expect("one group").config().group, 4);

    let mut layer = WhiteningConfig::new(3, 2).affine(Affine::ScaleOnly).build().expect("a layer");
    let text = |result: Result<(), ConfigError>| result.unwrap_err().to_string();
    says(text(layer.set_beta(&[0.0; 3])), &["beta", "ScaleOnly"]);
    says(text(layer.set_gamma(&[0.0; 2])), &["gamma", "3", "2"]);
    says(text(layer.set_gamma(&[0.0, f64::INFINITY, 1.0])), &["gamma[1]", "inf"]);
    says(text(layer.set_running(RunningCovariance::start(4, 2).expect("some"))), &["running_mean", "3", "4"]);
    says(text(layer.set_running(RunningCovariance::start(3, 3).expect("some"))), &["groups of 2", "3"]);
    let untracked = WhiteningConfig::new(3, 2).track_running_statistics(false).build();
    says(text(untracked.expect("a layer").set_running(RunningCovariance::start(3, 2).expect("some"))), &["none", "3"]);

    let parts = |mean: &[f64], covariance: &[f64]| {
        RunningCovariance::from_parts(mean, covariance, 2, 0).unwrap_err().to_string()
    };
    says(parts(&[0.0; 3], &[1.0; 4]), &["running_covariance", "5 numbers", "4"]);
    says(parts(&[0.0; 2], &[1.0, 0.5, 0.4, 1.0]), &["running_covariance", "group 0", "0.4", "0.5"]);
    says(parts(&[0.0; 2], &[1.0, 2.0, 2.0, 1.0]), &["running_covariance", "group 0", "negative eigenvalue -1"]);
    says(parts(&[f64::NAN, 0.0], &[1.0; 4]), &["running_mean[0]", "NaN"]);
    let running = RunningCovariance::start(3, 2).expect("some");
    says(running.with_updates(&[1]).unwrap_err().to_string(), &["updates", "2", "1"]);

    let x = Random::new(1217).normals(30, 0.0, 1.0);
    let mut y = [7.0; 30];
    let call = |error: CallError| error.to_string();
    says(call(layer.forward_train(&view(&x, 2)).unwrap_err()), &["x", "3", "2"]);
    says(call(layer.eval(&view(&x, 5)).unwrap_err()), &["x", "3", "5"]);
    let mut other = ViewMut::new(&mut y, &[5, 6], Axes::NCHW).expect("right");
    says(call(layer.forward_train_into(&view(&x, 3), &mut other).unwrap_err()), &["y", "[10, 3]", "[5, 6]"]);
    let trained = layer.forward_train(&view(&x, 3)).expect("a right call");
    let backward = |x: &View<f64>, dy: &View<f64>| call(layer.backward(x, dy, &trained.saved).unwrap_err());
    says(backward(&view(&x, 3), &view(&x, 5)), &["dy", "[10, 3]", "[6, 5]"]);
    says(backward(&view(&x[..27], 3), &view(&x[..27], 3)), &["x", "10", "9"]);
    says(backward(&view(&x, 5), &view(&x, 5)), &["x", "3", "5"]);
    let foreign = Decorrelated::new(3, 3).expect("a layer").forward_train(&view(&x, 3)).expect("right").batch;
    says(call(layer.commit(&foreign).unwrap_err()), &["batch", "2 groups", "got 1"]);
    let foreign = Decorrelated::new(5, 3).expect("a layer").forward_train(&view(&x, 5)).expect("right").batch;
    says(call(layer.commit(&foreign).unwrap_err()), &["batch", "2", "3"]);
    assert!(y == [7.0; 30] && layer.running().expect("tracked").batches() == 0);
}

#[test]
fn groups_that_no_memory_holds_are_refused() {
    assert!(matches!(Decorrelated::new(1 << 28, 1 << 28), Err(ConfigError::LargeGroup { .. })));
    let mean = vec![0.0; 4000];
    assert!(matches!(RunningCovariance::from_parts(&mean, &[1.0], 4000, 0), Err(ConfigError::Matrices { .. })));
}
