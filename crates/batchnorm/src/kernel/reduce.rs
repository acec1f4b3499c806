//! Reductions over a channel's values: one fixed tree over the logical index.
//!
//! In pseudo-code, for a channel of n values v[0..n]:
//!
//! ```text
//! leaves:  chunk k holds v[k*CHUNK .. (k+1)*CHUNK], the last one what is left
//! chunk:   LANES running sums; value j of the chunk goes to lane j mod LANES; lanes are added pairwise
//! tree:    leaves are merged pairwise, neighbours first, as a binary counter carries;
//!          what is left over at the end is merged from the right
//! ```
//!
//! The shape of the tree depends on n alone, so the result does not depend on where the values lie, on the number
//! of threads, or on the vector width. Any aligned block of 2^k leaves is a subtree: work can be cut there freely.
//!
//! Departures from the pseudo-code, for speed:
//! 1. A chunk that lies side by side in memory is reduced in place, any other is copied to a small scratch first.
//! 2. Where all channels of a value lie side by side (NHWC, N x C), a block of channels is reduced at once
//!    (`columns`); where arrays are interleaved in other ways, a block is transposed into the scratch together. So
//!    every line of memory is read once.
//! 3. A chunk's last, incomplete group of lanes is filled up with values that add nothing.
#![allow(clippy::needless_range_loop)] // loops over a fixed number of lanes, in the form the compiler vectorises

use super::columns::{Columns, ProductColumns, ShiftedColumns, SumColumns};
use super::raw::{Grid, Isa, Kernel, Readable};
use crate::element::Element;
use crate::moments::Moments;
use crate::parallel;

/// Values a leaf. A multiple of LANES; small enough that a chunk stays in the first-level cache between two looks.
pub(crate) const CHUNK: usize = 1024;
/// Independent running sums a leaf.
pub(crate) const LANES: usize = 32;
/// Runs of at least this many adjacent values are reduced channel by channel; shorter ones by blocks of channels.
pub(crate) const RUN: usize = 16;
/// Room between two channels of a tile, so that they do not compete for the same cache set.
const GAP: usize = 16;
/// Channels side by side that are reduced at once: their lanes fit the first-level cache.
const WIDE: usize = 32;
/// The same for what is left over of a row.
const NARROW: usize = 8;
/// Bytes of adjacent channels that a block takes together: two cache lines, which memory delivers in pairs.
pub(crate) const BLOCK_BYTES: usize = 128;

/// Results of two neighbouring sets of values, joined; the left one comes first in the logical order.
pub(crate) trait Merge: Copy + Send {
    fn merge(self, right: Self) -> Self;
}

impl Merge for Moments {
    fn merge(self, right: Moments) -> Moments {
        Moments::merge(self, right)
    }
}

/// The sums that the backward pass needs of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct GradientSums {
    /// Sum of dy.
    pub dy: f64,
    /// Sum of dy * xhat.
    pub dy_xhat: f64,
}

impl Merge for GradientSums {
    fn merge(self, right: GradientSums) -> GradientSums {
        GradientSums { dy: self.dy + right.dy, dy_xhat: self.dy_xhat + right.dy_xhat }
    }
}

/// What is computed of one chunk of `N` arrays.
pub(crate) trait Leaf<T, const N: usize>: Sync {
    type Value: Merge;
    fn leaf(&self, channel: usize, chunk: [&[T]; N]) -> Self::Value;
    /// The same of up to `W` channels that lie side by side, with the same bits. Values beyond the block's width
    /// mean nothing.
    fn columns<const W: usize>(&self, blocks: [Columns<T>; N]) -> [Self::Value; W];
}

/// Leaves merged as they come, like a binary counter: `parts` holds one subtree for each set bit of `leaves`.
struct Tree<V> {
    parts: Vec<V>,
    leaves: usize,
}

impl<V: Merge> Tree<V> {
    fn new() -> Self {
        Tree { parts: Vec::new(), leaves: 0 }
    }

    fn push(&mut self, leaf: V) {
        let mut value = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.parts.pop().expect("one part for each bit");
            value = left.merge(value);
        }
        self.parts.push(value);
        self.leaves += 1;
    }

    fn finish(&mut self) -> Option<V> {
        self.leaves = 0;
        let last = self.parts.pop()?;
        Some(self.parts.drain(..).rev().fold(last, |right, left| left.merge(right)))
    }
}

/// Scratch of one thread: a tile for each array, and the trees of a block.
pub(crate) struct Scratch<T, V, const N: usize> {
    /// From one channel of a tile to the next.
    pitch: usize,
    tiles: [Vec<T>; N],
    trees: Vec<Tree<V>>,
}

