//! The backward pass from the output instead of the input.

use super::compact::Gradients;
use super::{Real, mean, sum};

/// xhat_i = (z_i - beta) / gamma of z_i = gamma xhat_i + beta: the output before the activation.
///
/// ```
/// use batchnorm_reference::invertible;
/// assert_eq!(invertible::normalized(&[5.0, -1.0], 2.0, 1.0), [2.0, -1.0]);
/// ```
pub fn normalized<R: Real>(z: &[R], gamma: R, beta: R) -> Vec<R> {
    z.iter().map(|&z| (z - beta) / gamma).collect()
}

/// The gradients in closed form, as [`compact::backward`](super::compact::backward)'s; r = 1 / sqrt(v + eps) is that of
/// the forward pass, dz the upstream gradient behind the activation.
///
/// ```
/// use batchnorm_reference::{compact, invertible};
/// let (x, dy) = ([1.0f64, 2.0, 6.0], [1.0, 0.0, 0.5]);
/// let pass = compact::forward(&x, 2.0, 0.5, 1e-5);
/// let from_output = invertible::backward(&pass.y, 2.0, 0.5, pass.inverse_deviation, &dy);
/// let from_input = compact::backward(&x, 2.0, 1e-5, &dy);
/// assert!((from_output.dx[0] - from_input.dx[0]).abs() < 1e-15);
/// ```
pub fn backward<R: Real>(z: &[R], gamma: R, beta: R, inverse_deviation: R, dz: &[R]) -> Gradients<R> {
    let xhat = normalized(z, gamma, beta);
    let products = || dz.iter().zip(&xhat).map(|(&dz, &xhat)| dz * xhat);
    let (mean_dz, mean_product) = (mean(dz.iter().copied()), mean(products()));
    let dx = |(&dz, &xhat): (&R, &R)| gamma * inverse_deviation * (dz - mean_dz - xhat * mean_product);
    Gradients { dx: dz.iter().zip(&xhat).map(dx).collect(), dgamma: sum(products()), dbeta: sum(dz.iter().copied()) }
}
