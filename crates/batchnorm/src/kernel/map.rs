//! Maps: every output value from the input values at the same place and its channel's coefficients.
//!
//! Each value is computed in `f64` and rounded once, so the order in which they are visited does not matter. It is
//! decided once for a call, from the layouts alone:
//!
//! | layout | path |
//! |---|---|
//! | a channel's values lie side by side in runs (NCHW) | runs: one channel's coefficients for a whole run |
//! | rows of all channels lie side by side (NHWC, N x C) | rows: coefficients as vectors beside the row |
//! | anything else, or arrays that differ in layout | tiles: copied to a scratch, mapped there, copied back |
//!
//! Outputs of at least [`STREAM`] bytes are streamed: written past the caches, which would otherwise first read
//! every line that is to be overwritten, and lose to it what the next channel needs. What is streamed is put together
//! in a small buffer first, so that whole lines go out, also where a channel's runs are short.

use super::grid::Grid;
use super::leaves::Leaf;
use super::pointwise::{Coefficients, Pointwise, Rows, Run};
use super::raw::{Cell, Isa, Readable, Writable};
use super::reduce::{CHUNK, RUN, Scratch, Way, cell as reduce_cell, in_runs, reduce, way};
use crate::element::Element;
use crate::parallel;
use std::ops::Range;

/// Elements a task: large against the cost of handing it out, small against a tensor worth several threads.
const TASK: usize = 1 << 16;
/// Bytes from which on an output is streamed: more than the caches of one core.
const STREAM: usize = 4 << 20;
/// Bytes that are put together before they are streamed.
const STAGE: usize = 8192;

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

/// Buffer for what is streamed; empty where nothing is.
fn stage<T: Element>(out: &Writable<T>) -> Vec<T> {
    let bytes = out.geometry().channels * out.geometry().count * size_of::<T>();
    if bytes >= STREAM { vec![T::default(); STAGE / size_of::<T>()] } else { Vec::new() }
}

/// `out = formula(coefficients of the channel, values)` for every element.
pub(crate) fn map<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    coefficients: Coefficients<K>,
) {
    let (channels, count) = (out.geometry().channels, out.geometry().count);
    if count == 0 {
        return;
    }
    let threads = parallel::threads_for(channels * count);
    let staged = stage(out);
    match path(arrays, out) {
        Path::Runs => {
            let Blocked(block) = Blocked::of(arrays);
            let range = count.min(TASK.div_ceil(block));
            let grid = Grid { channels, block: (TASK / range).clamp(block, channels), count, range };
            out.for_each_cell(
                grid,
                threads,
                || staged.clone(),
                |stage, channels, range, cell| {
                    for start in channels.clone().step_by(block) {
                        let channels = start..(start + block).min(channels.end);
                        let all: Vec<_> = channels.clone().map(|channel| coefficients.of(channel)).collect();
                        map_runs(isa, formula, arrays, cell, channels, range.clone(), stage, &all);
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
                || staged.clone(),
                |stage, _, range, cell| {
                    if stage.is_empty() {
                        let values = arrays.map(|array| array.rows(range.clone()));
                        return isa.run(Rows { formula, coefficients: &wide, values, out: cell.rows() });
                    }
                    // As many rows as fit, at least one.
                    let rows = (stage.len() / channels).max(1);
                    stage.resize(stage.len().max(channels), T::default());
                    for start in range.clone().step_by(rows) {
                        let part = start..(start + rows).min(range.end);
                        let values = arrays.map(|array| array.rows(part.clone()));
                        let out = &mut stage[..part.len() * channels];
                        isa.run(Rows { formula, coefficients: &wide, values, out: &mut *out });
                        cell.stream_rows(part, out);
                    }
                },
            );
        }
        Path::Tiles => {
            let block = (128 / size_of::<T>()).min(channels);
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
                    isa.run(Run { formula, coefficients, values, out: &mut *result });
                    cell.scatter(channel, range.clone(), result);
                }
            });
        }
    }
}

/// How many neighbouring channels are taken together where values lie in runs.
struct Blocked(usize);

impl Blocked {
    fn of<T: Element, const N: usize>(arrays: [&Readable<T>; N]) -> Blocked {
        match way(arrays) {
            Way::Blocks(block) => Blocked(block),
            Way::Runs | Way::Rows => Blocked(1),
        }
    }
}

