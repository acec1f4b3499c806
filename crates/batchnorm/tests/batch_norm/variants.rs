//! Weighted and renormalised passes, forward, backward and along directions: against the twin in double-double arithmetic, each
//! as the transpose of the other, and their bits.

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::measure::ulp;
use crate::support::place::bits;
use crate::support::wide::{DoubleDouble, largest_wide, wide, widened};
use crate::support::{Random, channel_of, pool};
use batchnorm::reference::renormalized::{self, Correction};
use batchnorm::reference::{compact, weighted};
use batchnorm::{
    Activation, Config, Element, Input, Normalizer, ParameterDirection, ParameterGradients, Parameters,
    Renormalization, RunningStatistics, Tier, Weights,
};

type D = DoubleDouble;
const EPSILON: f64 = 1e-5;

/// What is unlike plain batch norm.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Variant {
    Weights,
    /// By these limits of r and d.
    Renormalized([f64; 2]),
}

const VARIANTS: [Variant; 5] = [
    Variant::Weights,
    Variant::Renormalized([f64::INFINITY, f64::INFINITY]),
    Variant::Renormalized([1.2, 0.3]),
    Variant::Renormalized([3.0, 0.1]),
    Variant::Renormalized([1.0, 5.0]),
];

/// The arrays of a call, in NCHW order.
struct Case<T> {
    sizes: Sizes,
    x: Vec<T>,
    dy: Vec<T>,
    direction: Vec<T>,
    weights: Vec<T>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    /// Directions of gamma and beta.
    moving: [Vec<f64>; 2],
    running: RunningStatistics,
}

/// What a call gives, in NCHW order.
#[derive(Debug, Clone)]
struct Outcome<T> {
    y: Vec<T>,
    dx: Vec<T>,
    moved: Vec<T>,
    curved: Vec<T>,
    of: ParameterGradients,
    curved_of: ParameterGradients,
}

impl<T: Element> Outcome<T> {
    fn bits(&self) -> Vec<u64> {
        let arrays = [&self.y, &self.dx, &self.moved, &self.curved].into_iter().flatten().map(|&value| bits(value));
        let parameters = [&self.of.dgamma, &self.of.dbeta, &self.curved_of.dgamma, &self.curved_of.dbeta];
        arrays.chain(parameters.into_iter().flatten().map(|&value| bits(value))).collect()
    }
}

impl<T: Element> Case<T> {
    fn new(sizes: Sizes, mean: f64, random: &mut Random) -> Case<T> {
        let len = sizes.n * sizes.c * sizes.plane;
        let narrow = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
        let x = narrow(random.normals(len, mean, 1.5));
        let [dy, direction] = [0.2, 0.3].map(|mean| narrow(random.normals(len, mean, 1.0)));
        // Exact in every number type; at least two values of each channel count.
        let weight = |at: usize, number: usize| match at % (sizes.c * sizes.plane) / sizes.plane + at / 3 {
            _ if at / (sizes.c * sizes.plane) == 0 || at / (sizes.c * sizes.plane) + 1 == sizes.n => 1.5,
            other if other % 3 == 0 => 0.0,
            _ => (1 + number) as f64 / 8.0,
        };
        let weights = narrow((0..len).map(|at| weight(at, random.below(24))).collect());
        let gamma = (0..sizes.c).map(|c| 0.7 - c as f64 * 0.3).collect();
        let beta = (0..sizes.c).map(|c| 0.1 * (c % 13) as f64 - 0.35).collect();
        let running_mean: Vec<f64> = (0..sizes.c).map(|c| mean + [0.05, -0.9, 0.3, 8.0][c % 4]).collect();
        let running_variance: Vec<f64> = (0..sizes.c).map(|c| [2.3, 0.2, 30.0, 1.0][c % 4]).collect();
        let running = RunningStatistics::from_parts(&running_mean, &running_variance, 7).expect("statistics");
        let moving = [(); 2].map(|()| random.normals(sizes.c, 0.0, 1.0));
        Case { sizes, x, dy, direction, weights, gamma, beta, moving, running }
    }

    fn rule(&self, variant: Variant, activation: Activation, tier: Tier) -> Normalizer {
        let config = Config::pytorch().epsilon(EPSILON).activation(activation).tier(tier);
        let config = match variant {
            Variant::Weights => config,
            Variant::Renormalized([r_max, d_max]) => {
                config.renormalization(Renormalization::new(r_max, d_max).expect("right limits"))
            }
        };
        config.normalizer().expect("a rule")
    }

