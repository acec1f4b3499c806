//! The number types an array may hold.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A type in which gamma, beta and their gradients may be stored: `f32` or `f64`.
pub trait Parameter: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The value in `f64`, without rounding.
    fn to_f64(self) -> f64;
    /// The nearest value of this type, ties to even.
    fn from_f64(value: f64) -> Self;
}

/// A type an array may hold: `f32` or `f64`.
///
/// All arithmetic is done in `f64` and rounded once, on storing. The layer itself does not depend on this type,
/// only its calls do.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The type in which gamma and beta go with this element: never narrower than `f32`.
    type Param: Parameter;

    /// Whether `f64` holds the square of a difference of two elements to more digits than an element has.
    /// Then the spread about any one value of a chunk is accurate enough; else it is taken about the chunk's mean,
    /// which costs a second look at the chunk.
    const WIDENS: bool;

    /// The value in `f64`, without rounding.
    fn to_f64(self) -> f64;
    /// The nearest value of this type, ties to even.
    fn from_f64(value: f64) -> Self;
}

macro_rules! number {
    ($type:ty, $widens:literal) => {
        impl Parameter for $type {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
        }
        impl Element for $type {
            type Param = $type;
            const WIDENS: bool = $widens;
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
        }
    };
}
number!(f32, true);
number!(f64, false);
