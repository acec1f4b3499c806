//! The course's network on a part of CIFAR-10, with batch norm and without, over three seeds: the table of docs/training.md.
//!
//! `cargo run --release -p batchnorm-lab --example cifar_with_and_without [FOLDER]` (FOLDER: where `scripts/data cifar10` put it)
//!
//! Both arms start from the same weights and see the same pictures in the same order; each has the learning rate that is best for it
//! on a seed that the table does not use.

use std::ops::ControlFlow;
use std::path::PathBuf;

use batchnorm_lab::data::{self, Augmentation, Data, DataError, Parts, Size};
use batchnorm_lab::network::{NormKind, Recipe};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::statistics::Paired;
use batchnorm_lab::trial::{Task, perform};

/// Pictures of the training set, 500 of each class: those that `train --examples 5000` takes.
const EXAMPLES: usize = 5000;
const EPOCHS: usize = 8;
const RATES: [f64; 3] = [0.01, 0.03, 0.1];
const SEED_FOR_RATES: u64 = 101;
const SEEDS: [u64; 3] = [1, 2, 3];

/// Accuracy on the 10,000 test pictures behind a training.
fn accuracy(data: &Data, norm: NormKind, rate: f64, seed: u64) -> Result<f64, DataError> {
    let recipe = Recipe { norm, ..Recipe::named("course").expect("it is known") };
    let augmentation = Augmentation { flip: true, ..Augmentation::default() };
    let plan = Plan { learning_rate: rate, seed, augmentation, ..Plan::usual(recipe, &data.summary, EPOCHS, None) };
    let plan = Plan { evaluate_every: None, ..plan };
    let task = Task { plan: &plan, data, looks: &[], source: None };
    match perform(&task, &mut |_| ControlFlow::Continue(()))? {
        ControlFlow::Continue(trial) => Ok(trial.accuracy.unwrap_or(0.1)),
        ControlFlow::Break(()) => unreachable!("nobody stops it"),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usual = std::env::home_dir().unwrap_or_default().join(".cache/batchnorm/data/cifar10");
    let folder = std::env::args_os().nth(1).map_or(usual, PathBuf::from);
    let parts = Parts { examples: Some(EXAMPLES), ..Parts::default() };
    let data = Data::new("cifar10", data::open(&folder, Size::Own)?, parts, true)?;
    let mut arms = Vec::new();
    println!(
        "| norm | accuracy by rate, seed {SEED_FOR_RATES} | rate | accuracy by seed | mean |\n|---|---|---|---|---|"
    );
    for norm in [NormKind::None, NormKind::Batch] {
        let mut sweep = Vec::new();
        for rate in RATES {
            sweep.push((accuracy(&data, norm, rate, SEED_FOR_RATES)?, rate));
        }
        let (_, rate) = sweep.iter().copied().max_by(|one, other| one.0.total_cmp(&other.0)).expect("some rates");
        let of = SEEDS.map(|seed| accuracy(&data, norm, rate, seed)).into_iter().collect::<Result<Vec<f64>, _>>()?;
        let shown = |values: Vec<f64>| values.iter().map(|of| format!("{of:.3}")).collect::<Vec<_>>().join(" ");
        let rates = shown(sweep.iter().map(|(accuracy, _)| *accuracy).collect());
        println!("| {norm:?} | {rates} ({RATES:?}) | {rate} | {} | {:.3} |", shown(of.clone()), mean(&of));
        arms.push(of);
    }
    let differences: Vec<f64> = arms[0].iter().zip(&arms[1]).map(|(without, with)| with - without).collect();
    let paired = Paired::of(&differences, 1.0 / data.test.len() as f64);
    let [least, greatest] = paired.by_t.expect("three pairs have an interval");
    println!("\nWith batch norm {:+.3}, 95 % interval {least:+.3} to {greatest:+.3} (paired by seed, t).", paired.mean);
    Ok(())
}
