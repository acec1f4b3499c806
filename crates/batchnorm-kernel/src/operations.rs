//! The operations on arrays that layers ask for. What a pass is, [`Forward`] and [`Backward`] say; which loops it takes is
//! decided in `dispatch`.

use crate::activation::Activation;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::map::formulas::{
    GradientAlongCoefficients, NormalizeCoefficients, OutputGradientCoefficients, TangentCoefficients,
};
use crate::moments::Moments;
use crate::pass::{Backward, Forward, GradientOutputs, NormalizeVectors, OfChannel, OfReduced, OutputBackward};
use crate::reduce::gradients::{ChannelConstants, GradientSums};
use crate::rows::Summed;
use crate::rows::formulas::{Elements, RowNumbers};
use crate::rows::second_order::{RowDirection, RowSecondDerivatives};
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

    /// y of rows by their own moments, which are returned; the first row is number `first` among all. Elements: gamma, beta.
    fn normalize_rows(
        &self,
        machine: &Machine,
        first: usize,
        x: &Readable<T>,
        y: &mut Writable<T>,
        elements: Elements<2>,
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

    /// The directional derivative of rows of x along t; the weights of the sums are ones. Elements: gamma, gamma', beta'.
    fn tangent_rows(
        &self,
        machine: &Machine,
        summed: Summed,
        elements: Elements<3>,
        arrays: [&Readable<T>; 2],
        out: &mut Writable<T>,
    );

    /// Sums over rows of dy and of dy xhat, of each element: of parts [x, dy] with the rows one after the other.
    fn parameter_rows(
        &self,
        machine: &Machine,
        parts: &[[&Readable<T>; 2]],
        numbers: &[RowNumbers],
        period: usize,
    ) -> [Vec<f64>; 2];

    /// dx' of the rows of a part of the arrays x, dy and x'; all parts have as many rows.
    fn rows_along(
        &self,
        rows: &RowSecondDerivatives,
        part: usize,
        arrays: [&Readable<T>; 3],
        out: &mut Writable<T>,
    ) -> Vec<RowDirection>;

    /// The sums over rows of dy xhat', of each element of `period` rows.
    fn parameter_rows_along(
        &self,
        rows: &RowSecondDerivatives,
        parts: &[[&Readable<T>; 3]],
        directions: &[RowDirection],
    ) -> Vec<f64>;

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
