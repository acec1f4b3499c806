//! docs/math.md: every numbered equation evaluated on random inputs against something that does not know it (the
//! definition in double-double arithmetic, dual numbers, the layer), and every number of its examples computed.
//!
//! An equation's text here is that of the page, word for word: who changes the page must come by here.

mod first_order;
mod forward;
mod page;
mod related;
mod second_order;
#[path = "../support/mod.rs"]
mod support;

use batchnorm::reference::Real;
use batchnorm::reference::number::Dual;
use batchnorm::{Axes, BatchNorm, Config, View, ViewMut};
use support::Random;
use support::wide::{DoubleDouble, largest, wide};

/// An equation of the page: its text with its number, and what evaluates it.
type Equation = (&'static str, fn(&Case, &mut Check));

fn equations() -> Vec<Equation> {
    let sections = [forward::EQUATIONS, first_order::EQUATIONS, second_order::EQUATIONS, related::EQUATIONS];
    sections.concat()
}

/// How far what the page states is from what else is known of it.
#[derive(Default)]
pub struct Check {
    compared: usize,
    /// The worst error, of the scale of what was compared.
    worst: f64,
    /// The largest value compared, of its scale.
    largest: f64,
    /// Whether something is stated to be 0.
    of_zero: bool,
}

impl Check {
    /// A stated value against the truth; the error counts relative to `scale`.
    fn equal(&mut self, stated: f64, truth: impl Into<DoubleDouble>, scale: f64) {
        let error = (DoubleDouble::from(stated) - truth.into()).to_f64().abs() / scale;
        self.note(error, stated.abs() / scale);
    }

    /// Lists of them, relative to one scale.
    fn all_equal<R: Into<DoubleDouble>>(&mut self, stated: &[f64], truth: impl IntoIterator<Item = R>, scale: f64) {
        let truth: Vec<R> = truth.into_iter().collect();
        assert_eq!(stated.len(), truth.len());
        stated.iter().zip(truth).for_each(|(&stated, truth)| self.equal(stated, truth, scale));
    }

    /// A sum that is stated to be 0; the error counts relative to the sum of its terms' magnitudes.
    fn vanishes(&mut self, terms: &[f64], least: f64) {
        let scale = terms.iter().map(|term| term.abs()).sum::<f64>().max(least);
        self.note(terms.iter().sum::<f64>().abs() / scale, 0.0);
        self.of_zero = true;
    }

    /// A value that is stated to be no more than a bound (and comes near it now and then).
    fn at_most(&mut self, value: f64, bound: f64) {
        let share = value / bound;
        self.note(if share <= 1.0 { 0.0 } else { share }, share);
    }

    fn note(&mut self, error: f64, size: f64) {
        self.compared += 1;
        // Written so that NaN counts as worst.
        if error.is_nan() || error > self.worst {
            self.worst = error;
        }
        self.largest = self.largest.max(size);
    }
}

/// A feature with all that the equations speak of.
#[derive(Clone)]
pub struct Case {
    n: usize,
    x: Vec<f64>,
    dy: Vec<f64>,
    /// x', gamma', beta'.
    direction: Vec<f64>,
    gamma_t: f64,
    beta_t: f64,
    gamma: f64,
    beta: f64,
    epsilon: f64,
    /// A number for what an equation still needs.
    seed: u64,
    // What (1) to (5) say.
    m: f64,
    v: f64,
    r: f64,
    c: Vec<f64>,
    xhat: Vec<f64>,
    y: Vec<f64>,
}

impl Case {
    fn new(n: usize, epsilon: f64, random: &mut Random) -> Case {
        let (mean, deviation) = (3.0 * random.normal(), 0.1 + 3.0 * random.uniform());
        let parameters = [0.0; 4].map(|_| random.normal());
        let lists = [(mean, deviation), (0.2, 1.0), (0.3, 1.0)].map(|(mean, sd)| random.normals(n, mean, sd));
        Case::of(lists, parameters, epsilon, random.bits())
    }

    fn of(
        [x, dy, direction]: [Vec<f64>; 3],
        [gamma, beta, gamma_t, beta_t]: [f64; 4],
        epsilon: f64,
        seed: u64,
    ) -> Case {
        let m = mean(&x);
        let c: Vec<f64> = x.iter().map(|x| x - m).collect();
        let v = mean_of(&c, &c);
        let r = 1.0 / (v + epsilon).sqrt();
        let xhat: Vec<f64> = c.iter().map(|c| c * r).collect();
        let y = xhat.iter().map(|xhat| gamma * xhat + beta).collect();
        let n = x.len();
        Case { n, x, dy, direction, gamma_t, beta_t, gamma, beta, epsilon, seed, m, v, r, c, xhat, y }
    }

    /// n as a number.
    fn count(&self) -> f64 {
        self.n as f64
    }

    /// What rounding of x (1 ulp of its largest) may do to xhat, in ulps: the condition of the problem.
    fn condition(&self) -> f64 {
        1.0 + largest(&self.x) * self.r
    }

    /// |gamma| r max|dy|, the scale of dx in numerics.md, times the condition.
    fn dx_scale(&self) -> f64 {
        self.gamma.abs() * self.r * largest(&self.dy) * self.condition()
    }

    /// eps / (v + eps).
    fn share(&self) -> f64 {
        self.epsilon / (self.v + self.epsilon)
    }

    /// Values for i and l, row after row.
    fn table(&self, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..self.n * self.n).map(|at| value(at / self.n, at % self.n)).collect()
    }

    /// A value for each i.
    fn list(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..self.n).map(value).collect()
    }

    /// The layer with this case's parameters.
    fn layer(&self) -> BatchNorm {
        let mut layer = Config::pytorch().epsilon(self.epsilon).channels(1).build().expect("options");
        layer.set_gamma(&[self.gamma]).expect("one gamma");
        layer.set_beta(&[self.beta]).expect("one beta");
        layer
    }
}

