//! How far a given gradient is from the right one and from each mistake.

use crate::decision::{Fit, Fits, PLAIN};
use crate::mistakes::{MISTAKES, Mistake};
use crate::problem::Problem;
use crate::rounding::{Allowance, Seen};
use crate::row::{Line, Multiplier, Row};
use crate::wrong_order::is_permuted;
use batchnorm_reference::number::DoubleDouble;

/// The fits of a row's dx, and where the worst error is.
pub(crate) struct OfRow {
    pub fits: Fits,
    pub at: usize,
    /// What stands there, and should.
    pub expected: f64,
}

/// A gradient that is smaller than this by its measure is not asked how much of it is lost.
const LEAST: f64 = 0.03;

/// A part of a whole by which errors are measured; 0 of 0 is nothing.
pub(crate) fn part(error: f64, whole: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / whole }
}

impl Row<'_> {
    /// What dx's errors are measured by: max|gamma| r max|dy|.
    pub fn measure(&self) -> f64 {
        self.sizes.max_gamma * self.inverse * self.sizes.max_terms[0]
    }

    /// The greatest distance between dx and a line, and where.
    fn distance(&self, line: &Line, dx: &[f64]) -> (f64, usize) {
        let mut worst = (0.0f64, 0);
        let mut look = |i: usize, value: f64| {
            let error = (dx[i] - value).abs();
            if error > worst.0 || error.is_nan() && !worst.0.is_nan() {
                worst = (error, i);
            }
        };
        match self.gamma {
            // One gamma, and no weights: three numbers.
            [gamma] if self.weights.is_none() => {
                let own = line.direct[0] + gamma * (line.direct[1] + gamma * line.direct[2]);
                let (level, slope) = (line.level[0] + gamma * line.level[1], line.slope[0] + gamma * line.slope[1]);
                let terms = self.dy.iter().zip(&self.centered).map(|(dy, c)| own * dy + slope * c + level);
                terms.enumerate().for_each(|(i, value)| look(i, value));
            }
            _ => (0..dx.len()).for_each(|i| look(i, self.at(line, i))),
        }
        worst
    }

    /// The right dx: by the formula, and where all values are alike the one that is declared too.
    fn right_lines(&self) -> Vec<Line> {
        let formula = self.right();
        if self.constant && self.has_variance_term() { vec![formula, self.line(0.0, 0.0, 0.0)] } else { vec![formula] }
    }

    /// The fits of dx.
    pub fn score(&self, dx: &[f64], allowances: &[Allowance], mistakes: &[&'static Mistake]) -> OfRow {
        let measure = self.measure();
        let fit = |error: f64, larger: f64| {
            let of = |allowance: &Allowance| [0, 1, 2].map(|level| error / allowance.dx(level, larger));
            Fit::new(allowances.iter().map(of).collect(), part(error, measure))
        };
        let right = self.right();
        let distances = self.right_lines().into_iter().map(|line| (self.distance(&line, dx), line));
        let nearest = distances.reduce(|one, other| if other.0.0 < one.0.0 { other } else { one });
        let ((error, at), line) = nearest.expect("the formula is one");
        let mut ways = Vec::new();
        for &mistake in mistakes {
            for line in (mistake.dx)(self) {
                // What is larger has larger rounding errors.
                let larger = part(line.size, right.size).max(1.0) * part(line.inverse, self.inverse).max(1.0);
                ways.push((mistake, fit(self.distance(&line, dx).0, larger)));
            }
        }
        let lost = if self.inverse == 0.0 { 0.0 } else { part(error, self.largest(&line).max(LEAST * measure)) };
        OfRow { fits: Fits { right: fit(error, 1.0), ways, one_number: false, lost }, at, expected: self.at(&line, at) }
    }

    /// The largest value of a line.
    fn largest(&self, line: &Line) -> f64 {
        (0..self.x.len()).fold(0.0, |most, i| self.at(line, i).abs().max(most))
    }

    /// How much of dy, of a constant and of x - mean is in dx, as parts of the right ones. `None` where dx is not made of
    /// these, to what is allowed; where they do not differ; and where the right one lacks one of them.
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
        let rest = |values: &[f64]| {
            let (level, slope) = (dot(values, &ones) / n, slope(values));
            values.iter().zip(&self.centered).map(|(value, c)| value - level - slope * c).collect::<Vec<f64>>()
        };
        let (rest_dx, rest_dy) = (rest(dx), rest(self.dy));
        let own = dot(&rest_dx, &rest_dy) / dot(&rest_dy, &rest_dy);
        let left = rest_dx.iter().zip(&rest_dy).map(|(dx, dy)| (dx - own * dy).abs()).fold(0.0, f64::max);
        let centred = if self.has_mean_term() { 1.0 } else { f64::NAN };
        let level = (dot(dx, &ones) - own * dot(self.dy, &ones)) / n * centred;
        let slope = slope(dx) - own * slope(self.dy);
        let right = self.right();
        let parts = [own / (gamma * right.direct[1]), level / right.level[0], slope / right.slope[0]];
        (left <= allowed && parts.iter().all(|part| part.is_finite())).then_some(parts)
    }
}

