//! (42) to (48): directional and second derivatives.

use super::first_order::dx;
use super::{Case, Defined, Equation, column, column_mut, largest, mean, mean_of, moving, same, sum_of, wide};
use crate::support::wide::DoubleDouble;
use batchnorm::reference::number::Dual;
use batchnorm::reference::{Real, compact};
use batchnorm::{ParameterDirection, RunningStatistics, Saved};

pub const EQUATIONS: &[Equation] = &[
    ("(42) y'_i = gamma r (u_i - mean(u) - p xhat_i) + gamma' xhat_i + beta', p = mean(u xhat)", |case, check| {
        let stated = tangent(case);
        check.all_equal(&stated, along(case).y.iter().map(|y| y.1), tangent_scale(case));
        check.all_equal(&stated, jvp(case), tangent_scale(case));
    }),
    ("(43) sum_i dy_i y'_i = sum_l dx_l u_l + gamma' dgamma + beta' dbeta", |case, check| {
        let left = sum_of(&case.dy, &tangent(case));
        let dgamma = sum_of(&case.dy, &case.xhat);
        let right =
            sum_of(&dx(case), &case.direction) + case.gamma_t * dgamma + case.beta_t * case.dy.iter().sum::<f64>();
        check.equal(left, right, case.count() * largest(&case.dy) * tangent_scale(case));
    }),
    ("(44) r' = -r^2 p, xhat'_i = r (u_i - mean(u) - p xhat_i)", |case, check| {
        let (p, truth) = (p(case), along(case));
        let scale = case.r * largest(&case.direction) * case.condition();
        check.equal(-case.r.powi(2) * p, truth.r.1, case.r * scale);
        let d = mean(&case.direction);
        let stated = case.list(|i| case.r * (case.direction[i] - d - p * case.xhat[i]));
        check.all_equal(&stated, truth.xhat.iter().map(|xhat| xhat.1), scale);
    }),
    ("(45) q' = r k, k = mean(dy u) - mean(dy) mean(u) - q p, q = mean(dy xhat)", |case, check| {
        let xhat = along(case).xhat;
        let q = xhat.iter().zip(&case.dy).fold(wide(0.0), |sum, (xhat, &dy)| sum + xhat.1 * wide(dy));
        check.equal(case.r * k(case), q / wide(case.count()), curvature(case));
    }),
    (
        "(46) dx'_l = -gamma r^2 [p (dy_l - mean(dy)) + q (u_l - mean(u)) + (k - 2 p q) xhat_l] + gamma' r (dy_l - mean(dy) - q xhat_l)",
        |case, check| {
            let stated = hessian(case);
            let scale = (case.gamma.abs() * case.r + case.gamma_t.abs()) * curvature(case);
            check.all_equal(&stated, (0..case.n).map(|l| second(case, l).0), scale);
            check.all_equal(&stated, double_backward(case), scale);
            check.all_equal(&stated, hvp(case, true).0, scale);
            // The first part does not mind which of dy and u is which.
            let part = |case: &Case| {
                Case::of(
                    [case.x.clone(), case.dy.clone(), case.direction.clone()],
                    [case.gamma, case.beta, 0.0, 0.0],
                    case.epsilon,
                    case.seed,
                )
            };
            let (one, mut other) = (part(case), part(case));
            std::mem::swap(&mut other.dy, &mut other.direction);
            check.all_equal(&hessian(&one), (0..case.n).map(|l| second(&other, l).0), scale);
        },
    ),
    ("(47) dgamma' = n r k, dbeta' = 0", |case, check| {
        let (_, by_gamma, by_beta) = second(case, 0);
        let (stated, scale) = (case.count() * case.r * k(case), case.count() * curvature(case));
        check.equal(stated, by_gamma, scale);
        check.equal(0.0, by_beta, scale);
        let (_, [dgamma, dbeta]) = hvp(case, true);
        check.equal(stated, dgamma, scale);
        check.equal(0.0, dbeta, scale);
    }),
    ("(48) dx'_l = gamma' r dy_l, dgamma' = r sum_i dy_i u_i, dbeta' = 0", |case, check| {
        // By constants: those of the batch, which then do not move with x.
        let stated = case.list(|l| case.gamma_t * case.r * case.dy[l]);
        let dgamma = case.r * sum_of(&case.dy, &case.direction);
        let by = |l: usize, second_gamma: f64, second_beta: f64| {
            let number = |value, first, second| Dual(Dual(wide(value), wide(first)), Dual(wide(second), wide(0.0)));
            let gamma = number(case.gamma, case.gamma_t, second_gamma);
            let beta = number(case.beta, case.beta_t, second_beta);
            let term = |i: usize| {
                let x = number(case.x[i], case.direction[i], same(i, l));
                let xhat = (x - Dual::constant(case.m)) * Dual::constant(case.r);
                ((gamma * xhat + beta) * Dual::constant(case.dy[i])).1.1
            };
            (0..case.n).map(term).fold(wide(0.0), |sum, term| sum + term)
        };
        let scale = (1.0 + case.gamma_t.abs()) * curvature(case);
        check.all_equal(&stated, (0..case.n).map(|l| by(l, 0.0, 0.0)), scale);
        let nobody = case.n;
        check.equal(dgamma, by(nobody, 1.0, 0.0), case.count() * scale);
        check.equal(0.0, by(nobody, 0.0, 1.0), scale);
        let (kernel, parameters) = hvp(case, false);
        check.all_equal(&stated, kernel, scale);
        check.all_equal(&[dgamma, 0.0], parameters, case.count() * scale);
    }),
];

