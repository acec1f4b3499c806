//! The readable twin by itself: its forms agree with each other, and its derivatives are those of its formulas.

mod derivatives;
mod graph;
mod numbers;
mod whole;

use batchnorm_reference::random::Random;

/// A generator whose seed is printed, so that a failure can be repeated.
fn seeded(seed: u64) -> Random {
    println!("seed {seed}");
    Random::new(seed)
}
