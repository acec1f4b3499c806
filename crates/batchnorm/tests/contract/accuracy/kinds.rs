//! Data that are not N(mean, 1), a channel of one kind at a time: training, evaluation by the batch's own statistics, behind a
//! rectifier, and dy on one element. Each kind prints the figures it measured, and each test the worst of them.

use crate::plain_sums::{Fill, KINDS};
use crate::support::Random;
use crate::support::layout::{Order, Sizes, sizes};
use crate::support::measure::{Channel, Worst, ulp};
use crate::support::training::{errors, rule, rule_of, train};
use crate::support::wide::{DoubleDouble as D, largest, widened};
use batchnorm::reference::{Real, compact};
use batchnorm::{Activation, Axes, Config, Element, Moments, Parameters, RunningStatistics, View, ViewMut};

/// More of them: values that are the mean, and means about 4 deviations, where plain sums end.
const MORE: [(&str, Fill); 6] = [
    ("whole numbers, some the mean", |i, n, _| {
        let distance = (i / 2 * 7 % 6) as f64;
        if i + 1 == n && n % 2 == 1 { 5.0 } else { 5.0 + if i % 2 == 0 { distance } else { -distance } }
    }),
    ("pixels, some the mean", |i, n, _| {
        let distance = (i / 2 * 37 % 128) as f64;
        if i + 1 == n && n % 2 == 1 { 128.0 } else { 128.0 + if i % 2 == 0 { distance } else { -distance } }
    }),
    ("mean of 3.99 deviations", |_, _, random| 3.99 + random.normal()),
    ("mean of -4.01 deviations", |_, _, random| -4.01 + random.normal()),
    ("mean of 4 deviations to the bit", |i, _, _| if i % 2 == 0 { 3.0 } else { 5.0 }),
    ("mean of 4.3 deviations", |_, _, random| 4.3 + random.normal()),
];

/// The contract's 32 samples of 56x56, a few of 7x7, and features.
const SIZES: [Sizes; 3] = [sizes(32, 1, 56 * 56), sizes(6, 1, 49), sizes(200, 1, 1)];

const GAMMA: f64 = 1.7;

