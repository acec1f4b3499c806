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
//! Departures from the pseudo-code, for speed. Which traversal is taken is decided once for a call, from the layouts alone:
//!
//! | layout | a chunk is |
//! |---|---|
//! | values lie side by side in runs of whole groups of lanes (NCHW, planes of 28x28 and more) | reduced in place, run after run |
//! | in other runs | copied, that of some neighbouring channels together where runs are short, so that memory is read in order |
//! | rows of all channels (NHWC, N x C) | reduced row by row, all channels at a time, against a table of lanes |
//! | anything else, or rows of very few channels | copied, that of some neighbouring channels together |

pub mod chunk;
pub mod gradients;
pub mod leaf;
pub mod moments;
pub mod tree;

use crate::array::geometry::Geometry;
use crate::array::grid::Grid;
use crate::array::memory::Readable;
use crate::array::prefetch_distance::next_run_distance;
use crate::number::Stored;
use crate::threads;
use chunk::{Chunk, Columns, LANES};
use leaf::{ChunkReduction, Tables};
use std::ops::Range;
use tree::{Merge, Tree};

/// Values a chunk. A multiple of the lanes; small enough that a chunk stays in the first-level cache between two looks.
pub(crate) const CHUNK_VALUES: usize = 1024;
/// Runs of at least this many adjacent values are taken as runs.
pub const MIN_RUN: usize = 16;
/// Bytes side by side that a block of channels should have in each of its runs, for memory to be read in order.
pub(crate) const BLOCK_RUN_BYTES: usize = 8192;
/// Channels of a block at most: the scratch of a block stays in the second-level cache.
pub(crate) const MAX_BLOCK_CHANNELS: usize = 32;
/// Rows of fewer channels are transposed: lines that narrow are not worth a loop.
pub(crate) const MIN_ROW_CHANNELS: usize = 8;
/// Channels of rows that are reduced together at most: their tables are half a megabyte.
pub(crate) const MAX_ROW_CHANNELS: usize = 2048;
/// Bytes of arrays that caches hold: there, rows are reduced by so few channels that their tables stay in the first-level
/// cache. From memory the rows must come whole.
pub(crate) const CACHED_BYTES: usize = 8 << 20;
/// Channels of rows of such arrays that are reduced together.
pub(crate) const CACHED_CHANNELS: usize = 64;
/// Runs that a chunk may reach over without being copied.
pub(crate) const MAX_PIECES: usize = 4;
/// Room between two channels of a tile, so that they do not compete for the same cache set.
const TILE_GAP: usize = 16;

/// The way through memory of a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SumTraversal {
    /// Blocks of so many neighbouring channels, each channel by itself.
    Blocks(usize),
    /// Rows of all channels.
    Rows,
}

/// The traversal for arrays of one shape.
fn traversal<T: Stored, const N: usize>(arrays: [&Readable<T>; N]) -> SumTraversal {
    let geometry = arrays[0].geometry();
    if in_runs(arrays) {
        SumTraversal::Blocks(block_of_runs(arrays))
    } else if geometry.channels >= MIN_ROW_CHANNELS && arrays.iter().all(|array| array.geometry().is_dense_rows()) {
        SumTraversal::Rows
    } else {
        // Two cache lines of each row, which memory delivers in pairs.
        SumTraversal::Blocks(fitting::<T>(geometry, 128))
    }
}

/// Channels of a block of arrays whose values come in runs.
pub(crate) fn block_of_runs<T: Stored, const N: usize>(arrays: [&Readable<T>; N]) -> usize {
    let run = arrays.iter().map(|array| array.geometry().inner().0).min().expect("at least one array");
    fitting::<T>(arrays[0].geometry(), BLOCK_RUN_BYTES / run)
}

/// Channels of a block whose values at one place take so many bytes.
fn fitting<T>(geometry: &Geometry, bytes: usize) -> usize {
    (bytes / size_of::<T>()).clamp(1, geometry.channels.min(MAX_BLOCK_CHANNELS))
}

