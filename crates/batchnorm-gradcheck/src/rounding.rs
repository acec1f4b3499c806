//! How far a right gradient may be from the truth, because numbers are rounded.
//!
//! With u the unit roundoff of a precision, M = max|gamma dy|, and of one row
//!
//! ```text
//! K = mean|x| r      X = max|xhat|      p = mean|gamma dy xhat| / M      q = mean|gamma dy| / M      D = 1 + q + X p
//! ```
//!
//! a sum of n terms is off by s mean|term| n. What follows from it, in units of r M (the measure of dx):
//!
//! ```text
//! mean:              a = s K + u max|x| r                      (of x - m, in standard deviations)
//! inverse deviation: d = s v / (v + eps) + a^2 / 2 + 4 u       (relative)
//! fused:             f = s K + s mean|dy x| r / mean|dy|       (sum(dy x) - m sum(dy) for sum(dy (x - m)); plain only)
//! dx:                6 u + s q + p (a + X (d + 2 u)) + X (s p + q (a + f) + p d) + d D
//! dgamma:            sum|dy xhat| (d + s + 4 u) + (a + f) sum|dy|
//! dbeta:             s sum|dy|
//! ```
//!
//! Batch renormalisation takes its r and d from the same mean and variance: dx and dgamma have another d + 6 u, and dgamma
//! the error of that mean in running deviations, times sum|dy|.
//!
//! - *Careful*: s = 4 u, as with sums in pairs, in blocks or in a wider type.
//! - *Plain*: a running sum in the precision itself. Its n roundings are of any sign, s = 2 sqrt(n) u (six standard
//!   deviations), until an ulp of the sum is a quarter of the terms' spread; from there on all terms are rounded the same
//!   way, and s = n u. And what is derived is not all there is (overflow, values that are all rounded alike): so the
//!   readable twin is run in that precision on these very values, and four times its errors are allowed if they are more.
//! - *One pass*: plain, with the variance as mean(x^2) - mean(x)^2, which loses 8 u mean(x^2) / (v + eps) of it where sums
//!   are careful (from a half on, all of it, and anything may come of that); what running sums lose is tried out too.

use crate::arithmetic::{Arithmetic, ByArithmetic};
use crate::correction::Correction;
use crate::precision::{Held, Precision, significant_bits};
use crate::problem::Kind;
use crate::row::{Line, Row, Sizes};
use batchnorm_reference::{Real, compact, mean, renormalized, rows, staged, sum, weighted};

/// The errors that are allowed of a right gradient of one row, by one kind of arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub derived: Derived,
    /// Errors of the twin by this arithmetic, where it was run.
    twin: Option<Seen>,
    /// The absolute error of small numbers.
    smallest: f64,
    /// Whether the formula has no value, 0 of 0, and this arithmetic one of any size: it finds a variance in values that
    /// are all alike, whose sum was rounded.
    pub undefined: bool,
}

/// Errors that follow from the formulas at the head of this file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Derived {
    /// Error of dx, absolute.
    pub dx: f64,
    /// Relative error of xhat's scale.
    pub scale: f64,
    /// Error of xhat's mean.
    pub shift: f64,
    /// Error of a sum of dy, as a part of sum|dy|.
    pub sum: f64,
    /// Error of batch renormalisation's d, absolute.
    pub d: f64,
}

/// Errors of the twin in a precision, absolute.
#[derive(Debug, Clone, Default, PartialEq, Copy)]
pub(crate) struct Seen {
    pub dx: f64,
    pub dgamma: f64,
    pub dbeta: f64,
}

/// The factor on the twin's errors that is allowed.
const SEEN: f64 = 4.0;
/// An error so large that a gradient may be anything.
const ANYTHING: f64 = 1e150;

impl Allowance {
    /// The allowed error of dx, absolute, where what is compared with is so many times as large as the right one, and made
    /// with an inverse deviation so many times as large.
    pub fn dx(&self, larger: f64) -> f64 {
        if self.undefined {
            return f64::INFINITY;
        }
        self.larger(self.derived.dx * larger, |seen| seen.dx * larger)
    }

    /// The larger one of a derived error and what was seen, which may be NaN: everything is allowed then.
    pub fn larger(&self, derived: f64, of_twin: impl Fn(&Seen) -> f64) -> f64 {
        let seen = self.twin.map_or(0.0, |twin| SEEN * of_twin(&twin));
        let larger = if seen <= derived { derived } else { seen };
        if larger.is_nan() { f64::INFINITY } else { larger + self.smallest }
    }
}

/// Mean size and standard deviation of the terms of a sum.
#[derive(Debug, Clone, Copy)]
struct Terms {
    size: f64,
    spread: f64,
}

