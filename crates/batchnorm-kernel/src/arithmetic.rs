//! How the formulas of one element round.

use crate::machine::vector::Vector;

/// The arithmetic of z and dx, chosen by the number type of the arrays.
pub trait Arithmetic: Copy + Send + Sync + 'static {
    /// deviation * scale + shift.
    fn affine<V: Vector>(deviation: V, scale: V, shift: V) -> V;

    /// The last two coefficients of a channel for [`input_gradient`](Self::input_gradient).
    fn offset_and_slope(scale: f64, offset: f64, slope: f64) -> [f64; 2];

    /// scale * ((dz - offset) - deviation * slope), of the channel's scale and
    /// [`offset_and_slope`](Self::offset_and_slope).
    fn input_gradient<V: Vector>(deviation: V, dz: V, scale: V, last: [V; 2]) -> V;
}

/// Each product is rounded once, with what is added to it: fewer operations. For arrays whose numbers, squared and squared
/// again, are far from what an `f64` holds.
#[derive(Debug, Clone, Copy)]
pub struct Fused;

/// One operation after the other, in an order in which nothing overflows that the result does not.
#[derive(Debug, Clone, Copy)]
pub struct Stepwise;

impl Arithmetic for Fused {
    #[inline(always)]
    fn affine<V: Vector>(deviation: V, scale: V, shift: V) -> V {
        deviation.mul_add(scale, shift)
    }
    #[inline(always)]
    fn offset_and_slope(scale: f64, offset: f64, slope: f64) -> [f64; 2] {
        // (Never -0, so that a dx that is declared to be 0 is +0.)
        [0.0 - scale * offset, 0.0 - scale * slope]
    }
    #[inline(always)]
    fn input_gradient<V: Vector>(deviation: V, dz: V, scale: V, [offset, slope]: [V; 2]) -> V {
        dz.mul_add(scale, deviation.mul_add(slope, offset))
    }
}

impl Arithmetic for Stepwise {
    #[inline(always)]
    fn affine<V: Vector>(deviation: V, scale: V, shift: V) -> V {
        deviation.mul(scale).add(shift)
    }
    fn offset_and_slope(_: f64, offset: f64, slope: f64) -> [f64; 2] {
        [offset, slope]
    }
    #[inline(always)]
    fn input_gradient<V: Vector>(deviation: V, dz: V, scale: V, [offset, slope]: [V; 2]) -> V {
        scale.mul(dz.sub(offset).sub(deviation.mul(slope)))
    }
}
