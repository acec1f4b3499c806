//! Norms that do not look at the batch, one row at a time: a row is what is normalised together. Layer norm has a gamma
//! and a beta of each element; in group and instance norm an element has those of its channel.

use super::compact::Gradients as OfFeature;
use super::{Real, compact, mean, sum, weighted};

/// The forward pass of one row.
#[derive(Debug, Clone)]
pub struct Forward<R> {
    /// xhat_i.
    pub normalized: Vec<R>,
    /// y_i = gamma_i xhat_i + beta_i.
    pub y: Vec<R>,
}

/// The gradients of one row. Those of gamma and beta are this row's part, element by element: the whole is their sum over
/// all rows (and, in a group, over all positions of a channel).
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    /// Of the input.
    pub dx: Vec<R>,
    /// Of the scale of each element.
    pub dgamma: Vec<R>,
    /// Of the shift of each element.
    pub dbeta: Vec<R>,
}

fn scaled<R: Real>(normalized: Vec<R>, gamma: &[R], beta: &[R]) -> Forward<R> {
    let y = normalized.iter().zip(gamma).zip(beta).map(|((&xhat, &gamma), &beta)| gamma * xhat + beta).collect();
    Forward { normalized, y }
}

fn products<R: Real>(one: &[R], other: &[R]) -> Vec<R> {
    one.iter().zip(other).map(|(&one, &other)| one * other).collect()
}

/// Layer, group and instance norm: xhat = (x - m) / sqrt(v + eps), m and v the row's mean and population variance
/// (Ba, Kiros and Hinton 2016; Wu and He 2018; Ulyanov et al. 2016).
/// `x`, `gamma`, `beta`: one value each for each element of the row.
///
/// ```
/// use batchnorm_reference::rows;
/// let row = rows::forward(&[1.0, 3.0], &[1.0, 2.0], &[0.0, 0.5], 0.0);
/// assert_eq!(row.y, [-1.0, 2.5]);
/// ```
pub fn forward<R: Real>(x: &[R], gamma: &[R], beta: &[R], epsilon: R) -> Forward<R> {
    let plain = compact::forward(x, R::constant(1.0), R::constant(0.0), epsilon);
    scaled(plain.normalized, gamma, beta)
}

/// dx_i = r (g_i - mean(g) - xhat_i mean(g xhat)) with g_i = gamma_i dy_i: batch norm's gradient with gamma on the other
/// side.
///
/// ```
/// use batchnorm_reference::rows;
/// let row = rows::backward(&[1.0, 3.0, 8.0], &[1.0, 2.0, 1.0], 1e-5, &[0.5, 0.0, 1.0]);
/// assert!(row.dx.iter().sum::<f64>().abs() < 1e-15);
/// assert_eq!(row.dbeta, [0.5, 0.0, 1.0]);
/// ```
pub fn backward<R: Real>(x: &[R], gamma: &[R], epsilon: R, dy: &[R]) -> Gradients<R> {
    let one = R::constant(1.0);
    let OfFeature { dx, .. } = compact::backward(x, one, epsilon, &products(gamma, dy));
    let normalized = compact::forward(x, one, R::constant(0.0), epsilon).normalized;
    Gradients { dx, dgamma: products(dy, &normalized), dbeta: dy.to_vec() }
}

/// RMS norm: xhat = x / sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019).
///
/// ```
/// use batchnorm_reference::rows;
/// let row = rows::rms_forward(&[3.0, 4.0], &[1.0, 1.0], &[0.0, 0.0], 0.0);
/// assert!((row.y[0] - 3.0 / 12.5f64.sqrt()).abs() < 1e-15);
/// ```
pub fn rms_forward<R: Real>(x: &[R], gamma: &[R], beta: &[R], epsilon: R) -> Forward<R> {
    let r = inverse_root(x, epsilon);
    scaled(x.iter().map(|&x| x * r).collect(), gamma, beta)
}

/// dx_i = r (g_i - xhat_i mean(g xhat)) with g_i = gamma_i dy_i.
///
/// ```
/// use batchnorm_reference::rows;
/// let x = [3.0f64, 4.0];
/// let row = rows::rms_backward(&x, &[1.0, 1.0], 0.0, &[1.0, 0.0]);
/// assert!((row.dx[0] * x[0] + row.dx[1] * x[1]).abs() < 1e-15); // a stretch of the row changes no y
/// ```
pub fn rms_backward<R: Real>(x: &[R], gamma: &[R], epsilon: R, dy: &[R]) -> Gradients<R> {
    let r = inverse_root(x, epsilon);
    let normalized: Vec<R> = x.iter().map(|&x| x * r).collect();
    let g = products(gamma, dy);
    let turn = sum(products(&g, &normalized)) / R::constant(x.len() as f64);
    let dx = g.iter().zip(&normalized).map(|(&g, &xhat)| r * (g - xhat * turn)).collect();
    Gradients { dx, dgamma: products(dy, &normalized), dbeta: dy.to_vec() }
}

