//! Formulas of one element, and the loops that compute an output slice from input slices.

#![allow(clippy::needless_range_loop)]

use super::activation::Activate;
use super::ahead::AHEAD;
use super::raw::{Kernel, ask, to_line};
use super::vector::{Vector, WIDTH, eight, load_all, load_last, splat_all};
use crate::element::Element;
use std::ops::Range;

/// Values of a run that is worth aligning.
const ALIGNED: usize = 128;
/// Values of two vectors.
const PAIR: usize = 2 * WIDTH;
/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const WIDENED: usize = 64;

/// A formula of `N` values at one place and `K` coefficients of their channel.
pub(crate) trait Pointwise<const N: usize, const K: usize>: Copy + Send + Sync {
    fn apply<V: Vector>(self, coefficients: [V; K], values: [V; N]) -> V;
}

/// z = (x - mean) * scale + shift.
#[inline(always)]
fn normalized<V: Vector>(x: V, [mean, scale, shift]: [V; 3]) -> V {
    x.sub(mean).mul(scale).add(shift)
}

/// y = f((x - mean) * scale + shift). Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Normalize<A>(pub A);

impl<A: Activate> Pointwise<1, 3> for Normalize<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x]: [V; 1]) -> V {
        self.0.forward(normalized(x, coefficients))
    }
}

/// y = f((x - mean) * scale + shift + residual). Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeAdding<A>(pub A);

impl<A: Activate> Pointwise<2, 3> for NormalizeAdding<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x, residual]: [V; 2]) -> V {
        self.0.forward(normalized(x, coefficients).add(residual))
    }
}

/// dx = scale * ((dz - offset) - (x - mean) * slope), dz = dy f'(z). Coefficients: mean, scale, shift, offset, slope.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient<A>(pub A);

impl<A: Activate> Pointwise<2, 5> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift, offset, slope]: [V; 5], [x, dy]: [V; 2]) -> V {
        let deviation = x.sub(mean);
        let dz = self.0.backward(deviation.mul(scale).add(shift), dy);
        scale.mul(dz.sub(offset).sub(deviation.mul(slope)))
    }
}

/// dx = scale * dz, dz = dy f'(z): the statistics are constants. Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Scale<A>(pub A);

impl<A: Activate> Pointwise<2, 3> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy]: [V; 2]) -> V {
        scale.mul(self.0.backward(normalized(x, [mean, scale, shift]), dy))
    }
}

/// dz = dy f'(z), told from y = f(z). A coefficient that is not used, for formulas have some.
#[derive(Clone, Copy)]
pub(crate) struct Mask<A>(pub A);

impl<A: Activate> Pointwise<2, 1> for Mask<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [dy, y]: [V; 2]) -> V {
        self.0.backward(y, dy)
    }
}

/// The coefficients of all channels, each kind in a vector of its own.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<const K: usize>([Vec<f64>; K]);

impl<const K: usize> Coefficients<K> {
    pub fn new(channels: usize, of: impl Fn(usize) -> [f64; K]) -> Self {
        let mut all: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(channels));
        for channel in 0..channels {
            for (vector, value) in all.iter_mut().zip(of(channel)) {
                vector.push(value);
            }
        }
        Coefficients(all)
    }

    pub fn of(&self, channel: usize) -> [f64; K] {
        std::array::from_fn(|kind| self.0[kind][channel])
    }

    /// For [`Rows`] whose first value that is aligned is the one numbered `phase`.
    pub fn widened(self, phase: usize) -> Widened<K> {
        let channels = self.0[0].len();
        let width = channels * WIDENED.div_ceil(channels);
        let first = [0; K];
        let mut all = Widened { vectors: self.0, first, width };
        for (vector, first) in all.vectors.iter_mut().zip(&mut all.first) {
            let mut wide = Vec::with_capacity(width + 2 * WIDTH);
            // So many unused ones that the one numbered `phase`, and each eighth from it on, begins a line.
            *first = (wide.as_ptr() as usize / size_of::<f64>() + phase).wrapping_neg() % WIDTH;
            wide.resize(*first, 0.0);
            wide.extend(vector.iter().cycle().take(width + WIDTH));
            *vector = wide;
        }
        all
    }
}

/// Coefficients as [`Rows`] read them: repeated until they are wide enough, and then going on with their beginning for a
/// vector that reaches over the end of a row.
#[derive(Debug)]
pub(crate) struct Widened<const K: usize> {
    vectors: [Vec<f64>; K],
    first: [usize; K],
    width: usize,
}

