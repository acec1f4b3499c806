//! What the layers above call, for each element type compiled here once: through [`Element`]'s sealed methods, so that
//! no crate that uses this one compiles the loops again.

use super::activation::{Leaky, Linear};
use super::in_place::{self, map_in_place, reduce_and_map_in_place};
use super::leaves::{GradientLeaf, GradientSums, Leaf, MomentsLeaf, ProductsAlong, ProductsOfOutput};
use super::map::{map, reduce_and_map};
use super::pointwise::{
    Coefficients, GradientAlong, InputGradient, InputGradientOfOutput, Mask, Normalize, NormalizeAdding, Scale, Tangent,
};
use super::raw::{Isa, Readable, Writable};
use super::reduce::reduce;
use super::row_formulas::{Elements, RowGradient, RowNumbers, RowTangent};
use super::rows::{self, Summed};
use super::sums::Chunk;
use super::weighted::{InputGradientWeighted, NormalizeWeighted, WeightedMomentsLeaf};
use super::whitening::{self, Centered};
use crate::config::Activation;
use crate::element::Element;
use crate::moments::Moments;

/// The coefficients of a channel, from what was reduced of it.
pub type Of<'f, V, const K: usize> = &'f (dyn Fn(usize, V) -> [f64; K] + Sync);

/// The activation as the loops take it, the identity as a rectifier that leaks everything.
fn leaky<T: Element>(activation: Activation) -> Leaky {
    Leaky { slope: activation.slope(), vanishes: T::VANISHES }
}

/// An expression with the activation's own kernels: the identity has some without arithmetic of its own.
macro_rules! behind {
    ($activation:expr, |$kernels:ident| $call:expr) => {
        match $activation {
            Activation::Identity => {
                let $kernels = Linear;
                $call
            }
            other => {
                let $kernels = leaky::<T>(other);
                $call
            }
        }
    };
}

pub fn moments<T: Element>(isa: Isa, x: &Readable<T>) -> Vec<Moments> {
    reduce([x], &MomentsLeaf(isa))
}

/// y by the batch. Coefficients: as [`Normalize`].
pub fn train<T: Element>(
    isa: Isa,
    activation: Activation,
    x: &Readable<T>,
    residual: Option<&Readable<T>>,
    y: &mut Writable<T>,
    of: Of<Moments, 3>,
) -> Vec<Moments> {
    let leaf = MomentsLeaf(isa);
    match residual {
        None => behind!(activation, |f| reduce_and_map(&leaf, [x], isa, Normalize(f), [x], [y], of)),
        Some(residual) => {
            let formula = NormalizeAdding(leaky::<T>(activation));
            reduce_and_map(&leaf, [x], isa, formula, [x, residual], [y], of)
        }
    }
}

/// y by coefficients that are known already: as [`Normalize`].
pub fn normalize<T: Element>(
    isa: Isa,
    activation: Activation,
    x: &Readable<T>,
    residual: Option<&Readable<T>>,
    y: &mut Writable<T>,
    all: Coefficients<3>,
) {
    match residual {
        None => behind!(activation, |f| map(isa, Normalize(f), [x], [y], all)),
        Some(residual) => map(isa, NormalizeAdding(leaky::<T>(activation)), [x, residual], [y], all),
    }
}

/// The sums of x and dy that the backward pass needs. Constants: as [`GradientLeaf`].
pub fn gradient_sums<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 2],
) -> Vec<GradientSums> {
    behind!(activation, |f| reduce(arrays, &GradientLeaf::new(isa, f, constants)))
}

/// dx of x and dy where the statistics are those of the batch. Coefficients: as [`InputGradient`].
pub fn backward<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
    of: Of<GradientSums, 5>,
) -> Vec<GradientSums> {
    behind!(activation, |f| {
        let leaf = GradientLeaf::new(isa, f, constants);
        reduce_and_map(&leaf, arrays, isa, InputGradient(f), arrays, [dx], of)
    })
}

/// dx of x and dy by coefficients that are known already: as [`InputGradient`].
pub fn input_gradient<T: Element>(
    isa: Isa,
    activation: Activation,
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
    all: Coefficients<5>,
) {
    behind!(activation, |f| map(isa, InputGradient(f), arrays, [dx], all));
}

/// dx of x and dy where the statistics are constants. Coefficients: as [`Scale`].
pub fn backward_by_constants<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
    of: Of<GradientSums, 3>,
) -> Vec<GradientSums> {
    behind!(activation, |f| {
        let leaf = GradientLeaf::new(isa, f, constants);
        reduce_and_map(&leaf, arrays, isa, Scale(f), arrays, [dx], of)
    })
}

