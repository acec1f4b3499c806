//! Rows that have parameters of each element: layer norm and its like, and groups of small planes.
//!
//! In pseudo-code, for a row x[0..d] with gamma[0..d] and beta[0..d]:
//!
//! ```text
//! forward:    moments of x, in the tree of `reduce`; numbers of the row from them; y[j] of the numbers, gamma[j], beta[j]
//! backward:   sums of w[j] dy[j] and w[j] dy[j] xhat[j], in the same tree; numbers from them; dx[j]
//! parameters: dbeta[j] = sum over rows of dy[j], dgamma[j] = sum over rows of dy[j] xhat[j]:
//!             rows in blocks that follow from the sizes alone, in a block FLUSH rows at a time, each in order
//! ```
//!
//! Chunks that lie side by side are taken as they are, others are copied to a tile, some rows together, so that memory is
//! read in order where rows are neighbours in it. The bits are the same.

#![allow(clippy::needless_range_loop)]

use super::grid::Grid;
use super::leaves::GradientSums;
use super::map::TASK;
use super::raw::{Isa, Kernel, Readable, Writable};
use super::reduce::CHUNK;
use super::sums::{LANES, fold};
use super::tree::{Merge, Tree};
use super::vector::{Vector, WIDTH, in_groups, load_all, load_last, load_pair, splat_all};
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

/// The numbers of a row that give xhat = (x - mean) * inverse - lag: mean, inverse, lag.
pub(crate) type RowNumbers = [f64; 3];

/// Parameters of each element of a row, in vectors of `period` rows each: row r has row r mod period of them.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'e, const E: usize> {
    pub vectors: [&'e [f64]; E],
    pub period: usize,
}

impl<'e, const E: usize> Elements<'e, E> {
    pub fn of(&self, row: usize, part: &Range<usize>) -> [&'e [f64]; E] {
        self.vectors.map(|vector| {
            let first = row % self.period * (vector.len() / self.period);
            &vector[first + part.start..first + part.end]
        })
    }
}

/// A formula of `N` values at one place, `K` numbers of their row and `E` of their element.
pub(crate) trait RowFormula<const N: usize, const K: usize, const E: usize>: Copy + Send + Sync {
    fn apply<V: Vector>(self, row: [V; K], element: [V; E], values: [V; N]) -> V;
}

#[inline(always)]
fn normalized<V: Vector>(x: V, [mean, inverse, lag]: [V; 3]) -> V {
    x.sub(mean).mul(inverse).sub(lag)
}

/// y = xhat * gamma + beta. Row: mean, inverse, lag; element: gamma, beta.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeRow;

impl RowFormula<1, 3, 2> for NormalizeRow {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 3], [gamma, beta]: [V; 2], [x]: [V; 1]) -> V {
        normalized(x, row).mul(gamma).add(beta)
    }
}

/// dx = inverse * ((gamma * dy - mean of that) - xhat * mean of that times xhat). Row: mean, inverse, lag, and the two
/// means; element: gamma.
#[derive(Clone, Copy)]
pub(crate) struct RowGradient;

impl RowFormula<2, 5, 1> for RowGradient {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 5], [gamma]: [V; 1], [x, dy]: [V; 2]) -> V {
        let [mean, inverse, lag, offset, turn] = row;
        let xhat = normalized(x, [mean, inverse, lag]);
        inverse.mul(gamma.mul(dy).sub(offset).sub(xhat.mul(turn)))
    }
}

/// y' = gamma * inverse * ((t - mean t) - xhat * mean of t xhat) + gamma' * xhat + beta'. Row: mean, inverse, lag, and the
/// two means; element: gamma, gamma', beta'.
#[derive(Clone, Copy)]
pub(crate) struct RowTangent;

impl RowFormula<2, 5, 3> for RowTangent {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 5], [gamma, gamma_t, beta_t]: [V; 3], [x, t]: [V; 2]) -> V {
        let [mean, inverse, lag, offset, turn] = row;
        let xhat = normalized(x, [mean, inverse, lag]);
        let own = inverse.mul(t.sub(offset).sub(xhat.mul(turn))).mul(gamma);
        own.add(xhat.mul(gamma_t)).add(beta_t)
    }
}

