//! Maps over one of their own inputs: what is read at a place is overwritten there.
//!
//! The loops of `pointwise` compute some values twice, so they cannot do this. Here every value is computed once, and a
//! vector is read whole before it is written, so nothing is copied where values lie side by side. The bits are those of
//! the ordinary map, and so are the traversals (`map`); nothing is streamed, for what was just read is in the cache.

#![allow(clippy::needless_range_loop)]

use super::coefficients::{Coefficients, Widened};
use super::formulas::{InOrder, Pointwise};
use super::loops::{MIN_ALIGNED_RUN, eight_mut};
use super::{MapTraversal, blocks, from_the_end, traversal};
use crate::array::memory::{Cell, Readable, Writable};
use crate::array::prefetch_distance::{DistancesOfTwoPasses, PREFETCH_BYTES};
use crate::lanes::{eight, in_groups, load_all, load_last, load_pair};
use crate::machine::isa::{Isa, Kernel};
use crate::machine::prefetch::{elements_to_line, prefetch};
use crate::machine::vector::{PAIR, Vector, WIDTH, splat_all};
use crate::number::Stored;
use crate::reduce::leaf::ChunkReduction;
use crate::reduce::{CHUNK_VALUES, Scratch, SumTraversal, reduce};
use crate::threads;
use std::ops::Range;

/// A formula of two values, the second of which is the output's own, which comes first here.
#[derive(Clone, Copy)]
pub(crate) struct OwnSecond<P>(pub P);

impl<P: Pointwise<2, K, 1>, const K: usize> Pointwise<2, K, 1> for OwnSecond<P> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; K], [own, other]: [V; 2]) -> [V; 1] {
        self.0.apply(coefficients, [other, own])
    }
}

/// `own = formula(coefficients of the channel, [own, others])` for every element; `N` is one more than `M`.
pub(crate) fn map_in_place<T: Stored, P: Pointwise<N, K, 1>, const N: usize, const M: usize, const K: usize>(
    isa: Isa,
    formula: P,
    others: [&Readable<T>; M],
    own: &mut Writable<T>,
    coefficients: Coefficients<K>,
) {
    const { assert!(N == M + 1) };
    let (channels, count) = (own.geometry().channels, own.geometry().count);
    if count == 0 {
        return;
    }
    let threads = threads::threads_for(channels * count);
    let traversal = traversal(others, [own.geometry()]);
    let grid = traversal.grid::<T>(own.geometry());
    match traversal {
        // NCHW: a channel's coefficients stay in registers for a whole run.
        MapTraversal::Runs => {
            let distances = (PREFETCH_BYTES / size_of::<T>()) as isize;
            Writable::for_each_cell(
                &mut [own],
                grid,
                threads,
                || (),
                |(), channels, range, [cell]| {
                    let all: Vec<_> = channels.clone().map(|channel| coefficients.of(channel)).collect();
                    map_runs(isa, formula, others, ([distances; N], count), cell, channels, range, &all);
                },
            );
        }
        // NHWC, N x C: coefficients are read beside the values.
        MapTraversal::Rows => {
            let wide = coefficients.widened(own.elements_to_line() % WIDTH);
            Writable::for_each_cell(
                &mut [own],
                grid,
                threads,
                || (),
                |(), _, range, [cell]| {
                    let others = others.map(|array| array.rows(range.clone()));
                    isa.run(InPlaceRows::<T, P, N, M, K> { formula, coefficients: &wide, others, own: cell.rows() });
                },
            );
        }
        // Any strides: a block is copied to tiles, mapped there channel by channel, and copied back.
        MapTraversal::Tiles => {
            let pitch = count.min(CHUNK_VALUES);
            let tile = || vec![T::default(); grid.block * pitch];
            let scratch = || (tile(), std::array::from_fn(|_| tile()));
            Writable::for_each_cell(
                &mut [own],
                grid,
                threads,
                scratch,
                |scratch: &mut (Vec<T>, [Vec<T>; M]), block, range, [cell]| {
                    let (own, tiles) = scratch;
                    cell.as_readable().gather_block(block.clone(), range.clone(), own, pitch);
                    for (array, tile) in others.iter().zip(tiles.iter_mut()) {
                        array.gather_block(block.clone(), range.clone(), tile, pitch);
                    }
                    for (row, channel) in block.enumerate() {
                        let at = row * pitch..row * pitch + range.len();
                        let (own, others) = (&mut own[at.clone()], tiles.each_ref().map(|tile| &tile[at.clone()]));
                        let (coefficients, distances) = (coefficients.of(channel), [0; N]);
                        isa.run(InPlaceRun::<T, P, N, M, K> {
                            formula,
                            coefficients,
                            others,
                            distances,
                            own: &mut *own,
                        });
                        cell.scatter(channel, range.clone(), own);
                    }
                },
            );
        }
    }
}

