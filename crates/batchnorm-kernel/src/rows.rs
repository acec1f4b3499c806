//! Rows that have parameters of each element: layer norm and its like, and groups of small planes.
//!
//! In pseudo-code, for a row x[0..d] with gamma[0..d] and beta[0..d]:
//!
//! ```text
//! forward:    moments of x, in the tree of `reduce`; numbers of the row from them; y[j] of the numbers, gamma[j], beta[j]
//! backward:   dz[j] = dy[j] f'(z[j]); sums of gamma[j] dz[j] and gamma[j] dz[j] xhat[j], in the same tree; numbers from them; dx[j]
//! parameters: dbeta[j] = sum over rows of dz[j], dgamma[j] = sum over rows of dz[j] xhat[j]:
//!             rows in blocks that follow from the sizes alone, in a block ROWS_A_FLUSH rows at a time, each in order
//!             (whichever columns a task takes)
//! ```
//!
//! Chunks that lie side by side are taken as they are, others are copied to a tile, some rows together, so that memory is
//! read in order where rows are neighbours in it. The bits are the same.

pub mod formulas;
pub mod plain;

use crate::activation::{Activation, with_activation};
use crate::array::geometry::Geometry;
use crate::array::grid::Grid;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::machine::isa::Isa;
use crate::map::TASK_ELEMENTS;
use crate::number::Stored;
use crate::reduce::CHUNK_VALUES;
use crate::reduce::gradients::GradientSums;
use crate::reduce::tree::{Merge, Tree};
use formulas::{
    AddToSums, Elements, GradientBehind, MapPiece, NormalizeRow, RowMeans, RowNumbers, SumPiece, SummedFormula,
};
use std::ops::Range;

/// Rows that are taken together: those of a tile.
pub(crate) const TILE_ROWS: usize = 32;
/// Elements of rows that are taken together where nothing is copied, so that a cache holds them between two looks.
const ROWS_TOGETHER_ELEMENTS: usize = 1 << 15;
/// Rows (of each part of the parameters) that are added up before they go to the total: so errors do not grow with the
/// number of rows.
pub(crate) const ROWS_A_FLUSH: usize = 128;
/// Blocks of rows with totals of their own, at most.
pub(crate) const MAX_BLOCKS: usize = 16;
/// Rows (of each part of the parameters) of a block at least: so totals are small against the rows.
pub(crate) const MIN_BLOCK_ROWS: usize = 64;

/// Copies of pieces of rows, a tile for each array.
struct Tiles<T, const N: usize> {
    tiles: [Vec<T>; N],
    /// The rows and the piece that the tiles hold, of which part.
    held: Option<(usize, Range<usize>, Range<usize>)>,
}

impl<T: Stored, const N: usize> Tiles<T, N> {
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
                tile.resize(TILE_ROWS * CHUNK_VALUES, T::default());
                array.gather_block(rows.clone(), piece.clone(), tile, CHUNK_VALUES);
            }
            tile.chunks(CHUNK_VALUES).take(rows.len()).map(|row| &row[..piece.len()]).collect()
        })
    }
}

fn side_by_side(geometry: &Geometry, piece: &Range<usize>) -> bool {
    geometry.inner().1 == 1 && geometry.left(piece.start) >= piece.len()
}

/// Rows that are taken together: a power of two, so that ROWS_A_FLUSH rows are some of these.
fn together<T: Stored, const N: usize>(arrays: [&Readable<T>; N]) -> usize {
    let copied = arrays.iter().any(|array| array.geometry().inner().1 != 1);
    let fitting = (ROWS_TOGETHER_ELEMENTS / arrays[0].geometry().count).clamp(1, TILE_ROWS);
    if copied { TILE_ROWS } else { 1 << fitting.ilog2() }
}

fn pieces(columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    columns.clone().step_by(CHUNK_VALUES).map(move |start| start..(start + CHUNK_VALUES).min(columns.end))
}

/// Blocks of rows with totals of their own: they depend on the sizes alone.
fn blocks(rows: usize, count: usize, period: usize) -> usize {
    (rows * count / TASK_ELEMENTS).min(MAX_BLOCKS).min(rows / (MIN_BLOCK_ROWS * period)).max(1)
}

/// True where the gradients of rows and of their parameters are worth one pass: there are blocks enough for the threads. (The
/// bits are those of two passes.)
pub fn at_once(machine: &Machine, rows: usize, count: usize, period: usize) -> bool {
    let blocks = blocks(rows, count, period);
    blocks == MAX_BLOCKS || blocks >= machine.crew(rows * count).count()
}