/// A formula over a piece of a row. The output must not be an input: some values are computed twice.
struct Map<'v, F, T, const N: usize, const K: usize, const E: usize> {
    formula: F,
    row: [f64; K],
    elements: [&'v [f64]; E],
    values: [&'v [T]; N],
    out: &'v mut [T],
}

impl<F, T, const N: usize, const K: usize, const E: usize> Kernel<()> for Map<'_, F, T, N, K, E>
where
    F: RowFormula<N, K, E>,
    T: Element,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Map { formula, row, elements, values, out } = self;
        let (row, len) = (splat_all::<V, K>(row), out.len());
        let whole = len / WIDTH;
        let (from, of) = (in_groups::<T, N, WIDTH>(values, 0, whole), in_groups::<f64, E, WIDTH>(elements, 0, whole));
        for (group, to) in out.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let (mut loaded, mut element) = ([V::splat(0.0); N], [V::splat(0.0); E]);
            for n in 0..N {
                loaded[n] = T::load(&from[n][group]);
            }
            for e in 0..E {
                element[e] = V::from_f64(&of[e][group]);
            }
            T::store(formula.apply(row, element, loaded), to, false);
        }
        let at = whole * WIDTH;
        if at < len {
            let element = load_last::<V, f64, E>(elements, at);
            let mut result = [T::default(); WIDTH];
            T::store(formula.apply(row, element, load_last::<V, T, N>(values, at)), &mut result, false);
            out[at..].copy_from_slice(&result[..len - at]);
        }
    }
}

/// The sums of w dy and w dy xhat of a chunk of a row, in the lanes of [`sums`](super::sums).
struct Sums<'v, T> {
    row: RowNumbers,
    weights: &'v [f64],
    values: [&'v [T]; 2],
}

#[inline(always)]
fn terms<V: Vector>(row: [V; 3], weight: V, [x, dy]: [V; 2]) -> [V; 2] {
    let dz = weight.mul(dy);
    [dz, dz.mul(normalized(x, row))]
}

impl<T: Element> Kernel<[f64; 2]> for Sums<'_, T> {
    #[inline(always)]
    fn run<V: Vector>(self) -> [f64; 2] {
        let Sums { row, weights, values } = self;
        let (row, zero, len) = (splat_all::<V, 3>(row), V::splat(0.0), weights.len());
        let (mut even, mut odd) = ([zero; 2], [zero; 2]);
        let whole = len / LANES;
        let (from, of) = (in_groups(values, 0, whole), in_groups([weights], 0, whole));
        for group in 0..whole {
            let [left, right] = load_pair::<V, T, 2>(from, group, [0; 2]);
            let [[of_left], [of_right]] = load_pair::<V, f64, 1>(of, group, [0]);
            let (left, right) = (terms(row, of_left, left), terms(row, of_right, right));
            for s in 0..2 {
                (even[s], odd[s]) = (even[s].add(left[s]), odd[s].add(right[s]));
            }
        }
        let mut at = whole * LANES;
        if at + WIDTH <= len {
            let [weight] = load_all::<V, f64, 1>([weights], at);
            let all = terms(row, weight, load_all::<V, T, 2>(values, at));
            for s in 0..2 {
                even[s] = even[s].add(all[s]);
            }
            at += WIDTH;
        }
        if at < len {
            // Computed in all lanes, added in those that there are.
            let [weight] = load_last::<V, f64, 1>([weights], at);
            let all = terms(row, weight, load_last::<V, T, 2>(values, at));
            let numbers = V::from_f64(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
            let last = V::splat((len - at) as f64 - 1.0);
            let lanes = if at.is_multiple_of(LANES) { &mut even } else { &mut odd };
            for s in 0..2 {
                lanes[s] = lanes[s].add(numbers.select_le(last, all[s], zero));
            }
        }
        [fold(even[0].add(odd[0])), fold(even[1].add(odd[1]))]
    }
}

