//! The number types an array may hold.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A type that converts from and to `f64`, in which all arithmetic is done.
pub trait Number: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The value in `f64`, without rounding.
    fn to_f64(self) -> f64;
    /// The nearest value of this type, ties to even.
    fn from_f64(value: f64) -> Self;
}

/// A type in which gamma, beta and their gradients may be stored: `f32` or `f64`.
pub trait Parameter: Number {}

/// A type an array may hold: `f32` or `f64`.
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
}

macro_rules! number {
    ($type:ty, $widens:literal) => {
        impl Number for $type {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
        }
        impl Parameter for $type {}
        impl Element for $type {
            type Param = $type;
            const WIDENS: bool = $widens;
        }
    };
}
number!(f32, true);
number!(f64, false);
