//! Second derivatives: against the twin, against differences, as a symmetric Hessian, and their bits.

use super::passes::{passes, share};
use crate::support::layout::{ORDERS, Sizes};
use crate::support::measure::ulp;
use crate::support::place::bits;
use crate::support::wide::{DoubleDouble, largest_wide, wide, widened};
use crate::support::{Random, channel_of, pool};
use batchnorm::reference::{Real, mixed, second_order, tangent};
use batchnorm::{
    Activation, Axes, CallError, Config, ConstantChannel, Element, Normalizer, ParameterDirection, ParameterGradients,
    Parameters, Policies, RunningStatistics, Saved, Switches, Tier, View, ViewMut, Weights,
};

type D = DoubleDouble;
const EPSILON: f64 = 1e-5;
const GAMMA: [f64; 3] = [0.7, -1.3, 2.0];
const BETA: [f64; 3] = [0.1, 0.0, -1.0];

fn rule(activation: Activation, epsilon: f64) -> Normalizer {
    Config::pytorch().epsilon(epsilon).activation(activation).normalizer().expect("a rule")
}

/// Arrays of 3 channels in NCHW order.
struct Case<T> {
    shape: [usize; 3],
    x: Vec<T>,
    dy: Vec<T>,
    direction: Vec<T>,
    of_gamma: Vec<f64>,
    running: RunningStatistics,
}

impl<T: Element> Case<T> {
    fn new([n, plane]: [usize; 2], mean: f64, deviation: f64, random: &mut Random) -> Case<T> {
        let shape = [n, 3, plane];
        let len = shape.iter().product();
        let mut normals = |mean: f64, deviation: f64| -> Vec<T> {
            random.normals(len, mean, deviation).into_iter().map(T::from_f64).collect()
        };
        let (x, dy, direction) = (normals(mean, deviation), normals(0.2, 1.0), normals(0.3, deviation));
        let variances = [0.5, 2.0, 1.0].map(|variance| variance * deviation * deviation);
        let running = RunningStatistics::from_parts(&[mean - deviation, mean + 0.5 * deviation, mean], &variances, 7);
        Case { shape, x, dy, direction, of_gamma: random.normals(3, 0.0, 1.0), running: running.expect("statistics") }
    }

