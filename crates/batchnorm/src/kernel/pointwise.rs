//! Formulas of one element, and the loops that compute an output slice from input slices.

#![allow(clippy::needless_range_loop)]

use super::activation::Activate;
use super::ahead::AHEAD;
use super::raw::{Kernel, ask, to_line};
use super::vector::{PAIR, Vector, WIDTH, in_groups, load_all, load_last, load_pair, splat_all};
use crate::element::Element;
use std::ops::Range;

/// Values of a run that is worth aligning.
pub(super) const ALIGNED: usize = 128;
/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const WIDENED: usize = 64;

/// A formula of `N` values at one place and `K` coefficients of their channel, with `O` results.
pub(crate) trait Pointwise<const N: usize, const K: usize, const O: usize>: Copy + Send + Sync {
    fn apply<V: Vector>(self, coefficients: [V; K], values: [V; N]) -> [V; O];
}

/// z = (x - mean) * scale + shift.
#[inline(always)]
fn normalized<V: Vector>(x: V, [mean, scale, shift]: [V; 3]) -> V {
    x.sub(mean).mul(scale).add(shift)
}

/// y = f((x - mean) * scale + shift). Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Normalize<A>(pub A);

impl<A: Activate> Pointwise<1, 3, 1> for Normalize<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x]: [V; 1]) -> [V; 1] {
        [self.0.forward(normalized(x, coefficients))]
    }
}

/// y = f((x - mean) * scale + shift + residual). Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeAdding<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for NormalizeAdding<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x, residual]: [V; 2]) -> [V; 1] {
        [self.0.forward(normalized(x, coefficients).add(residual))]
    }
}

/// dx = scale * ((dz - offset) - (x - mean) * slope).
#[inline(always)]
fn input_gradient<V: Vector>(x: V, dz: V, [mean, scale, _, offset, slope]: [V; 5]) -> V {
    scale.mul(dz.sub(offset).sub(x.sub(mean).mul(slope)))
}

/// dx of x and dy, dz = dy f'(z) with z computed again. Coefficients: mean, scale, shift, offset, slope.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient<A>(pub A);

impl<A: Activate> Pointwise<2, 5, 1> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 5], [x, dy]: [V; 2]) -> [V; 1] {
        let [mean, scale, shift, ..] = all;
        [input_gradient(x, self.0.backward(normalized(x, [mean, scale, shift]), dy), all)]
    }
}

/// The same of x, dy and y, dz = dy f'(y), and dz itself: the gradient of a residual.
impl<A: Activate> Pointwise<3, 5, 2> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 5], [x, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [input_gradient(x, dz, all), dz]
    }
}

/// dx = scale * dz, dz = dy f'(z): the statistics are constants. Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Scale<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 3], [x, dy]: [V; 2]) -> [V; 1] {
        let [_, scale, _] = all;
        [scale.mul(self.0.backward(normalized(x, all), dy))]
    }
}

/// The same of x, dy and y, dz = dy f'(y), and dz itself.
impl<A: Activate> Pointwise<3, 3, 2> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [_, scale, _]: [V; 3], [_, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [scale.mul(dz), dz]
    }
}

/// dz = dy f'(y) alone. A coefficient that is not used, for formulas have some.
#[derive(Clone, Copy)]
pub(crate) struct Mask<A>(pub A);

impl<A: Activate> Pointwise<2, 1, 1> for Mask<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [dy, y]: [V; 2]) -> [V; 1] {
        [self.0.backward(y, dy)]
    }
}

/// [`InputGradient`] of y instead of x: dx = scale * ((dz - mean of dz) - xhat * mean of dz xhat), with dz = dy f'(z) and
/// xhat = (z - beta) / gamma of z = f^-1(y). Coefficients: beta, 1 / gamma, scale, mean of dz, mean of dz xhat.
#[derive(Clone, Copy)]
pub(crate) struct InputGradientOfOutput<A>(pub A);

impl<A: Activate> Pointwise<2, 5, 1> for InputGradientOfOutput<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [beta, reciprocal, scale, mean_dz, mean_dz_xhat]: [V; 5], [y, dy]: [V; 2]) -> [V; 1] {
        let xhat = self.0.inverse(y).sub(beta).mul(reciprocal);
        [scale.mul(self.0.backward(y, dy).sub(mean_dz).sub(xhat.mul(mean_dz_xhat)))]
    }
}

/// The directional derivative y' = f'(z) * (scale * (t - offset) + (x - mean) * inverse * turn + drift) of y = f(z) along
/// t, z of x computed again. Without an activation also dx, where the channels of a group share its sums. Coefficients:
/// mean, scale, shift, offset, inverse, turn, drift. (Inverse and turn apart: their product may be too large for an f64.)
#[derive(Clone, Copy)]
pub(crate) struct Tangent<A>(pub A);

impl<A: Activate> Pointwise<2, 7, 1> for Tangent<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 7], [x, t]: [V; 2]) -> [V; 1] {
        let [mean, scale, shift, offset, inverse, turn, drift] = all;
        let turned = unless_zero(turn, x.sub(mean).mul(inverse).mul(turn));
        let dz = scale.mul(t.sub(offset)).add(turned).add(drift);
        [self.0.backward(normalized(x, [mean, scale, shift]), dz)]
    }
}

/// The derivative of dx along a direction t, dz = dy f'(z) with z of x computed again:
/// along * (dz - offset) + turn * ((t - offset of t) * inverse) + (x - mean) * inverse * slope + drift. Coefficients: mean,
/// scale, shift, inverse, along, offset, turn, offset of t, slope, drift. (Deviation and direction come to the size of 1
/// first: products of the others may be too large for an f64.)
#[derive(Clone, Copy)]
pub(crate) struct GradientAlong<A>(pub A);

