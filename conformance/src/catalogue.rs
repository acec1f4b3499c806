//! The cases, by what goes wrong.

mod constants;
mod distributions;
mod evaluation;
mod four_deviations;
mod gradients;
mod halves;
mod huge;
mod layouts;
mod magnitudes;
mod nonfinite;
mod offsets;
mod outliers;
mod parameters;
mod rectified;
mod refusals;
mod renormalization;
mod running;
mod siblings;
mod sizes;
mod textbook;
mod weights;

use crate::case::Case;

/// All cases, in the order in which they are listed.
pub fn all() -> Vec<Case> {
    let groups = [
        textbook::cases,
        sizes::cases,
        parameters::cases,
        gradients::cases,
        evaluation::cases,
        running::cases,
        renormalization::cases,
        layouts::cases,
        rectified::cases,
        offsets::cases,
        four_deviations::cases,
        magnitudes::cases,
        constants::cases,
        outliers::cases,
        distributions::cases,
        nonfinite::cases,
        weights::cases,
        halves::cases,
        siblings::cases,
        refusals::cases,
        huge::cases,
    ];
    groups.into_iter().flat_map(|cases| cases()).collect()
}
