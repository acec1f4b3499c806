//! Double-double arithmetic: the truth for `f64`.

use crate::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number as the sum of two `f64`, the second one the rounding error of the first: about 106 bits (Dekker 1971).
///
/// It is a [`Real`], so all formulas of this crate can be computed in it: what `f64` results are measured by.
///
/// ```
/// use batchnorm_reference::number::DoubleDouble;
/// use batchnorm_reference::Real;
/// let two = DoubleDouble::from(2.0);
/// assert!((two.sqrt() * two.sqrt() - two).to_f64().abs() < 1e-31);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct DoubleDouble(pub f64, pub f64);

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

fn renormalized(high: f64, low: f64) -> DoubleDouble {
    let sum = high + low;
    DoubleDouble(sum, low - (sum - high))
}

impl DoubleDouble {
    /// The product of two `f64`, without any rounding.
    pub fn product(a: f64, b: f64) -> DoubleDouble {
        let product = a * b;
        DoubleDouble(product, a.mul_add(b, -product))
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        self.0 + self.1
    }
}

impl From<f64> for DoubleDouble {
    fn from(value: f64) -> Self {
        DoubleDouble(value, 0.0)
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (high, error) = two_sum(self.0, other.0);
        let (low, rest) = two_sum(self.1, other.1);
        let DoubleDouble(high, error) = renormalized(high, error + low);
        renormalized(high, error + rest)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        DoubleDouble(-self.0, -self.1)
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = self.0 * other.0;
        let error = self.0.mul_add(other.0, -product);
        renormalized(product, error + (self.0 * other.1 + self.1 * other.0))
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let first = self.0 / other.0;
        let rest = self - other * DoubleDouble::from(first);
        let second = rest.0 / other.0;
        let rest = rest - other * DoubleDouble::from(second);
        renormalized(first, second) + DoubleDouble::from(rest.0 / other.0)
    }
}

impl Real for DoubleDouble {
    fn constant(value: f64) -> Self {
        value.into()
    }

    fn sqrt(self) -> Self {
        if self.0 == 0.0 {
            return self;
        }
        // One step of Newton's method from the f64 root doubles its digits.
        let root = DoubleDouble::from(self.0.sqrt());
        root + (self - root * root) / (root + root)
    }
}
