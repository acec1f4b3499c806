//! (39) to (41) and (49) to (60): running statistics, the other norms, numerics, the gradient from the output.

use super::first_order::dx;
use super::{Case, Equation, column, gradient_of, largest, mean, mean_of, sum_of, wide};
use crate::support::Random;
use crate::support::wide::DoubleDouble;
use batchnorm::reference::number::Dual;
use batchnorm::reference::{Real, rows, weighted, whitening};
use batchnorm::{
    Axes, Config, Decorrelated, Estimator, Input, Moments, RunningStatistics, SampleConfig, UpdateWeight, View,
    Weights, WhiteningConfig,
};

pub const EQUATIONS: &[Equation] = &[
    ("(39) s^2 = 1/(n - 1) sum_i (x_i - m)^2 = n/(n - 1) v", |case, check| {
        let sum = case.c.iter().map(|c| c * c).sum::<f64>() / (case.count() - 1.0);
        let factor = case.count() / (case.count() - 1.0);
        let truth = Moments::of(&case.x).sample_variance().expect("two values");
        check.all_equal(&[sum, factor * case.v], [truth, truth], truth * case.condition());
    }),
    ("(40) R_k = (1 - alpha) R_(k-1) + alpha S_k", |case, check| {
        let mut random = Random::new(case.seed);
        let (alpha, batches) = (random.uniform(), [case.x.clone(), random.normals(case.n, 1.0, 2.0)]);
        let mut stated = [0.3, 1.7];
        for batch in &batches {
            let sample = sum_of(&centered(batch), &centered(batch)) / (case.count() - 1.0);
            stated = [(stated[0], mean(batch)), (stated[1], sample)].map(|(r, s)| (1.0 - alpha) * r + alpha * s);
        }
        let kept = averaged([0.3, 1.7], alpha, batches.iter().map(|batch| &batch[..]));
        check.all_equal(&stated, kept, largest(stated) * case.condition());
    }),
    ("(41) R_k - S = (1 - alpha)^k (R_0 - S)", |case, check| {
        let mut random = Random::new(case.seed);
        let (alpha, steps) = (random.uniform() / 2.0, 1 + random.below(20));
        let batch = [case.m, Estimator::Sample.variance(&Moments::of(&case.x))];
        let start = [case.m - 2.0, batch[1] + 3.0];
        let kept = averaged(start, alpha, std::iter::repeat_n(&case.x[..], steps));
        let stated = [0, 1].map(|at| batch[at] + (1.0 - alpha).powi(steps as i32) * (start[at] - batch[at]));
        check.all_equal(&stated, kept, largest(start) * case.condition());
    }),
    ("(49) dx_i = r (g_i - mean(g) - xhat_i mean(g xhat)), g_i = gamma_i dy_i", |case, check| {
        let gamma = parameters(case);
        let g = case.list(|i| gamma[i] * case.dy[i]);
        let (d, q) = (mean(&g), mean_of(&g, &case.xhat));
        let stated = case.list(|i| case.r * (g[i] - d - case.xhat[i] * q));
        let scale = case.r * largest(&g) * case.condition();
        check.all_equal(
            &stated,
            of_row(case, &gamma, |x, epsilon| rows::forward(x, &one(x), &zero(x), epsilon).normalized),
            scale,
        );
        check.all_equal(&stated, of_norm(case, &gamma, SampleConfig::layer(1)), scale);
    }),
    ("(50) dx_i = r (g_i - xhat_i mean(g xhat)), xhat_i = r x_i, r = 1 / sqrt(mean(x^2) + eps)", |case, check| {
        let gamma = parameters(case);
        let r = 1.0 / (mean_of(&case.x, &case.x) + case.epsilon).sqrt();
        let xhat = case.list(|i| r * case.x[i]);
        let g = case.list(|i| gamma[i] * case.dy[i]);
        let q = mean_of(&g, &xhat);
        let stated = case.list(|i| r * (g[i] - xhat[i] * q));
        let scale = r * largest(&g) * (1.0 + largest(&xhat));
        check.all_equal(
            &stated,
            of_row(case, &gamma, |x, epsilon| rows::rms_forward(x, &one(x), &zero(x), epsilon).normalized),
            scale,
        );
        check.all_equal(&stated, of_norm(case, &gamma, SampleConfig::rms(1)), scale);
    }),
    ("(51) m = 1/W sum_i w_i x_i, v = 1/W sum_i w_i (x_i - m)^2, W = sum_i w_i", |case, check| {
        // Whole weights: as if each value were there so many times.
        let weights: Vec<f64> = weights(case).iter().map(|w| (w * 3.0).ceil()).collect();
        let Weighted { m, v, .. } = Weighted::new(case, &weights);
        let repeated: Vec<f64> =
            case.x.iter().zip(&weights).flat_map(|(&x, &w)| std::iter::repeat_n(x, w as usize)).collect();
        let moments = Moments::of(&repeated);
        check.equal(m, moments.mean(), largest(&case.x));
        check.equal(v, moments.population_variance(), v.max(case.v) * case.condition());
    }),
    ("(52) dx_l = gamma r (dy_l - w_l/W sum_i dy_i - xhat_l w_l/W sum_i dy_i xhat_i)", |case, check| {
        let weights = weights(case);
        let Weighted { r, xhat, total, .. } = Weighted::new(case, &weights);
        let counts = |i: usize| f64::from(u8::from(weights[i] > 0.0));
        let (sum, products) = (
            (0..case.n).map(|i| counts(i) * case.dy[i]).sum::<f64>(),
            (0..case.n).map(|i| counts(i) * case.dy[i] * xhat[i]).sum::<f64>(),
        );
        let stated = case.list(|l| {
            let share = weights[l] / total;
            counts(l) * case.gamma * r * (case.dy[l] - share * sum - xhat[l] * share * products)
        });
        let truth = gradient_of(&case.x, &case.dy, |x| {
            let number = |value| Dual::constant(value);
            weighted::forward(x, &weights, number(case.gamma), number(case.beta), number(case.epsilon)).y
        });
        let scale = case.gamma.abs() * r * largest(&case.dy) * (1.0 + largest(&case.x) * r) * (1.0 + largest(&xhat));
        check.all_equal(&stated, truth, scale);
        check.all_equal(&stated, weighted_kernel(case, &weights), scale);
    }),
    ("(53) xhat_i = (C + eps I)^(-1/2) (x_i - m), C = 1/n sum_i (x_i - m)(x_i - m)^T", |case, check| {
        let pair = Pair::new(case);
        let scale = pair.condition() * largest(pair.xhat.concat());
        let channels =
            [0, 1].map(|at| &pair.x[at]).map(|row| row.iter().map(|&x| wide(x)).collect::<Vec<DoubleDouble>>());
        let truth = whitening::forward(&channels, &[wide(1.0); 2], &[wide(0.0); 2], wide(case.epsilon)).normalized;
        pair.xhat.iter().zip(truth).for_each(|(stated, truth)| check.all_equal(stated, truth, scale));
        let kernel = pair.kernel(case.epsilon);
        pair.xhat.iter().zip(kernel).for_each(|(stated, kernel)| check.all_equal(stated, kernel, scale));
    }),
    ("(54) covariance(xhat) = I - eps (C + eps I)^(-1)", |case, check| {
        let pair = Pair::new(case);
        let [[a, b], [_, d]] = pair.covariance;
        let (a, d) = (a + case.epsilon, d + case.epsilon);
        let determinant = a * d - b * b;
        // (C + eps I)^(-1) is this over the determinant.
        let inverse = [d, -b, a].map(|entry| entry / determinant);
        let stated = [1.0 - case.epsilon * inverse[0], -case.epsilon * inverse[1], 1.0 - case.epsilon * inverse[2]];
        let [one, two] = pair.kernel(case.epsilon);
        let covariance = [mean_of(&one, &one), mean_of(&one, &two), mean_of(&two, &two)];
        check.all_equal(&stated, covariance, pair.condition());
    }),
    ("(55) v = mean(x^2) - m^2 +- 2 u (1 + m^2 / v) v", |case, check| {
        // Both terms exactly, then rounded to f32: u = 2^-24.
        let mut random = Random::new(case.seed);
        let center = 1e4 * random.normal();
        let x = random.normals(case.n, center, 1.0);
        let widened: Vec<DoubleDouble> = x.iter().map(|&x| wide(x)).collect();
        let average = |term: &dyn Fn(DoubleDouble) -> DoubleDouble| {
            widened.iter().fold(wide(0.0), |sum, &x| sum + term(x)) / wide(case.count())
        };
        let (m, square) = (average(&|x| x), average(&|x| x * x));
        let v = average(&|x| (x - m) * (x - m)).to_f64();
        check.equal((square - m * m).to_f64(), v, v.max(1e-20));
        let rounded = f64::from(square.to_f64() as f32) - f64::from((m * m).to_f64() as f32);
        let bound = 2.0 * 2f64.powi(-24) * (1.0 + (m * m).to_f64() / v) * v;
        check.at_most((rounded - v).abs(), bound);
    }),
    ("(56) M = M_1 + M_2 + n_1 n_2 / (n_1 + n_2) (m_1 - m_2)^2, v = M / (n_1 + n_2)", |case, check| {
        let other = Random::new(case.seed).normals(case.n + 3, -1.0, 2.0);
        let of = |values: &[f64]| {
            let c = centered(values);
            (values.len() as f64, mean(values), sum_of(&c, &c))
        };
        let ((n_1, m_1, first), (n_2, m_2, second)) = (of(&case.x), of(&other));
        let stated = first + second + n_1 * n_2 / (n_1 + n_2) * (m_1 - m_2).powi(2);
        let whole = [&case.x[..], &other].concat();
        let merged = Moments::of(&case.x).merge(Moments::of(&other));
        check.all_equal(&[stated; 2], [Moments::of(&whole).m2(), merged.m2()], stated * case.condition());
        check.equal(stated / (n_1 + n_2), Moments::of(&whole).population_variance(), stated * case.condition());
    }),
    ("(57) xhat_i = (z_i - beta) / gamma, z_i = f^-1(y_i)", |case, check| {
        let z = case.list(|i| undone(leaky(case.y[i])));
        let stated = case.list(|i| (z[i] - case.beta) / case.gamma);
        check.all_equal(&stated, case.xhat.iter().copied(), from_output_scale(case));
    }),
    ("(58) dx_l = gamma r (dz_l - mean(dz) - xhat_l mean(dz xhat)), dz_i = dy_i f'(z_i)", |case, check| {
        let y = case.list(|i| leaky(case.y[i]));
        let xhat = case.list(|i| (undone(y[i]) - case.beta) / case.gamma);
        let dz = case.list(|i| case.dy[i] * slope(y[i]));
        let (d, q) = (mean(&dz), mean_of(&dz, &xhat));
        let stated = case.list(|l| case.gamma * case.r * (dz[l] - d - xhat[l] * q));
        // From x: the gradient behind the activation.
        let truth = dx(&Case { dy: dz.clone(), ..case.clone() });
        check.all_equal(&stated, truth, case.dx_scale() * from_output_scale(case));
    }),
    (
        "(59) |difference of xhat_i| <= e_i = c (eps (|beta| + |z_i|) + tiny max(1, 1/slope)) / |gamma|",
        |case, check| {
            let Stored { z, xhat, bounds, .. } = Stored::new(case);
            assert_eq!(z.len(), case.n);
            (0..case.n).for_each(|i| check.at_most((xhat[i] - case.xhat[i]).abs(), bounds[i]));
        },
    ),
    ("(60) |difference of dx_i| <= |gamma| r (e_i |mean(dz xhat)| + (|xhat_i| + e_i) mean(|dz| e))", |case, check| {
        let Stored { dz, xhat, bounds, .. } = Stored::new(case);
        let of = |xhat: &[f64]| {
            let (d, q) = (mean(&dz), mean_of(&dz, xhat));
            case.list(|l| case.gamma * case.r * (dz[l] - d - xhat[l] * q))
        };
        let (before, after) = (of(&case.xhat), of(&xhat));
        let sizes: Vec<f64> = dz.iter().map(|dz| dz.abs()).collect();
        let of_sum = mean_of(&sizes, &bounds);
        let turn = mean_of(&dz, &case.xhat).abs();
        for i in 0..case.n {
            let bound = bounds[i] * turn + (case.xhat[i].abs() + bounds[i]) * of_sum;
            check.at_most((after[i] - before[i]).abs(), (case.gamma * case.r).abs() * bound);
        }
    }),
];

