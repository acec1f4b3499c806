//! The computation graph node by node.
//!
//! ```text
//! x --> mean --> centered --> squared --> variance --> deviation --> inverse --> normalized --> scaled --> y
//!  \_____________/      \___________________________________________/
//! ```
//!
//! `centered` is used twice (squared, and multiplied by `inverse`), and x is used twice (averaged, and centred), so
//! their gradients are sums of two.

use super::compact::Gradients;
use super::{Real, mean, sum};

/// The value of every node, in the order of the forward pass.
#[derive(Debug, Clone)]
pub struct Nodes<R> {
    /// 1/n sum x.
    pub mean: R,
    /// x - mean.
    pub centered: Vec<R>,
    /// centered^2.
    pub squared: Vec<R>,
    /// 1/n sum squared.
    pub variance: R,
    /// sqrt(variance + eps).
    pub deviation: R,
    /// 1 / deviation.
    pub inverse: R,
    /// centered * inverse.
    pub normalized: Vec<R>,
    /// gamma * normalized.
    pub scaled: Vec<R>,
    /// scaled + beta.
    pub y: Vec<R>,
}

/// The gradient of the loss by every node, in the order of the forward pass; `dx`, `dgamma`, `dbeta` in
/// [`Backward::gradients`].
#[derive(Debug, Clone)]
pub struct Backward<R> {
    /// By the mean.
    pub mean: R,
    /// By the centred input: the sum over its two uses.
    pub centered: Vec<R>,
    /// By the squares.
    pub squared: Vec<R>,
    /// By the variance.
    pub variance: R,
    /// By the standard deviation.
    pub deviation: R,
    /// By its inverse.
    pub inverse: R,
    /// By the normalised input.
    pub normalized: Vec<R>,
    /// By the scaled input (equal to dy: adding a shift passes the gradient on).
    pub scaled: Vec<R>,
    /// By the input and the parameters.
    pub gradients: Gradients<R>,
}

/// The forward pass, keeping every node.
///
/// ```
/// use batchnorm_reference::staged;
/// let nodes = staged::forward(&[1.0, 2.0, 6.0], 2.0, 0.5, 1e-5);
/// assert_eq!(nodes.squared, [4.0, 1.0, 9.0]);
/// assert_eq!(nodes.deviation, (14.0f64 / 3.0 + 1e-5).sqrt());
/// ```
pub fn forward<R: Real>(x: &[R], gamma: R, beta: R, epsilon: R) -> Nodes<R> {
    let m = mean(x.iter().copied());
    let centered: Vec<R> = x.iter().map(|&x| x - m).collect();
    let squared: Vec<R> = centered.iter().map(|&c| c * c).collect();
    let variance = mean(squared.iter().copied());
    let deviation = (variance + epsilon).sqrt();
    let inverse = R::constant(1.0) / deviation;
    let normalized: Vec<R> = centered.iter().map(|&c| c * inverse).collect();
    let scaled: Vec<R> = normalized.iter().map(|&xhat| gamma * xhat).collect();
    let y = scaled.iter().map(|&s| s + beta).collect();
    Nodes { mean: m, centered, squared, variance, deviation, inverse, normalized, scaled, y }
}

/// The backward pass: each line is one node's local derivative times what came from above.
///
/// ```
/// use batchnorm_reference::{compact, staged};
/// let (x, dy) = ([1.0f64, 2.0, 6.0], [1.0, 0.0, 0.5]);
/// let by_nodes = staged::backward(&staged::forward(&x, 2.0, 0.5, 1e-5), 2.0, &dy);
/// let closed = compact::backward(&x, 2.0, 1e-5, &dy);
/// assert!(by_nodes.gradients.dx.iter().zip(&closed.dx).all(|(one, other)| (one - other).abs() < 1e-15));
/// ```
pub fn backward<R: Real>(nodes: &Nodes<R>, gamma: R, dy: &[R]) -> Backward<R> {
    let count = dy.len();
    let n = R::constant(count as f64);
    let (one, two) = (R::constant(1.0), R::constant(2.0));

    // y = scaled + beta
    let dbeta = sum(dy.iter().copied());
    let scaled = dy.to_vec();
    // scaled = gamma * normalized
    let dgamma = sum(scaled.iter().zip(&nodes.normalized).map(|(&d, &xhat)| d * xhat));
    let normalized: Vec<R> = scaled.iter().map(|&d| d * gamma).collect();
    // normalized = centered * inverse
    let inverse = sum(normalized.iter().zip(&nodes.centered).map(|(&d, &c)| d * c));
    let centered_directly = normalized.iter().map(|&d| d * nodes.inverse);
    // inverse = 1 / deviation
    let deviation = -(inverse * one / (nodes.deviation * nodes.deviation));
    // deviation = sqrt(variance + eps)
    let variance = deviation / (two * nodes.deviation);
    // variance = 1/n sum squared
    let squared = vec![variance / n; count];
    // squared = centered^2
    let centered_squared = squared.iter().zip(&nodes.centered).map(|(&d, &c)| d * two * c);
    let centered: Vec<R> = centered_directly.zip(centered_squared).map(|(a, b)| a + b).collect();
    // centered = x - mean
    let mean = -sum(centered.iter().copied());
    // mean = 1/n sum x
    let dx = centered.iter().map(|&d| d + mean / n).collect();

    let gradients = Gradients { dx, dgamma, dbeta };
    Backward { mean, centered, squared, variance, deviation, inverse, normalized, scaled, gradients }
}
