//! What gradients are made of, of the values that are normalised together: one row.
//!
//! Every gradient of x that follows from the formula, right or with a term wrong, is of one kind:
//!
//! ```text
//! dx_i = a dy_i + b + d (x_i - m)          right: a = gamma r, b = -gamma r mean(dy), d = -gamma r^3 mean(dy (x - m))
//! ```
//!
//! So a right or a wrong gradient is a [`Line`]: three numbers a row. Where gamma is another for each element (layer
//! norm), each may also come with a power of gamma; where values have weights, b and d come with the weight.

use crate::error::ProblemError;
use crate::problem::{Kind, Problem};
use batchnorm_reference::Real;
use batchnorm_reference::number::DoubleDouble;

/// Some dx: `own` times dy, gamma dy and gamma^2 dy; `level` times 1 and gamma; `slope` times (x - m) and
/// gamma (x - m).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub own: [f64; 3],
    pub level: [f64; 2],
    pub slope: [f64; 2],
    /// Whether level and slope come with a value's weight.
    pub weighted: bool,
    /// The inverse standard deviation it was made with.
    pub inverse: f64,
    /// How large it is before anything cancels: what its rounding errors are a part of.
    pub size: f64,
}

impl Line {
    pub fn at(&self, dy: f64, gamma: f64, c: f64, weight: f64) -> f64 {
        let own = (self.own[0] + gamma * (self.own[1] + gamma * self.own[2])) * dy;
        let level = self.level[0] + gamma * self.level[1];
        let slope = (self.slope[0] + gamma * self.slope[1]) * c;
        own + if self.weighted { weight * (level + slope) } else { level + slope }
    }

    pub fn times(self, factor: f64) -> Line {
        Line {
            own: self.own.map(|part| part * factor),
            level: self.level.map(|part| part * factor),
            slope: self.slope.map(|part| part * factor),
            size: self.size * factor.abs(),
            ..self
        }
    }
}

/// Some dgamma or dbeta: gamma^power times the sum of dy (slope (x - m) + level).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Multiplier {
    pub slope: f64,
    pub level: f64,
    pub power: i32,
}

/// Mean and variance of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// The mean as a pair.
    pub mean: DoubleDouble,
    pub variance: f64,
}

/// A row and its sums.
pub(crate) struct Row<'p> {
    pub problem: &'p Problem,
    pub number: usize,
    pub x: &'p [f64],
    pub dy: &'p [f64],
    pub weights: Option<&'p [f64]>,
    /// Of the row's parameters.
    pub gamma: &'p [f64],
    pub positions: usize,
    /// n, or the sum of the weights.
    pub n: f64,
    /// What x is centred by: the mean, the constant, or 0.
    pub mean: f64,
    /// x - mean.
    pub centered: Vec<f64>,
    /// Population variance, the constant, or the mean square.
    pub variance: f64,
    /// 1 / sqrt(variance + eps).
    pub inverse: f64,
    /// Mean and variance of the values themselves, without weights.
    pub own: Moments,
    /// Whether all values that count are alike.
    pub constant: bool,
    /// sum gamma^k dy.
    pub sums: [f64; 3],
    /// sum gamma^k dy (x - m).
    pub products: [f64; 3],
    /// The same of absolute values.
    pub sizes: Sizes,
}

/// Largest values and sums of absolute values, of what counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// max |gamma^k dy|.
    pub most: [f64; 3],
    /// sum |gamma^k dy|.
    pub sums: [f64; 3],
    /// sum |gamma^k dy (x - m)|.
    pub products: [f64; 3],
    /// max |x - m|.
    pub centered: f64,
    /// max |x|.
    pub x: f64,
    /// max |gamma|.
    pub gamma: f64,
    /// max weight.
    pub weight: f64,
}

impl<'p> Row<'p> {
    pub fn new(problem: &'p Problem, number: usize) -> Result<Row<'p>, ProblemError> {
        let Problem { rows, kind, epsilon, .. } = problem;
        let count = rows.values();
        let of = |values: &'p [f64]| &values[number * count..][..count];
        let (x, dy, weights) = (of(&problem.x), of(&problem.dy), problem.weights.as_deref().map(of));
        let first = problem.first_parameter(number);
        let gamma = &problem.gamma[first..first + count / rows.sharing()];
        let own = moments(x, None);
        let used = match weights {
            Some(_) => moments(x, weights),
            None => own,
        };
        let (mean, variance) = match kind {
            Kind::Batch | Kind::Sample => (used.mean, used.variance),
            Kind::Constants { mean, variance } => (DoubleDouble::from(mean[number]), variance[number]),
            Kind::RootMeanSquare => (DoubleDouble::from(0.0), mean_square(x)),
        };
        let sum = variance + epsilon;
        let counting = x.iter().zip(weights.unwrap_or(x)).filter(|(_, w)| weights.is_none() || **w > 0.0);
        let mut counting = counting.map(|(x, _)| *x);
        let first = counting.next().unwrap_or(0.0);
        let constant = counting.all(|x| x == first) && (*kind != Kind::RootMeanSquare || first == 0.0);
        // (Constant values with eps 0 have a declared gradient, 0.)
        if !((1e-290..=1e290).contains(&sum) || sum == 0.0 && constant) {
            // (Squares that overflow leave NaN in a pair.)
            let got = if sum.is_nan() { f64::INFINITY } else { sum };
            return Err(ProblemError::Range { what: problem.row_name(), row: number, got });
        }
        let mut row = Row {
            problem,
            number,
            x,
            dy,
            weights,
            gamma,
            positions: rows.sharing(),
            n: weights.map_or(x.len() as f64, |weights| weights.iter().sum()),
            mean: mean.0,
            // The mean as a pair: x - mean is then as accurate as x, however large the mean.
            centered: x.iter().map(|&x| (x - mean.0) - mean.1).collect(),
            variance,
            inverse: if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() },
            own,
            constant,
            sums: [0.0; 3],
            products: [0.0; 3],
            sizes: Sizes::default(),
        };
        let mut sizes = Sizes::default();
        let mut totals = [DoubleDouble::default(); 6];
        for i in (0..x.len()).filter(|&i| row.counts(i)) {
            let (gamma, c) = (row.gamma_of(i), row.centered[i]);
            sizes.centered = sizes.centered.max(c.abs());
            sizes.x = sizes.x.max(x[i].abs());
            sizes.gamma = sizes.gamma.max(gamma.abs());
            sizes.weight = sizes.weight.max(row.weight(i));
            let mut term = DoubleDouble::from(dy[i]);
            for k in 0..3 {
                let size = term.0.abs();
                sizes.most[k] = sizes.most[k].max(size);
                sizes.sums[k] += size;
                sizes.products[k] += size * c.abs();
                totals[k] = totals[k] + term;
                totals[3 + k] = totals[3 + k] + term * DoubleDouble::from(c);
                term = term * DoubleDouble::from(gamma);
            }
        }
        row.sums = [0, 1, 2].map(|k| totals[k].to_f64());
        row.sizes = sizes;
        row.products = [3, 4, 5].map(|k| totals[k].to_f64());
        let right = row.right();
        let finite = right.own.iter().chain(&right.level).chain(&right.slope).all(|part| part.is_finite());
        if !(finite && row.sums.iter().chain(&row.products).all(|sum| sum.is_finite())) {
            return Err(ProblemError::Overflow { what: problem.row_name(), row: number });
        }
        Ok(row)
    }

