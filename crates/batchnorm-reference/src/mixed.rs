//! Mean and variance in part those of the batch, in part constants.

use super::compact::{Gradients, forward as by_batch};
use super::{Real, sum};

/// What a feature is normalised by.
#[derive(Debug, Clone, Copy)]
pub struct Statistics<R> {
    /// Running mean and variance.
    pub running: [R; 2],
    /// w, the share of the batch: 0 is evaluation, 1 training.
    pub share: R,
}

/// m = (1 - w) running mean + w batch mean and v = (1 - w) running variance + w batch variance.
fn mean_and_variance<R: Real>(x: &[R], Statistics { running, share }: Statistics<R>) -> [R; 2] {
    let batch = by_batch(x, R::constant(1.0), R::constant(0.0), R::constant(1.0));
    // (What is added and taken off again would cost digits.)
    let mix = |running: R, batch: R| running * (R::constant(1.0) - share) + batch * share;
    [mix(running[0], batch.mean), mix(running[1], batch.variance)]
}

/// y = gamma (x - m) / sqrt(v + eps) + beta.
///
/// ```
/// use batchnorm_reference::{compact, mixed};
/// let x = [1.0, 2.0, 6.0];
/// let all_of_the_batch = mixed::Statistics { running: [0.0, 1.0], share: 1.0 };
/// assert_eq!(mixed::forward(&x, 2.0, 0.5, 1e-5, all_of_the_batch), compact::forward(&x, 2.0, 0.5, 1e-5).y);
/// ```
pub fn forward<R: Real>(x: &[R], gamma: R, beta: R, epsilon: R, statistics: Statistics<R>) -> Vec<R> {
    let [m, v] = mean_and_variance(x, statistics);
    let r = R::constant(1.0) / (v + epsilon).sqrt();
    x.iter().map(|&x| gamma * ((x - m) * r) + beta).collect()
}

/// With the batch's mean mu: dm/dx_i = w / n and dv/dx_i = 2 w (x_i - mu) / n, so
/// dx_i = gamma r (dy_i - w mean(dy) - w (x_i - mu) r mean(dy xhat)); without the terms in w where the statistics do not
/// flow, but count as constants.
///
/// ```
/// use batchnorm_reference::mixed;
/// let statistics = mixed::Statistics { running: [0.0, 1.0], share: 0.1 };
/// let [flows, constant] = [true, false].map(|flows| mixed::backward(&[1.0, 2.0], 1.0, 1e-5, statistics, flows, &[1.0, 0.0]));
/// assert!(flows.dx[1] != 0.0 && constant.dx[1] == 0.0);
/// ```
pub fn backward<R: Real>(
    x: &[R],
    gamma: R,
    epsilon: R,
    statistics: Statistics<R>,
    flows: bool,
    dy: &[R],
) -> Gradients<R> {
    let [m, v] = mean_and_variance(x, statistics);
    let r = R::constant(1.0) / (v + epsilon).sqrt();
    let n = R::constant(x.len() as f64);
    let mu = sum(x.iter().copied()) / n;
    let dbeta = sum(dy.iter().copied());
    let dgamma = sum(dy.iter().zip(x).map(|(&dy, &x)| dy * ((x - m) * r)));
    let w = if flows { statistics.share } else { R::constant(0.0) };
    let dx = |(&dy, &x): (&R, &R)| gamma * r * (dy - w * dbeta / n - w * ((x - mu) * r) * dgamma / n);
    Gradients { dx: dy.iter().zip(x).map(dx).collect(), dgamma, dbeta }
}