impl<T: Element, V: Merge, const N: usize> Scratch<T, V, N> {
    /// For blocks of so many channels of arrays with `count` values a channel: small arrays get a small one.
    pub fn new(block: usize, count: usize) -> Self {
        let pitch = count.min(CHUNK) + GAP;
        Scratch {
            pitch,
            tiles: std::array::from_fn(|_| vec![T::default(); block * pitch]),
            trees: (0..block).map(|_| Tree::new()).collect(),
        }
    }
}

/// Reduces one channel whose values come in runs, on this thread. `None` for no values.
pub(crate) fn channel<T: Element, L: Leaf<T, N>, const N: usize>(
    arrays: [&Readable<T>; N],
    leaf: &L,
    channel: usize,
    range: std::ops::Range<usize>,
    scratch: &mut Scratch<T, L::Value, N>,
) -> Option<L::Value> {
    let tree = &mut scratch.trees[0];
    let mut tiles = scratch.tiles.each_mut();
    for start in range.clone().step_by(CHUNK) {
        let part = start..(start + CHUNK).min(range.end);
        let mut pairs = arrays.iter().zip(tiles.iter_mut());
        let chunk: [&[T]; N] = std::array::from_fn(|_| {
            let (array, tile) = pairs.next().expect("one tile for each array");
            array.chunk(channel, part.clone(), tile)
        });
        tree.push(leaf.leaf(channel, chunk));
    }
    tree.finish()
}

/// Reduces a block of channels, on this thread, into `scratch.trees`.
fn block<T: Element, L: Leaf<T, N>, const N: usize>(
    arrays: [&Readable<T>; N],
    leaf: &L,
    channels: std::ops::Range<usize>,
    range: std::ops::Range<usize>,
    scratch: &mut Scratch<T, L::Value, N>,
) -> Vec<L::Value> {
    let pitch = scratch.pitch;
    for start in range.clone().step_by(CHUNK) {
        let part = start..(start + CHUNK).min(range.end);
        for (array, tile) in arrays.iter().zip(&mut scratch.tiles) {
            array.gather_block(channels.clone(), part.clone(), tile, pitch);
        }
        for (row, channel) in channels.clone().enumerate() {
            let chunk = scratch.tiles.each_ref().map(|tile| &tile[row * pitch..row * pitch + part.len()]);
            scratch.trees[row].push(leaf.leaf(channel, chunk));
        }
    }
    scratch.trees[..channels.len()].iter_mut().map(|tree| tree.finish().expect("a cell is not empty")).collect()
}

/// Reduces a block of channels of dense rows, on this thread.
fn table<T: Element, L: Leaf<T, N>, const N: usize>(
    arrays: [&Readable<T>; N],
    leaf: &L,
    channels: std::ops::Range<usize>,
    range: std::ops::Range<usize>,
    scratch: &mut Scratch<T, L::Value, N>,
) -> Vec<L::Value> {
    let pitch = arrays[0].geometry().channels;
    for start in range.clone().step_by(CHUNK) {
        let part = start..(start + CHUNK).min(range.end);
        let blocks = |left: usize, width: usize| {
            arrays.map(|array| Columns { rows: array.rows(part.clone()), pitch, left, width })
        };
        let mut left = channels.start;
        while left < channels.end {
            let trees = &mut scratch.trees[left - channels.start..];
            let width = channels.end - left;
            if width >= WIDE {
                let values = leaf.columns::<WIDE>(blocks(left, WIDE));
                trees.iter_mut().zip(values).for_each(|(tree, value)| tree.push(value));
                left += WIDE;
            } else {
                let width = width.min(NARROW);
                let values = leaf.columns::<NARROW>(blocks(left, width));
                trees.iter_mut().zip(values).take(width).for_each(|(tree, value)| tree.push(value));
                left += width;
            }
        }
    }
    scratch.trees[..channels.len()].iter_mut().map(|tree| tree.finish().expect("a cell is not empty")).collect()
}

/// Whether each array's values come in runs long enough to be taken in place.
pub(crate) fn in_runs<T: Element, const N: usize>(arrays: [&Readable<T>; N]) -> bool {
    arrays.iter().all(|array| {
        let (length, stride) = array.geometry().inner();
        stride == 1 && (length >= RUN || array.geometry().count == length)
    })
}

