//! Which loops each operation takes: decided once for a call.

use crate::activation::{Activation, Leaky, Linear};
use crate::array::memory::{Readable, Writable};
use crate::machine::isa::Isa;
use crate::map::coefficients::Coefficients;
use crate::map::formulas::{
    GradientAlong, GradientAlongCoefficients, InputGradient, InputGradientOfOutput, InputGradientWeighted, Mask,
    Normalize, NormalizeAdding, NormalizeCoefficients, NormalizeWeighted, OutputGradientCoefficients, Scale, Tangent,
    TangentCoefficients,
};
use crate::map::in_place::{map_in_place, reduce_and_map_in_place};
use crate::map::{map, reduce_and_map};
use crate::moments::Moments;
use crate::number::Stored;
use crate::operations::{Operations, OutputOperations};
use crate::pass::{Backward, Beside, Forward, GradientOutputs, OfChannel, OfReduced, OutputBackward, Statistics};
use crate::reduce::chunk::Chunk;
use crate::reduce::gradients::{ChannelConstants, ChunkGradientSums, DirectionSummands, GradientSums, OutputSummands};
use crate::reduce::moments::{ChunkMoments, WeightedChunkMoments};
use crate::reduce::reduce;
use crate::reduce::reduction::ChunkReduction;
use crate::rows::formulas::{Elements, RowGradient, RowNumbers, RowTangent};
use crate::rows::second_order::{RowDirection, RowSecondDerivatives};
use crate::rows::{self, Summed};
use crate::whitening::{self, Centered};

/// The one implementation: the loops of this crate.
pub(crate) struct Loops;

/// The activation as the loops take it, the identity as a rectifier that leaks everything.
///
/// Passes that wait for memory, or that are rare, take the identity this way too, with the same bits: loops of their own for
/// it would take a user half a minute to compile.
fn leaky<T: Stored>(activation: Activation) -> Leaky {
    Leaky { slope: activation.slope(), rounds_to_zero: T::ROUNDS_TO_ZERO }
}

/// An expression with the activation as the loops take it, where the identity has loops without arithmetic of its own.
macro_rules! with_activation {
    ($activation:expr, |$f:ident| $call:expr) => {
        match $activation {
            Activation::Identity => {
                let $f = Linear;
                $call
            }
            other => {
                let $f = leaky::<T>(other);
                $call
            }
        }
    };
}

impl<T: Stored> Operations<T> for Loops {
    fn moments(&self, isa: Isa, x: &Readable<T>, weights: Option<&Readable<T>>) -> Vec<Moments> {
        match weights {
            None => reduce([x], &ChunkMoments(isa)),
            Some(weights) => reduce([x, weights], &WeightedChunkMoments(isa)),
        }
    }

    fn train(
        &self,
        pass: Forward<T>,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfReduced<Moments, NormalizeCoefficients>,
    ) -> Vec<Moments> {
        let Forward { isa, activation, beside } = pass;
        let reduction = ChunkMoments(isa);
        match beside {
            Beside::Nothing => {
                with_activation!(activation, |f| reduce_and_map(
                    &reduction,
                    [x],
                    isa,
                    Normalize(f),
                    [x],
                    [y.reborrow()],
                    coefficients
                ))
            }
            Beside::Residual(residual) => {
                let formula = NormalizeAdding(leaky::<T>(activation));
                reduce_and_map(&reduction, [x], isa, formula, [x, residual], [y.reborrow()], coefficients)
            }
            Beside::Weights(weights) => {
                let moments = self.moments(isa, x, Some(weights));
                if !moments.is_empty() {
                    self.normalize(pass, x, y, &|channel| coefficients(channel, moments[channel]));
                }
                moments
            }
        }
    }

    fn normalize(
        &self,
        pass: Forward<T>,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfChannel<NormalizeCoefficients>,
    ) {
        let Forward { isa, activation, beside } = pass;
        let all = Coefficients::new(y.geometry().channels, coefficients);
        match beside {
            Beside::Nothing => with_activation!(activation, |f| map(isa, Normalize(f), [x], [y.reborrow()], all)),
            Beside::Residual(residual) => {
                map(isa, NormalizeAdding(leaky::<T>(activation)), [x, residual], [y.reborrow()], all);
            }
            Beside::Weights(weights) => {
                map(isa, NormalizeWeighted(leaky::<T>(activation)), [x, weights], [y.reborrow()], all)
            }
        }
    }

    fn normalize_in_place(
        &self,
        pass: Forward<T>,
        x: &mut Writable<T>,
        coefficients: OfChannel<NormalizeCoefficients>,
    ) {
        let Forward { isa, activation, beside } = pass;
        let (f, all) = (leaky::<T>(activation), Coefficients::new(x.geometry().channels, coefficients));
        match beside {
            Beside::Nothing => map_in_place(isa, Normalize(f), [], x, all),
            Beside::Residual(residual) => map_in_place(isa, NormalizeAdding(f), [residual], x, all),
            Beside::Weights(_) => unreachable!("nobody weighs values in place"),
        }
    }

