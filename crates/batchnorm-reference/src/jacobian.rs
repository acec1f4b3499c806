//! The full Jacobian of one feature.

use super::Real;
use super::compact::forward;

/// d y_i / d x_l = gamma r ([i = l] - 1/n - xhat_i xhat_l / n), row i after row i - 1: n x n values.
///
/// It is symmetric, and its null space holds the constant direction always and, for eps = 0, that of xhat: a shift
/// or a stretch of the whole batch leaves the output as it was.
///
/// ```
/// use batchnorm_reference::{compact, jacobian};
/// let (x, dy) = ([1.0f64, 2.0, 6.0], [1.0, 0.0, 0.5]);
/// let rows = jacobian::jacobian(&x, 2.0, 1e-5);
/// let gradients = compact::backward(&x, 2.0, 1e-5, &dy);
/// for l in 0..3 {
///     let dx: f64 = (0..3).map(|i| dy[i] * rows[3 * i + l]).sum();
///     assert!((dx - gradients.dx[l]).abs() < 1e-15);
/// }
/// ```
pub fn jacobian<R: Real>(x: &[R], gamma: R, epsilon: R) -> Vec<R> {
    let pass = forward(x, gamma, R::constant(0.0), epsilon);
    let n = R::constant(x.len() as f64);
    let mut rows = Vec::with_capacity(x.len() * x.len());
    for (i, &xhat_i) in pass.normalized.iter().enumerate() {
        for (l, &xhat_l) in pass.normalized.iter().enumerate() {
            let own = R::constant(if i == l { 1.0 } else { 0.0 });
            rows.push(gamma * pass.inverse_deviation * (own - R::constant(1.0) / n - xhat_i * xhat_l / n));
        }
    }
    rows
}
