//! Degenerate input: the declared policies, and what a group does not notice of another.

use super::rows::{assert_close, view};
use crate::support::Random;
use batchnorm::{
    Axes, CallError, Decorrelated, EmptyBatch, MissingRunning, NonFinite, Policies, RunningCovariance, SingleValue,
    View, ViewMut, WhiteningConfig,
};

#[test]
fn a_group_with_nan_is_nan_and_no_other_notices() {
    let mut random = Random::new(1215);
    let x = random.normals(6 * 50, 1.0, 2.0);
    let dy = random.normals(6 * 50, 0.0, 1.0);
    for bad in [f64::NAN, f64::INFINITY, 1e200] {
        let mut broken = x.clone();
        broken[6 * 7 + 3] = bad; // channel 3, of the second group of two
        for non_finite in [NonFinite::Skip, NonFinite::Update, NonFinite::Error] {
            let policies = Policies { non_finite, ..Policies::default() };
            let mut good = WhiteningConfig::new(6, 2).policies(policies).build().expect("a layer");
            let mut layer = good.clone();
            let expected = good.train(&view(&x, 6)).expect("a right call");
            if non_finite == NonFinite::Error {
                let error = layer.train(&view(&broken, 6)).unwrap_err();
                assert_eq!(error, CallError::NonFinite { channels: vec![2, 3] });
                assert_eq!(layer.running().expect("tracked").batches(), 0);
                continue;
            }
            let got = layer.forward_train(&view(&broken, 6)).expect("a right call");
            assert_eq!(got.batch.non_finite(), [1]);
            let skipped = layer.commit(&got.batch).expect("the layer's own");
            let gradients = layer.backward(&view(&broken, 6), &view(&dy, 6), &got.saved).expect("a right call");
            let right = good.backward(&view(&x, 6), &view(&dy, 6), &expected.saved).expect("a right call");
            for at in 0..x.len() {
                let pairs = [(&got.y, &expected.y), (&gradients.dx, &right.dx)];
                for (got, expected) in pairs.map(|(got, expected)| (got.data()[at], expected.data()[at])) {
                    let of_the_group = at % 6 / 2 == 1;
                    assert!(if of_the_group { got.is_nan() } else { got.to_bits() == expected.to_bits() });
                }
            }
            let (running, known) = (layer.running().expect("tracked"), good.running().expect("tracked"));
            for group in [0, 2] {
                assert_eq!(running.covariances()[group], known.covariances()[group]);
                assert_eq!(running.mean()[2 * group..2 * group + 2], known.mean()[2 * group..2 * group + 2]);
            }
            if non_finite == NonFinite::Skip {
                assert_eq!((skipped, running.updates()), (vec![1], &[1, 0, 1][..]));
                assert_eq!(running.covariances()[1], [1.0, 0.0, 0.0, 1.0]);
                assert_eq!(running.mean()[2..4], [0.0, 0.0]);
            } else {
                assert!(skipped.is_empty() && running.covariances()[1].iter().any(|value| !value.is_finite()));
                // Evaluation by it is NaN for that group alone.
                let y = layer.eval(&view(&x, 6)).expect("a right call").y;
                assert!(y.data().iter().enumerate().all(|(at, y)| y.is_nan() == (at % 6 / 2 == 1)));
            }
        }
    }
}

