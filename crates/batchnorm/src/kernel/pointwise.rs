//! Formulas of one element, and the loops that compute an output slice from input slices.

#![allow(clippy::needless_range_loop)]

use super::activation::Activate;
use super::raw::Kernel;
use super::vector::{Vector, WIDTH, load_all, load_last, splat_all};
use crate::element::Element;

/// Rows that are computed while a column's coefficients are in registers.
const DEEP: usize = 4;
/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const WIDENED: usize = 64;

/// A formula of `N` values at one place and `K` coefficients of their channel.
pub(crate) trait Pointwise<const N: usize, const K: usize>: Copy + Send + Sync {
    fn apply<V: Vector>(self, coefficients: [V; K], values: [V; N]) -> V;
}

/// z = (x - mean) * scale + shift, the mean as a pair.
#[inline(always)]
fn normalized<V: Vector>(x: V, [mean, rest, scale, shift]: [V; 4]) -> V {
    x.sub(mean).sub(rest).mul(scale).add(shift)
}

/// y = f((x - mean) * scale + shift). Coefficients: mean, rest, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Normalize<A>(pub A);

impl<A: Activate> Pointwise<1, 4> for Normalize<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 4], [x]: [V; 1]) -> V {
        self.0.forward(normalized(x, coefficients))
    }
}

/// y = f((x - mean) * scale + shift + residual). Coefficients: mean, rest, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeAdding<A>(pub A);

impl<A: Activate> Pointwise<2, 4> for NormalizeAdding<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 4], [x, residual]: [V; 2]) -> V {
        self.0.forward(normalized(x, coefficients).add(residual))
    }
}

/// The same as [`Normalize`] with a mean that is one number. Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeByConstants<A>(pub A);

impl<A: Activate> Pointwise<1, 3> for NormalizeByConstants<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift]: [V; 3], [x]: [V; 1]) -> V {
        self.0.forward(x.sub(mean).mul(scale).add(shift))
    }
}

/// dx = scale * ((dz - mean of dz) - (x - mean) * slope), dz = dy f'(z). Coefficients: mean, rest, scale, shift, mean
/// of dz, slope.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient<A>(pub A);

impl<A: Activate> Pointwise<2, 6> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, rest, scale, shift, mean_dz, slope]: [V; 6], [x, dy]: [V; 2]) -> V {
        let deviation = x.sub(mean).sub(rest);
        let dz = self.0.backward(deviation.mul(scale).add(shift), dy);
        scale.mul(dz.sub(mean_dz).sub(deviation.mul(slope)))
    }
}

/// dx = scale * dz, dz = dy f'(z): the statistics are constants. Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Scale<A>(pub A);

impl<A: Activate> Pointwise<2, 3> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy]: [V; 2]) -> V {
        scale.mul(self.0.backward(x.sub(mean).mul(scale).add(shift), dy))
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

    /// The vectors for [`Rows`]: repeated until they are wide enough, and then going on with their beginning for a
    /// vector that reaches over the end of a row.
    pub fn widened(mut self) -> Self {
        let times = WIDENED.div_ceil(self.0[0].len());
        self.0 = self.0.map(|mut vector| {
            if times > 1 {
                vector = vector.repeat(times);
            }
            vector.extend_from_within(..WIDTH);
            vector
        });
        self
    }

    /// How many channels, or repetitions of them, the vectors for [`Rows`] hold.
    fn width(&self) -> usize {
        self.0[0].len() - WIDTH
    }
}

/// Values of one channel. The outputs must not be the inputs: some are computed twice.
pub(crate) struct Run<'v, T, P, const N: usize, const K: usize> {
    pub formula: P,
    pub coefficients: [f64; K],
    pub values: [&'v [T]; N],
    pub out: &'v mut [T],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel<()> for Run<'_, T, P, N, K> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Run { formula, coefficients, values, out, past } = self;
        let (len, coefficients) = (out.len(), splat_all::<V, K>(coefficients));
        if len >= WIDTH {
            // The first and the last vector anyhow, what is between them where vectors are aligned: some values are
            // computed twice.
            for at in [0, len - WIDTH] {
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                T::store(result, eight_mut(&mut out[at..]), false);
            }
            let mut at = unaligned(out).min(len);
            while at + WIDTH <= len {
                let result = formula.apply(coefficients, load_all::<V, T, N>(values, at));
                T::store(result, eight_mut(&mut out[at..]), past);
                at += WIDTH;
            }
            return;
        }
        if len > 0 {
            let mut result = [T::default(); WIDTH];
            let loaded = load_last::<V, T, N>(values.map(|array| &array[..len]), 0);
            T::store(formula.apply(coefficients, loaded), &mut result, false);
            out.copy_from_slice(&result[..len]);
        }
    }
}

