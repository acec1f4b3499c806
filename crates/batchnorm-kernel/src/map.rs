//! Maps: every output value from the input values at the same place and its channel's coefficients.
//!
//! Each value is computed in `f64` and rounded once, so the order in which they are visited does not matter. It is
//! decided once for a call, from the layouts alone:
//!
//! | layout | traversal |
//! |---|---|
//! | a channel's values lie side by side in runs (NCHW) | runs: one channel's coefficients for a whole run |
//! | rows of all channels lie side by side (NHWC, N x C) | rows: coefficients as vectors beside the row |
//! | planes below 16 values, of all channels one after the other | rows of all planes, each channel's coefficients as often |
//! | anything else, or arrays that differ in layout | tiles: copied to a scratch, mapped there, copied back |
//!
//! An output may be an input as well ([`Source::Own`]): what is overwritten is copied to a scratch first, a little at a time,
//! and mapped from there, for the loops compute some values twice.
//!
//! Outputs of at least [`STREAM_BYTES`] bytes are streamed: written past the caches, which would otherwise first read
//! every line that is to be overwritten, and lose to it what the next channel needs.

pub mod coefficients;
pub mod formulas;
pub mod loops;
pub mod source;

use crate::array::geometry::{Geometry, MIN_RUN, are_neighbours, in_neighbourhoods, plane_in_rows};
use crate::array::grid::Grid;
use crate::array::memory::{Cell, Segments, SegmentsMut, Writable};
use crate::array::prefetch_distance::DistancesOfTwoPasses;
use crate::machine::vector::WIDTH;
use crate::number::Stored;
use crate::reduce::reduction::Reduction;
use crate::reduce::tree::Merge;
use crate::reduce::{Scratch, Sources, SumTraversal, block_of_runs, in_runs, reduce};
use coefficients::Coefficients;
use loops::{ChannelRuns, WholeRows};
use source::{Map, Source};
use std::ops::Range;

/// Elements a task: large against the cost of handing it out, small against a tensor worth several threads.
pub(crate) const TASK_ELEMENTS: usize = 1 << 16;
/// Bytes from which on an output is streamed: several times the second-level caches. (At 13 MB it still lost here, at
/// 26 MB it won 10 to 30 %.)
pub(crate) const STREAM_BYTES: usize = 20 << 20;
/// Bytes side by side that are worth streaming: of shorter runs too much is unaligned. (f32 planes of 28 x 28 won, of 14 x 14
/// lost.)
pub(crate) const STREAM_RUN_BYTES: usize = 2048;
/// Values of a channel that are copied to a tile.
pub(crate) const TILE_VALUES: usize = 1024;
/// Coefficients of a channel at most, of all kinds, that are repeated for the places of its plane: they take 16 bytes each.
pub(crate) const MAX_REPEATED: usize = 48;
/// Bytes of an output that are copied before they are overwritten: they stay in the first-level cache.
pub(crate) const OWN_BYTES: usize = 16 << 10;

/// The way through memory of a map, as in the table above.
enum MapTraversal {
    Runs,
    Rows,
    Tiles,
}

impl MapTraversal {
    /// The way through arrays and outputs of these layouts.
    fn of<const N: usize, const O: usize>(arrays: [&Geometry; N], outs: [&Geometry; O]) -> Self {
        if all_in_runs(arrays, outs) {
            MapTraversal::Runs
        } else if arrays.into_iter().chain(outs).all(Geometry::is_dense_rows) {
            MapTraversal::Rows
        } else {
            MapTraversal::Tiles
        }
    }

    /// Cuts an output of `T` into cells, for so many threads.
    fn grid<T>(&self, out: &Geometry, threads: usize) -> Grid {
        let &Geometry { channels, count, .. } = out;
        match self {
            MapTraversal::Runs => {
                // A plane of as many channels as make a task: in the order of memory where channels are neighbours in it.
                let range = out.inner().0.min(TASK_ELEMENTS);
                Grid { channels, block: (TASK_ELEMENTS / range).clamp(1, channels), count, range }
            }
            MapTraversal::Rows => {
                // Whole vectors of rows, so that each cell is as aligned as the first; but some for each thread.
                let range = (TASK_ELEMENTS / channels).max(1).next_multiple_of(WIDTH);
                let range = if threads > 1 { range.min(count.div_ceil(2 * threads)) } else { range };
                Grid { channels, block: channels, count, range }
            }
            MapTraversal::Tiles => {
                // Two cache lines of each row, which memory delivers in pairs.
                Grid { channels, block: (128 / size_of::<T>()).min(channels), count, range: TILE_VALUES }
            }
        }
    }
}