/// One value for each channel; an empty vector for empty arrays.
pub(crate) fn reduce<T: Element, L: Leaf<T, N>, const N: usize>(arrays: [&Readable<T>; N], leaf: &L) -> Vec<L::Value> {
    let geometry = arrays[0].geometry();
    if geometry.count == 0 {
        return Vec::new();
    }
    let runs = in_runs(arrays);
    let rows = !runs && arrays.iter().all(|array| array.geometry().is_dense_rows());
    let threads = parallel::threads_for(geometry.channels * geometry.count);
    // A few tasks for each thread.
    let wanted = if threads > 1 { 4 * threads } else { 1 };
    let leaves = geometry.count.div_ceil(CHUNK);
    let width = if runs {
        1
    } else if rows {
        // Rows are cut only where there are too few of them for the threads.
        let parts = wanted.div_ceil(leaves);
        geometry.channels.div_ceil(parts).next_multiple_of(WIDE).min(geometry.channels)
    } else {
        (BLOCK_BYTES / size_of::<T>()).min(geometry.channels)
    };
    let blocks = geometry.channels.div_ceil(width);
    // A channel is cut into subtrees only where blocks alone are too few.
    let segment = leaves.div_ceil(wanted.div_ceil(blocks).min(leaves)).next_power_of_two();
    let grid = Grid { channels: geometry.channels, block: width, count: geometry.count, range: segment * CHUNK };
    let cells = parallel::map(
        grid.cells(),
        threads,
        || Scratch::new(width, if rows { 0 } else { geometry.count }),
        |scratch, number| {
            let (channels, range) = grid.cell(number);
            if runs {
                channel(arrays, leaf, channels.start, range, scratch).into_iter().collect()
            } else if rows {
                table(arrays, leaf, channels, range, scratch)
            } else {
                block(arrays, leaf, channels, range, scratch)
            }
        },
    );
    (0..geometry.channels)
        .map(|channel| {
            let mut tree = Tree::new();
            for cell in cells.iter().skip(channel / width).step_by(blocks) {
                tree.push(cell[channel % width]);
            }
            tree.finish().expect("every channel has a cell")
        })
        .collect()
}

/// The moments of a chunk.
pub(crate) struct MomentsLeaf(pub Isa);

impl<T: Element> Leaf<T, 1> for MomentsLeaf {
    type Value = Moments;

    fn leaf(&self, _: usize, [values]: [&[T]; 1]) -> Moments {
        let about = |shift: T| {
            let (d, q) = self.0.run(Shifted { values, shift });
            Moments::from_shifted(values.len(), shift.to_f64(), d, q)
        };
        if !T::WIDENS {
            let moments = about(T::from_f64(self.0.run(Sum(values)) / values.len() as f64));
            if moments.m2() == 0.0 && values.iter().any(|value| value.to_f64() != values[0].to_f64()) {
                // Deviations too small to square. That they are there decides whether the channel is constant.
                return moments.not_constant();
            }
            if moments.is_finite() {
                return moments;
            }
            // The sum or the square of its rounding error overflowed. About a value of the chunk, constants of any
            // size are exact all the same.
        }
        about(values[0])
    }

    fn columns<const W: usize>(&self, [columns]: [Columns<T>; 1]) -> [Moments; W] {
        let count = columns.len();
        let mut shift = columns.row::<W>(0);
        if !T::WIDENS {
            shift = self.0.run(SumColumns::<T, W>(columns)).map(|sum| T::from_f64(sum / count as f64));
        }
        let (d, q) = self.0.run(ShiftedColumns { columns, shift });
        std::array::from_fn(|w| {
            let moments = Moments::from_shifted(count, shift[w].to_f64(), d[w], q[w]);
            if T::WIDENS || w >= columns.width || (moments.is_finite() && moments.m2() != 0.0) {
                return moments;
            }
            // The rare ends of the range, one channel at a time.
            let values: Vec<T> = columns.column(w).collect();
            self.leaf(columns.left + w, [&values])
        })
    }
}

/// The gradient sums of a chunk, with each channel's mean pair and inverse standard deviation.
pub(crate) struct GradientLeaf<'m> {
    pub isa: Isa,
    pub mean: &'m [f64],
    pub rest: &'m [f64],
    pub inverse: &'m [f64],
}

