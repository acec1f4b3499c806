//! Batch renormalisation: what it is where nothing is to be corrected, where everything may be, and where there is nothing to
//! correct by.

use crate::support::layout::Sizes;
use crate::support::place::bits;
use crate::support::step::{ARRANGEMENTS, Case, PASSES, Places};
use crate::support::{Random, channel_of};
use batchnorm::reference::number::{Complex, complex_step};
use batchnorm::reference::renormalized::{self, Correction};
use batchnorm::reference::{Real, sum};
use batchnorm::{
    Activation, Averaged, Averaging, Axes, BatchNorm, CallError, Config, ConfigError, Element, Input, MissingRunning,
    NonFinite, Normalizer, Parameters, Policies, Renormalization, RunningStatistics, SingleValue, Switches, Tier,
    UpdateWeight, View, ViewMut, Weights,
};
use std::num::NonZeroUsize;

const EPSILON: f64 = 1e-5;

fn limits(r_max: f64, d_max: f64) -> Renormalization {
    Renormalization::new(r_max, d_max).expect("right limits")
}

fn nchw<'d, T: Element>(data: &'d [T], shape: &[usize]) -> View<'d, T> {
    View::new(data, shape, Axes::NCHW).expect("an array of the shape")
}

/// Limits that leave batch norm: at once, and up to the end of a warm-up.
#[test]
fn with_r_max_1_and_d_max_0_every_form_is_batch_norm_to_the_bit() {
    let mut random = Random::new(3200);
    for renormalization in [limits(1.0, 0.0), limits(3.0, 5.0).warm_up(1000, 2000, 3000).expect("a warm-up")] {
        for sizes in
            [Sizes { n: 6, c: 5, plane: 49 }, Sizes { n: 33, c: 7, plane: 1 }, Sizes { n: 2, c: 3, plane: 2000 }]
        {
            let case = Case::<f32>::new(sizes, &mut random);
            for pass in PASSES.into_iter().filter(|pass| pass.training) {
                for arrangement in ARRANGEMENTS {
                    let places = Places::arranged(arrangement, sizes);
                    let rule = pass.config().renormalization(renormalization).normalizer().expect("a rule");
                    let plain = case.step(pass, Tier::best(), &places);
                    let got = case.step_with(pass, rule, &places, Some(&case.running));
                    assert!(plain.same_bits(&got), "{sizes:?} {pass:?} {arrangement:?}");
                }
            }
        }
    }
}

/// y, dx, dgamma and dbeta.
type Step = (Vec<f64>, Vec<f64>, Option<Vec<f64>>, Option<Vec<f64>>);

/// A training of 30 steps by weights, ghost batches, parts and the invertible form: outputs, gradients and running statistics.
#[test]
fn a_training_at_those_limits_is_one_of_batch_norm_to_the_bit() {
    let mut random = Random::new(3201);
    let shape = [8, 3, 5];
    let len: usize = shape.iter().product();
    let plain = Config::pytorch().channels(3);
    let renormalized = plain.clone().renormalization(limits(1.0, 0.0));
    let mut layers = [plain, renormalized].map(|config| config.build().expect("a layer"));
    for layer in &mut layers {
        layer.set_gamma(&[0.5, -0.0, 2.0]).expect("three");
        layer.set_beta(&[-0.0, 0.25, -1.0]).expect("three");
    }
    for step in 0..30 {
        let (data, dy) = (random.normals(len, 3.0, 2.0), random.normals(len, 0.0, 1.0));
        let (x, dy) = (nchw(&data, &shape), nchw(&dy, &shape));
        let mask: Vec<bool> = (0..8).map(|sample| sample != step % 8).collect();
        let mask = Weights::mask(&mask, &[8, 1, 1]).expect("a mask");
        let four = NonZeroUsize::new(4).expect("not 0");
        let both = layers.each_mut().map(|layer| match step % 4 {
            0 => {
                let trained = layer.train(&x).expect("a right call");
                let gradients = layer.backward(&x, &dy, &trained.saved).expect("a right call");
                (trained.y.into_data(), gradients.dx.into_data(), gradients.dgamma, gradients.dbeta)
            }
            1 => {
                let trained = layer.train(Input::weighted(&x, &mask)).expect("a right call");
                let input = Input::weighted(&x, &mask);
                let gradients = layer.backward(input, &dy, &trained.saved).expect("a right call");
                (trained.y.into_data(), gradients.dx.into_data(), gradients.dgamma, gradients.dbeta)
            }
            2 => {
                let trained = layer.train_ghost(&x, four).expect("a right call");
                let gradients = layer.backward_ghost(&x, &dy, &trained.saved).expect("a right call");
                (trained.y.into_data(), gradients.dx.into_data(), gradients.dgamma, gradients.dbeta)
            }
            _ => {
                let (mut y, mut dx) = (data.clone(), dy.to_vec());
                let mut over = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an array of the shape");
                let (saved, _) = layer.train_invertible(&mut over).expect("a right call");
                let mut over = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("an array of the shape");
                let of = saved.backward(&nchw(&y, &shape), &mut over).expect("a right call");
                (y, dx, Some(of.dgamma), Some(of.dbeta))
            }
        });
        let bits = |(y, dx, dgamma, dbeta): &Step| -> Vec<u64> {
            y.iter().chain(dx).chain(dgamma.iter().flatten()).chain(dbeta.iter().flatten()).map(|&v| bits(v)).collect()
        };
        assert_eq!(bits(&both[0]), bits(&both[1]), "step {step}");
        assert_eq!(layers[0].running(), layers[1].running(), "step {step}");
    }
}

