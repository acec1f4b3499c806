//! Seconds of training steps, for `benches/networks/run`: each line of standard input is a number of steps, each line of standard output the
//! seconds that they took, with what `train` does in each besides: batches drawn, read (from memory) and standardised. The first line says how
//! many weights the network has.
//!
//! ```sh
//! echo 100 | cargo run --release -p batchnorm-cli --example training_steps resnet8 64
//! ```

use std::io::BufRead;
use std::time::Instant;

use batchnorm_lab::data::{Data, Examples, Found, Parts, Set, Shape};
use batchnorm_lab::network::Recipe;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::random::{Purpose, generator};
use batchnorm_lab::training::Batches;
use rand::RngExt;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 21;
const CLASSES: u8 = 10;
/// Examples to draw from, and to test with, which nobody does.
const EXAMPLES: [usize; 2] = [1024, 10];
/// A rate that learns nothing, so that no loss of random classes runs away.
const RATE: f64 = 1e-4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match &arguments[..] {
        [name, size] => Recipe::named(name).zip(size.parse().ok()).filter(|(_, size)| (2..=EXAMPLES[0]).contains(size)),
        _ => None,
    };
    let Some((recipe, size)) = parsed else {
        eprintln!(
            "expected a network (mlp, course, resnet8 ...) and examples a step up to {}, got {arguments:?}",
            EXAMPLES[0]
        );
        std::process::exit(2);
    };
    let (channels, rows, columns) = if recipe.convolutions.is_empty() { (1, 28, 28) } else { (3, 32, 32) };
    let shape = Shape { channels, rows, columns };
    let mut generator = generator(SEED, Purpose::Order);
    let [train, test] = EXAMPLES.map(|count| {
        let values = (0..count * shape.values()).map(|_| generator.random::<f32>()).collect();
        let classes = (0..count).map(|at| (at % usize::from(CLASSES)) as u8).collect();
        Set::in_memory(shape, Examples { values, classes })
    });
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let found = Found { kind: "random numbers", classes, train, test: Some(test) };
    let data = Data::new("random", found, Parts::default(), true).expect("they are in memory");
    let plan = Plan { learning_rate: RATE, ..Plan::usual(recipe, &data.summary, 1, Some(size)) };
    let layers = plan.network.outline(shape, data.summary.classes.len());
    println!("{}", layers.iter().map(|layer| layer.parameters).sum::<usize>());
    // On a thread of the pool, as `batchnorm train` has it; and a sample of the profile has all of its callers then.
    rayon::scope(|_| steps(&data, &plan));
}

fn steps(data: &Data, plan: &Plan) {
    let mut training = plan.training(plan.start(&data.summary), 0);
    let mut batches = Batches::new(data.train.len(), plan.batch_size, SEED);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let steps: usize = line.trim().parse().expect("a number of steps");
        let start = Instant::now();
        for step in 0..steps {
            let batch = plan.batch(data, batches.draw(), step).expect("they are in memory");
            training.step(&batch, RATE);
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
}
