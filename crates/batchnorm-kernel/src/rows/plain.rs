//! Passes over rows in plain loops, with weights or without: what is not on the training path (second derivatives), and what is
//! rare there (values that have weights, or are masked). Row by row, in an order that follows from the sizes alone. In
//! pseudo-code, for a row of x with gamma[j], beta[j] and weights w[j], W = sum w:
//!
//! ```text
//! z = gamma xhat + beta, dz = dy f'(z), g = gamma dz, g' = gamma' dz, all means weighted: mean(a) = 1/W sum w a
//! u = r (x' - mean(x')), p = mean(u xhat), sum(a)/W taken off: a^ = a - w/W sum a        (RMS norm: neither)
//! q = 1/W sum g xhat, q' = 1/W sum g' xhat, k = 1/W sum g^ u - p q
//!
//! y       = f(z)
//! dx      = r (g^ - w xhat q)
//! y'      = f'(z) (gamma (u - xhat p) + gamma' xhat + beta')
//! dx'     = r (g'^ - w xhat q') - r (p g^ + w q u + w (k - 2 p q) xhat)
//! dbeta   = sum over rows of dz, dgamma = sum over rows of dz xhat, dgamma' = sum over rows of dz (u - xhat p)
//! ```
//!
//! A value of weight 0 is masked: it is not looked at, nothing is added to a sum, and 0 is written. f' counts as a constant.

use super::formulas::RowNumbers;
use crate::activation::{Activate, Activation, leaky};
use crate::arithmetic::Arithmetic;
use crate::array::grid::Grid;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::machine::vector::{Plain, Vector, WIDTH};
use crate::map::TASK_ELEMENTS;
use crate::map::formulas::NormalizeCoefficients;
use crate::number::Stored;
use crate::reduce::tree::pairwise_sum;

/// Rows (of each part of the parameters) that are added up before they go to the total: so errors do not grow with the
/// number of rows, and the order follows from the sizes alone.
const ROWS_A_BLOCK: usize = 128;

/// All rows, and what passes over them are computed with.
pub struct PlainRows<'r> {
    /// What computes them.
    pub machine: &'r Machine,
    /// Numbers of each row.
    pub numbers: &'r [RowNumbers],
    /// The sum of the weights of each row, where values have some.
    pub total_weights: Option<&'r [f64]>,
    /// Values a row.
    pub count: usize,
    /// Rows after which the parameters begin again.
    pub period: usize,
    /// The mean is taken off.
    pub centred: bool,
    /// f.
    pub activation: Activation,
    /// gamma and beta of each element of `period` rows.
    pub scaling: [&'r [f64]; 2],
    /// Of a forward pass by the kernels of channels the coefficients of z, by row and element: the side of the kink is to be the
    /// one of that pass, to the bit.
    pub of_z: Option<&'r (dyn Fn(usize, usize) -> NormalizeCoefficients + Sync)>,
}

/// What a pass computes, and from which arrays.
#[derive(Clone, Copy)]
pub enum PlainPass<'p> {
    /// y of x.
    Normalize,
    /// dx of x and dy.
    Gradient,
    /// y' of x and x', by gamma' and beta' of each element of `period` rows.
    Tangent([&'p [f64]; 2]),
    /// dx' of x, dy and x', by gamma' of each element.
    SecondOrder(&'p [f64]),
}

/// Arrays that a pass reads: those that it is computed from, x first, and maybe the weights of their values.
#[derive(Debug, Clone, Copy)]
pub struct PlainArrays<'a, T> {
    /// x, and dy or x' or both.
    pub values: &'a [Readable<'a, T>],
    /// w.
    pub weights: Option<&'a Readable<'a, T>>,
}

/// How a row moves: xhat' = u - p xhat with u = r (x' - mean(x')).
#[derive(Debug, Clone, Copy, Default)]
pub struct RowDirection {
    /// The mean of x' over the row.
    mean: f64,
    /// p, the mean of u * xhat.
    mean_u_xhat: f64,
}

/// One row of some arrays.
struct Scratch<T> {
    tile: Vec<T>,
    rows: [Vec<f64>; 3],
    weights: Vec<f64>,
    z: Vec<f64>,
    /// g^ and g'^.
    of_dz: [Vec<f64>; 2],
}

impl<T: Stored> Scratch<T> {
    fn new() -> Self {
        Scratch { tile: vec![], rows: Default::default(), weights: vec![], z: vec![], of_dz: Default::default() }
    }

