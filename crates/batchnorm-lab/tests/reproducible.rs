//! The same seed gives the same network, to the bit: run to run, on any number of threads, resumed or not.

#![allow(missing_docs)]

use std::ops::ControlFlow;

use batchnorm_lab::comparison::{Arm, Comparison, Settings};
use batchnorm_lab::digits::Digits;
use batchnorm_lab::run::{Ending, Run};

fn settings(steps: usize) -> Settings {
    Settings { arms: Settings::arms_at(0.5), seeds: vec![1, 2], steps, ..Settings::default() }
}

fn all_runs(mut comparison: Comparison) -> Comparison {
    let digits = Digits::embedded();
    for task in comparison.missing() {
        match comparison.perform(&task, &digits, &mut |_| ControlFlow::Continue(())) {
            ControlFlow::Continue(run) => comparison.record(run),
            ControlFlow::Break(()) => unreachable!("nobody stops it"),
        }
    }
    comparison
}

/// All of a run that is not time, numbers to the last digit.
fn what_was_computed(run: &Run) -> String {
    let points: Vec<_> = run.curve.iter().map(|point| (point.step, point.accuracy, point.test_loss)).collect();
    format!("{} {} {} {points:?}", run.arm, run.seed, run.fingerprint)
}

#[test]
fn run_to_run_and_over_threads() {
    let new = || Comparison::new(settings(60), String::new()).unwrap();
    let first = all_runs(new());
    let expected: Vec<_> = first.runs.iter().map(what_was_computed).collect();
    assert_eq!(expected.len(), 4);
    for threads in [1, 2, 3, 4, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let again = pool.install(|| all_runs(new()));
        let got: Vec<_> = again.runs.iter().map(what_was_computed).collect();
        assert_eq!(got, expected, "{threads} threads");
    }
    // Different seeds are different networks.
    assert_ne!(first.runs[1].fingerprint, first.runs[3].fingerprint);
}

#[test]
fn resumed_it_is_the_same() {
    let whole = all_runs(Comparison::new(settings(20), String::new()).unwrap());
    let mut partial = whole.clone();
    partial.runs.remove(2);
    partial.runs.remove(0);
    // Through a file's form.
    let partial: Comparison = serde_json::from_str(&serde_json::to_string(&partial).unwrap()).unwrap();
    let mut resumed = Comparison::new(settings(20), String::from("another command line")).unwrap();
    resumed.resume(partial).unwrap();
    assert!(!resumed.complete);
    assert_eq!(
        resumed.missing().iter().map(|task| (task.seed, task.arm.batch_norm)).collect::<Vec<_>>(),
        [(1, false), (2, false)]
    );
    let resumed = all_runs(resumed);
    assert!(resumed.complete);
    let computed = |comparison: &Comparison| comparison.runs.iter().map(what_was_computed).collect::<Vec<_>>();
    assert_eq!(computed(&resumed), computed(&whole));
}

#[test]
fn another_comparison_is_not_mixed_in() {
    let mut now = Comparison::new(settings(20), String::new()).unwrap();
    let mut other = settings(30);
    other.network.epsilon = 1e-3;
    let earlier = Comparison::new(other, String::new()).unwrap();
    let differences = now.resume(earlier).unwrap_err();
    assert_eq!(differences.iter().map(|difference| difference.0).collect::<Vec<_>>(), ["steps", "network"]);
    let mut elsewhere = Comparison::new(settings(20), String::new()).unwrap();
    elsewhere.machine.processor.push('!');
    assert_eq!(now.resume(elsewhere).unwrap_err()[0].0, "processor");
}

#[test]
fn a_stopped_run_is_no_run() {
    let comparison = Comparison::new(settings(1000), String::new()).unwrap();
    let digits = Digits::embedded();
    let mut seen = 0;
    let outcome = comparison.perform(&comparison.missing()[0], &digits, &mut |progress| {
        seen = progress.step;
        if progress.step >= 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((outcome, seen), (ControlFlow::Break(()), 20));
}

#[test]
fn a_run_that_diverges_says_so() {
    let arms = vec![Arm::new(false, 1e6), Arm::new(true, 0.3)];
    let mut settings = Settings { arms, seeds: vec![1], steps: 60, ..Settings::default() };
    // Weights beyond the end of f32: infinity times 0 is not a number.
    settings.network.weight_deviation = 3e38;
    let comparison = all_runs(Comparison::new(settings, String::new()).unwrap());
    let run = &comparison.runs[0];
    assert_eq!(run.ending, Ending::Diverged { step: 1 });
    assert_eq!((run.final_accuracy, run.target), (None, None));
    assert_eq!(comparison.summary.arms[0].diverged, 1);
    // Written and read, nothing that is not a number becomes one.
    let text = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap().runs[0].final_accuracy, None);
}

#[test]
fn settings_out_of_range_are_named() {
    type Spoil = fn(&mut Settings);
    let bad: [(&str, Spoil); 12] = [
        ("arms", |settings| settings.arms.clear()),
        ("arms", |settings| settings.arms.push(settings.arms[0].clone())),
        ("seeds", |settings| settings.seeds.clear()),
        ("seeds", |settings| settings.seeds = vec![4, 4]),
        ("learning_rate", |settings| settings.arms[1].learning_rate = f64::NAN),
        ("steps", |settings| settings.steps = 0),
        ("batch_size", |settings| settings.batch_size = 1),
        ("target_accuracy", |settings| settings.target_accuracy = f64::NAN),
        ("weight_deviation", |settings| settings.network.weight_deviation = f64::INFINITY),
        ("hidden", |settings| settings.network.hidden = vec![100, 0]),
        ("epsilon", |settings| settings.network.epsilon = -1.0),
        ("weight_of_new", |settings| settings.network.weight_of_new = 1.1),
    ];
    for (name, spoil) in bad {
        let mut settings = settings(20);
        spoil(&mut settings);
        assert_eq!(Comparison::new(settings, String::new()).unwrap_err().setting, name);
    }
}

#[test]
fn the_version_of_burn_in_reports_is_the_one_built_with() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let comparison = Comparison::new(settings(20), String::new()).unwrap();
    assert!(lock.contains(&format!("name = \"burn\"\nversion = \"{}\"\n", comparison.versions.burn)));
}
