//! Norms that do not look at the batch, one row at a time: a row is what is normalised together. Layer norm has a gamma
//! and a beta of each element; in group and instance norm an element has those of its channel.

use super::compact::Gradients as OfFeature;
use super::{Real, compact, mean, sum};

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
