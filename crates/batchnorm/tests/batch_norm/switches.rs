//! Four independent switches: every combination against the twin, what each leaves alone, and what pinning survives.

use super::passes::share;
use crate::support::wide::{DoubleDouble, largest, wide, widened};
use crate::support::{Random, channel_of};
use batchnorm::reference::{compact, mixed};
use batchnorm::{
    Axes, BatchNorm, CallError, Config, Input, NormalizeBy, Parameters, Policies, RunningStatistics, SingleValue,
    Switches, UpdateWeight, View, ViewMut,
};

const SHAPE: [usize; 3] = [6, 3, 35];
const EPSILON: f64 = 1e-5;

fn weight(new: f64) -> UpdateWeight {
    UpdateWeight::of_new(new).expect("a weight")
}

fn every() -> Vec<Switches> {
    let by = [0.0, 0.1, 0.7, 1.0].map(|new| NormalizeBy::Mix(weight(new)));
    let mut all = Vec::new();
    for normalize_by in by.into_iter().chain([NormalizeBy::Batch, NormalizeBy::Running]) {
        for bits in 0..8 {
            all.push(Switches {
                normalize_by,
                update_running: bits & 1 > 0,
                train_parameters: bits & 2 > 0,
                gradient_through_statistics: bits & 4 > 0,
            });
        }
    }
    all
}

struct Case {
    layer: BatchNorm,
    x: Vec<f64>,
    dy: Vec<f64>,
}

impl Case {
    fn new(mean: f64, random: &mut Random) -> Case {
        let mut layer = Config::pytorch().channels(3).build().expect("a layer");
        layer.set_gamma(&[0.7, -1.3, 2.0]).expect("three");
        layer.set_beta(&[0.1, 0.0, -4.0]).expect("three");
        let running = RunningStatistics::from_parts(&[mean - 1.0, mean + 0.5, mean], &[0.5, 2.0, 1.0], 7);
        layer.set_running(running.expect("statistics")).expect("three");
        let len = SHAPE.iter().product();
        Case { layer, x: random.normals(len, mean, 1.5), dy: random.normals(len, 0.2, 1.0) }
    }

    fn view<'a>(&self, data: &'a [f64]) -> View<'a, f64> {
        View::new(data, &SHAPE, Axes::NCHW).expect("an array of the shape")
    }
}

#[test]
fn every_combination_is_what_the_twin_says() {
    let mut random = Random::new(1100);
    for mean in [0.0, 3.0, 1e4, 1e6, 1e15] {
        let case = Case::new(mean, &mut random);
        for switches in every() {
            let (mut layer, x, dy) = (case.layer.clone(), case.view(&case.x), case.view(&case.dy));
            let before = case.layer.running().expect("tracked");
            let passed = layer.forward(&x, switches).expect("a right call");
            let got = layer.backward(&x, &dy, &passed.saved).expect("a right call");
            // What is switched off is left alone, to the bit.
            let mut trained = case.layer.clone();
            trained.train(&x).expect("a right call");
            let expected = if switches.update_running { trained.running() } else { Some(before) };
            assert_eq!(layer.running(), expected, "{switches:?}");
            assert_eq!(got.dgamma.is_some(), switches.train_parameters);
            assert_eq!(got.dbeta.is_some(), switches.train_parameters);
            for c in 0..3 {
                let of = |data: &[f64]| channel_of(data, 3, SHAPE[2], c);
                let (x, dy) = (widened(&of(&case.x)), widened(&of(&case.dy)));
                let (gamma, beta) = (case.layer.gamma().unwrap()[c], case.layer.beta().unwrap()[c]);
                let statistics = mixed::Statistics {
                    running: [before.mean()[c], before.variance()[c]].map(wide),
                    share: wide(share(switches)),
                };
                let y = mixed::forward(&x, wide(gamma), wide(beta), wide(EPSILON), statistics);
                let flows = switches.gradient_through_statistics;
                let truth = mixed::backward(&x, wide(gamma), wide(EPSILON), statistics, flows, &dy);
                // Whatever the mean: it is known to more digits than an f64 has.
                let bound = 1e-13;
                let check = |what: &str, got: &[f64], truth: &[DoubleDouble], scale: f64| {
                    for (got, &truth) in got.iter().zip(truth) {
                        let error = (wide(*got) - truth).to_f64().abs();
                        assert!(error <= bound * scale, "{what}, {switches:?}, mean {mean}: {error:e}");
                    }
                };
                check("y", &of(passed.y.data()), &y, 10.0);
                let most = largest(&case.dy);
                check("dx", &of(got.dx.data()), &truth.dx, 10.0 * gamma.abs() * most);
                let n = x.len() as f64;
                if let (Some(dgamma), Some(dbeta)) = (&got.dgamma, &got.dbeta) {
                    check("dgamma", &[dgamma[c]], &[truth.dgamma], n * most * 10.0);
                    check("dbeta", &[dbeta[c]], &[truth.dbeta], n * most);
                }
            }
        }
    }
}

