//! Sums and statistics over the wrong axis: mistakes that cannot be seen in one channel alone.

use crate::error::ProblemError;
use crate::mistakes::{Mistake, mistake};
use crate::parameter_sums::Which;
use crate::problem::{Kind, Problem};
use crate::row::Row;

/// The mistakes of the wrong axis, of batch norm in training without weights.
pub static ACROSS: &[Mistake] = &[
    mistake(
        "statistics over the samples alone",
        "behind a convolution a channel's values are those of all samples and all positions; here each position has its own",
        "take mean and variance, and the sums of the backward pass, over every axis but the channels': (0, 2, 3) of NCHW",
    ),
    mistake(
        "statistics over the positions alone",
        "a channel's values are those of all samples; here each sample is normalised by itself (instance norm)",
        "take mean and variance, and the sums of the backward pass, over every axis but the channels': (0, 2, 3) of NCHW",
    ),
    mistake(
        "statistics over the channels",
        "batch norm normalises each channel over the samples; here each sample is normalised over its channels (layer norm)",
        "take mean and variance, and the sums of the backward pass, over every axis but the channels': axis 0 of (N, C)",
    ),
];

/// Groups that a mistake normalises instead of the channels.
struct Groups {
    mistake: &'static Mistake,
    /// The group of a value, by the row and the place in it.
    of: Box<dyn Fn(usize, usize) -> usize>,
    /// Number of groups.
    count: usize,
    /// Number of values in each.
    size: f64,
}

/// All wrong groups that a problem's axes admit.
fn wrong_groups(problem: &Problem) -> Vec<Groups> {
    if problem.kind != Kind::Batch || problem.weights.is_some() || problem.corrections.is_some() {
        return Vec::new();
    }
    let [samples, positions] = problem.samples_and_positions();
    let (rows, values) = (problem.rows.count(), problem.rows.values());
    let groups = |mistake: &'static Mistake, count: usize, of: Box<dyn Fn(usize, usize) -> usize>| Groups {
        mistake,
        of,
        count,
        size: problem.x.len() as f64 / count as f64,
    };
    let mut all = Vec::new();
    if samples > 1 && positions > 1 {
        let by_position = move |row: usize, i: usize| row * positions + i % positions;
        all.push(groups(&ACROSS[0], rows * positions, Box::new(by_position)));
        let by_sample = move |row: usize, i: usize| row * samples + i / positions;
        all.push(groups(&ACROSS[1], rows * samples, Box::new(by_sample)));
    }
    if rows > 1 {
        all.push(groups(&ACROSS[2], values, Box::new(|_, i| i)));
        if positions > 1 {
            all.push(groups(&ACROSS[2], samples, Box::new(move |_, i| i / positions)));
        }
    }
    all
}

/// Sums over each group of something that values have.
fn sums(problem: &Problem, groups: &Groups, term: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; groups.count];
    for row in 0..problem.rows.count() {
        for i in 0..problem.rows.values() {
            sums[(groups.of)(row, i)] += term(row, i);
        }
    }
    sums
}

/// x normalised by wrong groups.
struct Normalized {
    /// xhat, row after row.
    xhat: Vec<f64>,
    /// 1 / sqrt(variance + eps) of each group.
    inverse: Vec<f64>,
}

/// Normalises x by wrong groups.
fn normalized(problem: &Problem, groups: &Groups) -> Normalized {
    let values = problem.rows.values();
    let x = |row: usize, i: usize| problem.x[row * values + i];
    let means = sums(problem, groups, x);
    let centered = |row: usize, i: usize| x(row, i) - means[(groups.of)(row, i)] / groups.size;
    let squares = sums(problem, groups, |row, i| centered(row, i) * centered(row, i));
    let inverse: Vec<f64> = squares.iter().map(|sum| 1.0 / (sum / groups.size + problem.epsilon).sqrt()).collect();
    let xhat = (0..problem.x.len()).map(|place| {
        let (row, i) = (place / values, place % values);
        centered(row, i) * inverse[(groups.of)(row, i)]
    });
    Normalized { xhat: xhat.collect(), inverse }
}

