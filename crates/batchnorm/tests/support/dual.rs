//! Dual numbers (Clifford 1873): a value and its derivative in one direction. Of dual numbers they give second derivatives.

use batchnorm::reference::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

#[derive(Debug, Clone, Copy)]
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