fn inverse_root<R: Real>(x: &[R], epsilon: R) -> R {
    R::constant(1.0) / (mean(x.iter().map(|&x| x * x)) + epsilon).sqrt()
}

/// Layer, group and instance norm of values with weights: xhat = (x - m) / sqrt(v + eps) with m = 1/W sum w x and
/// v = 1/W sum w (x - m)^2, W = sum w; where a weight is 0 the value is masked, and y is 0.
///
/// ```
/// use batchnorm_reference::rows;
/// let row = rows::weighted_forward(&[1.0, 3.0, f64::NAN], &[1.0, 1.0, 0.0], &[1.0, 2.0, 1.0], &[0.0, 0.5, 7.0], 0.0);
/// assert_eq!(row.y, [-1.0, 2.5, 0.0]);
/// ```
pub fn weighted_forward<R: Real>(x: &[R], weights: &[f64], gamma: &[R], beta: &[R], epsilon: R) -> Forward<R> {
    let plain = weighted::forward(x, weights, R::constant(1.0), R::constant(0.0), epsilon);
    let Forward { normalized, y } = scaled(plain.normalized, gamma, beta);
    Forward { normalized, y: counting(&y, weights) }
}

/// dx_i = r (g_i - w_i/W sum g - xhat_i w_i/W sum g xhat) with g_i = gamma_i dy_i, the sums over what is not masked; all 0 where
/// w_i = 0.
pub fn weighted_backward<R: Real>(x: &[R], weights: &[f64], gamma: &[R], epsilon: R, dy: &[R]) -> Gradients<R> {
    let (zero, one, dy) = (R::constant(0.0), R::constant(1.0), counting(dy, weights));
    let OfFeature { dx, .. } = weighted::backward(x, weights, one, epsilon, &products(gamma, &dy));
    let normalized = weighted::forward(x, weights, one, zero, epsilon).normalized;
    Gradients { dx, dgamma: products(&dy, &normalized), dbeta: dy }
}

/// RMS norm of values with weights: xhat = x / sqrt(1/W sum w x^2 + eps); 0 where the weight is 0.
pub fn weighted_rms_forward<R: Real>(x: &[R], weights: &[f64], gamma: &[R], beta: &[R], epsilon: R) -> Forward<R> {
    let (x, r) = (counting(x, weights), weighted_inverse_root(x, weights, epsilon));
    let normalized: Vec<R> = x.iter().map(|&x| x * r).collect();
    let Forward { normalized, y } = scaled(counting(&normalized, weights), gamma, beta);
    Forward { normalized, y: counting(&y, weights) }
}

/// dx_i = r (g_i - xhat_i w_i/W sum g xhat) with g_i = gamma_i dy_i; 0 where w_i = 0.
///
/// ```
/// use batchnorm_reference::rows;
/// // A weight of 2 is the value twice.
/// let weighted = rows::weighted_rms_backward(&[3.0f64, 4.0], &[2.0, 1.0], &[1.0, 1.0], 0.1, &[0.5, 2.0]);
/// let twice = rows::rms_backward(&[3.0, 3.0, 4.0], &[1.0; 3], 0.1, &[0.25, 0.25, 2.0]);
/// assert!((weighted.dx[1] - twice.dx[2]).abs() < 1e-15);
/// ```
pub fn weighted_rms_backward<R: Real>(x: &[R], weights: &[f64], gamma: &[R], epsilon: R, dy: &[R]) -> Gradients<R> {
    let (x, dy, r) = (counting(x, weights), counting(dy, weights), weighted_inverse_root(x, weights, epsilon));
    let normalized = counting(&x.iter().map(|&x| x * r).collect::<Vec<R>>(), weights);
    let g = products(gamma, &dy);
    let turn = sum(products(&g, &normalized)) / R::constant(weights.iter().sum());
    let share = |(i, &w): (usize, &f64)| r * (g[i] - R::constant(w) * normalized[i] * turn);
    let dx: Vec<R> = weights.iter().enumerate().map(share).collect();
    Gradients { dx: counting(&dx, weights), dgamma: products(&dy, &normalized), dbeta: dy }
}

/// The values that are not masked, 0 for the others.
fn counting<R: Real>(values: &[R], weights: &[f64]) -> Vec<R> {
    values.iter().zip(weights).map(|(&value, &w)| if w > 0.0 { value } else { R::constant(0.0) }).collect()
}

fn weighted_inverse_root<R: Real>(x: &[R], weights: &[f64], epsilon: R) -> R {
    let squares = counting(x, weights).into_iter().zip(weights).map(|(x, &w)| R::constant(w) * x * x);
    R::constant(1.0) / (sum(squares) / R::constant(weights.iter().sum()) + epsilon).sqrt()
}
