//! Rows that have parameters of each element: layer norm and its like, and groups of small planes.
//!
//! In pseudo-code, for a row x[0..d] with gamma[0..d] and beta[0..d]:
//!
//! ```text
//! forward:    moments of x, in the tree of `reduce`; numbers of the row from them; y[j] of the numbers, gamma[j], beta[j]
//! backward:   sums of w[j] dy[j] and w[j] dy[j] xhat[j], in the same tree; numbers from them; dx[j]
//! parameters: dbeta[j] = sum over rows of dy[j], dgamma[j] = sum over rows of dy[j] xhat[j]:
//!             rows in blocks that follow from the sizes alone, in a block FLUSH rows at a time, each in order
//!             (whichever columns a task takes)
//! ```
//!
//! Chunks that lie side by side are taken as they are, others are copied to a tile, some rows together, so that memory is
//! read in order where rows are neighbours in it. The bits are the same.

use super::grid::Grid;
use super::leaves::GradientSums;
use super::map::TASK;
use super::raw::{Isa, Readable, Writable};
use super::reduce::CHUNK;
use super::row_formulas::{Add, Elements, Map, NormalizeRow, RowFormula, RowGradient, RowNumbers, Sums};
use super::tree::{Merge, Tree};
use crate::element::Element;
use crate::layout::Geometry;
use crate::parallel;
use std::ops::Range;

/// Rows that are taken together: those of a tile.
pub(super) const SIDE: usize = 32;
/// Elements of rows that are taken together where nothing is copied, so that a cache holds them between two looks.
const NEAR: usize = 1 << 15;
/// Rows (of each part of the parameters) that are added up before they go to the total: so errors do not grow with the
/// number of rows.
pub(super) const FLUSH: usize = 128;
/// Blocks of rows with totals of their own, at most.
pub(super) const BLOCKS: usize = 16;
/// Rows (of each part of the parameters) of a block at least: so totals are small against the rows.
pub(super) const LEAST: usize = 64;

/// Copies of pieces of rows, a tile for each array.
struct Tiles<T, const N: usize> {
    tiles: [Vec<T>; N],
    /// The rows and the piece that the tiles hold, of which part.
    held: Option<(usize, Range<usize>, Range<usize>)>,
}

impl<T: Element, const N: usize> Tiles<T, N> {
    fn new() -> Self {
        Tiles { tiles: std::array::from_fn(|_| Vec::new()), held: None }
    }

    /// A piece of some rows of each array, the arrays of part number `of`: as they lie, or copied.
    fn load<'s>(
        &'s mut self,
        of: usize,
        arrays: [&'s Readable<T>; N],
        rows: &Range<usize>,
        piece: &Range<usize>,
    ) -> [Vec<&'s [T]>; N] {
        let wanted = Some((of, rows.clone(), piece.clone()));
        let fresh = self.held != wanted;
        self.held = wanted;
        let mut tiles = self.tiles.iter_mut();
        arrays.map(|array| {
            let tile = tiles.next().expect("a tile for each array");
            if side_by_side(array.geometry(), piece) {
                return array.runs(rows.clone(), piece.start, piece.len()).collect();
            }
            if fresh {
                tile.resize(SIDE * CHUNK, T::default());
                array.gather_block(rows.clone(), piece.clone(), tile, CHUNK);
            }
            tile.chunks(CHUNK).take(rows.len()).map(|row| &row[..piece.len()]).collect()
        })
    }
}

fn side_by_side(geometry: &Geometry, piece: &Range<usize>) -> bool {
    geometry.inner().1 == 1 && geometry.left(piece.start) >= piece.len()
}

/// Rows that are taken together: a power of two, so that FLUSH rows are some of these.
fn together<T: Element, const N: usize>(arrays: [&Readable<T>; N]) -> usize {
    let copied = arrays.iter().any(|array| array.geometry().inner().1 != 1);
    let fitting = (NEAR / arrays[0].geometry().count).clamp(1, SIDE);
    if copied { SIDE } else { 1 << fitting.ilog2() }
}

fn pieces(columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    columns.clone().step_by(CHUNK).map(move |start| start..(start + CHUNK).min(columns.end))
}

