//! Samples in another order: of dx alone, or of x or dy when dx and dgamma were computed.

use crate::error::ProblemError;
use crate::given::Given;
use crate::problem::{Kind, Problem};
use crate::rearranged::{Rearranged, SAMPLES};
use crate::row::Row;
use batchnorm_reference::whole::Role;

/// Samples above which no order is looked for: each is compared with all.
const MAX_SAMPLES: usize = 2048;
/// Numbers by which samples are told apart at first.
const MAX_MARKS: usize = 8;

/// Whether an array in memory is another with its samples in another order, each value to within its bound.
pub(crate) fn of_slices(problem: &Problem, given: &[f64], right: &[f64], bounds: &[f64]) -> bool {
    let Some(slices) = Slices::new(problem) else { return false };
    let marks = |values: &[f64]| -> Vec<Vec<f64>> {
        let of = |slice: &[usize]| {
            slice.iter().step_by(slice.len().div_ceil(MAX_MARKS)).map(|&place| values[place]).collect()
        };
        (0..slices.samples).map(|sample| of(slices.places(sample))).collect()
    };
    let Some(order) = matched(&marks(given), &marks(right)) else { return false };
    let fits = |(sample, &of): (usize, &usize)| {
        let mut places = slices.places(sample).iter().zip(slices.places(of));
        places.all(|(&place, &of)| (given[place] - right[of]).abs() <= bounds[of])
    };
    order.iter().enumerate().all(fits)
}

/// The samples of an array in memory.
struct Slices {
    samples: usize,
    /// The values behind each index of the sample axis.
    inner: usize,
    /// The places of the values of each sample, one after the other.
    places: Vec<usize>,
}

impl Slices {
    fn new(problem: &Problem) -> Option<Slices> {
        let axes = &problem.axes;
        let axis = axes.roles.iter().position(|&role| role == Role::Sample)?;
        let (samples, inner) = (axes.shape[axis], axes.shape[axis + 1..].iter().product());
        if !(2..=MAX_SAMPLES).contains(&samples) {
            return None;
        }
        let mut slices = Slices { samples, inner, places: (0..axes.len()).collect() };
        slices.places.sort_by_key(|&place| place / inner % samples);
        Some(slices)
    }

    /// The sample that a place belongs to.
    fn sample_of(&self, place: usize) -> usize {
        place / self.inner % self.samples
    }

    /// The places of the values of a sample.
    fn places(&self, sample: usize) -> &[usize] {
        let each = self.places.len() / self.samples;
        &self.places[sample * each..][..each]
    }

    /// The problem with the samples of x, or of dy, in another order; `None` as of `Problem::with_rows`.
    fn reordered(&self, problem: &Problem, which: Moved, order: &[usize]) -> Option<Problem> {
        let [mut x, mut dy] = [&problem.x, &problem.dy].map(|values| problem.in_memory(values));
        let moved = match which {
            Moved::Input => &mut x,
            Moved::Gradient => &mut dy,
        };
        let old = moved.clone();
        for (sample, &of) in order.iter().enumerate() {
            self.places(sample).iter().zip(self.places(of)).for_each(|(&to, &from)| moved[to] = old[from]);
        }
        problem.with_rows(&problem.axes.shape, &problem.axes.roles, problem.rows.together(), [&x, &dy], None)
    }
}

/// What these samples in another order are looked at as: the arrays' values stay at their places.
fn rearranged(problem: Problem) -> Rearranged {
    let from = (0..problem.axes.len()).collect();
    Rearranged { mistake: SAMPLES, problem, from }
}

