//! Formulas of one element.

use crate::activation::Activate;
use crate::arithmetic::Arithmetic;
use crate::machine::vector::{Vector, counted};

/// A formula of `N` values at one place and `K` coefficients of their channel, with `O` results.
pub trait Pointwise<const N: usize, const K: usize, const O: usize>: Copy + Send + Sync {
    fn apply<V: Vector>(self, coefficients: [V; K], values: [V; N]) -> [V; O];
}

/// The coefficients of a formula for one channel, in the order in which its [`Pointwise`] takes them.
pub trait InOrder<const K: usize>: Copy {
    fn in_order(self) -> [f64; K];
}

impl<const K: usize> InOrder<K> for [f64; K] {
    fn in_order(self) -> [f64; K] {
        self
    }
}

/// Coefficients of z = (x - mean) * scale + shift.
#[derive(Debug, Clone, Copy)]
pub struct NormalizeCoefficients {
    /// The mean, rounded.
    pub mean: f64,
    /// gamma times the inverse standard deviation.
    pub scale: f64,
    /// beta, less what the low part of the mean takes off.
    pub shift: f64,
}

impl InOrder<3> for NormalizeCoefficients {
    fn in_order(self) -> [f64; 3] {
        [self.mean, self.scale, self.shift]
    }
}

/// z = (x - mean) * scale + shift.
#[inline(always)]
fn normalized<A: Activate, V: Vector>(x: V, [mean, scale, shift]: [V; 3]) -> V {
    A::Arithmetic::affine(x.sub(mean), scale, shift)
}

/// y = f((x - mean) * scale + shift). Coefficients: [`NormalizeCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct Normalize<A>(pub A);

impl<A: Activate> Pointwise<1, 3, 1> for Normalize<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x]: [V; 1]) -> [V; 1] {
        [self.0.forward(normalized::<A, V>(x, coefficients))]
    }
}

/// y = f((x - mean) * scale + shift + residual). Coefficients: [`NormalizeCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct NormalizeAdding<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for NormalizeAdding<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, coefficients: [V; 3], [x, residual]: [V; 2]) -> [V; 1] {
        [self.0.forward(normalized::<A, V>(x, coefficients).add(residual))]
    }
}

/// dx = scale * ((dz - offset) - (x - mean) * slope) of x and dy, dz = dy f'(z) with z computed again. Coefficients: mean, scale
/// and shift of z, and what the arithmetic takes for offset, the mean of dz as far as it depends on the batch, and slope, the mean
/// of dz xhat times the inverse deviation.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient<A>(pub A);

impl<A: Activate> Pointwise<2, 5, 1> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift, offset, slope]: [V; 5], [x, dy]: [V; 2]) -> [V; 1] {
        let deviation = x.sub(mean);
        let dz = self.0.backward(A::Arithmetic::affine(deviation, scale, shift), dy);
        [A::Arithmetic::input_gradient(deviation, dz, scale, [offset, slope])]
    }
}

/// dx of x, dy and y, dz = dy f'(y), and dz itself: the gradient of a residual.
impl<A: Activate> Pointwise<3, 5, 2> for InputGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, _, offset, slope]: [V; 5], [x, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [A::Arithmetic::input_gradient(x.sub(mean), dz, scale, [offset, slope]), dz]
    }
}

/// dx = scale * dz, dz = dy f'(z): the statistics are constants. Coefficients: [`NormalizeCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct Scale<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 3], [x, dy]: [V; 2]) -> [V; 1] {
        let [_, scale, _] = all;
        [scale.mul(self.0.backward(normalized::<A, V>(x, all), dy))]
    }
}

/// dx = scale * dz of x, dy and y, dz = dy f'(y), and dz itself.
impl<A: Activate> Pointwise<3, 3, 2> for Scale<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [_, scale, _]: [V; 3], [_, dy, y]: [V; 3]) -> [V; 2] {
        let dz = self.0.backward(y, dy);
        [scale.mul(dz), dz]
    }
}

/// dz = dy f'(y) alone. Its one coefficient is not used: every formula has some.
#[derive(Clone, Copy)]
pub(crate) struct Mask<A>(pub A);

impl<A: Activate> Pointwise<2, 1, 1> for Mask<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [dy, y]: [V; 2]) -> [V; 1] {
        [self.0.backward(y, dy)]
    }
}

/// Coefficients of dx = scale * ((dz - mean_dz) - xhat * mean_dz_xhat) with xhat = (z - beta) * gamma_reciprocal.
#[derive(Debug, Clone, Copy)]
pub struct OutputGradientCoefficients {
    /// beta.
    pub beta: f64,
    /// 1 / gamma.
    pub gamma_reciprocal: f64,
    /// gamma times the inverse standard deviation.
    pub scale: f64,
    /// The mean of dz.
    pub mean_dz: f64,
    /// The mean of dz xhat.
    pub mean_dz_xhat: f64,
}

