//! Passes by their statistics: those of the batch, constants and mixes of both.

use batchnorm::{NormalizeBy, Switches, UpdateWeight};

/// By the batch, by constants and by mixes; with the statistics' gradient and without.
pub fn passes() -> Vec<Switches> {
    let mix = |new| NormalizeBy::Mix(UpdateWeight::of_new(new).expect("a weight"));
    let by = [NormalizeBy::Batch, NormalizeBy::Running, mix(0.1), mix(0.7)];
    let with = |normalize_by, flows| Switches { normalize_by, gradient_through_statistics: flows, ..Switches::train() };
    by.into_iter().flat_map(|by| [with(by, true), with(by, false)]).collect()
}

/// The batch's share in the statistics.
pub fn share(switches: Switches) -> f64 {
    match switches.normalize_by {
        NormalizeBy::Batch => 1.0,
        NormalizeBy::Running => 0.0,
        NormalizeBy::Mix(weight) => weight.new_value(),
    }
}