    /// Everything, on arrays that lie in an order.
    fn step(&self, variant: Variant, rule: &Normalizer, order: Order) -> Outcome<T> {
        let sizes = self.sizes;
        let [x, dy, t] = [&self.x, &self.dy, &self.direction].map(|data| order.arranged(data, sizes));
        let [x, dy, t] = [&x, &dy, &t].map(|data| order.view(data, sizes));
        let (values, shape) = order.named(&self.weights, [sizes.n, sizes.c, sizes.plane]);
        let weights = Weights::new(&values, &shape).expect("right weights");
        let input = if variant == Variant::Weights { Input::weighted(&x, &weights) } else { Input::from(&x) };
        let [mut y, mut dx, mut moved, mut curved] = [(); 4].map(|()| order.blank::<T>(sizes));
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let direction = ParameterDirection { gamma: Some(&self.moving[0]), beta: Some(&self.moving[1]) };
        let out = &mut order.view_mut(&mut y, sizes);
        let (saved, _) = rule.train(input, parameters, Some(&self.running), out).expect("a right call");
        let of = saved.backward(input, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right call");
        let alone = saved.parameter_gradients(input, &dy).expect("a right call");
        assert_eq!(alone, of, "dx asked for or not");
        saved.jvp(input, &t, direction, &mut order.view_mut(&mut moved, sizes)).expect("a right call");
        let out = &mut order.view_mut(&mut curved, sizes);
        let curved_of = saved.hvp(input, &dy, &t, direction, out).expect("a right call");
        let [y, dx, moved, curved] = [y, dx, moved, curved].map(|data| order.back(data, sizes));
        Outcome { y, dx, moved, curved, of, curved_of }
    }

    fn of_channel(&self, data: &[T], c: usize) -> Vec<D> {
        widened(&channel_of(data, self.sizes.c, self.sizes.plane, c))
    }
}

/// The twin of one channel.
struct Twin<'c> {
    weights: Option<Vec<f64>>,
    correction: Option<Correction<D>>,
    case: &'c [Vec<D>; 3],
}

impl Twin<'_> {
    fn new<'c, T: Element>(of: &Case<T>, variant: Variant, c: usize, case: &'c [Vec<D>; 3]) -> Twin<'c> {
        let running = [of.running.mean()[c], of.running.variance()[c]].map(wide);
        match variant {
            Variant::Weights => {
                let weights = of.of_channel(&of.weights, c).iter().map(|weight| weight.to_f64()).collect();
                Twin { weights: Some(weights), correction: None, case }
            }
            Variant::Renormalized(limits) => {
                let correction = Correction::of(&case[0], wide(EPSILON), running, limits);
                Twin { weights: None, correction: Some(correction), case }
            }
        }
    }

    fn z(&self, x: &[D], gamma: D, beta: D) -> Vec<D> {
        match (&self.weights, self.correction) {
            (Some(weights), _) => weighted::forward(x, weights, gamma, beta, wide(EPSILON)).y,
            (_, Some(correction)) => renormalized::forward(x, gamma, beta, wide(EPSILON), correction),
            _ => unreachable!("one of the two"),
        }
    }

    fn gradients(&self, x: &[D], gamma: D, dz: &[D]) -> compact::Gradients<D> {
        match (&self.weights, self.correction) {
            (Some(weights), _) => weighted::backward(x, weights, gamma, wide(EPSILON), dz),
            (_, Some(correction)) => renormalized::backward(x, gamma, wide(EPSILON), correction, dz),
            _ => unreachable!("one of the two"),
        }
    }

    /// Values along x' and the parameters' directions, r and d held: the derivative by differences, which in double-double
    /// arithmetic have twenty digits.
    fn along(&self, [gamma, gamma_t]: [f64; 2], of: impl Fn(&[D], D, D) -> Vec<D>) -> Vec<D> {
        let [x, _, t] = self.case;
        let step = 1e-10;
        let at = |sign: f64| {
            let by = wide(sign * step);
            let x: Vec<D> = x.iter().zip(t).map(|(&x, &t)| x + t * by).collect();
            of(&x, wide(gamma) + wide(gamma_t) * by, by)
        };
        at(1.0).into_iter().zip(at(-1.0)).map(|(high, low)| (high - low) / wide(2.0 * step)).collect()
    }
}