    fn view<'d>(&self, data: &'d [T]) -> View<'d, T> {
        View::new(data, &self.shape, Axes::NCHW).expect("an array of the shape")
    }

    fn forward(&self, rule: &Normalizer, switches: Switches) -> Saved {
        let mut y = vec![T::default(); self.x.len()];
        let mut y = ViewMut::new(&mut y, &self.shape, Axes::NCHW).expect("an array of the shape");
        let parameters = Parameters { gamma: Some(&GAMMA[..]), beta: Some(&BETA[..]) };
        rule.forward(&self.view(&self.x), parameters, switches, Some(&self.running), &mut y).expect("a right call").0
    }

    fn hvp(&self, saved: &Saved, direction: &[T], of_gamma: &[f64]) -> (Vec<T>, ParameterGradients) {
        let mut moved = vec![T::from_f64(f64::NAN); self.x.len()];
        let mut out = ViewMut::new(&mut moved, &self.shape, Axes::NCHW).expect("an array of the shape");
        let parameters = ParameterDirection { gamma: Some(of_gamma), beta: Some(&BETA) };
        let (x, dy) = (self.view(&self.x), self.view(&self.dy));
        let of = saved.hvp(&x, &dy, &self.view(direction), parameters, &mut out).expect("a right call");
        (moved, of)
    }

    /// The worst errors of dx' and dgamma', in units of what their terms are at most; of dx' less the rounding to
    /// the type.
    fn errors(&self, switches: Switches, epsilon: f64) -> [f64; 2] {
        let saved = self.forward(&rule(Activation::Identity, epsilon), switches);
        let (moved, of) = self.hvp(&saved, &self.direction, &self.of_gamma);
        let mut worst: [f64; 2] = [0.0; 2];
        for (c, gamma) in GAMMA.into_iter().enumerate() {
            let of_channel = |data: &[T]| channel_of(data, 3, self.shape[2], c);
            let statistics = mixed::Statistics {
                running: [self.running.mean()[c], self.running.variance()[c]].map(wide),
                share: wide(share(switches)),
            };
            let [x, dy, t] = [&self.x, &self.dy, &self.direction].map(|data| widened(&of_channel(data)));
            let direction = tangent::Direction { x: &t, gamma: wide(self.of_gamma[c]), beta: wide(BETA[c]) };
            let flows = switches.gradient_through_statistics;
            let truth =
                second_order::backward_tangent(&x, wide(gamma), wide(epsilon), statistics, flows, &dy, direction);
            let batch = batchnorm::Moments::of(&of_channel(&self.x)).population_variance();
            let variance = self.running.variance()[c] * (1.0 - share(switches)) + batch * share(switches);
            let r = 1.0 / (variance + epsilon).sqrt();
            // xhat may be as large as sqrt(n), and by running statistics it is of the order of 3.
            let xhat = (x.len() as f64).sqrt().max(3.0);
            let scale = (gamma.abs() * r * largest_wide(&t) + self.of_gamma[c].abs()) * (r * largest_wide(&dy)) * xhat;
            for (got, truth) in of_channel(&moved).into_iter().zip(&truth.dx) {
                // Halves are rounded through f32.
                let through = if size_of::<T>() == 2 { ulp::<f32>(truth.to_f64().abs()) / 2.0 } else { 0.0 };
                let rounding = ulp::<T>(truth.to_f64().abs()) / 2.0 + through;
                let error = ((wide(got.to_f64()) - *truth).to_f64().abs() - rounding).max(0.0) / scale;
                worst[0] = worst[0].max(if got.to_f64().is_nan() { f64::NAN } else { error });
                assert!(!got.to_f64().is_nan(), "{switches:?}");
            }
            let terms = x.len() as f64 * r * largest_wide(&dy) * largest_wide(&t);
            let error = (wide(of.dgamma[c]) - truth.dgamma).to_f64().abs() / terms;
            assert!(error.is_finite());
            worst[1] = worst[1].max(error);
            assert_eq!(of.dbeta[c], 0.0);
        }
        worst
    }
}

#[test]
fn every_kind_of_pass_is_what_the_twin_says() {
    let mut random = Random::new(2400);
    let mut worst = [0.0f64; 2];
    for sizes in [[2, 1], [3, 1], [6, 35], [4, 1100]] {
        for mean in [0.0, 3.0, 1e4, 1e6] {
            for epsilon in [1e-12, 1e-5, 1.0] {
                let case = Case::<f64>::new(sizes, mean, 1.5, &mut random);
                for switches in passes() {
                    let errors = case.errors(switches, epsilon);
                    for (error, worst) in errors.into_iter().zip(&mut worst) {
                        assert!(error <= 1e-13, "{sizes:?}, mean {mean}, eps {epsilon}, {switches:?}: {errors:?}");
                        *worst = worst.max(error);
                    }
                }
            }
        }
    }
    println!("worst errors against the twin, dx' {:.1e}, dgamma' {:.1e}", worst[0], worst[1]);
}

#[test]
fn other_types_are_rounded_once() {
    let mut random = Random::new(2401);
    fn check<T: Element>(random: &mut Random) {
        for mean in [0.0, 100.0] {
            let case = Case::<T>::new([6, 35], mean, 1.5, random);
            for switches in passes() {
                let errors = case.errors(switches, EPSILON);
                assert!(errors.iter().all(|&error| error <= 1e-13), "{switches:?}: {errors:?}");
            }
        }
    }
    check::<f32>(&mut random);
    #[cfg(feature = "half")]
    {
        check::<half::f16>(&mut random);
        check::<half::bf16>(&mut random);
    }
}