/// A block of channels that lie in runs, in the order of `map::map_runs`.
#[allow(clippy::too_many_arguments)]
fn map_runs<T: Stored, P: Pointwise<N, K, 1>, const N: usize, const M: usize, const K: usize>(
    isa: Isa,
    formula: P,
    others: [&Readable<T>; M],
    (distances, until): ([isize; N], usize),
    cell: &mut Cell<T>,
    channels: Range<usize>,
    range: Range<usize>,
    coefficients: &[[f64; K]],
) {
    let length = cell.geometry().inner().0;
    let left = |index| others.iter().map(|array| array.geometry().left(index)).fold(length, usize::min);
    from_the_end(range, length, left, |index, len| {
        let distances = if index < until { distances } else { [0; N] };
        let mut runs = others.map(|array| array.runs(channels.clone(), index, len));
        for (own, &coefficients) in cell.runs(channels.clone(), index, len).zip(coefficients) {
            let others = runs.each_mut().map(|runs| runs.next().expect("as many as of the output"));
            isa.run(InPlaceRun::<T, P, N, M, K> { formula, coefficients, others, distances, own });
        }
    });
}

/// Reduces `[other, own]` of each channel, turns the result into coefficients, and maps own with them. Returns the reduced
/// values.
///
/// As in `map::reduce_and_map`, a block of channels that come in runs is mapped while the cache still holds it, where
/// there are enough of them for the threads; else two sweeps.
pub(crate) fn reduce_and_map_in_place<T, L, P, C, const K: usize>(
    leaf: &L,
    isa: Isa,
    formula: P,
    other: &Readable<T>,
    own: &mut Writable<T>,
    coefficients: impl Fn(usize, L::Value) -> C + Sync + Send,
) -> Vec<L::Value>
where
    T: Stored,
    L: ChunkReduction<T, 2>,
    P: Pointwise<2, K, 1>,
    C: InOrder<K>,
{
    let formula = OwnSecond(formula);
    let (channels, count) = (own.geometry().channels, own.geometry().count);
    let threads = threads::threads_for(channels * count);
    let runs = matches!(traversal([other], [own.geometry()]), MapTraversal::Runs);
    if count == 0 || !runs || (threads > 1 && channels < 2 * threads) {
        return threads::together(threads, || {
            let values = reduce([other, &own.as_readable()], leaf);
            let all = Coefficients::new(values.len(), |channel| coefficients(channel, values[channel]));
            map_in_place(isa, formula, [other], own, all);
            values
        });
    }
    let (block, grid) = blocks([other, &own.as_readable()], threads);
    let (traversal, geometries) = (SumTraversal::Blocks(block), [other.geometry(), own.geometry()]);
    let distances = DistancesOfTwoPasses::new(geometries, [geometries[1], geometries[0]], block, size_of::<T>());
    let cells = Writable::for_each_cell(
        &mut [own],
        grid,
        threads,
        || Scratch::new(traversal, count),
        |scratch, channels, range, [cell]| {
            let mut all = Vec::with_capacity(channels.len());
            for start in channels.clone().step_by(block) {
                let channels = start..(start + block).min(channels.end);
                let own = cell.as_readable();
                let values =
                    scratch.reduce(traversal, [other, &own], distances.reducing, leaf, channels.clone(), range.clone());
                let of: Vec<_> =
                    channels.clone().zip(&values).map(|(c, &value)| coefficients(c, value).in_order()).collect();
                map_runs(
                    isa,
                    formula,
                    [other],
                    (distances.mapping, distances.until),
                    cell,
                    channels,
                    range.clone(),
                    &of,
                );
                all.extend(values);
            }
            all
        },
    );
    cells.into_iter().flatten().collect()
}

/// Values of one channel.
struct InPlaceRun<'v, T, P, const N: usize, const M: usize, const K: usize> {
    formula: P,
    coefficients: [f64; K],
    others: [&'v [T]; M],
    /// How many elements ahead to prefetch; own comes first.
    distances: [isize; N],
    own: &'v mut [T],
}