/// The layer's own evaluation, and its gradient; whatever the shape of the pass.
#[test]
fn within_its_limits_a_training_pass_gives_what_evaluation_gives_to_the_bit() {
    let mut random = Random::new(3202);
    fn check<T: Element>(random: &mut Random) {
        for [n, plane] in [[2, 1], [5, 7], [4, 1100]] {
            for activation in [Activation::Identity, Activation::Relu] {
                let config = Config::pytorch().channels(3).activation(activation);
                let mut layer = config.renormalization(limits(f64::INFINITY, f64::INFINITY)).build().expect("a layer");
                let running = RunningStatistics::from_parts(&[1e4, -2.0, 0.5], &[3.0, 0.01, 40.0], 7);
                layer.set_running(running.expect("right statistics")).expect("three");
                layer.set_gamma(&[0.5, -1.5, 2.0]).expect("three");
                layer.set_beta(&[0.25, 0.0, -1.0]).expect("three");
                let shape = [n, 3, plane];
                let mut x: Vec<T> =
                    random.normals(shape.iter().product(), 0.0, 1.0).into_iter().map(T::from_f64).collect();
                for (at, x) in x.iter_mut().enumerate() {
                    *x = T::from_f64(x.to_f64() + [1e4, -2.0, 0.5][at / plane % 3]);
                }
                let x = nchw(&x, &shape);
                let (trained, evaluated) = (layer.forward_train(&x), layer.eval(&x).expect("a right call"));
                let trained = trained.expect("a right call");
                assert!(trained.y.data().iter().zip(evaluated.y.data()).all(|(one, other)| bits(*one) == bits(*other)));
                assert!(trained.saved.used_batch_statistics());
            }
        }
    }
    check::<f32>(&mut random);
    check::<f64>(&mut random);
}

/// With r and d held, against a complex step through the twin's forward pass.
#[test]
fn its_gradient_is_that_of_its_formula_with_r_and_d_held() {
    let mut random = Random::new(3203);
    let running = [0.8, 2.5];
    let mut worst: f64 = 0.0;
    for [r_max, d_max] in [[3.0, 5.0], [1.1, 0.2], [1.0, 5.0], [2.0, 0.0]] {
        for n in [2, 7, 40] {
            let (x, dy) = (random.normals(n, 0.3, 0.9), random.normals(n, 0.1, 1.0));
            let (gamma, beta) = (1.3, -0.4);
            let config = Config::pytorch().epsilon(EPSILON).channels(1).renormalization(limits(r_max, d_max));
            let mut layer = config.build().expect("a layer");
            layer.set_gamma(&[gamma]).expect("one");
            layer.set_beta(&[beta]).expect("one");
            let start = RunningStatistics::from_parts(&running[..1], &running[1..], 3).expect("right statistics");
            layer.set_running(start).expect("one");
            let (view, upstream) = (nchw(&x, &[n, 1]), nchw(&dy, &[n, 1]));
            let saved = layer.forward_train(&view).expect("a right call").saved;
            let gradients = layer.backward(&view, &upstream, &saved).expect("a right call");
            let held = Correction::of(&x, EPSILON, running, [r_max, d_max]);
            let held = Correction { r: Complex::constant(held.r), d: Complex::constant(held.d) };
            let of = |x: &[Complex], gamma: Complex, beta: Complex| {
                let y = renormalized::forward(x, gamma, beta, Complex::constant(EPSILON), held);
                sum(y.into_iter().zip(&dy).map(|(y, &dy)| y * Complex::constant(dy)))
            };
            let [gamma, beta] = [gamma, beta].map(Complex::constant);
            let mut check = |got: f64, truth: f64| worst = worst.max((got - truth).abs() / (1.0 + truth.abs()));
            for (i, &got) in gradients.dx.data().iter().enumerate() {
                check(got, complex_step(&x, i, |x| of(x, gamma, beta)));
            }
            let constants: Vec<Complex> = x.iter().map(|&x| Complex::constant(x)).collect();
            check(gradients.dgamma.expect("one")[0], complex_step(&[1.3], 0, |gamma| of(&constants, gamma[0], beta)));
            check(gradients.dbeta.expect("one")[0], complex_step(&[-0.4], 0, |beta| of(&constants, gamma, beta[0])));
        }
    }
    println!("worst distance from the complex step {worst:.1e}");
    assert!(worst <= 1e-13);
}

