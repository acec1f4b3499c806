//! The loops that compute an output slice from input slices by a formula of one element.

#![allow(clippy::needless_range_loop)]

use super::coefficients::Widened;
use super::formulas::Pointwise;
use crate::array::memory::{Segments, SegmentsMut};
use crate::lanes::{in_groups, load_all, load_last, load_pair};
use crate::machine::isa::{Isa, Kernel};
use crate::machine::prefetch::{elements_to_line, prefetch};
use crate::machine::vector::{PAIR, Vector, WIDTH, splat_all};
use crate::number::Stored;
use std::ops::Range;

/// Bytes of coefficients that a first-level cache holds beside the rows.
pub(crate) const FIRST_LEVEL_BYTES: usize = 24 << 10;
/// Columns that are mapped together where it does not: their coefficients stay there for some rows.
pub(crate) const COLUMNS_A_BLOCK: usize = 256;
/// The rows: few enough for a second-level cache.
pub(crate) const ROWS_A_BLOCK: usize = 8;
/// Values of a run that is worth aligning.
pub(crate) const MIN_ALIGNED_RUN: usize = 128;

/// Values of one channel. The outputs must not be the inputs: some are computed twice.
struct MapRun<'v, T, P, const N: usize, const K: usize, const O: usize> {
    formula: P,
    coefficients: [f64; K],
    values: [&'v [T]; N],
    /// How many elements ahead to prefetch.
    distances: [isize; N],
    outs: [&'v mut [T]; O],
    /// Write past the caches; a fence must follow.
    streamed: bool,
}

impl<T, P, const N: usize, const K: usize, const O: usize> MapRun<'_, T, P, N, K, O>
where
    T: Stored,
    P: Pointwise<N, K, O>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let MapRun { formula, coefficients, values, distances, mut outs, streamed } = self;
        let (len, coefficients) = (outs[0].len(), splat_all::<V, K>(coefficients));
        // Past the caches go whole lines alone: what is before and behind them is written as usual, to the value.
        let head = if streamed || len >= MIN_ALIGNED_RUN { elements_to_line(outs[0].as_ptr()).min(len) } else { 0 };
        // Two vectors a round.
        let pairs = (len - head) / PAIR;
        let tail = head + pairs * PAIR;
        let from = in_groups(values, head, pairs);
        let to = outs.each_mut().map(|out| &mut out[head..].as_chunks_mut::<PAIR>().0[..pairs]);
        for pair in 0..pairs {
            let [left, right] = load_pair::<V, T, N>(from, pair, distances);
            let (left, right) = (formula.apply(coefficients, left), formula.apply(coefficients, right));
            for o in 0..O {
                let to = &mut to[o][pair];
                T::store(left[o], eight_mut(to), streamed);
                T::store(right[o], eight_mut(&mut to[WIDTH..]), streamed);
            }
        }
        if streamed || len < WIDTH {
            edge::<V, T, P, N, K, O>(formula, coefficients, values, &mut outs, 0..head);
            edge::<V, T, P, N, K, O>(formula, coefficients, values, &mut outs, tail..len);
        } else {
            // Whole vectors, some values a second time, are faster than incomplete ones.
            for at in (0..head).step_by(WIDTH).chain((tail..len).step_by(WIDTH)) {
                let at = at.min(len - WIDTH);
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                store_all::<V, T, O>(result, &mut outs, at);
            }
        }
    }
}

