//! Second derivatives of rows, in plain loops: they are not on the training path. Row by row, in an order that follows from
//! the sizes alone. In pseudo-code, for a row of x, dy and x' with gamma and gamma':
//!
//! ```text
//! w = r (x' - mean(x')), g = gamma dy - its mean, g' = gamma' dy - its mean        (RMS norm: no means)
//! p = mean(w xhat), q = mean(g xhat), k = mean(g w) - p q
//! dx'     = r (g' - xhat mean(g' xhat)) - r (p g + q w + (k - 2 p q) xhat)
//! dgamma' = sum over rows of dy (w - xhat p)
//! ```

use super::formulas::RowNumbers;
use crate::array::grid::Grid;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::map::TASK_ELEMENTS;
use crate::number::Number;
use crate::reduce::tree::pairwise_sum;

/// Rows (of each part of the parameters) that are added up before they go to the total: so errors do not grow with the
/// number of rows, and the order follows from the sizes alone.
const ROWS_A_BLOCK: usize = 128;

/// All rows, and what their second derivatives are computed with.
pub struct RowSecondDerivatives<'r> {
    /// What computes them.
    pub machine: &'r Machine,
    /// Numbers of each row.
    pub numbers: &'r [RowNumbers],
    /// Values a row.
    pub count: usize,
    /// Rows after which the parameters begin again.
    pub period: usize,
    /// The mean is taken off.
    pub centred: bool,
    /// gamma and gamma' of each element of `period` rows.
    pub gammas: [&'r [f64]; 2],
}

/// How a row moves: xhat' = w - p xhat with w = r (x' - mean(x')).
#[derive(Clone, Copy)]
pub struct RowDirection {
    /// The mean of x' over the row.
    mean: f64,
    /// p, the mean of w * xhat.
    mean_w_xhat: f64,
}

/// One row of some arrays.
struct Scratch<T> {
    tile: Vec<T>,
    rows: [Vec<f64>; 3],
    /// g and g'.
    weighted: [Vec<f64>; 2],
}

impl<T: Number> Scratch<T> {
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

impl RowSecondDerivatives<'_> {
    /// dx' of the rows of a part of the arrays; all parts have as many.
    pub(crate) fn along<T: Number>(
        &self,
        part: usize,
        arrays: [&Readable<T>; 3],
        out: &mut Writable<T>,
    ) -> Vec<RowDirection> {
        let (rows, count) = (out.geometry().channels, self.count);
        let grid = Grid { channels: rows, block: (TASK_ELEMENTS / count).clamp(1, rows), count, range: count };
        let crew = self.machine.crew(rows * count);
        let directions = Writable::for_each_cell(&mut [out], grid, crew, Scratch::new, |scratch, own, _, [cell]| {
            let row = |row: usize| {
                scratch.load(row, arrays, count);
                let direction = self.row(part * rows + row, scratch);
                cell.scatter(row, 0..count, &scratch.tile);
                direction
            };
            own.map(row).collect::<Vec<RowDirection>>()
        });
        directions.into_iter().flatten().collect()
    }

    /// dx' of a row that is loaded, into its tile.
    fn row<T: Number>(&self, number: usize, scratch: &mut Scratch<T>) -> RowDirection {
        let count = self.count;
        let Scratch { tile, rows: [xhat, dy, w], weighted } = scratch;
        let first = number % self.period * count;
        for (weighted, of) in weighted.iter_mut().zip(self.gammas) {
            weighted.clear();
            weighted.extend(of[first..first + count].iter().zip(&*dy).map(|(gamma, dy)| gamma * dy));
        }
        let [g, g_t] = weighted;
        let RowNumbers { mean, inverse_deviation: inverse, xhat_low } = self.numbers[number];
        let product = |one: &[f64], other: &[f64]| pairwise_sum(count, &|at| one[at] * other[at]) / count as f64;
        let center = |values: &mut [f64], scale: f64| {
            let offset = if self.centred { pairwise_sum(count, &|at| values[at]) / count as f64 } else { 0.0 };
            values.iter_mut().for_each(|value| *value = (*value - offset) * scale);
            offset
        };
        xhat.iter_mut().for_each(|x| *x = (*x - mean) * inverse - xhat_low);
        let offset = center(w, inverse);
        center(g, 1.0);
        center(g_t, 1.0);
        let [p, q, q_t] = [&*w, &*g, &*g_t].map(|values| product(values, xhat));
        // k - 2 p q.
        let xhat_factor = product(g, w) - 3.0 * (p * q);
        for (at, out) in tile.iter_mut().enumerate() {
            let by_gamma = g_t[at] - xhat[at] * q_t;
            *out = T::from_f64(inverse * (by_gamma - (p * g[at] + q * w[at] + xhat_factor * xhat[at])));
        }
        RowDirection { mean: offset, mean_w_xhat: p }
    }

    /// The sums over rows of dy xhat', of each element of `period` rows.
    pub(crate) fn parameter_sums<T: Number>(
        &self,
        parts: &[[&Readable<T>; 3]],
        directions: &[RowDirection],
    ) -> Vec<f64> {
        let (rows, each) = (directions.len(), directions.len() / parts.len());
        let block = ROWS_A_BLOCK * self.period;
        let crew = self.machine.crew(rows * self.count);
        let sums = crew.map(rows.div_ceil(block), Scratch::new, |scratch, number| {
            let mut sums = vec![0.0; self.period * self.count];
            for row in number * block..((number + 1) * block).min(rows) {
                scratch.load(row % each, parts[row / each], self.count);
                let ([x, dy, x_t], direction) = (&scratch.rows, directions[row]);
                let RowNumbers { mean, inverse_deviation: inverse, xhat_low } = self.numbers[row];
                for (at, sum) in sums[row % self.period * self.count..][..self.count].iter_mut().enumerate() {
                    let xhat = (x[at] - mean) * inverse - xhat_low;
                    *sum += dy[at] * ((x_t[at] - direction.mean) * inverse - direction.mean_w_xhat * xhat);
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
