//! The sums of a chunk that the backward pass needs.

use super::chunk::{Chunk, Columns, SumRows, SumRun, Summands};
use super::leaf::{ChunkReduction, Tables};
use super::tree::Merge;
use crate::activation::Activate;
use crate::machine::isa::Isa;
use crate::machine::vector::{Vector, WIDTH, counted};
use crate::number::Stored;

/// dz and dz * xhat, dz = dy f'(z). (dz * (x - mean) would do but for very large and very small f64 values.)
#[derive(Clone, Copy)]
pub(crate) struct GradientSummands<A>(pub A);

impl<A: Activate> Summands<2, 4, 2> for GradientSummands<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy]: [V; 2]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = self.0.backward(deviation.mul(scale).add(shift), dy);
        [dz, dz.mul(deviation.mul(inverse))]
    }
}

/// dz and dz * xhat with y = f(z + residual) as the third array, which tells the derivative.
impl<A: Activate> Summands<3, 4, 2> for GradientSummands<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, _, _, inverse]: [V; 4], [x, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [dz, dz.mul(x.sub(mean).mul(inverse))]
    }
}

/// dz and dz * t, of x, dy and a direction t.
#[derive(Clone, Copy)]
pub(crate) struct DirectionSummands<A>(pub A);

impl<A: Activate> Summands<3, 3, 2> for DirectionSummands<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy, t]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(x.sub(mean).mul(scale).add(shift), dy);
        [dz, dz.mul(t)]
    }
}

/// [`GradientSummands`] of y instead of x, with z = f^-1(y) and xhat = (z - beta) / gamma. Constants: beta, 1 / gamma.
#[derive(Clone, Copy)]
pub(crate) struct OutputSummands<A>(pub A);

impl<A: Activate> Summands<2, 2, 2> for OutputSummands<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [beta, reciprocal]: [V; 2], [y, dy]: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [dz, dz.mul(self.0.inverse(y).sub(beta).mul(reciprocal))]
    }
}

/// [`GradientSummands`](GradientSummands) of the values that count. (A value's weight plays no part: the loss has it in dy.)
#[derive(Clone, Copy)]
pub(crate) struct WeightedGradientSummands<A>(A);

impl<A: Activate> Summands<3, 4, 2> for WeightedGradientSummands<A> {
    #[inline(always)]
    fn of<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy, weight]: [V; 3]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = counted(weight, self.0.backward(deviation.mul(scale).add(shift), dy));
        [dz, dz.mul(counted(weight, deviation.mul(inverse)))]
    }
}

/// The sums that the backward pass needs of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GradientSums {
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
    /// From sums of xhat about the mean's high part alone.
    fn about(dy: f64, dy_xhat: f64, xhat_low: f64) -> Self {
        GradientSums { dy, dy_xhat: dy_xhat - dy * xhat_low }
    }
}

/// The constants of each channel that a backward pass needs: z = (x - mean) * scale + shift, and
/// xhat = (x - mean) * inverse_deviation - xhat_low.
#[derive(Debug, Clone, Copy)]
pub struct ChannelConstants<'a> {
    /// The mean, rounded.
    pub mean: &'a [f64],
    /// gamma times the inverse standard deviation.
    pub scale: &'a [f64],
    /// beta, less what the low part of the mean takes off.
    pub shift: &'a [f64],
    /// 1 / sqrt(variance + eps).
    pub inverse_deviation: &'a [f64],
    /// The low part of the mean, times the inverse standard deviation.
    pub xhat_low: &'a [f64],
}

/// The gradient sums of a chunk.
pub(crate) struct ChunkGradientSums<'m, F, const K: usize> {
    pub isa: Isa,
    /// Those of x and dy, or of y and dy.
    pub summands: F,
    /// Constants of the summands, of each channel.
    pub constants: [&'m [f64]; K],
    /// The low part of the mean, in units of xhat, of each channel.
    pub xhat_low: &'m [f64],
}

impl<'m, A> ChunkGradientSums<'m, GradientSummands<A>, 4> {
    /// Sums over x and dy, or over x, dy and the output.
    pub fn new(isa: Isa, activation: A, channels: ChannelConstants<'m>) -> Self {
        let ChannelConstants { mean, scale, shift, inverse_deviation, xhat_low } = channels;
        ChunkGradientSums {
            isa,
            summands: GradientSummands(activation),
            constants: [mean, scale, shift, inverse_deviation],
            xhat_low,
        }
    }
}

impl<'m, A> ChunkGradientSums<'m, WeightedGradientSummands<A>, 4> {
    /// Sums over x, dy and weights.
    pub fn weighted(isa: Isa, activation: A, channels: ChannelConstants<'m>) -> Self {
        let ChannelConstants { mean, scale, shift, inverse_deviation, xhat_low } = channels;
        let constants = [mean, scale, shift, inverse_deviation];
        ChunkGradientSums { isa, summands: WeightedGradientSummands(activation), constants, xhat_low }
    }
}

impl<T, F, const K: usize, const N: usize> ChunkReduction<T, N> for ChunkGradientSums<'_, F, K>
where
    T: Stored,
    F: Summands<N, K, 2> + Sync,
{
    type Value = GradientSums;

    fn run(&self, channel: usize, chunk: Chunk<T, N>) -> GradientSums {
        let constants = self.constants.map(|vector| vector[channel]);
        let [dy, dy_xhat] = self.isa.run(SumRun { summands: self.summands, constants, chunk });
        GradientSums::about(dy, dy_xhat, self.xhat_low[channel])
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
        self.isa.run(SumRows { summands: self.summands, constants, columns, tables });
        out.extend((0..first.width).map(|column| {
            let place = first.place(column);
            GradientSums::about(dy[place], dy_xhat[place], self.xhat_low[first.left + column])
        }));
    }
}
