//! The backward pass once more along a direction: second derivatives (forward mode over the closed form of the gradient).

use super::compact::Gradients;
use super::mixed::Statistics;
use super::tangent::{Direction, Moving};
use super::{Real, mean, rows, sum};

/// The derivative of [`mixed::backward`](super::mixed::backward) at (x, gamma) along (x', gamma'), dy held: each line is the
/// derivative of one line of it. (beta' plays no part; dbeta' = 0.)
///
/// It is the Hessian of `sum dy y` by (x, gamma, beta) times the direction.
///
/// ```
/// use batchnorm_reference::{mixed, second_order, tangent};
/// let statistics = mixed::Statistics { running: [0.0, 1.0], share: 1.0 };
/// let (x, dy) = ([1.0f64, 2.0, 6.0], [1.0, 0.0, 0.5]);
/// let along = |gamma| tangent::Direction { x: &[0.0, 1.0, 0.0], gamma, beta: 0.0 };
/// let moved = second_order::backward_tangent(&x, 2.0, 1e-5, statistics, true, &dy, along(0.3));
/// // Against differences.
/// let at = |t: f64| mixed::backward(&[1.0, 2.0 + t, 6.0], 2.0 + 0.3 * t, 1e-5, statistics, true, &dy).dx[0];
/// assert!((moved.dx[0] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-9);
/// ```
pub fn backward_tangent<R: Real>(
    x: &[R],
    gamma: R,
    epsilon: R,
    statistics: Statistics<R>,
    flows: bool,
    dy: &[R],
    direction: Direction<R>,
) -> Gradients<R> {
    let (zero, t) = (R::constant(0.0), direction.x);
    let Moving { mu: [mu, mu_t], m: [m, m_t], r: [r, r_t] } = Moving::new(x, t, epsilon, statistics, flows);
    // The batch's share as far as it flows.
    let w = if flows { statistics.share } else { zero };
    // xhat = (x - m) r, and about the batch's own mean
    let xhat: Vec<R> = x.iter().map(|&x| (x - m) * r).collect();
    let xhat_t: Vec<R> = x.iter().zip(t).map(|(&x, &t)| (t - m_t) * r + (x - m) * r_t).collect();
    let about: Vec<R> = x.iter().map(|&x| (x - mu) * r).collect();
    let about_t: Vec<R> = x.iter().zip(t).map(|(&x, &t)| (t - mu_t) * r + (x - mu) * r_t).collect();
    // dgamma = sum dy xhat, q = dgamma / n
    let n = R::constant(x.len() as f64);
    let dgamma = sum(dy.iter().zip(&xhat).map(|(&dy, &xhat)| dy * xhat));
    let dgamma_t = sum(dy.iter().zip(&xhat_t).map(|(&dy, &xhat_t)| dy * xhat_t));
    let (q, q_t) = (dgamma / n, dgamma_t / n);
    // dx = gamma r (dy - w mean(dy) - w about q)
    let mean_dy = mean(dy.iter().copied());
    let scale_t = direction.gamma * r + gamma * r_t;
    let dx_t = |i: usize| {
        let inner = dy[i] - w * mean_dy - w * about[i] * q;
        let inner_t = -(w * (about_t[i] * q + about[i] * q_t));
        scale_t * inner + gamma * r * inner_t
    };
    Gradients { dx: (0..x.len()).map(dx_t).collect(), dgamma: dgamma_t, dbeta: zero }
}

/// The same of a row of layer, group or instance norm ([`rows::backward`]), or of RMS norm (`centred` false), with
/// gamma and gamma' of each element.
///
/// ```
/// use batchnorm_reference::{rows, second_order};
/// let (x, gamma, dy) = ([1.0, 2.0, 6.0], [1.0, 2.0, 0.5], [1.0, 0.0, 0.5]);
/// let along: [&[f64]; 2] = [&[0.0, 1.0, 0.0], &[0.0; 3]];
/// let moved = second_order::row_backward_tangent(&x, &gamma, 1e-5, &dy, true, along);
/// let at = |t: f64| rows::backward(&[1.0, 2.0 + t, 6.0], &gamma, 1e-5, &dy).dx[0];
/// assert!((moved.dx[0] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-9);
/// ```
pub fn row_backward_tangent<R: Real>(
    x: &[R],
    gamma: &[R],
    epsilon: R,
    dy: &[R],
    centred: bool,
    [x_t, gamma_t]: [&[R]; 2],
) -> rows::Gradients<R> {
    let (zero, one, two) = (R::constant(0.0), R::constant(1.0), R::constant(2.0));
    let n = R::constant(x.len() as f64);
    let center = |values: &[R]| if centred { sum(values.iter().copied()) / n } else { zero };
    let product = |one: &[R], other: &[R]| sum(one.iter().zip(other).map(|(&one, &other)| one * other)) / n;
    // c = x - m
    let (m, m_t) = (center(x), center(x_t));
    let c: Vec<R> = x.iter().map(|&x| x - m).collect();
    let c_t: Vec<R> = x_t.iter().map(|&t| t - m_t).collect();
    // r = 1 / sqrt(v + eps), v = mean(c^2)
    let r = one / (product(&c, &c) + epsilon).sqrt();
    let r_t = -(r * r * r * (two * product(&c, &c_t)) / two);
    // xhat = c r
    let xhat: Vec<R> = c.iter().map(|&c| c * r).collect();
    let xhat_t: Vec<R> = c.iter().zip(&c_t).map(|(&c, &c_t)| c_t * r + c * r_t).collect();
    // g = gamma dy
    let times = |factors: &[R]| factors.iter().zip(dy).map(|(&factor, &dy)| factor * dy).collect::<Vec<R>>();
    let (g, g_t) = (times(gamma), times(gamma_t));
    // dx = r (g - mean(g) - xhat mean(g xhat))
    let (off, off_t) = (center(&g), center(&g_t));
    let (q, q_t) = (product(&g, &xhat), product(&g_t, &xhat) + product(&g, &xhat_t));
    let dx_t = |i: usize| {
        let inner = g[i] - off - xhat[i] * q;
        let inner_t = g_t[i] - off_t - xhat_t[i] * q - xhat[i] * q_t;
        r_t * inner + r * inner_t
    };
    let dgamma = dy.iter().zip(&xhat_t).map(|(&dy, &xhat_t)| dy * xhat_t).collect();
    rows::Gradients { dx: (0..x.len()).map(dx_t).collect(), dgamma, dbeta: vec![zero; x.len()] }
}
