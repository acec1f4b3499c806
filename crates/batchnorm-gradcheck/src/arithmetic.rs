//! The kinds of arithmetic a gradient may have been computed with, and values that there are one of for each.

use std::ops::AddAssign;

/// A kind of arithmetic, by how sums are made. `rounding.rs` derives how far a right gradient may be off by each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arithmetic {
    /// Sums in pairs, in blocks or in a wider type.
    Careful,
    /// Running sums in the precision itself.
    Plain,
    /// Plain, with the variance as mean(x^2) - mean(x)^2.
    OnePass,
}

/// A value for each kind of arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ByArithmetic<T> {
    pub careful: T,
    pub plain: T,
    pub one_pass: T,
}

impl<T> ByArithmetic<T> {
    /// Makes the three values, careful first.
    pub fn each(value: impl Fn(Arithmetic) -> T) -> Self {
        let [careful, plain, one_pass] = [Arithmetic::Careful, Arithmetic::Plain, Arithmetic::OnePass].map(value);
        ByArithmetic { careful, plain, one_pass }
    }

    /// Turns each of the three values into another.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> ByArithmetic<U> {
        let [careful, plain, one_pass] = [self.careful, self.plain, self.one_pass].map(change);
        ByArithmetic { careful, plain, one_pass }
    }
}

impl ByArithmetic<f64> {
    /// The larger value of each kind of arithmetic.
    pub fn max(self, other: Self) -> Self {
        ByArithmetic {
            careful: self.careful.max(other.careful),
            plain: self.plain.max(other.plain),
            one_pass: self.one_pass.max(other.one_pass),
        }
    }
}

impl AddAssign for ByArithmetic<f64> {
    fn add_assign(&mut self, other: Self) {
        self.careful += other.careful;
        self.plain += other.plain;
        self.one_pass += other.one_pass;
    }
}
