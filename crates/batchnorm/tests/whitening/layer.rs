//! The layer of decorrelated batch norm: the same bits everywhere, running statistics, policies, errors that leave all
//! as it was.

use crate::support::layout::{ORDERS, Sizes};
use crate::support::{Random, pool};
use batchnorm::{
    Affine, Averaging, Axes, BatchComoments, CallError, ConfigError, Decorrelated, Element, EmptyBatch, Estimator,
    MissingRunning, NonFinite, Policies, RunningCovariance, SingleValue, Tier, UpdateWeight, View, ViewMut,
    WhiteningConfig,
};

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(|value| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }).collect()
}

/// Everything a step gives, as bits, y and dx in NCHW order.
fn step<T: Element<Param: Into<f64>>>(
    layer: &Decorrelated,
    order: crate::support::layout::Order,
    sizes: Sizes,
    x: &[T],
    dy: &[T],
) -> Vec<u64> {
    let mut layer = layer.clone();
    let (x, dy) = (order.arranged(x, sizes), order.arranged(dy, sizes));
    let (x, dy) = (order.view(&x, sizes), order.view(&dy, sizes));
    let (mut y, mut dx) = (order.blank(sizes), order.blank(sizes));
    let (saved, batch) =
        layer.forward_train_into(&x, &mut order.view_mut(&mut y, sizes)).expect("a right forward call");
    let gradients = saved.backward(&x, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right backward call");
    layer.commit(&batch).expect("the layer's own");
    let mut eval = order.blank(sizes);
    let of_eval = layer.eval_into(&x, &mut order.view_mut(&mut eval, sizes)).expect("a right call");
    let mut dx_eval = order.blank(sizes);
    of_eval.backward(&x, &dy, &mut order.view_mut(&mut dx_eval, sizes)).expect("a right backward call");
    let running = layer.running().expect("tracked");
    let arrays = [y, dx, eval, dx_eval].map(|data| order.back(data, sizes));
    let numbers = arrays.iter().flatten().map(|value| value.to_f64());
    let numbers = numbers.chain(gradients.dgamma).chain(gradients.dbeta).chain(running.mean().to_vec());
    bits(numbers.chain(running.covariances().concat()))
}

/// Ragged last groups, groups of 16, one of all; more chunks than threads, short runs, few values: channels, channels of a
/// group, samples, plane.
const CASES: [[usize; 4]; 7] =
    [[5, 2, 3, 700], [48, 16, 2, 1031], [33, 16, 40, 49], [1, 1, 9, 300], [4, 9, 7, 1], [3, 3, 300, 97], [6, 1, 5, 20]];

fn same_bits<T: Element<Param: Into<f64>>>(cases: &[[usize; 4]], make: impl Fn(f64) -> T, random: &mut Random) {
    for &[c, group, n, plane] in cases {
        let sizes = Sizes { n, c, plane };
        let len = n * c * plane;
        let mut array = |mean: f64| -> Vec<T> { (0..len).map(|_| make(mean + random.normal())).collect() };
        let (x, dy) = (array(100.0), array(0.2));
        let of = |tier: Tier| {
            let mut layer = WhiteningConfig::new(c, group).tier(tier).build().expect("a layer");
            layer.set_gamma(&(0..c).map(|i| 0.3 - i as f64 / 7.0).collect::<Vec<_>>()).expect("one for each");
            layer.set_beta(&(0..c).map(|i| i as f64 / 3.0).collect::<Vec<_>>()).expect("one for each");
            layer
        };
        let first = pool(1).install(|| step(&of(Tier::Baseline), ORDERS[0], sizes, &x, &dy));
        for order in ORDERS {
            for threads in [1, 2, 3, 8] {
                let got = pool(threads).install(|| step(&of(Tier::best()), order, sizes, &x, &dy));
                assert!(got == first, "{sizes:?}, groups of {group}, {order:?}, {threads} threads");
            }
        }
        for tier in Tier::available() {
            assert!(pool(2).install(|| step(&of(tier), ORDERS[1], sizes, &x, &dy)) == first, "{sizes:?} {tier:?}");
        }
    }
}

#[test]
fn same_bits_over_threads_tiers_and_layouts() {
    let mut random = Random::new(1210);
    same_bits(&CASES, |value| value as f32, &mut random);
    same_bits(&CASES[2..5], |value| value, &mut random);
    #[cfg(feature = "half")]
    same_bits(&CASES[3..], half::bf16::from_f64, &mut random);
}

fn view(data: &[f64], channels: usize) -> View<'_, f64> {
    View::new(data, &[data.len() / channels, channels], Axes::NCHW).expect("rows of all channels")
}

