//! The number types that arrays hold: to and from `f64`, one at a time and eight at a time.

use crate::arithmetic::{Arithmetic, Fused, Stepwise};
use crate::machine::vector::{Vector, WIDTH};

mod sealed {
    /// Keeps the number types to those that the loops are written and tested for.
    pub trait Sealed {}
}

/// A type that converts from and to `f64`, in which all arithmetic is done.
///
/// ```
/// use batchnorm_kernel::Number;
/// assert_eq!(f32::from_f64(0.1).to_f64(), f64::from(0.1f32));
/// ```
pub trait Number: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The value in `f64`, without rounding.
    fn to_f64(self) -> f64;
    /// The nearest value of this type, ties to even. (For `f16` and `bf16` by way of `f32`: within a hair of that.)
    fn from_f64(value: f64) -> Self;
}

/// A number type as the loops load and store it.
pub trait Stored: Number {
    /// Whether `f64` holds the product of two elements exactly, and the square of a difference to more digits than an element
    /// has. Then plain sums tell most variances, and the spread about any one value of a chunk tells the others; else it is
    /// taken about the chunk's mean, which costs a second look at the chunk.
    const SQUARES_FIT: bool;

    /// How formulas round.
    type Arithmetic: Arithmetic;

    /// The largest positive number that is stored as 0.
    const ROUNDS_TO_ZERO: f64;

    /// Eight elements, widened.
    fn load<V: Vector>(values: &[Self; WIDTH]) -> V;
    /// Fewer than eight elements, in the lanes from `first` on; 0 in the others.
    fn load_few<V: Vector>(values: &[Self], first: usize) -> V;
    /// Eight elements, rounded; `streamed` as for [`Vector`].
    fn store<V: Vector>(vector: V, out: &mut [Self; WIDTH], streamed: bool);
}

/// Implements the traits above for a type, from its conversions of one value and of a vector.
macro_rules! number {
    ($type:ty, $squares_fit:literal, $arithmetic:ty, $rounds_to_zero:expr, $to_f64:expr, $from_f64:expr, $load:expr, $load_few:expr, $store:expr) => {
        impl sealed::Sealed for $type {}
        impl Number for $type {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }
        }
        impl Stored for $type {
            const SQUARES_FIT: bool = $squares_fit;
            type Arithmetic = $arithmetic;
            const ROUNDS_TO_ZERO: f64 = $rounds_to_zero;
            #[inline(always)]
            fn load<V: Vector>(values: &[Self; WIDTH]) -> V {
                $load(values)
            }
            #[inline(always)]
            fn load_few<V: Vector>(values: &[Self], first: usize) -> V {
                $load_few(values, first)
            }
            #[inline(always)]
            fn store<V: Vector>(vector: V, out: &mut [Self; WIDTH], streamed: bool) {
                $store(vector, out, streamed)
            }
        }
    };
}

/// Half of the smallest f32: a tie, which goes to even, so to 0.
const TWO_TO_MINUS_150: f64 = f64::from_bits((1023 - 150) << 52);

number!(f32, true, Fused, TWO_TO_MINUS_150, f64::from, |value| value as f32, V::from_f32, V::from_few_f32, V::put_f32);
number!(f64, false, Stepwise, 0.0, f64::from, |value| value, V::from_f64, V::from_few_f64, V::put_f64);

#[cfg(feature = "half")]
mod halves {
    use super::*;
    use crate::machine::vector::few;
    use half::{bf16, f16};

    use half::slice::HalfFloatSliceExt;

    /// Loads and stores by bits, which are free: the arrays have the same bytes. Functions, for what a closure does
    /// with a vector is not sure to be inlined.
    macro_rules! by_bits {
        ($type:ident, $load:ident, $load_few:ident, $from:ident, $store:ident, $put:ident) => {
            #[inline(always)]
            fn $load<V: Vector>(values: &[$type; WIDTH]) -> V {
                let mut bits = [0; WIDTH];
                bits.copy_from_slice(values.reinterpret_cast());
                V::$from(&bits)
            }
            #[inline(always)]
            fn $load_few<V: Vector>(values: &[$type], first: usize) -> V {
                $load(&few(values, first))
            }
            #[inline(always)]
            fn $store<V: Vector>(vector: V, out: &mut [$type; WIDTH], streamed: bool) {
                let bits = out.reinterpret_cast_mut().first_chunk_mut().expect("as many bits as halves");
                vector.$put(bits, streamed);
            }
        };
    }
    by_bits!(f16, load_f16, load_few_f16, from_f16, store_f16, put_f16);
    by_bits!(bf16, load_bf16, load_few_bf16, from_bf16, store_bf16, put_bf16);

    number!(
        f16,
        true,
        Fused,
        // Half of the smallest number, and what f32 rounds to that.
        1.0 / (1u64 << 25) as f64 * (1.0 + 1.0 / (1u64 << 24) as f64),
        f16::to_f64,
        |value| f16::from_f32(value as f32),
        load_f16,
        load_few_f16,
        store_f16
    );
    number!(
        bf16,
        true,
        Fused,
        65_536.0 * TWO_TO_MINUS_150 + TWO_TO_MINUS_150,
        bf16::to_f64,
        |value| bf16::from_f32(value as f32),
        load_bf16,
        load_few_bf16,
        store_bf16
    );
}
