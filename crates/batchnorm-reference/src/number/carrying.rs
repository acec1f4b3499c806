//! Numbers that carry a derivative through any formula that is generic over [`Real`].

use crate::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A complex number, for derivatives by a complex step: f'(x) = Im f(x + ih) / h.
///
/// Nothing is subtracted, so h may be as small as one likes and the derivative is as accurate as f itself (Squire and
/// Trapp 1998; Martins, Sturdza and Alonso 2003). f must be analytic: made of the operations here, without `abs`,
/// comparison or conjugation.
///
/// ```
/// use batchnorm_reference::number::Complex;
/// use batchnorm_reference::Real;
/// let x = Complex { re: 4.0, im: 1e-100 };
/// assert_eq!(x.sqrt().im / 1e-100, 0.25); // 1 / (2 sqrt(4))
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Complex {
    /// The real part.
    pub re: f64,
    /// The imaginary part.
    pub im: f64,
}

impl Add for Complex {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Complex { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Complex { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Neg for Complex {
    type Output = Self;
    fn neg(self) -> Self {
        Complex { re: -self.re, im: -self.im }
    }
}

impl Mul for Complex {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Complex { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}

impl Div for Complex {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        // Smith 1962: neither part is squared, so none is lost where one is very small.
        if other.re.abs() >= other.im.abs() {
            let ratio = other.im / other.re;
            let denominator = other.re + other.im * ratio;
            Complex { re: (self.re + self.im * ratio) / denominator, im: (self.im - self.re * ratio) / denominator }
        } else {
            let ratio = other.re / other.im;
            let denominator = other.re * ratio + other.im;
            Complex { re: (self.re * ratio + self.im) / denominator, im: (self.im * ratio - self.re) / denominator }
        }
    }
}

impl Real for Complex {
    fn constant(value: f64) -> Self {
        Complex { re: value, im: 0.0 }
    }

    /// The root with a real part >= 0.
    fn sqrt(self) -> Self {
        let Complex { re, im } = self;
        if re == 0.0 && im == 0.0 {
            return self;
        }
        let large = ((re.abs() + re.hypot(im)) / 2.0).sqrt();
        let small = im.abs() / (2.0 * large);
        let (re, size) = if re >= 0.0 { (large, small) } else { (small, large) };
        Complex { re, im: size.copysign(im) }
    }
}

/// A value and its derivative in one direction: forward mode (Wengert 1964), without a step.
///
/// Generic, so that duals of [`DoubleDouble`](super::DoubleDouble) are derivatives of f64 formulas to 30 digits, and
/// duals of duals second derivatives.
///
/// ```
/// use batchnorm_reference::number::Dual;
/// let x = Dual(3.0, 1.0);
/// assert_eq!((x * x * x).1, 27.0); // d x^3 = 3 x^2
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dual<R>(pub R, pub R);

impl<R: Real> Add for Dual<R> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Dual(self.0 + other.0, self.1 + other.1)
    }
}

impl<R: Real> Sub for Dual<R> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Dual(self.0 - other.0, self.1 - other.1)
    }
}

impl<R: Real> Neg for Dual<R> {
    type Output = Self;
    fn neg(self) -> Self {
        Dual(-self.0, -self.1)
    }
}

impl<R: Real> Mul for Dual<R> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Dual(self.0 * other.0, self.0 * other.1 + self.1 * other.0)
    }
}

impl<R: Real> Div for Dual<R> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let ratio = self.0 / other.0;
        Dual(ratio, (self.1 - ratio * other.1) / other.0)
    }
}

impl<R: Real> Real for Dual<R> {
    fn constant(value: f64) -> Self {
        Dual(R::constant(value), R::constant(0.0))
    }

    fn sqrt(self) -> Self {
        let root = self.0.sqrt();
        Dual(root, self.1 / (root + root))
    }
}