/// A block of channels that lie in runs: run after run, and in each all channels of the block.
#[allow(clippy::too_many_arguments)]
fn map_runs<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    cell: &mut Cell<T>,
    channels: Range<usize>,
    range: Range<usize>,
    stage: &mut [T],
    coefficients: &[[f64; K]],
) {
    let mut index = range.start;
    while index < range.end {
        // As far as all arrays go side by side; the same for every channel.
        let len = arrays.iter().map(|array| array.left(index)).fold(cell.left(index), usize::min);
        let together = channels.len() * len;
        if channels.len() > 1 && together <= stage.len() && cell.adjoin(len) {
            for ((out, channel), &coefficients) in stage.chunks_exact_mut(len).zip(channels.clone()).zip(coefficients) {
                let values = arrays.map(|array| &array.run(channel, index)[..len]);
                isa.run(Run { formula, coefficients, values, out });
            }
            cell.stream_runs(channels.clone(), index, &stage[..together]);
        } else {
            for (channel, &coefficients) in channels.clone().zip(coefficients) {
                let values = arrays.map(|array| &array.run(channel, index)[..len]);
                if stage.is_empty() {
                    isa.run(Run { formula, coefficients, values, out: &mut cell.run(channel, index)[..len] });
                    continue;
                }
                for start in (0..len).step_by(stage.len()) {
                    let end = (start + stage.len()).min(len);
                    let (values, out) = (values.map(|run| &run[start..end]), &mut stage[..end - start]);
                    isa.run(Run { formula, coefficients, values, out: &mut *out });
                    cell.stream_runs(channel..channel + 1, index + start, out);
                }
            }
        }
        index += len;
    }
}

/// Reduces each channel, turns the result into coefficients, and maps with them, maybe other arrays than those that
/// are reduced. Returns the reduced values.
///
/// Where channels come in runs and are many enough for the threads, each block of channels is mapped right after it
/// was reduced, while the cache still holds it; else in two sweeps. The bits are the same.
pub(crate) fn reduce_and_map<T, L, P, const N: usize, const M: usize, const K: usize>(
    leaf: &L,
    reduced: [&Readable<T>; N],
    isa: Isa,
    formula: P,
    mapped: [&Readable<T>; M],
    out: &mut Writable<T>,
    coefficients: impl Fn(usize, L::Value) -> [f64; K] + Sync + Send,
) -> Vec<L::Value>
where
    T: Element,
    L: Leaf<T, N>,
    P: Pointwise<M, K>,
{
    let (channels, count) = (out.geometry().channels, out.geometry().count);
    let threads = parallel::threads_for(channels * count);
    let runs = all_in_runs(mapped, out) && in_runs(reduced);
    if count == 0 || !runs || (threads > 1 && channels < 2 * threads) {
        let values = reduce(reduced, leaf);
        let all = Coefficients::new(values.len(), |channel| coefficients(channel, values[channel]));
        map(isa, formula, mapped, out, all);
        return values;
    }
    // Enough tasks for the threads come before blocks that are long in memory.
    let most = (channels / (2 * threads)).max(1);
    let way = match way(reduced) {
        Way::Blocks(block) if threads > 1 => Way::Blocks(block.min(most)),
        way => way,
    };
    let block = if let Way::Blocks(block) = way { block } else { 1 };
    let grid = Grid { channels, block: (TASK / count).clamp(block, most.max(block)), count, range: count };
    let staged = stage(out);
    let cells = out.for_each_cell(
        grid,
        threads,
        || (Scratch::new(way, count), staged.clone()),
        |(scratch, stage), channels, range, cell| {
            let mut all = Vec::with_capacity(channels.len());
            for start in channels.clone().step_by(block) {
                let channels = start..(start + block).min(channels.end);
                let values = reduce_cell(way, reduced, leaf, channels.clone(), range.clone(), scratch);
                let of: Vec<_> = channels.clone().zip(&values).map(|(c, &value)| coefficients(c, value)).collect();
                map_runs(isa, formula, mapped, cell, channels, range.clone(), stage, &of);
                all.extend(values);
            }
            all
        },
    );
    cells.into_iter().flatten().collect()
}