/// True where each array's values come in runs long enough to be taken side by side.
pub(crate) fn in_runs<T: Stored, const N: usize>(arrays: [&Readable<T>; N]) -> bool {
    arrays.iter().all(|array| {
        let (length, stride) = array.geometry().inner();
        stride == 1 && (length >= MIN_RUN || array.geometry().count == length)
    })
}

/// Splits a chunk into contiguous pieces: their lengths into `cuts`, the same for every channel, their number returned;
/// `None` if it must be copied.
fn pieces_in_place<T: Stored, const N: usize>(
    arrays: [&Readable<T>; N],
    part: Range<usize>,
    cuts: &mut [usize; MAX_PIECES],
) -> Option<usize> {
    if arrays.iter().any(|array| array.geometry().inner().1 != 1) {
        return None;
    }
    let mut index = part.start;
    for (found, cut) in cuts.iter_mut().enumerate() {
        *cut = arrays.iter().map(|array| array.geometry().left(index)).fold(part.end - index, usize::min);
        index += *cut;
        if index == part.end {
            return Some(found + 1);
        }
        // Behind a piece that ends within a group of lanes, the next one would begin in the middle of the lanes.
        if *cut % LANES != 0 {
            return None;
        }
    }
    None
}

/// Scratch of one thread.
pub(crate) struct Scratch<T, V, const N: usize> {
    /// For each array a tile, a row of it for each channel of a block.
    tiles: [Vec<T>; N],
    /// From one row of a tile to the next.
    pitch: usize,
    tables: Tables,
    tree: Tree<V>,
}

impl<T: Stored, V: Merge, const N: usize> Scratch<T, V, N> {
    /// For arrays with `count` values a channel: small arrays get a small one.
    pub fn new(traversal: SumTraversal, count: usize) -> Self {
        let pitch = count.min(CHUNK_VALUES) + TILE_GAP;
        let channels = match traversal {
            SumTraversal::Blocks(channels) => channels,
            SumTraversal::Rows => 0,
        };
        Scratch {
            tiles: std::array::from_fn(|_| vec![T::default(); channels * pitch]),
            pitch,
            tables: Tables::default(),
            tree: Tree::new(),
        }
    }

    /// Reduces one chunk of some channels, at most a block. Chunks of the same channels follow each other in logical
    /// order.
    fn push<L: ChunkReduction<T, N, Value = V>>(
        &mut self,
        traversal: SumTraversal,
        arrays: [&Readable<T>; N],
        distances: [isize; N],
        reduction: &L,
        channels: Range<usize>,
        part: Range<usize>,
    ) {
        let mut values = self.tree.leaf();
        let mut cuts = [0; MAX_PIECES];
        match traversal {
            // NHWC, N x C: the values of all channels at one place are neighbours.
            SumTraversal::Rows => {
                let pitch = arrays[0].geometry().channels;
                let (left, width) = (channels.start, channels.len());
                let chunk = arrays.map(|array| Columns { rows: array.rows(part.clone()), pitch, left, width });
                reduction.rows(chunk, &mut self.tables, &mut values);
            }
            SumTraversal::Blocks(_) => match pieces_in_place(arrays, part.clone(), &mut cuts) {
                // NCHW with planes of whole groups of lanes: nothing is copied.
                Some(found) => {
                    for channel in channels {
                        let mut pieces = [[&[][..]; N]; MAX_PIECES];
                        let mut index = part.start;
                        for (piece, &len) in pieces.iter_mut().zip(&cuts[..found]) {
                            let run = |array| Readable::runs(array, channel..channel + 1, index, len).next();
                            *piece = arrays.map(|array| run(array).expect("one channel"));
                            index += len;
                        }
                        values.push(reduction.run(channel, Chunk { pieces: &pieces[..found], distances }));
                    }
                }
                None => self.copied(arrays, reduction, channels, part, &mut values),
            },
        }
        self.tree.push(values);
    }