/// True where inputs and outputs come in runs that are worth a call of a loop each.
fn all_in_runs<const N: usize, const O: usize>(arrays: [&Geometry; N], outs: [&Geometry; O]) -> bool {
    let out_in_runs = |out: &Geometry| out.in_runs() && (out.count >= MIN_RUN || out.channels == 1);
    arrays.into_iter().all(Geometry::in_runs) && outs.into_iter().all(out_in_runs)
}

/// Streaming pays for large outputs in long runs. What was just copied is in the cache.
fn streamed<T, const N: usize, const K: usize, const O: usize>(map: &Map<T, N, K, O>, geometry: &Geometry) -> bool {
    let size = size_of::<T>();
    let long = geometry.is_dense_rows() || geometry.inner().0 * size >= STREAM_RUN_BYTES;
    geometry.channels * geometry.count * size >= STREAM_BYTES && long && !map.is_own()
}

/// `outs = formula(coefficients of the channel, values)` for every element.
pub(crate) fn map<T: Stored, const N: usize, const K: usize, const O: usize>(
    map: Map<T, N, K, O>,
    mut outs: [Writable<T>; O],
    coefficients: Coefficients<K>,
) {
    let Map { machine, formula, arrays } = map;
    let geometries = outs.each_ref().map(Writable::geometry);
    let &Geometry { channels, count, .. } = geometries[0];
    if count == 0 {
        return;
    }
    assert!(coefficients.vectors().iter().all(|vector| vector.len() == channels));
    let inputs = arrays.map(|array| array.geometry(geometries[0]));
    let traversal = MapTraversal::of(inputs, geometries);
    let crew = machine.crew(channels * count);
    if let MapTraversal::Tiles = traversal
        // Small planes: rows in which the coefficients of a channel stand side by side.
        && let Some(plane) = plane_in_rows(inputs.into_iter().chain(geometries))
        // (Fewer samples than threads are not cut.)
        && crew.count() <= count / plane
        && K * plane <= MAX_REPEATED
    {
        let rows = arrays.map(|array| match array {
            Source::Array(array) => array.planes_as_rows(),
            Source::Own => None,
        });
        let arrays = rows.each_ref().map(|array| array.as_ref().map_or(Source::Own, Source::Array));
        let outs = outs.each_mut().map(|out| out.planes_as_rows().expect("it was asked before"));
        return map_rows(Map { machine, formula, arrays }, outs, &coefficients, plane);
    }
    let grid = traversal.grid::<T>(geometries[0], crew.count());
    match traversal {
        // NCHW: a channel's coefficients stay in registers for a whole run.
        MapTraversal::Runs => {
            let runs = Runs { map, distances: map.ahead(), until: count, streamed: streamed(&map, geometries[0]) };
            Writable::for_each_cell(&mut outs.each_mut(), grid, crew, Vec::new, |own, channels, range, cells| {
                let all: Vec<_> = channels.clone().map(|channel| coefficients.of(channel)).collect();
                runs.map(own, cells, channels, range, &all);
            });
        }
        // NHWC, N x C: coefficients are read beside the values.
        MapTraversal::Rows => map_rows(map, outs, &coefficients, 1),
        // Any strides: a block is copied to tiles, mapped there channel by channel, and copied to its places.
        MapTraversal::Tiles => {
            let pitch = count.min(TILE_VALUES);
            let scratch = || {
                let tiles: [Vec<T>; N] = std::array::from_fn(|_| vec![T::default(); grid.block * pitch]);
                let results: [Vec<T>; O] = std::array::from_fn(|_| vec![T::default(); pitch]);
                (tiles, results)
            };
            Writable::for_each_cell(
                &mut outs.each_mut(),
                grid,
                crew,
                scratch,
                |(tiles, results), block, range, cells| {
                    for (array, tile) in arrays.iter().zip(tiles.iter_mut()) {
                        match array {
                            Source::Array(array) => array.gather_block(block.clone(), range.clone(), tile, pitch),
                            Source::Own => {
                                cells[0].as_readable().gather_block(block.clone(), range.clone(), tile, pitch)
                            }
                        }
                    }
                    for (row, channel) in block.enumerate() {
                        let len = range.len();
                        let runs = ChannelRuns {
                            coefficients: &[coefficients.of(channel)],
                            values: tiles.each_ref().map(|tile| Segments::of(&tile[row * pitch..][..len], len)),
                            distances: [0; N],
                            outs: results.each_mut().map(|result| SegmentsMut::one(&mut result[..len])),
                            streamed: false,
                        };
                        formula.runs(machine.isa, runs);
                        for (cell, result) in cells.iter_mut().zip(results.iter()) {
                            cell.scatter(channel, range.clone(), &result[..range.len()]);
                        }
                    }
                },
            );
        }
    }
}

