//! The loops. `calls` is what is asked for from above; `reduce` sums a channel in a fixed tree, `map` writes an output,
//! `raw` hands out memory and instruction sets; above them nobody loops over elements.

mod activation;
mod ahead;
pub(crate) mod calls;
pub mod edges;
mod grid;
mod in_place;
pub(crate) mod leaves;
mod map;
pub(crate) mod pointwise;
pub(crate) mod raw;
pub(crate) mod reduce;
pub(crate) mod row_formulas;
pub(crate) mod rows;
pub(crate) mod rows_along;
mod sums;
pub(crate) mod tier;
mod transpose;
pub(crate) mod tree;
pub(crate) mod vector;
mod weighted;
pub(crate) mod whitening;

use crate::element::Element;
use crate::layout::Axes;
use crate::moments::Moments;
use crate::view::View;
use raw::Isa;
use tier::Tier;

/// Moments of a slice as one channel.
pub(crate) fn moments_of<T: Element>(values: &[T]) -> Moments {
    let view = View::new(values, &[values.len(), 1], Axes::NCHW).expect("a slice is a dense column");
    let isa = Isa::new(Tier::best()).expect("the best tier runs here");
    let all = T::moments(isa, &view.memory);
    all.first().copied().unwrap_or(Moments::EMPTY)
}
