//! Batch norm of one feature, written to be read: the twin that every fast loop is checked against.
//!
//! Some views of the same function of x = (x_1 .. x_n), gamma, beta and eps:
//!
//! - [`compact`]: the formula and its gradient in closed form;
//! - [`staged`]: the computation graph node by node, forward and backward, each with its local derivative;
//! - [`graph`]: that graph as data, with the derivative along every edge, and a walk over it that knows no formula;
//! - [`jacobian`]: every d y_i / d x_l;
//! - [`mixed`]: by statistics that are only in part the batch's;
//! - [`renormalized`]: by those of the batch, corrected towards running ones;
//! - [`weighted`]: where values have weights, or are masked;
//! - [`invertible`]: the gradient from y, where x is gone;
//! - [`whitening`]: of a group of channels, decorrelated;
//! - [`rows`]: layer, group, instance and RMS norm, which do not look at the batch;
//! - [`tangent`]: the directional derivative, forwards through the formula;
//! - [`second_order`]: the same through the backward pass: the Hessian times a direction;
//! - [`whole`]: whole arrays, of which it says what is normalised together;
//! - any of them over another number type: they are generic over [`Real`], so that complex numbers, dual numbers or
//!   double-double arithmetic ([`number`] has all three) can be put in for `f64`.
//!
//! ```
//! use batchnorm_reference::number::Dual;
//! use batchnorm_reference::{Real, compact};
//! // How y moves with the last x alone: a column of the Jacobian, by numbers that carry a derivative.
//! let x = [Dual(1.0, 0.0), Dual(2.0, 0.0), Dual(6.0, 1.0)];
//! let [gamma, beta, epsilon] = [2.0, 0.5, 1e-5].map(Dual::constant);
//! let column: Vec<f64> = compact::forward(&x, gamma, beta, epsilon).y.iter().map(|y| y.1).collect();
//! let rows = batchnorm_reference::jacobian::jacobian(&[1.0, 2.0, 6.0], 2.0, 1e-5);
//! assert!((0..3).all(|i| (column[i] - rows[3 * i + 2]).abs() < 1e-15));
//! ```
//!
//! [`random`] has the seeded numbers that tests and tools compare by.
//!
//! No care is taken here of overflow, policies or speed.

pub mod compact;
pub mod graph;
pub mod invertible;
pub mod jacobian;
pub mod mixed;
pub mod number;
pub mod random;
pub mod renormalized;
pub mod rows;
pub mod second_order;
pub mod staged;
pub mod tangent;
pub mod weighted;
pub mod whitening;
pub mod whole;

use std::ops::{Add, Div, Mul, Neg, Sub};

/// The arithmetic the formulas need.
pub trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// A constant.
    fn constant(value: f64) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
}

impl Real for f64 {
    fn constant(value: f64) -> f64 {
        value
    }
    fn sqrt(self) -> f64 {
        self.sqrt()
    }
}

/// Single precision, as a plain implementation has it: not for truth, but for how far such an implementation goes astray.
impl Real for f32 {
    fn constant(value: f64) -> f32 {
        value as f32
    }
    fn sqrt(self) -> f32 {
        self.sqrt()
    }
}

/// The sum, added up one after the other.
pub fn sum<R: Real>(values: impl IntoIterator<Item = R>) -> R {
    values.into_iter().fold(R::constant(0.0), |sum, value| sum + value)
}

/// The sum divided by the number of values.
pub fn mean<R: Real>(values: impl ExactSizeIterator<Item = R>) -> R {
    let n = R::constant(values.len() as f64);
    sum(values) / n
}
