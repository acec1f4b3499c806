//! Elements of arrays: number types with the passes that are compiled for them.

use crate::array::layout::Axes;
use crate::array::view::View;
use crate::dispatch::Loops;
use crate::machine::Machine;
use crate::machine::tier::Tier;
use crate::moments::Moments;
use crate::number::{Number, Stored};
use crate::operations::{Operations, OutputOperations};
use crate::threads::Threads;

/// A type an array may hold: `f32`, `f64`, and with the feature `half` also `f16` and `bf16`.
///
/// All arithmetic is done in `f64` and rounded once, on storing. The layer itself does not depend on this type,
/// only its calls do.
pub trait Element: Stored {
    /// The type in which gamma and beta go with this element: never narrower than `f32`.
    type Param: Parameter;

    /// The passes over arrays of this type.
    #[doc(hidden)]
    fn operations() -> &'static dyn Operations<Self>;
}

/// A type in which gamma, beta and their gradients may be stored: `f32` or `f64`.
pub trait Parameter: Number {
    /// From 1 to the next number.
    #[doc(hidden)]
    const EPSILON: f64;
    /// The smallest positive number.
    #[doc(hidden)]
    const TINY: f64;
    /// The largest finite number.
    #[doc(hidden)]
    const LARGEST: f64;

    /// The passes that start from an output, which halves are too coarse for.
    #[doc(hidden)]
    fn output_operations() -> &'static dyn OutputOperations<Self>;
}

// Each type's table of passes is a static of this crate, so that its loops are compiled here and nowhere else: generic code
// would be compiled again in every crate that uses it. A call costs one pointer more.
macro_rules! element {
    ($type:ty, $parameter:ty) => {
        impl Element for $type {
            type Param = $parameter;
            fn operations() -> &'static dyn Operations<Self> {
                static OPERATIONS: &dyn Operations<$type> = &Loops;
                OPERATIONS
            }
        }
    };
}
element!(f32, f32);
element!(f64, f64);
#[cfg(feature = "half")]
element!(half::f16, f32);
#[cfg(feature = "half")]
element!(half::bf16, f32);

macro_rules! parameter {
    ($type:ty) => {
        impl Parameter for $type {
            const EPSILON: f64 = <$type>::EPSILON as f64;
            const TINY: f64 = <$type>::from_bits(1) as f64;
            const LARGEST: f64 = <$type>::MAX as f64;
            fn output_operations() -> &'static dyn OutputOperations<Self> {
                static OPERATIONS: &dyn OutputOperations<$type> = &Loops;
                OPERATIONS
            }
        }
    };
}
parameter!(f32);
parameter!(f64);

impl Moments {
    /// Moments of a slice, by the same reduction as the layer's.
    pub fn of<T: Element>(values: &[T]) -> Moments {
        let view = View::new(values, &[values.len(), 1], Axes::NCHW).expect("a slice is a dense column");
        let machine = Machine::new(Tier::best(), Threads::default()).expect("the best tier runs here");
        T::operations().moments(&machine, view.memory(), None).first().copied().unwrap_or(Moments::EMPTY)
    }
}
