//! From errors to a verdict: the nearest explanation, with rounding in mind.
//!
//! A gradient is never called wrong while plain arithmetic could have brought it to where it is from the truth, unless it is
//! a mistake's to the last digits, which is no chance. Otherwise a mistake is named only where the truth is excluded and the
//! mistake fits. Several that fit are all named. Where plain arithmetic could have lost the gradient itself, nothing is said.

use crate::mistakes::Mistake;
use crate::verdict::Verdict;

pub(crate) const CAREFUL: usize = 0;
pub(crate) const PLAIN: usize = 1;
pub(crate) const ONE_PASS: usize = 2;

/// How many times nearer than the truth a mistake must be to explain a gradient; and how many times as far away it may be to
/// be as good an explanation.
const NEARER: f64 = 4.0;
/// The same where plain sums or a lossy variance could explain it too.
const CERTAINLY: f64 = 1e3;
/// How many times what careful arithmetic may be off by the truth must be away then.
const EXCLUDED: f64 = 30.0;
/// A gradient that lies so far from the truth, as a part of itself, is nobody's.
const LOST: f64 = 0.1;

/// How well an explanation fits: errors in parts of what is allowed, for each precision and each kind of arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    pub of_allowed: Vec<[f64; 3]>,
    /// By the measure.
    pub error: f64,
}

/// NaN is as bad as can be.
fn or_infinite(value: f64) -> f64 {
    if value.is_nan() { f64::INFINITY } else { value }
}

impl Fit {
    pub fn new(of_allowed: Vec<[f64; 3]>, error: f64) -> Fit {
        let of_allowed = of_allowed.into_iter().map(|all| all.map(or_infinite)).collect();
        Fit { of_allowed, error: or_infinite(error) }
    }

    /// The worse of both.
    pub fn join(&mut self, other: &Fit) {
        self.error = self.error.max(other.error);
        for (own, other) in self.of_allowed.iter_mut().zip(&other.of_allowed) {
            for (own, other) in own.iter_mut().zip(other) {
                *own = own.max(*other);
            }
        }
    }

    fn fits(&self, precision: usize, arithmetic: usize) -> bool {
        self.of_allowed[precision][arithmetic] <= 1.0
    }
}

/// All explanations of a gradient.
#[derive(Debug, Clone)]
pub(crate) struct Fits {
    pub right: Fit,
    /// Each way of each mistake.
    pub ways: Vec<(&'static Mistake, Fit)>,
    /// Whether it is one number, which another deviation may turn into any other.
    pub one_number: bool,
    /// The distance to the truth as a part of the truth itself.
    pub lost: f64,
}

impl Fits {
    pub fn join(&mut self, other: &Fits) {
        self.right.join(&other.right);
        self.lost = self.lost.max(or_infinite(other.lost));
        for ((_, own), (_, other)) in self.ways.iter_mut().zip(&other.ways) {
            own.join(other);
        }
    }

    /// The mistakes with a way that is `such`, each once.
    fn mistakes(&self, last: bool, such: impl Fn(&Fit) -> bool) -> Vec<&'static Mistake> {
        let mut all: Vec<&'static Mistake> = Vec::new();
        for (mistake, fit) in &self.ways {
            if mistake.last == last && such(fit) && !all.contains(mistake) {
                all.push(mistake);
            }
        }
        all
    }

    /// The verdict, by one precision after the other, and the number of that one; `None` where nothing explains it.
    pub fn decide(&self) -> Option<(Verdict, usize)> {
        for precision in 0..self.right.of_allowed.len() {
            for last in [false, true] {
                if let Some(verdict) = self.decide_by(precision, last) {
                    return Some((verdict, precision));
                }
            }
        }
        None
    }

    fn decide_by(&self, precision: usize, last: bool) -> Option<Verdict> {
        let right = &self.right;
        if right.fits(precision, PLAIN) {
            // (Of the first precision: by a wider one than it was computed in, nothing is careful.)
            let careful = precision == 0 && right.fits(precision, CAREFUL);
            let by_careful = |fit: &Fit| fit.fits(precision, CAREFUL) && fit.error <= NEARER * right.error;
            let by_plain = |fit: &Fit| fit.fits(precision, PLAIN) && fit.error <= right.error;
            let alike = match (careful, self.lost <= LOST) {
                (true, _) => self.mistakes(false, by_careful),
                (false, true) => self.mistakes(false, by_plain),
                // A wide tolerance fits many mistakes: only one that comes four times nearer is named.
                (false, false) => {
                    let near = |fit: &Fit| by_careful(fit) && fit.error * NEARER <= right.error;
                    [false, true].into_iter().flat_map(|last| self.mistakes(last, near)).collect()
                }
            };
            let certain = if careful { Vec::new() } else { self.certain(precision) };
            return Some(match (alike.is_empty(), careful) {
                _ if !certain.is_empty() => Verdict::Wrong(certain),
                (false, _) => Verdict::Undecided(alike),
                (true, true) => Verdict::Right,
                (true, false) => self.inexact(),
            });
        }
        // A mistake explains it only if it comes much nearer than the truth: a wide tolerance fits many mistakes.
        let nearer = |fit: &Fit, times: f64| fit.error * times <= right.error;
        let careful = self.mistakes(last, |fit| fit.fits(precision, CAREFUL) && nearer(fit, NEARER));
        let plain = |fit: &Fit| fit.fits(precision, PLAIN) && nearer(fit, NEARER);
        let fitting = if careful.is_empty() { self.mistakes(last, plain) } else { careful };
        if right.fits(precision, ONE_PASS) {
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

    /// The mistakes that fit so well that it is no chance, where rounding could explain a gradient too. What is lost of the
    /// variance looks like another deviation, and what overflows like 0.
    fn certain(&self, precision: usize) -> Vec<&'static Mistake> {
        if self.one_number {
            return Vec::new();
        }
        // By chance a gradient comes so near to a mistake the more easily, the less of its way careful arithmetic excludes.
        if self.right.of_allowed[precision][CAREFUL] < EXCLUDED {
            return Vec::new();
        }
        let certain = |fit: &Fit| fit.fits(precision, CAREFUL) && fit.error * CERTAINLY <= self.right.error;
        let mut certain = self.mistakes(false, certain);
        certain.retain(|mistake| !mistake.of_deviation);
        certain
    }

    fn inexact(&self) -> Verdict {
        if self.lost <= LOST { Verdict::Inexact } else { Verdict::Hidden }
    }

    /// The verdict where nothing explains it.
    pub fn unexplained(&self, terms: Option<[f64; 3]>) -> Verdict {
        let mut nearest = (None, self.right.error);
        for (mistake, fit) in &self.ways {
            if fit.error < nearest.1 {
                nearest = (Some(*mistake), fit.error);
            }
        }
        Verdict::Unexplained { nearest: nearest.0, distance: nearest.1, terms }
    }
}