fn centered(values: &[f64]) -> Vec<f64> {
    let m = mean(values);
    values.iter().map(|value| value - m).collect()
}

/// The layer's running mean and variance (by the sample convention) after some batches.
fn averaged<'b>([mean, variance]: [f64; 2], alpha: f64, batches: impl Iterator<Item = &'b [f64]>) -> [f64; 2] {
    let config = Config::pytorch().averaging(UpdateWeight::of_new(alpha).expect("a weight"));
    let mut layer = config.channels(1).build().expect("options");
    layer.set_running(RunningStatistics::from_parts(&[mean], &[variance], 0).expect("statistics")).expect("a channel");
    batches.for_each(|batch| drop(layer.train(&column(batch)).expect("a batch")));
    let running = layer.running().expect("statistics");
    [running.mean()[0], running.variance()[0]]
}

/// A gamma for each element.
fn parameters(case: &Case) -> Vec<f64> {
    Random::new(case.seed).normals(case.n, 0.5, 1.0)
}

fn one<R: Real>(x: &[R]) -> Vec<R> {
    vec![R::constant(1.0); x.len()]
}

fn zero<R: Real>(x: &[R]) -> Vec<R> {
    vec![R::constant(0.0); x.len()]
}

/// dx of sum_i dy_i gamma_i xhat_i.
fn of_row(
    case: &Case,
    gamma: &[f64],
    xhat: impl Fn(&[Dual<DoubleDouble>], Dual<DoubleDouble>) -> Vec<Dual<DoubleDouble>>,
) -> Vec<DoubleDouble> {
    gradient_of(&case.x, &case.dy, |x| {
        let scaled = xhat(x, Dual::constant(case.epsilon)).into_iter().zip(gamma);
        scaled.map(|(xhat, &gamma)| Dual::constant(gamma) * xhat).collect()
    })
}