    pub fn counts(&self, i: usize) -> bool {
        self.weights.is_none_or(|weights| weights[i] > 0.0)
    }

    pub fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[i])
    }

    pub fn gamma_of(&self, i: usize) -> f64 {
        if let [gamma] = self.gamma { *gamma } else { self.gamma[i / self.positions] }
    }

    /// Number of values, whatever their weights.
    pub fn len(&self) -> f64 {
        self.x.len() as f64
    }

    /// Whether the right dx has the term in mean(dy).
    pub fn has_mean_term(&self) -> bool {
        matches!(self.problem.kind, Kind::Batch | Kind::Sample)
    }

    /// Whether the right dx has the term in mean(dy xhat).
    pub fn has_variance_term(&self) -> bool {
        !matches!(self.problem.kind, Kind::Constants { .. })
    }

    /// own gamma dy - level sum(gamma dy) - slope (x - m) sum(gamma dy (x - m)).
    pub fn line(&self, own: f64, level: f64, slope: f64) -> Line {
        let size = self.size([1, 1, 1], [own, level, slope]);
        Line {
            size,
            own: [0.0, own, 0.0],
            level: [-level * self.sums[1], 0.0],
            slope: [-slope * self.products[1], 0.0],
            weighted: self.weights.is_some(),
            inverse: self.inverse,
        }
    }

    /// How large a line is before anything cancels, each term with its power of gamma.
    pub fn size(&self, power: [usize; 3], [own, level, slope]: [f64; 3]) -> f64 {
        let Sizes { most, sums, products, centered, weight, .. } = &self.sizes;
        let terms = (level * sums[power[1]]).abs() + (slope * products[power[2]] * centered).abs();
        (own * most[power[0]]).abs() + weight * terms
    }

    /// What stands before the three terms of the right dx, with an inverse standard deviation.
    pub fn factors(&self, inverse: f64) -> [f64; 3] {
        let level = if self.has_mean_term() { inverse / self.n } else { 0.0 };
        let slope = if self.has_variance_term() { inverse * inverse * inverse / self.n } else { 0.0 };
        [inverse, level, slope]
    }

    /// dx, by the formula.
    pub fn right(&self) -> Line {
        let [own, level, slope] = self.factors(self.inverse);
        self.line(own, level, slope)
    }

    /// A value of a line.
    pub fn at(&self, line: &Line, i: usize) -> f64 {
        if !self.counts(i) && line.weighted {
            return 0.0;
        }
        line.at(self.dy[i], self.gamma_of(i), self.centered[i], self.weight(i))
    }

    /// gamma of each value.
    pub fn gamma_each(&self) -> Vec<f64> {
        (0..self.x.len()).map(|i| self.gamma_of(i)).collect()
    }
}

/// Mean and variance to full accuracy, by weights if there are some.
fn moments(x: &[f64], weights: Option<&[f64]>) -> Moments {
    let weight = |i: usize| weights.map_or(1.0, |weights| weights[i]);
    let counting = || (0..x.len()).filter(|&i| weight(i) > 0.0);
    let mut total = DoubleDouble::default();
    let mut sum = DoubleDouble::default();
    for i in counting() {
        total = total + DoubleDouble::from(weight(i));
        sum = sum + DoubleDouble::product(weight(i), x[i]);
    }
    let mean = sum / total;
    let mut squares = DoubleDouble::default();
    for i in counting() {
        let c = DoubleDouble::from(x[i]) - mean;
        squares = squares + DoubleDouble::from(weight(i)) * c * c;
    }
    Moments { mean, variance: (squares / total).to_f64() }
}

fn mean_square(x: &[f64]) -> f64 {
    let sum = x.iter().fold(DoubleDouble::default(), |sum, &x| sum + DoubleDouble::product(x, x));
    (sum / DoubleDouble::constant(x.len() as f64)).to_f64()
}
