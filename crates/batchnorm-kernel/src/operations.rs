//! The operations on arrays that layers ask for. What a pass is, [`Forward`] and [`Backward`] say; which loops it takes is
//! decided in `dispatch`.

use crate::activation::Activation;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::map::formulas::{
    GradientAlongCoefficients, GroupGradientCoefficients, NormalizeCoefficients, OutputGradientCoefficients,
    TangentCoefficients,
};
use crate::moments::Moments;
use crate::pass::{Backward, Forward, GradientOutputs, NormalizeVectors, OfChannel, OfReduced, OutputBackward};
use crate::reduce::gradients::{ChannelConstants, GradientSums};
use crate::rows::formulas::{Elements, RowNumbers};
use crate::rows::plain::{PlainArrays, PlainPass, PlainRows, RowDirection};
use crate::rows::{Scaling, Summed};
use crate::whitening::Centered;

/// The passes over arrays of one number type.
pub trait Operations<T>: Sync {
    /// Moments of each channel, of values that count as often as their weight says; none for empty arrays.
    fn moments(&self, machine: &Machine, x: &Readable<T>, weights: Option<&Readable<T>>) -> Vec<Moments>;

    /// y by coefficients that follow from the moments, which are returned: each channel is normalised while a cache still
    /// holds it, where that can be.
    fn train(
        &self,
        pass: Forward<T>,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfReduced<Moments, NormalizeCoefficients>,
    ) -> Vec<Moments>;

    /// y by coefficients that are known.
    fn normalize(&self, pass: Forward<T>, x: &Readable<T>, y: &mut Writable<T>, coefficients: NormalizeVectors);

    /// y over x, with the same bits; without weights.
    fn normalize_in_place(&self, pass: Forward<T>, x: &mut Writable<T>, coefficients: NormalizeVectors);

    /// The sums of dz and dz xhat of each channel.
    fn gradient_sums(&self, pass: Backward<T>, dy: &Readable<T>) -> Vec<GradientSums>;

    /// dx, and dz for the residual, by sums that are known.
    fn input_gradient(&self, pass: Backward<T>, dy: &Readable<T>, sums: &[GradientSums], outs: GradientOutputs<T>);

    /// dx, and dz for the residual, by the sums of the arrays themselves, which are returned.
    fn backward(&self, pass: Backward<T>, dy: &Readable<T>, outs: GradientOutputs<T>) -> Vec<GradientSums>;

    /// [`backward`](Self::backward) with dx over dy, with the same bits; without residual and weights.
    fn backward_in_place(&self, pass: Backward<T>, dy: &mut Writable<T>) -> Vec<GradientSums>;

    /// dz = dy f'(z) alone, from the output y.
    fn residual_gradient(
        &self,
        machine: &Machine,
        activation: Activation,
        y: &Readable<T>,
        dy: &Readable<T>,
        dresidual: &mut Writable<T>,
    );

    /// The sums of t (as `dy`) and of t xhat (as `dy_xhat`) of each channel, of arrays x and t, each value as often as its weight says.
    fn direction_sums(
        &self,
        machine: &Machine,
        channels: ChannelConstants,
        arrays: [&Readable<T>; 2],
        weights: Option<&Readable<T>>,
    ) -> Vec<GradientSums>;

    /// The directional derivative of y along t, of arrays x and t; 0 where a weight is 0.
    fn tangent(
        &self,
        machine: &Machine,
        activation: Activation,
        arrays: [&Readable<T>; 2],
        weights: Option<&Readable<T>>,
        out: &mut Writable<T>,
        coefficients: OfChannel<TangentCoefficients>,
    );

    /// dx of a norm whose channels share the sums of a group, of arrays x and dy.
    fn group_gradient(
        &self,
        machine: &Machine,
        activation: Activation,
        arrays: [&Readable<T>; 2],
        dx: &mut Writable<T>,
        coefficients: OfChannel<GroupGradientCoefficients>,
    );

