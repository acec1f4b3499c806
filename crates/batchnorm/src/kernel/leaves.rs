//! What is computed of a chunk: its moments, or the sums that the backward pass needs.

use super::activation::Activate;
use super::raw::Isa;
use super::sums::{Chunk, Columns, LANES, Rows, Run, Terms};
use super::tree::Merge;
use super::vector::{Vector, WIDTH};
use crate::element::Element;
use crate::moments::Moments;

/// What is computed of one chunk of `N` arrays.
pub(crate) trait Leaf<T, const N: usize>: Sync {
    type Value: Merge;

    /// Of one channel.
    fn run(&self, channel: usize, chunk: Chunk<T, N>) -> Self::Value;

    /// Of neighbouring channels in rows, with the same bits, appended to `out`.
    fn rows(&self, chunk: [Columns<T>; N], tables: &mut Tables, out: &mut Vec<Self::Value>);
}

/// Scratch for the lanes of a block of channels, and for vectors of constants.
#[derive(Default)]
pub(crate) struct Tables {
    first: Vec<f64>,
    second: Vec<f64>,
    constants: Vec<f64>,
}

impl Tables {
    /// Two tables of lanes, and room for constants, for so many vectors of columns.
    fn of(&mut self, vectors: usize, constants: usize) -> ([&mut [f64]; 2], &mut [f64]) {
        let line = vectors * WIDTH;
        let room = |vector: &mut Vec<f64>, len: usize| vector.resize(vector.len().max(len), 0.0);
        room(&mut self.first, LANES * line);
        room(&mut self.second, LANES * line);
        room(&mut self.constants, constants * line);
        ([&mut self.first, &mut self.second], &mut self.constants[..constants * line])
    }
}

/// The value itself.
#[derive(Clone, Copy)]
struct Value;

impl Terms<1, 0, 1> for Value {
    #[inline(always)]
    fn of<V: Vector>(self, []: [V; 0], [x]: [V; 1]) -> [V; 1] {
        [x]
    }
}

/// The deviation from a shift near the values, and its square.
#[derive(Clone, Copy)]
struct Deviation;

impl Terms<1, 1, 2> for Deviation {
    #[inline(always)]
    fn of<V: Vector>(self, [shift]: [V; 1], [x]: [V; 1]) -> [V; 2] {
        let d = x.sub(shift);
        [d, d.mul(d)]
    }
}

/// dz and dz * xhat, dz = dy f'(z). (dz * (x - mean) would do but for very large and very small f64 values.)
#[derive(Clone, Copy)]
pub(crate) struct Products<A>(pub A);

impl<A: Activate> Terms<2, 4, 2> for Products<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy]: [V; 2]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = self.0.backward(deviation.mul(scale).add(shift), dy);
        [dz, dz.mul(deviation.mul(inverse))]
    }
}

/// The same with y = f(z + residual) as the third array, which tells the derivative.
impl<A: Activate> Terms<3, 4, 2> for Products<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, _, _, inverse]: [V; 4], [x, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [dz, dz.mul(x.sub(mean).mul(inverse))]
    }
}

/// dz and dz * t, of x, dy and a direction t.
#[derive(Clone, Copy)]
pub(crate) struct ProductsAlong<A>(pub A);

impl<A: Activate> Terms<3, 3, 2> for ProductsAlong<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy, t]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(x.sub(mean).mul(scale).add(shift), dy);
        [dz, dz.mul(t)]
    }
}

/// [`Products`] of y instead of x, with z = f^-1(y) and xhat = (z - beta) / gamma. Constants: beta, 1 / gamma.
#[derive(Clone, Copy)]
pub(crate) struct ProductsOfOutput<A>(pub A);

impl<A: Activate> Terms<2, 2, 2> for ProductsOfOutput<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [beta, reciprocal]: [V; 2], [y, dy]: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [dz, dz.mul(self.0.inverse(y).sub(beta).mul(reciprocal))]
    }
}

impl Merge for Moments {
    fn merge(self, right: Moments) -> Moments {
        Moments::merge(self, right)
    }
}

/// The moments of a chunk.
pub(crate) struct MomentsLeaf(pub Isa);

impl<T: Element> Leaf<T, 1> for MomentsLeaf {
    type Value = Moments;

    fn run(&self, _: usize, chunk: Chunk<T, 1>) -> Moments {
        let (count, first) = (chunk.len(), chunk.pieces[0][0][0].to_f64());
        let about = |shift: f64| {
            let [d, q] = self.0.run(Run { terms: Deviation, constants: [shift], chunk });
            Moments::from_shifted(count, shift, d, q)
        };
        if !T::WIDENS {
            let [sum] = self.0.run(Run { terms: Value, constants: [], chunk });
            let moments = about(sum / count as f64);
            if moments.m2() == 0.0 && chunk.values().any(|value| value.to_f64() != first) {
                // Deviations too small to square. That they are there decides whether the channel is constant.
                return moments.not_constant();
            }
            if moments.is_finite() {
                return moments;
            }
            // The sum or the square of its rounding error overflowed. About a value of the chunk, constants of any
            // size are exact all the same.
        }
        about(first)
    }

