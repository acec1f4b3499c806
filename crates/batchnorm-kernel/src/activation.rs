//! What may follow the normalisation in the same pass.

use crate::arithmetic::Arithmetic;
use crate::machine::vector::Vector;
use crate::number::Stored;
use std::marker::PhantomData;

/// What follows the normalisation in the same pass over memory: y = f(gamma * xhat + beta), and
/// y = f(gamma * xhat + beta + residual) where the input has a residual.
///
/// The backward pass tells the sign of z = gamma * xhat + beta from the input again instead of storing it; the
/// derivative at 0 is that of the negative side, as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// Nothing: f(z) = z.
    #[default]
    Identity,
    /// The rectifier, f(z) = max(z, 0). NaN stays NaN.
    Relu,
    /// The leaky rectifier: z where it is positive, slope * z where not. The slope is finite and >= 0.
    LeakyRelu(f64),
}

impl Activation {
    /// Slope on the negative side: 1, 0, or as given.
    pub fn slope(self) -> f64 {
        match self {
            Activation::Identity => 1.0,
            Activation::Relu => 0.0,
            Activation::LeakyRelu(slope) => slope,
        }
    }
}

/// A function of the normalised value z, and what it makes of the gradient.
pub(crate) trait Activate: Copy + Send + Sync {
    /// The arithmetic of z.
    type Arithmetic: Arithmetic;

    fn forward<V: Vector>(self, z: V) -> V;
    /// dy times the function's derivative at z.
    fn backward<V: Vector>(self, z: V, dy: V) -> V;
    /// z of y = f(z), where f has an inverse.
    fn inverse<V: Vector>(self, y: V) -> V;
}

/// Nothing follows.
#[derive(Clone, Copy)]
pub(crate) struct Linear<M>(pub PhantomData<M>);

impl<M: Arithmetic> Activate for Linear<M> {
    type Arithmetic = M;

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

/// The activation as the loops take it, the identity as a rectifier that leaks everything.
///
/// Passes that wait for memory, or that are rare, take the identity this way too, with the same bits: loops of their own for
/// it would take a user half a minute to compile.
pub(crate) fn leaky<T: Stored>(activation: Activation) -> Leaky<T::Arithmetic> {
    Leaky { slope: activation.slope(), rounds_to_zero: T::ROUNDS_TO_ZERO, arithmetic: PhantomData }
}

/// An expression with the activation as the loops of `T` take it, where the identity has loops without arithmetic of its own.
macro_rules! with_activation {
    ($activation:expr, |$f:ident| $call:expr) => {
        match $activation {
            $crate::activation::Activation::Identity => {
                let $f = $crate::activation::Linear::<T::Arithmetic>(std::marker::PhantomData);
                $call
            }
            other => {
                let $f = $crate::activation::leaky::<T>(other);
                $call
            }
        }
    };
}
pub(crate) use with_activation;

/// z where it is positive, slope * z where not: the leaky rectifier, and with slope 0 the rectifier. NaN stays NaN.
#[derive(Clone, Copy)]
pub(crate) struct Leaky<M> {
    pub slope: f64,
    /// Up to here a positive z was stored as 0, so its derivative is that of 0.
    pub rounds_to_zero: f64,
    pub arithmetic: PhantomData<M>,
}

impl<M: Arithmetic> Activate for Leaky<M> {
    type Arithmetic = M;

    #[inline(always)]
    fn forward<V: Vector>(self, z: V) -> V {
        let (zero, slope) = (V::splat(0.0), V::splat(self.slope));
        // Of a rectifier exactly 0, whatever z: 0 * -infinity is NaN, and 0 * -1 is -0.
        z.select_le(zero, slope.select_le(zero, zero, slope.mul(z)), z)
    }
    #[inline(always)]
    fn backward<V: Vector>(self, z: V, dy: V) -> V {
        let (zero, slope) = (V::splat(0.0), V::splat(self.slope));
        z.select_le(V::splat(self.rounds_to_zero), slope.select_le(zero, zero, slope.mul(dy)), dy)
    }
    #[inline(always)]
    fn inverse<V: Vector>(self, y: V) -> V {
        y.select_le(V::splat(0.0), y.mul(V::splat(1.0 / self.slope)), y)
    }
}
