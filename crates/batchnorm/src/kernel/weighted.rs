//! The loops of weighted values. Weights are an array more, with strides of 0 where they are the same for many values; where
//! a weight is 0 nothing else is looked at, whatever stands there.

use super::activation::Activate;
use super::leaves::{GradientLeaf, Leaf, Tables};
use super::pointwise::Pointwise;
use super::raw::Isa;
use super::sums::{Chunk, Columns, Run, Terms};
use super::vector::Vector;
use crate::element::Element;
use crate::moments::Moments;

/// 0 where the weight is 0.
#[inline(always)]
fn counted<V: Vector>(weight: V, value: V) -> V {
    let zero = V::splat(0.0);
    weight.select_le(zero, zero, value)
}

/// One, the weight, and the weight times the deviation from a shift near the values and times its square.
#[derive(Clone, Copy)]
struct Deviation;

impl Terms<2, 1, 4> for Deviation {
    #[inline(always)]
    fn of<V: Vector>(self, [shift]: [V; 1], [x, weight]: [V; 2]) -> [V; 4] {
        let d = counted(weight, x.sub(shift));
        let product = weight.mul(d);
        [counted(weight, V::splat(1.0)), weight, product, product.mul(d)]
    }
}

/// The moments of a chunk of values and their weights.
pub(crate) struct WeightedMomentsLeaf(pub Isa);

impl<T: Element> Leaf<T, 2> for WeightedMomentsLeaf {
    type Value = Moments;

    fn run(&self, _: usize, chunk: Chunk<T, 2>) -> Moments {
        let counting = || {
            let pairs = chunk.pieces.iter().flat_map(|[x, weights]| x.iter().zip(*weights));
            pairs.map(|(x, weight)| (x.to_f64(), weight.to_f64())).filter(|(_, weight)| *weight > 0.0)
        };
        // The heaviest one: a light one may lie anywhere without being noticed in the variance.
        let heavier = |a: (f64, f64), b: (f64, f64)| if b.1 > a.1 { b } else { a };
        let Some((near, _)) = counting().reduce(heavier) else { return Moments::EMPTY };
        let sums = |shift: f64| self.0.run(Run { terms: Deviation, constants: [shift], chunk });
        let of = |shift, [count, weight, d, q]: [f64; 4]| Moments::from_weighted(count as u64, weight, shift, [d, q]);
        let about_near = sums(near);
        let [_, weight, d, q] = about_near;
        if q == 0.0 {
            // All alike, exactly; or deviations too small to square.
            let moments = of(near, about_near);
            return if counting().all(|(x, _)| x == near) { moments } else { moments.not_constant() };
        }
        // About the mean once more: what is taken off the squares is nothing then.
        let mean = near + d / weight;
        let moments = of(mean, sums(mean));
        let moments = if moments.m2() == 0.0 { moments.not_constant() } else { moments };
        if moments.is_finite() { moments } else { of(near, about_near) }
    }

    fn rows(&self, columns: [Columns<T>; 2], _: &mut Tables, out: &mut Vec<Moments>) {
        // Weights of every single value, which are rare: one channel at a time.
        let mut copies = [Vec::new(), Vec::new()];
        out.extend((0..columns[0].width).map(|column| {
            for (copy, columns) in copies.iter_mut().zip(&columns) {
                copy.clear();
                copy.extend(columns.column(column));
            }
            let [x, weights] = &copies;
            self.run(columns[0].left + column, Chunk { pieces: &[[x, weights]], ahead: [0; 2] })
        }));
    }
}

/// [`Products`](super::leaves::Products) of the values that count. (A value's weight plays no part: the loss has it in dy.)
#[derive(Clone, Copy)]
pub(crate) struct WeightedProducts<A>(A);

impl<A: Activate> Terms<3, 4, 2> for WeightedProducts<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy, weight]: [V; 3]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = counted(weight, self.0.backward(deviation.mul(scale).add(shift), dy));
        [dz, dz.mul(counted(weight, deviation.mul(inverse)))]
    }
}

impl<'m, A> GradientLeaf<'m, WeightedProducts<A>, 4> {
    /// Of x, dy and weights. Constants: as those of `new`.
    pub fn weighted(isa: Isa, activation: A, [mean, scale, shift, inverse, lags]: [&'m [f64]; 5]) -> Self {
        GradientLeaf { isa, terms: WeightedProducts(activation), constants: [mean, scale, shift, inverse], lags }
    }
}

/// y = f((x - mean) * scale + shift), 0 where the weight is 0. Coefficients: mean, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeWeighted<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for NormalizeWeighted<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, weight]: [V; 2]) -> [V; 1] {
        [counted(weight, self.0.forward(x.sub(mean).mul(scale).add(shift)))]
    }
}

/// dx = scale * (dz - weight * (offset + (x - mean) * slope)), 0 where the weight is 0. Coefficients: mean, scale, shift,
/// offset, slope; the last two are 0 where the statistics are constants.
#[derive(Clone, Copy)]
pub(crate) struct InputGradientWeighted<A>(pub A);

impl<A: Activate> Pointwise<3, 5, 1> for InputGradientWeighted<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift, offset, slope]: [V; 5], [x, dy, weight]: [V; 3]) -> [V; 1] {
        let (zero, deviation) = (V::splat(0.0), x.sub(mean));
        let dz = self.0.backward(deviation.mul(scale).add(shift), dy);
        // An infinite x is no matter to constants: not 0 times it.
        let through = offset.add(deviation.mul(slope));
        let through = slope.select_le(zero, zero.sub(slope).select_le(zero, offset, through), through);
        [counted(weight, scale.mul(dz.sub(weight.mul(through))))]
    }
}