/// Rows of all channels, coefficients as vectors beside them: each as often as there are places in a plane.
fn map_rows<T: Stored, const N: usize, const K: usize, const O: usize>(
    map: Map<T, N, K, O>,
    mut outs: [Writable<T>; O],
    coefficients: &Coefficients<K>,
    plane: usize,
) {
    let Map { machine, formula, arrays } = map;
    let geometry = outs[0].geometry();
    let channels = geometry.channels;
    let crew = machine.crew(channels * geometry.count);
    let streamed = streamed(&map, geometry);
    let grid = MapTraversal::Rows.grid::<T>(geometry, crew.count());
    let wide = coefficients.widened(plane, outs[0].elements_to_line() % WIDTH);
    let piece = if map.is_own() { OWN_BYTES / size_of::<T>() } else { usize::MAX };
    Writable::for_each_cell(&mut outs.each_mut(), grid, crew, Vec::new, |own, _, range, cells| {
        if streamed {
            cells.iter_mut().for_each(Cell::stream);
        }
        let len = range.len() * channels;
        let mut start = 0;
        while start < len {
            let part = start..len.min(start.saturating_add(piece));
            let mut distances = map.ahead();
            if map.is_own() {
                let rows = &cells[0].rows()[part.clone()];
                own.clear();
                own.extend_from_slice(rows);
                distances = map.distances(distances, to_what_follows(own, rows));
            }
            let values = arrays.map(|array| match array {
                Source::Array(array) => &array.rows(range.clone())[part.clone()],
                Source::Own => own,
            });
            let outs = cells.each_mut().map(|cell| &mut cell.rows()[part.clone()]);
            let column = part.start % channels;
            let coefficients = &wide;
            let rows = WholeRows { coefficients, values, distances, outs, channels, column, streamed };
            formula.rows(machine.isa, rows);
            start = part.end;
        }
    });
}

/// A map over channels that lie in runs.
struct Runs<'a, T, const N: usize, const K: usize, const O: usize> {
    map: Map<'a, T, N, K, O>,
    /// How many elements ahead to prefetch, for the values of a channel before `until`.
    distances: [isize; N],
    until: usize,
    streamed: bool,
}

impl<T: Stored, const N: usize, const K: usize, const O: usize> Runs<'_, T, N, K, O> {
    /// Some neighbouring channels: run after run, and in each all of them. From the last run on: the one that was reduced last is
    /// the likeliest to be in a cache. `own` is scratch.
    fn map(
        &self,
        own: &mut Vec<T>,
        cells: &mut [Cell<T>; O],
        channels: Range<usize>,
        range: Range<usize>,
        coefficients: &[[f64; K]],
    ) {
        let &Runs { map: Map { machine, formula, arrays }, distances, until, streamed } = self;
        if streamed {
            cells.iter_mut().for_each(Cell::stream);
        }
        let geometries = cells.each_ref().map(|cell| cell.geometry());
        let inputs = arrays.map(|array| array.geometry(geometries[0]));
        // What is one stride in each array: these numbers divide each other, as products of the last channel axes.
        let all = geometries.iter().chain(&inputs);
        let neighbours = all.fold(usize::MAX, |least, geometry| least.min(geometry.neighbours));
        if !are_neighbours(&channels, neighbours) {
            for part in in_neighbourhoods(channels.clone(), neighbours) {
                let of = part.start - channels.start..part.end - channels.start;
                self.map(own, cells, part, range.clone(), &coefficients[of]);
            }
            return;
        }
        let alike = geometries.iter().chain(&inputs).all(|geometry| geometry.has_runs_of(geometries[0]));
        let length = geometries[0].inner().0;
        let left = |index| {
            let others = geometries.iter().chain(&inputs).skip(1);
            let left = length - index % length;
            if alike { left } else { others.map(|geometry| geometry.left(index)).fold(left, usize::min) }
        };
        let copied = self.map.is_own();
        let piece = if copied { OWN_BYTES / size_of::<T>() } else { usize::MAX };
        from_the_end(
            range,
            length,
            |index| left(index).min(piece),
            |index, len| {
                let mut distances = if index < until { distances } else { [0; N] };
                // As many channels as fit the copy.
                let together = if copied { (piece / len).max(1) } else { coefficients.len() };
                for (group, coefficients) in coefficients.chunks(together).enumerate() {
                    let first = channels.start + group * together;
                    let channels = first..first + coefficients.len();
                    if copied {
                        own.clear();
                        let mut last = &[][..];
                        for run in cells[0].runs(channels.clone(), index, len) {
                            own.extend_from_slice(run);
                            last = run;
                        }
                        let follows = to_what_follows(&own[own.len() - len..], last);
                        distances = self.map.distances(distances, follows);
                    }
                    let values = arrays.map(|array| match array {
                        Source::Array(array) => array.runs(channels.clone(), index, len),
                        Source::Own => Segments::of(own, len),
                    });
                    let outs = cells.each_mut().map(|cell| cell.runs(channels.clone(), index, len));
                    let runs = ChannelRuns { coefficients, values, distances, outs, streamed };
                    formula.runs(machine.isa, runs);
                }
            },
        );
    }
}