pub fn p(case: &Case) -> f64 {
    mean_of(&case.direction, &case.xhat)
}

pub fn q(case: &Case) -> f64 {
    mean_of(&case.dy, &case.xhat)
}

pub fn k(case: &Case) -> f64 {
    mean_of(&case.dy, &case.direction) - mean(&case.dy) * mean(&case.direction) - q(case) * p(case)
}

/// (42).
pub fn tangent(case: &Case) -> Vec<f64> {
    let (p, d) = (p(case), mean(&case.direction));
    let moved = |i: usize| case.gamma * case.r * (case.direction[i] - d - p * case.xhat[i]);
    case.list(|i| moved(i) + case.gamma_t * case.xhat[i] + case.beta_t)
}

/// (46).
pub fn hessian(case: &Case) -> Vec<f64> {
    let (p, q, k, r) = (p(case), q(case), k(case), case.r);
    let (dy, u) = (mean(&case.dy), mean(&case.direction));
    case.list(|l| {
        let bracket = p * (case.dy[l] - dy) + q * (case.direction[l] - u) + (k - 2.0 * p * q) * case.xhat[l];
        -case.gamma * r * r * bracket + case.gamma_t * r * (case.dy[l] - dy - q * case.xhat[l])
    })
}

/// The definition along the direction.
fn along(case: &Case) -> Defined<Dual<DoubleDouble>> {
    let [gamma, beta] = [(case.gamma, case.gamma_t), (case.beta, case.beta_t)].map(|(v, t)| Dual(wide(v), wide(t)));
    Defined::new(&moving(&case.x, |i| case.direction[i]), gamma, beta, case.epsilon)
}

/// d/dt of the gradients of sum dy y by x_l, gamma and beta, along the direction: dual numbers of dual numbers.
fn second(case: &Case, l: usize) -> (DoubleDouble, DoubleDouble, DoubleDouble) {
    let number = |value, first, second| Dual(Dual(wide(value), wide(first)), Dual(wide(second), wide(0.0)));
    let by = |l: usize, second_gamma: f64, second_beta: f64| {
        let x: Vec<_> = (0..case.n).map(|i| number(case.x[i], case.direction[i], same(i, l))).collect();
        let gamma = number(case.gamma, case.gamma_t, second_gamma);
        let beta = number(case.beta, case.beta_t, second_beta);
        let y = Defined::new(&x, gamma, beta, case.epsilon).y;
        y.iter().zip(&case.dy).fold(wide(0.0), |sum, (y, &dy)| sum + y.1.1 * wide(dy))
    };
    let nobody = case.n;
    (by(l, 0.0, 0.0), by(nobody, 1.0, 0.0), by(nobody, 0.0, 1.0))
}

/// The gradient by x of S = sum dx u + gamma' dgamma + beta' dbeta, made of the closed form's gradients.
fn double_backward(case: &Case) -> Vec<DoubleDouble> {
    let still = |value: f64| Dual::<DoubleDouble>::constant(value);
    let dy: Vec<_> = case.dy.iter().map(|&dy| still(dy)).collect();
    let by = |l| {
        let x = moving(&case.x, |i| same(i, l));
        let compact::Gradients { dx, dgamma, dbeta } =
            compact::backward(&x, still(case.gamma), still(case.epsilon), &dy);
        let sum = dx.iter().zip(&case.direction).fold(still(0.0), |sum, (&dx, &u)| sum + dx * still(u));
        (sum + still(case.gamma_t) * dgamma + still(case.beta_t) * dbeta).1
    };
    (0..case.n).map(by).collect()
}

fn direction_of_parameters(case: &Case) -> [[f64; 1]; 2] {
    [[case.gamma_t], [case.beta_t]]
}

fn saved(case: &Case, training: bool) -> Saved {
    let (mut layer, x) = (case.layer(), column(&case.x));
    if training {
        return layer.forward_train(&x).expect("a batch").saved;
    }
    layer
        .set_running(RunningStatistics::from_parts(&[case.m], &[case.v], 1).expect("statistics"))
        .expect("one channel");
    layer.eval(&x).expect("a batch").saved
}

fn jvp(case: &Case) -> Vec<f64> {
    let [gamma, beta] = direction_of_parameters(case);
    let parameters = ParameterDirection { gamma: Some(&gamma), beta: Some(&beta) };
    let mut moved = vec![f64::NAN; case.n];
    let out = &mut column_mut(&mut moved);
    saved(case, true).jvp(&column(&case.x), &column(&case.direction), parameters, out).expect("a right call");
    moved
}

/// dx', and dgamma' and dbeta', of the layer.
fn hvp(case: &Case, training: bool) -> (Vec<f64>, [f64; 2]) {
    let [gamma, beta] = direction_of_parameters(case);
    let parameters = ParameterDirection { gamma: Some(&gamma), beta: Some(&beta) };
    let [x, dy, direction] = [&case.x, &case.dy, &case.direction].map(|list| column(list));
    let mut moved = vec![f64::NAN; case.n];
    let out = &mut column_mut(&mut moved);
    let of_parameters = saved(case, training).hvp(&x, &dy, &direction, parameters, out).expect("a right call");
    (moved, [of_parameters.dgamma[0], of_parameters.dbeta[0]])
}

fn tangent_scale(case: &Case) -> f64 {
    let of_x = case.gamma.abs() * case.r * largest(&case.direction);
    (of_x + case.gamma_t.abs() + case.beta_t.abs()) * case.condition()
}

/// r max|dy| max|u|, the size of what is added up in k r.
fn curvature(case: &Case) -> f64 {
    case.r * largest(&case.dy) * largest(&case.direction).max(1.0) * case.condition()
}
