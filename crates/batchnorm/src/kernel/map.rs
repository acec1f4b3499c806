//! Maps: every output value from the input values at the same place and its channel's coefficients.
//!
//! Each value is computed in `f64` and rounded once, so the order in which they are visited does not matter. It is
//! decided once for a call, from the layouts alone:
//!
//! | layout | path |
//! |---|---|
//! | a channel's values lie side by side in runs (NCHW, large planes) | runs: one channel's coefficients for a whole run |
//! | rows of all channels lie side by side (NHWC, N x C) | rows: coefficients as vectors beside the row |
//! | anything else, or arrays that differ in layout | tiles: copied to a scratch, mapped there, copied back |

use super::raw::{Cell, Grid, Isa, Kernel, Readable, Writable};
use super::reduce::{BLOCK_BYTES, CHUNK, Leaf, RUN, Scratch, channel as reduce_channel, in_runs, reduce};
use crate::element::Element;
use crate::parallel;
use std::ops::Range;

/// Elements a task: large against the cost of handing it out, small against a tensor worth several threads.
const TASK: usize = 1 << 16;
/// Narrower rows are handled several at a time.
const WIDE: usize = 64;

/// A formula of `N` values at one place and `K` coefficients of their channel.
pub(crate) trait Pointwise<const N: usize, const K: usize>: Copy + Send + Sync {
    fn apply(self, coefficients: [f64; K], values: [f64; N]) -> f64;
}

/// The coefficients of all channels, each kind in a vector of its own.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<const K: usize>([Vec<f64>; K]);

impl<const K: usize> Coefficients<K> {
    pub fn new(channels: usize, of: impl Fn(usize) -> [f64; K]) -> Self {
        let mut all: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(channels));
        for channel in 0..channels {
            for (vector, value) in all.iter_mut().zip(of(channel)) {
                vector.push(value);
            }
        }
        Coefficients(all)
    }

    fn of(&self, channel: usize) -> [f64; K] {
        std::array::from_fn(|kind| self.0[kind][channel])
    }

    /// The vectors repeated until they are at least [`WIDE`].
    fn widened(&self) -> Self {
        let times = WIDE.div_ceil(self.0[0].len());
        Coefficients(std::array::from_fn(|kind| self.0[kind].repeat(times)))
    }
}

struct OneRun<'v, T, P, const N: usize, const K: usize> {
    formula: P,
    coefficients: [f64; K],
    values: [&'v [T]; N],
    out: &'v mut [T],
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel for OneRun<'_, T, P, N, K> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let formula = self.formula;
        let values = self.values.map(|array| &array[..self.out.len()]);
        for (at, out) in self.out.iter_mut().enumerate() {
            *out = T::from_f64(formula.apply(self.coefficients, std::array::from_fn(|n| values[n][at].to_f64())));
        }
    }
}

/// Whole rows, all as wide as the coefficient vectors, but for a shorter last one.
struct Rows<'v, T, P, const N: usize, const K: usize> {
    formula: P,
    coefficients: &'v Coefficients<K>,
    values: [&'v [T]; N],
    out: &'v mut [T],
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel for Rows<'_, T, P, N, K> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let formula = self.formula;
        let width = self.coefficients.0[0].len();
        for (row, out) in self.out.chunks_mut(width).enumerate() {
            let values = self.values.map(|array| &array[row * width..][..out.len()]);
            let coefficients = self.coefficients.0.each_ref().map(|vector| &vector[..out.len()]);
            for (at, out) in out.iter_mut().enumerate() {
                *out = T::from_f64(formula.apply(
                    std::array::from_fn(|k| coefficients[k][at]),
                    std::array::from_fn(|n| values[n][at].to_f64()),
                ));
            }
        }
    }
}

enum Path {
    Runs,
    Rows,
    Tiles,
}

fn path<T: Element, const N: usize>(arrays: [&Readable<T>; N], out: &Writable<T>) -> Path {
    if all_in_runs(arrays, out) {
        Path::Runs
    } else if arrays.iter().all(|array| array.geometry().is_dense_rows()) && out.geometry().is_dense_rows() {
        Path::Rows
    } else {
        Path::Tiles
    }
}

fn all_in_runs<T: Element, const N: usize>(arrays: [&Readable<T>; N], out: &Writable<T>) -> bool {
    let (length, stride) = out.geometry().inner();
    // A single channel of any length is one run; runs of a few values are not worth a call each.
    in_runs(arrays)
        && stride == 1
        && (length >= RUN || out.geometry().count == length)
        && (out.geometry().count >= RUN || out.geometry().channels == 1)
}

