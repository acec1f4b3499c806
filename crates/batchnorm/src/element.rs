//! The number types an array may hold.
#![allow(private_interfaces)] // of sealed methods, which nobody outside can name

use crate::config::Activation;
use crate::kernel::calls::{self, Of};
use crate::kernel::leaves::GradientSums;
use crate::kernel::pointwise::Coefficients;
use crate::kernel::raw::{Isa, Readable, Writable};
use crate::kernel::row_formulas::{Elements, RowNumbers};
use crate::kernel::rows::Summed;
use crate::kernel::vector::{Vector, WIDTH};
use crate::kernel::whitening::Centered;
use crate::moments::Moments;

/// The functions of `calls`, to be declared as methods and forwarded to: so they are compiled for each type here, and in
/// no other crate.
macro_rules! all_calls {
    ($then:ident) => {
        $then! {
            moments(isa: Isa, x: &Readable<Self>) -> Vec<Moments>;
            train(
                isa: Isa,
                activation: Activation,
                x: &Readable<Self>,
                residual: Option<&Readable<Self>>,
                y: &mut Writable<Self>,
                of: Of<Moments, 3>
            ) -> Vec<Moments>;
            normalize(
                isa: Isa,
                activation: Activation,
                x: &Readable<Self>,
                residual: Option<&Readable<Self>>,
                y: &mut Writable<Self>,
                all: Coefficients<3>
            );
            moments_weighted(isa: Isa, x: &Readable<Self>, weights: &Readable<Self>) -> Vec<Moments>;
            normalize_weighted(
                isa: Isa,
                activation: Activation,
                x: &Readable<Self>,
                weights: &Readable<Self>,
                y: &mut Writable<Self>,
                all: Coefficients<3>
            );
            gradient_sums_weighted(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 3]
            ) -> Vec<GradientSums>;
            input_gradient_weighted(
                isa: Isa,
                activation: Activation,
                arrays: [&Readable<Self>; 3],
                dx: &mut Writable<Self>,
                all: Coefficients<5>
            );
            gradient_sums(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 2]
            ) -> Vec<GradientSums>;
            backward(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 2],
                dx: &mut Writable<Self>,
                of: Of<GradientSums, 5>
            ) -> Vec<GradientSums>;
            backward_by_constants(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 2],
                dx: &mut Writable<Self>,
                of: Of<GradientSums, 3>
            ) -> Vec<GradientSums>;
            input_gradient(
                isa: Isa,
                activation: Activation,
                arrays: [&Readable<Self>; 2],
                dx: &mut Writable<Self>,
                all: Coefficients<5>
            );
            tangent(
                isa: Isa,
                activation: Activation,
                arrays: [&Readable<Self>; 2],
                out: &mut Writable<Self>,
                all: Coefficients<7>
            );
            sums_along(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 3],
                arrays: [&Readable<Self>; 3]
            ) -> Vec<GradientSums>;
            gradient_along(
                isa: Isa,
                activation: Activation,
                arrays: [&Readable<Self>; 3],
                out: &mut Writable<Self>,
                all: Coefficients<10>
            );
            backward_adding(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 3],
                outs: [&mut Writable<Self>; 2],
                of: Of<GradientSums, 5>
            ) -> Vec<GradientSums>;
            gradient_sums_adding(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 3]
            ) -> Vec<GradientSums>;
            residual_gradient(
                isa: Isa,
                activation: Activation,
                arrays: [&Readable<Self>; 2],
                dresidual: &mut Writable<Self>
            );
            backward_adding_by_constants(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                arrays: [&Readable<Self>; 3],
                outs: [&mut Writable<Self>; 2],
                of: Of<GradientSums, 3>
            ) -> Vec<GradientSums>;
            normalize_in_place(
                isa: Isa,
                activation: Activation,
                x: &mut Writable<Self>,
                residual: Option<&Readable<Self>>,
                all: Coefficients<3>
            );
            backward_in_place(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                x: &Readable<Self>,
                dy: &mut Writable<Self>,
                of: Of<GradientSums, 5>
            ) -> Vec<GradientSums>;
            backward_by_constants_in_place(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 5],
                x: &Readable<Self>,
                dy: &mut Writable<Self>,
                of: Of<GradientSums, 3>
            ) -> Vec<GradientSums>;
            normalize_rows(
                isa: Isa,
                first: usize,
                x: &Readable<Self>,
                y: &mut Writable<Self>,
                elements: Elements<2>,
                of: Of<Moments, 3>
            ) -> Vec<Moments>;
            input_gradient_rows(
                isa: Isa,
                summed: Summed,
                arrays: [&Readable<Self>; 2],
                dx: &mut Writable<Self>
            );
            backward_rows(
                isa: Isa,
                summed: Summed,
                arrays: [&Readable<Self>; 2],
                dx: &mut Writable<Self>
            ) -> [Vec<f64>; 2];
            tangent_rows(
                isa: Isa,
                summed: Summed,
                elements: Elements<3>,
                arrays: [&Readable<Self>; 2],
                out: &mut Writable<Self>
            );
            parameter_rows(
                isa: Isa,
                parts: &[[&Readable<Self>; 2]],
                numbers: &[RowNumbers],
                period: usize
            ) -> [Vec<f64>; 2];
            take_channels(from: &Readable<Self>, channels: &[usize], into: &mut Writable<Self>);
            put_channels(from: &Readable<Self>, channels: &[usize], into: &mut Writable<Self>);
            products(isa: Isa, array: Centered<Self>, other: Option<Centered<Self>>, group: usize) -> Vec<Vec<f64>>;
            mix(
                isa: Isa,
                inputs: &[Centered<Self>],
                matrices: &[Vec<f64>],
                shift: &[f64],
                group: usize,
                out: &mut Writable<Self>
            );
        }
    };
}
/// Those that `f32` and `f64` have alone.
macro_rules! parameter_calls {
    ($then:ident) => {
        $then! {
            backward_of_output(
                isa: Isa,
                activation: Activation,
                constants: [&[f64]; 3],
                y: &Readable<Self>,
                dy: &mut Writable<Self>,
                of: Of<GradientSums, 5>
            ) -> Vec<GradientSums>;
        }
    };
}
macro_rules! declared {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name($($argument: $type),*) $(-> $result)?;)*
    };
}
macro_rules! forwarded {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name($($argument: $type),*) $(-> $result)? {
            calls::$name($($argument),*)
        })*
    };
}

