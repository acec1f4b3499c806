//! What may follow the normalisation in the same pass.

use super::vector::Vector;

/// A function of the normalised value z, and what it makes of the gradient.
pub(crate) trait Activate: Copy + Send + Sync {
    fn forward<V: Vector>(self, z: V) -> V;
    /// dy times the function's derivative at z.
    fn backward<V: Vector>(self, z: V, dy: V) -> V;
    /// z of y = f(z), where f has an inverse.
    fn inverse<V: Vector>(self, y: V) -> V;
}

/// Nothing follows.
#[derive(Clone, Copy)]
pub(crate) struct Linear;

impl Activate for Linear {
    #[inline(always)]
    fn forward<V: Vector>(self, z: V) -> V {
        z
    }
    #[inline(always)]
    fn backward<V: Vector>(self, _: V, dy: V) -> V {
        dy
    }
    #[inline(always)]
    fn inverse<V: Vector>(self, y: V) -> V {
        y
    }
}

/// z where it is positive, slope * z where not: the leaky rectifier, and with slope 0 the rectifier. NaN stays NaN.
#[derive(Clone, Copy)]
pub(crate) struct Leaky {
    pub slope: f64,
    /// Up to here a positive z was stored as 0, and the derivative is that of 0.
    pub vanishes: f64,
}

impl Activate for Leaky {
    #[inline(always)]
    fn forward<V: Vector>(self, z: V) -> V {
        let (zero, slope) = (V::splat(0.0), V::splat(self.slope));
        // Of a rectifier exactly 0, whatever z: 0 * -infinity is NaN, and 0 * -1 is -0.
        z.select_le(zero, slope.select_le(zero, zero, slope.mul(z)), z)
    }
    #[inline(always)]
    fn backward<V: Vector>(self, z: V, dy: V) -> V {
        let (zero, slope) = (V::splat(0.0), V::splat(self.slope));
        z.select_le(V::splat(self.vanishes), slope.select_le(zero, zero, slope.mul(dy)), dy)
    }
    #[inline(always)]
    fn inverse<V: Vector>(self, y: V) -> V {
        y.select_le(V::splat(0.0), y.mul(V::splat(1.0 / self.slope)), y)
    }
}