    /// Reduces a chunk that no loop can take where it lies (small planes, channels far apart, any strides): copied to the
    /// tiles first, all channels of the block in one sweep over memory.
    fn copied<L: ChunkReduction<T, N, Value = V>>(
        &mut self,
        arrays: [&Readable<T>; N],
        reduction: &L,
        channels: Range<usize>,
        part: Range<usize>,
        values: &mut Vec<V>,
    ) {
        let pitch = self.pitch;
        for (array, tile) in arrays.iter().zip(self.tiles.iter_mut()) {
            array.gather_block(channels.clone(), part.clone(), tile, pitch);
        }
        let next = part.end..(part.end + part.len()).min(arrays[0].geometry().count);
        for (row, channel) in channels.enumerate() {
            // The copy is in the first-level cache: while it is reduced, memory fetches the next chunk.
            if in_runs(arrays) {
                arrays.iter().for_each(|array| array.prefetch(channel, next.clone()));
            }
            let chunk = self.tiles.each_ref().map(|tile| &tile[row * pitch..row * pitch + part.len()]);
            values.push(reduction.run(channel, Chunk { pieces: &[chunk], distances: [0; N] }));
        }
    }

    /// Reduces a range that is not empty: one value for each of some channels, at most a block.
    pub fn reduce<L: ChunkReduction<T, N, Value = V>>(
        &mut self,
        traversal: SumTraversal,
        arrays: [&Readable<T>; N],
        distances: [isize; N],
        reduction: &L,
        channels: Range<usize>,
        range: Range<usize>,
    ) -> Vec<V> {
        for start in range.clone().step_by(CHUNK_VALUES) {
            let part = start..(start + CHUNK_VALUES).min(range.end);
            self.push(traversal, arrays, distances, reduction, channels.clone(), part);
        }
        self.tree.finish().expect("at least one chunk was pushed")
    }
}

/// One value for each channel; an empty vector for empty arrays.
pub(crate) fn reduce<T: Stored, L: ChunkReduction<T, N>, const N: usize>(
    arrays: [&Readable<T>; N],
    reduction: &L,
) -> Vec<L::Value> {
    let geometry = arrays[0].geometry();
    let (channels, count) = (geometry.channels, geometry.count);
    if count == 0 {
        return Vec::new();
    }
    let traversal = traversal(arrays);
    let threads = threads::threads_for(channels * count);
    // A few tasks for each thread, so that one which is held up does not hold up all.
    let wanted = if threads > 1 { 4 * threads } else { 1 };
    let leaves = count.div_ceil(CHUNK_VALUES);
    let block = match traversal {
        SumTraversal::Blocks(block) => block,
        SumTraversal::Rows if N * channels * count * size_of::<T>() <= CACHED_BYTES => CACHED_CHANNELS.min(channels),
        // Columns are cut only where there are too few chunks of rows for the threads.
        SumTraversal::Rows => {
            channels.div_ceil(wanted.div_ceil(leaves)).next_multiple_of(32).min(channels).min(MAX_ROW_CHANNELS)
        }
    };
    let blocks = channels.div_ceil(block);
    // A channel is cut only where blocks alone are too few, and then into aligned powers of two of chunks, which are subtrees.
    let segment = leaves.div_ceil(wanted.div_ceil(blocks).min(leaves)).next_power_of_two();
    let grid = Grid { channels, block, count, range: segment * CHUNK_VALUES };
    let distances = arrays.map(|array| next_run_distance(array.geometry(), size_of::<T>()));
    let cells = threads::map(
        grid.cells(),
        threads,
        || Scratch::new(traversal, count),
        |scratch, number| {
            let (channels, range) = grid.cell(number);
            scratch.reduce(traversal, arrays, distances, reduction, channels, range)
        },
    );
    // Cells are numbered with the block fastest; those of one block come in logical order, as subtrees of its channels.
    let mut all = Vec::with_capacity(channels);
    let mut trees: Vec<Tree<L::Value>> = (0..blocks).map(|_| Tree::new()).collect();
    for (number, cell) in cells.into_iter().enumerate() {
        trees[number % blocks].push(cell);
    }
    for mut tree in trees {
        all.extend(tree.finish().expect("every block has a cell"));
    }
    all
}
