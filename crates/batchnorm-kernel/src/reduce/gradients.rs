//! The sums of a chunk that the backward pass needs.

use super::chunk::{Chunk, Columns, SumRows, SumRun, Summands};
use super::reduction::{ChunkReduction, Reduction, Tables};
use super::tree::Merge;
use crate::activation::Activate;
use crate::arithmetic::Arithmetic;
use crate::machine::isa::Isa;
use crate::machine::vector::{Vector, WIDTH, counted};
use crate::moments::MAX_MEAN_TO_VARIANCE;
use crate::number::Stored;
use std::ops::Range;

/// dz and dz * xhat, dz = dy f'(z). For `f64` values, whose dz * (x - mean) may be too large or too small for an `f64`.
#[derive(Clone, Copy)]
pub(crate) struct XhatSummands<A>(pub A);

impl<A: Activate> Summands<2, 4, 2> for XhatSummands<A> {
    // (0 less a huge mean, times a huge inverse, is not finite.)
    const ZEROS_ADD_NOTHING: bool = false;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy]: [V; 2], sums: [V; 2]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = self.0.backward(A::Arithmetic::affine(deviation, scale, shift), dy);
        [sums[0].add(dz), sums[1].add(dz.mul(deviation.mul(inverse)))]
    }
}

/// dz and dz * xhat with y = f(z + residual) as the third array, which tells the derivative.
impl<A: Activate> Summands<3, 4, 2> for XhatSummands<A> {
    // (0 less a huge mean, times a huge inverse, is not finite.)
    const ZEROS_ADD_NOTHING: bool = false;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, _, _, inverse]: [V; 4], [x, dy, y]: [V; 3], sums: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [sums[0].add(dz), sums[1].add(dz.mul(x.sub(mean).mul(inverse)))]
    }
}

/// dz and dz * (x - about), dz = dy f'(z).
#[derive(Clone, Copy)]
pub(crate) struct ProductAboutSummands<A>(pub A);

impl<A: Activate> Summands<2, 4, 2> for ProductAboutSummands<A> {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, scale, shift, about]: [V; 4], [x, dy]: [V; 2], sums: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(A::Arithmetic::affine(x.sub(mean), scale, shift), dy);
        [sums[0].add(dz), dz.mul_add(x.sub(about), sums[1])]
    }
}

/// dz and dz * (x - about) with y = f(z + residual) as the third array, which tells the derivative.
impl<A: Activate> Summands<3, 4, 2> for ProductAboutSummands<A> {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [.., about]: [V; 4], [x, dy, y]: [V; 3], sums: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [sums[0].add(dz), dz.mul_add(x.sub(about), sums[1])]
    }
}

/// dy and dy * x, which is exact: an `f64` has twice the digits of the values.
#[derive(Clone, Copy)]
struct ProductSummands;

impl Summands<2, 0, 2> for ProductSummands {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, []: [V; 0], [x, dy]: [V; 2], sums: [V; 2]) -> [V; 2] {
        [sums[0].add(dy), sums[1].add_exact_product(dy, x)]
    }
}

/// dz and dz * t, of x, dy and a direction t.
#[derive(Clone, Copy)]
pub(crate) struct DirectionSummands<A>(pub A);

impl<A: Activate> Summands<3, 3, 2> for DirectionSummands<A> {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy, t]: [V; 3], sums: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(A::Arithmetic::affine(x.sub(mean), scale, shift), dy);
        [sums[0].add(dz), sums[1].add(dz.mul(t))]
    }
}

/// The same of the values that count, weights as the fourth array.
impl<A: Activate> Summands<4, 3, 2> for DirectionSummands<A> {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, dy, t, weight]: [V; 4], sums: [V; 2]) -> [V; 2] {
        let dz = counted(weight, self.0.backward(A::Arithmetic::affine(x.sub(mean), scale, shift), dy));
        [sums[0].add(dz), sums[1].add(dz.mul(counted(weight, t)))]
    }
}

/// dz and dz * xhat of y instead of x, with z = f^-1(y) and xhat = (z - beta) / gamma. Constants: beta, 1 / gamma.
#[derive(Clone, Copy)]
pub(crate) struct OutputSummands<A>(pub A);

impl<A: Activate> Summands<2, 2, 2> for OutputSummands<A> {
    // (0 less a huge beta, times a huge reciprocal, is not finite.)
    const ZEROS_ADD_NOTHING: bool = false;
    #[inline(always)]
    fn add<V: Vector>(self, [beta, reciprocal]: [V; 2], [y, dy]: [V; 2], sums: [V; 2]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [sums[0].add(dz), sums[1].add(dz.mul(self.0.inverse(y).sub(beta).mul(reciprocal)))]
    }
}