impl Terms {
    /// The terms of a row's values that count.
    fn of_row(row: &Row, term: impl Fn(usize) -> f64 + Copy) -> Terms {
        let terms = row.counting().map(term);
        let (mut n, mut size, mut total) = (0.0, 0.0, 0.0);
        for term in terms.clone() {
            (n, size, total) = (n + 1.0, size + term.abs(), total + term);
        }
        let squares: f64 = terms.map(|term| (term - total / n) * (term - total / n)).sum();
        Terms { size: size / n, spread: (squares / n).sqrt() }
    }
}

/// The numbers from which the errors of a row are derived, in one precision.
struct Derivation<'r> {
    row: &'r Row<'r>,
    /// u.
    unit: f64,
    /// r M, the measure of dx.
    measure: f64,
    /// Whether mean and variance are constants, which have no errors and no terms in dx.
    constants: bool,
    /// The terms of the sums that are made: x, (x - m)^2, gamma dy, gamma dy x and gamma dy (x - m).
    x: Terms,
    squares: Terms,
    g: Terms,
    gx: Terms,
    gc: Terms,
    /// X.
    max_xhat: f64,
    p: f64,
    q: f64,
    /// D.
    size: f64,
}

impl<'r> Derivation<'r> {
    fn new(row: &'r Row, precision: Precision) -> Derivation<'r> {
        let r = row.inverse;
        let Sizes { max_gamma, max_centered, max_terms, .. } = row.sizes;
        // gamma 0 leaves nothing to compare; terms are compared without it then.
        let g = |i: usize| if max_gamma == 0.0 { row.dy[i] } else { row.gamma_of(i) * row.dy[i] };
        let max_g = max_terms[usize::from(max_gamma != 0.0)];
        let gc = Terms::of_row(row, |i| g(i) * row.centered[i]);
        let of_g = Terms::of_row(row, g);
        let max_xhat = max_centered * r;
        let (p, q) = if max_g == 0.0 { (0.0, 0.0) } else { (gc.size * r / max_g, of_g.size / max_g) };
        Derivation {
            row,
            unit: precision.unit(),
            measure: row.r() * r * max_g * if max_gamma == 0.0 { 0.0 } else { 1.0 },
            constants: matches!(row.problem.kind, Kind::Constants { .. }),
            x: Terms::of_row(row, |i| row.x[i]),
            squares: Terms::of_row(row, |i| row.centered[i] * row.centered[i]),
            g: of_g,
            gx: Terms::of_row(row, |i| g(i) * row.x[i]),
            gc,
            max_xhat,
            p,
            q,
            size: 1.0 + q + max_xhat * p,
        }
    }

    /// s of a sum of these terms.
    fn error_of_sum(&self, arithmetic: Arithmetic, Terms { size, spread }: Terms) -> f64 {
        if arithmetic == Arithmetic::Careful {
            return 4.0 * self.unit;
        }
        let (n, unit) = (self.row.len(), self.unit);
        let alike = 2.0 * n * unit * size > spread / 4.0;
        4.0 * unit + if alike { n * unit } else { 2.0 * n.sqrt() * unit }
    }

    /// The errors by one kind of arithmetic, in the letters of the formulas at the head of this file.
    fn errors(&self, arithmetic: Arithmetic) -> Derived {
        let Derivation { row, unit, constants, max_xhat, p, q, .. } = *self;
        let (r, mean_x) = (row.inverse, self.x.size);
        let s = |terms: Terms| self.error_of_sum(arithmetic, terms);
        let of_values = unit * ((row.sizes.max_x + row.mean.abs()) * r);
        let a = of_values + if constants { 0.0 } else { s(self.x) * mean_x * r };
        let of_variance = if constants { 0.0 } else { s(self.squares) * row.variance * r * r + a * a / 2.0 };
        let d = of_variance + self.lost_in_one_pass(arithmetic) + 4.0 * unit;
        let (s_g, s_gc) = (s(self.g), s(self.gc));
        // sum(dy x) - m sum(dy) for sum(dy (x - m)).
        let f = match arithmetic {
            Arithmetic::Careful => 0.0,
            _ if self.g.size == 0.0 => 0.0,
            _ => s_g * mean_x * r + s(self.gx) * self.gx.size / self.g.size * r,
        };
        let of_sums = if constants { 0.0 } else { s_g * q + max_xhat * (s_gc * p + q * (a + f) + p * d) };
        let of_xhat = if constants { 0.0 } else { p * (a + max_xhat * (d + 2.0 * unit)) };
        let dx = 6.0 * unit + of_sums + of_xhat + d * self.size;
        let of_r = if row.correction.is_some() { d + 6.0 * unit } else { 0.0 };
        let of_mean = unit * (row.sizes.max_x + row.mean.abs()) + if constants { 0.0 } else { s(self.x) * mean_x };
        Derived {
            dx: (dx + of_r * self.size) * self.measure,
            scale: d + s_gc + 4.0 * unit + of_r,
            shift: a + f,
            sum: s_g,
            d: row.correction.map_or(0.0, |correction| correction.error_of_d(of_mean, row.problem.epsilon)),
        }
    }

    /// The part of the variance that mean(x^2) - mean(x)^2 loses. From a half on nothing may be left of the variance, and
    /// eps alone be under the root.
    fn lost_in_one_pass(&self, arithmetic: Arithmetic) -> f64 {
        if arithmetic != Arithmetic::OnePass || self.constants {
            return 0.0;
        }
        let (r, mean_x) = (self.row.inverse, self.x.size);
        let lost = 8.0 * self.unit * (mean_x * mean_x * r * r + self.row.variance * r * r);
        if lost < 0.5 { lost } else { ANYTHING }
    }
}

impl Row<'_> {
    /// The allowances of a right gradient in a precision. Where the twin ends in NaN or infinity (out of the precision's range),
    /// so may others: everything is allowed then.
    pub fn allowance(&self, Held { precision, smallest }: Held) -> ByArithmetic<Allowance> {
        let derivation = Derivation::new(self, precision);
        let twin = self.errors_of_twin(precision);
        // (r^3 may be below the smallest number where r is not.)
        let under = smallest * (1.0 + derivation.gc.size * self.sizes.max_centered);
        let undefined = self.is_undefined(precision);
        ByArithmetic::each(|arithmetic| {
            let derived = derivation.errors(arithmetic);
            let running = |twin| Allowance { derived, twin, smallest: under, undefined };
            match arithmetic {
                Arithmetic::Careful => Allowance { derived, twin: None, smallest, undefined: false },
                Arithmetic::Plain => running(twin.map(|[plain, _]| plain)),
                Arithmetic::OnePass => running(twin.map(|[_, one_pass]| one_pass)),
            }
        })
    }