/// From a copy of what is to be overwritten to what is overwritten next, in elements: while this is mapped, memory fetches that.
fn to_what_follows<T>(copy: &[T], run: &[T]) -> isize {
    let next = run.as_ptr().wrapping_add(run.len());
    (next as isize).wrapping_sub(copy.as_ptr() as isize) / size_of::<T>() as isize
}

/// `visit(index, length)` of each run of a range, from the last run of `length` on, as far as all arrays go side by side:
/// `left` says how far from an index on, the same for every channel.
#[inline(always)]
fn from_the_end(
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

/// Reduces each channel, turns the result into coefficients, and maps with them, maybe other arrays than those that
/// are reduced. Returns the reduced values.
///
/// Where channels come in runs and are many enough for the threads, each block of channels is mapped right after it was reduced,
/// while the cache still holds it; else in two sweeps. The bits are the same. (Columns of few rows, a block at a time, took longer
/// than two sweeps over whole rows, by up to a quarter on a Zen 5.)
pub(crate) fn reduce_and_map<T, V, R, const N: usize, const M: usize, const K: usize, const O: usize>(
    reduction: &dyn Reduction<T, N, Value = V, Result = R>,
    reduced: [Source<T>; N],
    map: Map<T, M, K, O>,
    mut outs: [Writable<T>; O],
    coefficients: impl Fn(Range<usize>, &[R]) -> Coefficients<'static, K> + Sync,
) -> Vec<R>
where
    T: Stored,
    V: Merge,
    R: Merge,
{
    let geometries = outs.each_ref().map(Writable::geometry);
    let &Geometry { channels, count, .. } = geometries[0];
    let crew = map.machine.crew(channels * count);
    let mapped = map.arrays.map(|array| array.geometry(geometries[0]));
    let of_reduced = reduced.map(|array| array.geometry(geometries[0]));
    let runs = all_in_runs(mapped, geometries) && in_runs(of_reduced);
    if count == 0 || !runs || (crew.count() > 1 && channels < 2 * crew.count()) {
        let own = outs[0].as_readable();
        let values = reduce(map.machine, reduced.map(|array| array.or(&own)), reduction);
        let all = coefficients(0..values.len(), &values);
        drop(own);
        self::map(map, outs, all);
        return values;
    }
    // Enough tasks for the threads come before blocks that are long in memory.
    let most = (channels / (2 * crew.count())).max(1);
    let block = block_of_runs::<T, N>(of_reduced).min(most);
    let grid = Grid { channels, block: (TASK_ELEMENTS / count).clamp(block, most.max(block)), count, range: count };
    let distances = DistancesOfTwoPasses::new(of_reduced, mapped, block, size_of::<T>());
    let runs =
        Runs { map, distances: distances.mapping, until: distances.until, streamed: streamed(&map, geometries[0]) };
    let scratch = || (Scratch::new(), Vec::new());
    let cells =
        Writable::for_each_cell(&mut outs.each_mut(), grid, crew, scratch, |(scratch, own), channels, range, cells| {
            let mut all = Vec::with_capacity(channels.len());
            for start in channels.clone().step_by(block) {
                let channels = start..(start + block).min(channels.end);
                let values = {
                    let own = cells[0].as_readable();
                    let arrays = reduced.map(|array| array.or(&own));
                    let traversal = SumTraversal::Runs(block);
                    let sources = Sources { arrays, traversal, distances: distances.reducing };
                    scratch.reduce(sources, reduction, channels.clone())
                };
                let block = coefficients(channels.clone(), &values);
                let of: Vec<_> = (0..values.len()).map(|number| block.of(number)).collect();
                runs.map(own, cells, channels, range.clone(), &of);
                all.extend(values);
            }
            all
        });
    in_order(cells)
}

/// What came of the channels of each cell, one after the other.
fn in_order<R>(mut cells: Vec<Vec<R>>) -> Vec<R> {
    if cells.len() == 1 { cells.swap_remove(0) } else { cells.into_iter().flatten().collect() }
}