impl<T: Element> Leaf<T, 2> for GradientLeaf<'_> {
    type Value = GradientSums;

    fn leaf(&self, channel: usize, [x, dy]: [&[T]; 2]) -> GradientSums {
        let (mean, rest, inverse) = (self.mean[channel], self.rest[channel], self.inverse[channel]);
        self.isa.run(Products { x, dy, mean, rest, inverse })
    }

    fn columns<const W: usize>(&self, [x, dy]: [Columns<T>; 2]) -> [GradientSums; W] {
        let of = |vector: &[f64]| -> [f64; W] {
            std::array::from_fn(|w| if w < x.width { vector[x.left + w] } else { 0.0 })
        };
        let (mean, rest, inverse) = (of(self.mean), of(self.rest), of(self.inverse));
        let (sums, products) = self.isa.run(ProductColumns { x, dy, mean, rest, inverse });
        std::array::from_fn(|w| GradientSums { dy: sums[w], dy_xhat: products[w] })
    }
}

/// Lanes added pairwise, halves onto each other.
#[inline(always)]
fn fold(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// A chunk's incomplete last group of lanes, filled up.
#[inline(always)]
fn filled<T: Copy>(tail: &[T], fill: T) -> [T; LANES] {
    let mut group = [fill; LANES];
    group[..tail.len()].copy_from_slice(tail);
    group
}

struct Sum<'v, T>(&'v [T]);

impl<T: Element> Kernel for Sum<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let (groups, tail) = self.0.as_chunks::<LANES>();
        let mut sum = [0.0; LANES];
        for group in groups {
            sum = std::array::from_fn(|lane| sum[lane] + group[lane].to_f64());
        }
        if !tail.is_empty() {
            let group = filled(tail, T::default());
            sum = std::array::from_fn(|lane| sum[lane] + group[lane].to_f64());
        }
        fold(sum)
    }
}

/// Two running sums in lanes.
struct TwoSums {
    first: [f64; LANES],
    second: [f64; LANES],
}

impl TwoSums {
    const ZERO: TwoSums = TwoSums { first: [0.0; LANES], second: [0.0; LANES] };
}

/// Sums of (v - shift) and of its square.
struct Shifted<'v, T> {
    values: &'v [T],
    shift: T,
}

impl<T: Element> Shifted<'_, T> {
    // By value and always inlined, here and below: so the lanes stay in registers and the code is compiled for the
    // caller's tier. (As a closure it was not: every tier ran at the baseline's speed.)
    #[inline(always)]
    fn add(&self, mut sums: TwoSums, group: &[T; LANES]) -> TwoSums {
        let shift = self.shift.to_f64();
        for lane in 0..LANES {
            let d = group[lane].to_f64() - shift;
            sums.first[lane] += d;
            sums.second[lane] += d * d;
        }
        sums
    }
}

impl<T: Element> Kernel for Shifted<'_, T> {
    type Output = (f64, f64);
    #[inline(always)]
    fn run(self) -> (f64, f64) {
        let (groups, tail) = self.values.as_chunks::<LANES>();
        let mut sums = TwoSums::ZERO;
        for group in groups {
            sums = self.add(sums, group);
        }
        if !tail.is_empty() {
            // The shift itself deviates by nothing.
            sums = self.add(sums, &filled(tail, self.shift));
        }
        (fold(sums.first), fold(sums.second))
    }
}

/// Sums of dy and of dy * xhat. (Of dy * (x - mean) would do but for very large and very small f64 values.)
struct Products<'v, T> {
    x: &'v [T],
    dy: &'v [T],
    mean: f64,
    rest: f64,
    inverse: f64,
}

impl<T: Element> Products<'_, T> {
    #[inline(always)]
    fn add(&self, mut sums: TwoSums, x: &[T; LANES], dy: &[T; LANES]) -> TwoSums {
        let (mean, rest, inverse) = (self.mean, self.rest, self.inverse);
        for lane in 0..LANES {
            let dy = dy[lane].to_f64();
            sums.first[lane] += dy;
            sums.second[lane] += dy * (((x[lane].to_f64() - mean) - rest) * inverse);
        }
        sums
    }
}

impl<T: Element> Kernel for Products<'_, T> {
    type Output = GradientSums;
    #[inline(always)]
    fn run(self) -> GradientSums {
        let (groups, tail) = self.x.as_chunks::<LANES>();
        let (dy_groups, dy_tail) = self.dy.as_chunks::<LANES>();
        let mut sums = TwoSums::ZERO;
        for (x, dy) in groups.iter().zip(dy_groups) {
            sums = self.add(sums, x, dy);
        }
        if !tail.is_empty() {
            // Where the upstream gradient is 0 nothing is added, whatever x is there.
            sums = self.add(sums, &filled(tail, T::default()), &filled(dy_tail, T::default()));
        }
        GradientSums { dy: fold(sums.first), dy_xhat: fold(sums.second) }
    }
}
