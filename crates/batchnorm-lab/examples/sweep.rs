//! The sweep behind the learning rates of `Settings::default`: every rate in both arms, over three seeds that the
//! default comparison does not use.
//!
//! `cargo run --release -p batchnorm-lab --example sweep -- 6000`

use batchnorm_lab::comparison::{Arm, Comparison, Settings};
use batchnorm_lab::digits::Digits;
use std::ops::ControlFlow;

/// Learning rates from far too low to far too high, three to a factor of ten.
const RATES: [f64; 13] = [0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0];

fn main() {
    let steps = std::env::args().nth(1).map_or(6000, |argument| argument.parse().expect("a number of steps"));
    let arms = [false, true].into_iter().flat_map(|norm| RATES.map(|rate| Arm::new(norm, rate))).collect();
    let settings = Settings { arms, seeds: vec![101, 102, 103], steps, evaluate_every: 10, ..Settings::default() };
    let mut comparison = Comparison::new(settings, String::from("sweep")).expect("settings in range");
    let digits = Digits::embedded();
    for task in comparison.missing() {
        match comparison.perform(&task, &digits, &mut |_| ControlFlow::Continue(())) {
            ControlFlow::Continue(run) => comparison.record(run),
            ControlFlow::Break(()) => unreachable!("nobody stops it"),
        }
    }
    println!("| arm | reached | steps: mean (range) | final accuracy: mean (range) | diverged | ms a step |");
    println!("|---|---|---|---|---|---|");
    for arm in &comparison.summary.arms {
        let steps = arm.steps_to_target.map_or(String::from("-"), |spread| {
            format!("{:.0} ({:.0}-{:.0})", spread.mean, spread.least, spread.greatest)
        });
        let accuracy = arm.final_accuracy.map_or(String::from("-"), |spread| {
            format!("{:.3} ({:.3}-{:.3})", spread.mean, spread.least, spread.greatest)
        });
        let speed = arm.milliseconds_a_step.map_or(f64::NAN, |spread| spread.mean);
        println!(
            "| {} | {} of {} | {steps} | {accuracy} | {} | {speed:.3} |",
            arm.arm, arm.reached, arm.runs, arm.diverged
        );
    }
}
