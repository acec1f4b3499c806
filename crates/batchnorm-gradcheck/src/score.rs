//! How far a given dx is from the right one and from that of each mistake, within one row.

use crate::arithmetic::ByArithmetic;
use crate::decision::{Fit, Fits};
use crate::mistakes::Mistake;
use crate::rounding::Allowance;
use crate::row::{Line, Row};

/// The fits of a row's dx, and where the worst error is.
pub(crate) struct RowScore {
    pub fits: Fits,
    /// The place of the worst error in the row.
    pub worst: usize,
    /// The right value there.
    pub expected: f64,
}

/// Below this, by its measure, a gradient counts as this large where its loss is computed: next to 0 any error is a large
/// part.
const MIN_LARGEST: f64 = 0.03;

/// An error as a part of what it is measured by. An error of 0 is 0, whatever it is measured by.
pub(crate) fn part(error: f64, whole: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / whole }
}

impl Row<'_> {
    /// The measure of dx's errors: max|gamma| r max|dy|, of batch renormalisation times its r.
    pub fn measure(&self) -> f64 {
        self.sizes.max_gamma * (self.r() * self.inverse) * self.sizes.max_terms[0]
    }

    /// The greatest distance between dx and a line, and its place in the row.
    fn distance(&self, line: &Line, dx: &[f64]) -> (f64, usize) {
        let mut worst = (0.0f64, 0);
        let mut compare = |i: usize, value: f64| {
            let error = (dx[i] - value).abs();
            if error > worst.0 || error.is_nan() && !worst.0.is_nan() {
                worst = (error, i);
            }
        };
        match self.gamma {
            // With one gamma, and no weights, the line is three numbers: no gamma has to be looked up for each value.
            [gamma] if self.weights.is_none() => {
                let direct = line.direct[0] + gamma * (line.direct[1] + gamma * line.direct[2]);
                let (level, slope) = (line.level[0] + gamma * line.level[1], line.slope[0] + gamma * line.slope[1]);
                let values = self.dy.iter().zip(&self.centered).map(|(dy, c)| direct * dy + slope * c + level);
                values.enumerate().for_each(|(i, value)| compare(i, value));
            }
            _ => (0..dx.len()).for_each(|i| compare(i, self.at(line, i))),
        }
        worst
    }

    /// The right dx: by the formula, and where all values are alike the one that is declared too.
    fn right_lines(&self) -> Vec<Line> {
        let formula = self.right();
        if self.constant && self.has_variance_term() { vec![formula, self.line(0.0, 0.0, 0.0)] } else { vec![formula] }
    }

    /// The fits of dx: to the right lines, of which the nearest counts, and to each variant of each mistake.
    pub fn score(&self, dx: &[f64], allowances: &[ByArithmetic<Allowance>], mistakes: &[&'static Mistake]) -> RowScore {
        let measure = self.measure();
        let fit = |error: f64, larger: f64| {
            let ratios = allowances.iter().map(|allowance| allowance.map(|allowance| error / allowance.dx(larger)));
            Fit::new(ratios.collect(), part(error, measure))
        };
        let right = self.right();
        let distances = self.right_lines().into_iter().map(|line| (self.distance(&line, dx), line));
        let nearest = distances.reduce(|one, other| if other.0.0 < one.0.0 { other } else { one });
        let ((error, worst), line) = nearest.expect("the formula is one");
        let mut variants = Vec::new();
        for &mistake in mistakes {
            for line in (mistake.dx)(self) {
                // What is larger has larger rounding errors.
                let larger = part(line.size, right.size).max(1.0) * part(line.inverse, self.inverse).max(1.0);
                variants.push((mistake, fit(self.distance(&line, dx).0, larger)));
            }
        }
        // (Where the gradient is declared there is nothing to lose.)
        let largest = self.largest(&line).max(MIN_LARGEST * measure);
        let lost = if self.inverse == 0.0 { 0.0 } else { part(error, largest) };
        let given = dx.iter().fold(0.0, |size: f64, value| size.max(value.abs()));
        let size = part(given.min(self.largest(&line)), measure);
        let fits = Fits { right: fit(error, 1.0), variants, one_number: false, lost, size };
        RowScore { fits, worst, expected: self.at(&line, worst) }
    }

    /// The largest absolute value of a line.
    fn largest(&self, line: &Line) -> f64 {
        (0..self.x.len()).fold(0.0, |largest, i| self.at(line, i).abs().max(largest))
    }

    /// The amounts of dy, of a constant and of x - mean in dx, as parts of the right ones. `None` where dx is not made of
    /// these, to within `allowed`; where they do not differ; and where the right one lacks one of them.
    pub fn terms(&self, dx: &[f64], allowed: f64) -> Option<[f64; 3]> {
        let &[gamma] = self.gamma else { return None };
        if self.weights.is_some() || !self.has_variance_term() || self.x.len() < 4 {
            return None;
        }
        // Least squares by orthogonal parts: 1, x - mean, and what dy has beside these.
        let n = self.len();
        let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        let ones = vec![1.0; self.x.len()];
        let slope = |values: &[f64]| dot(values, &self.centered) / dot(&self.centered, &self.centered);
        let residuals = |values: &[f64]| {
            let (level, slope) = (dot(values, &ones) / n, slope(values));
            values.iter().zip(&self.centered).map(|(value, c)| value - level - slope * c).collect::<Vec<f64>>()
        };
        let (of_dx, of_dy) = (residuals(dx), residuals(self.dy));
        let direct = dot(&of_dx, &of_dy) / dot(&of_dy, &of_dy);
        let unexplained = of_dx.iter().zip(&of_dy).map(|(dx, dy)| (dx - direct * dy).abs()).fold(0.0, f64::max);
        // (Of RMS norm the right dx has no constant: NaN, and so `None`.)
        let has_level = if self.has_mean_term() { 1.0 } else { f64::NAN };
        let level = (dot(dx, &ones) - direct * dot(self.dy, &ones)) / n * has_level;
        let slope = slope(dx) - direct * slope(self.dy);
        let right = self.right();
        let parts = [direct / (gamma * right.direct[1]), level / right.level[0], slope / right.slope[0]];
        (unexplained <= allowed && parts.iter().all(|part| part.is_finite())).then_some(parts)
    }
}
