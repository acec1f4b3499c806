//! Which loops each operation takes: decided once for a call.

use crate::activation::{Activation, Linear, leaky, with_activation};
use crate::arithmetic::Stepwise;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::map::coefficients::Coefficients;
use crate::map::formulas::{
    GradientAlong, GradientAlongCoefficients, GroupGradient, GroupGradientCoefficients, InOrder, InputGradient,
    InputGradientOfOutput, InputGradientWeighted, Mask, Normalize, NormalizeAdding, NormalizeCoefficients,
    NormalizeWeighted, OutputGradientCoefficients, Scale, Tangent, TangentCoefficients,
};
use crate::map::loops::MapLoops;
use crate::map::source::{Map, Source};
use crate::map::{map, reduce_and_map};
use crate::moments::Moments;
use crate::number::Stored;
use crate::operations::{Operations, OutputOperations};
use crate::pass::{
    Backward, Beside, Forward, GradientOutputs, NormalizeVectors, OfChannel, OfReduced, OutputBackward, Statistics,
};
use crate::reduce::chunk::Chunk;
use crate::reduce::gradients::{
    ChannelConstants, ChunkSums, DirectionSummands, GradientReduction, GradientSums, OutputSummands,
};
use crate::reduce::moments::{
    ChunkMoments, FIRST_VALUES, MIN_SHIFTED_VALUES, PlainMoments, WeightedChunkMoments, sums_plainly,
};
use crate::reduce::reduction::{ChunkReduction, Joined, Reduction};
use crate::reduce::{joined, reduce};
use crate::rows::formulas::{Elements, GradientBehind, RowNumbers, TangentBehind};
use crate::rows::plain::{PlainArrays, PlainPass, PlainRows, RowDirection};
use crate::rows::{self, Scaling, Summed};
use crate::whitening::{self, Centered};
use std::marker::PhantomData;

/// The one implementation: the loops of this crate.
pub(crate) struct Loops;

/// An expression with the activation as a rectifier and the sums that the backward pass needs, over x and dy or over x, dy and
/// the output: of products where these are exact.
macro_rules! with_leaky_gradient_sums {
    ($pass:expr, |$f:ident, $reduction:ident| $call:expr) => {{
        let Backward { machine, activation, channels, .. } = $pass;
        let $f = leaky::<T>(activation);
        if T::SQUARES_FIT {
            let $reduction = &GradientReduction::of_products(machine.isa, $f, channels);
            $call
        } else {
            let $reduction = &GradientReduction::of_xhat(machine.isa, $f, channels);
            $call
        }
    }};
}

/// The same over x and dy, where the identity has sums without arithmetic of its own.
macro_rules! with_gradient_sums {
    ($pass:expr, |$f:ident, $reduction:ident| $call:expr) => {{
        let Backward { machine, activation, channels, .. } = $pass;
        match activation {
            Activation::Identity => {
                let $f = Linear::<T::Arithmetic>(PhantomData);
                if T::SQUARES_FIT {
                    let $reduction = &GradientReduction::of_products(machine.isa, $f, channels).linear();
                    $call
                } else {
                    let $reduction = &GradientReduction::of_xhat(machine.isa, $f, channels);
                    $call
                }
            }
            _ => with_leaky_gradient_sums!($pass, |$f, $reduction| $call),
        }
    }};
}

/// The reduction of x to moments, of values whose squares are exact.
fn plain_moments<T: Stored>(machine: &Machine, x: &Readable<T>) -> PlainMoments {
    let plain = PlainMoments::new(machine.isa);
    if x.geometry().count < MIN_SHIFTED_VALUES {
        return plain;
    }
    let chunks = Reduction::<T, 1>::chunks(&plain);
    let first = joined(machine, [x], chunks, 0..x.geometry().channels, FIRST_VALUES);
    plain.shifted::<T>(&first)
}

