//! From errors to a verdict: the nearest explanation, with rounding in mind.
//!
//! A gradient is never called wrong while plain arithmetic could have brought it to where it is from the truth, unless it is
//! a mistake's to the last digits, which is no chance. Otherwise a mistake is named only where the truth is excluded and the
//! mistake fits. Several that fit are all named. Where plain arithmetic could have lost the gradient itself, nothing is said.

use crate::arithmetic::ByArithmetic;
use crate::mistakes::Mistake;
use crate::verdict::{Nearest, Verdict};

/// The factor by which a mistake must be nearer than the truth to explain a gradient; and by which it may be farther away and
/// still be as good an explanation.
const NEARER: f64 = 4.0;
/// The factor by which a mistake must be nearer where plain sums or a lossy variance could explain the gradient too.
const CERTAINLY: f64 = 1e3;
/// The distance that the truth must have then, in multiples of what careful arithmetic may be off by.
const EXCLUDED: f64 = 30.0;
/// An explanation is near if it is no farther away than this part of the gradient.
const NEAR: f64 = 0.3;
/// A gradient that lies farther from the truth, as a part of the truth, is lost: it is as good as any other.
const LOST: f64 = 0.1;

/// The distance of a gradient from one explanation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// The error divided by the allowed one, for each precision and each kind of arithmetic: up to 1 it fits.
    pub ratios: Vec<ByArithmetic<f64>>,
    /// The error by the measure.
    pub error: f64,
}

/// Infinity for NaN, which is as bad as can be.
fn or_infinite(value: f64) -> f64 {
    if value.is_nan() { f64::INFINITY } else { value }
}

impl Fit {
    pub fn new(ratios: Vec<ByArithmetic<f64>>, error: f64) -> Fit {
        let ratios = ratios.into_iter().map(|ratios| ratios.map(or_infinite)).collect();
        Fit { ratios, error: or_infinite(error) }
    }

    /// Keeps the worse of two fits: an explanation has to fit everywhere.
    pub fn join(&mut self, other: &Fit) {
        self.error = self.error.max(other.error);
        for (ratios, other) in self.ratios.iter_mut().zip(&other.ratios) {
            *ratios = ratios.max(*other);
        }
    }

    /// Whether the error is one that plain arithmetic in some precision may make.
    pub fn is_plain(&self) -> bool {
        (0..self.ratios.len()).any(|precision| self.within_plain(precision))
    }

    /// Whether the error is one that careful arithmetic in a precision may make.
    fn within_careful(&self, precision: usize) -> bool {
        self.ratios[precision].careful <= 1.0
    }

    /// Whether the error is one that plain arithmetic in a precision may make.
    fn within_plain(&self, precision: usize) -> bool {
        self.ratios[precision].plain <= 1.0
    }

    /// Whether the error is one that arithmetic with the variance in one pass may make.
    fn within_one_pass(&self, precision: usize) -> bool {
        self.ratios[precision].one_pass <= 1.0
    }
}

/// All explanations of a gradient.
#[derive(Debug, Clone)]
pub(crate) struct Fits {
    pub right: Fit,
    /// The fit of each variant of each mistake.
    pub variants: Vec<(&'static Mistake, Fit)>,
    /// Whether the gradient is one number, which another deviation may turn into any other.
    pub one_number: bool,
    /// The distance to the truth as a part of the truth itself.
    pub lost: f64,
    /// The largest value of the gradient, or of the right one if that is smaller, by the measure of errors.
    pub size: f64,
}

impl Fits {
    /// Keeps the worse of two fits of each explanation.
    pub fn join(&mut self, other: &Fits) {
        self.right.join(&other.right);
        self.lost = self.lost.max(or_infinite(other.lost));
        self.size = self.size.max(other.size);
        for ((_, fit), (_, other)) in self.variants.iter_mut().zip(&other.variants) {
            fit.join(other);
        }
    }

    /// The mistakes with a variant that fits as asked for, each once; those that are asked for last, or the others.
    fn mistakes(&self, last: bool, fits: impl Fn(&Fit) -> bool) -> Vec<&'static Mistake> {
        let mut all: Vec<&'static Mistake> = Vec::new();
        for (mistake, fit) in &self.variants {
            if mistake.last == last && fits(fit) && !all.contains(mistake) {
                all.push(mistake);
            }
        }
        all
    }

