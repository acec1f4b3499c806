//! A row: values that are normalised together, and the sums that their gradients are made of.
//!
//! Every gradient of x that follows from the formula, right or with a term wrong, is of one kind:
//!
//! ```text
//! dx_i = a dy_i + b + d (x_i - m)          right: a = gamma r, b = -gamma r mean(dy), d = -gamma r^3 mean(dy (x - m))
//! ```
//!
//! So a right or a wrong gradient is a [`Line`]: three numbers a row. Where gamma is another for each element (layer
//! norm), each may also come with a power of gamma; where values have weights, b and d come with the weight. Batch
//! renormalisation multiplies all three by its r.

use crate::correction::Correction;
use crate::error::ProblemError;
use crate::problem::{Kind, Problem};
use batchnorm_reference::Real;
use batchnorm_reference::number::DoubleDouble;

/// Some dx, by its three factors: that of dy, that of 1, and that of x - m.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    /// The factors of dy, gamma dy and gamma^2 dy: how x reaches y directly.
    pub direct: [f64; 3],
    /// The factors of 1 and gamma.
    pub level: [f64; 2],
    /// The factors of (x - m) and gamma (x - m).
    pub slope: [f64; 2],
    /// Whether level and slope come with a value's weight.
    pub weighted: bool,
    /// The inverse standard deviation it was made with.
    pub inverse: f64,
    /// Its size before anything cancels, of which its rounding errors are a part.
    pub size: f64,
}

impl Line {
    /// The value of dx for one value; c is its x - m.
    pub fn at(&self, dy: f64, gamma: f64, c: f64, weight: f64) -> f64 {
        let direct = (self.direct[0] + gamma * (self.direct[1] + gamma * self.direct[2])) * dy;
        let level = self.level[0] + gamma * self.level[1];
        let slope = (self.slope[0] + gamma * self.slope[1]) * c;
        direct + if self.weighted { weight * (level + slope) } else { level + slope }
    }

    /// The line times a factor.
    pub fn times(self, factor: f64) -> Line {
        Line {
            direct: self.direct.map(|part| part * factor),
            level: self.level.map(|part| part * factor),
            slope: self.slope.map(|part| part * factor),
            size: self.size * factor.abs(),
            ..self
        }
    }

    fn is_finite(&self) -> bool {
        self.direct.iter().chain(&self.level).chain(&self.slope).all(|part| part.is_finite())
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
    /// The mean as a pair: x - mean is then as accurate as x, however large the mean.
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
    /// gamma of the row's parameters.
    pub gamma: &'p [f64],
    /// The number of neighbouring values that have one parameter.
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
    /// What batch renormalisation corrects xhat by.
    pub correction: Option<Correction>,
    /// Mean and variance of the values themselves, without weights.
    pub unweighted: Moments,
    /// Whether all values that count are alike.
    pub constant: bool,
    /// sum gamma^k dy.
    pub sums: [f64; 3],
    /// sum gamma^k dy (x - m).
    pub products: [f64; 3],
    /// Largest values, and the sums of absolute values.
    pub sizes: Sizes,
}

/// Largest values and sums of absolute values, of what counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// max |gamma^k dy|.
    pub max_terms: [f64; 3],
    /// sum |gamma^k dy|.
    pub sums: [f64; 3],
    /// sum |gamma^k dy (x - m)|.
    pub products: [f64; 3],
    /// max |x - m|.
    pub max_centered: f64,
    /// max |x|.
    pub max_x: f64,
    /// max |gamma|.
    pub max_gamma: f64,
    /// max weight.
    pub max_weight: f64,
}

impl Sizes {
    /// Adds gamma^k dy and x - m of a value.
    fn add_terms(&mut self, terms: &[DoubleDouble; 3], c: f64) {
        self.max_centered = self.max_centered.max(c.abs());
        for (k, term) in terms.iter().enumerate() {
            let size = term.0.abs();
            self.max_terms[k] = self.max_terms[k].max(size);
            self.sums[k] += size;
            self.products[k] += size * c.abs();
        }
    }
}