/// Whole rows, all as wide as the coefficient vectors, but for a shorter last one. The outputs must not be the inputs.
pub(crate) struct Rows<'v, T, P, const N: usize, const K: usize> {
    pub formula: P,
    pub coefficients: &'v Coefficients<K>,
    pub values: [&'v [T]; N],
    pub out: &'v mut [T],
    /// Whether to write past the caches; a fence must follow.
    pub past: bool,
}

impl<T: Element, P: Pointwise<N, K>, const N: usize, const K: usize> Kernel<()> for Rows<'_, T, P, N, K> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Rows { formula, coefficients, values, out, past } = self;
        let width = coefficients.width();
        if past && out.len() >= WIDTH {
            return in_order::<V, T, P, N, K>(formula, coefficients, values, out);
        }
        let mut start = 0;
        let mut blocks = out.chunks_exact_mut(width * DEEP);
        for block in &mut blocks {
            these_rows::<V, T, P, N, K, DEEP>(formula, coefficients, values, start, block);
            start += width * DEEP;
        }
        for row in blocks.into_remainder().chunks_mut(width) {
            let len = row.len();
            these_rows::<V, T, P, N, K, 1>(formula, coefficients, values, start, row);
            start += len;
        }
    }
}

/// `R` rows of one width that follow each other.
#[inline(always)]
fn these_rows<V: Vector, T: Element, P: Pointwise<N, K>, const N: usize, const K: usize, const R: usize>(
    formula: P,
    coefficients: &Coefficients<K>,
    values: [&[T]; N],
    start: usize,
    out: &mut [T],
) {
    let width = out.len() / R;
    let mut vectors: [&[f64]; K] = [&[]; K];
    for k in 0..K {
        vectors[k] = &coefficients.0[k][..width];
    }
    if width < WIDTH {
        for at in 0..out.len() {
            // One value, in all lanes.
            let mut numbers = [0.0; K];
            for k in 0..K {
                numbers[k] = vectors[k][at % width];
            }
            let mut loaded = [V::splat(0.0); N];
            for n in 0..N {
                loaded[n] = V::splat(values[n][start + at].to_f64());
            }
            let mut result = [T::default(); WIDTH];
            T::store(formula.apply(splat_all::<V, K>(numbers), loaded), &mut result, false);
            out[at] = result[0];
        }
        return;
    }
    let mut column = 0;
    loop {
        let coefficients = load_all::<V, f64, K>(vectors, column);
        for r in 0..R {
            let at = r * width + column;
            let result = formula.apply(coefficients, load_all::<V, T, N>(values, start + at));
            T::store(result, eight_mut(&mut out[at..]), false);
        }
        if column + WIDTH == width {
            return;
        }
        // The last vector may have some columns a second time.
        column = (column + WIDTH).min(width - WIDTH);
    }
}

/// All rows as one, past the caches: in order, and in vectors that are aligned, which may reach over the end of a row.
#[inline(always)]
fn in_order<V: Vector, T: Element, P: Pointwise<N, K>, const N: usize, const K: usize>(
    formula: P,
    coefficients: &Coefficients<K>,
    values: [&[T]; N],
    out: &mut [T],
) {
    let (len, width) = (out.len(), coefficients.width());
    let mut vectors: [&[f64]; K] = [&[]; K];
    for k in 0..K {
        vectors[k] = &coefficients.0[k];
    }
    // The first and the last vector anyhow, as for a run.
    for at in [0, len - WIDTH] {
        let result = formula.apply(load_all::<V, f64, K>(vectors, at % width), load_all::<V, T, N>(values, at));
        T::store(result, eight_mut(&mut out[at..]), false);
    }
    let mut at = unaligned(out).min(len);
    let mut column = at % width;
    while at + WIDTH <= len {
        let result = formula.apply(load_all::<V, f64, K>(vectors, column), load_all::<V, T, N>(values, at));
        T::store(result, eight_mut(&mut out[at..]), true);
        at += WIDTH;
        column += WIDTH;
        if column >= width {
            column -= width;
        }
    }
}

/// How many elements come before the first vector that is aligned to its size.
#[inline(always)]
fn unaligned<T>(out: &[T]) -> usize {
    let bytes = (out.as_ptr() as usize).wrapping_neg() % size_of::<[T; WIDTH]>();
    bytes / size_of::<T>()
}

#[inline(always)]
fn eight_mut<T>(values: &mut [T]) -> &mut [T; WIDTH] {
    values.first_chunk_mut::<WIDTH>().expect("there are eight values")
}