/// dx of the library's norm of one row.
fn of_norm(case: &Case, gamma: &[f64], config: SampleConfig) -> Vec<f64> {
    let mut norm = config.epsilon(case.epsilon).build(&[case.n]).expect("a norm");
    norm.set_gamma(gamma).expect("a gamma for each");
    let row = |values| View::new(values, &[1, case.n], Axes::NCHW).expect("a row");
    let (_, saved) = norm.forward(&row(&case.x)).expect("a row");
    norm.backward(&row(&case.x), &row(&case.dy), &saved).expect("a right call").dx.into_data()
}

/// A weight for each value; that of the last of more than two is 0.
fn weights(case: &Case) -> Vec<f64> {
    let mut random = Random::new(case.seed);
    let weight = |i| if i == case.n - 1 && case.n > 2 { 0.0 } else { 0.6 + random.uniform() };
    (0..case.n).map(weight).collect()
}

/// (51).
struct Weighted {
    m: f64,
    v: f64,
    r: f64,
    xhat: Vec<f64>,
    total: f64,
}

impl Weighted {
    fn new(case: &Case, weights: &[f64]) -> Weighted {
        let total: f64 = weights.iter().sum();
        let m = sum_of(weights, &case.x) / total;
        let v = (0..case.n).map(|i| weights[i] * (case.x[i] - m).powi(2)).sum::<f64>() / total;
        let r = 1.0 / (v + case.epsilon).sqrt();
        Weighted { m, v, r, xhat: case.list(|i| (case.x[i] - m) * r), total }
    }
}

