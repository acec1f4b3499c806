//! Formulas of one element of a row that has parameters of each element, and the loops over a piece of a row. Which
//! pieces: `rows`.

#![allow(clippy::needless_range_loop)]

use crate::activation::{Activate, Activation, leaky, with_activation};
use crate::lanes::{eight, in_groups, load_all, load_last, load_pair};
use crate::machine::isa::{Isa, Kernel};
use crate::machine::vector::{Vector, WIDTH, splat_all};
use crate::number::Stored;
use crate::reduce::chunk::{LANES, fold};
use std::ops::Range;

/// The numbers of a row that give xhat = (x - mean) * inverse_deviation - xhat_low.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowNumbers {
    /// The mean, rounded; 0 where it is not taken off.
    pub mean: f64,
    /// 1 / sqrt(variance + eps); 0 where the gradient is declared to be 0.
    pub inverse_deviation: f64,
    /// The low part of the mean, times the inverse standard deviation.
    pub xhat_low: f64,
}

impl RowNumbers {
    /// In the order in which the formulas take them.
    pub(crate) fn in_order(self) -> [f64; 3] {
        [self.mean, self.inverse_deviation, self.xhat_low]
    }
}

/// Means that are taken off the gradient of a row: `offset + xhat * xhat_factor`.
#[derive(Debug, Clone, Copy)]
pub struct RowMeans {
    /// The mean of gamma dz; 0 where the mean of the row is not taken off.
    pub offset: f64,
    /// The mean of gamma dz xhat.
    pub xhat_factor: f64,
}

/// Parameters of each element of a row, in vectors of `period` rows each: row r has row r mod period of them.
#[derive(Clone, Copy)]
pub struct Elements<'e, const E: usize> {
    /// A vector for each parameter.
    pub vectors: [&'e [f64]; E],
    /// Rows after which the parameters begin again.
    pub period: usize,
}

impl<'e, const E: usize> Elements<'e, E> {
    pub(crate) fn of(&self, row: usize, part: &Range<usize>) -> [&'e [f64]; E] {
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
fn normalized<V: Vector>(x: V, [mean, inverse, xhat_low]: [V; 3]) -> V {
    x.sub(mean).mul(inverse).sub(xhat_low)
}

/// z = xhat * gamma + beta.
#[inline(always)]
fn scaled<V: Vector>(xhat: V, [gamma, beta]: [V; 2]) -> V {
    xhat.mul(gamma).add(beta)
}

/// y = f(xhat * gamma + beta). Row: mean, inverse deviation, low part of xhat; element: gamma, beta.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeRow<A>(pub A);

impl<A: Activate> RowFormula<1, 3, 2> for NormalizeRow<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 3], element: [V; 2], [x]: [V; 1]) -> V {
        self.0.forward(scaled(normalized(x, row), element))
    }
}

/// dx = inverse * ((gamma * dz - mean of that) - xhat * mean of that times xhat), dz = dy f'(z) with z computed again. Row: mean,
/// inverse deviation, low part of xhat, and the two means; element: gamma, beta.
#[derive(Clone, Copy)]
pub(crate) struct RowGradient<A>(pub A);

impl<A: Activate> RowFormula<2, 5, 2> for RowGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 5], [gamma, beta]: [V; 2], [x, dy]: [V; 2]) -> V {
        let [mean, inverse, xhat_low, offset, xhat_factor] = row;
        let xhat = normalized(x, [mean, inverse, xhat_low]);
        let dz = self.0.backward(scaled(xhat, [gamma, beta]), dy);
        inverse.mul(gamma.mul(dz).sub(offset).sub(xhat.mul(xhat_factor)))
    }
}

/// y' = f'(z) * (gamma * inverse * ((t - mean t) - xhat * mean of t xhat) + gamma' * xhat + beta'). Row: mean, inverse deviation, low
/// part of xhat, and the two means; element: gamma, beta, gamma', beta'.
#[derive(Clone, Copy)]
pub(crate) struct RowTangent<A>(pub A);

impl<A: Activate> RowFormula<2, 5, 4> for RowTangent<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, row: [V; 5], [gamma, beta, gamma_t, beta_t]: [V; 4], [x, t]: [V; 2]) -> V {
        let [mean, inverse, xhat_low, offset, xhat_factor] = row;
        let xhat = normalized(x, [mean, inverse, xhat_low]);
        let own = inverse.mul(t.sub(offset).sub(xhat.mul(xhat_factor))).mul(gamma);
        self.0.backward(scaled(xhat, [gamma, beta]), own.add(xhat.mul(gamma_t)).add(beta_t))
    }
}

