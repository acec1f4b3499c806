//! Sums and statistics over the wrong axis: mistakes that cannot be seen in one channel alone.

use crate::error::ProblemError;
use crate::mistakes::{Mistake, mistake};
use crate::problem::{Kind, Problem};
use crate::row::Row;
use crate::score::Which;

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

/// Values that go together, by number; and how many such groups there are.
struct Grouping {
    mistake: &'static Mistake,
    of: Box<dyn Fn(usize, usize) -> usize>,
    groups: usize,
}

fn groupings(problem: &Problem) -> Vec<Grouping> {
    if problem.kind != Kind::Batch || problem.weights.is_some() {
        return Vec::new();
    }
    let [samples, positions] = problem.samples_and_positions();
    let (rows, count) = (problem.rows.count(), problem.rows.values());
    let mut all = Vec::new();
    if samples > 1 && positions > 1 {
        let of = Box::new(move |row: usize, i: usize| row * positions + i % positions);
        all.push(Grouping { mistake: &ACROSS[0], of, groups: rows * positions });
        let of = Box::new(move |row: usize, i: usize| row * samples + i / positions);
        all.push(Grouping { mistake: &ACROSS[1], of, groups: rows * samples });
    }
    if rows > 1 {
        all.push(Grouping { mistake: &ACROSS[2], of: Box::new(|_, i| i), groups: count });
        if positions > 1 {
            all.push(Grouping { mistake: &ACROSS[2], of: Box::new(move |_, i| i / positions), groups: samples });
        }
    }
    all
}

/// Sums of something over groups.
fn sums(problem: &Problem, grouping: &Grouping, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut all = vec![0.0; grouping.groups];
    for row in 0..problem.rows.count() {
        for i in 0..problem.rows.values() {
            all[(grouping.of)(row, i)] += of(row, i);
        }
    }
    all
}

/// Normalised values by groups, and 1 / sqrt(variance + eps) of each.
struct Normalized {
    values: Vec<f64>,
    inverse: Vec<f64>,
}

fn normalized(problem: &Problem, grouping: &Grouping, each: f64) -> Normalized {
    let count = problem.rows.values();
    let x = |row: usize, i: usize| problem.x[row * count + i];
    let means = sums(problem, grouping, x);
    let centered = |row: usize, i: usize| x(row, i) - means[(grouping.of)(row, i)] / each;
    let squares = sums(problem, grouping, |row, i| centered(row, i) * centered(row, i));
    let inverse: Vec<f64> = squares.iter().map(|sum| 1.0 / (sum / each + problem.epsilon).sqrt()).collect();
    let values = (0..problem.x.len()).map(|at| {
        let (row, i) = (at / count, at % count);
        centered(row, i) * inverse[(grouping.of)(row, i)]
    });
    Normalized { values: values.collect(), inverse }
}

/// The mistakes of the wrong axis that explain dx.
pub(crate) fn explaining(
    problem: &Problem,
    dx: &[f64],
    allowed: &impl Fn(&Row) -> f64,
) -> Result<Vec<&'static Mistake>, ProblemError> {
    let count = problem.rows.values();
    let all = groupings(problem);
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let rows = (0..problem.rows.count()).map(|number| Row::new(problem, number)).collect::<Result<Vec<Row>, _>>()?;
    let bounds: Vec<[f64; 2]> = rows.iter().map(|row| [allowed(row), row.measure()]).collect();
    let mut explaining = Vec::new();
    for grouping in &all {
        let each = problem.x.len() as f64 / grouping.groups as f64;
        let g = |row: usize, i: usize| problem.gamma[row] * problem.dy[row * count + i];
        let own = normalized(problem, grouping, each);
        let xhat = |row: usize, i: usize| rows[row].centered[i] * rows[row].inverse;
        let theirs = |row: usize, i: usize| own.values[row * count + i];
        let levels = sums(problem, grouping, g);
        let slopes = sums(problem, grouping, |row, i| g(row, i) * theirs(row, i));
        let slopes_of_right = sums(problem, grouping, |row, i| g(row, i) * xhat(row, i));
        // All of the other norm; or its sums in the backward pass alone: both, or one of them.
        let fits = (0..4).any(|way| {
            (0..dx.len()).all(|at| {
                let (row, i) = (at / count, at % count);
                let group = (grouping.of)(row, i);
                let right = &rows[row];
                let [level, slope] = [right.sums[1], right.products[1] * right.inverse].map(|sum| sum / right.n);
                let [level_g, slope_g] = [levels[group], slopes_of_right[group]].map(|sum| sum / each);
                let value = match way {
                    0 => own.inverse[group] * (g(row, i) - level_g - theirs(row, i) * slopes[group] / each),
                    1 => right.inverse * (g(row, i) - level_g - xhat(row, i) * slope_g),
                    2 => right.inverse * (g(row, i) - level_g - xhat(row, i) * slope),
                    _ => right.inverse * (g(row, i) - level - xhat(row, i) * slope_g),
                };
                // By the larger inverse deviation: once in the gradient, once in the rounding of the mean.
                let larger = if way == 0 { (own.inverse[group] / right.inverse).max(1.0) } else { 1.0 };
                (dx[at] - value).abs() <= bounds[row][0] * larger * larger
            })
        });
        if fits && !explaining.contains(&grouping.mistake) {
            explaining.push(grouping.mistake);
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
    let (rows, count) = (problem.rows.count(), problem.rows.values());
    let all = groupings(problem);
    let mut explaining = Vec::new();
    if all.is_empty() {
        return Ok(explaining);
    }
    // (There are groupings of batch norm alone, which has a parameter for each row.)
    let largest = (0..rows).map(allowed).fold(0.0, f64::max);
    // Where a sum may be anything, these may too.
    if !largest.is_finite() {
        return Ok(explaining);
    }
    let mut try_out = |mistake: &'static Mistake, values: &[f64], larger: f64| {
        let near = given.iter().zip(values).all(|(given, value)| (given - value).abs() <= largest * larger);
        if near && !explaining.contains(&mistake) {
            explaining.push(mistake);
        }
    };
    for grouping in &all {
        let each = problem.x.len() as f64 / grouping.groups as f64;
        if which == Which::Gamma {
            let own = normalized(problem, grouping, each);
            let sum = |row: usize| (0..count).map(|i| problem.dy[row * count + i] * own.values[row * count + i]).sum();
            let values: Vec<f64> = (0..rows).map(sum).collect();
            let mut larger = 1.0f64;
            for number in 0..rows {
                let row = Row::new(problem, number)?;
                let most = (0..count).map(|i| own.inverse[(grouping.of)(number, i)]).fold(0.0, f64::max);
                larger = larger.max(most / row.inverse);
            }
            try_out(grouping.mistake, &values, larger * larger);
        }
        // Summed over the channels, where there are as many samples as channels.
        if grouping.groups == rows && grouping.mistake == &ACROSS[2] {
            let xhat = (0..rows)
                .map(|number| {
                    Row::new(problem, number).map(|row| row.centered.iter().map(|c| c * row.inverse).collect())
                })
                .collect::<Result<Vec<Vec<f64>>, _>>()?;
            let factor = |row: usize, i: usize| if which == Which::Gamma { xhat[row][i] } else { 1.0 };
            let values = sums(problem, grouping, |row, i| problem.dy[row * count + i] * factor(row, i));
            try_out(grouping.mistake, &values, 1.0);
        }
    }
    Ok(explaining)
}
