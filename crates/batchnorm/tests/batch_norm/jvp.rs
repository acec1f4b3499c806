//! The directional derivative: against the twin, against the backward pass, whose transpose it is (A9), and its bits.

use super::passes::{passes, share};
use crate::support::layout::{ORDERS, Sizes};
use crate::support::place::bits;
use crate::support::wide::{wide, widened};
use crate::support::{Random, channel_of, pool};
use batchnorm::reference::{mixed, tangent};
use batchnorm::{
    Activation, Axes, CallError, Config, ConstantChannel, Element, Input, Normalizer, ParameterDirection, Parameters,
    Policies, RunningStatistics, Saved, Switches, Tier, View, ViewMut, Weights,
};

const EPSILON: f64 = 1e-5;
const SIZES: Sizes = Sizes { n: 6, c: 3, plane: 35 };
const SHAPE: [usize; 3] = [6, 3, 35];
const GAMMA: [f64; 3] = [0.7, -1.3, 2.0];
const BETA: [f64; 3] = [0.1, 0.0, -1.0];

fn rule(activation: Activation) -> Normalizer {
    Config::pytorch().epsilon(EPSILON).activation(activation).normalizer().expect("a rule")
}

fn view(data: &[f64]) -> View<'_, f64> {
    View::new(data, &SHAPE, Axes::NCHW).expect("an array of the shape")
}

struct Case {
    x: Vec<f64>,
    direction: Vec<f64>,
    of_gamma: Vec<f64>,
    of_beta: Vec<f64>,
    running: RunningStatistics,
}

impl Case {
    fn new(mean: f64, random: &mut Random) -> Case {
        let len = SHAPE.iter().product();
        let running = RunningStatistics::from_parts(&[mean - 1.0, mean + 0.5, mean], &[0.5, 2.0, 1.0], 7);
        Case {
            x: random.normals(len, mean, 1.5),
            direction: random.normals(len, 0.3, 1.0),
            of_gamma: random.normals(3, 0.0, 1.0),
            of_beta: random.normals(3, 0.0, 1.0),
            running: running.expect("statistics"),
        }
    }

    fn forward(&self, rule: &Normalizer, switches: Switches) -> Saved {
        let mut y = vec![0.0; self.x.len()];
        let mut y = ViewMut::new(&mut y, &SHAPE, Axes::NCHW).expect("an array of the shape");
        let parameters = Parameters { gamma: Some(&GAMMA[..]), beta: Some(&BETA[..]) };
        rule.forward(&view(&self.x), parameters, switches, Some(&self.running), &mut y).expect("a right call").0
    }

    fn jvp(&self, saved: &Saved) -> Vec<f64> {
        let mut moved = vec![f64::NAN; self.x.len()];
        let mut out = ViewMut::new(&mut moved, &SHAPE, Axes::NCHW).expect("an array of the shape");
        let parameters = ParameterDirection { gamma: Some(&self.of_gamma), beta: Some(&self.of_beta) };
        saved.jvp(&view(&self.x), &view(&self.direction), parameters, &mut out).expect("a right call");
        moved
    }
}