/// Work on each row: a value is reduced of it, numbers are made of the value, and the row is mapped with them.
trait RowTask<T, const N: usize>: Sync {
    type Reduced: Merge;
    type Numbers: Copy;
    /// Left by a thread's share of the rows, beside the output.
    type Left: Send;

    /// Reduces one piece of a row.
    fn reduce(&self, row: usize, piece: &Range<usize>, values: [&[T]; N]) -> Self::Reduced;
    fn numbers(&self, row: usize, reduced: Self::Reduced) -> Self::Numbers;
    fn begin(&self) -> Self::Left;
    /// Maps one piece of a row, by the row's numbers.
    fn map(
        &self,
        left: &mut Self::Left,
        row: (usize, Self::Numbers),
        piece: &Range<usize>,
        values: [&[T]; N],
        out: &mut [T],
    );
    /// So many rows more have been mapped as a whole.
    fn mapped(&self, _: &mut Self::Left, _: usize) {}
}

/// Does a task to all rows, `share` rows on one thread; the reduced values of all rows, and what the shares left, in order.
fn each_row<T: Stored, K: RowTask<T, N>, const N: usize>(
    machine: &Machine,
    task: &K,
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    share: usize,
) -> (Vec<K::Reduced>, Vec<K::Left>) {
    let &Geometry { channels: rows, count, .. } = arrays[0].geometry();
    let together = together(arrays);
    let grid = Grid { channels: rows, block: share, count, range: count };
    let scratch = || (Tiles::<T, N>::new(), Tree::<K::Reduced>::new(), Vec::new());
    let crew = machine.crew(rows * count);
    let cells = Writable::for_each_cell(&mut [out], grid, crew, scratch, |(tiles, tree, result), rows, _, [cell]| {
        let (mut all, mut left) = (Vec::with_capacity(rows.len()), task.begin());
        for start in rows.clone().step_by(together) {
            let block = start..(start + together).min(rows.end);
            for piece in pieces(0..count) {
                let values = tiles.load(0, arrays, &block, &piece);
                let mut leaf = tree.leaf();
                leaf.extend(block.clone().enumerate().map(|(at, row)| {
                    let values = values.each_ref().map(|rows| rows[at]);
                    task.reduce(row, &piece, values)
                }));
                tree.push(leaf);
            }
            let reduced = tree.finish().expect("at least one piece");
            let numbers: Vec<_> = block.clone().zip(&reduced).map(|(row, &value)| task.numbers(row, value)).collect();
            for piece in pieces(0..count) {
                let values = tiles.load(0, arrays, &block, &piece);
                let values = |at: usize| values.each_ref().map(|rows| rows[at]);
                if side_by_side(cell.geometry(), &piece) {
                    let outs = cell.runs(block.clone(), piece.start, piece.len());
                    for (at, (row, out)) in block.clone().zip(outs).enumerate() {
                        task.map(&mut left, (row, numbers[at]), &piece, values(at), out);
                    }
                } else {
                    // The output's rows are scattered in memory: each piece is computed in a scratch first.
                    result.resize(CHUNK_VALUES, T::default());
                    for (at, row) in block.clone().enumerate() {
                        let out = &mut result[..piece.len()];
                        task.map(&mut left, (row, numbers[at]), &piece, values(at), out);
                        cell.scatter(row, piece.clone(), out);
                    }
                }
            }
            task.mapped(&mut left, block.len());
            all.extend(reduced);
        }
        (all, left)
    });
    let (values, left): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    (values.into_iter().flatten().collect(), left)
}

/// Rows a task, where no result depends on it.
fn share<T: Stored, const N: usize>(arrays: [&Readable<T>; N]) -> usize {
    let &Geometry { channels, count, .. } = arrays[0].geometry();
    let together = together(arrays);
    (TASK_ELEMENTS / count).clamp(together, channels.max(together))
}

/// The forward pass of rows by what is reduced of each.
struct Normalizing<'p, R, C> {
    isa: Isa,
    scaling: Scaling<'p>,
    reduce: R,
    numbers: C,
}