/// Which parameter gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Which {
    Gamma,
    Beta,
}

/// Above so many parameters the first ones alone are compared with the mistakes, for memory's sake.
const MOST_COMPARED: usize = 1 << 17;

/// The sums of dgamma or dbeta, right and by each mistake, added up row after row.
pub(crate) struct Sums {
    which: Which,
    mistakes: Vec<&'static Mistake>,
    right: Vec<DoubleDouble>,
    /// sum|dy xhat| or sum|dy|.
    pub terms: Vec<f64>,
    /// What is allowed of each, absolute, for each precision and each kind of arithmetic.
    allowed: Vec<Vec<[f64; 3]>>,
    ways: Vec<Way>,
}

/// The sums of one way of a mistake, and what is allowed of each, as of the right ones.
struct Way {
    mistake: &'static Mistake,
    sums: Vec<f64>,
    allowed: Vec<Vec<[f64; 3]>>,
}

impl Sums {
    pub fn new(which: Which, parameters: usize, precisions: usize, mistakes: &[&'static Mistake]) -> Sums {
        Sums {
            which,
            mistakes: mistakes.to_vec(),
            right: vec![DoubleDouble::default(); parameters],
            terms: vec![0.0; parameters],
            allowed: vec![vec![[0.0; 3]; parameters]; precisions],
            ways: Vec::new(),
        }
    }

    /// The largest of the right sums, or a small part of their terms.
    pub fn largest(&self) -> f64 {
        let sums = (0..self.right.len()).map(|parameter| self.right(parameter).abs());
        let terms = self.terms.iter().map(|terms| 1e-3 * terms);
        sums.chain(terms).fold(0.0, f64::max)
    }

    pub fn add(&mut self, row: &Row, allowances: &[Allowance]) {
        let first = row.problem.first_parameter(row.number);
        let of_row = row.gamma.len() == 1 && row.problem.values_a_parameter() == row.x.len();
        let right = match self.which {
            Which::Gamma => Multiplier { slope: row.inverse, level: 0.0, power: 0 },
            Which::Beta => Multiplier { slope: 0.0, level: 1.0, power: 0 },
        };
        // sum|dy (x - m)| and sum|dy| of each parameter.
        let mut absolute = vec![[0.0; 2]; row.gamma.len()];
        for i in (0..row.x.len()).filter(|&i| row.counts(i)) {
            let own = i / row.positions;
            let term = match self.which {
                Which::Gamma => DoubleDouble::product(row.dy[i], row.centered[i]) * DoubleDouble::from(right.slope),
                Which::Beta => DoubleDouble::from(row.dy[i]),
            };
            self.right[first + own] = self.right[first + own] + term;
            absolute[own][0] += (row.dy[i] * row.centered[i]).abs();
            absolute[own][1] += row.dy[i].abs();
        }
        // The twin's own sums are those of the row: where the parameter has other rows too, there are only derived bounds.
        let allowed = |multiplier: &Multiplier, absolute: &[f64; 2], allowance: &Allowance| {
            [0, 1, 2].map(|level| {
                let [products, sums] = *absolute;
                let (slope, shift) = (multiplier.slope.abs(), multiplier.level.abs() * sums);
                let larger = part(slope, row.inverse).max(1.0);
                let turned = allowance.scale[level] * larger * (slope * products);
                let shifted = allowance.shift[level] * part(slope, row.inverse) * sums + allowance.sum[level] * shift;
                let by_x = if multiplier.slope == 0.0 { 0.0 } else { allowance.scale[level] * larger * shift };
                let seen = |seen: &Seen| match multiplier.slope {
                    _ if !of_row => 0.0,
                    0.0 => seen.dbeta * multiplier.level.abs(),
                    _ => seen.dgamma * larger * larger,
                };
                // x - m and the deviation are both 0: no bound can be given.
                if allowance.undefined && level > 0 && self.which == Which::Gamma {
                    f64::INFINITY
                } else {
                    allowance.most(level, turned + shifted + by_x, seen)
                }
            })
        };
        for (own, absolute) in absolute.iter().enumerate() {
            let [products, sums] = absolute;
            self.terms[first + own] += if self.which == Which::Gamma { products * row.inverse } else { *sums };
            for (allowance, all) in allowances.iter().zip(&mut self.allowed) {
                for (all, more) in all[first + own].iter_mut().zip(allowed(&right, absolute, allowance)) {
                    *all += more;
                }
            }
        }
        let compared = self.right.len().min(MOST_COMPARED);
        let mut number = 0;
        for &mistake in &self.mistakes {
            let multipliers = match self.which {
                Which::Gamma => (mistake.dgamma)(row),
                Which::Beta => (mistake.dbeta)(row),
            };
            for multiplier in multipliers {
                if self.ways.len() == number {
                    let allowed = vec![vec![[0.0; 3]; compared]; allowances.len()];
                    self.ways.push(Way { mistake, sums: vec![0.0; compared], allowed });
                }
                let way = &mut self.ways[number];
                number += 1;
                for (own, &gamma) in row.gamma.iter().enumerate().filter(|(own, _)| first + own < compared) {
                    let factor = gamma.powi(multiplier.power);
                    let values = (own * row.positions..(own + 1) * row.positions).filter(|&i| row.counts(i));
                    let terms = values.map(|i| row.dy[i] * (multiplier.slope * row.centered[i] + multiplier.level));
                    way.sums[first + own] += factor * terms.sum::<f64>();
                    for (allowance, all) in allowances.iter().zip(&mut way.allowed) {
                        for (all, more) in
                            all[first + own].iter_mut().zip(allowed(&multiplier, &absolute[own], allowance))
                        {
                            *all += more * factor.abs();
                        }
                    }
                }
            }
        }
    }

    pub fn right(&self, parameter: usize) -> f64 {
        self.right[parameter].to_f64()
    }

    /// Whether values are the right ones, of this size, in another order.
    pub fn are_permuted(&self, given: &[f64], size: f64) -> bool {
        let allowed = (0..given.len()).map(|parameter| self.plain(parameter));
        let right = (0..given.len()).map(|parameter| self.right(parameter)).collect();
        is_permuted(given, right, allowed.fold(0.0, f64::max), size)
    }

    /// What plain arithmetic may be off by.
    pub fn plain(&self, parameter: usize) -> f64 {
        self.allowed[0][parameter][PLAIN]
    }

    /// How a given value fits; the largest of all is given once, for its sake.
    pub fn score(&self, parameter: usize, given: f64, largest: f64) -> Fits {
        let terms = self.terms[parameter];
        let fit = |error: f64, allowed: &[Vec<[f64; 3]>]| {
            let of = |allowed: &Vec<[f64; 3]>| allowed[parameter].map(|allowed| error / allowed);
            Fit::new(allowed.iter().map(of).collect(), part(error, terms))
        };
        let right = (DoubleDouble::from(given) - self.right[parameter]).to_f64().abs();
        let ways = self.ways.iter().filter(|way| parameter < way.sums.len());
        let ways = ways.map(|way| (way.mistake, fit((given - way.sums[parameter]).abs(), &way.allowed)));
        Fits {
            right: fit(right, &self.allowed),
            ways: ways.collect(),
            one_number: self.which == Which::Gamma,
            lost: if self.plain(parameter).is_finite() { part(right, largest) } else { 0.0 },
        }
    }
}

/// The mistakes that can be made of a problem.
pub(crate) fn possible(problem: &Problem) -> Vec<&'static Mistake> {
    MISTAKES.iter().filter(|mistake| (mistake.applies)(problem)).collect()
}
