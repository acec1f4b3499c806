//! How strictly gradients are judged: by the precision of their numbers, and by mistakes that can explain them.

use crate::arithmetic::ByArithmetic;
use crate::error::ProblemError;
use crate::mistakes::{Mistake, NO_GRADIENT};
use crate::parameter_sums::{Sums, Which};
use crate::precision::{Held, Precision};
use crate::problem::Problem;
use crate::rounding::Allowance;
use crate::row::Row;

/// The judge of one gradient.
pub(crate) struct Judge<'p> {
    pub problem: &'p Problem,
    pub mistakes: &'p [&'static Mistake],
    /// The precision of the numbers, and a narrower one in which they may have been computed nevertheless.
    pub precisions: Vec<Held>,
}

impl<'p> Judge<'p> {
    pub fn new(problem: &'p Problem, mistakes: &'p [&'static Mistake], held: Held) -> Judge<'p> {
        let wide = held.precision == Precision::Double && problem.narrow_input;
        let narrower = wide.then(|| Held::by(Precision::Single));
        Judge { problem, mistakes, precisions: [held].into_iter().chain(narrower).collect() }
    }

    /// The mistakes that can explain these values: where all are 0 there is one.
    pub fn mistakes_of(&self, given: &[f64]) -> Vec<&'static Mistake> {
        let nothing = given.iter().all(|value| *value == 0.0);
        self.mistakes.iter().copied().filter(|mistake| !nothing || **mistake == NO_GRADIENT).collect()
    }

    /// The right sums, and those of the mistakes that can explain these values.
    pub fn sums(&self, which: Which, given: &[f64]) -> Result<Sums, ProblemError> {
        let mut sums = Sums::new(which, given.len(), self.precisions.len(), &self.mistakes_of(given));
        for number in 0..self.problem.rows.count() {
            let row = Row::new(self.problem, number)?;
            sums.add(&row, &self.allowances(&row));
        }
        Ok(sums)
    }

    /// What is allowed of a row in each precision.
    pub fn allowances(&self, row: &Row) -> Vec<ByArithmetic<Allowance>> {
        self.precisions.iter().map(|&precision| row.allowance(precision)).collect()
    }
}