/// y by the moments of x.
fn train_by<T: Stored, const N: usize>(
    map: Map<T, N, 3, 1>,
    x: &Readable<T>,
    y: &mut Writable<T>,
    coefficients: OfReduced<Moments, NormalizeCoefficients>,
) -> Vec<Moments> {
    let (isa, arrays) = (map.machine.isa, [Source::Array(x)]);
    let coefficients = |of, moments: &[Moments]| Coefficients::reduced(of, moments, coefficients);
    if sums_plainly::<T>(x.geometry().count) {
        reduce_and_map(&plain_moments(map.machine, x), arrays, map, [y.reborrow()], coefficients)
    } else {
        reduce_and_map(&Joined(ChunkMoments(isa)), arrays, map, [y.reborrow()], coefficients)
    }
}

/// y of x, by coefficients that are known.
fn normalize<T: Stored>(
    pass: Forward<T>,
    x: Source<T>,
    y: &mut Writable<T>,
    NormalizeVectors { mean, scale, shift }: NormalizeVectors,
) {
    let Forward { machine, activation, beside } = pass;
    let all = Coefficients::Borrowed([mean, scale, shift]);
    match beside {
        Beside::Nothing => with_activation!(activation, |f| {
            map(Map { machine, formula: &Normalize(f), arrays: [x] }, [y.reborrow()], all);
        }),
        Beside::Residual(residual) => {
            let formula = &NormalizeAdding(leaky::<T>(activation));
            map(Map { machine, formula, arrays: [x, Source::Array(residual)] }, [y.reborrow()], all);
        }
        Beside::Weights(weights) => {
            let formula = &NormalizeWeighted(leaky::<T>(activation));
            map(Map { machine, formula, arrays: [x, Source::Array(weights)] }, [y.reborrow()], all);
        }
    }
}

/// The formulas of dx, and of dz for a residual: where the statistics are functions of the batch, and where they are constants.
type GradientFormulas<'f, T, const N: usize, const O: usize> =
    (&'f dyn MapLoops<T, N, 5, O>, &'f dyn MapLoops<T, N, 3, O>);

/// dx, and dz for a residual, by the sums of the arrays, which are returned.
fn backward_by<T: Stored, const N: usize, const O: usize>(
    pass: Backward<T>,
    (input_gradient, scale): GradientFormulas<T, N, O>,
    reduction: &dyn Reduction<T, N, Value = GradientSums, Result = GradientSums>,
    arrays: [Source<T>; N],
    outs: [Writable<T>; O],
) -> Vec<GradientSums> {
    let Backward { machine, channels, statistics, .. } = pass;
    match statistics {
        Statistics::Batch(batch) => {
            let map = Map { machine, formula: input_gradient, arrays };
            let coefficients = |of, sums: &[GradientSums]| channels.input_gradients::<T::Arithmetic>(batch, of, sums);
            reduce_and_map(reduction, arrays, map, outs, coefficients)
        }
        Statistics::Constants => {
            let map = Map { machine, formula: scale, arrays };
            let coefficients =
                |of, sums: &[GradientSums]| Coefficients::reduced(of, sums, |channel, _| channels.normalize(channel));
            reduce_and_map(reduction, arrays, map, outs, coefficients)
        }
    }
}

/// dx, and dz for a residual, by sums that are known.
fn input_gradient_by<T: Stored, const N: usize, const O: usize>(
    pass: Backward<T>,
    (input_gradient, scale): GradientFormulas<T, N, O>,
    sums: &[GradientSums],
    arrays: [Source<T>; N],
    outs: [Writable<T>; O],
) {
    let Backward { machine, channels, x, statistics, .. } = pass;
    let number = x.geometry().channels;
    match statistics {
        Statistics::Batch(batch) => {
            let all = channels.input_gradients::<T::Arithmetic>(batch, 0..number, sums);
            map(Map { machine, formula: input_gradient, arrays }, outs, all);
        }
        Statistics::Constants => {
            let all = Coefficients::new(number, |channel| channels.normalize(channel));
            map(Map { machine, formula: scale, arrays }, outs, all);
        }
    }
}

impl<T: Stored> Operations<T> for Loops {
    fn moments(&self, machine: &Machine, x: &Readable<T>, weights: Option<&Readable<T>>) -> Vec<Moments> {
        match weights {
            None if sums_plainly::<T>(x.geometry().count) => reduce(machine, [x], &plain_moments(machine, x)),
            None => reduce(machine, [x], &Joined(ChunkMoments(machine.isa))),
            Some(weights) => reduce(machine, [x, weights], &Joined(WeightedChunkMoments(machine.isa))),
        }
    }

