//! Reductions over a channel's values: one fixed tree over the logical index.
//!
//! In pseudo-code, for a channel of n values v[0..n]:
//!
//! ```text
//! leaves:  chunk k holds v[k*CHUNK_VALUES .. (k+1)*CHUNK_VALUES], the last one what is left
//! chunk:   LANES running sums; value j of the chunk goes to lane j mod LANES; lanes are added pairwise
//! tree:    leaves are merged pairwise, neighbours first, as a binary counter carries;
//!          what is left over at the end is merged from the right
//! ```
//!
//! The shape of the tree depends on n alone, so the result does not depend on where the values lie, on the number
//! of threads, or on the vector width. Any aligned block of 2^k leaves is a subtree: work can be cut there freely.
//!
//! Where what the joined chunks of a channel give is not good enough (`reduction::Reduction`), the channel is reduced once more,
//! another way.
//!
//! Departures from the pseudo-code, for speed. Which traversal is taken is decided once for a call, from the layouts alone:
//!
//! | layout | a chunk is |
//! |---|---|
//! | values lie side by side in runs (NCHW) | reduced in place, run after run, some neighbouring channels in turn where runs are short, so that memory is read in order |
//! | rows of all channels (NHWC, N x C), or of all their planes of 2, 4 or 8 values | reduced row by row, all channels at a time, against a table of lanes |
//! | anything else, very short runs, or rows of very few channels | copied, that of some neighbouring channels together |

pub mod chunk;
pub mod gradients;
pub mod moments;
pub mod reduction;
pub mod tree;

use crate::array::geometry::{Geometry, plane_in_rows};
use crate::array::grid::Grid;
use crate::array::memory::Readable;
use crate::array::prefetch_distance::next_run_distance;
use crate::machine::Machine;
use crate::machine::vector::WIDTH;
use crate::number::Stored;
use chunk::{Chunk, Columns, LANES};
use reduction::{ChunkReduction, Reduction, Tables};
use std::ops::Range;
use tree::{Merge, Tree};

/// Values a chunk. A multiple of the lanes; small enough that a chunk stays in the first-level cache between two looks.
pub(crate) const CHUNK_VALUES: usize = 2048;
/// Bytes side by side that a block of channels should have in each of its runs, for memory to be read in order.
pub(crate) const BLOCK_RUN_BYTES: usize = 8192;
/// Channels of a block at most: the scratch of a block stays in the second-level cache.
pub(crate) const MAX_BLOCK_CHANNELS: usize = 32;
/// Rows of fewer channels are transposed: lines that narrow are not worth a loop.
pub(crate) const MIN_ROW_CHANNELS: usize = 8;
/// Channels of rows that are reduced together at most: their tables are half a megabyte.
pub(crate) const MAX_ROW_CHANNELS: usize = 2048;
/// Columns between two that are reduced again with them.
pub(crate) const NEAR_COLUMNS: usize = 64;
/// Room between two channels of a tile, so that they do not compete for the same cache set.
const TILE_GAP: usize = 16;

/// The way through memory of a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SumTraversal {
    /// Blocks of so many neighbouring channels, each channel by itself, run after run.
    Runs(usize),
    /// Blocks of so many neighbouring channels, copied.
    Tiles(usize),
    /// Rows of all channels, of so many values of each side by side.
    Rows(usize),
}

/// The traversal for arrays of one shape.
fn traversal<T: Stored, const N: usize>(arrays: [&Readable<T>; N], takes_planes: bool) -> SumTraversal {
    let geometries = arrays.map(Readable::geometry);
    // A plane is a part of the lanes, and a row at least a vector.
    let fits_lanes = |&plane: &usize| {
        (2..LANES).contains(&plane) && LANES.is_multiple_of(plane) && geometries[0].channels * plane >= WIDTH
    };
    if in_runs(geometries) {
        SumTraversal::Runs(block_of_runs::<T, N>(geometries))
    } else if geometries[0].channels >= MIN_ROW_CHANNELS && geometries.into_iter().all(Geometry::is_dense_rows) {
        SumTraversal::Rows(1)
    } else if let Some(plane) = plane_in_rows(geometries).filter(|_| takes_planes).filter(fits_lanes) {
        SumTraversal::Rows(plane)
    } else {
        // Two cache lines of each row, which memory delivers in pairs; of several arrays one, for the tiles are large.
        SumTraversal::Tiles(fitting::<T>(geometries[0], if N == 1 { 128 } else { 64 }))
    }
}

/// Channels of a block of arrays whose values come in runs.
pub(crate) fn block_of_runs<T: Stored, const N: usize>(arrays: [&Geometry; N]) -> usize {
    fitting::<T>(arrays[0], BLOCK_RUN_BYTES / arrays[0].inner().0)
}

/// Channels of a block whose values at one place take so many bytes.
fn fitting<T>(geometry: &Geometry, bytes: usize) -> usize {
    (bytes / size_of::<T>()).clamp(1, geometry.channels.min(MAX_BLOCK_CHANNELS))
}

