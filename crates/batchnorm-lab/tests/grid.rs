//! Findings of grids: how often one is found that is none, and whether one that is there is found.

#![allow(missing_docs)]

use std::ops::ControlFlow;

use batchnorm_lab::data::{Data, Parts};
use batchnorm_lab::digits;
use batchnorm_lab::grid::{Arm, Cell, Figures, Made, Question};
use batchnorm_lab::machine::Machine;
use batchnorm_lab::network::Recipe;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::statistics::Verdict;
use batchnorm_lab::trial::{Task, perform};

const PAIRS: usize = 5;
/// The first seed; each run has one of its own.
const SEED: u64 = 1000;

/// A tiny run: a dozen hidden units, thirty steps.
fn run(data: &Data, seed: u64, learning_rate: f64) -> Cell {
    let recipe = Recipe { hidden: vec![12], ..Recipe::default() };
    let plan = Plan { seed, steps: 30, learning_rate, ..Plan::usual(recipe, &data.summary, 1, Some(30)) };
    let plan = Plan { schedule: batchnorm_lab::schedule::Schedule::CONSTANT, ..plan };
    let task = Task { plan: &plan, data, looks: &[], source: None };
    match perform(&task, &mut |_| ControlFlow::Continue(())).expect("the digits are in memory") {
        ControlFlow::Continue(trial) => Cell {
            arm: String::new(),
            seed,
            trial,
            made: Made { version: String::new(), machine: Machine::here(), workers: 1 },
        },
        ControlFlow::Break(()) => unreachable!("nobody stops it"),
    }
}

/// What is said of two arms by their runs, paired in their order.
fn verdict(data: &Data, one: Vec<Cell>, other: Vec<Cell>) -> Verdict {
    let named = |cells: Vec<Cell>, arm: &'static str| {
        cells.into_iter().zip(0..).map(move |(cell, seed)| Cell { arm: arm.to_owned(), seed, ..cell })
    };
    let cells: Vec<Cell> = named(one, "one").chain(named(other, "other")).collect();
    let arm = |name: &str, against: &[&str]| Arm {
        name: name.to_owned(),
        at: Vec::new(),
        against: against.iter().map(|name| (*name).to_owned()).collect(),
    };
    let question = Question {
        title: String::new(),
        text: None,
        claims: Vec::new(),
        arms: vec![arm("one", &[]), arm("other", &["one"])],
        seeds: (0..PAIRS as u64).collect(),
        target: None,
        resolution: 1.0 / data.summary.test as f64,
        beside: Vec::new(),
        over: None,
        published: Vec::new(),
        before: Vec::new(),
    };
    Figures::of(&question, &cells).beside[0].verdict
}

#[test]
fn of_200_comparisons_of_like_with_like_at_most_8_percent_find_something_and_a_planted_difference_is_found() {
    println!("seeds from {SEED}");
    let parts = Parts { examples: Some(300), ..Parts::default() };
    let data = Data::new("digits", digits::found(), parts, true).expect("the digits are in memory");
    let mut seeds = SEED..;
    let mut arm = |rate: f64| seeds.by_ref().take(PAIRS).map(|seed| run(&data, seed, rate)).collect::<Vec<Cell>>();
    // The same arm twice, each run from a seed of its own, so that nothing but chance is between them.
    let found = (0..200).filter(|_| verdict(&data, arm(0.05), arm(0.05)) != Verdict::NoDifferenceShown).count();
    println!("{found} of 200 found something");
    assert!(found <= 16, "{found} of 200");
    let planted = (0..20).filter(|_| verdict(&data, arm(0.005), arm(0.05)) == Verdict::Greater).count();
    println!("{planted} of 20 planted differences found");
    assert!(planted >= 19, "{planted} of 20");
}