    fn rows(&self, [columns]: [Columns<T>; 1], tables: &mut Tables, out: &mut Vec<Moments>) {
        let vectors = columns.vectors();
        let ([first, second], shift) = tables.of(vectors, 1);
        let count = columns.len();
        if T::WIDENS {
            for (vector, shift) in shift.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
                let row = &columns.rows[columns.channel(vector)..];
                shift.iter_mut().zip(row).for_each(|(shift, x)| *shift = x.to_f64());
            }
        } else {
            self.0.run(Rows { terms: Value, constants: [], columns: [columns], tables: [&mut *first] });
            shift.iter_mut().zip(&*first).for_each(|(shift, sum)| *shift = sum / count as f64);
        }
        let sums = [&mut *first, &mut *second];
        self.0.run(Rows { terms: Deviation, constants: [&*shift], columns: [columns], tables: sums });
        out.extend((0..columns.width).map(|column| {
            let place = columns.place(column);
            let moments = Moments::from_shifted(count, shift[place], first[place], second[place]);
            if T::WIDENS || (moments.is_finite() && moments.m2() != 0.0) {
                return moments;
            }
            // The rare ends of the range, one channel at a time.
            let values: Vec<T> = columns.column(column).collect();
            self.run(columns.left + column, Chunk { pieces: &[[&values]], ahead: [0] })
        }));
    }
}

/// The sums that the backward pass needs of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct GradientSums {
    /// Sum of dy (behind an activation: of dy times its derivative, here and below).
    pub dy: f64,
    /// Sum of dy * xhat.
    pub dy_xhat: f64,
}

impl Merge for GradientSums {
    fn merge(self, right: GradientSums) -> GradientSums {
        GradientSums { dy: self.dy + right.dy, dy_xhat: self.dy_xhat + right.dy_xhat }
    }
}

impl GradientSums {
    /// From sums about a mean's f64, its rest taking `lag` off xhat.
    fn about(dy: f64, dy_xhat: f64, lag: f64) -> Self {
        GradientSums { dy, dy_xhat: dy_xhat - dy * lag }
    }
}

/// The gradient sums of a chunk.
pub(crate) struct GradientLeaf<'m, F, const K: usize> {
    pub isa: Isa,
    /// Of x and dy, or of y and dy.
    pub terms: F,
    /// Those of the terms, of each channel.
    pub constants: [&'m [f64]; K],
    /// What the mean's rest takes off xhat, of each channel.
    pub lags: &'m [f64],
}

impl<'m, A> GradientLeaf<'m, Products<A>, 4> {
    /// Of x and dy. Constants: mean, scale, shift, inverse standard deviation, lag.
    pub fn new(isa: Isa, activation: A, [mean, scale, shift, inverse, lags]: [&'m [f64]; 5]) -> Self {
        GradientLeaf { isa, terms: Products(activation), constants: [mean, scale, shift, inverse], lags }
    }
}

impl<T, F, const K: usize, const N: usize> Leaf<T, N> for GradientLeaf<'_, F, K>
where
    T: Element,
    F: Terms<N, K, 2> + Sync,
{
    type Value = GradientSums;

    fn run(&self, channel: usize, chunk: Chunk<T, N>) -> GradientSums {
        let constants = self.constants.map(|vector| vector[channel]);
        let [dy, dy_xhat] = self.isa.run(Run { terms: self.terms, constants, chunk });
        GradientSums::about(dy, dy_xhat, self.lags[channel])
    }

    fn rows(&self, columns: [Columns<T>; N], tables: &mut Tables, out: &mut Vec<GradientSums>) {
        let first = columns[0];
        let vectors = first.vectors();
        let (tables, constants) = tables.of(vectors, K);
        let line = vectors * WIDTH;
        for (constants, all) in constants.chunks_exact_mut(line).zip(self.constants) {
            for (vector, constants) in constants.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
                constants.copy_from_slice(&all[first.channel(vector)..][..WIDTH]);
            }
        }
        let constants = std::array::from_fn(|k| &constants[k * line..(k + 1) * line]);
        let [dy, dy_xhat] = tables;
        let tables = [&mut *dy, &mut *dy_xhat];
        self.isa.run(Rows { terms: self.terms, constants, columns, tables });
        out.extend((0..first.width).map(|column| {
            let place = first.place(column);
            GradientSums::about(dy[place], dy_xhat[place], self.lags[first.left + column])
        }));
    }
}