/// Worst errors of each channel, in units of what the terms are at most; those of arrays less half a unit in the last place.
fn errors<T: Element>(case: &Case<T>, variant: Variant, activation: Activation) -> [f64; 6] {
    let got = case.step(variant, &case.rule(variant, activation, Tier::best()), Order::Nchw);
    let slope = wide(activation.slope());
    let mut worst = [0.0f64; 6];
    for c in 0..case.sizes.c {
        let arrays = [&case.x, &case.dy, &case.direction].map(|data| case.of_channel(data, c));
        let twin = Twin::new(case, variant, c, &arrays);
        let [x, dy, t] = &arrays;
        let (gamma, beta, gamma_t, beta_t) = (case.gamma[c], case.beta[c], case.moving[0][c], case.moving[1][c]);
        let z = twin.z(x, wide(gamma), wide(beta));
        let through: Vec<D> = z.iter().map(|z| if z.to_f64() > 0.0 { wide(1.0) } else { slope }).collect();
        let dz: Vec<D> = dy.iter().zip(&through).map(|(&dy, &f)| dy * f).collect();
        let first = twin.gradients(x, wide(gamma), &dz);
        let moving = [gamma, gamma_t];
        let z_t = twin.along(moving, |x, gamma, by| twin.z(x, gamma, wide(beta) + wide(beta_t) * by));
        let gradient = |of: &dyn Fn(compact::Gradients<D>) -> Vec<D>| {
            twin.along(moving, |x, gamma, _| of(twin.gradients(x, gamma, &dz)))
        };
        let (dx_t, dgamma_t) = (gradient(&|of| of.dx), gradient(&|of| vec![of.dgamma]));
        let plain = compact::forward(x, wide(1.0), wide(0.0), wide(EPSILON));
        let (r, d) = twin.correction.map_or((1.0, 0.0), |of| (of.r.to_f64(), of.d.to_f64().abs()));
        let deviation = match &twin.weights {
            None => 1.0 / plain.inverse_deviation.to_f64(),
            Some(weights) => {
                let of = weighted::forward(x, weights, wide(1.0), wide(0.0), wide(EPSILON));
                1.0 / of.inverse_deviation.to_f64()
            }
        };
        let ratio = 1.0 + plain.mean.to_f64().abs() / deviation;
        let farthest = (x.len() as f64).sqrt() * 2.0;
        let (s, largest_dy, largest_t) = (r / deviation, largest_wide(dy), largest_wide(t));
        let scales = [
            gamma.abs() * (r * farthest + d) + beta.abs(),
            gamma.abs() * s * largest_dy * farthest,
            (gamma.abs() * s * largest_t + gamma_t.abs()) * (farthest + d) + beta_t.abs(),
            (gamma.abs() * largest_t / deviation + gamma_t.abs()) * s * largest_dy * farthest,
        ];
        let truths = [z.iter().zip(&through).map(|(&z, &f)| z * f).collect(), first.dx, z_t, dx_t];
        let masked = |i: usize| twin.weights.as_ref().is_some_and(|weights| weights[i] == 0.0);
        for (kind, (data, truth)) in [&got.y, &got.dx, &got.moved, &got.curved].into_iter().zip(truths).enumerate() {
            for (i, (got, truth)) in case.of_channel(data, c).into_iter().zip(truth).enumerate() {
                let truth = match kind {
                    _ if masked(i) => wide(0.0),
                    2 => truth * through[i],
                    _ => truth,
                };
                let rounding = 0.5001 * ulp::<T>(truth.to_f64().abs());
                let error = ((got - truth).to_f64().abs() - rounding).max(0.0) / scales[kind] / ratio;
                worst[kind] = if error.is_nan() { f64::NAN } else { worst[kind].max(error) };
            }
        }
        let terms = x.len() as f64 * largest_dy;
        let of_gamma = (wide(got.of.dgamma[c]) - first.dgamma).to_f64().abs() / (terms * (r * farthest + d)) / ratio;
        let along = (wide(got.curved_of.dgamma[c]) - dgamma_t[0]).to_f64().abs() / (terms * s * largest_t) / ratio;
        worst[4] = worst[4].max(of_gamma).max((wide(got.of.dbeta[c]) - first.dbeta).to_f64().abs() / terms);
        worst[5] = worst[5].max(along);
        assert!(of_gamma.is_finite() && along.is_finite() && got.curved_of.dbeta[c] == 0.0);
    }
    worst
}

