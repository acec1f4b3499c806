//! The formula and its gradient in closed form.

use super::{Real, mean, sum};

/// The forward pass of one feature.
#[derive(Debug, Clone)]
pub struct Forward<R> {
    /// m = 1/n sum x_i.
    pub mean: R,
    /// v = 1/n sum (x_i - m)^2, the population variance.
    pub variance: R,
    /// r = 1 / sqrt(v + eps).
    pub inverse_deviation: R,
    /// xhat_i = (x_i - m) r.
    pub normalized: Vec<R>,
    /// y_i = gamma xhat_i + beta.
    pub y: Vec<R>,
}

/// The gradients of one feature.
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    /// Of the input.
    pub dx: Vec<R>,
    /// Of the scale.
    pub dgamma: R,
    /// Of the shift.
    pub dbeta: R,
}

/// y = gamma (x - m) / sqrt(v + eps) + beta (Ioffe and Szegedy 2015, algorithm 1).
/// `x`: the n values of the feature, at least one.
///
/// ```
/// use batchnorm_reference::compact;
/// let pass = compact::forward(&[1.0, 2.0, 6.0], 2.0, 0.5, 1e-5);
/// assert_eq!((pass.mean, pass.variance), (3.0, 14.0 / 3.0));
/// assert_eq!(pass.y[2], 2.0 * pass.normalized[2] + 0.5);
/// ```
pub fn forward<R: Real>(x: &[R], gamma: R, beta: R, epsilon: R) -> Forward<R> {
    let m = mean(x.iter().copied());
    let variance = mean(x.iter().map(|&x| (x - m) * (x - m)));
    let inverse_deviation = R::constant(1.0) / (variance + epsilon).sqrt();
    let normalized: Vec<R> = x.iter().map(|&x| (x - m) * inverse_deviation).collect();
    let y = normalized.iter().map(|&xhat| gamma * xhat + beta).collect();
    Forward { mean: m, variance, inverse_deviation, normalized, y }
}

/// dx_i = gamma r (dy_i - mean(dy) - xhat_i mean(dy xhat)), dgamma = sum dy xhat, dbeta = sum dy: the mean and the
/// variance are functions of the input.
/// `x`, `dy`: n values each; derived in `docs/math.md`.
///
/// ```
/// use batchnorm_reference::compact;
/// let gradients = compact::backward(&[1.0, 2.0, 6.0], 2.0, 1e-5, &[1.0, 0.0, 0.0]);
/// assert!(gradients.dx.iter().sum::<f64>().abs() < 1e-15); // a shift of all x changes no y
/// assert_eq!(gradients.dbeta, 1.0);
/// ```
pub fn backward<R: Real>(x: &[R], gamma: R, epsilon: R, dy: &[R]) -> Gradients<R> {
    let Forward { inverse_deviation, normalized, .. } = forward(x, gamma, R::constant(0.0), epsilon);
    let n = R::constant(x.len() as f64);
    let dbeta = sum(dy.iter().copied());
    let dgamma = sum(dy.iter().zip(&normalized).map(|(&dy, &xhat)| dy * xhat));
    let dx = dy
        .iter()
        .zip(&normalized)
        .map(|(&dy, &xhat)| gamma * inverse_deviation * (dy - dbeta / n - xhat * dgamma / n))
        .collect();
    Gradients { dx, dgamma, dbeta }
}

/// The forward pass with constant statistics: y = gamma (x - mean) / sqrt(variance + eps) + beta.
///
/// ```
/// use batchnorm_reference::compact;
/// assert_eq!(compact::forward_eval(&[5.0], 2.0, 1.0, 3.0, 3.0, 1.0), [2.0 * (5.0 - 3.0) / 2.0 + 1.0]);
/// ```
pub fn forward_eval<R: Real>(x: &[R], gamma: R, beta: R, mean: R, variance: R, epsilon: R) -> Vec<R> {
    let inverse_deviation = R::constant(1.0) / (variance + epsilon).sqrt();
    x.iter().map(|&x| gamma * ((x - mean) * inverse_deviation) + beta).collect()
}

/// The gradients with constant statistics: dx = gamma r dy.
///
/// ```
/// use batchnorm_reference::compact;
/// let gradients = compact::backward_eval(&[5.0], 2.0, 3.0, 3.0, 1.0, &[10.0]);
/// assert_eq!((gradients.dx, gradients.dgamma, gradients.dbeta), (vec![10.0], 10.0, 10.0));
/// ```
pub fn backward_eval<R: Real>(x: &[R], gamma: R, mean: R, variance: R, epsilon: R, dy: &[R]) -> Gradients<R> {
    let inverse_deviation = R::constant(1.0) / (variance + epsilon).sqrt();
    Gradients {
        dx: dy.iter().map(|&dy| gamma * inverse_deviation * dy).collect(),
        dgamma: sum(dy.iter().zip(x).map(|(&dy, &x)| dy * ((x - mean) * inverse_deviation))),
        dbeta: sum(dy.iter().copied()),
    }
}