/// Parts of a batch, and the invertible form, at limits of every kind.
#[test]
fn parts_and_the_invertible_form_do_what_the_whole_does() {
    let mut random = Random::new(3204);
    let shape = [7, 3, 5];
    let len: usize = shape.iter().product();
    let (data, dy) = (random.normals(len, 1.0, 2.0), random.normals(len, 0.2, 1.0));
    let running = RunningStatistics::from_parts(&[1.1, -3.0, 0.9], &[3.0, 0.5, 90.0], 7).expect("right statistics");
    let parameters = Parameters { gamma: Some(&[0.5, -1.5, 2.0][..]), beta: Some(&[0.25, 0.0, -1.0][..]) };
    for (r_max, d_max) in [(3.0, 5.0), (1.2, 0.1), (f64::INFINITY, 0.3), (1.0, 9.0)] {
        let rule = Config::pytorch().renormalization(limits(r_max, d_max)).normalizer().expect("a rule");
        let (x, upstream) = (nchw(&data, &shape), nchw(&dy, &shape));
        let [mut y, mut dx] = [(); 2].map(|()| vec![0.0; len]);
        let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an array of the shape");
        let (saved, whole) = rule.train(&x, parameters, Some(&running), &mut out).expect("a right call");
        let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("an array of the shape");
        let of_whole = saved.backward(&x, &upstream, &mut out).expect("a right call");

        let (mut over, mut over_dy) = (data.clone(), dy.clone());
        let mut out = ViewMut::new(&mut over, &shape, Axes::NCHW).expect("an array of the shape");
        let (inverse, _) = rule.train_invertible(&mut out, parameters, Some(&running)).expect("a right call");
        let mut out = ViewMut::new(&mut over_dy, &shape, Axes::NCHW).expect("an array of the shape");
        let of_inverse = inverse.backward(&nchw(&over, &shape), &mut out).expect("a right call");
        assert_eq!(over, y);
        assert!(inverse.kept_channels().is_empty());

        let split = 3 * 3 * 5;
        let mut of_parts = of_whole.clone();
        of_parts.dgamma.fill(0.0);
        of_parts.dbeta.fill(0.0);
        let parts = [(&data[..split], &dy[..split], 0), (&data[split..], &dy[split..], split)];
        let mut left = Vec::new();
        for (data, dy, start) in parts {
            let shape = [data.len() / 15, 3, 5];
            let x = nchw(data, &shape);
            let mut part = vec![0.0; data.len()];
            let mut out = ViewMut::new(&mut part, &shape, Axes::NCHW).expect("an array of the shape");
            let train = Switches::train();
            let (saved, batch) =
                rule.forward_part(&x, parameters, train, &whole, Some(&running), &mut out).expect("a right call");
            assert_eq!(batch, whole);
            assert_eq!(part, y[start..start + part.len()]);
            of_parts.add(&saved.parameter_gradients(&x, &nchw(dy, &shape)).expect("a right call")).expect("three");
            left.push(saved);
        }
        let close = |one: &[f64], other: &[f64]| {
            one.iter().zip(other).all(|(one, other)| (one - other).abs() <= 1e-12 * (1.0 + other.abs()))
        };
        assert!(close(&of_parts.dgamma, &of_whole.dgamma) && close(&of_inverse.dgamma, &of_whole.dgamma));
        assert!(close(&over_dy, &dx) && of_inverse.dbeta == of_whole.dbeta);
        for ((data, dy, start), saved) in parts.into_iter().zip(left) {
            let shape = [data.len() / 15, 3, 5];
            let mut part = vec![0.0; data.len()];
            let mut out = ViewMut::new(&mut part, &shape, Axes::NCHW).expect("an array of the shape");
            saved.backward_part(&nchw(data, &shape), &nchw(dy, &shape), &of_parts, &mut out).expect("a right call");
            assert!(close(&part, &dx[start..start + part.len()]), "{r_max} {d_max}");
        }
    }
}

