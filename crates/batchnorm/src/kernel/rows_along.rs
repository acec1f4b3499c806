//! Second derivatives of rows: row by row in plain loops, in an order that follows from the sizes alone. (Nobody waits for
//! these as for a training step.) In pseudo-code, for a row of x, dy and x' with gamma and gamma':
//!
//! ```text
//! w = r (x' - mean(x')), g = gamma dy - its mean, g' = gamma' dy - its mean        (RMS norm: no means)
//! p = mean(w xhat), q = mean(g xhat), k = mean(g w) - p q
//! dx'     = r (g' - xhat mean(g' xhat)) - r (p g + q w + (k - 2 p q) xhat)
//! dgamma' = sum over rows of dy (w - xhat p)
//! ```

use super::grid::Grid;
use super::map::TASK;
use super::raw::{Readable, Writable};
use super::row_formulas::RowNumbers;
use crate::element::Element;
use crate::parallel;

/// Rows (of each part of the parameters) that are added up before they go to the total: so errors do not grow with the
/// number of rows, and the order follows from the sizes alone.
const BLOCK: usize = 128;

/// All rows, and what they are computed with.
pub(crate) struct Rows<'r> {
    pub numbers: &'r [RowNumbers],
    /// Values a row.
    pub count: usize,
    /// Rows after which the parameters begin again.
    pub period: usize,
    /// Whether the mean is taken off.
    pub centred: bool,
    /// gamma and gamma' of each element of `period` rows.
    pub of: [&'r [f64]; 2],
}

/// What gives xhat' = w - p xhat of a row with w = r (x' - offset).
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    offset: f64,
    p: f64,
}

/// One row of some arrays.
struct Scratch<T> {
    tile: Vec<T>,
    rows: [Vec<f64>; 3],
    /// g and g'.
    weighted: [Vec<f64>; 2],
}

impl<T: Element> Scratch<T> {
    fn new() -> Self {
        Scratch { tile: Vec::new(), rows: Default::default(), weighted: Default::default() }
    }

    /// A row of x, dy and x'.
    fn load(&mut self, row: usize, arrays: [&Readable<T>; 3], count: usize) {
        self.tile.resize(count, T::default());
        for (array, values) in arrays.iter().zip(&mut self.rows) {
            array.gather_block(row..row + 1, 0..count, &mut self.tile, count);
            values.clear();
            values.extend(self.tile.iter().map(|value| value.to_f64()));
        }
    }
}

impl Rows<'_> {
    /// dx' of the rows of a part of the arrays; all parts have as many.
    pub fn along<T: Element>(&self, part: usize, arrays: [&Readable<T>; 3], out: &mut Writable<T>) -> Vec<Turn> {
        let (rows, count) = (out.geometry().channels, self.count);
        let grid = Grid { channels: rows, block: (TASK / count).clamp(1, rows), count, range: count };
        let threads = parallel::threads_for(rows * count);
        let turns = Writable::for_each_cell(&mut [out], grid, threads, Scratch::new, |scratch, own, _, [cell]| {
            let row = |row: usize| {
                scratch.load(row, arrays, count);
                let turn = self.row(part * rows + row, scratch);
                cell.scatter(row, 0..count, &scratch.tile);
                turn
            };
            own.map(row).collect::<Vec<Turn>>()
        });
        turns.into_iter().flatten().collect()
    }

    /// dx' of a row that is loaded, into its tile.
    fn row<T: Element>(&self, number: usize, scratch: &mut Scratch<T>) -> Turn {
        let count = self.count;
        let Scratch { tile, rows: [xhat, dy, w], weighted } = scratch;
        let first = number % self.period * count;
        for (weighted, of) in weighted.iter_mut().zip(self.of) {
            weighted.clear();
            weighted.extend(of[first..first + count].iter().zip(&*dy).map(|(gamma, dy)| gamma * dy));
        }
        let [g, g_t] = weighted;
        let [mean, inverse, lag] = self.numbers[number];
        let product = |one: &[f64], other: &[f64]| pairwise(count, &|at| one[at] * other[at]) / count as f64;
        let center = |values: &mut [f64], scale: f64| {
            let offset = if self.centred { pairwise(count, &|at| values[at]) / count as f64 } else { 0.0 };
            values.iter_mut().for_each(|value| *value = (*value - offset) * scale);
            offset
        };
        xhat.iter_mut().for_each(|x| *x = (*x - mean) * inverse - lag);
        let offset = center(w, inverse);
        center(g, 1.0);
        center(g_t, 1.0);
        let [p, q, q_t] = [&*w, &*g, &*g_t].map(|values| product(values, xhat));
        let turn = product(g, w) - 3.0 * (p * q);
        for (at, out) in tile.iter_mut().enumerate() {
            let by_gamma = g_t[at] - xhat[at] * q_t;
            *out = T::from_f64(inverse * (by_gamma - (p * g[at] + q * w[at] + turn * xhat[at])));
        }
        Turn { offset, p }
    }

    /// The sums over rows of dy xhat', of each element of `period` rows.
    pub fn parameter_sums<T: Element>(&self, parts: &[[&Readable<T>; 3]], turns: &[Turn]) -> Vec<f64> {
        let (rows, each) = (turns.len(), turns.len() / parts.len());
        let block = BLOCK * self.period;
        let threads = parallel::threads_for(rows * self.count);
        let sums = parallel::map(rows.div_ceil(block), threads, Scratch::new, |scratch, number| {
            let mut sums = vec![0.0; self.period * self.count];
            for row in number * block..((number + 1) * block).min(rows) {
                scratch.load(row % each, parts[row / each], self.count);
                let ([x, dy, x_t], [mean, inverse, lag], turn) = (&scratch.rows, self.numbers[row], turns[row]);
                for (at, sum) in sums[row % self.period * self.count..][..self.count].iter_mut().enumerate() {
                    let xhat = (x[at] - mean) * inverse - lag;
                    *sum += dy[at] * ((x_t[at] - turn.offset) * inverse - turn.p * xhat);
                }
            }
            sums
        });
        let add = |mut left: Vec<f64>, right: Vec<f64>| {
            left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            left
        };
        sums.into_iter().reduce(add).expect("at least one row")
    }
}

/// A sum by halves, so that its error hardly grows with the number of terms.
pub(crate) fn pairwise(len: usize, term: &dyn Fn(usize) -> f64) -> f64 {
    fn between(start: usize, len: usize, term: &dyn Fn(usize) -> f64) -> f64 {
        if len <= 32 {
            return (start..start + len).map(term).fold(0.0, |sum, term| sum + term);
        }
        let half = len / 2;
        between(start, half, term) + between(start + half, len - half, term)
    }
    between(0, len, term)
}
