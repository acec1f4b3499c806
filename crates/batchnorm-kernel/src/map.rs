//! Maps: every output value from the input values at the same place and its channel's coefficients.
//!
//! Each value is computed in `f64` and rounded once, so the order in which they are visited does not matter. It is
//! decided once for a call, from the layouts alone:
//!
//! | layout | traversal |
//! |---|---|
//! | a channel's values lie side by side in runs (NCHW) | runs: one channel's coefficients for a whole run |
//! | rows of all channels lie side by side (NHWC, N x C) | rows: coefficients as vectors beside the row |
//! | anything else, or arrays that differ in layout | tiles: copied to a scratch, mapped there, copied back |
//!
//! Outputs of at least [`STREAM_BYTES`] bytes are streamed: written past the caches, which would otherwise first read
//! every line that is to be overwritten, and lose to it what the next channel needs.

pub mod coefficients;
pub mod formulas;
pub mod in_place;
pub mod loops;

use crate::array::geometry::Geometry;
use crate::array::grid::Grid;
use crate::array::memory::{Cell, Readable, Writable};
use crate::array::prefetch_distance::{DistancesOfTwoPasses, PREFETCH_BYTES};
use crate::machine::isa::Isa;
use crate::machine::vector::WIDTH;
use crate::number::Stored;
use crate::reduce::leaf::ChunkReduction;
use crate::reduce::{CHUNK_VALUES, MIN_RUN, Scratch, SumTraversal, block_of_runs, in_runs, reduce};
use crate::threads;
use coefficients::Coefficients;
use formulas::{InOrder, Pointwise};
use loops::{MapRows, MapRun};
use std::ops::Range;

/// Elements a task: large against the cost of handing it out, small against a tensor worth several threads.
pub(crate) const TASK_ELEMENTS: usize = 1 << 16;
/// Bytes from which on an output is streamed: several times the second-level caches. (At 13 MB it still lost here, at
/// 26 MB it won 10 to 30 %.)
pub(crate) const STREAM_BYTES: usize = 20 << 20;
/// Bytes side by side that are worth streaming: of shorter runs too much is unaligned. (f32 planes of 28 x 28 won, of 14 x 14
/// lost.)
pub(crate) const STREAM_RUN_BYTES: usize = 2048;

/// The way through memory of a map, as in the table above.
pub(crate) enum MapTraversal {
    Runs,
    Rows,
    Tiles,
}

impl MapTraversal {
    /// Cuts an output of `T` into cells.
    pub fn grid<T>(&self, out: &Geometry) -> Grid {
        let &Geometry { channels, count, .. } = out;
        match self {
            MapTraversal::Runs => {
                // A plane of as many channels as make a task: in the order of memory where channels are neighbours in it.
                let range = out.inner().0.min(TASK_ELEMENTS);
                Grid { channels, block: (TASK_ELEMENTS / range).clamp(1, channels), count, range }
            }
            MapTraversal::Rows => {
                // Whole vectors of rows, so that each cell is as aligned as the first.
                let range = (TASK_ELEMENTS / channels).max(1).next_multiple_of(WIDTH);
                Grid { channels, block: channels, count, range }
            }
            MapTraversal::Tiles => {
                // Two cache lines of each row, which memory delivers in pairs.
                Grid { channels, block: (128 / size_of::<T>()).min(channels), count, range: CHUNK_VALUES }
            }
        }
    }
}

/// The way through arrays and outputs of one shape.
pub(crate) fn traversal<T: Stored, const N: usize, const O: usize>(
    arrays: [&Readable<T>; N],
    outs: [&Geometry; O],
) -> MapTraversal {
    if all_in_runs(arrays, outs) {
        MapTraversal::Runs
    } else if arrays.iter().map(|array| array.geometry()).chain(outs).all(Geometry::is_dense_rows) {
        MapTraversal::Rows
    } else {
        MapTraversal::Tiles
    }
}

/// True where inputs and outputs come in runs that are worth a call of a loop each.
fn all_in_runs<T: Stored, const N: usize, const O: usize>(arrays: [&Readable<T>; N], outs: [&Geometry; O]) -> bool {
    let in_runs_out = |out: &Geometry| {
        let (length, stride) = out.inner();
        // A single channel of any length is one run; runs of a few values are not worth a call each.
        stride == 1 && (length >= MIN_RUN || out.count == length) && (out.count >= MIN_RUN || out.channels == 1)
    };
    in_runs(arrays) && outs.into_iter().all(in_runs_out)
}

