//! Gradients checked: derivatives without a formula, and what is wrong with somebody else's gradient.
//!
//! 1. **Derivatives of any function**: [`complex_step`] and [`directional_derivative`] are as accurate as the function,
//!    which must be generic over [`Real`](batchnorm_reference::Real); [`central_difference`] takes any. The numbers are
//!    [`Complex`], [`Dual`] and, as the truth for `f64`, [`DoubleDouble`].
//! 2. **A gradient judged**: a [`Problem`] (x, dy, gamma, eps, and what is normalised together) knows the right
//!    gradients; [`Problem::given`] takes those of any other implementation, and [`Given::diagnose`] says of each whether
//!    it is right, the worst error and where it is, and if it is wrong, by which of the usual [`MISTAKES`].
//!
//! How it is measured: dx by max|error| / (|gamma| r max|dy|) of each channel, r = 1 / sqrt(variance + eps); dgamma by
//! |error| / sum|dy xhat|; dbeta by |error| / sum|dy|. How much of that is rounding depends on the numbers: what careful
//! and what plain arithmetic at their precision may be off by on this very input is derived in `rounding.rs`, and plain
//! arithmetic is also tried out.
//!
//! How a mistake is found: each is computed as the wrong gradients it gives, in all the ways in which it is usually made,
//! and a gradient is called by its name where that fits to rounding and the truth does not. Where several fit, or one and
//! the truth, they cannot be told apart on this input, and it says so. Where plain arithmetic may lose the gradient itself,
//! it says that too ([`Verdict::Hidden`]). What no formula explains is looked for over dx, dgamma and dbeta together: as the
//! right gradients of values that stand elsewhere, or of another axis ([`ARRANGEMENTS`]).
//!
//! ```
//! use batchnorm_gradcheck::{Problem, Verdict};
//! use batchnorm::{Axes, BatchNorm, View};
//!
//! let (x, dy) = ([1.0f32, 2.0, 6.0, 4.0, 3.0, 9.0], [0.3f32, -1.0, 0.5, 0.1, 0.7, -0.2]);
//! let [x, dy] = [&x, &dy].map(|values| View::new(values, &[3, 2], Axes::NCHW).unwrap());
//! let layer = BatchNorm::new(2)?;
//! let gradients = layer.backward(&x, &dy, &layer.forward_train(&x)?.saved)?;
//!
//! let dx = View::new(gradients.dx.data(), &[3, 2], Axes::NCHW)?;
//! let problem = Problem::batch_norm(&x, &dy, &[1.0, 1.0], 1e-5)?;
//! let diagnosis = problem.given().dx(&dx)?.dbeta(&gradients.dbeta.unwrap())?.diagnose()?;
//! assert!(!diagnosis.is_wrong());
//! assert_eq!(diagnosis.dbeta.unwrap().verdict, Verdict::Right);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arithmetic;
mod arrangement;
mod array;
mod correction;
mod decision;
mod diagnose;
mod error;
mod given;
mod judge;
mod mistakes;
mod parameter_sums;
mod precision;
mod problem;
mod rearranged;
mod renormalized;
mod rounding;
mod row;
mod sample_order;
mod score;
mod variants;
mod verdict;
mod wrong_axis;
mod wrong_order;

pub use batchnorm_reference::number::{
    COMPLEX_STEP, Complex, DIFFERENCE_STEP, DoubleDouble, Dual, central_difference, complex_step,
    directional_derivative,
};
pub use error::ProblemError;
pub use given::Given;
pub use mistakes::{MISTAKES, Mistake};
pub use precision::Precision;
pub use problem::{MAX_VALUES, Problem};
pub use rearranged::ARRANGEMENTS;
pub use verdict::{Diagnosis, Finding, Nearest, Verdict};
pub use wrong_axis::ACROSS;
pub use wrong_order::ORDER;

/// The example of `docs/situations/gradients.md`, compiled as a test.
#[cfg(doctest)]
mod situations {
    #[doc = include_str!("../../../docs/situations/gradients.md")]
    struct Gradients;
}