    fn train(
        &self,
        pass: Forward<T>,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfReduced<Moments, NormalizeCoefficients>,
    ) -> Vec<Moments> {
        let Forward { machine, activation, beside } = pass;
        match beside {
            Beside::Nothing => with_activation!(activation, |f| {
                train_by(Map { machine, formula: &Normalize(f), arrays: [Source::Array(x)] }, x, y, coefficients)
            }),
            Beside::Residual(residual) => {
                let arrays = [x, residual].map(Source::Array);
                let formula = &NormalizeAdding(leaky::<T>(activation));
                train_by(Map { machine, formula, arrays }, x, y, coefficients)
            }
            Beside::Weights(weights) => {
                let moments = self.moments(machine, x, Some(weights));
                if !moments.is_empty() {
                    let all = Coefficients::new(moments.len(), |channel| coefficients(channel, moments[channel]));
                    let [mean, scale, shift] = all.vectors();
                    self.normalize(pass, x, y, NormalizeVectors { mean, scale, shift });
                }
                moments
            }
        }
    }

    fn normalize(&self, pass: Forward<T>, x: &Readable<T>, y: &mut Writable<T>, coefficients: NormalizeVectors) {
        normalize(pass, Source::Array(x), y, coefficients);
    }

    fn normalize_in_place(&self, pass: Forward<T>, x: &mut Writable<T>, coefficients: NormalizeVectors) {
        normalize(pass, Source::Own, x, coefficients);
    }

    fn gradient_sums(&self, pass: Backward<T>, dy: &Readable<T>) -> Vec<GradientSums> {
        let Backward { machine, activation, channels, x, beside, .. } = pass;
        match beside {
            Beside::Nothing => with_gradient_sums!(pass, |_f, reduction| reduce(machine, [x, dy], reduction)),
            Beside::Residual(y) => {
                with_leaky_gradient_sums!(pass, |_f, reduction| reduce(machine, [x, dy, y], reduction))
            }
            Beside::Weights(weights) => {
                let reduction = &GradientReduction::weighted(machine.isa, leaky::<T>(activation), channels);
                reduce(machine, [x, dy, weights], reduction)
            }
        }
    }

    fn input_gradient(&self, pass: Backward<T>, dy: &Readable<T>, sums: &[GradientSums], outs: GradientOutputs<T>) {
        let Backward { machine, activation, channels, x, beside, statistics } = pass;
        match beside {
            Beside::Nothing => with_activation!(activation, |f| {
                let arrays = [x, dy].map(Source::Array);
                input_gradient_by(pass, (&InputGradient(f), &Scale(f)), sums, arrays, [outs.dx])
            }),
            Beside::Residual(y) => {
                let (f, arrays) = (leaky::<T>(activation), [x, dy, y].map(Source::Array));
                input_gradient_by(pass, (&InputGradient(f), &Scale(f)), sums, arrays, outs.both());
            }
            Beside::Weights(weights) => {
                let number = x.geometry().channels;
                let all = match statistics {
                    Statistics::Batch(batch) => channels.input_gradients::<Stepwise>(batch, 0..number, sums),
                    Statistics::Constants => Coefficients::new(number, |channel| {
                        let [mean, scale, shift] = channels.normalize(channel).in_order();
                        [mean, scale, shift, 0.0, 0.0]
                    }),
                };
                let formula = &InputGradientWeighted(leaky::<T>(activation));
                map(Map { machine, formula, arrays: [x, dy, weights].map(Source::Array) }, [outs.dx], all);
            }
        }
    }