fn layer(policies: Policies, epsilon: f64, running: [f64; 2]) -> BatchNorm {
    let config = Config::pytorch().epsilon(epsilon).policies(policies).channels(1).renormalization(limits(3.0, 5.0));
    let mut layer = config.build().expect("a layer");
    layer.set_gamma(&[2.0]).expect("one");
    layer.set_beta(&[0.5]).expect("one");
    layer.set_running(RunningStatistics::from_parts(&running[..1], &running[1..], 3).expect("right")).expect("one");
    layer
}

#[test]
fn what_has_no_spread_or_is_not_finite_is_declared() {
    let four = |values: [f64; 4], layer: &BatchNorm| {
        let (x, dy) = (nchw(&values, &[4, 1]), nchw(&[1.0, 0.0, 0.0, 2.0], &[4, 1]));
        let trained = layer.forward_train(&x).expect("a right call");
        let gradients = layer.backward(&x, &dy, &trained.saved).expect("a right call");
        (trained.y.into_data(), gradients.dx.into_data(), gradients.dgamma.expect("one")[0])
    };
    // All alike: y = gamma d + beta, d = (3 - 1) / 2 (and at its limit), dx = 0, dgamma = d sum(dy).
    let one = layer(Policies::default(), 0.0, [1.0, 4.0]);
    assert_eq!(four([3.0; 4], &one), (vec![2.5; 4], vec![0.0; 4], 3.0));
    assert_eq!(four([300.0; 4], &one), (vec![10.5; 4], vec![0.0; 4], 15.0));
    let with_epsilon = layer(Policies::default(), 1e-5, [1.0, 4.0]);
    let (y, dx, dgamma) = four([3.0; 4], &with_epsilon);
    let d = 2.0 / (4.0f64 + 1e-5).sqrt();
    assert!(y.iter().all(|y| (y - (2.0 * d + 0.5)).abs() < 1e-15), "{y:?}");
    assert!(dx == [0.0; 4] && (dgamma - 3.0 * d).abs() < 1e-15);
    // The running statistics without a spread: r and d are at their limits, or 1 and 0 where the batch is the same.
    let constant = layer(Policies::default(), 0.0, [3.0, 0.0]);
    assert_eq!(four([3.0; 4], &constant), (vec![0.5; 4], vec![0.0; 4], 0.0));
    let (y, ..) = four([2.0, 2.0, 6.0, 6.0], &constant); // m = 4, s = 2: r = 3, d = 5
    assert_eq!(y, [4.5, 4.5, 16.5, 16.5]);
    // NaN and infinity.
    for bad in [f64::NAN, f64::INFINITY] {
        let (y, dx, dgamma) = four([1.0, bad, 2.0, 3.0], &one);
        assert!(y.iter().chain(&dx).chain([&dgamma]).all(|value| value.is_nan()));
        let mut trained = one.clone();
        trained.train(&nchw(&[1.0, bad, 2.0, 3.0], &[4, 1])).expect("a right call");
        assert_eq!(trained.running().expect("tracked").mean(), [1.0]);
    }
    let refusing = layer(Policies { non_finite: NonFinite::Error, ..Policies::default() }, 1e-5, [1.0, 4.0]);
    let error = refusing.forward_train(&nchw(&[1.0, f64::NAN], &[2, 1])).expect_err("refused");
    assert!(matches!(error, CallError::NonFinite { .. }));
}