#[test]
fn at_the_ends_a_mix_has_the_bits_of_the_batch_and_of_evaluation() {
    let case = Case::new(1e5, &mut Random::new(1102));
    let x = case.view(&case.x);
    let y = |by: NormalizeBy| {
        let switches = Switches { normalize_by: by, ..Switches::train() };
        case.layer.clone().forward(&x, switches).expect("a right call").y
    };
    assert_eq!(y(NormalizeBy::Mix(weight(1.0))), y(NormalizeBy::Batch));
    assert_eq!(y(NormalizeBy::Mix(weight(0.0))), y(NormalizeBy::Running));
    assert_eq!(y(NormalizeBy::Batch), case.layer.forward_train(&x).expect("a right call").y);
    assert_eq!(y(NormalizeBy::Running), case.layer.eval(&x).expect("a right call").y);
}

/// pytorch 66073 and 10856: freezing a layer there lasts until the next `train()` of the network around it.
#[test]
fn a_frozen_layer_stays_frozen_when_training_is_called() {
    let case = Case::new(3.0, &mut Random::new(1103));
    let (x, dy) = (case.view(&case.x), case.view(&case.dy));
    let mut layer = case.layer.clone();
    layer.pin(Some(Switches::frozen()));
    let trained = layer.train(&x).expect("a right call");
    assert_eq!(layer.running(), case.layer.running());
    assert_eq!(trained.y, case.layer.eval(&x).expect("a right call").y);
    let gradients = layer.backward(&x, &dy, &trained.saved).expect("a right call");
    assert!(gradients.dgamma.is_none() && gradients.dbeta.is_none());
    assert_eq!(layer.commit(&trained.batch), Ok(Vec::new()));
    assert_eq!(layer.running(), case.layer.running(), "there is nothing to commit");
    // One value a channel is no trouble to a layer that does not look at the batch.
    let one = View::new(&[1.0, 2.0, 3.0], &[1, 3], Axes::NCHW).expect("three values");
    layer.train(&one).expect("by the running statistics");
    // Nor to one whose statistics only follow: one value says nothing of a variance.
    layer.pin(Some(Switches { update_running: true, ..Switches::frozen() }));
    assert_eq!(layer.train(&one).expect("by the running statistics").y, layer.eval(&one).expect("too").y);
    assert_eq!(layer.running(), case.layer.running());
    layer.pin(None);
    assert!(matches!(layer.train(&one), Err(CallError::SingleValue { .. })));

    // The other way round: evaluation of a layer that adapts.
    let mut layer = case.layer.clone();
    layer.pin(Some(Switches::test_time(weight(1.0))));
    assert_eq!(layer.eval(&x).expect("a right call").y, case.layer.forward_train(&x).expect("a right call").y);
    assert_eq!(layer.running(), case.layer.running());
}