/// True where each array's values come in runs long enough to be taken side by side, of the same lengths in all.
pub(crate) fn in_runs<const N: usize>(arrays: [&Geometry; N]) -> bool {
    arrays.iter().all(|array| array.in_runs() && array.has_runs_of(arrays[0]))
}

/// Scratch of one thread.
pub(crate) struct Scratch<T, const N: usize> {
    /// For each array a tile, a row of it for each channel of a block.
    tiles: [Vec<T>; N],
    tables: Tables,
}

/// The arrays of a reduction, and the way through them.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a, T, const N: usize> {
    /// Rows of planes as [`Readable::planes_as_rows`].
    pub arrays: [&'a Readable<'a, T>; N],
    pub traversal: SumTraversal,
    /// How many elements ahead to prefetch.
    pub distances: [isize; N],
}

impl<T: Stored, const N: usize> Scratch<T, N> {
    pub fn new() -> Self {
        Scratch { tiles: std::array::from_fn(|_| Vec::new()), tables: Tables::default() }
    }

    /// Reduces one chunk of some channels, at most a block: a value for each, appended to `values`.
    fn chunk<V: Merge>(
        &mut self,
        sources: Sources<T, N>,
        reduction: &dyn ChunkReduction<T, N, Value = V>,
        channels: Range<usize>,
        part: Range<usize>,
        values: &mut Vec<V>,
    ) {
        let Sources { arrays, traversal, distances } = sources;
        match traversal {
            // NHWC, N x C: the values of all channels at one place are neighbours; or NCHW of small planes, which are.
            SumTraversal::Rows(plane) => {
                let pitch = arrays[0].geometry().channels;
                let (left, width) = (channels.start * plane, channels.len() * plane);
                let rows = part.start / plane..part.end / plane;
                let chunk = arrays.map(|array| Columns { rows: array.rows(rows.clone()), pitch, left, width, plane });
                reduction.rows(chunk, &mut self.tables, values);
            }
            // NCHW: nothing is copied.
            SumTraversal::Runs(_) => {
                values.extend(channels.map(|channel| {
                    let chunk = Chunk::Runs { arrays, channel, part: part.clone(), distances };
                    reduction.run(channel, &chunk)
                }));
            }
            SumTraversal::Tiles(_) => self.copied(arrays, reduction, channels, part, values),
        }
    }

    /// Reduces a chunk that no loop can take where it lies (very small planes, channels far apart, any strides): copied to
    /// the tiles first, all channels of the block in one sweep over memory.
    fn copied<V: Merge>(
        &mut self,
        arrays: [&Readable<T>; N],
        reduction: &dyn ChunkReduction<T, N, Value = V>,
        channels: Range<usize>,
        part: Range<usize>,
        values: &mut Vec<V>,
    ) {
        let pitch = arrays[0].geometry().count.min(CHUNK_VALUES) + TILE_GAP;
        for (array, tile) in arrays.iter().zip(self.tiles.iter_mut()) {
            tile.resize(tile.len().max(channels.len() * pitch), T::default());
            array.gather_block(channels.clone(), part.clone(), tile, pitch);
        }
        values.extend(channels.enumerate().map(|(row, channel)| {
            let chunk = self.tiles.each_ref().map(|tile| &tile[row * pitch..row * pitch + part.len()]);
            reduction.run(channel, &Chunk::Slice(chunk))
        }));
    }

    /// Reduces a range that is not empty: one value for each of some channels, at most a block.
    fn joined<V: Merge>(
        &mut self,
        sources: Sources<T, N>,
        reduction: &dyn ChunkReduction<T, N, Value = V>,
        channels: Range<usize>,
        range: Range<usize>,
    ) -> Vec<V> {
        let mut tree = Tree::new();
        for start in range.clone().step_by(CHUNK_VALUES) {
            let part = start..(start + CHUNK_VALUES).min(range.end);
            let mut values = tree.leaf();
            self.chunk(sources, reduction, channels.clone(), part, &mut values);
            tree.push(values);
        }
        tree.finish().expect("at least one chunk was pushed")
    }

    /// Reduces some channels, at most a block, of arrays that are not empty.
    pub fn reduce<V: Merge, R: Merge>(
        &mut self,
        sources: Sources<T, N>,
        reduction: &dyn Reduction<T, N, Value = V, Result = R>,
        channels: Range<usize>,
    ) -> Vec<R> {
        let count = sources.arrays[0].geometry().count;
        let joined = self.joined(sources, reduction.chunks(), channels.clone(), 0..count);
        let careful = |channels| self.joined(sources, reduction.careful(), channels, 0..count);
        results(reduction, channels.start, count, joined, 0, careful)
    }
}