    /// A row of some arrays, 0 for what is masked.
    fn load(&mut self, row: usize, arrays: PlainArrays<T>, count: usize) {
        let Scratch { tile, rows, weights, .. } = self;
        tile.resize(count, T::default());
        let mut widened = |array: &Readable<T>, into: &mut Vec<f64>| {
            array.gather_block(row..row + 1, 0..count, tile, count);
            into.clear();
            into.extend(tile.iter().map(|value| value.to_f64()));
        };
        arrays.values.iter().zip(&mut *rows).for_each(|(array, values)| widened(array, values));
        let Some(of_values) = arrays.weights else {
            weights.resize(count, 1.0);
            return;
        };
        widened(of_values, weights);
        for values in &mut rows[..arrays.values.len()] {
            unmasked(values, weights);
        }
    }
}

/// Puts 0 in the place of what is masked.
fn unmasked(values: &mut [f64], weights: &[f64]) {
    values.iter_mut().zip(weights).filter(|(_, weight)| **weight == 0.0).for_each(|(value, _)| *value = 0.0);
}

/// A formula of vectors, of one number.
#[inline(always)]
fn one(vector: Plain) -> f64 {
    let mut lanes = [0.0; WIDTH];
    vector.to_f64(&mut lanes);
    lanes[0]
}