    /// The verdict, by one precision after the other, and the number of that one; `None` where nothing explains it.
    pub fn decide(&self) -> Option<(Verdict, usize)> {
        for precision in 0..self.right.ratios.len() {
            for last in [false, true] {
                if let Some(verdict) = self.decide_by(precision, last) {
                    return Some((verdict, precision));
                }
            }
        }
        None
    }

    /// The verdict by one precision, with the mistakes that are asked for last or the others.
    fn decide_by(&self, precision: usize, last: bool) -> Option<Verdict> {
        let right = &self.right;
        if right.within_plain(precision) {
            return Some(self.decide_near_the_truth(precision));
        }
        // A mistake explains it only if it comes much nearer than the truth: a wide tolerance fits many mistakes.
        let nearer = |fit: &Fit, times: f64| fit.error * times <= right.error;
        let careful = self.mistakes(last, |fit| fit.within_careful(precision) && nearer(fit, NEARER));
        let plain = |fit: &Fit| fit.within_plain(precision) && nearer(fit, NEARER);
        let fitting = if careful.is_empty() { self.mistakes(last, plain) } else { careful };
        if right.within_one_pass(precision) {
            // A lossy variance is no mistake in the formula.
            let certain = self.certain(precision);
            return Some(match (certain.is_empty(), fitting.is_empty()) {
                (false, _) => Verdict::Wrong(certain),
                (true, false) => Verdict::Undecided(fitting),
                (true, true) => self.inexact(),
            });
        }
        (!fitting.is_empty()).then_some(Verdict::Wrong(fitting))
    }

    /// The verdict on a gradient that plain arithmetic could have brought to where it is from the truth.
    fn decide_near_the_truth(&self, precision: usize) -> Verdict {
        let right = &self.right;
        // (Of the first precision: by a wider one than it was computed in, nothing is careful.)
        let careful = precision == 0 && right.within_careful(precision);
        let by_careful = |fit: &Fit| fit.within_careful(precision) && fit.error <= NEARER * right.error;
        let by_plain = |fit: &Fit| fit.within_plain(precision) && fit.error <= right.error;
        let alike = match (careful, self.lost <= LOST) {
            (true, _) => self.mistakes(false, by_careful),
            (false, true) => self.mistakes(false, by_plain),
            // A wide tolerance fits many mistakes: only one that comes four times nearer is named.
            (false, false) => {
                let nearer = |fit: &Fit| by_careful(fit) && fit.error * NEARER <= right.error;
                [false, true].into_iter().flat_map(|last| self.mistakes(last, nearer)).collect()
            }
        };
        let certain = if careful { Vec::new() } else { self.certain(precision) };
        match (alike.is_empty(), careful) {
            _ if !certain.is_empty() => Verdict::Wrong(certain),
            (false, _) => Verdict::Undecided(alike),
            (true, true) => Verdict::Right,
            (true, false) => self.inexact(),
        }
    }

    /// The mistakes that fit so well that it is no chance, where rounding could explain a gradient too. What is lost of the
    /// variance looks like another deviation, and what overflows like 0.
    fn certain(&self, precision: usize) -> Vec<&'static Mistake> {
        if self.one_number {
            return Vec::new();
        }
        // The nearer the truth, by what careful arithmetic may be off by, the more easily a gradient comes near a mistake by
        // chance.
        if self.right.ratios[precision].careful < EXCLUDED {
            return Vec::new();
        }
        let certain = |fit: &Fit| fit.within_careful(precision) && fit.error * CERTAINLY <= self.right.error;
        let mut certain = self.mistakes(false, certain);
        certain.retain(|mistake| !mistake.of_deviation);
        certain
    }

    /// The verdict on a right formula with rounding errors: so large that nothing can be said, or not.
    fn inexact(&self) -> Verdict {
        if self.lost <= LOST { Verdict::Inexact } else { Verdict::Hidden }
    }

    /// The verdict where nothing explains it. What is as far away as the gradient is large is near to nothing.
    pub fn unexplained(&self, terms: Option<[f64; 3]>) -> Verdict {
        let mut nearest = (Nearest::Truth, self.right.error);
        for (mistake, fit) in &self.variants {
            if fit.error < nearest.1 {
                nearest = (Nearest::Mistake(mistake), fit.error);
            }
        }
        let (nearest, distance) = nearest;
        let nearest = if distance < NEAR * self.size { nearest } else { Nearest::Nothing };
        Verdict::Unexplained { nearest, distance, terms }
    }
}
