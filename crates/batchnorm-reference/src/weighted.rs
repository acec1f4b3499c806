//! Values that count more than once, less, or not at all.

use super::compact::{Forward, Gradients};
use super::{Real, sum};

/// The values that are not masked, with their weights and their numbers.
fn counting<R: Real>(x: &[R], weights: &[f64]) -> Vec<(usize, R, R)> {
    let all = x.iter().zip(weights).enumerate();
    all.filter(|(_, (_, weight))| **weight > 0.0).map(|(i, (&x, &w))| (i, x, R::constant(w))).collect()
}

/// W = sum w_i, m = 1/W sum w_i x_i, v = 1/W sum w_i (x_i - m)^2, y_i = gamma (x_i - m) / sqrt(v + eps) + beta; y_i = 0 where
/// w_i = 0.
///
/// ```
/// use batchnorm_reference::weighted;
/// let pass = weighted::forward(&[1.0, 3.0, f64::NAN], &[1.0, 1.0, 0.0], 1.0, 0.0, 0.0); // the last one masked
/// assert_eq!((pass.mean, pass.y), (2.0, vec![-1.0, 1.0, 0.0]));
/// ```
pub fn forward<R: Real>(x: &[R], weights: &[f64], gamma: R, beta: R, epsilon: R) -> Forward<R> {
    let zero = R::constant(0.0);
    let counting = counting(x, weights);
    let total = sum(counting.iter().map(|&(_, _, w)| w));
    let mean = sum(counting.iter().map(|&(_, x, w)| w * x)) / total;
    let variance = sum(counting.iter().map(|&(_, x, w)| w * (x - mean) * (x - mean))) / total;
    let inverse_deviation = R::constant(1.0) / (variance + epsilon).sqrt();
    let (mut normalized, mut y) = (vec![zero; x.len()], vec![zero; x.len()]);
    for (i, x, _) in counting {
        normalized[i] = (x - mean) * inverse_deviation;
        y[i] = gamma * normalized[i] + beta;
    }
    Forward { mean, variance, inverse_deviation, normalized, y }
}

/// With dm/dx_i = w_i / W and dv/dx_i = 2 w_i (x_i - m) / W:
/// dx_i = gamma r (dy_i - w_i/W sum dy - xhat_i w_i/W sum dy xhat), the sums over what is not masked; dx_i = 0 where w_i = 0.
///
/// ```
/// use batchnorm_reference::{compact, weighted};
/// // A weight of 2 is the value twice.
/// let weighted = weighted::backward(&[1.0f64, 4.0], &[2.0, 1.0], 1.0, 1e-5, &[0.5, 2.0]);
/// let twice = compact::backward(&[1.0, 1.0, 4.0], 1.0, 1e-5, &[0.25, 0.25, 2.0]);
/// assert!((weighted.dx[1] - twice.dx[2]).abs() < 1e-15);
/// ```
pub fn backward<R: Real>(x: &[R], weights: &[f64], gamma: R, epsilon: R, dy: &[R]) -> Gradients<R> {
    let Forward { inverse_deviation, normalized, .. } = forward(x, weights, gamma, R::constant(0.0), epsilon);
    let counting = counting(x, weights);
    let total = sum(counting.iter().map(|&(_, _, w)| w));
    let dbeta = sum(counting.iter().map(|&(i, ..)| dy[i]));
    let dgamma = sum(counting.iter().map(|&(i, ..)| dy[i] * normalized[i]));
    let mut dx = vec![R::constant(0.0); x.len()];
    for (i, _, w) in counting {
        dx[i] = gamma * inverse_deviation * (dy[i] - w / total * dbeta - normalized[i] * w / total * dgamma);
    }
    Gradients { dx, dgamma, dbeta }
}