/// Blocks of rows with totals of their own: they depend on the sizes alone.
fn blocks(rows: usize, count: usize, period: usize) -> usize {
    (rows * count / TASK).min(BLOCKS).min(rows / (LEAST * period)).max(1)
}

/// Whether the gradients of rows and of their parameters are worth one pass: there are blocks enough for the threads. (The
/// bits are those of two passes.)
pub(crate) fn at_once(rows: usize, count: usize, period: usize) -> bool {
    let blocks = blocks(rows, count, period);
    blocks == BLOCKS || blocks >= parallel::threads_for(rows * count)
}

/// Reduces each row, piece by piece, and maps it with what `numbers` makes of the result, `block` rows a task. A task has
/// something of its own, from `begin`: `map` may add to it, and `done` is told of so many rows that all were mapped.
/// Returns the reduced values, and what the tasks have, in order.
#[allow(clippy::too_many_arguments)] // the steps of a task
fn reduce_and_map<T: Element, V: Merge, A: Send, const N: usize, const K: usize>(
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    block: usize,
    reduce: impl Fn(usize, &Range<usize>, [&[T]; N]) -> V + Sync + Send,
    numbers: impl Fn(usize, V) -> [f64; K] + Sync + Send,
    begin: impl Fn() -> A + Sync + Send,
    map: impl Fn(&mut A, usize, [f64; K], &Range<usize>, [&[T]; N], &mut [T]) + Sync + Send,
    done: impl Fn(&mut A, usize) + Sync + Send,
) -> (Vec<V>, Vec<A>) {
    let &Geometry { channels: rows, count, .. } = arrays[0].geometry();
    let together = together(arrays);
    let grid = Grid { channels: rows, block, count, range: count };
    let scratch = || (Tiles::<T, N>::new(), Tree::<V>::new(), Vec::new());
    let threads = parallel::threads_for(rows * count);
    let cells =
        Writable::for_each_cell(&mut [out], grid, threads, scratch, |(tiles, tree, result), rows, _, [cell]| {
            let (mut all, mut own) = (Vec::with_capacity(rows.len()), begin());
            for start in rows.clone().step_by(together) {
                let block = start..(start + together).min(rows.end);
                for piece in pieces(0..count) {
                    let values = tiles.load(0, arrays, &block, &piece);
                    let mut leaf = tree.leaf();
                    leaf.extend(block.clone().enumerate().map(|(at, row)| {
                        let values = values.each_ref().map(|rows| rows[at]);
                        reduce(row, &piece, values)
                    }));
                    tree.push(leaf);
                }
                let reduced = tree.finish().expect("at least one piece");
                let of: Vec<_> = block.clone().zip(&reduced).map(|(row, &value)| numbers(row, value)).collect();
                for piece in pieces(0..count) {
                    let values = tiles.load(0, arrays, &block, &piece);
                    let values = |at: usize| values.each_ref().map(|rows| rows[at]);
                    if side_by_side(cell.geometry(), &piece) {
                        let outs = cell.runs(block.clone(), piece.start, piece.len());
                        for (at, (row, out)) in block.clone().zip(outs).enumerate() {
                            map(&mut own, row, of[at], &piece, values(at), out);
                        }
                    } else {
                        result.resize(CHUNK, T::default());
                        for (at, row) in block.clone().enumerate() {
                            let out = &mut result[..piece.len()];
                            map(&mut own, row, of[at], &piece, values(at), out);
                            cell.scatter(row, piece.clone(), out);
                        }
                    }
                }
                done(&mut own, block.len());
                all.extend(reduced);
            }
            (all, own)
        });
    let (values, own): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    (values.into_iter().flatten().collect(), own)
}

/// Rows of a task where nothing hangs on it.
fn task<T: Element, const N: usize>(arrays: [&Readable<T>; N]) -> usize {
    let &Geometry { channels, count, .. } = arrays[0].geometry();
    let together = together(arrays);
    (TASK / count).clamp(together, channels.max(together))
}