/// Very large and very small values: r^2 is never formed. Scaled by a power of two, without eps, every bit is the same.
#[test]
fn it_keeps_its_digits_at_the_ends_of_the_range() {
    let mut random = Random::new(2402);
    let mut case = Case::<f64>::new([5, 7], 1.0, 1.5, &mut random);
    let rule = rule(Activation::Identity, 0.0);
    let hvp = |case: &Case<f64>| case.hvp(&case.forward(&rule, Switches::train()), &case.direction, &case.of_gamma);
    let (moved, of) = hvp(&case);
    let (x, t) = (case.x.clone(), case.direction.clone());
    for exponent in [-450, -300, 300, 450] {
        let scaled = |values: &[f64]| values.iter().map(|value| value * 2f64.powi(exponent)).collect();
        (case.x, case.direction) = (scaled(&x), scaled(&t));
        let (got, got_of) = hvp(&case);
        let back: Vec<f64> = got.iter().map(|value| value * 2f64.powi(exponent)).collect();
        assert_eq!((back, got_of.dgamma), (moved.clone(), of.dgamma.clone()), "times 2^{exponent}");
    }
}

fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[test]
fn the_hessian_is_symmetric() {
    let mut random = Random::new(2404);
    for mean in [0.0, 1e3] {
        let case = Case::<f64>::new([6, 35], mean, 1.5, &mut random);
        let (other, other_gamma) = (random.normals(case.x.len(), 0.1, 1.0), random.normals(3, 0.0, 1.0));
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
            // Without the statistics' gradient it is no Hessian.
            for switches in passes().into_iter().filter(|switches| switches.gradient_through_statistics) {
                let saved = case.forward(&rule(activation, EPSILON), switches);
                let (one_x, one) = case.hvp(&saved, &case.direction, &case.of_gamma);
                let (two_x, two) = case.hvp(&saved, &other, &other_gamma);
                let forth = product(&one_x, &other) + product(&one.dgamma, &other_gamma);
                let back = product(&two_x, &case.direction) + product(&two.dgamma, &case.of_gamma);
                assert!((forth - back).abs() <= 1e-12 * (1.0 + forth.abs()), "{switches:?}: {forth} {back}");
                assert!(forth.abs() > 1e-3, "{switches:?}: it says something");
            }
        }
    }
}

/// S = sum (dx^3) + sum (dgamma dbeta) as a function of x, gamma and dy: its gradients against differences.
#[test]
fn double_backward_is_the_gradient_of_a_function_of_the_gradients() {
    let mut random = Random::new(2405);
    for activation in [Activation::Identity, Activation::LeakyRelu(0.3)] {
        let case = Case::<f64>::new([4, 2], 0.5, 1.5, &mut random);
        let rule = rule(activation, EPSILON);
        let gradients = |x: &[f64], gamma: &[f64], dy: &[f64]| {
            let [mut y, mut dx] = [vec![0.0; x.len()], vec![0.0; x.len()]];
            let mut y = ViewMut::new(&mut y, &case.shape, Axes::NCHW).expect("an array of the shape");
            let parameters = Parameters { gamma: Some(gamma), beta: Some(&BETA[..]) };
            let saved = rule.train(&case.view(x), parameters, None, &mut y).expect("a right call").0;
            let mut out = ViewMut::new(&mut dx, &case.shape, Axes::NCHW).expect("an array of the shape");
            let of = saved.backward(&case.view(x), &case.view(dy), &mut out).expect("a right call");
            (dx, of, saved)
        };
        let outer = |x: &[f64], gamma: &[f64], dy: &[f64]| {
            let (dx, of, _) = gradients(x, gamma, dy);
            dx.iter().map(|dx| dx.powi(3)).sum::<f64>() + product(&of.dgamma, &of.dbeta)
        };
        let (dx, of, saved) = gradients(&case.x, &GAMMA, &case.dy);
        let of_dx: Vec<f64> = dx.iter().map(|dx| 3.0 * dx * dx).collect();
        let of_parameters = ParameterDirection { gamma: Some(&of.dbeta), beta: Some(&of.dgamma) };
        let [mut by_x, mut by_dy] = [vec![f64::NAN; dx.len()], vec![f64::NAN; dx.len()]];
        let by_gamma = saved
            .double_backward(
                &case.view(&case.x),
                &case.view(&case.dy),
                &case.view(&of_dx),
                of_parameters,
                &mut ViewMut::new(&mut by_x, &case.shape, Axes::NCHW).expect("an array of the shape"),
                &mut ViewMut::new(&mut by_dy, &case.shape, Axes::NCHW).expect("an array of the shape"),
            )
            .expect("a right call");
        let step = 1e-5;
        let slope = |of: &dyn Fn(f64) -> f64| (of(step) - of(-step)) / (2.0 * step);
        let moved = |values: &[f64], at: usize, by: f64| {
            let mut values = values.to_vec();
            values[at] += by;
            values
        };
        let close = |slope: f64, got: f64| (slope - got).abs() < 1e-7 * (1.0 + got.abs());
        for at in 0..dx.len() {
            let by = slope(&|step| outer(&moved(&case.x, at, step), &GAMMA, &case.dy));
            assert!(close(by, by_x[at]), "{activation:?} x {at}: {by} {}", by_x[at]);
            let by = slope(&|step| outer(&case.x, &GAMMA, &moved(&case.dy, at, step)));
            assert!(close(by, by_dy[at]), "{activation:?} dy {at}: {by} {}", by_dy[at]);
        }
        for (c, got) in by_gamma.into_iter().enumerate() {
            let by = slope(&|step| outer(&case.x, &moved(&GAMMA, c, step), &case.dy));
            assert!(close(by, got), "{activation:?} gamma {c}: {by} {got}");
        }
    }
}