fn weighted_kernel(case: &Case, weights: &[f64]) -> Vec<f64> {
    let (layer, x, shape) = (case.layer(), column(&case.x), [case.n, 1]);
    let weights = Weights::new(weights, &shape).expect("weights");
    let saved = layer.forward_train(Input::weighted(&x, &weights)).expect("a batch").saved;
    let gradients = layer.backward(Input::weighted(&x, &weights), &column(&case.dy), &saved).expect("a right call");
    gradients.dx.into_data()
}

/// Two correlated features, and (53) for them by the closed form of a 2 x 2 matrix' root.
struct Pair {
    x: [Vec<f64>; 2],
    covariance: [[f64; 2]; 2],
    xhat: [Vec<f64>; 2],
    kappa: f64,
}

impl Pair {
    fn new(case: &Case) -> Pair {
        let noise = Random::new(case.seed).normals(case.n, 1.0, 1.0);
        let x = [case.x.clone(), case.list(|i| 0.4 * case.x[i] + noise[i])];
        let c = [centered(&x[0]), centered(&x[1])];
        let covariance = [0, 1].map(|i| [0, 1].map(|j| mean_of(&c[i], &c[j])));
        let [[a, b], [_, d]] = covariance;
        let (a, d) = (a + case.epsilon, d + case.epsilon);
        // A^(1/2) = (A + s I) / t with s = sqrt(det A), t = sqrt(trace A + 2 s); its inverse by determinant s.
        let s = (a * d - b * b).sqrt();
        let t = (a + d + 2.0 * s).sqrt();
        let whitening = [[d + s, -b], [-b, a + s]].map(|row| row.map(|entry| entry / (s * t)));
        let xhat = whitening.map(|[first, second]| case.list(|i| first * c[0][i] + second * c[1][i]));
        let kappa = (a + d) * (a + d) / (s * s);
        Pair { x, covariance, xhat, kappa }
    }

