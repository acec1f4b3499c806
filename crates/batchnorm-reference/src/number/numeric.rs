//! Derivatives of any function, without knowing its formula.

use super::carrying::{Complex, Dual};
use crate::Real;

/// The imaginary step of [`complex_step`]: 2^-332, about 1e-100. A power of two, so that nothing is rounded on the way in
/// or out, and so small that its square is nothing beside any number.
pub const COMPLEX_STEP: f64 = f64::from_bits((1023 - 332) << 52);

/// The step of [`central_difference`] as a part of the length over which f changes: u^(1/5), 6e-4, with u = 2^-53.
///
/// A step h costs rounding, about u / h, and truncation, about h^4: both relative, the step in that length. Their sum
/// is least near h = u^(1/5), and about 1e-13 times what f is made of (Dennis and Schnabel 1983, section 5.4, for
/// two points and h^2).
pub const DIFFERENCE_STEP: f64 = 6.4e-4;

/// d f / d x_i by a complex step ([`Complex`]): as accurate as f itself.
///
/// `f` gets x with [`COMPLEX_STEP`] added to x_i as its imaginary part, whatever the size of x_i: nothing is subtracted.
///
/// ```
/// use batchnorm_reference::number::complex_step;
/// // d (x_0^2 x_1) / d x_0 at (3, 5)
/// assert_eq!(complex_step(&[3.0, 5.0], 0, |x| x[0] * x[0] * x[1]), 30.0);
/// ```
///
/// # Panics
/// If x has no element `i`.
pub fn complex_step(x: &[f64], i: usize, f: impl FnOnce(&[Complex]) -> Complex) -> f64 {
    let mut x: Vec<Complex> = x.iter().map(|&x| Complex::constant(x)).collect();
    x[i].im = COMPLEX_STEP;
    f(&x).im / COMPLEX_STEP
}

/// d f / d x_i by differences about x, of fourth order:
/// (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h with h = [`DIFFERENCE_STEP`] * `length`.
///
/// `length` is how far x_i goes until f is clearly another: for batch norm not |x_i|, but sqrt(variance + eps). `weigh` turns
/// two values of f into their difference, a number: where f is a whole array y, that is sum dy (y_1 - y_2), which rounds less
/// than the difference of two sums.
///
/// ```
/// use batchnorm_reference::number::central_difference;
/// let mut x = [3.0, 5.0];
/// let slope = central_difference(&mut x, 0, 1.0, |x| x[0] * x[0] * x[1], |a, b| a - b);
/// assert!((slope - 30.0).abs() < 1e-10);
/// ```
///
/// # Panics
/// If x has no element `i`.
pub fn central_difference<Y>(
    x: &mut [f64],
    i: usize,
    length: f64,
    mut f: impl FnMut(&[f64]) -> Y,
    weigh: impl Fn(&Y, &Y) -> f64,
) -> f64 {
    let h = DIFFERENCE_STEP * length;
    let here = x[i];
    let mut slope = |steps: f64| {
        x[i] = here + steps * h;
        let above = (x[i], f(x));
        x[i] = here - steps * h;
        let below = (x[i], f(x));
        // By the distance that was really gone: x + h is rounded.
        let distance = above.0 - below.0;
        weigh(&above.1, &below.1) / distance
    };
    let (near, far) = (slope(1.0), slope(2.0));
    x[i] = here;
    (4.0 * near - far) / 3.0
}

/// The derivative of every output of f where x moves along `direction`, by [`Dual`] numbers: as accurate as f itself.
///
/// ```
/// use batchnorm_reference::number::directional_derivative;
/// let moved = directional_derivative(&[3.0, 5.0], &[1.0, -1.0], |x| vec![x[0] * x[1], x[0] / x[1]]);
/// assert_eq!(moved, [2.0, 0.32]);
/// ```
///
/// # Panics
/// If the lengths differ.
pub fn directional_derivative(
    x: &[f64],
    direction: &[f64],
    f: impl FnOnce(&[Dual<f64>]) -> Vec<Dual<f64>>,
) -> Vec<f64> {
    assert_eq!(x.len(), direction.len(), "a direction has a number for each of x's");
    let x: Vec<Dual<f64>> = x.iter().zip(direction).map(|(&x, &t)| Dual(x, t)).collect();
    f(&x).into_iter().map(|y| y.1).collect()
}