#[test]
fn one_value_and_none_go_by_their_policies() {
    let of = |single_value| layer(Policies { single_value, ..Policies::default() }, 0.0, [1.0, 4.0]);
    let x = [5.0];
    let x = nchw(&x, &[1, 1]);
    assert!(matches!(of(SingleValue::Error).forward_train(&x), Err(CallError::SingleValue { .. })));
    // By the running statistics: 2 (5 - 1) / 2 + 0.5. By the formula: xhat = 0, d = 2.
    for (policy, y) in [(SingleValue::UseRunning, 4.5), (SingleValue::Population, 4.5), (SingleValue::SkipUpdate, 4.5)]
    {
        let trained = of(policy).forward_train(&x).expect("a right call");
        assert_eq!(trained.y.data(), [y], "{policy:?}");
    }
    let nothing = nchw::<f64>(&[], &[0, 1]);
    let mut layer = of(SingleValue::Error);
    let before = layer.running().cloned();
    let trained = layer.train(&nothing).expect("an empty batch passes");
    assert!(trained.y.data().is_empty() && layer.running().cloned() == before);
    let gradients = layer.backward(&nothing, &nothing, &trained.saved).expect("a right call");
    assert_eq!((gradients.dgamma, gradients.dbeta), (Some(vec![0.0]), Some(vec![0.0])));
    // A channel that is all masked has nothing to correct.
    let (x, zeros) = (nchw(&[5.0, 7.0], &[2, 1]), Weights::new(&[0.0, 0.0], &[2, 1]).expect("right weights"));
    let trained = layer.forward_train(Input::weighted(&x, &zeros)).expect("masked");
    assert_eq!(trained.y.data(), [0.0, 0.0]);
}

#[test]
fn without_running_statistics_it_is_refused_before_anything_is_written() {
    let rule: Normalizer = Config::pytorch().renormalization(limits(3.0, 5.0)).normalizer().expect("a rule");
    let x = nchw(&[1.0, 2.0], &[2, 1]);
    let mut y = [7.0; 2];
    let mut out = ViewMut::new(&mut y, &[2, 1], Axes::NCHW).expect("an array");
    let none = Parameters::<f64>::default();
    let whole = rule.moments(&x);
    let two = NonZeroUsize::new(2).expect("not 0");
    let errors = [
        rule.train(&x, none, None, &mut out).expect_err("refused"),
        rule.train_part(&x, none, &whole, &mut out).expect_err("refused"),
        rule.train_ghost(&x, two, none, None, &mut out).expect_err("refused"),
        rule.train_invertible(&mut out, none, None).expect_err("refused"),
    ];
    for error in errors {
        assert!(error.to_string().contains("batch renormalisation corrects the batch by them"), "{error}");
    }
    let short = RunningStatistics::start(2).expect("two");
    let error = rule.train(&x, none, Some(&short), &mut out).expect_err("another number of channels");
    assert!(matches!(error, CallError::Length { argument: "running_mean", .. }), "{error}");
    assert_eq!(y, [7.0; 2]);
    // A layer that keeps none is not built; one that does not know its channels yet starts from mean 0 and variance 1.
    let untracked = Config::pytorch().track_running_statistics(false).renormalization(limits(3.0, 5.0)).build();
    assert_eq!(untracked.expect_err("refused"), ConfigError::RenormalizationUntracked);
    let config = || Config::pytorch().epsilon(0.0).renormalization(limits(f64::INFINITY, f64::INFINITY));
    let mut lazy = config().build().expect("a layer");
    assert_eq!(lazy.train(&x).expect("a right call").y.data(), [1.0, 2.0]);
    assert_eq!(lazy.running().map(RunningStatistics::batches), Some(1));
    // Evaluation by the batch, where a policy says so, has nothing to be corrected by.
    let policies = Policies { missing_running: MissingRunning::BatchStatistics, ..Policies::default() };
    let rule = config().policies(policies).normalizer().expect("a rule");
    let mut y = [7.0; 2];
    let mut out = ViewMut::new(&mut y, &[2, 1], Axes::NCHW).expect("an array");
    rule.eval(&x, none, None, &mut out).expect("by the batch");
    assert_eq!(y, [-1.0, 1.0]);
}

#[test]
fn limits_and_warm_ups_that_make_no_sense_are_refused() {
    for (r_max, d_max, argument) in
        [(0.5, 5.0, "r_max"), (f64::NAN, 5.0, "r_max"), (3.0, -1.0, "d_max"), (3.0, f64::NAN, "d_max")]
    {
        let error = Renormalization::new(r_max, d_max).expect_err("refused").to_string();
        assert!(error.starts_with(argument), "{error}");
    }
    for (begin, r_end, d_end, argument) in [(10, 9, 20, "r_end"), (10, 20, 9, "d_end")] {
        let error = limits(3.0, 5.0).warm_up(begin, r_end, d_end).expect_err("refused").to_string();
        assert!(error.starts_with(argument), "{error}");
    }
    let at_once = limits(3.0, 5.0).warm_up(10, 10, 10).expect("a step");
    assert_eq!(
        [9, 10].map(|batch| (at_once.limits(batch).r_max, at_once.limits(batch).d_max)),
        [(1.0, 0.0), (3.0, 5.0)]
    );
    let unlimited = limits(f64::INFINITY, f64::INFINITY).warm_up(10, 20, 30).expect("a warm-up");
    assert_eq!([10, 11].map(|batch| unlimited.limits(batch).r_max), [1.0, f64::INFINITY]);
}