/// [`XhatSummands`] of the values that count. (A value's weight plays no part: the loss has it in dy.)
#[derive(Clone, Copy)]
pub(crate) struct WeightedXhatSummands<A>(pub A);

impl<A: Activate> Summands<3, 4, 2> for WeightedXhatSummands<A> {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, scale, shift, inverse]: [V; 4], [x, dy, weight]: [V; 3], sums: [V; 2]) -> [V; 2] {
        let deviation = x.sub(mean);
        let dz = counted(weight, self.0.backward(A::Arithmetic::affine(deviation, scale, shift), dy));
        [sums[0].add(dz), sums[1].add(dz.mul(counted(weight, deviation.mul(inverse))))]
    }
}

/// w t and w t xhat of a direction t, of x, t and weights, of the values that count.
#[derive(Clone, Copy)]
pub(crate) struct WeightedDirectionSummands;

impl Summands<3, 4, 2> for WeightedDirectionSummands {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [mean, _, _, inverse]: [V; 4], [x, t, weight]: [V; 3], sums: [V; 2]) -> [V; 2] {
        let weighted = counted(weight, weight.mul(t));
        [sums[0].add(weighted), sums[1].add(weighted.mul(counted(weight, x.sub(mean).mul(inverse))))]
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
    /// What is taken off x in the sums of products, by [`about`].
    pub about: &'a [f64],
}

/// What is taken off x in the sum of the products dz (x - about) of a channel of this mean and variance (without eps): nothing,
/// where sum(dz x) - mean sum(dz) tells the sum of dz (x - mean) well enough; the mean, where it is large against the deviation
/// and the difference would lose digits. (Of f64 arrays the sums are others.)
pub fn about(mean: f64, variance: f64) -> f64 {
    if mean * mean <= MAX_MEAN_TO_VARIANCE * variance { 0.0 } else { mean }
}

/// The sums of a chunk, of what the summands say.
pub(crate) struct ChunkSums<'m, F, const K: usize> {
    pub isa: Isa,
    pub summands: F,
    /// Constants of the summands, of each channel.
    pub constants: [&'m [f64]; K],
}

impl<T, F, const K: usize, const N: usize> ChunkReduction<T, N> for ChunkSums<'_, F, K>
where
    T: Stored,
    F: Summands<N, K, 2> + Sync,
{
    type Value = GradientSums;
    fn takes_planes(&self) -> bool {
        true
    }

    fn run(&self, channel: usize, chunk: &Chunk<T, N>) -> GradientSums {
        let constants = self.constants.map(|vector| vector[channel]);
        let [dy, dy_xhat] = self.isa.run(SumRun { summands: self.summands, constants, chunk });
        GradientSums { dy, dy_xhat }
    }

    fn rows(&self, columns: [Columns<T>; N], tables: &mut Tables, out: &mut Vec<GradientSums>) {
        let first = columns[0];
        let (tables, constants) = tables.of(&first, K);
        let line = first.vectors() * WIDTH;
        for (line, constants) in constants.chunks_exact_mut(line).zip(self.constants) {
            first.in_line(constants, line);
        }
        let constants = std::array::from_fn(|k| &constants[k * line..(k + 1) * line]);
        let [dy, dy_xhat] = tables;
        let tables = [&mut *dy, &mut *dy_xhat];
        self.isa.run(SumRows { summands: self.summands, constants, columns, tables });
        first.each_channel([&*dy, &*dy_xhat], out, |[dy, dy_xhat]| GradientSums { dy, dy_xhat });
    }
}

/// [`ProductAboutSummands`] of a pass without an activation; by [`ProductSummands`], with the same bits, where all is about 0.
pub(crate) struct ChunkProducts<'m, A>(ChunkSums<'m, ProductAboutSummands<A>, 4>);

impl<A> ChunkProducts<'_, A> {
    fn plain(&self, channels: Range<usize>) -> Option<ChunkSums<'_, ProductSummands, 0>> {
        let [.., about] = self.0.constants;
        let all = about[channels].iter().all(|&about| about == 0.0);
        all.then_some(ChunkSums { isa: self.0.isa, summands: ProductSummands, constants: [] })
    }
}