/// Forward: rows by the numbers that `of` makes of a chunk's values reduced by `leaf`. `first` is the number of the
/// first row among all.
pub(crate) fn normalize<T: Element, V: Merge>(
    isa: Isa,
    first: usize,
    x: &Readable<T>,
    y: &mut Writable<T>,
    elements: Elements<2>,
    leaf: impl Fn(&[T]) -> V + Sync + Send,
    of: impl Fn(usize, V) -> RowNumbers + Sync + Send,
) -> Vec<V> {
    let map = |_: &mut (), at: usize, row, piece: &Range<usize>, values: [&[T]; 1], out: &mut [T]| {
        isa.run(Map { formula: NormalizeRow, row, elements: elements.of(first + at, piece), values, out });
    };
    reduce_and_map([x], y, task([x]), |_, _, [x]| leaf(x), of, || (), map, |_, _| ()).0
}

/// Rows of x and dy, or of x and t, and what their sums are made of.
#[derive(Clone, Copy)]
pub(crate) struct Summed<'r> {
    /// The number of the first row among all.
    pub first: usize,
    /// Of each row here.
    pub numbers: &'r [RowNumbers],
    /// What dy is multiplied by.
    pub weights: Elements<'r, 1>,
    /// What is taken off a row, from its sums: two means.
    pub means: &'r (dyn Fn(GradientSums) -> [f64; 2] + Sync),
}

impl Summed<'_> {
    fn reduce<T: Element>(&self, isa: Isa, at: usize, piece: &Range<usize>, values: [&[T]; 2]) -> GradientSums {
        let [weights] = self.weights.of(self.first + at, piece);
        let [dy, dy_xhat] = isa.run(Sums { row: self.numbers[at], weights, values });
        GradientSums { dy, dy_xhat }
    }

    fn numbers(&self, at: usize, sums: GradientSums) -> [f64; 5] {
        let ([mean, inverse, lag], [offset, turn]) = (self.numbers[at], (self.means)(sums));
        [mean, inverse, lag, offset, turn]
    }
}

/// A formula by sums over the row: x and dy, or x and t, to dx, or y'.
pub(crate) fn by_sums<T: Element, F: RowFormula<2, 5, E>, const E: usize>(
    isa: Isa,
    formula: F,
    summed: Summed,
    elements: Elements<E>,
    arrays: [&Readable<T>; 2],
    out: &mut Writable<T>,
) {
    let reduce = |at: usize, piece: &Range<usize>, values: [&[T]; 2]| summed.reduce(isa, at, piece, values);
    let map = |_: &mut (), at: usize, row, piece: &Range<usize>, values: [&[T]; 2], out: &mut [T]| {
        isa.run(Map { formula, row, elements: elements.of(summed.first + at, piece), values, out });
    };
    let numbers = |at: usize, sums| summed.numbers(at, sums);
    reduce_and_map(arrays, out, task(arrays), reduce, numbers, || (), map, |_, _| ());
}

/// dx of all rows, and the [`parameter_sums`] of rows that a cache still holds.
pub(crate) fn gradients<T: Element>(
    isa: Isa,
    summed: Summed,
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
) -> [Vec<f64>; 2] {
    let &Geometry { channels, count, .. } = arrays[0].geometry();
    let reduce = |at: usize, piece: &Range<usize>, values: [&[T]; 2]| summed.reduce(isa, at, piece, values);
    let map = |sums: &mut ParameterSums, at: usize, row, piece: &Range<usize>, values: [&[T]; 2], out: &mut [T]| {
        isa.run(Map { formula: RowGradient, row, elements: summed.weights.of(at, piece), values, out });
        sums.add(isa, at, summed.numbers[at], piece, values);
    };
    let numbers = |at: usize, sums| summed.numbers(at, sums);
    let period = summed.weights.period;
    let block = channels.div_ceil(blocks(channels, count, period));
    let begin = || ParameterSums::new(period, 0..count);
    let (_, all) = reduce_and_map(arrays, dx, block, reduce, numbers, begin, map, ParameterSums::done);
    ParameterSums::joined(all.into_iter().map(ParameterSums::finished))
}

