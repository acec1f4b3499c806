//! Numbers that the formulas can be computed in besides `f64`, and what they are for.
//!
//! - [`Complex`] and [`Dual`] carry a derivative through any formula; [`complex_step`] and [`directional_derivative`] take it
//!   from there, as accurate as the formula itself;
//! - [`central_difference`] needs no number of its own and no formula;
//! - [`DoubleDouble`] has about 106 bits: the truth for `f64`.

mod carrying;
mod double_double;
mod numeric;

pub use carrying::{Complex, Dual};
pub use double_double::DoubleDouble;
pub use numeric::{COMPLEX_STEP, DIFFERENCE_STEP, central_difference, complex_step, directional_derivative};