/// Plain sums, for small arrays around 0.
fn covariance(x: &[f64], channels: usize, divisor: f64) -> Vec<f64> {
    let n = (x.len() / channels) as f64;
    let mean = |i: usize| x.iter().skip(i).step_by(channels).sum::<f64>() / n;
    let means: Vec<f64> = (0..channels).map(mean).collect();
    let element = |i: usize, j: usize| {
        x.chunks(channels).map(|row| (row[i] - means[i]) * (row[j] - means[j])).sum::<f64>() / divisor
    };
    (0..channels * channels).map(|at| element(at / channels, at % channels)).collect()
}

fn assert_close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{got:?}, expected {expected:?}");
    }
}

#[test]
fn running_statistics_follow_by_estimator_and_weight() {
    let mut random = Random::new(1211);
    for estimator in [Estimator::Sample, Estimator::Population] {
        let exponential = Averaging::from(UpdateWeight::of_old(0.7).expect("a weight"));
        for averaging in [exponential, Averaging::Cumulative] {
            let config = WhiteningConfig::new(3, 2).estimator(estimator).averaging(averaging);
            let mut layer = config.build().expect("a layer");
            let mut expected = [vec![1.0, 0.0, 0.0, 1.0], vec![1.0]];
            for number in 1..=4u32 {
                let n = 3 + 2 * number as usize;
                let x = random.normals(3 * n, 0.5, 2.0);
                layer.train(&view(&x, 3)).expect("a right call");
                let new = if averaging == Averaging::Cumulative { 1.0 / f64::from(number) } else { 1.0 - 0.7 };
                let divisor = if estimator == Estimator::Sample { n - 1 } else { n } as f64;
                let pick = |columns: &[usize]| -> Vec<f64> {
                    x.chunks(3).flat_map(|row| columns.iter().map(|&i| row[i])).collect()
                };
                for (own, columns) in expected.iter_mut().zip([&[0, 1][..], &[2]]) {
                    let batch = covariance(&pick(columns), columns.len(), divisor);
                    own.iter_mut().zip(batch).for_each(|(own, batch)| *own = (1.0 - new) * *own + new * batch);
                }
            }
            let running = layer.running().expect("tracked");
            assert_eq!((running.batches(), running.updates()), (4, &[4, 4][..]));
            assert_close(&running.covariances().concat(), &expected.concat());
            // What was stored is what is loaded, and evaluation is the same.
            let again =
                RunningCovariance::from_parts(running.mean(), &running.covariances().concat(), running.group(), 4);
            assert_eq!(again.as_ref(), Ok(running));
        }
    }
}

#[test]
fn evaluation_whitens_by_the_running_covariance() {
    let mut random = Random::new(1212);
    let mut layer = WhiteningConfig::new(2, 2).epsilon(0.0).affine(Affine::Neither).build().expect("a layer");
    let x = random.normals(400, 3.0, 2.0);
    // A matrix whose inverse root is known: [[2, 1], [1, 2]]^2 = [[5, 4], [4, 5]], and its inverse is a covariance.
    let inverse = [5.0 / 9.0, -4.0 / 9.0, -4.0 / 9.0, 5.0 / 9.0];
    layer.set_running(RunningCovariance::from_parts(&[1.0, -1.0], &inverse, 2, 1).expect("a covariance")).expect("two");
    let y = layer.eval(&view(&x, 2)).expect("a right call");
    let expected: Vec<f64> =
        x.chunks(2).map(|row| (row[0] - 1.0, row[1] + 1.0)).flat_map(|(a, b)| [2.0 * a + b, a + 2.0 * b]).collect();
    assert_close(y.y.data(), &expected);
    assert!(!y.saved.used_batch_statistics());
    let dy = random.normals(400, 0.0, 1.0);
    let gradients = layer.backward(&view(&x, 2), &view(&dy, 2), &y.saved).expect("a right call");
    let expected: Vec<f64> = dy.chunks(2).flat_map(|row| [2.0 * row[0] + row[1], row[0] + 2.0 * row[1]]).collect();
    assert_close(gradients.dx.data(), &expected);
    assert!(gradients.dgamma.is_none() && gradients.dbeta.is_none());
    // Evaluation changes nothing, and what it returns has nothing to commit.
    let before = layer.running().cloned();
    assert_eq!(layer.commit(&y.batch), Ok(vec![]));
    assert_eq!(layer.running().cloned(), before);
}