/// The part of dx that goes by the wrong groups.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extent {
    /// All of it: dx is that of the other norm.
    Everything,
    /// Both sums of the backward pass.
    BothSums,
    /// sum(gamma dy) alone.
    SumOfGradient,
    /// sum(gamma dy xhat) alone.
    SumOfProducts,
}

impl Extent {
    const ALL: [Extent; 4] = [Extent::Everything, Extent::BothSums, Extent::SumOfGradient, Extent::SumOfProducts];
}

/// dx by wrong groups, value by value.
struct WrongInput<'p> {
    problem: &'p Problem,
    rows: &'p [Row<'p>],
    groups: &'p Groups,
    normalized: Normalized,
    /// sum(gamma dy) of each group.
    of_gradient: Vec<f64>,
    /// sum(gamma dy xhat) of each group, xhat by the groups too.
    of_products: Vec<f64>,
    /// sum(gamma dy xhat) of each group, with the right xhat.
    of_right_products: Vec<f64>,
}

impl<'p> WrongInput<'p> {
    fn new(problem: &'p Problem, rows: &'p [Row], groups: &'p Groups) -> WrongInput<'p> {
        let values = problem.rows.values();
        let g = |row: usize, i: usize| problem.gamma[row] * problem.dy[row * values + i];
        let normalized = normalized(problem, groups);
        let xhat = |row: usize, i: usize| rows[row].centered[i] * rows[row].inverse;
        WrongInput {
            problem,
            rows,
            groups,
            of_gradient: sums(problem, groups, g),
            of_products: sums(problem, groups, |row, i| g(row, i) * normalized.xhat[row * values + i]),
            of_right_products: sums(problem, groups, |row, i| g(row, i) * xhat(row, i)),
            normalized,
        }
    }

    /// dx of a value.
    fn at(&self, extent: Extent, row: usize, i: usize) -> f64 {
        let (group, right) = ((self.groups.of)(row, i), &self.rows[row]);
        let place = row * self.problem.rows.values() + i;
        let g = self.problem.gamma[row] * self.problem.dy[place];
        if extent == Extent::Everything {
            let (inverse, xhat) = (self.normalized.inverse[group], self.normalized.xhat[place]);
            let level = self.of_gradient[group] / self.groups.size;
            return inverse * (g - level - xhat * self.of_products[group] / self.groups.size);
        }
        let level = match extent {
            Extent::SumOfProducts => right.sums[1] / right.n,
            _ => self.of_gradient[group] / self.groups.size,
        };
        let slope = match extent {
            Extent::SumOfGradient => right.products[1] * right.inverse / right.n,
            _ => self.of_right_products[group] / self.groups.size,
        };
        right.inverse * (g - level - right.centered[i] * right.inverse * slope)
    }

    /// The factor of a value's rounding errors over those of the right dx: by the larger inverse deviation, once in the
    /// gradient and once in the rounding of the mean.
    fn larger(&self, extent: Extent, row: usize, i: usize) -> f64 {
        if extent != Extent::Everything {
            return 1.0;
        }
        (self.normalized.inverse[(self.groups.of)(row, i)] / self.rows[row].inverse).max(1.0)
    }
}

/// The mistakes of the wrong axis that explain dx.
pub(crate) fn explaining(
    problem: &Problem,
    dx: &[f64],
    allowed: &impl Fn(&Row) -> f64,
) -> Result<Vec<&'static Mistake>, ProblemError> {
    let values = problem.rows.values();
    let all = wrong_groups(problem);
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let rows = (0..problem.rows.count()).map(|number| Row::new(problem, number)).collect::<Result<Vec<Row>, _>>()?;
    let bounds: Vec<f64> = rows.iter().map(allowed).collect();
    let mut explaining = Vec::new();
    for groups in &all {
        let wrong = WrongInput::new(problem, &rows, groups);
        let fits = |extent: Extent| {
            dx.iter().enumerate().all(|(place, dx)| {
                let (row, i) = (place / values, place % values);
                let larger = wrong.larger(extent, row, i);
                (dx - wrong.at(extent, row, i)).abs() <= bounds[row] * larger * larger
            })
        };
        if Extent::ALL.into_iter().any(fits) && !explaining.contains(&groups.mistake) {
            explaining.push(groups.mistake);
        }
    }
    Ok(explaining)
}