/// A run of each of some channels.
pub(crate) struct ChannelRuns<'r, 'v, T, const N: usize, const K: usize, const O: usize> {
    /// The coefficients of each channel.
    pub coefficients: &'r [[f64; K]],
    pub values: [Segments<'v, T>; N],
    /// How many elements ahead to prefetch.
    pub distances: [isize; N],
    /// They must not be the inputs: some values are computed twice.
    pub outs: [SegmentsMut<'v, T>; O],
    /// Write past the caches; a fence must follow.
    pub streamed: bool,
}

/// The loops of a formula, behind a pointer: what leads to them is compiled once for all formulas.
pub(crate) trait MapLoops<T, const N: usize, const K: usize, const O: usize>: Sync {
    fn runs(&self, isa: Isa, runs: ChannelRuns<T, N, K, O>);
    fn rows(&self, isa: Isa, rows: WholeRows<T, N, K, O>);
}

impl<T: Stored, P: Pointwise<N, K, O>, const N: usize, const K: usize, const O: usize> MapLoops<T, N, K, O> for P {
    fn runs(&self, isa: Isa, runs: ChannelRuns<T, N, K, O>) {
        isa.run(MapRuns(*self, runs));
    }
    fn rows(&self, isa: Isa, rows: WholeRows<T, N, K, O>) {
        isa.run(MapRows(*self, rows));
    }
}

/// A [`MapRun`] for each of some channels: a loop over short runs, where a call of a kernel costs as much as the run.
struct MapRuns<'r, 'v, T, P, const N: usize, const K: usize, const O: usize>(P, ChannelRuns<'r, 'v, T, N, K, O>);

impl<T, P, const N: usize, const K: usize, const O: usize> Kernel<()> for MapRuns<'_, '_, T, P, N, K, O>
where
    T: Stored,
    P: Pointwise<N, K, O>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let MapRuns(formula, ChannelRuns { coefficients, mut values, distances, mut outs, streamed }) = self;
        for &coefficients in coefficients {
            let values = next_of(&mut values);
            let outs = next_outs(&mut outs);
            MapRun { formula, coefficients, values, distances, outs, streamed }.run::<V>();
        }
    }
}

/// The next segment of each of some arrays.
#[inline(always)]
fn next_of<'v, T, const N: usize>(arrays: &mut [Segments<'v, T>; N]) -> [&'v [T]; N] {
    let mut all: [&[T]; N] = [&[]; N];
    for n in 0..N {
        all[n] = arrays[n].next().expect("all arrays have as many segments");
    }
    all
}

#[inline(always)]
fn next_outs<'v, T, const O: usize>(outs: &mut [SegmentsMut<'v, T>; O]) -> [&'v mut [T]; O] {
    outs.each_mut().map(|out| out.next().expect("all outputs have as many segments"))
}

/// A few values, and no other.
#[inline(always)]
fn edge<V, T, P, const N: usize, const K: usize, const O: usize>(
    formula: P,
    coefficients: [V; K],
    values: [&[T]; N],
    outs: &mut [&mut [T]; O],
    range: Range<usize>,
) where
    V: Vector,
    T: Stored,
    P: Pointwise<N, K, O>,
{
    let mut at = range.start;
    while at + WIDTH <= range.end {
        store_all::<V, T, O>(formula.apply(coefficients, load_all::<V, T, N>(values, at)), outs, at);
        at += WIDTH;
    }
    if at < range.end {
        let mut cut = values;
        for n in 0..N {
            cut[n] = &values[n][..range.end];
        }
        let results = formula.apply(coefficients, load_last::<V, T, N>(cut, at));
        for o in 0..O {
            let mut result = [T::default(); WIDTH];
            T::store(results[o], &mut result, false);
            outs[o][at..range.end].copy_from_slice(&result[..range.end - at]);
        }
    }
}

/// Whole rows of all channels, as one array.
pub(crate) struct WholeRows<'v, T, const N: usize, const K: usize, const O: usize> {
    pub coefficients: &'v Widened<K>,
    pub values: [&'v [T]; N],
    /// How many elements ahead to prefetch.
    pub distances: [isize; N],
    /// They must not be the inputs: some values are computed twice.
    pub outs: [&'v mut [T]; O],
    /// Values a row, and the place in its row of the first one here.
    pub channels: usize,
    pub column: usize,
    /// Write past the caches; a fence must follow.
    pub streamed: bool,
}

/// Whole rows in order, in vectors that are aligned and may reach over the end of a row; very wide ones a block of columns of some
/// rows at a time.
struct MapRows<'v, T, P, const N: usize, const K: usize, const O: usize>(P, WholeRows<'v, T, N, K, O>);