impl InOrder<5> for OutputGradientCoefficients {
    fn in_order(self) -> [f64; 5] {
        [self.beta, self.gamma_reciprocal, self.scale, self.mean_dz, self.mean_dz_xhat]
    }
}

/// [`InputGradient`] of y instead of x, with z = f^-1(y) and dz = dy f'(z). Coefficients: [`OutputGradientCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct InputGradientOfOutput<A>(pub A);

impl<A: Activate> Pointwise<2, 5, 1> for InputGradientOfOutput<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [beta, reciprocal, scale, mean_dz, mean_dz_xhat]: [V; 5], [y, dy]: [V; 2]) -> [V; 1] {
        let xhat = self.0.inverse(y).sub(beta).mul(reciprocal);
        [scale.mul(self.0.backward(y, dy).sub(mean_dz).sub(xhat.mul(mean_dz_xhat)))]
    }
}

/// Coefficients of z as in [`NormalizeCoefficients`], and of
/// z' = scale * (t - offset) + (x - mean) * inverse_deviation * xhat_factor + constant.
///
/// The inverse deviation and the factor stand apart because their product may be too large for an f64.
#[derive(Debug, Clone, Copy)]
pub struct TangentCoefficients {
    /// The mean, rounded.
    pub mean: f64,
    /// gamma times the inverse standard deviation.
    pub scale: f64,
    /// beta, less what the low part of the mean takes off.
    pub shift: f64,
    /// The mean of dz, as far as it depends on the batch.
    pub offset: f64,
    /// 1 / sqrt(variance + eps).
    pub inverse_deviation: f64,
    /// Factor of xhat.
    pub xhat_factor: f64,
    /// Added to all values: what the low part of the mean takes off xhat, and the movement of beta.
    pub constant: f64,
}

impl InOrder<7> for TangentCoefficients {
    fn in_order(self) -> [f64; 7] {
        let TangentCoefficients { mean, scale, shift, offset, inverse_deviation, xhat_factor, constant } = self;
        [mean, scale, shift, offset, inverse_deviation, xhat_factor, constant]
    }
}

/// The directional derivative y' = f'(z) * z' of y = f(z) along t, z computed again from x. Coefficients:
/// [`TangentCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct Tangent<A>(pub A);

impl<A: Activate> Pointwise<2, 7, 1> for Tangent<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 7], [x, t]: [V; 2]) -> [V; 1] {
        let [mean, scale, shift, offset, inverse, xhat_factor, constant] = all;
        let by_xhat = unless_zero(xhat_factor, x.sub(mean).mul(inverse).mul(xhat_factor));
        let dz = scale.mul(t.sub(offset)).add(by_xhat).add(constant);
        [self.0.backward(normalized::<A, V>(x, [mean, scale, shift]), dz)]
    }
}

/// y' of the values that count, 0 where the weight is 0.
impl<A: Activate> Pointwise<3, 7, 1> for Tangent<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 7], [x, t, weight]: [V; 3]) -> [V; 1] {
        let [moved] = self.apply(all, [x, t]);
        [counted(weight, moved)]
    }
}

/// Coefficients of z as in [`NormalizeCoefficients`], and of
/// dx = scale * dz + (x - mean) * inverse_deviation * xhat_factor + constant.
#[derive(Debug, Clone, Copy)]
pub struct GroupGradientCoefficients {
    /// Those of z.
    pub z: NormalizeCoefficients,
    /// 1 / sqrt(variance + eps).
    pub inverse_deviation: f64,
    /// Factor of xhat.
    pub xhat_factor: f64,
    /// Added to all values: the mean of gamma dz over the group, and what the low part of the mean takes off xhat.
    pub constant: f64,
}

impl InOrder<6> for GroupGradientCoefficients {
    fn in_order(self) -> [f64; 6] {
        let NormalizeCoefficients { mean, scale, shift } = self.z;
        [mean, scale, shift, self.inverse_deviation, self.xhat_factor, self.constant]
    }
}

/// dx of a norm whose channels share the sums of a group, dz = dy f'(z) with z computed again from x. Coefficients:
/// [`GroupGradientCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct GroupGradient<A>(pub A);

impl<A: Activate> Pointwise<2, 6, 1> for GroupGradient<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 6], [x, dy]: [V; 2]) -> [V; 1] {
        let [mean, scale, shift, inverse, xhat_factor, constant] = all;
        let dz = self.0.backward(normalized::<A, V>(x, [mean, scale, shift]), dy);
        let by_xhat = unless_zero(xhat_factor, x.sub(mean).mul(inverse).mul(xhat_factor));
        [scale.mul(dz).add(by_xhat).add(constant)]
    }
}