/// A channel whose values are all alike: beta, no gradient, and its neighbours come out as without it.
#[test]
fn a_constant_channel_leaves_its_neighbours_alone() {
    let mut random = Random::new(1218);
    let two = random.normals(2 * 60, 1.0, 2.0);
    let dy = random.normals(2 * 60, 0.0, 1.0);
    let with = |rows: &[f64], third: &dyn Fn(usize) -> f64| -> Vec<f64> {
        rows.chunks(2).enumerate().flat_map(|(k, row)| [row[0], third(k), row[1]]).collect()
    };
    let (three, dy_three) = (with(&two, &|_| 0.1), with(&dy, &|k| k as f64));
    let alone = Decorrelated::new(2, 2).expect("a layer");
    let mut layer = Decorrelated::new(3, 3).expect("a layer");
    layer.set_beta(&[0.0, 0.75, 0.0]).expect("three");
    let (expected, got) = (alone.forward_train(&view(&two, 2)), layer.forward_train(&view(&three, 3)));
    let (expected, got) = (expected.expect("right"), got.expect("right"));
    assert_close(got.y.data(), &with(expected.y.data(), &|_| 0.75));
    assert!(got.y.data().iter().skip(1).step_by(3).all(|&y| y == 0.75));
    let expected = alone.backward(&view(&two, 2), &view(&dy, 2), &expected.saved).expect("right");
    let got = layer.backward(&view(&three, 3), &view(&dy_three, 3), &got.saved).expect("right");
    assert_close(got.dx.data(), &with(expected.dx.data(), &|_| 0.0));
    assert!(got.dx.data().iter().skip(1).step_by(3).all(|&dx| dx == 0.0));
    assert_eq!(got.dgamma.expect("one")[1], 0.0);
}

#[test]
fn one_value_none_and_no_statistics_as_the_policies_say() {
    let one = [3.0, -1.0];
    let mut y = [7.0; 2];
    let with = |policies: Policies| WhiteningConfig::new(2, 2).policies(policies).build().expect("a layer");
    let policies = |single_value| Policies { single_value, ..Policies::default() };

    let error = with(policies(SingleValue::Error)).forward_train(&view(&one, 2)).unwrap_err();
    assert!(matches!(error, CallError::SingleValue { .. }));
    for (single_value, batches) in [(SingleValue::Population, 1), (SingleValue::SkipUpdate, 0)] {
        let mut layer = with(policies(single_value));
        layer.set_beta(&[0.5, 2.0]).expect("two");
        let trained = layer.train(&view(&one, 2)).expect("allowed");
        let gradients = layer.backward(&view(&one, 2), &view(&[1.0, 2.0], 2), &trained.saved).expect("right");
        assert_eq!((trained.y.data(), gradients.dx.data()), (&[0.5, 2.0][..], &[0.0, 0.0][..]));
        assert_eq!(layer.running().expect("tracked").batches(), batches);
    }
    let mut layer = with(policies(SingleValue::UseRunning));
    let start = layer.running().cloned();
    let trained = layer.train(&view(&one, 2)).expect("allowed");
    assert_eq!(trained.y, layer.eval(&view(&one, 2)).expect("right").y);
    assert_eq!(layer.running().cloned(), start);

    let empty = View::new(&[0.0f64; 0], &[0, 2], Axes::NCHW).expect("an empty array");
    for epsilon in [1e-5, 0.0] {
        let mut layer = WhiteningConfig::new(2, 2).epsilon(epsilon).build().expect("a layer");
        let trained = layer.train(&empty).expect("allowed");
        let gradients = layer.backward(&empty, &empty, &trained.saved).expect("right");
        assert!(trained.y.data().is_empty() && gradients.dx.data().is_empty());
        assert_eq!((gradients.dgamma, gradients.dbeta), (Some(vec![0.0; 2]), Some(vec![0.0; 2])));
        assert_eq!(layer.running().cloned(), start);
    }
    let refusing = with(Policies { empty_batch: EmptyBatch::Error, ..Policies::default() });
    assert!(matches!(refusing.forward_train(&empty), Err(CallError::EmptyBatch { .. })));

    let untracked = WhiteningConfig::new(2, 2).track_running_statistics(false);
    let x = [1.0, 2.0, 3.0, 5.0, 4.0, -1.0];
    let error = untracked.clone().build().expect("a layer").eval(&view(&x, 2)).unwrap_err();
    assert!(matches!(error, CallError::NoRunningStatistics { .. }));
    let error = untracked.clone().policies(policies(SingleValue::UseRunning)).build().expect("a layer");
    let error =
        error.forward_train_into(&view(&one, 2), &mut ViewMut::new(&mut y, &[1, 2], Axes::NCHW).expect("right"));
    assert!(matches!(error, Err(CallError::NoRunningStatistics { .. })) && y == [7.0; 2]);
    let by_batch = Policies { missing_running: MissingRunning::BatchStatistics, ..Policies::default() };
    let layer = untracked.policies(by_batch).build().expect("a layer");
    assert_eq!(layer.eval(&view(&x, 2)).expect("right").y, layer.forward_train(&view(&x, 2)).expect("right").y);
}