fn within<T: Element>(means: &[f64], bound: f64, random: &mut Random) {
    let mut worst = [0.0f64; 6];
    for &mean in means {
        for [n, plane] in [[2, 1], [5, 3], [6, 35], [4, 1100]] {
            let case = Case::<T>::new(Sizes { n, c: 5, plane }, mean, random);
            for variant in VARIANTS {
                for activation in [Activation::Identity, Activation::LeakyRelu(0.25)] {
                    let errors = errors(&case, variant, activation);
                    for (worst, error) in worst.iter_mut().zip(errors) {
                        assert!(error <= bound, "{n}x5x{plane}, mean {mean}, {variant:?} {activation:?}: {errors:?}");
                        *worst = worst.max(error);
                    }
                }
            }
        }
    }
    println!("y, dx, y', dx', parameters, theirs: {}", worst.map(|worst| format!("{worst:.1e}")).join(", "));
}

#[test]
fn f64_is_what_the_twin_says() {
    within::<f64>(&[0.0, 3.0, 1e4, 1e6], 1e-13, &mut Random::new(3100));
}

#[test]
fn narrower_types_are_rounded_once() {
    within::<f32>(&[0.0, 100.0, 1e4], 1e-13, &mut Random::new(3101));
}

fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// <u, J v> against <J^T u, v>, and <u, H v> against <H u, v>.
#[test]
fn forwards_and_backwards_are_each_other_s_transpose() {
    let mut random = Random::new(3102);
    for mean in [0.0, 1e4] {
        let case = Case::<f64>::new(Sizes { n: 6, c: 5, plane: 35 }, mean, &mut random);
        let other = Case {
            x: case.x.clone(),
            dy: case.dy.clone(),
            direction: random.normals(case.x.len(), 0.1, 1.0),
            weights: case.weights.clone(),
            gamma: case.gamma.clone(),
            beta: case.beta.clone(),
            moving: [(); 2].map(|()| random.normals(5, 0.0, 1.0)),
            running: case.running.clone(),
            ..case
        };
        for variant in VARIANTS {
            for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
                let rule = case.rule(variant, activation, Tier::best());
                let [one, two] = [&case, &other].map(|case| case.step(variant, &rule, Order::Nchw));
                let forth = product(&case.dy, &one.moved);
                let [gamma_t, beta_t] = &case.moving;
                let back = product(&one.dx, &case.direction)
                    + product(&one.of.dgamma, gamma_t)
                    + product(&one.of.dbeta, beta_t);
                let scale: f64 = case.dy.iter().zip(&one.moved).map(|(dy, moved)| (dy * moved).abs()).sum();
                assert!((forth - back).abs() <= 1e-12 * scale, "{variant:?} {activation:?}: {forth} {back}");
                let forth = product(&one.curved, &other.direction) + product(&one.curved_of.dgamma, &other.moving[0]);
                let back = product(&two.curved, &case.direction) + product(&two.curved_of.dgamma, gamma_t);
                assert!((forth - back).abs() <= 1e-12 * scale, "{variant:?} {activation:?}: {forth} {back}");
            }
        }
    }
}

#[test]
fn the_bits_are_the_same_everywhere() {
    let mut random = Random::new(3103);
    fn check<T: Element>(random: &mut Random) {
        for [n, c, plane] in [[6, 3, 35], [3, 17, 1], [2, 3, 1025], [40, 9, 49], [70, 5, 120]] {
            let case = Case::<T>::new(Sizes { n, c, plane }, 5.0, random);
            for variant in VARIANTS {
                let mut expected = None;
                for tier in Tier::available() {
                    for order in ORDERS {
                        for threads in [1, 3, 16] {
                            let rule = case.rule(variant, Activation::LeakyRelu(0.25), tier);
                            let got = pool(threads).install(|| case.step(variant, &rule, order)).bits();
                            let first = expected.get_or_insert_with(|| got.clone());
                            assert!(*first == got, "{n}x{c}x{plane} {variant:?} {tier:?} {order:?} {threads} threads");
                        }
                    }
                }
            }
        }
    }
    check::<f32>(&mut random);
    check::<f64>(&mut random);
}