impl<T, P, const N: usize, const M: usize, const K: usize> Kernel<()> for InPlaceRun<'_, T, P, N, M, K>
where
    T: Stored,
    P: Pointwise<N, K, 1>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let InPlaceRun { formula, coefficients, others, distances, own } = self;
        let (len, coefficients) = (own.len(), splat_all::<V, K>(coefficients));
        let head = if len >= MIN_ALIGNED_RUN { elements_to_line(own.as_ptr()) } else { 0 };
        // Two vectors a round.
        let pairs = own[head..].as_chunks_mut::<PAIR>().0;
        let from = in_groups::<T, M, PAIR>(others, head, pairs.len());
        let (own_distance, other_distances) = (distances[0], std::array::from_fn(|m| distances[m + 1]));
        for pair in 0..pairs.len() {
            let own = &mut pairs[pair];
            prefetch(own.as_ptr().wrapping_offset(own_distance), PAIR);
            let (mut left, mut right) = ([T::load(eight(own)); N], [T::load(eight(&own[WIDTH..])); N]);
            let both = load_pair::<V, T, M>(from, pair, other_distances);
            left[1..].copy_from_slice(&both[0]);
            right[1..].copy_from_slice(&both[1]);
            let ([left], [right]) = (formula.apply(coefficients, left), formula.apply(coefficients, right));
            T::store(left, eight_mut(own), false);
            T::store(right, eight_mut(&mut own[WIDTH..]), false);
        }
        for few in around(head, head + pairs.len() * PAIR, len) {
            some::<V, T, P, N, M, K>(formula, coefficients, others, own, few);
        }
    }
}

/// Whole rows of all channels, as one array, in vectors that may reach over the end of a row.
struct InPlaceRows<'v, T, P, const N: usize, const M: usize, const K: usize> {
    formula: P,
    coefficients: &'v Widened<K>,
    others: [&'v [T]; M],
    own: &'v mut [T],
}

impl<T, P, const N: usize, const M: usize, const K: usize> Kernel<()> for InPlaceRows<'_, T, P, N, M, K>
where
    T: Stored,
    P: Pointwise<N, K, 1>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let InPlaceRows { formula, coefficients, others, own } = self;
        let (len, (vectors, width)) = (own.len(), coefficients.vectors());
        let head = elements_to_line(own.as_ptr()).min(len);
        let tail = head + (len - head) / WIDTH * WIDTH;
        for few in around(head, tail, len) {
            let coefficients = load_all::<V, f64, K>(vectors, few.start % width);
            some::<V, T, P, N, M, K>(formula, coefficients, others, own, few);
        }
        let (mut at, mut column) = (head, head % width);
        while at < tail {
            // To the end of the row, and over it where no vector ends there.
            let count = (width - column).div_ceil(WIDTH).min((tail - at) / WIDTH);
            let mut coefficients: [&[[f64; WIDTH]]; K] = [&[]; K];
            for k in 0..K {
                coefficients[k] = &vectors[k][column..].as_chunks().0[..count];
            }
            let from = in_groups::<T, M, WIDTH>(others, at, count);
            let to = &mut own[at..].as_chunks_mut().0[..count];
            for vector in 0..count {
                let mut of = [V::splat(0.0); K];
                for k in 0..K {
                    of[k] = V::from_f64(&coefficients[k][vector]);
                }
                let own = &mut to[vector];
                prefetch(own.as_ptr().wrapping_byte_add(PREFETCH_BYTES), WIDTH);
                let mut values = [T::load(own); N];
                for m in 0..M {
                    prefetch(from[m][vector].as_ptr().wrapping_byte_add(PREFETCH_BYTES), WIDTH);
                    values[m + 1] = T::load(&from[m][vector]);
                }
                let [result] = formula.apply(of, values);
                T::store(result, own, false);
            }
            at += count * WIDTH;
            column = (column + count * WIDTH) % width;
        }
    }
}

/// Ranges of at most a vector: in front of the whole lines, and behind them.
fn around(head: usize, tail: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let cut = |part: Range<usize>| part.clone().step_by(WIDTH).map(move |at| at..(at + WIDTH).min(part.end));
    cut(0..head).chain(cut(tail..len))
}

/// At most a vector of values, and no other.
#[inline(always)]
fn some<V: Vector, T: Stored, P: Pointwise<N, K, 1>, const N: usize, const M: usize, const K: usize>(
    formula: P,
    coefficients: [V; K],
    others: [&[T]; M],
    own: &mut [T],
    range: Range<usize>,
) {
    let [first] = load_last::<V, T, 1>([&own[..range.end]], range.start);
    let mut values = [first; N];
    for m in 0..M {
        [values[m + 1]] = load_last::<V, T, 1>([&others[m][..range.end]], range.start);
    }
    let ([vector], mut result) = (formula.apply(coefficients, values), [T::default(); WIDTH]);
    T::store(vector, &mut result, false);
    own[range.clone()].copy_from_slice(&result[..range.len()]);
}