impl<'p> Row<'p> {
    /// A row of a problem by its number.
    ///
    /// # Errors
    /// A variance or a gradient that leaves the range of f64.
    pub fn new(problem: &'p Problem, number: usize) -> Result<Row<'p>, ProblemError> {
        let count = problem.rows.values();
        let of_row = |values: &'p [f64]| &values[number * count..][..count];
        let (x, dy, weights) = (of_row(&problem.x), of_row(&problem.dy), problem.weights.as_deref().map(of_row));
        let first = problem.first_parameter(number);
        let positions = problem.rows.sharing();
        let unweighted = moments(x, None);
        let Moments { mean, variance } = used_moments(problem, number, x, weights, unweighted);
        let constant = is_constant(&problem.kind, x, weights);
        let mut row = Row {
            problem,
            number,
            x,
            dy,
            weights,
            gamma: &problem.gamma[first..first + count / positions],
            positions,
            n: weights.map_or(x.len() as f64, |weights| weights.iter().sum()),
            mean: mean.0,
            centered: x.iter().map(|&x| (x - mean.0) - mean.1).collect(),
            variance,
            inverse: inverse_deviation(problem, number, variance, constant)?,
            correction: problem.corrections.as_ref().map(|corrections| corrections.of_channels[number]),
            unweighted,
            constant,
            sums: [0.0; 3],
            products: [0.0; 3],
            sizes: Sizes::default(),
        };
        row.add_up();
        row.check_range_of_gradient()?;
        Ok(row)
    }

    /// The numbers of the values that count.
    pub fn counting(&self) -> impl Iterator<Item = usize> + Clone {
        (0..self.x.len()).filter(|&i| self.counts(i))
    }

    /// Sets the sums of gamma^k dy and of gamma^k dy (x - m), rounded once, and the sizes of their terms.
    fn add_up(&mut self) {
        let mut sums = [DoubleDouble::default(); 3];
        let mut products = [DoubleDouble::default(); 3];
        let mut sizes = Sizes::default();
        for i in self.counting() {
            let (gamma, c) = (self.gamma_of(i), self.centered[i]);
            let terms = powers_times(gamma, self.dy[i]);
            sizes.add_terms(&terms, c);
            sizes.max_x = sizes.max_x.max(self.x[i].abs());
            sizes.max_gamma = sizes.max_gamma.max(gamma.abs());
            sizes.max_weight = sizes.max_weight.max(self.weight(i));
            for (k, &term) in terms.iter().enumerate() {
                sums[k] = sums[k] + term;
                products[k] = products[k] + term * DoubleDouble::from(c);
            }
        }
        self.sums = sums.map(|sum| sum.to_f64());
        self.products = products.map(|sum| sum.to_f64());
        self.sizes = sizes;
    }

    /// Errors where the right dx or a sum is no finite number.
    fn check_range_of_gradient(&self) -> Result<(), ProblemError> {
        if self.right().is_finite() && self.sums.iter().chain(&self.products).all(|sum| sum.is_finite()) {
            return Ok(());
        }
        Err(ProblemError::Overflow { what: self.problem.row_name(), row: self.number })
    }

    /// Whether a value has a weight.
    pub fn counts(&self, i: usize) -> bool {
        self.weights.is_none_or(|weights| weights[i] > 0.0)
    }

    /// The weight of a value, 1 where there are none.
    pub fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[i])
    }

    /// gamma of a value.
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

    /// direct gamma dy - level sum(gamma dy) - slope (x - m) sum(gamma dy (x - m)).
    pub fn line(&self, direct: f64, level: f64, slope: f64) -> Line {
        let size = self.size([1, 1, 1], [direct, level, slope]);
        Line {
            size,
            direct: [0.0, direct, 0.0],
            level: [-level * self.sums[1], 0.0],
            slope: [-slope * self.products[1], 0.0],
            weighted: self.weights.is_some(),
            inverse: self.inverse,
        }
    }

    /// The size of a line before anything cancels, each term with its power of gamma.
    pub fn size(&self, power: [usize; 3], [direct, level, slope]: [f64; 3]) -> f64 {
        let Sizes { max_terms, sums, products, max_centered, max_weight, .. } = &self.sizes;
        let terms = (level * sums[power[1]]).abs() + (slope * products[power[2]] * max_centered).abs();
        (direct * max_terms[power[0]]).abs() + max_weight * terms
    }

    /// The factors of the three terms of the right dx, made with an inverse standard deviation.
    pub fn factors(&self, inverse: f64) -> [f64; 3] {
        let direct = self.r() * inverse;
        let level = if self.has_mean_term() { direct / self.n } else { 0.0 };
        let slope = if self.has_variance_term() { direct * inverse * inverse / self.n } else { 0.0 };
        [direct, level, slope]
    }

    /// What xhat is multiplied by, 1 but for batch renormalisation.
    pub fn r(&self) -> f64 {
        self.correction.map_or(1.0, |correction| correction.r)
    }

    /// What is added to xhat, 0 but for batch renormalisation.
    pub fn d(&self) -> f64 {
        self.correction.map_or(0.0, |correction| correction.d)
    }

    /// dx, by the formula.
    pub fn right(&self) -> Line {
        let [direct, level, slope] = self.factors(self.inverse);
        self.line(direct, level, slope)
    }

    /// The right dx, value by value.
    pub fn right_values(&self) -> Vec<f64> {
        let line = self.right();
        (0..self.x.len()).map(|i| self.at(&line, i)).collect()
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

/// dy, gamma dy and gamma^2 dy.
fn powers_times(gamma: f64, dy: f64) -> [DoubleDouble; 3] {
    let dy = DoubleDouble::from(dy);
    let once = dy * DoubleDouble::from(gamma);
    [dy, once, once * DoubleDouble::from(gamma)]
}

/// Mean and variance that normalise a row: its own, the constants, or 0 and the mean square.
fn used_moments(problem: &Problem, number: usize, x: &[f64], weights: Option<&[f64]>, unweighted: Moments) -> Moments {
    match &problem.kind {
        Kind::Batch | Kind::Sample if weights.is_some() => moments(x, weights),
        Kind::Batch | Kind::Sample => unweighted,
        Kind::Constants { mean, variance } => {
            Moments { mean: DoubleDouble::from(mean[number]), variance: variance[number] }
        }
        Kind::RootMeanSquare => Moments { mean: DoubleDouble::from(0.0), variance: mean_square(x) },
    }
}

/// Whether all values that count are alike; for RMS norm, which does not centre them, whether all are 0.
fn is_constant(kind: &Kind, x: &[f64], weights: Option<&[f64]>) -> bool {
    let counts = |i: usize| weights.is_none_or(|weights| weights[i] > 0.0);
    let mut counting = x.iter().enumerate().filter(|&(i, _)| counts(i)).map(|(_, x)| *x);
    let first = counting.next().unwrap_or(0.0);
    counting.all(|x| x == first) && (*kind != Kind::RootMeanSquare || first == 0.0)
}

/// 1 / sqrt(variance + eps), and 0 for constant values with eps 0, whose gradient is declared to be 0.
fn inverse_deviation(problem: &Problem, number: usize, variance: f64, constant: bool) -> Result<f64, ProblemError> {
    let sum = variance + problem.epsilon;
    if sum == 0.0 && constant {
        return Ok(0.0);
    }
    if (1e-290..=1e290).contains(&sum) {
        return Ok(1.0 / sum.sqrt());
    }
    // (Squares that overflow leave NaN in a pair.)
    let got = if sum.is_nan() { f64::INFINITY } else { sum };
    Err(ProblemError::Range { what: problem.row_name(), row: number, got })
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

/// mean(x^2) to full accuracy.
fn mean_square(x: &[f64]) -> f64 {
    let sum = x.iter().fold(DoubleDouble::default(), |sum, &x| sum + DoubleDouble::product(x, x));
    (sum / DoubleDouble::constant(x.len() as f64)).to_f64()
}