/// For each of some samples the nearest of others that no earlier one took, by the same marks; `None` if all are where they
/// were.
fn matched(given: &[Vec<f64>], right: &[Vec<f64>]) -> Option<Vec<usize>> {
    let mut free: Vec<usize> = (0..right.len()).collect();
    let mut order = Vec::with_capacity(given.len());
    for marks in given {
        let distance = |of: usize| marks.iter().zip(&right[of]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let nearest = (0..free.len()).min_by(|&a, &b| distance(free[a]).total_cmp(&distance(free[b])))?;
        order.push(free.remove(nearest));
    }
    order.iter().enumerate().any(|(sample, of)| sample != *of).then_some(order)
}

/// Problems in which x's samples stand in the order in which they were when dx was computed with dy's as they are; and the
/// other way round. By the formula, u = dx / (gamma r), k = mean(dy xhat):
///
/// ```text
/// dy - mean(dy) - u = k xhat       of x in another order
/// u + mean(dy) + k xhat = dy       of dy in another order
/// ```
///
/// tell each channel's xhat, or dy, in that order: k is known from dgamma, or but for its sign from the sizes of both sides.
pub(crate) fn candidates(given: &Given) -> Result<Vec<Rearranged>, ProblemError> {
    let (problem, Some((dx, _))) = (given.problem, &given.dx) else { return Ok(Vec::new()) };
    if matches!(problem.kind, Kind::Sample | Kind::RootMeanSquare) {
        return of_norms_by_sample(problem, dx);
    }
    let plain = problem.weights.is_none() && problem.corrections.is_none();
    let applies = problem.kind == Kind::Batch && plain && problem.axes.len() > 3;
    let Some(slices) = Slices::new(problem).filter(|_| applies) else { return Ok(Vec::new()) };
    let values = problem.rows.values();
    let mut channels = Vec::new();
    for number in 0..problem.rows.count() {
        if problem.gamma[number] != 0.0 {
            let (row, dgamma) = (Row::new(problem, number)?, given.dgamma.as_ref().map(|(dgamma, _)| dgamma[number]));
            channels.push(Channel::new(&row, &dx[number * values..][..values], dgamma));
        }
    }
    // Those with the largest k tell most.
    channels.sort_by(|one, other| other.size.total_cmp(&one.size));
    channels.truncate(MAX_MARKS);
    let sample_of = problem.rows.places(0).iter().map(|&place| slices.sample_of(place)).collect::<Vec<usize>>();
    let mut all = Vec::new();
    for which in [Moved::Input, Moved::Gradient] {
        let Some(order) = order_of(&channels, which, &sample_of, slices.samples) else { continue };
        all.extend(slices.reordered(problem, which, &order).map(rearranged));
    }
    Ok(all)
}

/// Samples of norms that look at each by itself: above so many values times samples no order is looked for.
const MAX_PAIRS: usize = 1 << 24;

/// The same of norms that look at each sample by itself: which sample's x, or dy, gives each sample's dx is tried out.
fn of_norms_by_sample(problem: &Problem, dx: &[f64]) -> Result<Vec<Rearranged>, ProblemError> {
    let few = |slices: &Slices| slices.samples * slices.places.len() <= MAX_PAIRS;
    let Some(slices) = Slices::new(problem).filter(few) else { return Ok(Vec::new()) };
    let (samples, dx) = (slices.samples, problem.in_memory(dx));
    let mut all = Vec::new();
    for which in [Moved::Input, Moved::Gradient] {
        let mut nearest = vec![(f64::INFINITY, 0); samples];
        for shift in 0..samples {
            let order: Vec<usize> = (0..samples).map(|sample| (sample + shift) % samples).collect();
            let Some(turned) = slices.reordered(problem, which, &order) else { return Ok(all) };
            let mut right = Vec::with_capacity(dx.len());
            for number in 0..turned.rows.count() {
                right.extend(Row::new(&turned, number)?.right_values());
            }
            let right = turned.in_memory(&right);
            for (sample, nearest) in nearest.iter_mut().enumerate() {
                let own = slices.places(sample).iter();
                let distance = own.map(|&place| (dx[place] - right[place]).abs()).fold(0.0, f64::max);
                if distance < nearest.0 {
                    *nearest = (distance, order[sample]);
                }
            }
        }
        let order: Vec<usize> = nearest.into_iter().map(|(_, of)| of).collect();
        if order.iter().enumerate().any(|(sample, &of)| sample != of) {
            all.extend(slices.reordered(problem, which, &order).map(rearranged));
        }
    }
    Ok(all)
}

/// The array whose samples stood in another order.
#[derive(Clone, Copy, PartialEq)]
enum Moved {
    Input,
    Gradient,
}

/// A channel, by the formula taken apart.
struct Channel {
    xhat: Vec<f64>,
    dy: Vec<f64>,
    /// dx / (gamma r) + mean(dy).
    rest: Vec<f64>,
    /// k = mean(dy xhat), where dgamma tells it.
    known: Option<f64>,
    /// |k| as the sizes tell it, by either array.
    size: f64,
}

impl Channel {
    fn new(row: &Row, dx: &[f64], dgamma: Option<f64>) -> Channel {
        let xhat: Vec<f64> = row.centered.iter().map(|c| c * row.inverse).collect();
        let (scale, mean) = (row.gamma[0] * row.inverse, row.sums[0] / row.n);
        let rest: Vec<f64> = dx.iter().map(|dx| dx / scale + mean).collect();
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let of_difference = square(&mut row.dy.iter().zip(&rest).map(|(dy, rest)| dy - rest));
        let size = (of_difference / square(&mut xhat.iter().copied())).sqrt();
        Channel { xhat, dy: row.dy.to_vec(), rest, known: dgamma.map(|dgamma| dgamma / row.n), size }
    }

    /// What stood in each place, by k, and what stands there.
    fn told(&self, which: Moved, k: f64) -> (Vec<f64>, &[f64]) {
        match which {
            Moved::Input => (self.dy.iter().zip(&self.rest).map(|(dy, rest)| (dy - rest) / k).collect(), &self.xhat),
            Moved::Gradient => {
                (self.rest.iter().zip(&self.xhat).map(|(rest, xhat)| rest + k * xhat).collect(), &self.dy)
            }
        }
    }

    /// k and -k, or k alone where it is known.
    fn factors(&self, which: Moved) -> Vec<f64> {
        let size = match which {
            Moved::Input => self.size,
            // sum (rest + k xhat)^2 = sum dy^2, and xhat has no product with what is in rest but -k xhat, as good as none of it.
            Moved::Gradient => {
                let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
                ((square(&self.dy) - square(&self.rest)).max(0.0) / square(&self.xhat)).sqrt()
            }
        };
        self.known.map_or(vec![size, -size], |k| vec![k])
    }
}

/// The order of the samples that some channels tell: by one first, then by all with the signs that it gives them.
fn order_of(channels: &[Channel], which: Moved, sample_of: &[usize], samples: usize) -> Option<Vec<usize>> {
    let by_sample = |values: &[f64]| {
        let mut slices = vec![Vec::new(); samples];
        sample_of.iter().zip(values).for_each(|(&sample, &value)| slices[sample].push(value));
        slices
    };
    let by_marks = |values: &[f64]| -> Vec<Vec<f64>> {
        let thinned = |slice: Vec<f64>| slice.iter().step_by(slice.len().div_ceil(MAX_MARKS)).copied().collect();
        by_sample(values).into_iter().map(thinned).collect()
    };
    let distance = |told: &[f64], stands: &[f64], order: &[usize]| {
        let [told, stands] = [told, stands].map(by_sample);
        let apart = |(sample, &of): (usize, &usize)| {
            told[sample].iter().zip(&stands[of]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
        };
        order.iter().enumerate().map(apart).sum::<f64>()
    };
    let first = channels.first()?;
    let by_first = first.factors(which).into_iter().filter_map(|k| {
        let (told, stands) = first.told(which, k);
        let order = matched(&by_marks(&told), &by_marks(stands))?;
        Some((distance(&told, stands, &order), order))
    });
    let (_, order) = by_first.min_by(|one, other| one.0.total_cmp(&other.0))?;
    let (mut told, mut stand) = (vec![Vec::new(); samples], vec![Vec::new(); samples]);
    for channel in channels {
        let nearest = channel.factors(which).into_iter().map(|k| channel.told(which, k));
        let nearest = nearest.min_by(|a, b| distance(&a.0, a.1, &order).total_cmp(&distance(&b.0, b.1, &order)))?;
        for (all, values) in [(&mut told, &nearest.0[..]), (&mut stand, nearest.1)] {
            all.iter_mut().zip(by_marks(values)).for_each(|(marks, more)| marks.extend(more));
        }
    }
    matched(&told, &stand)
}