/// Sums over rows of dy and dy xhat, of each element of `period` rows. All parts have as many rows.
pub(crate) fn parameter_sums<T: Element>(
    isa: Isa,
    parts: &[[&Readable<T>; 2]],
    rows: &[RowNumbers],
    period: usize,
) -> [Vec<f64>; 2] {
    let &Geometry { channels: each, count, .. } = parts[0][0].geometry();
    let (together, total) = (together(parts[0]), rows.len());
    let block = total.div_ceil(blocks(total, count, period));
    let threads = parallel::threads_for(total * count);
    // Columns are cut where blocks alone are too few for the threads.
    let wanted = if threads > 1 { (4 * threads).div_ceil(total.div_ceil(block)) } else { 1 };
    let width = count.div_ceil(wanted).next_multiple_of(CHUNK).min(count);
    let grid = Grid { channels: total, block, count, range: width };
    let task = |tiles: &mut Tiles<T, 2>, number: usize| {
        let (block, columns) = grid.cell(number);
        let mut sums = ParameterSums::new(period, columns.clone());
        let mut row = block.start;
        while row < block.end {
            let (part, at) = (row / each, row % each);
            // Not over the end of a part, nor over a place where the fresh ones go to the total.
            let local = at..each.min(at + together.min(block.end - row).min(sums.until_flushed()));
            for piece in pieces(columns.clone()) {
                let values = tiles.load(part, parts[part], &local, &piece);
                for at in 0..local.len() {
                    let values = values.each_ref().map(|rows| rows[at]);
                    sums.add(isa, row + at, rows[row + at], &piece, values);
                }
            }
            sums.done(local.len());
            row += local.len();
        }
        sums.finished()
    };
    let mut all = parallel::map(grid.cells(), threads, Tiles::new, task).into_iter();
    // Cells are numbered with the block fastest.
    let mut joined: [Vec<f64>; 2] = std::array::from_fn(|_| vec![0.0; period * count]);
    for columns in (0..count).step_by(width) {
        let columns = columns..(columns + width).min(count);
        let of = ParameterSums::joined(all.by_ref().take(total.div_ceil(block)));
        for (joined, of) in joined.iter_mut().zip(of) {
            for (row, of) in joined.chunks_mut(count).zip(of.chunks(columns.len())) {
                row[columns.clone()].copy_from_slice(of);
            }
        }
    }
    joined
}

/// Sums of dy and dy xhat of each element in some columns over the rows of a block.
struct ParameterSums {
    total: [Vec<f64>; 2],
    /// Of the rows since the last flush.
    fresh: [Vec<f64>; 2],
    rows: usize,
    period: usize,
    columns: Range<usize>,
}

impl ParameterSums {
    fn new(period: usize, columns: Range<usize>) -> Self {
        let zeros = || std::array::from_fn(|_| vec![0.0; period * columns.len()]);
        ParameterSums { total: zeros(), fresh: zeros(), rows: 0, period, columns }
    }

    fn add<T: Element>(&mut self, isa: Isa, number: usize, row: RowNumbers, piece: &Range<usize>, values: [&[T]; 2]) {
        let first = number % self.period * self.columns.len() + piece.start - self.columns.start;
        let sums = self.fresh.each_mut().map(|sums| &mut sums[first..][..piece.len()]);
        isa.run(Add { row, values, sums });
    }

    /// Rows until the fresh ones go to the total.
    fn until_flushed(&self) -> usize {
        FLUSH * self.period - self.rows
    }

    fn done(&mut self, rows: usize) {
        self.rows += rows;
        if self.until_flushed() == 0 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (total, fresh) in self.total.iter_mut().zip(&mut self.fresh) {
            total.iter_mut().zip(&*fresh).for_each(|(total, fresh)| *total += fresh);
            fresh.fill(0.0);
        }
        self.rows = 0;
    }

    fn finished(mut self) -> [Vec<f64>; 2] {
        self.flush();
        self.total
    }

    /// The totals of all blocks, in order.
    fn joined(all: impl Iterator<Item = [Vec<f64>; 2]>) -> [Vec<f64>; 2] {
        let joined = all.reduce(|mut left, right| {
            for (left, right) in left.iter_mut().zip(&right) {
                left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            }
            left
        });
        joined.expect("at least one block")
    }
}