impl<A: Activate> Pointwise<3, 10, 1> for GradientAlong<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 10], [x, dy, t]: [V; 3]) -> [V; 1] {
        let [mean, scale, shift, inverse, along, offset, turn, offset_t, slope, drift] = all;
        let dz = self.0.backward(normalized(x, [mean, scale, shift]), dy);
        let by_t = unless_zero(turn, t.sub(offset_t).mul(inverse).mul(turn));
        let by_x = unless_zero(slope, x.sub(mean).mul(inverse).mul(slope));
        [along.mul(dz.sub(offset)).add(by_t).add(by_x).add(drift)]
    }
}

/// A product, or 0 where its factor is 0: an infinite value is no matter to constants.
#[inline(always)]
fn unless_zero<V: Vector>(factor: V, product: V) -> V {
    let zero = V::splat(0.0);
    factor.select_le(zero, zero.sub(factor).select_le(zero, zero, product), product)
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

impl<const K: usize> Widened<K> {
    /// The vectors, and the number of coefficients after which they begin again.
    #[inline(always)]
    pub fn vectors(&self) -> ([&[f64]; K], usize) {
        let mut vectors: [&[f64]; K] = [&[]; K];
        for k in 0..K {
            vectors[k] = &self.vectors[k][self.first[k]..];
        }
        (vectors, self.width)
    }
}

/// Values of one channel. The outputs must not be the inputs: some are computed twice.
pub(crate) struct Run<'v, T, P, const N: usize, const K: usize, const O: usize> {
    pub formula: P,
    pub coefficients: [f64; K],
    pub values: [&'v [T]; N],
    /// How many elements on lies what memory is to be asked for meanwhile.
    pub ahead: [isize; N],
    pub outs: [&'v mut [T]; O],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T, P, const N: usize, const K: usize, const O: usize> Kernel<()> for Run<'_, T, P, N, K, O>
where
    T: Element,
    P: Pointwise<N, K, O>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Run { formula, coefficients, values, ahead, mut outs, past } = self;
        let (len, coefficients) = (outs[0].len(), splat_all::<V, K>(coefficients));
        // Past the caches go whole lines alone: what is before and behind them is written as usual, to the value.
        let head = if past || len >= ALIGNED { to_line(outs[0].as_ptr()).min(len) } else { 0 };
        // Two vectors a round.
        let pairs = (len - head) / PAIR;
        let tail = head + pairs * PAIR;
        let from = in_groups(values, head, pairs);
        let to = outs.each_mut().map(|out| &mut out[head..].as_chunks_mut::<PAIR>().0[..pairs]);
        for pair in 0..pairs {
            let [left, right] = load_pair::<V, T, N>(from, pair, ahead);
            let (left, right) = (formula.apply(coefficients, left), formula.apply(coefficients, right));
            for o in 0..O {
                let to = &mut to[o][pair];
                T::store(left[o], eight_mut(to), past);
                T::store(right[o], eight_mut(&mut to[WIDTH..]), past);
            }
        }
        if past || len < WIDTH {
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
    T: Element,
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

/// Whole rows of all channels, as one array: in order, in vectors that are aligned and may reach over the end of a row.
/// The outputs must not be the inputs.
pub(crate) struct Rows<'v, T, P, const N: usize, const K: usize, const O: usize> {
    pub formula: P,
    pub coefficients: &'v Widened<K>,
    pub values: [&'v [T]; N],
    pub outs: [&'v mut [T]; O],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T, P, const N: usize, const K: usize, const O: usize> Kernel<()> for Rows<'_, T, P, N, K, O>
where
    T: Element,
    P: Pointwise<N, K, O>,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Rows { formula, coefficients, values, mut outs, past } = self;
        let (len, (vectors, width)) = (outs[0].len(), coefficients.vectors());
        let head = to_line(outs[0].as_ptr()).min(len);
        let tail = head + (len - head) / WIDTH * WIDTH;
        if past || len < WIDTH {
            // Past the caches go whole lines alone, as for a run.
            for at in (0..head).chain(tail..len) {
                one::<V, T, P, N, K, O>(formula, vectors, at % width, values, at, &mut outs);
            }
        } else {
            // Whole vectors, some values a second time, are faster.
            for at in (0..head).step_by(WIDTH).chain((tail..len).step_by(WIDTH)) {
                let at = at.min(len - WIDTH);
                let coefficients = load_all::<V, f64, K>(vectors, at % width);
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                store_all::<V, T, O>(result, &mut outs, at);
            }
        }
        let (mut at, mut column) = (head, head % width);
        while at < tail {
            // To the end of the row, and over it where no vector ends there.
            let count = (width - column).div_ceil(WIDTH).min((tail - at) / WIDTH);
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
                    ask(values.as_ptr().wrapping_byte_add(AHEAD), WIDTH);
                    loaded[n] = T::load(values);
                }
                let results = formula.apply(of, loaded);
                for o in 0..O {
                    T::store(results[o], &mut to[o][vector], past);
                }
            }
            at += count * WIDTH;
            column = (column + count * WIDTH) % width;
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
    T: Element,
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
fn store_all<V: Vector, T: Element, const O: usize>(results: [V; O], outs: &mut [&mut [T]; O], at: usize) {
    for o in 0..O {
        T::store(results[o], eight_mut(&mut outs[o][at..]), false);
    }
}

#[inline(always)]
pub(super) fn eight_mut<T>(values: &mut [T]) -> &mut [T; WIDTH] {
    values.first_chunk_mut::<WIDTH>().expect("there are eight values")
}