/// The directional derivative of y by coefficients that are known already: of arrays [x, t], as [`Tangent`].
pub fn tangent<T: Element>(
    isa: Isa,
    activation: Activation,
    arrays: [&Readable<T>; 2],
    out: &mut Writable<T>,
    all: Coefficients<7>,
) {
    behind!(activation, |f| map(isa, Tangent(f), arrays, [out], all));
}

/// The sums of dz and of dz t, of arrays [x, dy, t]. Constants: mean, scale, shift.
pub fn sums_along<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 3],
    arrays: [&Readable<T>; 3],
) -> Vec<GradientSums> {
    let lags = &vec![0.0; constants[0].len()][..];
    let terms = ProductsAlong(leaky::<T>(activation));
    reduce(arrays, &GradientLeaf { isa, terms, constants, lags })
}

/// The derivative of dx along t, of arrays [x, dy, t]. Coefficients: as [`GradientAlong`].
pub fn gradient_along<T: Element>(
    isa: Isa,
    activation: Activation,
    arrays: [&Readable<T>; 3],
    out: &mut Writable<T>,
    all: Coefficients<10>,
) {
    map(isa, GradientAlong(leaky::<T>(activation)), arrays, [out], all);
}

/// dx and the residual's gradient of x, dy and y, by batch statistics. Coefficients: as [`InputGradient`].
pub fn backward_adding<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 3],
    outs: [&mut Writable<T>; 2],
    of: Of<GradientSums, 5>,
) -> Vec<GradientSums> {
    let activation = leaky::<T>(activation);
    let leaf = GradientLeaf::new(isa, activation, constants);
    reduce_and_map(&leaf, arrays, isa, InputGradient(activation), arrays, outs, of)
}

/// The same where the statistics are constants. Coefficients: as [`Scale`].
pub fn backward_adding_by_constants<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 3],
    outs: [&mut Writable<T>; 2],
    of: Of<GradientSums, 3>,
) -> Vec<GradientSums> {
    let activation = leaky::<T>(activation);
    let leaf = GradientLeaf::new(isa, activation, constants);
    reduce_and_map(&leaf, arrays, isa, Scale(activation), arrays, outs, of)
}

// Weighted values, of which the identity goes as below.

/// [`moments`] of values and weights.
pub fn moments_weighted<T: Element>(isa: Isa, x: &Readable<T>, weights: &Readable<T>) -> Vec<Moments> {
    reduce([x, weights], &WeightedMomentsLeaf(isa))
}

/// y by coefficients that are known already: as [`NormalizeWeighted`].
pub fn normalize_weighted<T: Element>(
    isa: Isa,
    activation: Activation,
    x: &Readable<T>,
    weights: &Readable<T>,
    y: &mut Writable<T>,
    all: Coefficients<3>,
) {
    map(isa, NormalizeWeighted(leaky::<T>(activation)), [x, weights], [y], all);
}

/// The sums of x, dy and weights that the backward pass needs. Constants: as [`GradientLeaf`].
pub fn gradient_sums_weighted<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 3],
) -> Vec<GradientSums> {
    reduce(arrays, &GradientLeaf::weighted(isa, leaky::<T>(activation), constants))
}

/// dx of x, dy and weights by coefficients that are known already: as [`InputGradientWeighted`].
pub fn input_gradient_weighted<T: Element>(
    isa: Isa,
    activation: Activation,
    arrays: [&Readable<T>; 3],
    dx: &mut Writable<T>,
    all: Coefficients<5>,
) {
    map(isa, InputGradientWeighted(leaky::<T>(activation)), arrays, [dx], all);
}

// Over their own input, the identity goes as a rectifier that leaks everything, with the same bits: what these loops wait
// for is memory, and loops of its own would take a user half a minute to compile.

/// y over x, by coefficients that are known already: as [`Normalize`].
pub fn normalize_in_place<T: Element>(
    isa: Isa,
    activation: Activation,
    x: &mut Writable<T>,
    residual: Option<&Readable<T>>,
    all: Coefficients<3>,
) {
    let activation = leaky::<T>(activation);
    match residual {
        None => map_in_place(isa, Normalize(activation), [], x, all),
        Some(residual) => map_in_place(isa, NormalizeAdding(activation), [residual], x, all),
    }
}

/// [`backward`], dx over dy.
pub fn backward_in_place<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    x: &Readable<T>,
    dy: &mut Writable<T>,
    of: Of<GradientSums, 5>,
) -> Vec<GradientSums> {
    let activation = leaky::<T>(activation);
    let leaf = GradientLeaf::new(isa, activation, constants);
    reduce_and_map_in_place(&leaf, isa, InputGradient(activation), x, dy, of)
}

/// [`backward_by_constants`], dx over dy.
pub fn backward_by_constants_in_place<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    x: &Readable<T>,
    dy: &mut Writable<T>,
    of: Of<GradientSums, 3>,
) -> Vec<GradientSums> {
    let activation = leaky::<T>(activation);
    reduce_and_map_in_place(&GradientLeaf::new(isa, activation, constants), isa, Scale(activation), x, dy, of)
}