impl<T, P, const N: usize, const K: usize, const O: usize> Kernel<()> for MapRows<'_, T, P, N, K, O>
where
    T: Stored,
    P: Pointwise<N, K, O>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let MapRows(formula, rows) = self;
        let WholeRows { coefficients, values, distances, mut outs, channels, column: begin, streamed } = rows;
        let (len, (vectors, width)) = (outs[0].len(), coefficients.vectors());
        // Where a first-level cache does not hold the coefficients of a row.
        let in_blocks = K * channels * size_of::<f64>() > FIRST_LEVEL_BYTES
            && channels.is_multiple_of(WIDTH)
            && len.is_multiple_of(channels)
            && !streamed;
        let head = if in_blocks { 0 } else { elements_to_line(outs[0].as_ptr()).min(len) };
        let tail = head + (len - head) / WIDTH * WIDTH;
        if streamed || len < WIDTH {
            // Past the caches go whole lines alone, as for a run.
            for at in (0..head).chain(tail..len) {
                one::<V, T, P, N, K, O>(formula, vectors, (begin + at) % width, values, at, &mut outs);
            }
        } else {
            // Whole vectors, some values a second time, are faster.
            for at in (0..head).step_by(WIDTH).chain((tail..len).step_by(WIDTH)) {
                let at = at.min(len - WIDTH);
                let coefficients = load_all::<V, f64, K>(vectors, (begin + at) % width);
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                store_all::<V, T, O>(result, &mut outs, at);
            }
        }
        let rows = if in_blocks { len / channels } else { 0 };
        let blocks = (0..rows).step_by(ROWS_A_BLOCK).flat_map(|first| {
            (0..channels).step_by(COLUMNS_A_BLOCK).flat_map(move |left| {
                let vectors = COLUMNS_A_BLOCK.min(channels - left) / WIDTH;
                (first..rows.min(first + ROWS_A_BLOCK)).map(move |row| (row * channels + left, left, vectors))
            })
        });
        // Else to the end of each row, and over it where no vector ends there.
        let mut at = if in_blocks { tail } else { head };
        let in_order = std::iter::from_fn(|| {
            let (start, column) = (at, (begin + at) % width);
            let vectors = (width - column).div_ceil(WIDTH).min((tail - start) / WIDTH);
            at += vectors * WIDTH;
            (start < tail).then_some((start, column, vectors))
        });
        for (at, column, count) in blocks.chain(in_order) {
            let coefficients = in_groups(vectors, column, count);
            let from = in_groups::<T, N, WIDTH>(values, at, count);
            let to = outs.each_mut().map(|out| &mut out[at..].as_chunks_mut().0[..count]);
            for vector in 0..count {
                let (mut of, mut loaded) = ([V::splat(0.0); K], [V::splat(0.0); N]);
                for k in 0..K {
                    of[k] = V::from_f64(&coefficients[k][vector]);
                }
                for n in 0..N {
                    let values = &from[n][vector];
                    prefetch(values.as_ptr().wrapping_offset(distances[n]), WIDTH);
                    loaded[n] = T::load(values);
                }
                let results = formula.apply(of, loaded);
                for o in 0..O {
                    T::store(results[o], &mut to[o][vector], streamed);
                }
            }
        }
    }
}

/// One value, in all lanes.
#[inline(always)]
fn one<V, T, P, const N: usize, const K: usize, const O: usize>(
    formula: P,
    coefficients: [&[f64]; K],
    column: usize,
    values: [&[T]; N],
    at: usize,
    outs: &mut [&mut [T]; O],
) where
    V: Vector,
    T: Stored,
    P: Pointwise<N, K, O>,
{
    let mut numbers = [0.0; K];
    for k in 0..K {
        numbers[k] = coefficients[k][column];
    }
    let mut loaded = [V::splat(0.0); N];
    for n in 0..N {
        loaded[n] = V::splat(values[n][at].to_f64());
    }
    let results = formula.apply(splat_all::<V, K>(numbers), loaded);
    for o in 0..O {
        let mut result = [T::default(); WIDTH];
        T::store(results[o], &mut result, false);
        outs[o][at] = result[0];
    }
}

#[inline(always)]
fn store_all<V: Vector, T: Stored, const O: usize>(results: [V; O], outs: &mut [&mut [T]; O], at: usize) {
    for o in 0..O {
        T::store(results[o], eight_mut(&mut outs[o][at..]), false);
    }
}

#[inline(always)]
pub(crate) fn eight_mut<T>(values: &mut [T]) -> &mut [T; WIDTH] {
    values.first_chunk_mut::<WIDTH>().expect("there are eight values")
}
