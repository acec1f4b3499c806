//! Decorrelated batch norm against its twin in double-double arithmetic, and the twin's gradients against dual numbers.
//!
//! The measure. With u = 2^-53 and kappa the condition number of the covariance (eps included) scaled to a diagonal of
//! ones, which sizes and means of the channels do not change:
//!
//! - y: |error| / (|gamma| max|xhat| + |beta|);
//! - dx: max|error| / sum_j |W_ij| max|gamma dy|, of each channel i;
//! - dgamma: |error| / sum|dy xhat|; dbeta: |error| / sum|dy|.
//!
//! The bounds: dbeta 4 u, the others BOUND * kappa, before they are rounded to a narrower type.

use super::cases::{Group, condition, groups, interleaved, layer, mixed, rows, rows_widened};
use crate::support::Random;
use crate::support::wide::{DoubleDouble, largest, wide, widened};
use batchnorm::reference::number::Dual;
use batchnorm::reference::whitening;
use batchnorm::{Affine, Axes, Config, ConstantChannel, Element, Policies, View, WhiteningConfig};

/// 9 u.
pub const BOUND: f64 = 1e-15;

struct Outcome {
    y: Vec<Vec<f64>>,
    dx: Vec<Vec<f64>>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

fn outcome<T: Element<Param: Into<f64>>>(group: &Group) -> Outcome {
    let (d, n) = (group.x.len(), group.x[0].len());
    let (x, dy) = (interleaved::<T>(&group.x), interleaved::<T>(&group.dy));
    let view = |data| View::new(data, &[n, d], Axes::NCHW).expect("rows of all channels");
    let (x, dy) = (view(&x), view(&dy));
    let layer = layer(group);
    let passed = layer.forward_train(&x).unwrap_or_else(|error| panic!("{}: {error}", group.name));
    let gradients = layer.backward(&x, &dy, &passed.saved).expect("the pass's own arrays");
    let in_f64 = |values: Option<Vec<T::Param>>| values.expect("a parameter").into_iter().map(Into::into).collect();
    Outcome {
        y: rows(passed.y.data(), d),
        dx: rows(gradients.dx.data(), d),
        dgamma: in_f64(gradients.dgamma),
        dbeta: in_f64(gradients.dbeta),
    }
}

#[test]
fn training_is_what_the_twin_says_by_the_condition_number() {
    let mut random = Random::new(1200);
    let (mut worst, mut most) = ([0.0f64; 4], 0.0f64);
    for group in groups(&mut random) {
        let (x, dy) = (rows_widened(&group.x), rows_widened(&group.dy));
        let (gamma, beta) = (widened(&group.gamma), widened(&group.beta));
        let forward = whitening::forward(&x, &gamma, &beta, wide(group.epsilon));
        let backward = whitening::backward(&x, &gamma, wide(group.epsilon), &dy);
        let got = outcome::<f64>(&group);
        let kappa = condition(&forward.covariance, group.epsilon);
        let d = group.x.len();
        let xhat = largest(forward.normalized.iter().flatten().map(|value| value.to_f64()));
        let products = group.dy.iter().zip(&group.gamma).flat_map(|(row, gamma)| row.iter().map(move |dy| gamma * dy));
        let upstream = largest(products);
        let error = |got: f64, truth: DoubleDouble| (wide(got) - truth).to_f64();
        let mut errors = [0.0f64; 4];
        for i in 0..d {
            let y = got.y[i].iter().zip(&forward.y[i]).map(|(&got, &truth)| error(got, truth));
            errors[0] = errors[0].max(largest(y) / (group.gamma[i].abs() * xhat + group.beta[i]));
            // What dx of a channel is made of: that channel's row of W, and the upstream gradients.
            let row: f64 = forward.whitening[i].iter().map(|w| w.to_f64().abs()).sum();
            let reach = row * upstream;
            let dx = got.dx[i].iter().zip(&backward.dx[i]).map(|(&got, &truth)| error(got, truth));
            errors[1] = errors[1].max(largest(dx) / reach);
            let products: f64 = dy[i].iter().zip(&forward.normalized[i]).map(|(&a, &b)| (a * b).to_f64().abs()).sum();
            errors[2] = errors[2].max(error(got.dgamma[i], backward.dgamma[i]).abs() / products);
            let sums: f64 = group.dy[i].iter().map(|dy| dy.abs()).sum();
            errors[3] = errors[3].max(error(got.dbeta[i], backward.dbeta[i]).abs() / sums);
        }
        for k in 0..3 {
            worst[k] = worst[k].max(errors[k] / kappa);
        }
        worst[3] = worst[3].max(errors[3]);
        most = most.max(kappa);
        if group.name == "random" {
            continue;
        }
        println!(
            "{:>26} d {d:2} n {:3} kappa {kappa:.0e}: y {:.1e}, dx {:.1e}, dgamma {:.1e}, dbeta {:.1e}; by kappa {:.1e} {:.1e} {:.1e}",
            group.name,
            group.x[0].len(),
            errors[0],
            errors[1],
            errors[2],
            errors[3],
            errors[0] / kappa,
            errors[1] / kappa,
            errors[2] / kappa
        );
    }
    println!(
        "worst by kappa (up to {most:.0e}): y {:.1e}, dx {:.1e}, dgamma {:.1e}; dbeta {:.1e}",
        worst[0], worst[1], worst[2], worst[3]
    );
    assert!(worst[..3].iter().all(|&worst| worst <= BOUND) && worst[3] <= 2.0 * f64::EPSILON);
}

/// The twin's gradients against dual numbers in double-double arithmetic, which differentiate the twin's own forward
/// pass: every element of x, gamma and beta one after the other.
#[test]
fn the_twin_differentiates_its_formula() {
    let mut random = Random::new(1201);
    let mut worst = 0.0f64;
    for group in groups(&mut random).into_iter().filter(|group| group.x.len() * group.x[0].len() <= 120) {
        let (x, dy) = (rows_widened(&group.x), rows_widened(&group.dy));
        let gamma = widened(&group.gamma);
        let twin = whitening::backward(&x, &gamma, wide(group.epsilon), &dy);
        let (d, n) = (x.len(), x[0].len());
        let derivative = |of: &dyn Fn(usize, usize) -> f64, of_gamma: &dyn Fn(usize) -> f64| {
            let dual = |value: DoubleDouble, seed: f64| Dual(value, wide(seed));
            let x: Vec<Vec<_>> = (0..d).map(|i| (0..n).map(|k| dual(x[i][k], of(i, k))).collect()).collect();
            let gamma: Vec<_> = (0..d).map(|i| dual(gamma[i], of_gamma(i))).collect();
            let beta: Vec<_> = group.beta.iter().map(|&value| dual(wide(value), 0.0)).collect();
            let forward = whitening::forward(&x, &gamma, &beta, dual(wide(group.epsilon), 0.0));
            let loss = forward.y.iter().flatten().zip(dy.iter().flatten());
            loss.fold(wide(0.0), |sum, (y, &dy)| sum + y.1 * dy)
        };
        let scale = largest(twin.dx.iter().flatten().map(|value| value.to_f64()));
        // All of a small group, a few of a larger one.
        let step = if d * n <= 40 { 1 } else { 7 };
        for at in (0..d * n).step_by(step) {
            let (i, k) = (at / n, at % n);
            let truth = derivative(&|row, column| if (row, column) == (i, k) { 1.0 } else { 0.0 }, &|_| 0.0);
            let error = (truth - twin.dx[i][k]).to_f64().abs() / scale;
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
        for i in 0..d {
            let truth = derivative(&|_, _| 0.0, &|row| if row == i { 1.0 } else { 0.0 });
            let error = (truth - twin.dgamma[i]).to_f64() / twin.dgamma[i].to_f64();
            worst = worst.max(error.abs());
        }
    }
    println!("the twin's gradients against dual numbers: {worst:.1e}");
    assert!(worst < 1e-18);
}

/// cov(xhat) = W C W = I - eps (C + eps I)^-1.
#[test]
fn the_output_is_white_but_for_eps() {
    let mut random = Random::new(1202);
    for group in groups(&mut random) {
        let (d, n) = (group.x.len(), group.x[0].len());
        let config = WhiteningConfig::new(d, d).epsilon(group.epsilon).affine(Affine::Neither);
        let x = interleaved::<f64>(&group.x);
        let x = View::new(&x, &[n, d], Axes::NCHW).expect("rows of all channels");
        let y = config.build().expect("a right configuration").forward_train(&x).expect("a right call").y;
        let y = rows_widened(&rows(y.data(), d));
        let ones = vec![wide(1.0); d];
        let truth = whitening::forward(&rows_widened(&group.x), &ones, &vec![wide(0.0); d], wide(group.epsilon));
        let root = &truth.whitening;
        let bound = BOUND * condition(&truth.covariance, group.epsilon) * d as f64;
        for (i, j) in (0..d).flat_map(|i| (0..d).map(move |j| (i, j))) {
            let inverse = (0..d).fold(wide(0.0), |sum, k| sum + root[i][k] * root[k][j]);
            let expected = wide(if i == j { 1.0 } else { 0.0 }) - wide(group.epsilon) * inverse;
            let products = y[i].iter().zip(&y[j]).fold(wide(0.0), |sum, (&one, &other)| sum + one * other);
            let error = (products / wide(n as f64) - expected).to_f64().abs();
            assert!(error <= bound, "{} ({i}, {j}): {error:e}, allowed {bound:e}", group.name);
        }
    }
}

/// Outputs of narrower types are the twin's of the values as stored, rounded once.
#[test]
fn narrower_types_are_rounded_once() {
    fn check<T: Element<Param: Into<f64>>>(name: &str, random: &mut Random) {
        let mut worst = [0.0f64; 2];
        for (d, n, mean) in [(3, 50, 0.5), (5, 300, 100.0), (2, 9, -3.0)] {
            let stored = |values: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
                values.into_iter().map(|row| row.into_iter().map(|v| T::from_f64(v).to_f64()).collect()).collect()
            };
            let x = stored(mixed(d, n, random, |_| (mean, 1.0)));
            let dy = stored((0..d).map(|_| random.normals(n, 0.2, 1.0)).collect());
            let gamma: Vec<f64> = (0..d).map(|i| 0.7 - i as f64).collect();
            let group = Group { name: "narrow", x, dy, gamma, beta: vec![0.25; d], epsilon: 1e-5 };
            let got = outcome::<T>(&group);
            let (x, dy, gamma) = (rows_widened(&group.x), rows_widened(&group.dy), widened(&group.gamma));
            let forward = whitening::forward(&x, &gamma, &widened(&group.beta), wide(1e-5));
            let backward = whitening::backward(&x, &gamma, wide(1e-5), &dy);
            for (at, (got, truth)) in [(&got.y, &forward.y), (&got.dx, &backward.dx)].into_iter().enumerate() {
                let scale = largest(truth.iter().flatten().map(|value| value.to_f64()));
                for (got, truth) in got.iter().flatten().zip(truth.iter().flatten()) {
                    let truth = truth.to_f64();
                    // Beside the rounding, an f64's error, which matters where the value is near 0.
                    let allowed = (0.5 + 1e-3) * crate::support::measure::ulp::<T>(truth.abs()) + 1e-14 * scale;
                    worst[at] = worst[at].max((got - truth).abs() / allowed);
                }
            }
        }
        println!("{name}: y {:.3}, dx {:.3} of what is allowed", worst[0], worst[1]);
        assert!(worst[0] <= 1.0 && worst[1] <= 1.0);
    }
    let mut random = Random::new(1203);
    check::<f32>("f32", &mut random);
    #[cfg(feature = "half")]
    {
        check::<half::f16>("f16", &mut random);
        check::<half::bf16>("bf16", &mut random);
    }
}

/// A group of one channel is batch norm: training, evaluation, gradients and running statistics.
#[test]
fn groups_of_one_channel_are_batch_norm() {
    let mut random = Random::new(1204);
    let shape = [6, 3, 50];
    for (mean, epsilon) in [(0.0, 1e-5), (1e3, 1e-3), (-1e6, 0.0)] {
        let mut x = random.normals(shape.iter().product(), mean, 2.0);
        if epsilon > 0.0 {
            // A channel whose values are all alike.
            x.iter_mut().enumerate().filter(|(at, _)| at / 50 % 3 == 1).for_each(|(_, x)| *x = 0.1);
        }
        let dy = random.normals(x.len(), 0.3, 1.0);
        let view = |data| View::new(data, &shape, Axes::NCHW).expect("an array of the shape");
        let (x, dy) = (view(&x), view(&dy));
        for constant_channel in [ConstantChannel::ZeroGradient, ConstantChannel::Derivative] {
            let policies = Policies { constant_channel, ..Policies::default() };
            let mut known = Config::pytorch().epsilon(epsilon).policies(policies).channels(3).build().expect("a layer");
            let mut ours = WhiteningConfig::new(3, 1).epsilon(epsilon).policies(policies).build().expect("a layer");
            for layer in 0..3 {
                let (gamma, beta) = ([0.5, -2.0, 1.0 + f64::from(layer)], [0.0, 1.0, -1.0]);
                known.set_gamma(&gamma).and_then(|()| known.set_beta(&beta)).expect("three");
                ours.set_gamma(&gamma).and_then(|()| ours.set_beta(&beta)).expect("three");
                let (one, other) = (known.train(&x).expect("a right call"), ours.train(&x).expect("a right call"));
                let close = |what: &str, one: &[f64], other: &[f64]| {
                    let scale = largest(one.iter().copied()).max(1.0);
                    for (one, other) in one.iter().zip(other) {
                        assert!((one - other).abs() <= 1e-13 * scale, "{what}: {one:?}, {other:?} (mean {mean})");
                    }
                };
                close("y", one.y.data(), other.y.data());
                let (back, back_ours) = (known.backward(&x, &dy, &one.saved), ours.backward(&x, &dy, &other.saved));
                let (back, back_ours) = (back.expect("a right call"), back_ours.expect("a right call"));
                close("dx", back.dx.data(), back_ours.dx.data());
                close("dgamma", &back.dgamma.expect("one"), &back_ours.dgamma.expect("one"));
                close("dbeta", &back.dbeta.expect("one"), &back_ours.dbeta.expect("one"));
                let (running, running_ours) = (known.running().expect("some"), ours.running().expect("some"));
                close("running mean", running.mean(), running_ours.mean());
                close("running variance", running.variance(), &running_ours.covariances().concat());
                let (one, other) = (known.eval(&x).expect("a right call"), ours.eval(&x).expect("a right call"));
                close("evaluation", one.y.data(), other.y.data());
                let (back, back_ours) = (known.backward(&x, &dy, &one.saved), ours.backward(&x, &dy, &other.saved));
                close("dx of evaluation", back.expect("right").dx.data(), back_ours.expect("right").dx.data());
            }
        }
    }
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