#[test]
fn without_eps_a_covariance_that_has_no_inverse_is_refused() {
    let mut random = Random::new(1216);
    let cases: [(&str, usize, Vec<f64>); 4] = [
        ("a constant channel", 2, (0..40).map(|at| if at % 2 == 0 { 0.1 } else { random.normal() }).collect()),
        ("a channel twice", 2, (0..20).flat_map(|_| [random.normal(); 1]).flat_map(|x| [x, x]).collect()),
        (
            "a sum of others",
            3,
            (0..30).map(|_| [random.normal(), random.normal()]).flat_map(|[a, b]| [a, b, a + b]).collect(),
        ),
        (
            "a small channel that is constant",
            2,
            (0..40).map(|at| if at % 2 == 0 { 1e-9 } else { 1e9 * random.normal() }).collect(),
        ),
    ];
    for (name, channels, bad) in cases {
        // The first group is fine.
        let n = bad.len() / channels;
        let x: Vec<f64> = (0..n)
            .flat_map(|k| {
                random.normals(channels, 0.0, 1.0).into_iter().chain(bad[k * channels..][..channels].to_vec())
            })
            .collect();
        let mut layer = WhiteningConfig::new(2 * channels, channels).epsilon(0.0).build().expect("a layer");
        let before = layer.running().cloned();
        let mut y = vec![7.0; x.len()];
        let shape = [n, 2 * channels];
        let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("right");
        let error = layer.forward_train_into(&view(&x, 2 * channels), &mut out).unwrap_err();
        println!("{name}: {error}");
        assert!(matches!(&error, CallError::Singular { argument: "x", group: 1, .. }), "{name}: {error}");
        assert!(layer.train(&view(&x, 2 * channels)).is_err());
        assert_eq!((layer.running().cloned(), y), (before, vec![7.0; x.len()]));
        // With an eps it is whitened as far as it goes.
        let layer = WhiteningConfig::new(2 * channels, channels).epsilon(1e-5).build().expect("a layer");
        assert!(layer.forward_train(&view(&x, 2 * channels)).expect("allowed").y.data().iter().all(|y| y.is_finite()));
    }
    // n values span n - 1 dimensions: refused whatever rounding makes of the smallest eigenvalue.
    for seed in 0..50 {
        let x = Random::new(2000 + seed).normals(16, 1e3, 1.0);
        let layer = WhiteningConfig::new(4, 4).epsilon(0.0).build().expect("a layer");
        assert!(matches!(layer.forward_train(&view(&x, 4)), Err(CallError::Singular { count: 4, .. })));
    }
    // Small beside large is no reason: these are independent.
    let x: Vec<f64> = (0..80).map(|at| random.normal() * if at % 2 == 0 { 1e-9 } else { 1e9 }).collect();
    WhiteningConfig::new(2, 2).epsilon(0.0).build().expect("a layer").forward_train(&view(&x, 2)).expect("allowed");
    // A running covariance is refused by evaluation.
    let mut layer = WhiteningConfig::new(2, 2).epsilon(0.0).build().expect("a layer");
    layer.set_running(RunningCovariance::from_parts(&[0.0; 2], &[1.0; 4], 2, 1).expect("semidefinite")).expect("two");
    let error = layer.eval(&view(&x, 2)).unwrap_err();
    println!("{error}");
    assert!(matches!(error, CallError::Singular { argument: "running_covariance", .. }));
}