    fn gradient_sums(&self, pass: Backward<T>, dy: &Readable<T>) -> Vec<GradientSums> {
        let Backward { isa, activation, channels, x, beside, .. } = pass;
        match beside {
            Beside::Nothing => {
                with_activation!(activation, |f| reduce([x, dy], &ChunkGradientSums::new(isa, f, channels)))
            }
            Beside::Residual(y) => reduce([x, dy, y], &ChunkGradientSums::new(isa, leaky::<T>(activation), channels)),
            Beside::Weights(weights) => {
                reduce([x, dy, weights], &ChunkGradientSums::weighted(isa, leaky::<T>(activation), channels))
            }
        }
    }

    fn input_gradient(&self, pass: Backward<T>, dy: &Readable<T>, sums: &[GradientSums], outs: GradientOutputs<T>) {
        let Backward { isa, activation, channels, x, beside, statistics } = pass;
        let (f, number) = (leaky::<T>(activation), x.geometry().channels);
        match (beside, statistics) {
            (Beside::Nothing, Statistics::Batch(coefficients)) => {
                let all = Coefficients::new(number, |channel| coefficients(channel, sums[channel]));
                with_activation!(activation, |f| map(isa, InputGradient(f), [x, dy], [outs.dx], all));
            }
            (Beside::Nothing, Statistics::Constants) => {
                let all = Coefficients::new(number, |channel| channels.normalize(channel));
                with_activation!(activation, |f| map(isa, Scale(f), [x, dy], [outs.dx], all));
            }
            (Beside::Residual(y), Statistics::Batch(coefficients)) => {
                let all = Coefficients::new(number, |channel| coefficients(channel, sums[channel]));
                map(isa, InputGradient(f), [x, dy, y], outs.both(), all);
            }
            (Beside::Residual(y), Statistics::Constants) => {
                let all = Coefficients::new(number, |channel| channels.normalize(channel));
                map(isa, Scale(f), [x, dy, y], outs.both(), all);
            }
            (Beside::Weights(weights), statistics) => {
                let all = Coefficients::new(number, |channel| match statistics {
                    Statistics::Batch(coefficients) => coefficients(channel, sums[channel]),
                    Statistics::Constants => channels.input_gradient(channel),
                });
                map(isa, InputGradientWeighted(f), [x, dy, weights], [outs.dx], all);
            }
        }
    }

    fn backward(&self, pass: Backward<T>, dy: &Readable<T>, outs: GradientOutputs<T>) -> Vec<GradientSums> {
        let Backward { isa, activation, channels, x, beside, statistics } = pass;
        let constants = |channel, _| channels.normalize(channel);
        match (beside, statistics) {
            (Beside::Nothing, Statistics::Batch(coefficients)) => with_activation!(activation, |f| {
                let reduction = ChunkGradientSums::new(isa, f, channels);
                reduce_and_map(&reduction, [x, dy], isa, InputGradient(f), [x, dy], [outs.dx], coefficients)
            }),
            (Beside::Nothing, Statistics::Constants) => with_activation!(activation, |f| {
                let reduction = ChunkGradientSums::new(isa, f, channels);
                reduce_and_map(&reduction, [x, dy], isa, Scale(f), [x, dy], [outs.dx], constants)
            }),
            (Beside::Residual(y), Statistics::Batch(coefficients)) => {
                let (f, arrays) = (leaky::<T>(activation), [x, dy, y]);
                let reduction = ChunkGradientSums::new(isa, f, channels);
                reduce_and_map(&reduction, arrays, isa, InputGradient(f), arrays, outs.both(), coefficients)
            }
            (Beside::Residual(y), Statistics::Constants) => {
                let (f, arrays) = (leaky::<T>(activation), [x, dy, y]);
                let reduction = ChunkGradientSums::new(isa, f, channels);
                reduce_and_map(&reduction, arrays, isa, Scale(f), arrays, outs.both(), constants)
            }
            // Weights are read in each of the two sweeps: loops that do both at once would be many for a rare pass.
            (Beside::Weights(_), _) => {
                let sums = self.gradient_sums(pass, dy);
                if !sums.is_empty() {
                    self.input_gradient(pass, dy, &sums, outs);
                }
                sums
            }
        }
    }

    fn backward_in_place(&self, pass: Backward<T>, dy: &mut Writable<T>) -> Vec<GradientSums> {
        let Backward { isa, activation, channels, x, beside, statistics } = pass;
        let Beside::Nothing = beside else { unreachable!("nobody goes back in place beside a residual or weights") };
        let f = leaky::<T>(activation);
        let reduction = ChunkGradientSums::new(isa, f, channels);
        match statistics {
            Statistics::Batch(coefficients) => {
                reduce_and_map_in_place(&reduction, isa, InputGradient(f), x, dy, coefficients)
            }
            Statistics::Constants => {
                reduce_and_map_in_place(&reduction, isa, Scale(f), x, dy, |channel, _| channels.normalize(channel))
            }
        }
    }