impl<T, V, R, C> RowTask<T, 1> for Normalizing<'_, R, C>
where
    T: Stored,
    V: Merge,
    R: Fn(&[T]) -> V + Sync,
    C: Fn(usize, V) -> RowNumbers + Sync,
{
    type Reduced = V;
    type Numbers = RowNumbers;
    type Left = ();

    fn reduce(&self, _: usize, _: &Range<usize>, [x]: [&[T]; 1]) -> V {
        (self.reduce)(x)
    }
    fn numbers(&self, row: usize, reduced: V) -> RowNumbers {
        (self.numbers)(row, reduced)
    }
    fn begin(&self) {}
    fn map(
        &self,
        _: &mut (),
        (row, numbers): (usize, RowNumbers),
        piece: &Range<usize>,
        values: [&[T]; 1],
        out: &mut [T],
    ) {
        let (row, elements) = (numbers.in_order(), self.scaling.of(row, piece));
        with_activation!(self.scaling.activation, |f| {
            self.isa.run(MapPiece { formula: NormalizeRow(f), row, elements, values, out })
        });
    }
}

/// The forward pass: rows by the numbers that `numbers` makes of a piece's values reduced by `reduce`.
pub(crate) fn normalize<T: Stored, V: Merge>(
    machine: &Machine,
    scaling: Scaling,
    x: &Readable<T>,
    y: &mut Writable<T>,
    reduce: impl Fn(&[T]) -> V + Sync,
    numbers: impl Fn(usize, V) -> RowNumbers + Sync,
) -> Vec<V> {
    each_row(machine, &Normalizing { isa: machine.isa, scaling, reduce, numbers }, [x], y, share([x])).0
}

/// What rows make of xhat: y = f(z), z = gamma xhat + beta.
#[derive(Clone, Copy)]
pub struct Scaling<'e> {
    /// f.
    pub activation: Activation,
    /// The number of the first row among all.
    pub first: usize,
    /// gamma and beta.
    pub elements: Elements<'e, 2>,
}

impl<'e> Scaling<'e> {
    /// gamma and beta of a piece of a row.
    fn of(&self, row: usize, piece: &Range<usize>) -> [&'e [f64]; 2] {
        self.elements.of(self.first + row, piece)
    }
}

/// Rows of x and dy, or of x and t, and what their sums are made of.
#[derive(Clone, Copy)]
pub struct Summed<'r> {
    /// What the forward pass made of xhat.
    pub scaling: Scaling<'r>,
    /// Numbers of each row here.
    pub numbers: &'r [RowNumbers],
    /// From the sums of a row to what is taken off it.
    pub means: &'r (dyn Fn(GradientSums) -> RowMeans + Sync),
}

impl Summed<'_> {
    fn reduce<T: Stored>(&self, isa: Isa, row: usize, piece: &Range<usize>, values: [&[T]; 2]) -> GradientSums {
        let (row, elements) = (self.numbers[row], self.scaling.of(row, piece));
        let [dy, dy_xhat] =
            with_activation!(self.scaling.activation, |f| isa.run(SumPiece { activation: f, row, elements, values }));
        GradientSums { dy, dy_xhat }
    }

    /// A row's numbers and means, as the formulas take them.
    fn numbers(&self, row: usize, sums: GradientSums) -> [f64; 5] {
        let ([mean, inverse, xhat_low], means) = (self.numbers[row].in_order(), (self.means)(sums));
        [mean, inverse, xhat_low, means.offset, means.xhat_factor]
    }
}

/// A formula by sums over the row, and what it takes.
struct BySums<'r, F, const E: usize> {
    isa: Isa,
    formula: F,
    summed: Summed<'r>,
    elements: Elements<'r, E>,
}

impl<T: Stored, F: SummedFormula<E>, const E: usize> RowTask<T, 2> for BySums<'_, F, E> {
    type Reduced = GradientSums;
    type Numbers = [f64; 5];
    type Left = ();

    fn reduce(&self, row: usize, piece: &Range<usize>, values: [&[T]; 2]) -> GradientSums {
        self.summed.reduce(self.isa, row, piece, values)
    }
    fn numbers(&self, row: usize, sums: GradientSums) -> [f64; 5] {
        self.summed.numbers(row, sums)
    }
    fn begin(&self) {}
    fn map(
        &self,
        _: &mut (),
        (row, numbers): (usize, [f64; 5]),
        piece: &Range<usize>,
        values: [&[T]; 2],
        out: &mut [T],
    ) {
        let elements = self.elements.of(self.summed.scaling.first + row, piece);
        self.formula.map(self.isa, numbers, elements, values, out);
    }
}