/// dx over dy, of y. Constants: as [`ProductsOfOutput`], and the leaf's lags; coefficients: as
/// [`InputGradientOfOutput`].
pub fn backward_of_output<T: Element>(
    isa: Isa,
    activation: Activation,
    [beta, reciprocal, lags]: [&[f64]; 3],
    y: &Readable<T>,
    dy: &mut Writable<T>,
    of: Of<GradientSums, 5>,
) -> Vec<GradientSums> {
    let activation = leaky::<T>(activation);
    let leaf = GradientLeaf { isa, terms: ProductsOfOutput(activation), constants: [beta, reciprocal], lags };
    reduce_and_map_in_place(&leaf, isa, InputGradientOfOutput(activation), y, dy, of)
}

/// Some channels, copied to an array of those alone.
pub fn take_channels<T: Element>(from: &Readable<T>, channels: &[usize], into: &mut Writable<T>) {
    in_place::take_channels(from, channels, into);
}

/// An array of some channels, copied to where they belong.
pub fn put_channels<T: Element>(from: &Readable<T>, channels: &[usize], into: &mut Writable<T>) {
    in_place::put_channels(from, channels, into);
}

/// The sums of x, dy and y alone. Constants: as [`GradientLeaf`].
pub fn gradient_sums_adding<T: Element>(
    isa: Isa,
    activation: Activation,
    constants: [&[f64]; 5],
    arrays: [&Readable<T>; 3],
) -> Vec<GradientSums> {
    reduce(arrays, &GradientLeaf::new(isa, leaky::<T>(activation), constants))
}

/// The residual's gradient alone: of arrays [dy, y].
pub fn residual_gradient<T: Element>(
    isa: Isa,
    activation: Activation,
    arrays: [&Readable<T>; 2],
    dresidual: &mut Writable<T>,
) {
    let none = Coefficients::new(dresidual.geometry().channels, |_| [0.0]);
    map(isa, Mask(leaky::<T>(activation)), arrays, [dresidual], none);
}

/// Sums of products between the channels of a group: as [`whitening::products`].
pub fn products<T: Element>(isa: Isa, array: Centered<T>, other: Option<Centered<T>>, group: usize) -> Vec<Vec<f64>> {
    whitening::products(isa, array, other, group)
}

/// Channels of a group, mixed: as [`whitening::mix`].
pub fn mix<T: Element>(
    isa: Isa,
    inputs: &[Centered<T>],
    matrices: &[Vec<f64>],
    shift: &[f64],
    group: usize,
    out: &mut Writable<T>,
) {
    whitening::mix(isa, inputs, matrices, shift, group, out);
}

/// y of rows by their own moments, the parameters those of the elements; the first row is number `first` among all.
pub fn normalize_rows<T: Element>(
    isa: Isa,
    first: usize,
    x: &Readable<T>,
    y: &mut Writable<T>,
    elements: Elements<2>,
    of: Of<Moments, 3>,
) -> Vec<Moments> {
    let leaf = |x: &[T]| MomentsLeaf(isa).run(0, Chunk { pieces: &[[x]], ahead: [0] });
    rows::normalize(isa, first, x, y, elements, leaf, of)
}

/// dx of rows of x and dy: as [`RowGradient`].
pub fn input_gradient_rows<T: Element>(isa: Isa, summed: Summed, arrays: [&Readable<T>; 2], dx: &mut Writable<T>) {
    rows::by_sums(isa, RowGradient, summed, summed.weights, arrays, dx);
}

/// The same of all rows, and what [`parameter_rows`] gives, at once.
pub fn backward_rows<T: Element>(
    isa: Isa,
    summed: Summed,
    arrays: [&Readable<T>; 2],
    dx: &mut Writable<T>,
) -> [Vec<f64>; 2] {
    rows::gradients(isa, summed, arrays, dx)
}

/// The directional derivative of rows, of x and t: as [`RowTangent`]. The weights of the sums are ones.
pub fn tangent_rows<T: Element>(
    isa: Isa,
    summed: Summed,
    elements: Elements<3>,
    arrays: [&Readable<T>; 2],
    out: &mut Writable<T>,
) {
    rows::by_sums(isa, RowTangent, summed, elements, arrays, out);
}

/// Sums over rows of dy and of dy * xhat, of each element: of parts [x, dy] with the rows one after the other.
pub fn parameter_rows<T: Element>(
    isa: Isa,
    parts: &[[&Readable<T>; 2]],
    numbers: &[RowNumbers],
    period: usize,
) -> [Vec<f64>; 2] {
    rows::parameter_sums(isa, parts, numbers, period)
}