/// Documented: with a loss of y, hvp plus backward of its Hessian times jvp. Here L = sum y^4 / 4, in double-double.
#[test]
fn with_the_loss_s_own_curvature_it_is_the_whole_hessian() {
    let mut random = Random::new(2406);
    let mut case = Case::<f64>::new([3, 3], 0.5, 1.5, &mut random);
    let switches = Switches::train();
    let rule = rule(Activation::Identity, EPSILON);
    let mut y = vec![0.0; case.x.len()];
    let mut out = ViewMut::new(&mut y, &case.shape, Axes::NCHW).expect("an array of the shape");
    let parameters = Parameters { gamma: Some(&GAMMA[..]), beta: Some(&BETA[..]) };
    let saved = rule.train(&case.view(&case.x), parameters, None, &mut out).expect("a right call").0;
    case.dy = y.iter().map(|y| y.powi(3)).collect();
    let (mut moved, of) = case.hvp(&saved, &case.direction, &case.of_gamma);
    let [mut y_t, mut through] = [vec![0.0; y.len()], vec![0.0; y.len()]];
    let along = ParameterDirection { gamma: Some(&case.of_gamma), beta: Some(&BETA) };
    let mut out = ViewMut::new(&mut y_t, &case.shape, Axes::NCHW).expect("an array of the shape");
    saved.jvp(&case.view(&case.x), &case.view(&case.direction), along, &mut out).expect("a right call");
    let dy_t: Vec<f64> = y.iter().zip(&y_t).map(|(y, y_t)| 3.0 * y * y * y_t).collect();
    let mut out = ViewMut::new(&mut through, &case.shape, Axes::NCHW).expect("an array of the shape");
    let by_curvature = saved.backward(&case.view(&case.x), &case.view(&dy_t), &mut out).expect("a right call");
    moved.iter_mut().zip(&through).for_each(|(moved, through)| *moved += through);

    for c in 0..3 {
        let [x, t] = [&case.x, &case.direction].map(|data| channel_of(data, 3, case.shape[2], c));
        let statistics = mixed::Statistics { running: [0.0, 1.0].map(wide), share: wide(share(switches)) };
        let gradient = |step: f64| {
            let along = |at: f64, by: f64| wide(at) + wide(by) * wide(step);
            let x: Vec<D> = x.iter().zip(&t).map(|(&x, &t)| along(x, t)).collect();
            let (gamma, beta) = (along(GAMMA[c], case.of_gamma[c]), along(BETA[c], BETA[c]));
            let y = mixed::forward(&x, gamma, beta, wide(EPSILON), statistics);
            let dy: Vec<D> = y.iter().map(|&y| y * y * y).collect();
            mixed::backward(&x, gamma, wide(EPSILON), statistics, true, &dy)
        };
        let step = 1e-10;
        let (high, low) = (gradient(step), gradient(-step));
        let slope = |high: D, low: D| ((high - low) / D::constant(2.0 * step)).to_f64();
        let own = channel_of(&moved, 3, case.shape[2], c);
        for (i, own) in own.into_iter().enumerate() {
            let slope = slope(high.dx[i], low.dx[i]);
            assert!((slope - own).abs() < 1e-11 * (1.0 + slope.abs()), "{c} {i}: {slope} {own}");
        }
        let own = of.dgamma[c] + by_curvature.dgamma[c];
        assert!((slope(high.dgamma, low.dgamma) - own).abs() < 1e-11 * (1.0 + own.abs()));
        assert!((slope(high.dbeta, low.dbeta) - by_curvature.dbeta[c]).abs() < 1e-11 * (1.0 + own.abs()));
    }
}

