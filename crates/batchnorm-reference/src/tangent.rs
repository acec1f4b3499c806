//! The directional derivative, forwards through the formula (forward mode; Wengert 1964).

use super::mixed::Statistics;
use super::{Real, mean};

/// A way to go from a point, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Direction<'d, R> {
    /// x', of each value.
    pub x: &'d [R],
    /// gamma'.
    pub gamma: R,
    /// beta'.
    pub beta: R,
}

/// y' of y = gamma (x - m) / sqrt(v + eps) + beta with m = (1 - w) running mean + w batch mean and
/// v = (1 - w) running variance + w batch variance: each line is the derivative of one line of the forward pass.
///
/// Where the statistics do not flow, but count as constants, m' = v' = 0.
///
/// ```
/// use batchnorm_reference::{mixed, tangent};
/// let statistics = mixed::Statistics { running: [0.0, 1.0], share: 1.0 };
/// let direction = tangent::Direction { x: &[1.0, 1.0, 1.0], gamma: 0.0, beta: 0.0 };
/// let moved = tangent::tangent(&[1.0, 2.0, 6.0], 2.0, 1e-5, statistics, true, direction);
/// assert!(moved.iter().all(|y: &f64| y.abs() < 1e-15)); // a shift of the whole batch
/// ```
pub fn tangent<R: Real>(
    x: &[R],
    gamma: R,
    epsilon: R,
    statistics: Statistics<R>,
    flows: bool,
    direction: Direction<R>,
) -> Vec<R> {
    let t = direction.x;
    let Moving { m: [m, m_t], r: [r, r_t], .. } = Moving::new(x, t, epsilon, statistics, flows);
    // y = gamma (x - m) r + beta
    let y_t =
        |(&x, &t): (&R, &R)| direction.gamma * ((x - m) * r) + gamma * ((t - m_t) * r + (x - m) * r_t) + direction.beta;
    x.iter().zip(t).map(y_t).collect()
}

/// What x is normalised by, each with its derivative along x'.
pub(super) struct Moving<R> {
    /// The batch's own mean.
    pub mu: [R; 2],
    /// The mean that is taken off.
    pub m: [R; 2],
    /// The inverse standard deviation.
    pub r: [R; 2],
}

impl<R: Real> Moving<R> {
    pub fn new(x: &[R], t: &[R], epsilon: R, Statistics { running, share: w }: Statistics<R>, flows: bool) -> Self {
        let (zero, one, two) = (R::constant(0.0), R::constant(1.0), R::constant(2.0));
        // mu = 1/n sum x
        let mu = mean(x.iter().copied());
        let mu_t = mean(t.iter().copied());
        // v of the batch = 1/n sum (x - mu)^2
        let variance = mean(x.iter().map(|&x| (x - mu) * (x - mu)));
        let variance_t = mean(x.iter().zip(t).map(|(&x, &t)| two * (x - mu) * (t - mu_t)));
        // m and v are mixed
        let mix = |running: R, batch: R| running * (one - w) + batch * w;
        let (m, v) = (mix(running[0], mu), mix(running[1], variance));
        let (m_t, v_t) = if flows { (w * mu_t, w * variance_t) } else { (zero, zero) };
        // r = 1 / sqrt(v + eps)
        let r = one / (v + epsilon).sqrt();
        let r_t = -(r * r * r * v_t / two);
        Moving { mu: [mu, mu_t], m: [m, m_t], r: [r, r_t] }
    }
}
