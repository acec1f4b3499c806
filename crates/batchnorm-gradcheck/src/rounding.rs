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
//! - *Careful*: s = 4 u, as with sums in pairs, in blocks or in a wider type.
//! - *Plain*: a running sum in the precision itself. Its n roundings are of any sign, s = 2 sqrt(n) u (six standard
//!   deviations), until an ulp of the sum is a quarter of the terms' spread; from there on all terms are rounded the same
//!   way, and s = n u. And what is derived is not all there is (overflow, values that are all rounded alike): so the
//!   readable twin is run in that precision on these very values, and four times its errors are allowed if they are more.
//! - *One pass*: plain, with the variance as mean(x^2) - mean(x)^2, which loses 8 u mean(x^2) / (v + eps) of it where sums
//!   are careful (from a half on, all of it, and anything may come of that); what running sums lose is tried out too.

use crate::precision::{Held, Precision, significant_bits};
use crate::problem::Kind;
use crate::row::{Line, Row, Sizes};
use batchnorm_reference::{Real, compact, mean, rows, staged, sum, weighted};

/// What is allowed of one row, each for careful, plain and one-pass sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Of dx, as a part of r M.
    pub dx: [f64; 3],
    /// r M.
    pub unit: f64,
    /// The relative error of xhat's scale, and the error of its mean.
    pub scale: [f64; 3],
    pub shift: [f64; 3],
    /// Of a sum of dy.
    pub sum: [f64; 3],
    /// What the twin was off by, in dx (absolute), dgamma and dbeta: plain, and one-pass.
    pub seen: Option<[Seen; 2]>,
    /// What is lost of small numbers, absolute.
    pub smallest: [f64; 3],
    /// Whether the formula has no value, 0 of 0, and plain arithmetic one of any size: it finds a variance in values that
    /// are all alike, whose sum was rounded.
    pub undefined: bool,
}

/// Errors of the twin in a precision.
#[derive(Debug, Clone, Default, PartialEq, Copy)]
pub(crate) struct Seen {
    pub dx: f64,
    pub dgamma: f64,
    pub dbeta: f64,
}

/// How much of what was seen is allowed.
const SEEN: f64 = 4.0;
/// So large that a gradient may be anything.
const ANYTHING: f64 = 1e150;

impl Allowance {
    /// Of dx, absolute, where what is compared with is so many times as large as the right one, and made with an inverse
    /// deviation so many times as large.
    pub fn dx(&self, level: usize, larger: f64) -> f64 {
        if self.undefined && level > 0 {
            return f64::INFINITY;
        }
        self.most(level, self.dx[level] * self.unit * larger, |seen| seen.dx * larger)
    }

    /// The larger one of what is derived and what was seen, which may be NaN: everything is allowed then.
    pub fn most(&self, level: usize, derived: f64, of: impl Fn(&Seen) -> f64) -> f64 {
        let seen = match (level, &self.seen) {
            (0, _) | (_, None) => 0.0,
            (level, Some(seen)) => SEEN * of(&seen[level - 1]),
        };
        let most = if seen <= derived { derived } else { seen };
        if most.is_nan() { f64::INFINITY } else { most + self.smallest[level] }
    }
}

struct Running {
    n: f64,
    unit: f64,
}

impl Running {
    /// s of a running sum of terms with this mean size and spread.
    fn plain(&self, size: f64, spread: f64) -> f64 {
        let Running { n, unit } = *self;
        let alike = 2.0 * n * unit * size > spread / 4.0;
        4.0 * unit + if alike { n * unit } else { 2.0 * n.sqrt() * unit }
    }
}

/// Mean size and standard deviation of some terms.
fn size_and_spread(terms: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let (mut n, mut size, mut total) = (0.0, 0.0, 0.0);
    for term in terms.clone() {
        (n, size, total) = (n + 1.0, size + term.abs(), total + term);
    }
    let squares: f64 = terms.map(|term| (term - total / n) * (term - total / n)).sum();
    [size / n, (squares / n).sqrt()]
}