/// dy and dy xhat of a piece of a row, added to the sums of each element.
struct Add<'v, T> {
    row: RowNumbers,
    values: [&'v [T]; 2],
    sums: [&'v mut [f64]; 2],
}

impl<T: Element> Kernel<()> for Add<'_, T> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Add { row, values, sums: [dy_sums, product_sums] } = self;
        let (row, one, len) = (splat_all::<V, 3>(row), V::splat(1.0), dy_sums.len());
        let whole = len / WIDTH;
        let from = in_groups::<T, 2, WIDTH>(values, 0, whole);
        let to = dy_sums.as_chunks_mut::<WIDTH>().0.iter_mut().zip(product_sums.as_chunks_mut::<WIDTH>().0);
        for (group, (dy_sums, product_sums)) in to.enumerate() {
            let [dy, product] = terms(row, one, [T::load(&from[0][group]), T::load(&from[1][group])]);
            V::from_f64(dy_sums).add(dy).to_f64(dy_sums);
            V::from_f64(product_sums).add(product).to_f64(product_sums);
        }
        let at = whole * WIDTH;
        if at < len {
            let all = terms(row, one, load_last::<V, T, 2>(values, at));
            for (sums, all) in [dy_sums, product_sums].into_iter().zip(all) {
                let mut lanes = [0.0; WIDTH];
                all.to_f64(&mut lanes);
                sums[at..].iter_mut().zip(lanes).for_each(|(sum, term)| *sum += term);
            }
        }
    }
}

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

/// Rows of a block with a total of its own: it depends on the sizes alone.
fn block_of(rows: usize, count: usize) -> usize {
    rows.div_ceil((rows * count).div_ceil(TASK).min(BLOCKS))
}

fn pieces(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(count))
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
                for piece in pieces(count) {
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
                for piece in pieces(count) {
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
    let begin = || ParameterSums::new(summed.weights.period, count);
    let (_, all) =
        reduce_and_map(arrays, dx, block_of(channels, count), reduce, numbers, begin, map, ParameterSums::done);
    ParameterSums::joined(all)
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
    let block = block_of(total, count);
    let task = |tiles: &mut Tiles<T, 2>, number: usize| {
        let end = ((number + 1) * block).min(total);
        let mut sums = ParameterSums::new(period, count);
        let mut row = number * block;
        while row < end {
            let (part, at) = (row / each, row % each);
            // Not over the end of a part, nor over a place where the fresh ones go to the total.
            let local = at..each.min(at + together.min(end - row).min(sums.until_flushed()));
            for piece in pieces(count) {
                let values = tiles.load(part, parts[part], &local, &piece);
                for at in 0..local.len() {
                    let values = values.each_ref().map(|rows| rows[at]);
                    sums.add(isa, row + at, rows[row + at], &piece, values);
                }
            }
            sums.done(local.len());
            row += local.len();
        }
        sums
    };
    let threads = parallel::threads_for(total * count);
    ParameterSums::joined(parallel::map(total.div_ceil(block), threads, Tiles::new, task))
}

/// Sums of dy and dy xhat of each element over the rows of a block.
struct ParameterSums {
    total: [Vec<f64>; 2],
    /// Of the rows since the last flush.
    fresh: [Vec<f64>; 2],
    rows: usize,
    period: usize,
    count: usize,
}

impl ParameterSums {
    fn new(period: usize, count: usize) -> Self {
        let zeros = || std::array::from_fn(|_| vec![0.0; period * count]);
        ParameterSums { total: zeros(), fresh: zeros(), rows: 0, period, count }
    }

    fn add<T: Element>(&mut self, isa: Isa, number: usize, row: RowNumbers, piece: &Range<usize>, values: [&[T]; 2]) {
        let first = number % self.period * self.count;
        let sums = self.fresh.each_mut().map(|sums| &mut sums[first + piece.start..first + piece.end]);
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

    /// All blocks, in order.
    fn joined(all: Vec<ParameterSums>) -> [Vec<f64>; 2] {
        let totals = all.into_iter().map(|mut sums| {
            sums.flush();
            sums.total
        });
        let joined = totals.reduce(|mut left, right| {
            for (left, right) in left.iter_mut().zip(&right) {
                left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            }
            left
        });
        joined.expect("at least one block")
    }
}
