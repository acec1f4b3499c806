//! Properties of random values, the same on every machine.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// So many values of a strategy, from a seed that is shown when the test fails.
pub fn check<S: Strategy>(seed: u64, cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    println!("seed {seed}, {cases} cases");
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(&strategy, test).unwrap();
}