impl Row<'_> {
    /// What is allowed of a gradient in a precision. Where the twin ends in NaN or infinity (out of the precision's range),
    /// so may others: everything is allowed then.
    pub fn allowance(&self, Held { precision, smallest }: Held) -> Allowance {
        let unit = precision.unit();
        let r = self.inverse;
        let counting = || self.counting();
        let g = |i: usize| self.gamma_of(i) * self.dy[i];
        let Sizes { max_gamma: largest_gamma, max_x: largest_x, max_centered: centered, .. } = self.sizes;
        // gamma 0 leaves nothing to compare; terms are compared without it then.
        let g = |i: usize| if largest_gamma == 0.0 { self.dy[i] } else { g(i) };
        let most = self.sizes.max_terms[usize::from(largest_gamma != 0.0)];
        let [mean_x, spread_x] = size_and_spread(counting().map(|i| self.x[i]));
        let [mean_g, spread_g] = size_and_spread(counting().map(g));
        let [mean_c, spread_c] = size_and_spread(counting().map(|i| self.centered[i] * self.centered[i]));
        let [mean_gx, spread_gx] = size_and_spread(counting().map(|i| g(i) * self.x[i]));
        let [mean_gc, spread_gc] = size_and_spread(counting().map(|i| g(i) * self.centered[i]));
        let (x, p, q) = (centered * r, mean_gc * r / most, mean_g / most);
        let (p, q) = if most == 0.0 { (0.0, 0.0) } else { (p, q) };
        let d = 1.0 + q + x * p;
        let running = Running { n: self.len(), unit };
        let constants = matches!(self.problem.kind, Kind::Constants { .. });
        let (mut dx, mut scale, mut shift, mut sum) = ([0.0; 3], [0.0; 3], [0.0; 3], [0.0; 3]);
        for level in 0..3 {
            let s = |size: f64, spread: f64| if level == 0 { 4.0 * unit } else { running.plain(size, spread) };
            let reach = (largest_x + self.mean.abs()) * r;
            let a = unit * reach + if constants { 0.0 } else { s(mean_x, spread_x) * mean_x * r };
            let own = if constants { 0.0 } else { s(mean_c, spread_c) * self.variance * r * r + a * a / 2.0 };
            let square = mean_x * mean_x * r * r + self.variance * r * r;
            let one_pass = if level == 2 && !constants { 8.0 * unit * square } else { 0.0 };
            // Nothing may be left of the variance, and eps alone be under the root.
            let one_pass = if one_pass < 0.5 { one_pass } else { ANYTHING };
            let turned = own + one_pass + 4.0 * unit;
            let (s_g, s_gc) = (s(mean_g, spread_g), s(mean_gc, spread_gc));
            // sum(dy x) - m sum(dy) for sum(dy (x - m)).
            let fused = if level == 0 { 0.0 } else { s_g * mean_x * r + s(mean_gx, spread_gx) * mean_gx / mean_g * r };
            let fused = if mean_g == 0.0 { 0.0 } else { fused };
            let sums = if constants { 0.0 } else { s_g * q + x * (s_gc * p + q * (a + fused) + p * turned) };
            let through = if constants { 0.0 } else { p * (a + x * (turned + 2.0 * unit)) };
            dx[level] = 6.0 * unit + sums + through + turned * d;
            (scale[level], shift[level], sum[level]) = (turned + s_gc + 4.0 * unit, a + fused, s_g);
        }
        let mut seen = None;
        if matches!(precision, Precision::Single | Precision::Double) {
            let both = if precision == Precision::Single { self.seen::<f32>() } else { self.seen::<f64>() };
            // (0 of 0: nothing about the gradient that is declared.)
            let declared = self.inverse == 0.0 && both.iter().any(|seen| seen.dx.is_nan());
            seen = (!declared).then_some(both);
        }
        let unit = r * most * if largest_gamma == 0.0 { 0.0 } else { 1.0 };
        // Sums of alike values are exact where there are bits for them, in whatever order.
        let value = significant_bits(largest_x);
        let undefined =
            self.inverse == 0.0 && f64::from(value) + self.len().log2().ceil() > f64::from(precision.bits());
        // r^3 may be too small a number where r is none.
        let under = smallest * (1.0 + mean_gc * centered);
        Allowance { dx, unit, scale, shift, sum, seen, smallest: [smallest, under, under], undefined }
    }

    /// The errors of the twin in a number type: compact, in order, and staged, from the end; and in one pass.
    fn seen<R: Real + Into<f64>>(&self) -> [Seen; 2] {
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

    fn run<R: Real + Into<f64>>(&self, reversed: bool, one_pass: bool) -> Gradients {
        let order: Vec<usize> = if reversed { (0..self.x.len()).rev().collect() } else { (0..self.x.len()).collect() };
        let of = |values: &[f64]| order.iter().map(|&i| R::constant(values[i])).collect::<Vec<R>>();
        let (x, dy, epsilon) = (of(self.x), of(self.dy), R::constant(self.problem.epsilon));
        let wide = |values: Vec<R>| {
            let mut all = vec![0.0; values.len()];
            order.iter().zip(values).for_each(|(&i, value)| all[i] = value.into());
            all
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
                _ if one_pass => in_one_pass(&x, gamma, epsilon, &dy),
                _ if reversed => staged::backward(&staged::forward(&x, gamma, gamma, epsilon), gamma, &dy).gradients,
                _ => compact::backward(&x, gamma, epsilon, &dy),
            };
            return Gradients {
                dx: wide(gradients.dx),
                dgamma: Some([gradients.dgamma.into(), gradients.dbeta.into()]),
            };
        }
        let gamma = of(&self.gamma_each());
        let dx = match self.problem.kind {
            Kind::RootMeanSquare => rows::rms_backward(&x, &gamma, epsilon, &dy).dx,
            _ if one_pass => {
                let g: Vec<R> = dy.iter().zip(&gamma).map(|(&dy, &gamma)| dy * gamma).collect();
                in_one_pass(&x, R::constant(1.0), epsilon, &g).dx
            }
            _ => rows::backward(&x, &gamma, epsilon, &dy).dx,
        };
        Gradients { dx: wide(dx), dgamma: None }
    }
}

/// What the twin gives for a row; the parameters' where they are of this row alone.
struct Gradients {
    dx: Vec<f64>,
    dgamma: Option<[f64; 2]>,
}

impl Gradients {
    fn seen(&self, row: &Row, right: &Line) -> Seen {
        let mut seen = Seen::default();
        for (i, dx) in self.dx.iter().enumerate().filter(|&(i, _)| row.counts(i)) {
            worse(&mut seen.dx, (dx - row.at(right, i)).abs());
        }
        if let Some([dgamma, dbeta]) = self.dgamma {
            worse(&mut seen.dgamma, (dgamma - row.products[0] * row.inverse).abs());
            worse(&mut seen.dbeta, (dbeta - row.sums[0]).abs());
        }
        seen
    }
}

/// (A NaN stays.)
fn worse(most: &mut f64, other: f64) {
    if other.is_nan() || other > *most {
        *most = other;
    }
}

impl Seen {
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