impl PlainRows<'_> {
    /// A pass over the rows of a part of the arrays; all parts have as many.
    pub(crate) fn map<T: Stored>(
        &self,
        pass: PlainPass,
        part: usize,
        arrays: PlainArrays<T>,
        out: &mut Writable<T>,
    ) -> Vec<RowDirection> {
        let (rows, count) = (out.geometry().channels, self.count);
        let grid = Grid { channels: rows, block: (TASK_ELEMENTS / count).clamp(1, rows), count, range: count };
        let crew = self.machine.crew(rows * count);
        let directions = Writable::for_each_cell(&mut [out], grid, crew, Scratch::new, |scratch, own, _, [cell]| {
            let row = |row: usize| {
                scratch.load(row, arrays, count);
                let direction = self.row(pass, part * rows + row, scratch);
                cell.scatter(row, 0..count, &scratch.tile);
                direction
            };
            own.map(row).collect::<Vec<RowDirection>>()
        });
        directions.into_iter().flatten().collect()
    }

    /// Numbers of the elements of a row.
    fn of_row<'e>(&self, row: usize, elements: &'e [f64]) -> &'e [f64] {
        &elements[row % self.period * self.count..][..self.count]
    }

    /// x to xhat, z as the forward pass computed it, and dy to dz, if there is one.
    fn normalize<T: Stored>(&self, row: usize, x: &mut [f64], z: &mut Vec<f64>, dy: &mut [f64], weights: &[f64]) {
        let (f, [gamma, beta]) = (leaky::<T>(self.activation), self.scaling.map(|of| self.of_row(row, of)));
        let RowNumbers { mean, inverse_deviation, xhat_low } = self.numbers[row];
        z.clear();
        if let Some(of_z) = self.of_z {
            z.extend(x.iter().enumerate().map(|(at, x)| {
                let NormalizeCoefficients { mean, scale, shift } = of_z(row, at);
                one(T::Arithmetic::affine(Plain::splat(x - mean), Plain::splat(scale), Plain::splat(shift)))
            }));
        }
        x.iter_mut().for_each(|x| *x = (*x - mean) * inverse_deviation - xhat_low);
        if self.of_z.is_none() {
            z.extend(x.iter().zip(gamma).zip(beta).map(|((xhat, gamma), beta)| xhat * gamma + beta));
        }
        unmasked(x, weights);
        dy.iter_mut().zip(&*z).for_each(|(dy, &z)| *dy = one(f.backward(Plain::splat(z), Plain::splat(*dy))));
    }

    /// A pass over a row that is loaded, into its tile.
    fn row<T: Stored>(&self, pass: PlainPass, number: usize, scratch: &mut Scratch<T>) -> RowDirection {
        let (count, f, inverse) = (self.count, leaky::<T>(self.activation), self.numbers[number].inverse_deviation);
        let total = self.total_weights.map_or(count as f64, |totals| totals[number]);
        let mean = |term: &dyn Fn(usize) -> f64| pairwise_sum(count, term) / total;
        let Scratch { tile, rows: [xhat, second, third], weights: w, z, of_dz: [g, g_t] } = scratch;
        let gamma = self.of_row(number, self.scaling[0]);
        // What is taken off an upstream gradient: of each value its share of the sum, if the mean was taken off x.
        let upstream = |into: &mut Vec<f64>, gamma: &[f64], dz: &[f64]| {
            into.clear();
            into.extend(gamma.iter().zip(dz).map(|(gamma, dz)| gamma * dz));
            let offset = if self.centred { mean(&|at| into[at]) } else { 0.0 };
            into.iter_mut().zip(&*w).for_each(|(value, w)| *value -= w * offset);
        };
        // x' to u; its mean.
        let moved = |t: &mut Vec<f64>| {
            let offset = if self.centred { mean(&|at| w[at] * t[at]) } else { 0.0 };
            t.iter_mut().for_each(|t| *t = (*t - offset) * inverse);
            unmasked(t, w);
            offset
        };
        let mut direction = RowDirection::default();
        match pass {
            PlainPass::Normalize => {
                self.normalize::<T>(number, xhat, z, &mut [], w);
                for (out, &z) in tile.iter_mut().zip(&*z) {
                    *out = T::from_f64(one(f.forward(Plain::splat(z))));
                }
            }
            PlainPass::Gradient => {
                self.normalize::<T>(number, xhat, z, second, w);
                upstream(g, gamma, second);
                let q = mean(&|at| g[at] * xhat[at]);
                for (at, out) in tile.iter_mut().enumerate() {
                    *out = T::from_f64(inverse * (g[at] - w[at] * (xhat[at] * q)));
                }
            }
            PlainPass::Tangent(elements) => {
                let [gamma_t, beta_t] = elements.map(|of| self.of_row(number, of));
                self.normalize::<T>(number, xhat, z, &mut [], w);
                let u = second;
                moved(u);
                let p = mean(&|at| u[at] * xhat[at] * w[at]);
                for (at, out) in tile.iter_mut().enumerate() {
                    let own = gamma[at] * (u[at] - xhat[at] * p);
                    let moved = own + gamma_t[at] * xhat[at] + beta_t[at];
                    *out = T::from_f64(one(f.backward(Plain::splat(z[at]), Plain::splat(moved))));
                }
            }
            PlainPass::SecondOrder(gamma_t) => {
                self.normalize::<T>(number, xhat, z, second, w);
                upstream(g, gamma, second);
                upstream(g_t, self.of_row(number, gamma_t), second);
                let u = third;
                let offset = moved(u);
                let p = mean(&|at| u[at] * xhat[at] * w[at]);
                let [q, q_t] = [&*g, &*g_t].map(|g| mean(&|at| g[at] * xhat[at]));
                // k - 2 p q.
                let xhat_factor = mean(&|at| g[at] * u[at]) - 3.0 * (p * q);
                for (at, out) in tile.iter_mut().enumerate() {
                    let by_gamma = g_t[at] - w[at] * (xhat[at] * q_t);
                    let by_x = p * g[at] + w[at] * (q * u[at]) + w[at] * (xhat_factor * xhat[at]);
                    *out = T::from_f64(inverse * (by_gamma - by_x));
                }
                direction = RowDirection { mean: offset, mean_u_xhat: p };
            }
        }
        tile.iter_mut().zip(&*w).filter(|(_, w)| **w == 0.0).for_each(|(out, _)| *out = T::default());
        direction
    }

    /// The sums over rows of dz and dz xhat, or of dz xhat' alone, of each element of `period` rows.
    pub(crate) fn parameter_sums<T: Stored>(
        &self,
        parts: &[PlainArrays<T>],
        directions: Option<&[RowDirection]>,
    ) -> [Vec<f64>; 2] {
        let (rows, each) = (self.numbers.len(), self.numbers.len() / parts.len());
        let block = ROWS_A_BLOCK * self.period;
        let crew = self.machine.crew(rows * self.count);
        let sums = crew.map(rows.div_ceil(block), Scratch::new, |scratch, number| {
            let mut sums = [(); 2].map(|()| vec![0.0; self.period * self.count]);
            for row in number * block..((number + 1) * block).min(rows) {
                scratch.load(row % each, parts[row / each], self.count);
                let Scratch { rows: [xhat, dz, x_t], weights, z, .. } = &mut *scratch;
                self.normalize::<T>(row, xhat, z, dz, weights);
                let (first, inverse) = (row % self.period * self.count, self.numbers[row].inverse_deviation);
                let [of_dz, of_products] = sums.each_mut().map(|sums| &mut sums[first..][..self.count]);
                for at in (0..self.count).filter(|&at| weights[at] != 0.0) {
                    match directions {
                        None => {
                            of_dz[at] += dz[at];
                            of_products[at] += dz[at] * xhat[at];
                        }
                        Some(directions) => {
                            let RowDirection { mean, mean_u_xhat } = directions[row];
                            of_products[at] += dz[at] * ((x_t[at] - mean) * inverse - mean_u_xhat * xhat[at]);
                        }
                    }
                }
            }
            sums
        });
        let add = |mut left: [Vec<f64>; 2], right: [Vec<f64>; 2]| {
            for (left, right) in left.iter_mut().zip(&right) {
                left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            }
            left
        };
        sums.into_iter().reduce(add).expect("at least one row")
    }
}