/// Values of one channel. The outputs must not be the inputs: some are computed twice.
pub(crate) struct Run<'v, T, P, const N: usize, const K: usize> {
    pub formula: P,
    pub coefficients: [f64; K],
    pub values: [&'v [T]; N],
    /// How many elements on lies what memory is to be asked for meanwhile.
    pub ahead: [isize; N],
    pub out: &'v mut [T],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel<()> for Run<'_, T, P, N, K> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Run { formula, coefficients, values, ahead, out, past } = self;
        let (len, coefficients) = (out.len(), splat_all::<V, K>(coefficients));
        // Past the caches go whole lines alone: what is before and behind them is written as usual, to the value.
        let head = if past || len >= ALIGNED { to_line(out.as_ptr()).min(len) } else { 0 };
        // Two vectors a round.
        let pairs = out[head..].as_chunks_mut::<PAIR>().0;
        let mut from: [&[[T; PAIR]]; N] = [&[]; N];
        for n in 0..N {
            from[n] = &values[n][head..].as_chunks::<PAIR>().0[..pairs.len()];
        }
        for pair in 0..pairs.len() {
            let (mut left, mut right) = ([V::splat(0.0); N], [V::splat(0.0); N]);
            for n in 0..N {
                let values = &from[n][pair];
                ask(values.as_ptr().wrapping_offset(ahead[n]), PAIR);
                left[n] = T::load(eight(values));
                right[n] = T::load(eight(&values[WIDTH..]));
            }
            let (left, right) = (formula.apply(coefficients, left), formula.apply(coefficients, right));
            let to = &mut pairs[pair];
            T::store(left, eight_mut(to), past);
            T::store(right, eight_mut(&mut to[WIDTH..]), past);
        }
        let tail = head + pairs.len() * PAIR;
        if past || len < WIDTH {
            edge::<V, T, P, N, K>(formula, coefficients, values, out, 0..head);
            edge::<V, T, P, N, K>(formula, coefficients, values, out, tail..len);
        } else {
            // Whole vectors, some values a second time, are faster than incomplete ones.
            for at in (0..head).step_by(WIDTH).chain((tail..len).step_by(WIDTH)) {
                let at = at.min(len - WIDTH);
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                T::store(result, eight_mut(&mut out[at..]), false);
            }
        }
    }
}

/// A few values, and no other.
#[inline(always)]
fn edge<V: Vector, T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    formula: P,
    coefficients: [V; K],
    values: [&[T]; N],
    out: &mut [T],
    range: Range<usize>,
) {
    let mut at = range.start;
    while at + WIDTH <= range.end {
        let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
        T::store(result, eight_mut(&mut out[at..]), false);
        at += WIDTH;
    }
    if at < range.end {
        let mut cut = values;
        for n in 0..N {
            cut[n] = &values[n][..range.end];
        }
        let mut result = [T::default(); WIDTH];
        T::store(formula.apply(coefficients, load_last::<V, T, N>(cut, at)), &mut result, false);
        out[at..range.end].copy_from_slice(&result[..range.end - at]);
    }
}

/// Whole rows of all channels, as one array: in order, in vectors that are aligned and may reach over the end of a row.
/// The outputs must not be the inputs.
pub(crate) struct Rows<'v, T, P, const N: usize, const K: usize> {
    pub formula: P,
    pub coefficients: &'v Widened<K>,
    pub values: [&'v [T]; N],
    pub out: &'v mut [T],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel<()> for Rows<'_, T, P, N, K> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Rows { formula, coefficients: Widened { vectors: all, first, width }, values, out, past } = self;
        let (len, width) = (out.len(), *width);
        let mut vectors: [&[f64]; K] = [&[]; K];
        for k in 0..K {
            vectors[k] = &all[k][first[k]..];
        }
        let head = to_line(out.as_ptr()).min(len);
        let tail = head + (len - head) / WIDTH * WIDTH;
        if past || len < WIDTH {
            // Past the caches go whole lines alone, as for a run.
            for at in (0..head).chain(tail..len) {
                one::<V, T, P, N, K>(formula, vectors, at % width, values, at, &mut out[at]);
            }
        } else {
            // Whole vectors, some values a second time, are faster.
            for at in (0..head).step_by(WIDTH).chain((tail..len).step_by(WIDTH)) {
                let at = at.min(len - WIDTH);
                let coefficients = load_all::<V, f64, K>(vectors, at % width);
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                T::store(result, eight_mut(&mut out[at..]), false);
            }
        }
        let (mut at, mut column) = (head, head % width);
        while at < tail {
            // To the end of the row, and over it where no vector ends there.
            let count = (width - column).div_ceil(WIDTH).min((tail - at) / WIDTH);
            let mut coefficients: [&[[f64; WIDTH]]; K] = [&[]; K];
            for k in 0..K {
                coefficients[k] = &vectors[k][column..].as_chunks().0[..count];
            }
            let mut from: [&[[T; WIDTH]]; N] = [&[]; N];
            for n in 0..N {
                from[n] = &values[n][at..].as_chunks().0[..count];
            }
            let to = &mut out[at..].as_chunks_mut().0[..count];
            for vector in 0..count {
                let (mut of, mut loaded) = ([V::splat(0.0); K], [V::splat(0.0); N]);
                for k in 0..K {
                    of[k] = V::from_f64(&coefficients[k][vector]);
                }
                for n in 0..N {
                    let values = &from[n][vector];
                    ask(values.as_ptr().wrapping_byte_add(AHEAD), WIDTH);
                    loaded[n] = T::load(values);
                }
                T::store(formula.apply(of, loaded), &mut to[vector], past);
            }
            at += count * WIDTH;
            column = (column + count * WIDTH) % width;
        }
    }
}

/// One value, in all lanes.
#[inline(always)]
fn one<V: Vector, T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    formula: P,
    coefficients: [&[f64]; K],
    column: usize,
    values: [&[T]; N],
    at: usize,
    out: &mut T,
) {
    let mut numbers = [0.0; K];
    for k in 0..K {
        numbers[k] = coefficients[k][column];
    }
    let mut loaded = [V::splat(0.0); N];
    for n in 0..N {
        loaded[n] = V::splat(values[n][at].to_f64());
    }
    let mut result = [T::default(); WIDTH];
    T::store(formula.apply(splat_all::<V, K>(numbers), loaded), &mut result, false);
    *out = result[0];
}

#[inline(always)]
fn eight_mut<T>(values: &mut [T]) -> &mut [T; WIDTH] {
    values.first_chunk_mut::<WIDTH>().expect("there are eight values")
}