    fn backward(&self, pass: Backward<T>, dy: &Readable<T>, outs: GradientOutputs<T>) -> Vec<GradientSums> {
        let x = pass.x;
        match pass.beside {
            Beside::Nothing => with_gradient_sums!(pass, |f, reduction| {
                backward_by(pass, (&InputGradient(f), &Scale(f)), reduction, [x, dy].map(Source::Array), [outs.dx])
            }),
            Beside::Residual(y) => with_leaky_gradient_sums!(pass, |f, reduction| {
                backward_by(pass, (&InputGradient(f), &Scale(f)), reduction, [x, dy, y].map(Source::Array), outs.both())
            }),
            // Weights are read in each of the two sweeps: loops that do both at once would be many for a rare pass.
            Beside::Weights(_) => {
                let sums = self.gradient_sums(pass, dy);
                if !sums.is_empty() {
                    self.input_gradient(pass, dy, &sums, outs);
                }
                sums
            }
        }
    }

    fn backward_in_place(&self, pass: Backward<T>, dy: &mut Writable<T>) -> Vec<GradientSums> {
        let Beside::Nothing = pass.beside else {
            unreachable!("nobody goes back in place beside a residual or weights")
        };
        with_gradient_sums!(pass, |f, reduction| {
            let arrays = [Source::Array(pass.x), Source::Own];
            backward_by(pass, (&InputGradient(f), &Scale(f)), reduction, arrays, [dy.reborrow()])
        })
    }

    fn residual_gradient(
        &self,
        machine: &Machine,
        activation: Activation,
        y: &Readable<T>,
        dy: &Readable<T>,
        dresidual: &mut Writable<T>,
    ) {
        let none = Coefficients::new(dresidual.geometry().channels, |_| [0.0]);
        let formula = &Mask(leaky::<T>(activation));
        map(Map { machine, formula, arrays: [dy, y].map(Source::Array) }, [dresidual.reborrow()], none);
    }

    fn direction_sums(
        &self,
        machine: &Machine,
        channels: ChannelConstants,
        [x, t]: [&Readable<T>; 2],
        weights: Option<&Readable<T>>,
    ) -> Vec<GradientSums> {
        let (activation, beside, statistics) = (Activation::Identity, Beside::Nothing, Statistics::Constants);
        match weights {
            None => self.gradient_sums(Backward { machine, activation, channels, x, beside, statistics }, t),
            Some(weights) => {
                let reduction = &GradientReduction::weighted_direction(machine.isa, channels);
                reduce(machine, [x, t, weights], reduction)
            }
        }
    }

    fn tangent(
        &self,
        machine: &Machine,
        activation: Activation,
        [x, t]: [&Readable<T>; 2],
        weights: Option<&Readable<T>>,
        out: &mut Writable<T>,
        coefficients: OfChannel<TangentCoefficients>,
    ) {
        let all = Coefficients::new(out.geometry().channels, coefficients);
        let formula = &Tangent(leaky::<T>(activation));
        match weights {
            None => map(Map { machine, formula, arrays: [x, t].map(Source::Array) }, [out.reborrow()], all),
            Some(weights) => {
                let arrays = [x, t, weights].map(Source::Array);
                map(Map { machine, formula, arrays }, [out.reborrow()], all);
            }
        }
    }

    fn group_gradient(
        &self,
        machine: &Machine,
        activation: Activation,
        arrays: [&Readable<T>; 2],
        dx: &mut Writable<T>,
        coefficients: OfChannel<GroupGradientCoefficients>,
    ) {
        let all = Coefficients::new(dx.geometry().channels, coefficients);
        let arrays = arrays.map(Source::Array);
        with_activation!(activation, |f| map(
            Map { machine, formula: &GroupGradient(f), arrays },
            [dx.reborrow()],
            all
        ));
    }

    fn sums_along(
        &self,
        machine: &Machine,
        activation: Activation,
        channels: ChannelConstants,
        [x, dy, t]: [&Readable<T>; 3],
        weights: Option<&Readable<T>>,
    ) -> Vec<GradientSums> {
        let ChannelConstants { mean, scale, shift, .. } = channels;
        let summands = DirectionSummands(leaky::<T>(activation));
        let sums = &Joined(ChunkSums { isa: machine.isa, summands, constants: [mean, scale, shift] });
        match weights {
            None => reduce(machine, [x, dy, t], sums),
            Some(weights) => reduce(machine, [x, dy, t, weights], sums),
        }
    }

