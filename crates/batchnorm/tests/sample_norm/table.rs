//! Sizes at which the kernels of rows change their way, for each norm.

use crate::support::Random;
use crate::support::layout::{Sizes, sizes};
use crate::support::samples::{Case, Kind};
use batchnorm::thresholds::{ROWS_A_FLUSH, TILE_ROWS};
use batchnorm::{Activation, Element};

/// The same with something beside the norm, in turn: an activation, weights, or both.
pub fn varied<T: Element>(case: Case<T>, turn: usize, random: &mut Random) -> Case<T> {
    match turn % 4 {
        0 => case.behind(Activation::Relu),
        1 => case.weighted(random),
        2 => case.behind(Activation::LeakyRelu(0.25)),
        _ => case.weighted(random).behind([Activation::LeakyRelu(0.25), Activation::Relu][turn / 4 % 2]),
    }
}

/// Edges of lanes, runs, chunks and tiles; one row and many.
pub fn table() -> Vec<(Kind, Sizes)> {
    let mut all = Vec::new();
    for plane in [1, 2, 7, 8, 15, 16, 17, 31, 33, 1023, 1024, 1025] {
        for axes in [1, 2] {
            let sizes = if plane > 100 { sizes(2, 2, plane) } else { sizes(5, 6, plane) };
            all.extend([(Kind::Layer(axes), sizes), (Kind::Rms(axes), sizes)]);
        }
        let sizes = if plane > 100 { sizes(1, 6, plane) } else { sizes(3, 6, plane) };
        all.extend([1, 2, 6].map(|groups| (Kind::Group(groups), sizes)));
        all.extend([1, 2, 6].map(|groups| (Kind::GroupRms(groups), sizes)));
        if plane > 1 {
            all.push((Kind::Instance, sizes));
        }
    }
    // All axes at once: one row.
    all.extend([(Kind::Layer(3), sizes(2, 3, 5)), (Kind::Rms(3), sizes(3, 5, 70))]);
    // Rows that are taken together, copied or not, and added up before they go to a total.
    for edge in [TILE_ROWS, ROWS_A_FLUSH, 2 * ROWS_A_FLUSH] {
        all.extend([edge - 1, edge, edge + 1].map(|rows| (Kind::Layer(1), sizes(rows, 1, 5))));
        all.extend([edge - 1, edge, edge + 1].map(|samples| (Kind::Group(2), sizes(samples, 4, 3))));
    }
    // Many rows.
    all.extend([(Kind::Layer(1), sizes(3000, 1, 9)), (Kind::Rms(1), sizes(101, 43, 3))]);
    all.extend([
        (Kind::Group(4), sizes(70, 12, 3)),
        (Kind::Group(3), sizes(40, 9, 20)),
        (Kind::GroupRms(4), sizes(70, 12, 3)),
        (Kind::GroupRms(3), sizes(40, 9, 20)),
        (Kind::Instance, sizes(40, 9, 16)),
    ]);
    all
}