#[test]
fn calls_that_do_one_thing_refuse_a_layer_pinned_to_another() {
    let case = Case::new(3.0, &mut Random::new(1104));
    let mut layer = case.layer.clone();
    let mut data = case.x.clone();
    layer.pin(Some(Switches::test_time(weight(0.5))));
    let mut x = ViewMut::new(&mut data, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let error = layer.eval_in_place(&mut x, None).expect_err("it would not be by the mix").to_string();
    assert!(error.contains("eval_in_place") && error.contains("pin(None)"), "{error}");
    let error = layer.train_invertible(&mut x).expect_err("it would be by the batch").to_string();
    assert!(error.contains("train_invertible"), "{error}");
    layer.pin(Some(Switches::frozen()));
    layer.eval_in_place(&mut x, None).expect("frozen is evaluation");
    let y = case.layer.eval(&case.view(&case.x)).expect("a right call").y;
    assert_eq!(data, y.data());
}

#[test]
fn policies_hold_in_a_mix_too() {
    let mut random = Random::new(1105);
    let case = Case::new(3.0, &mut random);
    let mix = Switches::test_time(weight(0.5));
    let with = |policies: Policies| {
        let mut layer = Config::pytorch().policies(policies).channels(3).build().expect("a layer");
        layer.set_running(case.layer.running().expect("tracked").clone()).expect("three");
        layer
    };
    let one = View::new(&[1.0, 2.0, 3.0], &[1, 3], Axes::NCHW).expect("three values");
    assert!(matches!(with(Policies::default()).forward(&one, mix), Err(CallError::SingleValue { .. })));
    let mut layer = with(Policies { single_value: SingleValue::UseRunning, ..Policies::default() });
    assert_eq!(layer.forward(&one, mix).expect("a right call").y, layer.eval(&one).expect("a right call").y);
    // No running statistics to mix with.
    let mut layer = Config::pytorch().track_running_statistics(false).channels(3).build().expect("a layer");
    let x = case.view(&case.x);
    assert!(matches!(layer.forward(&x, mix), Err(CallError::NoRunningStatistics { .. })));
    // A channel that is not finite is NaN, no other notices, and its statistics stay.
    let mut data = case.x.clone();
    data[SHAPE[2]] = f64::NAN;
    let mut layer = case.layer.clone();
    let switches = Switches { update_running: true, ..mix };
    let y = layer.forward(&case.view(&data), switches).expect("a right call").y;
    let expected = case.layer.clone().forward(&x, switches).expect("a right call").y;
    for c in 0..3 {
        let [got, expected] = [&y, &expected].map(|y| channel_of(y.data(), 3, SHAPE[2], c));
        assert!(if c == 1 { got.iter().all(|y| y.is_nan()) } else { got == expected }, "channel {c}");
    }
    assert_eq!(layer.running().expect("tracked").updates(), [8, 7, 8]);
}

/// A residual and an activation behind mixed statistics, and a layer that normalises by its running statistics while
/// these follow the batches.
#[test]
fn residuals_and_statistics_that_only_follow() {
    let case = Case::new(3.0, &mut Random::new(1106));
    let (x, residual) = (case.view(&case.x), case.view(&case.dy));
    let parameters = Parameters::<f64>::default();
    let running = case.layer.running();
    let rule = Config::pytorch().normalizer().expect("a rule");
    let mut y = vec![0.0; case.x.len()];
    let mut out = ViewMut::new(&mut y, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let mix = Switches::test_time(weight(0.25));
    let (saved, batch) =
        rule.forward(Input::adding(&x, &residual), parameters, mix, running, &mut out).expect("a right call");
    assert!(saved.used_batch_statistics() && batch.channels().iter().all(|moments| moments.count() == 0));
    for c in 0..3 {
        let of = |data: &[f64]| channel_of(data, 3, SHAPE[2], c);
        let statistics = running.expect("tracked");
        let statistics = mixed::Statistics { running: [statistics.mean()[c], statistics.variance()[c]], share: 0.25 };
        let expected = mixed::forward(&of(&case.x), 1.0, 0.0, EPSILON, statistics);
        for ((y, expected), residual) in of(&y).iter().zip(&expected).zip(of(&case.dy)) {
            assert!((y - (expected + residual)).abs() < 1e-12);
        }
    }
    let following = Switches { update_running: true, ..Switches::frozen() };
    let mut layer = case.layer.clone();
    let passed = layer.forward(&x, following).expect("a right call");
    assert_eq!(passed.y, case.layer.eval(&x).expect("a right call").y);
    let mut trained = case.layer.clone();
    trained.train(&x).expect("a right call");
    assert_eq!(layer.running(), trained.running());
    let moments = compact::forward(&channel_of(&case.x, 3, SHAPE[2], 2), 1.0, 0.0, EPSILON);
    assert!((passed.batch.channels()[2].mean() - moments.mean).abs() < 1e-12);
}

#[test]
fn a_mix_of_constants_has_no_gradient_either() {
    let mut layer = Config::pytorch().channels(1).build().expect("a layer");
    layer.set_running(RunningStatistics::from_parts(&[4.0], &[0.0], 1).expect("statistics")).expect("one channel");
    let switches = Switches::test_time(weight(0.5));
    let (x, dy) = ([3.0f64; 4], [1.0, 2.0, 3.0, 4.0]);
    let of = |data| View::new(data, &[4, 1], Axes::NCHW).expect("a column");
    let passed = layer.forward(&of(&x), switches).expect("a right call");
    assert_eq!(layer.backward(&of(&x), &of(&dy), &passed.saved).expect("a right call").dx.data(), [0.0; 4]);
}

#[test]
fn statistics_of_two_domains_mix_by_weight() {
    let of = |mean: &[f64], variance: &[f64]| RunningStatistics::from_parts(mean, variance, 5).expect("statistics");
    let mixed = of(&[1.0, 2.0], &[1.0, 4.0]).mixed(&of(&[3.0, 2.0], &[2.0, 0.0]), weight(0.25)).expect("two channels");
    assert_eq!((mixed.mean(), mixed.variance()), (&[1.5, 2.0][..], &[1.25, 3.0][..]));
    assert!(of(&[1.0], &[1.0]).mixed(&mixed, weight(0.5)).is_err());
}
