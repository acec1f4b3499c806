//! The arithmetic between statistics and a scale and shift: one place for the layer, for inference and for folding.

use batchnorm_kernel::Moments;

/// 1 / sqrt(variance + eps), with eps inside the root (Ioffe and Szegedy 2015, algorithm 1).
///
/// Where variance and eps are both 0 there is nothing to normalise: 0, so that y = beta and dx = 0 by declaration.
///
/// ```
/// assert_eq!(batchnorm::inverse_deviation(3.0, 1.0), 0.5);
/// ```
pub fn inverse_deviation(variance: f64, epsilon: f64) -> f64 {
    let radicand = variance + epsilon;
    if radicand == 0.0 { 0.0 } else { 1.0 / radicand.sqrt() }
}

/// Batch norm with constant statistics as `y = x * scale + shift`: scale = gamma / sqrt(variance + eps),
/// shift = beta - mean * scale.
///
/// For folding into a neighbouring linear layer. The layer itself computes `(x - mean) * scale + beta`, which keeps
/// its digits where the mean is large.
///
/// ```
/// let (scale, shift) = batchnorm::scale_and_shift(2.0, 1.0, 5.0, 3.0, 1.0); // gamma, beta, mean, variance, eps
/// assert_eq!((scale, shift), (1.0, -4.0));
/// assert_eq!(7.0 * scale + shift, 2.0 * (7.0 - 5.0) / (3.0f64 + 1.0).sqrt() + 1.0);
/// ```
pub fn scale_and_shift(gamma: f64, beta: f64, mean: f64, variance: f64, epsilon: f64) -> (f64, f64) {
    let scale = gamma * inverse_deviation(variance, epsilon);
    (scale, beta - mean * scale)
}

/// The gamma and beta with which batch norm gives its input back: gamma = sqrt(variance + eps), beta = mean.
/// (gamma = sqrt(variance) does not: it is 4.7 % off at a standard deviation of 0.01 and eps 1e-5.)
///
/// ```
/// use batchnorm::{Axes, BatchNorm, View, undoing};
/// let (gamma, beta) = undoing(3.0, 14.0 / 3.0, 1e-5);
/// let mut layer = BatchNorm::new(1)?;
/// layer.set_gamma(&[gamma])?;
/// layer.set_beta(&[beta])?;
/// let x = [1.0f64, 2.0, 6.0]; // mean 3, population variance 14/3
/// let y = layer.train(&View::new(&x, &[3, 1], Axes::NCHW)?)?.y;
/// assert!(y.data().iter().zip(x).all(|(y, x)| (y - x).abs() < 1e-14));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn undoing(mean: f64, variance: f64, epsilon: f64) -> (f64, f64) {
    ((variance + epsilon).sqrt(), mean)
}

/// High and low part of the mean; NaN where the channel is not finite, so that all of its output is.
pub(crate) fn mean_or_nan(moments: &Moments) -> (f64, f64) {
    if moments.is_finite() { moments.mean_pair() } else { (f64::NAN, 0.0) }
}

/// The shift with the low part of the mean in it, which then need not be subtracted from every x:
/// (x - mean - mean_low) * scale + beta is (x - mean) * scale + (beta - mean_low * scale), and x - mean is as exact
/// where it matters.
pub(crate) fn corrected_shift(beta: f64, mean_low: f64, scale: f64) -> f64 {
    // Without a low part beta itself: 0 times a scale that has overflowed is NaN.
    if mean_low == 0.0 { beta } else { beta - mean_low * scale }
}