mod sealed {
    use super::*;

    /// How the kernels take eight elements at once, and the kernels.
    pub trait Sealed: Sized {
        all_calls!(declared);
        fn load<V: Vector>(values: &[Self; WIDTH]) -> V;
        /// `past` as for [`Vector`].
        fn store<V: Vector>(vector: V, out: &mut [Self; WIDTH], past: bool);
    }

    pub trait SealedParameter: Sealed {
        parameter_calls!(declared);
    }
}

/// A type that converts from and to `f64`, in which all arithmetic is done.
///
/// ```
/// use batchnorm::Number;
/// assert_eq!(f32::from_f64(0.1).to_f64(), f64::from(0.1f32));
/// ```
pub trait Number: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The value in `f64`, without rounding.
    fn to_f64(self) -> f64;
    /// The nearest value of this type, ties to even. (For `f16` and `bf16` by way of `f32`: within a hair of that.)
    fn from_f64(value: f64) -> Self;
}

/// A type in which gamma, beta and their gradients may be stored: `f32` or `f64`.
pub trait Parameter: Number + sealed::SealedParameter {
    /// From 1 to the next number.
    #[doc(hidden)]
    const EPSILON: f64;
    /// The smallest positive number.
    #[doc(hidden)]
    const TINY: f64;
    /// The largest finite number.
    #[doc(hidden)]
    const LARGEST: f64;
}

