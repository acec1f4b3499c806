//! The loops. `reduce` sums a channel in a fixed tree, `map` writes an output, `raw` hands out memory and
//! instruction sets; above them nobody loops over elements.

mod columns;
pub(crate) mod map;
pub(crate) mod raw;
pub(crate) mod reduce;

use crate::element::Element;
use crate::layout::Axes;
use crate::moments::Moments;
use crate::view::View;
use raw::{Isa, Tier};

/// Moments of a slice as one channel.
pub(crate) fn moments_of<T: Element>(values: &[T]) -> Moments {
    let view = View::new(values, &[values.len(), 1], Axes::NCHW).expect("a slice is a dense column");
    let isa = Isa::new(Tier::best()).expect("the best tier runs here");
    let all = reduce::reduce([&view.memory], &reduce::MomentsLeaf(isa));
    all.first().copied().unwrap_or(Moments::EMPTY)
}

/// y = (x - mean) * scale + shift, the mean as a pair. Coefficients: mean, rest, scale, shift.
#[derive(Clone, Copy)]
pub(crate) struct Normalize;

impl map::Pointwise<1, 4> for Normalize {
    #[inline(always)]
    fn apply(self, [mean, rest, scale, shift]: [f64; 4], [x]: [f64; 1]) -> f64 {
        ((x - mean) - rest) * scale + shift
    }
}

/// dx = scale * ((dy - mean of dy) - (x - mean) * slope). Coefficients: mean, rest, scale, mean of dy, slope.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient;

impl map::Pointwise<2, 5> for InputGradient {
    #[inline(always)]
    fn apply(self, [mean, rest, scale, mean_dy, slope]: [f64; 5], [x, dy]: [f64; 2]) -> f64 {
        scale * ((dy - mean_dy) - ((x - mean) - rest) * slope)
    }
}

/// dx = scale * dy: the statistics are constants, and x does not matter.
#[derive(Clone, Copy)]
pub(crate) struct Scale;

impl map::Pointwise<2, 1> for Scale {
    #[inline(always)]
    fn apply(self, [scale]: [f64; 1], [_, dy]: [f64; 2]) -> f64 {
        scale * dy
    }
}