/// A formula by sums over the row: x and dy, or x and t, to dx, or y'.
pub(crate) fn by_sums<T: Stored, F: SummedFormula<E>, const E: usize>(
    machine: &Machine,
    formula: F,
    summed: Summed,
    elements: Elements<E>,
    arrays: [&Readable<T>; 2],
    out: &mut Writable<T>,
) {
    each_row(machine, &BySums { isa: machine.isa, formula, summed, elements }, arrays, out, share(arrays));
}

/// dx, and the sums over rows while a cache still holds them.
struct Gradients<'r> {
    isa: Isa,
    summed: Summed<'r>,
    count: usize,
}

impl<T: Stored> RowTask<T, 2> for Gradients<'_> {
    type Reduced = GradientSums;
    type Numbers = [f64; 5];
    type Left = ParameterSums;

    fn reduce(&self, row: usize, piece: &Range<usize>, values: [&[T]; 2]) -> GradientSums {
        self.summed.reduce(self.isa, row, piece, values)
    }
    fn numbers(&self, row: usize, sums: GradientSums) -> [f64; 5] {
        self.summed.numbers(row, sums)
    }
    fn begin(&self) -> ParameterSums {
        ParameterSums::new(self.summed.scaling.elements.period, 0..self.count)
    }
    fn map(
        &self,
        sums: &mut ParameterSums,
        (row, numbers): (usize, [f64; 5]),
        piece: &Range<usize>,
        values: [&[T]; 2],
        out: &mut [T],
    ) {
        let (scaling, elements) = (self.summed.scaling, self.summed.scaling.of(row, piece));
        GradientBehind(scaling.activation).map(self.isa, numbers, elements, values, out);
        sums.add(self.isa, row, &self.summed, piece, values);
    }
    fn mapped(&self, sums: &mut ParameterSums, rows: usize) {
        sums.done(rows);
    }
}

/// dx of all rows, and the [`parameter_sums`] of rows that a cache still holds.
pub(crate) fn gradients<T: Stored>(
    machine: &Machine,
    summed: Summed,
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
) -> [Vec<f64>; 2] {
    let &Geometry { channels, count, .. } = arrays[0].geometry();
    // The blocks of `parameter_sums`, whose order of summation this is.
    let block = channels.div_ceil(blocks(channels, count, summed.scaling.elements.period));
    let (_, sums) = each_row(machine, &Gradients { isa: machine.isa, summed, count }, arrays, dx, block);
    ParameterSums::joined(sums.into_iter().map(ParameterSums::finished))
}

/// Sums over rows of dz and dz xhat, of each element of `period` rows. All parts have as many rows.
pub(crate) fn parameter_sums<T: Stored>(
    machine: &Machine,
    parts: &[[&Readable<T>; 2]],
    summed: Summed,
) -> [Vec<f64>; 2] {
    let period = summed.scaling.elements.period;
    let &Geometry { channels: each, count, .. } = parts[0][0].geometry();
    let (together, total) = (together(parts[0]), summed.numbers.len());
    let block = total.div_ceil(blocks(total, count, period));
    let crew = machine.crew(total * count);
    // Columns are cut where blocks alone are too few for the threads.
    let wanted = if crew.count() > 1 { (4 * crew.count()).div_ceil(total.div_ceil(block)) } else { 1 };
    let width = count.div_ceil(wanted).next_multiple_of(CHUNK_VALUES).min(count);
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
                    sums.add(machine.isa, row + at, &summed, &piece, values);
                }
            }
            sums.done(local.len());
            row += local.len();
        }
        sums.finished()
    };
    let mut all = crew.map(grid.cells(), Tiles::new, task).into_iter();
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

/// Sums of dz and dz xhat of each element in some columns over the rows of a block.
struct ParameterSums {
    total: [Vec<f64>; 2],
    /// Sums of the rows since the last flush.
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

    fn add<T: Stored>(&mut self, isa: Isa, number: usize, of: &Summed, piece: &Range<usize>, values: [&[T]; 2]) {
        let (row, elements) = (of.numbers[number], of.scaling.of(number, piece));
        let first = number % self.period * self.columns.len() + piece.start - self.columns.start;
        let sums = self.fresh.each_mut().map(|sums| &mut sums[first..][..piece.len()]);
        with_activation!(of.scaling.activation, |f| isa.run(AddToSums { activation: f, row, elements, values, sums }));
    }

    /// Rows until the fresh ones go to the total.
    fn until_flushed(&self) -> usize {
        ROWS_A_FLUSH * self.period - self.rows
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