#[test]
fn a_channel_without_a_gradient_has_none_that_moves() {
    let mut random = Random::new(2407);
    let mut case = Case::<f64>::new([6, 35], 3.0, 1.5, &mut random);
    for sample in case.x.chunks_mut(3 * 35) {
        sample[35..70].fill(4.1);
    }
    let declared = case.forward(&rule(Activation::Identity, EPSILON), Switches::train());
    let (moved, of) = case.hvp(&declared, &case.direction, &case.of_gamma);
    assert!(channel_of(&moved, 3, 35, 1).iter().all(|&moved| moved == 0.0));
    assert_eq!(of.dgamma[1], 0.0);
    assert!(of.dgamma[0] != 0.0);
    // By the formula's derivative it is what the twin says.
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let derived = Config::pytorch().policies(policies).normalizer().expect("a rule");
    let saved = case.forward(&derived, Switches::train());
    let (moved, of) = case.hvp(&saved, &case.direction, &case.of_gamma);
    let dy = channel_of(&case.dy, 3, 35, 1);
    let mean = dy.iter().sum::<f64>() / dy.len() as f64;
    for (moved, dy) in channel_of(&moved, 3, 35, 1).into_iter().zip(&dy) {
        let truth = case.of_gamma[1] / EPSILON.sqrt() * (dy - mean);
        assert!((moved - truth).abs() < 1e-10, "{moved} {truth}");
    }
    assert!(of.dgamma[1].abs() > 1.0);
}