    /// Of the root: numerics.md counts in units of kappa.
    fn condition(&self) -> f64 {
        let spread = self.covariance[0][0].min(self.covariance[1][1]).sqrt();
        self.kappa * (1.0 + largest(self.x.concat()) / spread)
    }

    fn kernel(&self, epsilon: f64) -> [Vec<f64>; 2] {
        let n = self.x[0].len();
        let data: Vec<f64> = (0..n).flat_map(|i| [self.x[0][i], self.x[1][i]]).collect();
        let layer: Decorrelated = WhiteningConfig::new(2, 2).epsilon(epsilon).build().expect("options");
        let x = View::new(&data, &[n, 2], Axes::NCHW).expect("two columns");
        let y = layer.forward_train(&x).expect("a batch").y.into_data();
        [0, 1].map(|channel| y.iter().skip(channel).step_by(2).copied().collect())
    }
}

const SLOPE: f64 = 0.01;

fn leaky(z: f64) -> f64 {
    if z > 0.0 { z } else { SLOPE * z }
}

fn undone(y: f64) -> f64 {
    if y > 0.0 { y } else { y / SLOPE }
}

fn slope(y: f64) -> f64 {
    if y > 0.0 { 1.0 } else { SLOPE }
}

/// What z's rounding does to xhat, in ulps: 1 + |beta| / |gamma|, and the condition.
fn from_output_scale(case: &Case) -> f64 {
    case.condition() * (1.0 + case.beta.abs() / case.gamma.abs())
}

/// The output of this case stored as f32, and what follows from it.
struct Stored {
    z: Vec<f64>,
    xhat: Vec<f64>,
    dz: Vec<f64>,
    /// e_i.
    bounds: Vec<f64>,
}

impl Stored {
    fn new(case: &Case) -> Stored {
        let y = case.list(|i| f64::from(leaky(case.y[i]) as f32));
        let z: Vec<f64> = y.iter().map(|&y| undone(y)).collect();
        let xhat = case.list(|i| (z[i] - case.beta) / case.gamma);
        let dz = case.list(|i| case.dy[i] * slope(y[i]));
        let (eps, tiny) = (f64::from(f32::EPSILON), f64::from(f32::from_bits(1)));
        let of_z = |z: f64| (eps * (case.beta.abs() + z.abs()) + tiny / SLOPE) / case.gamma.abs();
        let bounds = z.iter().map(|&z| of_z(z)).collect();
        Stored { z, xhat, dz, bounds }
    }
}