/// `out = formula(coefficients of the channel, values)` for every element.
pub(crate) fn map<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    coefficients: &Coefficients<K>,
) {
    let (channels, count) = (out.geometry().channels, out.geometry().count);
    if count == 0 {
        return;
    }
    let threads = parallel::threads_for(channels * count);
    match path(arrays, out) {
        Path::Runs => {
            let range = count.min(TASK);
            let grid = Grid { channels, block: (TASK / range).clamp(1, channels), count, range };
            out.for_each_cell(
                grid,
                threads,
                || (),
                |(), block, range, cell| {
                    for channel in block {
                        map_channel(isa, formula, arrays, cell, channel, range.clone(), coefficients.of(channel));
                    }
                },
            );
        }
        Path::Rows => {
            let wide = coefficients.widened();
            let grid = Grid { channels, block: channels, count, range: (TASK / channels).max(1) };
            out.for_each_cell(
                grid,
                threads,
                || (),
                |(), _, range, cell| {
                    let values = arrays.map(|array| array.rows(range.clone()));
                    isa.run(Rows { formula, coefficients: &wide, values, out: cell.rows() });
                },
            );
        }
        Path::Tiles => {
            let block = (BLOCK_BYTES / size_of::<T>()).min(channels);
            let grid = Grid { channels, block, count, range: CHUNK };
            let scratch = || (std::array::from_fn(|_| vec![T::default(); block * CHUNK]), vec![T::default(); CHUNK]);
            out.for_each_cell(grid, threads, scratch, |own: &mut ([Vec<T>; N], Vec<T>), block, range, cell| {
                let (tiles, result) = own;
                for (array, tile) in arrays.iter().zip(tiles.iter_mut()) {
                    array.gather_block(block.clone(), range.clone(), tile, CHUNK);
                }
                let result = &mut result[..range.len()];
                for (row, channel) in block.enumerate() {
                    let values = tiles.each_ref().map(|tile| &tile[row * CHUNK..][..range.len()]);
                    let coefficients = coefficients.of(channel);
                    isa.run(OneRun { formula, coefficients, values, out: result });
                    cell.scatter(channel, range.clone(), result);
                }
            });
        }
    }
}

/// One channel of a cell, run by run.
fn map_channel<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    cell: &mut Cell<T>,
    channel: usize,
    range: Range<usize>,
    coefficients: [f64; K],
) {
    let mut index = range.start;
    while index < range.end {
        let out = cell.run(channel, index);
        let values = arrays.map(|array| array.run(channel, index));
        let len = values.iter().map(|run| run.len()).fold(out.len(), usize::min);
        let values = values.map(|run| &run[..len]);
        isa.run(OneRun { formula, coefficients, values, out: &mut out[..len] });
        index += len;
    }
}

/// Reduces each channel, turns the result into coefficients, and maps with them. Returns the reduced values.
///
/// Where channels come in runs and are many enough for the threads, each channel is mapped right after it was
/// reduced, while the cache still holds it; else in two sweeps. The bits are the same.
pub(crate) fn reduce_and_map<T, L, P, const N: usize, const K: usize>(
    isa: Isa,
    leaf: &L,
    formula: P,
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    coefficients: impl Fn(usize, L::Value) -> [f64; K] + Sync + Send,
) -> Vec<L::Value>
where
    T: Element,
    L: Leaf<T, N>,
    P: Pointwise<N, K>,
{
    let (channels, count) = (out.geometry().channels, out.geometry().count);
    let threads = parallel::threads_for(channels * count);
    if count == 0 || !all_in_runs(arrays, out) || (threads > 1 && channels < 2 * threads) {
        let values = reduce(arrays, leaf);
        let all = Coefficients::new(values.len(), |channel| coefficients(channel, values[channel]));
        map(isa, formula, arrays, out, &all);
        return values;
    }
    let block = (TASK / count).clamp(1, (channels / (2 * threads)).max(1));
    let grid = Grid { channels, block, count, range: count };
    let cells = out.for_each_cell(
        grid,
        threads,
        || Scratch::new(1, count),
        |scratch, block, range, cell| {
            let mut values = Vec::with_capacity(block.len());
            for channel in block {
                let value =
                    reduce_channel(arrays, leaf, channel, range.clone(), scratch).expect("the cell is not empty");
                map_channel(isa, formula, arrays, cell, channel, range.clone(), coefficients(channel, value));
                values.push(value);
            }
            values
        },
    );
    cells.into_iter().flatten().collect()
}