/// Coefficients of z as in [`NormalizeCoefficients`], and of the derivative of dx along t:
///
/// ```text
/// dz_factor * (dz - dz_offset) + direction_factor * ((t - direction_offset) * inverse_deviation)
///     + (x - mean) * inverse_deviation * xhat_factor + constant
/// ```
///
/// Deviation and direction are brought to the size of 1 first: products of the other factors may be too large for an f64.
#[derive(Debug, Clone, Copy)]
pub struct GradientAlongCoefficients {
    /// The mean, rounded.
    pub mean: f64,
    /// gamma times the inverse standard deviation.
    pub scale: f64,
    /// beta, less what the low part of the mean takes off.
    pub shift: f64,
    /// 1 / sqrt(variance + eps).
    pub inverse_deviation: f64,
    /// Factor of dz.
    pub dz_factor: f64,
    /// Taken off dz.
    pub dz_offset: f64,
    /// Factor of the direction.
    pub direction_factor: f64,
    /// Taken off the direction.
    pub direction_offset: f64,
    /// Factor of xhat.
    pub xhat_factor: f64,
    /// Added to all values: what the low part of the mean takes off xhat, and the movement of beta.
    pub constant: f64,
}

impl InOrder<10> for GradientAlongCoefficients {
    fn in_order(self) -> [f64; 10] {
        [
            self.mean,
            self.scale,
            self.shift,
            self.inverse_deviation,
            self.dz_factor,
            self.dz_offset,
            self.direction_factor,
            self.direction_offset,
            self.xhat_factor,
            self.constant,
        ]
    }
}

/// The derivative of dx along a direction t, dz = dy f'(z) with z computed again from x. Coefficients:
/// [`GradientAlongCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct GradientAlong<A>(pub A);

impl<A: Activate> Pointwise<3, 10, 1> for GradientAlong<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 10], [x, dy, t]: [V; 3]) -> [V; 1] {
        let [mean, scale, shift, inverse, dz_factor, dz_offset, t_factor, t_offset, xhat_factor, constant] = all;
        let dz = self.0.backward(normalized::<A, V>(x, [mean, scale, shift]), dy);
        let by_t = unless_zero(t_factor, t.sub(t_offset).mul(inverse).mul(t_factor));
        let by_x = unless_zero(xhat_factor, x.sub(mean).mul(inverse).mul(xhat_factor));
        [dz_factor.mul(dz.sub(dz_offset)).add(by_t).add(by_x).add(constant)]
    }
}

/// The derivative of a weighted dx: all that came through the statistics counts as often as the value, which is the offset of dz and
/// all behind it; 0 where the weight is 0.
impl<A: Activate> Pointwise<4, 10, 1> for GradientAlong<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, all: [V; 10], [x, dy, t, weight]: [V; 4]) -> [V; 1] {
        let [mean, scale, shift, inverse, dz_factor, dz_offset, t_factor, t_offset, xhat_factor, constant] = all;
        let dz = self.0.backward(normalized::<A, V>(x, [mean, scale, shift]), dy);
        let by_t = unless_zero(t_factor, t.sub(t_offset).mul(inverse).mul(t_factor));
        let by_x = unless_zero(xhat_factor, x.sub(mean).mul(inverse).mul(xhat_factor));
        let through = weight.mul(by_t.add(by_x).add(constant));
        [counted(weight, dz_factor.mul(dz.sub(weight.mul(dz_offset))).add(through))]
    }
}

/// A product, or 0 where its factor is 0: an infinite value is no matter to constants.
#[inline(always)]
fn unless_zero<V: Vector>(factor: V, product: V) -> V {
    let zero = V::splat(0.0);
    factor.select_le(zero, zero.sub(factor).select_le(zero, zero, product), product)
}

/// y = f((x - mean) * scale + shift), 0 where the weight is 0. Coefficients: [`NormalizeCoefficients`].
#[derive(Clone, Copy)]
pub(crate) struct NormalizeWeighted<A>(pub A);

impl<A: Activate> Pointwise<2, 3, 1> for NormalizeWeighted<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift]: [V; 3], [x, weight]: [V; 2]) -> [V; 1] {
        [counted(weight, self.0.forward(normalized::<A, V>(x, [mean, scale, shift])))]
    }
}

/// dx = scale * (dz - weight * (offset + (x - mean) * slope)), 0 where the weight is 0. Coefficients: those of
/// [`InputGradient`], offset and slope as they are, and 0 where the statistics are constants.
#[derive(Clone, Copy)]
pub(crate) struct InputGradientWeighted<A>(pub A);

impl<A: Activate> Pointwise<3, 5, 1> for InputGradientWeighted<A> {
    #[inline(always)]
    fn apply<V: Vector>(self, [mean, scale, shift, offset, slope]: [V; 5], [x, dy, weight]: [V; 3]) -> [V; 1] {
        let (zero, deviation) = (V::splat(0.0), x.sub(mean));
        let dz = self.0.backward(A::Arithmetic::affine(deviation, scale, shift), dy);
        // An infinite x is no matter to constants: not 0 times it.
        let through = offset.add(deviation.mul(slope));
        let through = slope.select_le(zero, zero.sub(slope).select_le(zero, offset, through), through);
        [counted(weight, scale.mul(dz.sub(weight.mul(through))))]
    }
}