/// A type an array may hold: `f32`, `f64`, and with the feature `half` also `f16` and `bf16`.
///
/// All arithmetic is done in `f64` and rounded once, on storing. The layer itself does not depend on this type,
/// only its calls do.
pub trait Element: Number {
    /// The type in which gamma and beta go with this element: never narrower than `f32`.
    type Param: Parameter;

    /// Whether `f64` holds the square of a difference of two elements to more digits than an element has.
    /// Then the spread about any one value of a chunk is accurate enough; else it is taken about the chunk's mean,
    /// which costs a second look at the chunk.
    const WIDENS: bool;

    /// The largest positive number that is stored as 0.
    #[doc(hidden)]
    const VANISHES: f64;
}

macro_rules! number {
    ($type:ty, $param:ty, $widens:literal, $vanishes:expr, $to_f64:expr, $from_f64:expr, $load:expr, $store:expr) => {
        impl sealed::Sealed for $type {
            all_calls!(forwarded);
            #[inline(always)]
            fn load<V: Vector>(values: &[Self; WIDTH]) -> V {
                $load(values)
            }
            #[inline(always)]
            fn store<V: Vector>(vector: V, out: &mut [Self; WIDTH], past: bool) {
                $store(vector, out, past)
            }
        }
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
        impl Element for $type {
            type Param = $param;
            const WIDENS: bool = $widens;
            const VANISHES: f64 = $vanishes;
        }
    };
}
/// Half of the smallest f32: to even, so to 0.
const TWO_TO_MINUS_150: f64 = f64::from_bits((1023 - 150) << 52);

number!(f32, f32, true, TWO_TO_MINUS_150, f64::from, |value| value as f32, V::from_f32, V::put_f32);
number!(f64, f64, false, 0.0, f64::from, |value| value, V::from_f64, V::put_f64);

macro_rules! parameter {
    ($type:ty) => {
        impl sealed::SealedParameter for $type {
            parameter_calls!(forwarded);
        }
        impl Parameter for $type {
            const EPSILON: f64 = <$type>::EPSILON as f64;
            const TINY: f64 = <$type>::from_bits(1) as f64;
            const LARGEST: f64 = <$type>::MAX as f64;
        }
    };
}
parameter!(f32);
parameter!(f64);

#[cfg(feature = "half")]
mod halves {
    use super::*;
    use half::{bf16, f16};

    use half::slice::HalfFloatSliceExt;

    /// Loads and stores by bits, which are free: the arrays have the same bytes. Functions, for what a closure does
    /// with a vector is not sure to be inlined.
    macro_rules! by_bits {
        ($type:ident, $load:ident, $from:ident, $store:ident, $put:ident) => {
            #[inline(always)]
            fn $load<V: Vector>(values: &[$type; WIDTH]) -> V {
                let mut bits = [0; WIDTH];
                bits.copy_from_slice(values.reinterpret_cast());
                V::$from(&bits)
            }
            #[inline(always)]
            fn $store<V: Vector>(vector: V, out: &mut [$type; WIDTH], past: bool) {
                let bits = out.reinterpret_cast_mut().first_chunk_mut().expect("as many bits as halves");
                vector.$put(bits, past);
            }
        };
    }
    by_bits!(f16, load_f16, from_f16, store_f16, put_f16);
    by_bits!(bf16, load_bf16, from_bf16, store_bf16, put_bf16);

    number!(
        f16,
        f32,
        true,
        // Half of the smallest number, and what f32 rounds to that.
        1.0 / (1u64 << 25) as f64 * (1.0 + 1.0 / (1u64 << 24) as f64),
        f16::to_f64,
        |value| f16::from_f32(value as f32),
        load_f16,
        store_f16
    );
    number!(
        bf16,
        f32,
        true,
        65_536.0 * TWO_TO_MINUS_150 + TWO_TO_MINUS_150,
        bf16::to_f64,
        |value| bf16::from_f32(value as f32),
        load_bf16,
        store_bf16
    );
}
