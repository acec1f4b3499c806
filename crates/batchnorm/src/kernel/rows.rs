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
            let lanes = if at % LANES == 0 { &mut even } else { &mut odd };
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

/// Rows that are taken together of arrays like this.
fn together(geometry: &Geometry) -> usize {
    if geometry.inner().1 == 1 { (NEAR / geometry.count).clamp(1, SIDE) } else { SIDE }
}

fn pieces(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(count))
}

/// Reduces each row, piece by piece, and maps it with what `numbers` makes of the result. Returns the reduced values.
fn reduce_and_map<T: Element, V: Merge, const N: usize, const K: usize>(
    arrays: [&Readable<T>; N],
    out: &mut Writable<T>,
    reduce: impl Fn(usize, &Range<usize>, [&[T]; N]) -> V + Sync + Send,
    numbers: impl Fn(usize, V) -> [f64; K] + Sync + Send,
    map: impl Fn(usize, [f64; K], &Range<usize>, [&[T]; N], &mut [T]) + Sync + Send,
) -> Vec<V> {
    let &Geometry { channels: rows, count, .. } = arrays[0].geometry();
    let together = arrays.iter().map(|array| together(array.geometry())).min().expect("at least one array");
    let grid = Grid { channels: rows, block: (TASK / count).clamp(together, rows.max(together)), count, range: count };
    let scratch = || (Tiles::<T, N>::new(), Tree::<V>::new(), Vec::new());
    let threads = parallel::threads_for(rows * count);
    let cells =
        Writable::for_each_cell(&mut [out], grid, threads, scratch, |(tiles, tree, result), rows, _, [cell]| {
            let mut all = Vec::with_capacity(rows.len());
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
                            map(row, of[at], &piece, values(at), out);
                        }
                    } else {
                        result.resize(CHUNK, T::default());
                        for (at, row) in block.clone().enumerate() {
                            let out = &mut result[..piece.len()];
                            map(row, of[at], &piece, values(at), out);
                            cell.scatter(row, piece.clone(), out);
                        }
                    }
                }
                all.extend(reduced);
            }
            all
        });
    cells.into_iter().flatten().collect()
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
    let map = |at: usize, row, piece: &Range<usize>, values: [&[T]; 1], out: &mut [T]| {
        isa.run(Map { formula: NormalizeRow, row, elements: elements.of(first + at, piece), values, out });
    };
    reduce_and_map([x], y, |_, _, [x]| leaf(x), of, map)
}

/// A formula by sums over the row: x and dy, or x and t, to dx, or y'. `rows` are the numbers of these rows, and the first
/// is number `first` among all; `weights` multiply dy in the sums.
#[allow(clippy::too_many_arguments)] // what a row is, what is summed, what is made of it
pub(crate) fn by_sums<T: Element, F: RowFormula<2, 5, E>, const E: usize>(
    isa: Isa,
    formula: F,
    first: usize,
    arrays: [&Readable<T>; 2],
    out: &mut Writable<T>,
    rows: &[RowNumbers],
    weights: Elements<1>,
    elements: Elements<E>,
    means: impl Fn(GradientSums) -> [f64; 2] + Sync + Send,
) -> Vec<GradientSums> {
    let reduce = |at: usize, piece: &Range<usize>, values: [&[T]; 2]| {
        let [weights] = weights.of(first + at, piece);
        let [dy, dy_xhat] = isa.run(Sums { row: rows[at], weights, values });
        GradientSums { dy, dy_xhat }
    };
    let numbers = |at: usize, sums| {
        let ([mean, inverse, lag], [offset, turn]) = (rows[at], means(sums));
        [mean, inverse, lag, offset, turn]
    };
    let map = |at: usize, row, piece: &Range<usize>, values: [&[T]; 2], out: &mut [T]| {
        isa.run(Map { formula, row, elements: elements.of(first + at, piece), values, out });
    };
    reduce_and_map(arrays, out, reduce, numbers, map)
}

/// Sums over rows of dy and dy xhat, of each element of `period` rows. All parts have as many rows.
pub(crate) fn parameter_sums<T: Element>(
    isa: Isa,
    parts: &[[&Readable<T>; 2]],
    rows: &[RowNumbers],
    period: usize,
) -> [Vec<f64>; 2] {
    let &Geometry { channels: each, count, .. } = parts[0][0].geometry();
    let together = parts[0].iter().map(|array| together(array.geometry())).min().expect("two arrays");
    let total = rows.len();
    // The same blocks whatever the parts.
    let block = total.div_ceil((total * count).div_ceil(TASK).min(BLOCKS));
    let task = |tiles: &mut Tiles<T, 2>, number: usize| {
        let end = ((number + 1) * block).min(total);
        let mut sums: [Vec<f64>; 2] = std::array::from_fn(|_| vec![0.0; period * count]);
        let mut fresh = sums.clone();
        for start in (number * block..end).step_by(FLUSH * period) {
            let until = (start + FLUSH * period).min(end);
            fresh.iter_mut().for_each(|sums| sums.fill(0.0));
            let mut row = start;
            while row < until {
                let (part, at) = (row / each, row % each);
                let local = at..each.min(at + together).min(at + until - row);
                for piece in pieces(count) {
                    let values = tiles.load(part, parts[part], &local, &piece);
                    for at in 0..local.len() {
                        let first = (row + at) % period * count;
                        let sums = fresh.each_mut().map(|sums| &mut sums[first + piece.start..first + piece.end]);
                        let values = values.each_ref().map(|rows| rows[at]);
                        isa.run(Add { row: rows[row + at], values, sums });
                    }
                }
                row += local.len();
            }
            add(&mut sums, &fresh);
        }
        sums
    };
    let all = parallel::map(total.div_ceil(block), parallel::threads_for(total * count), Tiles::new, task);
    let joined = all.into_iter().reduce(|mut left, right| {
        add(&mut left, &right);
        left
    });
    joined.expect("at least one block")
}

fn add(sums: &mut [Vec<f64>; 2], more: &[Vec<f64>; 2]) {
    for (sums, more) in sums.iter_mut().zip(more) {
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
}
