//! Batch renormalisation: the batch's mean and deviation, corrected towards the running ones by r and d (Ioffe 2017).

use super::compact::{Gradients, forward as by_batch};
use super::{Real, sum};

/// What takes xhat of the batch to that of the running statistics, as far as it may: r xhat + d.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction<R> {
    /// The batch's deviation over the running one.
    pub r: R,
    /// From the running mean to the batch's, in running deviations.
    pub d: R,
}

impl<R: Real + PartialOrd> Correction<R> {
    /// r = s / S in 1 / r_max ..= r_max and d = (m - M) / S in -d_max ..= d_max, with the batch's mean m and
    /// s = sqrt(v + eps), and M, S = sqrt(V + eps) of the running mean and variance.
    ///
    /// ```
    /// use batchnorm_reference::renormalized::Correction;
    /// let correction = Correction::of(&[2.0, 4.0], 0.0, [1.0, 4.0], [3.0, 5.0]); // m = 3, s = 1, M = 1, S = 2
    /// assert_eq!(correction, Correction { r: 0.5, d: 1.0 });
    /// assert_eq!(Correction::of(&[2.0, 4.0], 0.0, [1.0, 4.0], [1.0, 0.0]), Correction { r: 1.0, d: 0.0 });
    /// ```
    pub fn of(x: &[R], epsilon: R, [mean, variance]: [R; 2], [r_max, d_max]: [f64; 2]) -> Self {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let batch = by_batch(x, one, zero, epsilon);
        let deviation = (variance + epsilon).sqrt();
        let limited = |value: R, low: R, high: R| {
            if value < low {
                low
            } else if high < value {
                high
            } else {
                value
            }
        };
        let (r_max, d_max) = (R::constant(r_max), R::constant(d_max));
        Correction {
            r: limited((batch.variance + epsilon).sqrt() / deviation, one / r_max, r_max),
            d: limited((batch.mean - mean) / deviation, -d_max, d_max),
        }
    }
}

/// y = gamma (r xhat + d) + beta.
pub fn forward<R: Real>(x: &[R], gamma: R, beta: R, epsilon: R, Correction { r, d }: Correction<R>) -> Vec<R> {
    let batch = by_batch(x, R::constant(1.0), R::constant(0.0), epsilon);
    batch.normalized.iter().map(|&xhat| gamma * (r * xhat + d) + beta).collect()
}

/// With r and d as constants, s = sqrt(v + eps): dx = gamma r / s (dy - mean(dy) - xhat mean(dy xhat)),
/// dgamma = sum dy (r xhat + d), dbeta = sum dy.
///
/// ```
/// use batchnorm_reference::renormalized::{Correction, backward};
/// let correction = Correction { r: 0.5, d: 1.0 };
/// let gradients = backward(&[2.0f64, 4.0], 1.0, 0.0, correction, &[1.0, 0.0]);
/// assert_eq!((gradients.dgamma, gradients.dbeta), (0.5, 1.0)); // 0.5 * -1 + 1
/// ```
pub fn backward<R: Real>(x: &[R], gamma: R, epsilon: R, Correction { r, d }: Correction<R>, dy: &[R]) -> Gradients<R> {
    let batch = by_batch(x, R::constant(1.0), R::constant(0.0), epsilon);
    let n = R::constant(x.len() as f64);
    let dbeta = sum(dy.iter().copied());
    let products = sum(dy.iter().zip(&batch.normalized).map(|(&dy, &xhat)| dy * xhat));
    let scale = gamma * r * batch.inverse_deviation;
    let dx = |(&dy, &xhat): (&R, &R)| scale * (dy - dbeta / n - xhat * products / n);
    Gradients { dx: dy.iter().zip(&batch.normalized).map(dx).collect(), dgamma: r * products + d * dbeta, dbeta }
}
