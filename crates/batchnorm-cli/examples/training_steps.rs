//! Seconds of training steps, for `benches/networks/run`: each line of standard input is a number of steps, each line of standard output the
//! seconds that they took. The first line says how many weights the network has.
//!
//! ```sh
//! echo 100 | cargo run --release -p batchnorm-cli --example training_steps resnet8 64
//! ```

use std::io::BufRead;
use std::time::Instant;

use batchnorm_lab::data::{Examples, Shape};
use batchnorm_lab::network::Recipe;
use batchnorm_lab::optimizer::{Rule, Settings, WeightDecay};
use batchnorm_lab::random::{Purpose, generator};
use batchnorm_lab::training::Training;
use rand::RngExt;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 21;
const CLASSES: usize = 10;
/// Batches that steps take turns with, as data come in use.
const BATCHES: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match &arguments[..] {
        [name, size] => Recipe::named(name).zip(size.parse().ok()).filter(|&(_, size): &(_, usize)| size > 1),
        _ => None,
    };
    let Some((recipe, size)) = parsed else {
        eprintln!("expected a network (mlp, course, resnet8 ...) and examples a step, got {arguments:?}");
        std::process::exit(2);
    };
    let (channels, rows, columns) = if recipe.convolutions.is_empty() { (1, 28, 28) } else { (3, 32, 32) };
    let input = Shape { channels, rows, columns };
    let mut generator = generator(SEED, Purpose::Order);
    let batches: Vec<Examples> = (0..BATCHES)
        .map(|_| Examples {
            values: (0..size * input.values()).map(|_| generator.random::<f32>() * 4.0 - 2.0).collect(),
            classes: (0..size).map(|_| generator.random_range(0..CLASSES as u8)).collect(),
        })
        .collect();
    let rule = Rule::Sgd { momentum: 0.9, nesterov: true };
    let settings = Settings { rule, decay: WeightDecay { penalty: 1e-4, of_norms: false }, clip: None };
    let network = recipe.start(input, CLASSES, SEED, &Training::device());
    println!("{}", recipe.outline(input, CLASSES).iter().map(|layer| layer.parameters).sum::<usize>());
    let training = Training::new(network, settings, SEED, 0);
    // On a thread of the pool, as `batchnorm train` has it; and a sample of the profile has all of its callers then.
    rayon::scope(|_| steps(training, &batches));
}

fn steps(mut training: Training, batches: &[Examples]) {
    let mut turn = (0..BATCHES).cycle();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let steps: usize = line.trim().parse().expect("a number of steps");
        let start = Instant::now();
        for batch in turn.by_ref().take(steps) {
            // (A rate that learns nothing, so that no loss of random classes runs away.)
            training.step(&batches[batch], 1e-4);
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
}