    /// The sums of dz (as `dy`) and of dz t (as `dy_xhat`) of each channel, of the values that count.
    fn sums_along(
        &self,
        machine: &Machine,
        activation: Activation,
        channels: ChannelConstants,
        arrays: [&Readable<T>; 3],
        weights: Option<&Readable<T>>,
    ) -> Vec<GradientSums>;

    /// The derivative of dx along t, of arrays x, dy and t, and weights.
    fn gradient_along(
        &self,
        machine: &Machine,
        activation: Activation,
        arrays: [&Readable<T>; 3],
        weights: Option<&Readable<T>>,
        out: &mut Writable<T>,
        coefficients: OfChannel<GradientAlongCoefficients>,
    );

    /// y of rows by their own moments, which are returned.
    fn normalize_rows(
        &self,
        machine: &Machine,
        scaling: Scaling,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfReduced<Moments, RowNumbers>,
    ) -> Vec<Moments>;

    /// dx of rows of x and dy.
    fn input_gradient_rows(&self, machine: &Machine, summed: Summed, arrays: [&Readable<T>; 2], dx: &mut Writable<T>);

    /// dx of all rows of x and dy, and what [`parameter_rows`](Self::parameter_rows) gives, at once.
    fn backward_rows(
        &self,
        machine: &Machine,
        summed: Summed,
        arrays: [&Readable<T>; 2],
        dx: &mut Writable<T>,
    ) -> [Vec<f64>; 2];

    /// The directional derivative of rows of x along t, behind this activation; the sums are those of t alone: without an
    /// activation, by gammas of 1. Elements: gamma, beta, gamma', beta'.
    fn tangent_rows(
        &self,
        machine: &Machine,
        activation: Activation,
        summed: Summed,
        elements: Elements<4>,
        arrays: [&Readable<T>; 2],
        out: &mut Writable<T>,
    );

    /// Sums over rows of dz and of dz xhat, of each element: of parts [x, dy] with the rows one after the other.
    fn parameter_rows(&self, machine: &Machine, parts: &[[&Readable<T>; 2]], summed: Summed) -> [Vec<f64>; 2];

    /// A pass over the rows of a part of the arrays, in plain loops; all parts have as many rows. How the rows move, of a pass
    /// along a direction.
    fn plain_rows(
        &self,
        rows: &PlainRows,
        pass: PlainPass,
        part: usize,
        arrays: PlainArrays<T>,
        out: &mut Writable<T>,
    ) -> Vec<RowDirection>;

    /// The sums over rows of dz and of dz xhat, of each element of `period` rows; along directions of the rows, of dz xhat'
    /// alone (as the second).
    fn plain_parameter_rows(
        &self,
        rows: &PlainRows,
        parts: &[PlainArrays<T>],
        directions: Option<&[RowDirection]>,
    ) -> [Vec<f64>; 2];

    /// Sums of products between the channels of each group of `group` channels (the last one is what is left): of an array
    /// with itself the lower triangle row by row, with `other` all rows, each with the sum of the array's own row behind.
    fn products(
        &self,
        machine: &Machine,
        array: Centered<T>,
        other: Option<Centered<T>>,
        group: usize,
    ) -> Vec<Vec<f64>>;

    /// `out_i = shift_i + sum_j M_ij r_j` for the rows r of all inputs' channels in the same group, input after input; a
    /// matrix for each group.
    fn mix(
        &self,
        machine: &Machine,
        inputs: &[Centered<T>],
        matrices: &[Vec<f64>],
        shift: &[f64],
        group: usize,
        out: &mut Writable<T>,
    );
}

/// The passes that take the output for the input: `f32` and `f64` have them.
pub trait OutputOperations<T>: Sync {
    /// dx over dy, from the output. The sums are returned.
    fn backward_of_output(
        &self,
        pass: OutputBackward<T>,
        dy: &mut Writable<T>,
        coefficients: OfReduced<GradientSums, OutputGradientCoefficients>,
    ) -> Vec<GradientSums>;
}