impl<T: Stored, A: Activate> ChunkReduction<T, 2> for ChunkProducts<'_, A> {
    type Value = GradientSums;
    fn takes_planes(&self) -> bool {
        true
    }

    fn run(&self, channel: usize, chunk: &Chunk<T, 2>) -> GradientSums {
        match self.plain(channel..channel + 1) {
            Some(plain) => plain.run(channel, chunk),
            None => self.0.run(channel, chunk),
        }
    }

    fn rows(&self, columns: [Columns<T>; 2], tables: &mut Tables, out: &mut Vec<GradientSums>) {
        let first = columns[0].left / columns[0].plane;
        match self.plain(first..first + columns[0].channels()) {
            Some(plain) => plain.rows(columns, tables, out),
            None => self.0.rows(columns, tables, out),
        }
    }
}

/// The sums of dz and dz xhat of a channel.
pub(crate) struct GradientReduction<'m, C> {
    chunks: C,
    /// The second sum of a chunk is that of dz (x - about); where this is `None`, that of dz xhat.
    about: Option<&'m [f64]>,
    channels: ChannelConstants<'m>,
}

/// Constants of z, and one more.
fn constants<'m>(channels: ChannelConstants<'m>, last: &'m [f64]) -> [&'m [f64]; 4] {
    [channels.mean, channels.scale, channels.shift, last]
}

impl<'m, A> GradientReduction<'m, ChunkSums<'m, XhatSummands<A>, 4>> {
    /// Over x and dy, or over x, dy and the output.
    pub fn of_xhat(isa: Isa, activation: A, channels: ChannelConstants<'m>) -> Self {
        let constants = constants(channels, channels.inverse_deviation);
        let chunks = ChunkSums { isa, summands: XhatSummands(activation), constants };
        GradientReduction { chunks, about: None, channels }
    }
}

impl<'m, A> GradientReduction<'m, ChunkSums<'m, WeightedXhatSummands<A>, 4>> {
    /// Over x, dy and weights.
    pub fn weighted(isa: Isa, activation: A, channels: ChannelConstants<'m>) -> Self {
        let constants = constants(channels, channels.inverse_deviation);
        let chunks = ChunkSums { isa, summands: WeightedXhatSummands(activation), constants };
        GradientReduction { chunks, about: None, channels }
    }
}

impl<'m> GradientReduction<'m, ChunkSums<'m, WeightedDirectionSummands, 4>> {
    /// Over x, a direction and weights.
    pub fn weighted_direction(isa: Isa, channels: ChannelConstants<'m>) -> Self {
        let constants = constants(channels, channels.inverse_deviation);
        let chunks = ChunkSums { isa, summands: WeightedDirectionSummands, constants };
        GradientReduction { chunks, about: None, channels }
    }
}

impl<'m, A> GradientReduction<'m, ChunkSums<'m, ProductAboutSummands<A>, 4>> {
    /// Over x and dy, or over x, dy and the output, of values whose products are exact.
    pub fn of_products(isa: Isa, activation: A, channels: ChannelConstants<'m>) -> Self {
        let about = channels.about;
        let chunks =
            ChunkSums { isa, summands: ProductAboutSummands(activation), constants: constants(channels, about) };
        GradientReduction { chunks, about: Some(about), channels }
    }

    /// The same of a pass without an activation.
    pub fn linear(self) -> GradientReduction<'m, ChunkProducts<'m, A>> {
        let GradientReduction { chunks, about, channels } = self;
        GradientReduction { chunks: ChunkProducts(chunks), about, channels }
    }
}

impl<'m, T, C, const N: usize> Reduction<T, N> for GradientReduction<'m, C>
where
    C: ChunkReduction<T, N, Value = GradientSums>,
{
    type Value = GradientSums;
    type Result = GradientSums;

    fn chunks(&self) -> &dyn ChunkReduction<T, N, Value = GradientSums> {
        &self.chunks
    }
    #[inline(always)]
    fn result(&self, channel: usize, _: usize, joined: GradientSums) -> Option<GradientSums> {
        let GradientSums { dy, dy_xhat: second } = joined;
        let ChannelConstants { mean, inverse_deviation, .. } = self.channels;
        let dy_xhat = match self.about {
            None => second,
            Some(about) => {
                // (Both are computed, for which of the two it is no processor guesses.)
                let about_mean = second - mean[channel] * dy;
                (if about[channel] == 0.0 { about_mean } else { second }) * inverse_deviation[channel]
            }
        };
        // Up to here xhat was about the mean's high part alone. (And where the gradient is declared to be 0, it is not -0.)
        Some(GradientSums { dy, dy_xhat: dy_xhat - dy * self.channels.xhat_low[channel] + 0.0 })
    }
    fn careful(&self) -> &dyn ChunkReduction<T, N, Value = GradientSums> {
        &self.chunks
    }
}