    /// Whether the deviation is 0, and plain arithmetic may find another. Sums of alike values are exact where there are
    /// bits for them, in whatever order.
    fn is_undefined(&self, precision: Precision) -> bool {
        let bits_of_value = significant_bits(self.sizes.max_x);
        self.inverse == 0.0 && f64::from(bits_of_value) + self.len().log2().ceil() > f64::from(precision.bits())
    }

    /// The errors of the twin, plain and in one pass, in the precisions that it can be run in.
    fn errors_of_twin(&self, precision: Precision) -> Option<[Seen; 2]> {
        let both = match precision {
            Precision::Single => self.seen::<f32>(),
            Precision::Double => self.seen::<f64>(),
            Precision::Bfloat | Precision::Half => return None,
        };
        // (Where the deviation is 0 the gradient is declared, and NaN of the twin says nothing about that one.)
        let declared = self.inverse == 0.0 && both.iter().any(|seen| seen.dx.is_nan());
        (!declared).then_some(both)
    }

    /// The errors of the twin in a number type, plain and in one pass, each the larger one of both orders of the values.
    /// (Plain is the closed form in order, and the staged form from the end.)
    fn seen<R: Real + PartialOrd + Into<f64>>(&self) -> [Seen; 2] {
        let right = self.right();
        let mut plain = Seen::default();
        for reversed in [false, true] {
            plain.join(&self.run::<R>(reversed, false).seen(self, &right));
        }
        let mut one_pass = plain;
        if self.weights.is_none() && matches!(self.problem.kind, Kind::Batch | Kind::Sample) {
            for reversed in [false, true] {
                one_pass.join(&self.run::<R>(reversed, true).seen(self, &right));
            }
        }
        [plain, one_pass]
    }