    fn residual_gradient(
        &self,
        isa: Isa,
        activation: Activation,
        y: &Readable<T>,
        dy: &Readable<T>,
        dresidual: &mut Writable<T>,
    ) {
        let none = Coefficients::new(dresidual.geometry().channels, |_| [0.0]);
        map(isa, Mask(leaky::<T>(activation)), [dy, y], [dresidual.reborrow()], none);
    }

    fn tangent(
        &self,
        isa: Isa,
        activation: Activation,
        arrays: [&Readable<T>; 2],
        out: &mut Writable<T>,
        coefficients: OfChannel<TangentCoefficients>,
    ) {
        let all = Coefficients::new(out.geometry().channels, coefficients);
        with_activation!(activation, |f| map(isa, Tangent(f), arrays, [out.reborrow()], all));
    }

    fn sums_along(
        &self,
        isa: Isa,
        activation: Activation,
        channels: ChannelConstants,
        arrays: [&Readable<T>; 3],
    ) -> Vec<GradientSums> {
        let ChannelConstants { mean, scale, shift, .. } = channels;
        // Sums of products with t, not with xhat: nothing of the mean is in them.
        let xhat_low = &vec![0.0; mean.len()][..];
        let summands = DirectionSummands(leaky::<T>(activation));
        reduce(arrays, &ChunkGradientSums { isa, summands, constants: [mean, scale, shift], xhat_low })
    }

    fn gradient_along(
        &self,
        isa: Isa,
        activation: Activation,
        arrays: [&Readable<T>; 3],
        out: &mut Writable<T>,
        coefficients: OfChannel<GradientAlongCoefficients>,
    ) {
        let all = Coefficients::new(out.geometry().channels, coefficients);
        map(isa, GradientAlong(leaky::<T>(activation)), arrays, [out.reborrow()], all);
    }

    fn normalize_rows(
        &self,
        isa: Isa,
        first: usize,
        x: &Readable<T>,
        y: &mut Writable<T>,
        elements: Elements<2>,
        coefficients: OfReduced<Moments, RowNumbers>,
    ) -> Vec<Moments> {
        let reduction = |x: &[T]| ChunkMoments(isa).run(0, Chunk { pieces: &[[x]], distances: [0] });
        rows::normalize(isa, first, x, y, elements, reduction, coefficients)
    }

    fn input_gradient_rows(&self, isa: Isa, summed: Summed, arrays: [&Readable<T>; 2], dx: &mut Writable<T>) {
        rows::by_sums(isa, RowGradient, summed, summed.weights, arrays, dx);
    }

    fn backward_rows(
        &self,
        isa: Isa,
        summed: Summed,
        arrays: [&Readable<T>; 2],
        dx: &mut Writable<T>,
    ) -> [Vec<f64>; 2] {
        rows::gradients(isa, summed, arrays, dx)
    }

    fn tangent_rows(
        &self,
        isa: Isa,
        summed: Summed,
        elements: Elements<3>,
        arrays: [&Readable<T>; 2],
        out: &mut Writable<T>,
    ) {
        rows::by_sums(isa, RowTangent, summed, elements, arrays, out);
    }

    fn parameter_rows(
        &self,
        isa: Isa,
        parts: &[[&Readable<T>; 2]],
        numbers: &[RowNumbers],
        period: usize,
    ) -> [Vec<f64>; 2] {
        rows::parameter_sums(isa, parts, numbers, period)
    }

    fn rows_along(
        &self,
        rows: &RowSecondDerivatives,
        part: usize,
        arrays: [&Readable<T>; 3],
        out: &mut Writable<T>,
    ) -> Vec<RowDirection> {
        rows.along(part, arrays, out)
    }

    fn parameter_rows_along(
        &self,
        rows: &RowSecondDerivatives,
        parts: &[[&Readable<T>; 3]],
        directions: &[RowDirection],
    ) -> Vec<f64> {
        rows.parameter_sums(parts, directions)
    }

    fn products(&self, isa: Isa, array: Centered<T>, other: Option<Centered<T>>, group: usize) -> Vec<Vec<f64>> {
        whitening::products(isa, array, other, group)
    }

    fn mix(
        &self,
        isa: Isa,
        inputs: &[Centered<T>],
        matrices: &[Vec<f64>],
        shift: &[f64],
        group: usize,
        out: &mut Writable<T>,
    ) {
        whitening::mix(isa, inputs, matrices, shift, group, out);
    }
}

impl<T: Stored> OutputOperations<T> for Loops {
    fn backward_of_output(
        &self,
        pass: OutputBackward<T>,
        dy: &mut Writable<T>,
        coefficients: OfReduced<GradientSums, OutputGradientCoefficients>,
    ) -> Vec<GradientSums> {
        let OutputBackward { isa, activation, beta, gamma_reciprocal, y } = pass;
        let f = leaky::<T>(activation);
        // xhat is a difference to beta: nothing of the mean is in it.
        let xhat_low = &vec![0.0; beta.len()][..];
        let reduction =
            ChunkGradientSums { isa, summands: OutputSummands(f), constants: [beta, gamma_reciprocal], xhat_low };
        reduce_and_map_in_place(&reduction, isa, InputGradientOfOutput(f), y, dy, coefficients)
    }
}