/// The results of channels from `first` on. Those without one are reduced again by `careful`, some neighbours together: also
/// such as have one, where at most `gap` of them lie between others, and theirs stays.
fn results<T, V: Merge, R: Merge, const N: usize>(
    reduction: &dyn Reduction<T, N, Value = V, Result = R>,
    first: usize,
    count: usize,
    joined: Vec<V>,
    gap: usize,
    mut careful: impl FnMut(Range<usize>) -> Vec<R>,
) -> Vec<R> {
    let channels = joined.len();
    let (told, joined) = reduction.results(first, count, joined);
    if told.len() == channels {
        return told;
    }
    // The first one is without; there are few.
    let rest = told.len()..joined.len();
    let rest = rest.map(|at| reduction.result(first + at, count, joined[at]));
    let mut all: Vec<Option<R>> = told.into_iter().map(Some).chain(rest).collect();
    let mut next = 0;
    while let Some(start) = (next..all.len()).find(|&at| all[at].is_none()) {
        let mut end = start + 1;
        while let Some(another) = (end..all.len().min(end + gap + 1)).find(|&at| all[at].is_none()) {
            end = another + 1;
        }
        for (result, again) in all[start..end].iter_mut().zip(careful(first + start..first + end)) {
            result.get_or_insert(again);
        }
        next = end;
    }
    all.into_iter().map(|result| result.expect("each channel has one now")).collect()
}

/// The values of the chunks of each of some channels joined, of the first `count` values of each, at least one.
pub(crate) fn joined<T: Stored, V: Merge, const N: usize>(
    machine: &Machine,
    arrays: [&Readable<T>; N],
    reduction: &dyn ChunkReduction<T, N, Value = V>,
    of: Range<usize>,
    count: usize,
) -> Vec<V> {
    let channels = of.len();
    let traversal = traversal(arrays, reduction.takes_planes());
    let crew = machine.crew(channels * count);
    // A few tasks for each thread, so that one which is held up does not hold up all.
    let wanted = if crew.count() > 1 { 4 * crew.count() } else { 1 };
    let leaves = count.div_ceil(CHUNK_VALUES);
    let block = match traversal {
        SumTraversal::Runs(block) | SumTraversal::Tiles(block) => block,
        // Columns are cut only where there are too few chunks of rows for the threads, and then into as few as there are threads:
        // of narrow parts memory would be many short streams.
        SumTraversal::Rows(plane) => {
            let most = channels.min(MAX_ROW_CHANNELS / plane);
            channels.div_ceil(crew.count().div_ceil(leaves)).next_multiple_of(32).min(most)
        }
    };
    let blocks = channels.div_ceil(block);
    // A channel is cut only where blocks alone are too few, and then into aligned powers of two of chunks, which are subtrees.
    let segment = leaves.div_ceil(wanted.div_ceil(blocks).min(leaves)).next_power_of_two();
    let grid = Grid { channels, block, count, range: segment * CHUNK_VALUES };
    let distances = arrays.map(|array| next_run_distance(array.geometry(), size_of::<T>()));
    // Of planes the same elements, as the rows that they are.
    let rows = arrays.map(|array| if let SumTraversal::Rows(2..) = traversal { array.planes_as_rows() } else { None });
    let arrays = std::array::from_fn(|n| rows[n].as_ref().unwrap_or(arrays[n]));
    let sources = Sources { arrays, traversal, distances };
    let cells = crew.map(grid.cells(), Scratch::new, |scratch, number| {
        let (channels, range) = grid.cell(number);
        scratch.joined(sources, reduction, of.start + channels.start..of.start + channels.end, range)
    });
    if let [_] = &cells[..] {
        return cells.into_iter().next().expect("one cell");
    }
    // Cells are numbered with the block fastest; those of one block come in logical order, as subtrees of its channels.
    let mut all = Vec::with_capacity(channels);
    let mut trees: Vec<Tree<V>> = (0..blocks).map(|_| Tree::new()).collect();
    for (number, cell) in cells.into_iter().enumerate() {
        trees[number % blocks].push(cell);
    }
    for mut tree in trees {
        all.extend(tree.finish().expect("every block has a cell"));
    }
    all
}

/// A result for each channel; an empty vector for empty arrays.
pub(crate) fn reduce<T: Stored, V: Merge, R: Merge, const N: usize>(
    machine: &Machine,
    arrays: [&Readable<T>; N],
    reduction: &dyn Reduction<T, N, Value = V, Result = R>,
) -> Vec<R> {
    let geometry = arrays[0].geometry();
    if geometry.count == 0 {
        return Vec::new();
    }
    let all = joined(machine, arrays, reduction.chunks(), 0..geometry.channels, geometry.count);
    // In rows a few channels more cost nothing: memory gives whole lines.
    let gap = if let SumTraversal::Rows(_) = traversal(arrays, reduction.careful().takes_planes()) {
        NEAR_COLUMNS
    } else {
        0
    };
    results(reduction, 0, geometry.count, all, gap, |channels| {
        joined(machine, arrays, reduction.careful(), channels, geometry.count)
    })
}