fn same_bits_everywhere<T: Element>(random: &mut Random) {
    for sizes in [
        Sizes { n: 6, c: 3, plane: 35 },
        Sizes { n: 3, c: 17, plane: 1 },
        Sizes { n: 2, c: 3, plane: 1025 },
        Sizes { n: 70, c: 9, plane: 120 },
    ] {
        let len = sizes.n * sizes.c * sizes.plane;
        let mut array = |mean: f64| -> Vec<T> { (0..len).map(|_| T::from_f64(mean + random.normal())).collect() };
        let arrays = [array(5.0), array(0.3), array(0.1)];
        let of_gamma: Vec<f64> = (0..sizes.c).map(|c| 0.3 - c as f64 / 7.0).collect();
        let mut expected: Option<Vec<u64>> = None;
        for order in ORDERS {
            for tier in Tier::available() {
                for threads in [1, 2, 3, 8] {
                    let config = Config::pytorch().activation(Activation::LeakyRelu(0.1)).tier(tier);
                    let rule = config.normalizer().expect("a rule");
                    let arrays = arrays.each_ref().map(|array| order.arranged(array, sizes));
                    let [x, dy, t] = arrays.each_ref().map(|array| order.view(array, sizes));
                    let (mut y, mut moved) = (order.blank::<T>(sizes), order.blank::<T>(sizes));
                    let parameters = Parameters::<f64>::default();
                    let of = pool(threads).install(|| {
                        let (saved, _) =
                            rule.train(&x, parameters, None, &mut order.view_mut(&mut y, sizes)).expect("a right call");
                        let direction = ParameterDirection { gamma: Some(&of_gamma), beta: None };
                        let mut out = order.view_mut(&mut moved, sizes);
                        saved.hvp(&x, &dy, &t, direction, &mut out).expect("a right call")
                    });
                    let mut got: Vec<u64> = order.back(moved, sizes).into_iter().map(bits).collect();
                    got.extend(of.dgamma.iter().map(|value| value.to_bits()));
                    let what = format!("{sizes:?} {order:?} {tier:?} {threads} threads");
                    assert!(*expected.get_or_insert_with(|| got.clone()) == got, "other bits: {what}");
                }
            }
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_threads_instructions_or_layout() {
    let mut random = Random::new(2408);
    same_bits_everywhere::<f32>(&mut random);
    same_bits_everywhere::<f64>(&mut random);
    #[cfg(feature = "half")]
    {
        same_bits_everywhere::<half::f16>(&mut random);
        same_bits_everywhere::<half::bf16>(&mut random);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let case = Case::<f64>::new([6, 35], 1.0, 1.5, &mut Random::new(2409));
    let rule = rule(Activation::Identity, EPSILON);
    let saved = case.forward(&rule, Switches::train());
    let (x, dy, t) = (case.view(&case.x), case.view(&case.dy), case.view(&case.direction));
    let other = View::new(&case.x, &[3, 6, 35], Axes::NCHW).expect("a view");
    let none = ParameterDirection::default();
    let refused = |saved: &Saved, [x, dy, t]: [&View<f64>; 3], parameters: ParameterDirection| {
        let [mut one, mut two] = [vec![7.0; case.x.len()], vec![7.0; case.x.len()]];
        let mut out = ViewMut::new(&mut one, &case.shape, Axes::NCHW).expect("an array of the shape");
        let error = saved.hvp(x, dy, t, parameters, &mut out).expect_err("it does not fit");
        let mut by_dy = ViewMut::new(&mut two, &case.shape, Axes::NCHW).expect("an array of the shape");
        saved.double_backward(x, dy, t, parameters, &mut out, &mut by_dy).expect_err("it does not fit");
        assert!(one.iter().chain(&two).all(|&value| value == 7.0), "{error}");
        error
    };
    for (arrays, name) in [([&x, &other, &t], "dy"), ([&x, &dy, &other], "direction")] {
        let error = refused(&saved, arrays, none);
        assert!(matches!(&error, CallError::Shape { argument, .. } if *argument == name), "{error}");
    }
    let short = ParameterDirection { gamma: Some(&[1.0]), ..none };
    let error = refused(&saved, [&x, &dy, &t], short);
    assert!(error.to_string().starts_with("direction of gamma: expected 3 values"), "{error}");
    let mask = Weights::mask(&[true; 6], &[6, 1, 1]).expect("a mask");
    let mut buffer = vec![0.0; case.x.len()];
    let mut y = ViewMut::new(&mut buffer, &case.shape, Axes::NCHW).expect("an array of the shape");
    let input = batchnorm::Input::weighted(&x, &mask);
    let (weighted, _) = rule.train(input, Parameters::<f64>::default(), None, &mut y).expect("a right call");
    let error = refused(&weighted, [&x, &dy, &t], none);
    assert!(matches!(error, CallError::OtherInput { forward: "with weights", .. }), "{error}");
    // The second output too is checked before anything is written.
    let [mut one, mut two] = [vec![7.0; case.x.len()], vec![7.0; 3]];
    let mut by_x = ViewMut::new(&mut one, &case.shape, Axes::NCHW).expect("an array of the shape");
    let mut by_dy = ViewMut::new(&mut two, &[1, 3], Axes::NCHW).expect("an array");
    let error = saved.double_backward(&x, &dy, &t, none, &mut by_x, &mut by_dy).expect_err("another shape");
    assert!(matches!(error, CallError::Shape { argument: "by_dy", .. }), "{error}");
    assert!(one.iter().all(|&value| value == 7.0));
}

#[test]
fn nothing_moves_of_nothing() {
    let rule = rule(Activation::Relu, EPSILON);
    let shape = [0, 3];
    let x = View::<f64>::new(&[], &shape, Axes::NCHW).expect("an empty array");
    let (mut y, mut moved) = ([0.0; 0], [0.0; 0]);
    let mut y = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an empty array");
    let (saved, _) = rule.train(&x, Parameters::<f64>::default(), None, &mut y).expect("a right call");
    let mut out = ViewMut::new(&mut moved, &shape, Axes::NCHW).expect("an empty array");
    let of = saved.hvp(&x, &x, &x, ParameterDirection::default(), &mut out).expect("a right call");
    assert_eq!(of.dgamma, [0.0; 3]);
}