    fn gradient_along(
        &self,
        machine: &Machine,
        activation: Activation,
        [x, dy, t]: [&Readable<T>; 3],
        weights: Option<&Readable<T>>,
        out: &mut Writable<T>,
        coefficients: OfChannel<GradientAlongCoefficients>,
    ) {
        let all = Coefficients::new(out.geometry().channels, coefficients);
        let (formula, out) = (&GradientAlong(leaky::<T>(activation)), [out.reborrow()]);
        match weights {
            None => map(Map { machine, formula, arrays: [x, dy, t].map(Source::Array) }, out, all),
            Some(weights) => map(Map { machine, formula, arrays: [x, dy, t, weights].map(Source::Array) }, out, all),
        }
    }

    fn normalize_rows(
        &self,
        machine: &Machine,
        scaling: Scaling,
        x: &Readable<T>,
        y: &mut Writable<T>,
        coefficients: OfReduced<Moments, RowNumbers>,
    ) -> Vec<Moments> {
        let reduction = |x: &[T]| ChunkMoments(machine.isa).run(0, &Chunk::Slice([x]));
        rows::normalize(machine, scaling, x, y, reduction, coefficients)
    }

    fn input_gradient_rows(&self, machine: &Machine, summed: Summed, arrays: [&Readable<T>; 2], dx: &mut Writable<T>) {
        let Scaling { activation, elements, .. } = summed.scaling;
        rows::by_sums(machine, GradientBehind(activation), summed, elements, arrays, dx);
    }

    fn backward_rows(
        &self,
        machine: &Machine,
        summed: Summed,
        arrays: [&Readable<T>; 2],
        dx: &mut Writable<T>,
    ) -> [Vec<f64>; 2] {
        rows::gradients(machine, summed, arrays, dx)
    }

    fn tangent_rows(
        &self,
        machine: &Machine,
        activation: Activation,
        summed: Summed,
        elements: Elements<4>,
        arrays: [&Readable<T>; 2],
        out: &mut Writable<T>,
    ) {
        rows::by_sums(machine, TangentBehind(activation), summed, elements, arrays, out);
    }

    fn parameter_rows(&self, machine: &Machine, parts: &[[&Readable<T>; 2]], summed: Summed) -> [Vec<f64>; 2] {
        rows::parameter_sums(machine, parts, summed)
    }

    fn plain_rows(
        &self,
        rows: &PlainRows,
        pass: PlainPass,
        part: usize,
        arrays: PlainArrays<T>,
        out: &mut Writable<T>,
    ) -> Vec<RowDirection> {
        rows.map(pass, part, arrays, out)
    }

    fn plain_parameter_rows(
        &self,
        rows: &PlainRows,
        parts: &[PlainArrays<T>],
        directions: Option<&[RowDirection]>,
    ) -> [Vec<f64>; 2] {
        rows.parameter_sums(parts, directions)
    }

    fn products(
        &self,
        machine: &Machine,
        array: Centered<T>,
        other: Option<Centered<T>>,
        group: usize,
    ) -> Vec<Vec<f64>> {
        whitening::products(machine, array, other, group)
    }

    fn mix(
        &self,
        machine: &Machine,
        inputs: &[Centered<T>],
        matrices: &[Vec<f64>],
        shift: &[f64],
        group: usize,
        out: &mut Writable<T>,
    ) {
        whitening::mix(machine, inputs, matrices, shift, group, out);
    }
}

impl<T: Stored> OutputOperations<T> for Loops {
    fn backward_of_output(
        &self,
        pass: OutputBackward<T>,
        dy: &mut Writable<T>,
        coefficients: OfReduced<GradientSums, OutputGradientCoefficients>,
    ) -> Vec<GradientSums> {
        let OutputBackward { machine, activation, beta, gamma_reciprocal, y } = pass;
        let f = leaky::<T>(activation);
        let sums =
            Joined(ChunkSums { isa: machine.isa, summands: OutputSummands(f), constants: [beta, gamma_reciprocal] });
        let arrays = [Source::Array(y), Source::Own];
        let map = Map { machine, formula: &InputGradientOfOutput(f), arrays };
        let coefficients = |of, sums: &[GradientSums]| Coefficients::reduced(of, sums, coefficients);
        reduce_and_map(&sums, arrays, map, [dy.reborrow()], coefficients)
    }
}