/// n values as a batch of one channel.
fn column(values: &[f64]) -> View<'_, f64> {
    View::new(values, &[values.len(), 1], Axes::NCHW).expect("a column")
}

fn column_mut(values: &mut [f64]) -> ViewMut<'_, f64> {
    let len = values.len();
    ViewMut::new(values, &[len, 1], Axes::NCHW).expect("a column")
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of products.
fn mean_of(one: &[f64], other: &[f64]) -> f64 {
    sum_of(one, other) / one.len() as f64
}

/// The sum of products.
fn sum_of(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// [i = l].
fn same(i: usize, l: usize) -> f64 {
    f64::from(u8::from(i == l))
}

/// The definition over any number type, in the order of (1) to (5).
pub struct Defined<R> {
    m: R,
    c: Vec<R>,
    v: R,
    r: R,
    xhat: Vec<R>,
    y: Vec<R>,
}

impl<R: Real> Defined<R> {
    fn new(x: &[R], gamma: R, beta: R, epsilon: f64) -> Defined<R> {
        let mean = |values: &[R]| {
            let n = R::constant(values.len() as f64);
            values.iter().fold(R::constant(0.0), |sum, &value| sum + value) / n
        };
        let m = mean(x);
        let c: Vec<R> = x.iter().map(|&x| x - m).collect();
        let v = mean(&c.iter().map(|&c| c * c).collect::<Vec<R>>());
        let r = R::constant(1.0) / (v + R::constant(epsilon)).sqrt();
        let xhat: Vec<R> = c.iter().map(|&c| c * r).collect();
        let y = xhat.iter().map(|&xhat| gamma * xhat + beta).collect();
        Defined { m, c, v, r, xhat, y }
    }
}

/// Values that move with some slopes.
fn moving(values: &[f64], slope: impl Fn(usize) -> f64) -> Vec<Dual<DoubleDouble>> {
    values.iter().enumerate().map(|(i, &value)| Dual(wide(value), wide(slope(i)))).collect()
}

/// The definition where x_l alone moves: every derivative by x_l.
fn by_value(case: &Case, l: usize) -> Defined<Dual<DoubleDouble>> {
    let still = |value| Dual::constant(value);
    Defined::new(&moving(&case.x, |i| same(i, l)), still(case.gamma), still(case.beta), case.epsilon)
}

/// d sum_i dy_i y_i / d x_l of any y of x.
fn gradient_of(
    x: &[f64],
    dy: &[f64],
    y: impl Fn(&[Dual<DoubleDouble>]) -> Vec<Dual<DoubleDouble>>,
) -> Vec<DoubleDouble> {
    let by = |l| y(&moving(x, |i| same(i, l))).iter().zip(dy).fold(wide(0.0), |sum, (y, &dy)| sum + y.1 * wide(dy));
    (0..x.len()).map(by).collect()
}

/// Sizes from two values on, eps from 1e-12 to 1.
fn cases() -> Vec<Case> {
    let mut random = Random::new(6100);
    let mut cases = Vec::new();
    for n in [2, 2, 2, 3, 4, 9, 33] {
        for epsilon in [1e-12, 1e-8, 1e-5, 0.1, 1.0] {
            cases.push(Case::new(n, epsilon, &mut random));
        }
    }
    cases
}

#[test]
fn each_equation_holds() {
    let cases = cases();
    let mut broken = Vec::new();
    for (text, holds) in equations() {
        let mut check = Check::default();
        cases.iter().for_each(|case| holds(case, &mut check));
        let Check { compared, worst, largest, of_zero } = check;
        println!("{worst:.0e} of {compared:5} values: {text}");
        // A scale that dwarfs what is compared would let anything pass.
        let sharp = of_zero || largest > 1e-3;
        if compared < cases.len().min(20) || !sharp || !matches!(worst, 0.0..=1e-12) {
            broken.push(format!(
                "{text}\n    worst {worst:e} of {compared} values, the largest {largest:e} of its scale"
            ));
        }
    }
    assert!(broken.is_empty(), "these do not hold:\n{}", broken.join("\n"));
}

#[test]
fn a_wrong_equation_is_noticed() {
    // What (19) would be without each of its terms, with the sample variance, and with eps outside the root.
    let wrong: [fn(&Case, usize) -> f64; 5] = [
        |case, l| case.gamma * case.r * (case.dy[l] - case.xhat[l] * mean_of(&case.dy, &case.xhat)),
        |case, l| case.gamma * case.r * (case.dy[l] - mean(&case.dy)),
        |case, l| case.gamma * case.r * case.dy[l],
        |case, l| {
            let r = 1.0 / (case.v * case.count() / (case.count() - 1.0) + case.epsilon).sqrt();
            case.gamma * r * (case.dy[l] - mean(&case.dy) - case.xhat[l] * mean_of(&case.dy, &case.xhat))
        },
        |case, l| {
            let r = 1.0 / (case.v.sqrt() + case.epsilon);
            case.gamma * r * (case.dy[l] - mean(&case.dy) - case.xhat[l] * mean_of(&case.dy, &case.xhat))
        },
    ];
    for (number, wrong) in wrong.iter().enumerate() {
        let mut check = Check::default();
        let cases = cases();
        cases
            .iter()
            .for_each(|case| first_order::against_the_gradient(case, &case.list(|l| wrong(case, l)), &mut check));
        assert!(check.worst > 1e-3, "{number}: {:e}", check.worst);
    }
}