/// Streaming pays for large outputs in long runs.
fn streamed<T>(geometry: &Geometry) -> bool {
    let size = size_of::<T>();
    let long = geometry.is_dense_rows() || geometry.inner().0 * size >= STREAM_RUN_BYTES;
    geometry.channels * geometry.count * size >= STREAM_BYTES && long
}

/// `outs = formula(coefficients of the channel, values)` for every element.
pub(crate) fn map<T: Stored, P: Pointwise<N, K, O>, const N: usize, const K: usize, const O: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    mut outs: [Writable<T>; O],
    coefficients: Coefficients<K>,
) {
    let geometries = outs.each_ref().map(Writable::geometry);
    let &Geometry { channels, count, .. } = geometries[0];
    if count == 0 {
        return;
    }
    let threads = threads::threads_for(channels * count);
    let (traversal, streamed) = (traversal(arrays, geometries), streamed::<T>(geometries[0]));
    let grid = traversal.grid::<T>(geometries[0]);
    match traversal {
        // NCHW: a channel's coefficients stay in registers for a whole run.
        MapTraversal::Runs => {
            let distances = [(PREFETCH_BYTES / size_of::<T>()) as isize; N];
            Writable::for_each_cell(
                &mut outs.each_mut(),
                grid,
                threads,
                || (),
                |(), channels, range, cells| {
                    let all: Vec<_> = channels.clone().map(|channel| coefficients.of(channel)).collect();
                    map_runs(isa, formula, arrays, (distances, count), cells, channels, range, streamed, &all);
                },
            );
        }
        // NHWC, N x C: coefficients are read beside the values.
        MapTraversal::Rows => {
            let wide = coefficients.widened(outs[0].elements_to_line() % WIDTH);
            Writable::for_each_cell(
                &mut outs.each_mut(),
                grid,
                threads,
                || (),
                |(), _, range, cells| {
                    if streamed {
                        cells.iter_mut().for_each(Cell::stream);
                    }
                    let values = arrays.map(|array| array.rows(range.clone()));
                    let outs = cells.each_mut().map(Cell::rows);
                    isa.run(MapRows { formula, coefficients: &wide, values, outs, streamed });
                },
            );
        }
        // Any strides: a block is copied to tiles, mapped there channel by channel, and copied to its places.
        MapTraversal::Tiles => {
            let scratch = || {
                let tiles: [Vec<T>; N] = std::array::from_fn(|_| vec![T::default(); grid.block * CHUNK_VALUES]);
                let results: [Vec<T>; O] = std::array::from_fn(|_| vec![T::default(); CHUNK_VALUES]);
                (tiles, results)
            };
            Writable::for_each_cell(
                &mut outs.each_mut(),
                grid,
                threads,
                scratch,
                |(tiles, results), block, range, cells| {
                    for (array, tile) in arrays.iter().zip(tiles.iter_mut()) {
                        array.gather_block(block.clone(), range.clone(), tile, CHUNK_VALUES);
                    }
                    for (row, channel) in block.enumerate() {
                        let values = tiles.each_ref().map(|tile| &tile[row * CHUNK_VALUES..][..range.len()]);
                        let outs = results.each_mut().map(|result| &mut result[..range.len()]);
                        let coefficients = coefficients.of(channel);
                        isa.run(MapRun { formula, coefficients, values, distances: [0; N], outs, streamed: false });
                        for (cell, result) in cells.iter_mut().zip(results.iter()) {
                            cell.scatter(channel, range.clone(), &result[..range.len()]);
                        }
                    }
                },
            );
        }
    }
}

/// A block of channels that lie in runs: run after run, and in each all channels of the block. From the last run on: the
/// one that was reduced last is the likeliest to be in a cache.
#[allow(clippy::too_many_arguments)]
fn map_runs<T: Stored, P: Pointwise<N, K, O>, const N: usize, const K: usize, const O: usize>(
    isa: Isa,
    formula: P,
    arrays: [&Readable<T>; N],
    (distances, until): ([isize; N], usize),
    cells: &mut [Cell<T>; O],
    channels: Range<usize>,
    range: Range<usize>,
    streamed: bool,
    coefficients: &[[f64; K]],
) {
    if streamed {
        cells.iter_mut().for_each(Cell::stream);
    }
    let geometries = cells.each_ref().map(|cell| cell.geometry());
    let length = geometries[0].inner().0;
    let left = |index| {
        let inputs = arrays.iter().map(|array| array.geometry().left(index));
        geometries.iter().map(|out| out.left(index)).chain(inputs).fold(usize::MAX, usize::min)
    };
    from_the_end(range, length, left, |index, len| {
        let distances = if index < until { distances } else { [0; N] };
        let mut runs = arrays.map(|array| array.runs(channels.clone(), index, len));
        let mut outs = cells.each_mut().map(|cell| cell.runs(channels.clone(), index, len));
        for &coefficients in coefficients {
            let values = runs.each_mut().map(|runs| runs.next().expect("one for each channel"));
            let outs = outs.each_mut().map(|runs| runs.next().expect("one for each channel"));
            isa.run(MapRun { formula, coefficients, values, distances, outs, streamed });
        }
    });
}