/// <u, J v> against <J^T u, v>, of the sum of the terms' magnitudes.
fn distance_to_the_transpose(case: &Case, saved: &Saved, random: &mut Random) -> f64 {
    let upstream = random.normals(case.x.len(), 0.2, 1.0);
    let moved = case.jvp(saved);
    let mut dx = vec![f64::NAN; case.x.len()];
    let mut out = ViewMut::new(&mut dx, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let gradients = saved.backward(&view(&case.x), &view(&upstream), &mut out).expect("a right call");
    let products = |one: &[f64], other: &[f64]| -> [f64; 2] {
        let terms = || one.iter().zip(other).map(|(one, other)| one * other);
        [terms().sum(), terms().map(f64::abs).sum()]
    };
    let forwards = products(&upstream, &moved);
    let backwards = [
        products(&dx, &case.direction),
        products(&gradients.dgamma, &case.of_gamma),
        products(&gradients.dbeta, &case.of_beta),
    ];
    let total: f64 = backwards.iter().map(|[sum, _]| sum).sum();
    let scale: f64 = forwards[1] + backwards.iter().map(|[_, scale]| scale).sum::<f64>();
    (forwards[0] - total).abs() / scale
}

#[test]
fn it_is_the_transpose_of_the_backward_pass() {
    let mut random = Random::new(2100);
    let mut worst: f64 = 0.0;
    for mean in [0.0, 3.0, 1e4, 1e6] {
        let case = Case::new(mean, &mut random);
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
            for switches in passes() {
                let saved = case.forward(&rule(activation), switches);
                let distance = distance_to_the_transpose(&case, &saved, &mut random);
                assert!(distance <= 1e-12, "mean {mean}, {activation:?}, {switches:?}: {distance:e}");
                worst = worst.max(distance);
            }
        }
    }
    println!("worst distance between JVP and VJP: {worst:.1e}");
}

#[test]
fn every_kind_of_pass_is_what_the_twin_says() {
    let mut random = Random::new(2101);
    let mut worst: f64 = 0.0;
    for mean in [0.0, 3.0, 1e4, 1e6, 1e15] {
        let case = Case::new(mean, &mut random);
        for switches in passes() {
            let moved = case.jvp(&case.forward(&rule(Activation::Identity), switches));
            for (c, gamma) in GAMMA.into_iter().enumerate() {
                let of = |data: &[f64]| channel_of(data, 3, SHAPE[2], c);
                let statistics = mixed::Statistics {
                    running: [case.running.mean()[c], case.running.variance()[c]].map(wide),
                    share: wide(share(switches)),
                };
                let direction = tangent::Direction {
                    x: &widened(&of(&case.direction)),
                    gamma: wide(case.of_gamma[c]),
                    beta: wide(case.of_beta[c]),
                };
                let flows = switches.gradient_through_statistics;
                let x = widened(&of(&case.x));
                let truth = tangent::tangent(&x, wide(gamma), wide(EPSILON), statistics, flows, direction);
                // In units of what the terms are at most.
                let scale = 10.0 * (gamma.abs() + case.of_gamma[c].abs()) + case.of_beta[c].abs();
                for (got, truth) in of(&moved).into_iter().zip(truth) {
                    let error = (wide(got) - truth).to_f64().abs() / scale;
                    assert!(error <= 1e-13, "{switches:?}, mean {mean}: {error:e}");
                    worst = worst.max(error);
                }
            }
        }
    }
    println!("worst error against the twin: {worst:.1e}");
}

#[test]
fn a_channel_without_a_gradient_does_not_move_with_its_input() {
    let mut random = Random::new(2103);
    let mut case = Case::new(3.0, &mut random);
    for sample in case.x.chunks_mut(3 * 35) {
        sample[35..70].fill(4.1);
    }
    let declared = case.forward(&rule(Activation::Identity), Switches::train());
    let moved = channel_of(&case.jvp(&declared), 3, 35, 1);
    assert_eq!(moved, vec![case.of_beta[1]; moved.len()], "beta moves it alone");
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let derived = Config::pytorch().policies(policies).normalizer().expect("a rule");
    let derived = case.forward(&derived, Switches::train());
    let steep = channel_of(&case.jvp(&derived), 3, 35, 1);
    assert!(steep.iter().any(|moved| moved.abs() > 100.0), "by 1 / sqrt(eps)");
    for saved in [declared, derived] {
        let distance = distance_to_the_transpose(&case, &saved, &mut random);
        assert!(distance <= 1e-12, "{distance:e}");
    }
}