/// A formula over a piece of a row. The output must not be an input: some values are computed twice.
pub(crate) struct MapPiece<'v, F, T, const N: usize, const K: usize, const E: usize> {
    pub formula: F,
    pub row: [f64; K],
    pub elements: [&'v [f64]; E],
    pub values: [&'v [T]; N],
    pub out: &'v mut [T],
}

impl<F, T, const N: usize, const K: usize, const E: usize> Kernel<()> for MapPiece<'_, F, T, N, K, E>
where
    F: RowFormula<N, K, E>,
    T: Stored,
{
    #[inline(always)]
    fn run<V: Vector>(self) {
        let MapPiece { formula, row, elements, values, out } = self;
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

/// A formula by sums over the row, with loops for each activation, of which a piece takes one.
pub(crate) trait SummedFormula<const E: usize>: Copy + Sync {
    fn map<T: Stored>(self, isa: Isa, row: [f64; 5], elements: [&[f64]; E], values: [&[T]; 2], out: &mut [T]);
}

/// [`RowGradient`].
#[derive(Clone, Copy)]
pub(crate) struct GradientBehind(pub Activation);

impl SummedFormula<2> for GradientBehind {
    fn map<T: Stored>(self, isa: Isa, row: [f64; 5], elements: [&[f64]; 2], values: [&[T]; 2], out: &mut [T]) {
        with_activation!(self.0, |f| isa.run(MapPiece { formula: RowGradient(f), row, elements, values, out }));
    }
}

/// [`RowTangent`], which is rare.
#[derive(Clone, Copy)]
pub(crate) struct TangentBehind(pub Activation);

impl SummedFormula<4> for TangentBehind {
    fn map<T: Stored>(self, isa: Isa, row: [f64; 5], elements: [&[f64]; 4], values: [&[T]; 2], out: &mut [T]) {
        isa.run(MapPiece { formula: RowTangent(leaky::<T>(self.0)), row, elements, values, out });
    }
}

/// The sums of gamma dz and gamma dz xhat of a chunk of a row, dz = dy f'(z), in the lanes of `reduce::chunk`.
pub(crate) struct SumPiece<'v, A, T> {
    pub activation: A,
    pub row: RowNumbers,
    /// gamma and beta.
    pub elements: [&'v [f64]; 2],
    pub values: [&'v [T]; 2],
}

/// dz and xhat of x and dy.
#[inline(always)]
fn upstream<A: Activate, V: Vector>(f: A, row: [V; 3], element: [V; 2], [x, dy]: [V; 2]) -> [V; 2] {
    let xhat = normalized(x, row);
    [f.backward(scaled(xhat, element), dy), xhat]
}

#[inline(always)]
fn terms<A: Activate, V: Vector>(f: A, row: [V; 3], element: [V; 2], values: [V; 2]) -> [V; 2] {
    let [dz, xhat] = upstream(f, row, element, values);
    let weighted = element[0].mul(dz);
    [weighted, weighted.mul(xhat)]
}

impl<A: Activate, T: Stored> Kernel<[f64; 2]> for SumPiece<'_, A, T> {
    #[inline(always)]
    fn run<V: Vector>(self) -> [f64; 2] {
        let SumPiece { activation: f, row, elements, values } = self;
        let (row, zero, len) = (splat_all::<V, 3>(row.in_order()), V::splat(0.0), elements[0].len());
        let (mut even, mut odd) = ([zero; 2], [zero; 2]);
        let whole = len / LANES;
        let (from, of) = (in_groups(values, 0, whole), in_groups::<f64, 2, LANES>(elements, 0, whole));
        for group in 0..whole {
            let [left, right] = load_pair::<V, T, 2>(from, group, [0; 2]);
            let [gamma, beta] = [&of[0][group], &of[1][group]];
            let of_left = [V::from_f64(eight(gamma)), V::from_f64(eight(beta))];
            let of_right = [V::from_f64(eight(&gamma[WIDTH..])), V::from_f64(eight(&beta[WIDTH..]))];
            let (left, right) = (terms(f, row, of_left, left), terms(f, row, of_right, right));
            for s in 0..2 {
                (even[s], odd[s]) = (even[s].add(left[s]), odd[s].add(right[s]));
            }
        }
        let mut at = whole * LANES;
        if at + WIDTH <= len {
            let element = load_all::<V, f64, 2>(elements, at);
            let all = terms(f, row, element, load_all::<V, T, 2>(values, at));
            for s in 0..2 {
                even[s] = even[s].add(all[s]);
            }
            at += WIDTH;
        }
        if at < len {
            // Computed in all lanes, added in those that there are.
            let element = load_last::<V, f64, 2>(elements, at);
            let all = terms(f, row, element, load_last::<V, T, 2>(values, at));
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

/// dz and dz xhat of a piece of a row, dz = dy f'(z), added to the sums of each element.
pub(crate) struct AddToSums<'v, A, T> {
    pub activation: A,
    pub row: RowNumbers,
    /// gamma and beta.
    pub elements: [&'v [f64]; 2],
    pub values: [&'v [T]; 2],
    pub sums: [&'v mut [f64]; 2],
}

impl<A: Activate, T: Stored> Kernel<()> for AddToSums<'_, A, T> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let AddToSums { activation: f, row, elements, values, sums: [dy_sums, product_sums] } = self;
        let (row, len) = (splat_all::<V, 3>(row.in_order()), dy_sums.len());
        let whole = len / WIDTH;
        let (from, of) = (in_groups::<T, 2, WIDTH>(values, 0, whole), in_groups::<f64, 2, WIDTH>(elements, 0, whole));
        let to = dy_sums.as_chunks_mut::<WIDTH>().0.iter_mut().zip(product_sums.as_chunks_mut::<WIDTH>().0);
        for (group, (dy_sums, product_sums)) in to.enumerate() {
            let element = [V::from_f64(&of[0][group]), V::from_f64(&of[1][group])];
            let [dz, xhat] = upstream(f, row, element, [T::load(&from[0][group]), T::load(&from[1][group])]);
            V::from_f64(dy_sums).add(dz).to_f64(dy_sums);
            V::from_f64(product_sums).add(dz.mul(xhat)).to_f64(product_sums);
        }
        let at = whole * WIDTH;
        if at < len {
            let element = load_last::<V, f64, 2>(elements, at);
            let [dz, xhat] = upstream(f, row, element, load_last::<V, T, 2>(values, at));
            add_first(&mut dy_sums[at..], dz);
            add_first(&mut product_sums[at..], dz.mul(xhat));
        }
    }
}

/// The first lanes, added to as many sums as there are.
#[inline(always)]
fn add_first<V: Vector>(sums: &mut [f64], terms: V) {
    let mut lanes = [0.0; WIDTH];
    terms.to_f64(&mut lanes);
    sums.iter_mut().zip(lanes).for_each(|(sum, term)| *sum += term);
}