/// `visit(index, length)` of each run of a range, from the last run of `length` on, as far as all arrays go side by side:
/// `left` says how far from an index on, the same for every channel.
#[inline(always)]
pub(crate) fn from_the_end(
    range: Range<usize>,
    length: usize,
    left: impl Fn(usize) -> usize,
    mut visit: impl FnMut(usize, usize),
) {
    let mut end = range.end;
    while end > range.start {
        let start = ((end - 1) / length * length).max(range.start);
        let mut index = start;
        while index < end {
            let len = left(index).min(end - index);
            visit(index, len);
            index += len;
        }
        end = start;
    }
}

/// Cuts channels in runs that are reduced and mapped at once: the channels of a block, and the tasks.
pub(crate) fn blocks<T: Stored, const N: usize>(reduced: [&Readable<T>; N], threads: usize) -> (usize, Grid) {
    let &Geometry { channels, count, .. } = reduced[0].geometry();
    // Enough tasks for the threads come before blocks that are long in memory.
    let most = (channels / (2 * threads)).max(1);
    let block = block_of_runs(reduced).min(most);
    (block, Grid { channels, block: (TASK_ELEMENTS / count).clamp(block, most.max(block)), count, range: count })
}

/// Reduces each channel, turns the result into coefficients, and maps with them, maybe other arrays than those that
/// are reduced. Returns the reduced values.
///
/// Where channels come in runs and are many enough for the threads, each block of channels is mapped right after it
/// was reduced, while the cache still holds it; else in two sweeps. The bits are the same.
pub(crate) fn reduce_and_map<T, L, P, C, const N: usize, const M: usize, const K: usize, const O: usize>(
    leaf: &L,
    reduced: [&Readable<T>; N],
    isa: Isa,
    formula: P,
    mapped: [&Readable<T>; M],
    mut outs: [Writable<T>; O],
    coefficients: impl Fn(usize, L::Value) -> C + Sync + Send,
) -> Vec<L::Value>
where
    T: Stored,
    L: ChunkReduction<T, N>,
    P: Pointwise<M, K, O>,
    C: InOrder<K>,
{
    let geometries = outs.each_ref().map(Writable::geometry);
    let &Geometry { channels, count, .. } = geometries[0];
    let threads = threads::threads_for(channels * count);
    let runs = all_in_runs(mapped, geometries) && in_runs(reduced);
    if count == 0 || !runs || (threads > 1 && channels < 2 * threads) {
        return threads::together(threads, || {
            let values = reduce(reduced, leaf);
            let all = Coefficients::new(values.len(), |channel| coefficients(channel, values[channel]));
            map(isa, formula, mapped, outs, all);
            values
        });
    }
    let (block, grid) = blocks(reduced, threads);
    let traversal = SumTraversal::Blocks(block);
    let streamed = streamed::<T>(geometries[0]);
    let distances = DistancesOfTwoPasses::new(
        reduced.map(Readable::geometry),
        mapped.map(Readable::geometry),
        block,
        size_of::<T>(),
    );
    let cells = Writable::for_each_cell(
        &mut outs.each_mut(),
        grid,
        threads,
        || Scratch::new(traversal, count),
        |scratch, channels, range, cells| {
            let mut all = Vec::with_capacity(channels.len());
            for start in channels.clone().step_by(block) {
                let channels = start..(start + block).min(channels.end);
                let values =
                    scratch.reduce(traversal, reduced, distances.reducing, leaf, channels.clone(), range.clone());
                let of: Vec<_> =
                    channels.clone().zip(&values).map(|(c, &value)| coefficients(c, value).in_order()).collect();
                map_runs(
                    isa,
                    formula,
                    mapped,
                    (distances.mapping, distances.until),
                    cells,
                    channels,
                    range.clone(),
                    streamed,
                    &of,
                );
                all.extend(values);
            }
            all
        },
    );
    cells.into_iter().flatten().collect()
}