fn same_bits_everywhere<T: Element>(random: &mut Random) {
    for sizes in
        [SIZES, Sizes { n: 3, c: 17, plane: 1 }, Sizes { n: 2, c: 3, plane: 1025 }, Sizes { n: 70, c: 9, plane: 120 }]
    {
        let len = sizes.n * sizes.c * sizes.plane;
        let mut array = |mean: f64| -> Vec<T> { (0..len).map(|_| T::from_f64(mean + random.normal())).collect() };
        let (x, t) = (array(5.0), array(0.1));
        let of_gamma: Vec<f64> = (0..sizes.c).map(|c| 0.3 - c as f64 / 7.0).collect();
        let mut expected: Option<Vec<u64>> = None;
        for order in ORDERS {
            for tier in Tier::available() {
                for threads in [1, 2, 3, 8] {
                    let rule = Config::pytorch()
                        .activation(Activation::LeakyRelu(0.1))
                        .tier(tier)
                        .normalizer()
                        .expect("a rule");
                    let (x, t) = (order.arranged(&x, sizes), order.arranged(&t, sizes));
                    let (x, t) = (order.view(&x, sizes), order.view(&t, sizes));
                    let (mut y, mut moved) = (order.blank::<T>(sizes), order.blank::<T>(sizes));
                    let parameters = Parameters::<f64>::default();
                    pool(threads).install(|| {
                        let (saved, _) =
                            rule.train(&x, parameters, None, &mut order.view_mut(&mut y, sizes)).expect("a right call");
                        let direction = ParameterDirection { gamma: Some(&of_gamma), beta: None };
                        let mut out = order.view_mut(&mut moved, sizes);
                        saved.jvp(&x, &t, direction, &mut out).expect("a right call");
                    });
                    let got: Vec<u64> = order.back(moved, sizes).into_iter().map(bits).collect();
                    let what = format!("{sizes:?} {order:?} {tier:?} {threads} threads");
                    assert!(*expected.get_or_insert_with(|| got.clone()) == got, "other bits: {what}");
                }
            }
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_threads_instructions_or_layout() {
    let mut random = Random::new(2104);
    same_bits_everywhere::<f32>(&mut random);
    same_bits_everywhere::<f64>(&mut random);
    #[cfg(feature = "half")]
    {
        same_bits_everywhere::<half::f16>(&mut random);
        same_bits_everywhere::<half::bf16>(&mut random);
    }
}

/// Documented: without the residual, then its own direction, then f'.
#[test]
fn a_residual_is_added_behind() {
    let mut random = Random::new(2105);
    let case = Case::new(1.0, &mut random);
    let (residual, its_direction) = (random.normals(case.x.len(), 0.0, 1.0), random.normals(case.x.len(), 0.0, 1.0));
    let rule = rule(Activation::LeakyRelu(0.25));
    let parameters = Parameters { gamma: Some(&GAMMA[..]), beta: Some(&BETA[..]) };
    let forward = |x: &[f64], residual: &[f64]| {
        let mut y = vec![0.0; x.len()];
        let mut out = ViewMut::new(&mut y, &SHAPE, Axes::NCHW).expect("an array of the shape");
        let saved = rule.train(Input::adding(&view(x), &view(residual)), parameters, None, &mut out);
        (y, saved.expect("a right call").0)
    };
    let (y, saved) = forward(&case.x, &residual);
    let mut out = vec![7.0; y.len()];
    let mut view_of_out = ViewMut::new(&mut out, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let none = ParameterDirection::default();
    let error = saved.jvp(&view(&case.x), &view(&case.direction), none, &mut view_of_out).expect_err("a residual");
    assert!(error.to_string().contains("without_residual().jvp"), "{error}");
    saved.without_residual().jvp(&view(&case.x), &view(&case.direction), none, &mut view_of_out).expect("a right call");
    let sum: Vec<f64> = out.iter().zip(&its_direction).map(|(moved, own)| moved + own).collect();
    let mut moved = vec![0.0; y.len()];
    let mut view_of_moved = ViewMut::new(&mut moved, &SHAPE, Axes::NCHW).expect("an array of the shape");
    saved.residual_gradient(&view(&y), &view(&sum), &mut view_of_moved).expect("a right call");
    // Against differences: a step of 1e-6 leaves them about nine digits.
    let step = 1e-6;
    let at = |step: f64| {
        let along = |from: &[f64], by: &[f64]| -> Vec<f64> { from.iter().zip(by).map(|(x, t)| x + step * t).collect() };
        forward(&along(&case.x, &case.direction), &along(&residual, &its_direction)).0
    };
    let (high, low) = (at(step), at(-step));
    for i in 0..y.len() {
        let slope = (high[i] - low[i]) / (2.0 * step);
        // Beside the kink.
        assert!(y[i].abs() < 1e-4 || (slope - moved[i]).abs() < 1e-7, "{i}: {slope} {}", moved[i]);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let case = Case::new(1.0, &mut Random::new(2106));
    let rule = rule(Activation::Identity);
    let saved = case.forward(&rule, Switches::train());
    let (x, t) = (view(&case.x), view(&case.direction));
    let mut out = vec![7.0; case.x.len()];
    let refused = |saved: &Saved, x: &View<f64>, t: &View<f64>, parameters: ParameterDirection, out: &mut [f64]| {
        let mut view = ViewMut::new(out, &SHAPE, Axes::NCHW).expect("an array of the shape");
        let error = saved.jvp(x, t, parameters, &mut view).expect_err("it does not fit");
        assert!(out.iter().all(|&value| value == 7.0), "{error}");
        error
    };
    let none = ParameterDirection::default();
    let other = View::new(&case.x, &[3, 6, 35], Axes::NCHW).expect("a view");
    assert!(matches!(refused(&saved, &x, &other, none, &mut out), CallError::Shape { argument: "direction", .. }));
    let less = View::new(&case.x[..105], &[1, 3, 35], Axes::NCHW).expect("a view");
    let error = refused(&saved, &less, &less, none, &mut out);
    assert!(matches!(error, CallError::Shape { argument: "out", .. }), "{error}");
    let short = ParameterDirection { beta: Some(&[1.0]), ..none };
    let error = refused(&saved, &x, &t, short, &mut out);
    assert!(error.to_string().starts_with("direction of beta: expected 3 values"), "{error}");
    // Of a part nobody here knows the means; where the statistics are constants, none are needed.
    let whole = rule.moments(&x).merge(&rule.moments(&x)).expect("as many channels");
    let mut y = vec![0.0; case.x.len()];
    let mut y = ViewMut::new(&mut y, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let part = rule.train_part(&x, Parameters::<f64>::default(), &whole, &mut y).expect("a right call");
    let error = refused(&part, &x, &t, none, &mut out);
    assert!(matches!(error, CallError::OtherPass { forward: "that of a part of a batch", .. }), "{error}");
    case.jvp(&part.with_constant_statistics());
    // With weights it takes these.
    let mask = Weights::mask(&[true; 6], &[6, 1, 1]).expect("a mask");
    let mut buffer = vec![0.0; case.x.len()];
    let mut y = ViewMut::new(&mut buffer, &SHAPE, Axes::NCHW).expect("an array of the shape");
    let none = Parameters::<f64>::default();
    let (weighted, _) = rule.train(Input::weighted(&x, &mask), none, None, &mut y).expect("a right call");
    let error = refused(&weighted, &x, &t, ParameterDirection::default(), &mut out);
    assert!(matches!(error, CallError::OtherInput { forward: "with weights", .. }), "{error}");
}

#[test]
fn nothing_moves_of_nothing() {
    let rule = rule(Activation::Relu);
    let shape = [0, 3];
    let x = View::<f64>::new(&[], &shape, Axes::NCHW).expect("an empty array");
    let (mut y, mut moved) = ([0.0; 0], [0.0; 0]);
    let mut y = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an empty array");
    let (saved, _) = rule.train(&x, Parameters::<f64>::default(), None, &mut y).expect("a right call");
    let mut out = ViewMut::new(&mut moved, &shape, Axes::NCHW).expect("an empty array");
    saved.jvp(&x, &x, ParameterDirection::default(), &mut out).expect("a right call");
}