    /// Runs the twin on the row, from the first value or from the last.
    fn run<R: Real + PartialOrd + Into<f64>>(&self, reversed: bool, one_pass: bool) -> Gradients {
        let order: Vec<usize> = if reversed { (0..self.x.len()).rev().collect() } else { (0..self.x.len()).collect() };
        let ordered = |values: &[f64]| order.iter().map(|&i| R::constant(values[i])).collect::<Vec<R>>();
        let (x, dy, epsilon) = (ordered(self.x), ordered(self.dy), R::constant(self.problem.epsilon));
        let wide = |values: Vec<R>| {
            let mut in_place = vec![0.0; values.len()];
            order.iter().zip(values).for_each(|(&i, value)| in_place[i] = value.into());
            in_place
        };
        if let [gamma] = self.gamma
            && !matches!(self.problem.kind, Kind::Sample | Kind::RootMeanSquare)
        {
            let gamma = R::constant(*gamma);
            let gradients = match (&self.problem.kind, self.weights) {
                (Kind::Constants { mean, variance }, _) => {
                    let [mean, variance] = [mean, variance].map(|values| R::constant(values[self.number]));
                    compact::backward_eval(&x, gamma, mean, variance, epsilon, &dy)
                }
                (_, Some(weights)) => {
                    let weights: Vec<f64> = order.iter().map(|&i| weights[i]).collect();
                    weighted::backward(&x, &weights, gamma, epsilon, &dy)
                }
                _ if let Some(correction) = self.correction => {
                    renormalized_twin(correction, &x, gamma, epsilon, &dy, one_pass)
                }
                _ if one_pass => in_one_pass(&x, gamma, epsilon, &dy),
                _ if reversed => staged::backward(&staged::forward(&x, gamma, gamma, epsilon), gamma, &dy).gradients,
                _ => compact::backward(&x, gamma, epsilon, &dy),
            };
            return Gradients {
                dx: wide(gradients.dx),
                parameters: Some([gradients.dgamma.into(), gradients.dbeta.into()]),
            };
        }
        let gamma = ordered(&self.gamma_each());
        let dx = match self.problem.kind {
            Kind::RootMeanSquare => rows::rms_backward(&x, &gamma, epsilon, &dy).dx,
            _ if one_pass => {
                let g: Vec<R> = dy.iter().zip(&gamma).map(|(&dy, &gamma)| dy * gamma).collect();
                in_one_pass(&x, R::constant(1.0), epsilon, &g).dx
            }
            _ => rows::backward(&x, &gamma, epsilon, &dy).dx,
        };
        Gradients { dx: wide(dx), parameters: None }
    }
}

/// Batch renormalisation, with r and d by the twin's own mean and deviation.
fn renormalized_twin<R: Real + PartialOrd>(
    Correction { running, limits, .. }: Correction,
    x: &[R],
    gamma: R,
    epsilon: R,
    dy: &[R],
    one_pass: bool,
) -> compact::Gradients<R> {
    let correction = renormalized::Correction::of(x, epsilon, running.map(R::constant), limits);
    if !one_pass {
        return renormalized::backward(x, gamma, epsilon, correction, dy);
    }
    let renormalized::Correction { r, d } = correction;
    let own = in_one_pass(x, gamma * r, epsilon, dy);
    compact::Gradients { dgamma: r * own.dgamma + d * own.dbeta, ..own }
}

/// The twin's gradients of a row.
struct Gradients {
    dx: Vec<f64>,
    /// dgamma and dbeta, where the row has one parameter.
    parameters: Option<[f64; 2]>,
}

impl Gradients {
    /// The errors, of the values that count.
    fn seen(&self, row: &Row, right: &Line) -> Seen {
        let mut seen = Seen::default();
        for (i, dx) in self.dx.iter().enumerate().filter(|&(i, _)| row.counts(i)) {
            worse(&mut seen.dx, (dx - row.at(right, i)).abs());
        }
        if let Some([dgamma, dbeta]) = self.parameters {
            let right = row.r() * row.inverse * row.products[0] + row.d() * row.sums[0];
            worse(&mut seen.dgamma, (dgamma - right).abs());
            worse(&mut seen.dbeta, (dbeta - row.sums[0]).abs());
        }
        seen
    }
}

/// Keeps the larger of two errors; a NaN stays.
fn worse(largest: &mut f64, other: f64) {
    if other.is_nan() || other > *largest {
        *largest = other;
    }
}

impl Seen {
    /// Keeps the larger errors of two runs.
    fn join(&mut self, other: &Seen) {
        worse(&mut self.dx, other.dx);
        worse(&mut self.dgamma, other.dgamma);
        worse(&mut self.dbeta, other.dbeta);
    }
}

/// The closed form with the variance as mean(x^2) - mean(x)^2: right, and inexact where the mean is large.
fn in_one_pass<R: Real>(x: &[R], gamma: R, epsilon: R, dy: &[R]) -> compact::Gradients<R> {
    let m = mean(x.iter().copied());
    let variance = mean(x.iter().map(|&x| x * x)) - m * m;
    let r = R::constant(1.0) / (variance + epsilon).sqrt();
    let n = R::constant(x.len() as f64);
    let xhat: Vec<R> = x.iter().map(|&x| (x - m) * r).collect();
    let dbeta = sum(dy.iter().copied());
    let dgamma = sum(dy.iter().zip(&xhat).map(|(&dy, &xhat)| dy * xhat));
    let dx = dy.iter().zip(&xhat).map(|(&dy, &xhat)| gamma * r * (dy - dbeta / n - xhat * dgamma / n)).collect();
    compact::Gradients { dx, dgamma, dbeta }
}