/// The arrays of a channel. dy is of a size that leaves the gradients in the range of f32: those of subnormal values are
/// beyond it else, and those of 3e38 subnormal.
struct Data<T> {
    sizes: Sizes,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Data<T> {
    fn of(kind: (&str, Fill), sizes: Sizes, random: &mut Random) -> Data<T> {
        let count = sizes.n * sizes.plane;
        let size = match kind.0 {
            "denormals" => 1e-20,
            "3e38 and -3e38" | "3e38 less a little" => 1e10,
            _ => 1.0,
        };
        let x = (0..count).map(|i| T::from_f64(f64::from(kind.1(i, count, random) as f32))).collect();
        let dy = random.normals(count, 0.1, 1.0).into_iter().map(|dy| T::from_f64(size * dy)).collect();
        Data { sizes, x, dy }
    }

    /// With dy on one element.
    fn with_one(mut self) -> Data<T> {
        let one = self.dy.len() / 3;
        for (i, dy) in self.dy.iter_mut().enumerate() {
            *dy = if i == one { *dy } else { T::from_f64(0.0) };
        }
        self
    }

    fn shape(&self) -> [usize; 3] {
        [self.sizes.n, 1, self.sizes.plane]
    }

    /// Errors of a training step.
    fn trained(&self, beta: f64, epsilon: f64) -> Worst {
        errors(Order::Nchw, self.sizes, &self.x, &self.dy, &[GAMMA], &[beta], epsilon)
    }

    /// Errors of evaluation and its backward pass by the batch's mean and variance, as f64 has them.
    fn evaluated(&self, beta: f64, epsilon: f64) -> Worst {
        let values: Vec<f64> = self.x.iter().map(|x| x.to_f64()).collect();
        let moments = Moments::of(&values);
        let (mean, variance) = (moments.mean(), moments.population_variance());
        let running = RunningStatistics::from_parts(&[mean], &[variance], 1).expect("right statistics");
        let shape = self.shape();
        let view = |data| View::new(data, &shape, Axes::NCHW).expect("a view");
        let (mut y, mut dx) = (self.x.clone(), self.x.clone());
        let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("a view");
        let parameters = Parameters { gamma: Some(&[GAMMA][..]), beta: Some(&[beta][..]) };
        let saved = rule(epsilon).eval(&view(&self.x), parameters, Some(&running), &mut out).expect("a right call");
        let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("a view");
        let got = saved.backward(&view(&self.x), &view(&self.dy), &mut out).expect("a right call");

        let (x, dy) = (widened(&self.x), widened(&self.dy));
        let [g, b, m, v, e] = [GAMMA, beta, mean, variance, epsilon].map(D::from);
        let (truth, gradients) =
            (compact::forward_eval(&x, g, b, m, v, e), compact::backward_eval(&x, g, m, v, e, &dy));
        let inverse = (D::from(1.0) / (v + e).sqrt()).to_f64();
        let distance = |got: f64, truth: D| (D::from(got) - truth).to_f64().abs();
        let relative = |error: f64, scale: f64| if error == 0.0 { 0.0 } else { error / scale };
        let products: f64 = x.iter().zip(&dy).map(|(&x, &dy)| ((x - m) * dy).to_f64().abs() * inverse).sum();
        let sums: f64 = dy.iter().map(|dy| dy.to_f64().abs()).sum();
        let mut worst = Worst {
            dgamma: relative(distance(got.dgamma[0], gradients.dgamma), products),
            dbeta: relative(distance(got.dbeta[0], gradients.dbeta), sums),
            ..Worst::default()
        };
        let dx_scale = GAMMA * inverse * largest(dy.iter().map(|dy| dy.to_f64()));
        for i in 0..x.len() {
            let (scale, error) = (truth[i].to_f64().abs().max(beta.abs()), distance(y[i].to_f64(), truth[i]));
            let dx = relative(distance(dx[i].to_f64(), gradients.dx[i]), dx_scale);
            worst.join(Worst { y_ulps: error / ulp::<T>(scale), y: relative(error, scale), dx, ..Worst::default() });
        }
        worst
    }

    /// Errors behind a rectifier: y is the plain layer's, or 0; the gradients are those of the dy that it lets through by the
    /// sign of the true z, 0 where x is the mean and beta 0.
    fn rectified(&self, beta: f64, epsilon: f64) -> Worst {
        let rule_with_relu = rule_of(Config::pytorch().activation(Activation::Relu), epsilon);
        let plain = train(&rule(epsilon), Order::Nchw, self.sizes, &self.x, &self.dy, &[GAMMA], &[beta]);
        let got = train(&rule_with_relu, Order::Nchw, self.sizes, &self.x, &self.dy, &[GAMMA], &[beta]);
        let z = compact::forward(&widened(&self.x), GAMMA.into(), beta.into(), epsilon.into()).y;
        // Double-double divisions may leave 1e-32 of a mean that is one of the values.
        let smallest = 1e-28 * largest(z.iter().map(|z| z.to_f64()));
        let open = |i: usize| z[i].to_f64() > smallest;
        let mut gated = self.dy.clone();
        for (i, dy) in gated.iter_mut().enumerate() {
            let expected = if open(i) {
                plain.y[i].to_f64()
            } else {
                *dy = T::from_f64(0.0);
                0.0
            };
            assert_eq!(got.y[i].to_f64(), expected, "y at {i}, z {:e}", z[i].to_f64());
        }
        let channel = Channel {
            x: &self.x,
            dy: &gated,
            gamma: GAMMA,
            beta,
            epsilon,
            moments: got.moments[0],
            y: &plain.y,
            dx: &got.dx,
            dgamma: got.dgamma[0],
            dbeta: got.dbeta[0],
        };
        channel.errors()
    }
}

/// Every kind in every size by a measuring, eps 1e-5 and 0: a line each, and the worst of all.
fn measured<T: Element>(what: &str, seed: u64, betas: &[f64], of: impl Fn(Data<T>, f64, f64) -> Worst, most: Worst) {
    let mut random = Random::new(seed);
    let mut of_all = Worst::default();
    for kind in KINDS.into_iter().chain(MORE) {
        let mut of_kind = Worst::default();
        for sizes in SIZES {
            for epsilon in [1e-5, 0.0] {
                for &beta in betas {
                    of_kind.join(of(Data::of(kind, sizes, &mut random), beta, epsilon));
                }
            }
        }
        println!("{what}, {}: {of_kind}", kind.0);
        for (name, got, most) in [
            ("mean", of_kind.mean, most.mean),
            ("variance", of_kind.variance, most.variance),
            ("y in ulp", of_kind.y_ulps, most.y_ulps),
            ("y", of_kind.y, most.y),
            ("dx", of_kind.dx, most.dx),
            ("dgamma", of_kind.dgamma, most.dgamma),
            ("dbeta", of_kind.dbeta, most.dbeta),
        ] {
            assert!(got <= most, "{what}, {}: {name} {got:e}, expected at most {most:e}", kind.0);
        }
        of_all.join(of_kind);
    }
    println!("{what}, worst of {} kinds: {of_all}", KINDS.len() + MORE.len());
}

/// What is promised of f32, as in `plain_sums`.
const SINGLE: Worst =
    Worst { mean: 1e-7, variance: 1e-12, y_ulps: 0.501, y: f64::INFINITY, dx: 1e-6, dgamma: 1e-6, dbeta: 1e-12 };

#[test]
fn training_in_f32() {
    measured::<f32>("kinds, f32 training", 41, &[0.0, 0.3], |data, beta, eps| data.trained(beta, eps), SINGLE);
}

#[test]
fn evaluation_in_f32() {
    measured::<f32>("kinds, f32 evaluation", 42, &[0.0, 0.3], |data, beta, eps| data.evaluated(beta, eps), SINGLE);
}

#[test]
fn behind_a_rectifier_in_f32() {
    measured::<f32>("kinds, f32 with ReLU", 43, &[0.0, 0.3], |data, beta, eps| data.rectified(beta, eps), SINGLE);
}

#[test]
fn dy_on_one_element_in_f32() {
    let of = |data: Data<f32>, beta, epsilon| data.with_one().trained(beta, epsilon);
    measured("kinds, f32 dy on one element", 44, &[0.0], of, SINGLE);
}

#[test]
fn training_in_f64() {
    // The mean is judged as the one f64 that is handed out, whose last place is 1e-16 mean/std deviations.
    let most = 1e-13;
    let wide =
        Worst { mean: 1e-6, variance: most, y_ulps: f64::INFINITY, y: most, dx: most, dgamma: most, dbeta: most };
    measured::<f64>("kinds, f64 training", 45, &[0.3], |data, beta, eps| data.trained(beta, eps), wide);
}