/// A training that is stopped and goes on from what was saved has the same bits, warm-up included.
#[test]
fn a_resumed_training_goes_on_where_its_warm_up_was() {
    let mut random = Random::new(3205);
    let renormalization = limits(3.0, 5.0).warm_up(3, 12, 8).expect("a warm-up");
    let averagings = [Averaging::Cumulative, Config::pytorch().averaging, Config::haiku().averaging];
    for (averaging, averaged) in
        averagings.into_iter().zip([Averaged::Variance, Averaged::Deviation, Averaged::Variance])
    {
        let config = Config::pytorch().averaging(averaging).averaged(averaged).channels(3);
        let config = config.renormalization(renormalization);
        let mut through = config.clone().build().expect("a layer");
        let mut resumed = config.clone().build().expect("a layer");
        for _ in 0..20 {
            let data = random.normals(12, 2.0, 3.0);
            let x = nchw(&data, &[4, 3]);
            let [one, other] = [&mut through, &mut resumed].map(|layer| layer.train(&x).expect("a right call").y);
            assert_eq!(one, other);
            assert_eq!(channel_of(one.data(), 3, 1, 0).len(), 4);
            // Saved and loaded between any two steps.
            let running = resumed.running().expect("tracked");
            let saved = RunningStatistics::from_parts(running.mean(), running.variance(), running.batches());
            let saved = saved.and_then(|saved| saved.with_updates(running.updates())).expect("right statistics");
            resumed = config.clone().build().expect("a layer");
            resumed.set_running(saved).expect("three");
        }
        assert_eq!(through.running(), resumed.running());
    }
}

/// Evaluation of a layer that does not know its channels yet has nothing to go by, renormalised or not.
#[test]
fn a_layer_without_channels_is_not_evaluated_by_its_start() {
    let data = [1.0, 3.0];
    let x = nchw(&data, &[2, 1]);
    let lazy = Config::pytorch().renormalization(limits(3.0, 5.0)).build().expect("a layer");
    assert!(lazy.forward_train(&x).is_ok());
    assert!(lazy.eval(&x).is_err());
    let mut by_switches = lazy.clone();
    assert!(by_switches.forward(&x, Switches::evaluate()).is_err());
    assert!(by_switches.forward(&x, Switches::test_time(UpdateWeight::of_new(0.5).expect("a weight"))).is_err());
    let mut pinned = lazy.clone();
    pinned.pin(Some(Switches::evaluate()));
    assert!(pinned.forward_train(&x).is_err());
    // Pinned to the batch, evaluation does what training does.
    let mut by_batch = lazy.clone();
    by_batch.pin(Some(Switches { update_running: false, ..Switches::train() }));
    assert_eq!(by_batch.eval(&x).expect("by the batch").y, lazy.forward_train(&x).expect("a right call").y);
}

/// Towards a running deviation of 0 without limits: y = beta, as in evaluation, and no gradient.
#[test]
fn without_limits_towards_no_deviation_it_is_what_evaluation_declares() {
    for (r_max, d_max) in [(f64::INFINITY, f64::INFINITY), (3.0, f64::INFINITY), (f64::INFINITY, 5.0)] {
        let config = Config::pytorch().epsilon(0.0).renormalization(limits(r_max, d_max)).channels(1);
        let mut layer = config.build().expect("a layer");
        layer.set_running(RunningStatistics::from_parts(&[0.5], &[0.0], 3).expect("statistics")).expect("one");
        layer.set_beta(&[0.25]).expect("one");
        let data = [1.0, 3.0, 4.0];
        let x = nchw(&data, &[3, 1]);
        let trained = layer.forward_train(&x).expect("a right call");
        assert_eq!(trained.y.data(), [0.25; 3], "{r_max} {d_max}");
        assert_eq!(trained.y, layer.eval(&x).expect("a right call").y);
        let gradients = layer.backward(&x, &x, &trained.saved).expect("a right call");
        assert_eq!(gradients.dx.data(), [0.0; 3]);
        assert_eq!((gradients.dgamma, gradients.dbeta), (Some(vec![0.0]), Some(vec![8.0])));
    }
}
