//! Batch norm beside batch renormalisation on the digits, in batches of 2 to 16 images: the table of
//! `docs/situations/small-batches.md`.
//!
//! `cargo run --release -p batchnorm-lab --example small_batches`
//!
//! Every arm sees the same images in the same order from the same start; its learning rate is the one of those below that gives the
//! best mean accuracy over three seeds which the table does not use.

use batchnorm_burn::{Renormalization, map_norms};
use batchnorm_lab::digits::{self, Digits, TRAINING_IMAGES};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::Batches;

/// Passes over the training images.
const PASSES: usize = 20;
const BATCH_SIZES: [usize; 4] = [2, 4, 8, 16];
const RATES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
const SEEDS_FOR_RATES: [u64; 3] = [101, 102, 103];
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// Accuracy on the test images behind a training: by the running statistics.
fn accuracy(digits: &Digits, renormalization: Option<Renormalization>, batch_size: usize, rate: f64, seed: u64) -> f64 {
    let plan = Plan { batch_size, learning_rate: rate, seed, ..Plan::of(true) };
    let network = map_norms(plan.start(&digits::data().summary), |_, norm| norm.renormalizing(renormalization));
    let mut training = plan.training(network, 0);
    let mut batches = Batches::new(TRAINING_IMAGES, batch_size, seed);
    for step in 0..PASSES * TRAINING_IMAGES / batch_size {
        training.step(&digits.train.select(batches.draw()), plan.rate(step));
    }
    training.evaluate(&digits.test).score.accuracy
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn main() {
    let digits = Digits::embedded();
    println!("| batch | batch norm: mean (range), rate | renormalisation: mean (range), rate | difference by seed |");
    println!("|---|---|---|---|");
    for batch_size in BATCH_SIZES {
        let steps = (PASSES * TRAINING_IMAGES / batch_size) as u64;
        // The paper's limits, relaxed over the first half of the training.
        let limits = Renormalization::new(3.0, 5.0).and_then(|limits| limits.warm_up(steps / 20, steps / 2, steps / 3));
        let arms = [None, Some(limits.expect("right limits"))].map(|arm| {
            let of = |rate: f64, seeds: &[u64]| -> Vec<f64> {
                seeds.iter().map(|&seed| accuracy(&digits, arm, batch_size, rate, seed)).collect()
            };
            let best = RATES.map(|rate| (mean(&of(rate, &SEEDS_FOR_RATES)), rate));
            let (_, rate) = best.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)).expect("some rates");
            (of(rate, &SEEDS), rate)
        });
        let shown = |(accuracies, rate): &(Vec<f64>, f64)| {
            let least = accuracies.iter().copied().fold(f64::INFINITY, f64::min);
            let most = accuracies.iter().copied().fold(0.0, f64::max);
            format!("{:.3} ({least:.3}-{most:.3}), {rate}", mean(accuracies))
        };
        let differences: Vec<String> = arms[0]
            .0
            .iter()
            .zip(&arms[1].0)
            .map(|(plain, renormalized)| format!("{:+.3}", renormalized - plain))
            .collect();
        println!("| {batch_size} | {} | {} | {} |", shown(&arms[0]), shown(&arms[1]), differences.join(" "));
    }
}