/// The mistakes of the wrong axis that explain dgamma or dbeta. `allowed` is for one of the right sums, by number.
pub(crate) fn explaining_sums(
    problem: &Problem,
    which: Which,
    given: &[f64],
    allowed: &dyn Fn(usize) -> f64,
) -> Result<Vec<&'static Mistake>, ProblemError> {
    let all = wrong_groups(problem);
    let mut explaining = Vec::new();
    if all.is_empty() {
        return Ok(explaining);
    }
    // (Batch norm alone has wrong groups, and it has a parameter for each row.)
    let largest = (0..problem.rows.count()).map(allowed).fold(0.0, f64::max);
    // Where a sum may be anything, these may too.
    if !largest.is_finite() {
        return Ok(explaining);
    }
    let mut try_out = |mistake: &'static Mistake, sums: &[f64], larger: f64| {
        let near = given.iter().zip(sums).all(|(given, sum)| (given - sum).abs() <= largest * larger);
        if near && !explaining.contains(&mistake) {
            explaining.push(mistake);
        }
    };
    for groups in &all {
        if which == Which::Gamma {
            let normalized = normalized(problem, groups);
            let larger = largest_inverse(problem, groups, &normalized)?;
            try_out(groups.mistake, &scale_gradients(problem, &normalized), larger * larger);
        }
        // Summed over the channels, where there are as many samples as channels.
        if groups.count == problem.rows.count() && groups.mistake == &ACROSS[2] {
            try_out(groups.mistake, &sums_of_groups(problem, groups, which)?, 1.0);
        }
    }
    Ok(explaining)
}

/// dgamma of each channel, with xhat by wrong groups.
fn scale_gradients(problem: &Problem, normalized: &Normalized) -> Vec<f64> {
    let values = problem.rows.values();
    let rows = problem.dy.chunks(values).zip(normalized.xhat.chunks(values));
    rows.map(|(dy, xhat)| dy.iter().zip(xhat).map(|(dy, xhat)| dy * xhat).sum()).collect()
}

/// The largest wrong inverse deviation over the right one, at least 1.
fn largest_inverse(problem: &Problem, groups: &Groups, normalized: &Normalized) -> Result<f64, ProblemError> {
    let mut larger = 1.0f64;
    for number in 0..problem.rows.count() {
        let row = Row::new(problem, number)?;
        let inverses = (0..problem.rows.values()).map(|i| normalized.inverse[(groups.of)(number, i)]);
        larger = larger.max(inverses.fold(0.0, f64::max) / row.inverse);
    }
    Ok(larger)
}

/// sum(dy xhat) or sum(dy) of each group, with the right xhat.
fn sums_of_groups(problem: &Problem, groups: &Groups, which: Which) -> Result<Vec<f64>, ProblemError> {
    let values = problem.rows.values();
    if which == Which::Beta {
        return Ok(sums(problem, groups, |row, i| problem.dy[row * values + i]));
    }
    let xhat = (0..problem.rows.count())
        .map(|number| Row::new(problem, number).map(|row| row.centered.iter().map(|c| c * row.inverse).collect()))
        .collect::<Result<Vec<Vec<f64>>, _>>()?;
    Ok(sums(problem, groups, |row, i| problem.dy[row * values + i] * xhat[row][i]))
}