#[test]
fn comoments_of_parts_merge_to_those_of_the_whole() {
    let mut random = Random::new(1213);
    let layer = Decorrelated::new(5, 3).expect("a layer");
    for mean in [0.0, 1e6] {
        let x = random.normals(5 * 700, mean, 1.0);
        let batch = |data: &[f64]| layer.forward_train(&view(data, 5)).expect("a right call").batch;
        let parts = [0..5 * 2, 5 * 2..5 * 300, 5 * 300..5 * 700].map(|range| batch(&x[range]));
        let merged = parts[0].merge(&parts[1].merge(&parts[2]).expect("alike")).expect("alike");
        for (one, whole) in merged.groups().iter().zip(batch(&x).groups()) {
            assert_eq!(one.count(), whole.count());
            for (one, whole) in one.mean().iter().zip(whole.mean()) {
                assert!((one - whole).abs() <= 2e-16 * mean.max(1.0));
            }
            for (one, whole) in one.matrix().iter().zip(whole.matrix()) {
                assert!((one - whole).abs() <= 1e-14 * 700.0, "{one:?} {whole:?}");
            }
        }
    }
    let other = Decorrelated::new(4, 2).expect("a layer").forward_train(&view(&[0.5; 40], 4)).expect("right").batch;
    let ours = layer.forward_train(&view(&[0.5; 40], 5)).expect("right").batch;
    assert!(ours.merge(&other).is_err());
    assert!(ours.merge(&BatchComoments::from(Vec::new())).unwrap_err().to_string().contains("expected 2 groups"));
}

#[test]
fn nothing_is_learnt_until_committed() {
    let mut layer = Decorrelated::new(2, 2).expect("a layer");
    let x = Random::new(1214).normals(20, 1.0, 1.0);
    let start = layer.running().cloned();
    let first = layer.forward_train(&view(&x, 2)).expect("a right call");
    let again = layer.forward_train(&view(&x, 2)).expect("a right call");
    assert_eq!((first.y, layer.running().cloned()), (again.y, start));
    assert_eq!(layer.commit(&again.batch), Ok(vec![]));
    assert_eq!(layer.running().expect("tracked").batches(), 1);
}

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

/// The gradient is -1 homogeneous in the input where eps is 0: sizes play no part, however large or small.
#[test]
fn gradients_keep_their_digits_at_the_ends_of_the_range() {
    let mut random = Random::new(2950);
    let (x, dy) = (random.normals(120, 0.5, 1.0), random.normals(120, 0.0, 1.0));
    let of = |scale: f64| {
        let scaled: Vec<f64> = x.iter().map(|x| x * scale).collect();
        let view = |data| View::new(data, &[40, 3], Axes::NCHW).expect("an array");
        let layer = WhiteningConfig::new(3, 3).epsilon(0.0).build().expect("a layer");
        let trained = layer.forward_train(&view(&scaled)).expect("a right call");
        layer.backward(&view(&scaled), &view(&dy), &trained.saved).expect("a right call").dx.into_data()
    };
    let expected = of(1.0);
    // Powers of two: the same numbers but for the exponent.
    for power in [-400, -360, -120, 120, 360, 400] {
        let scale = 2f64.powi(power);
        for (got, expected) in of(scale).iter().zip(&expected) {
            assert!((got * scale - expected).abs() < 1e-13, "2^{power}: {got:e} for {expected:e}");
        }
    }
    // Any eps is legal, with a channel of constants too.
    for epsilon in [1e-200, 1e-300, 5e-324] {
        let layer = WhiteningConfig::new(3, 3).epsilon(epsilon).build().expect("a layer");
        let data: Vec<f32> = x.iter().enumerate().map(|(i, x)| if i % 3 == 1 { 2.0 } else { *x as f32 }).collect();
        let upstream: Vec<f32> = dy.iter().map(|dy| *dy as f32).collect();
        let view = |data| View::new(data, &[40, 3], Axes::NCHW).expect("an array");
        let trained = layer.forward_train(&view(&data)).expect("a right call");
        let dx = layer.backward(&view(&data), &view(&upstream), &trained.saved).expect("a right call").dx;
        assert!(dx.data().iter().all(|dx: &f32| !dx.is_nan()), "{epsilon:e}");
    }
}

#[test]
fn a_skipped_group_keeps_the_right_weight_in_a_cumulative_average() {
    let config = WhiteningConfig::new(2, 1).averaging(Averaging::Cumulative);
    let mut layer = config.build().expect("a layer");
    for (bad, value) in [(false, 1.0), (true, 3.0), (false, 5.0)] {
        let first = if bad { f64::NAN } else { value };
        let x = [first, value, value + 2.0, value + 2.0];
        layer.train(&View::new(&x, &[2, 2], Axes::NCHW).expect("an array")).expect("a right call");
    }
    let running = layer.running().expect("tracked");
    assert_eq!((running.updates(), running.mean()), (&[2, 3][..], &[4.0, 4.0][..]));
}

#[test]
fn groups_that_no_memory_holds_are_refused() {
    assert!(matches!(Decorrelated::new(1 << 28, 1 << 28), Err(ConfigError::LargeGroup { .. })));
    let mean = vec![0.0; 4000];
    assert!(matches!(RunningCovariance::from_parts(&mean, &[1.0], 4000, 0), Err(ConfigError::Matrices { .. })));
}
