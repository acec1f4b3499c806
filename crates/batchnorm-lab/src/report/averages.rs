//! Averages over the seeds of an arm, step by step.

use std::collections::BTreeMap;

use crate::run::{Point, Run};
use crate::summary::Spread;

/// The runs of an arm.
pub fn of_arm<'a>(runs: &'a [Run], arm: &str) -> Vec<&'a Run> {
    runs.iter().filter(|run| run.arm == arm).collect()
}

/// A figure's mean and range over the runs that have it at a step. A run that diverged is missing from then on.
pub fn by_step(runs: &[&Run], figure: impl Fn(&Point) -> Option<f64>) -> Vec<(usize, Spread)> {
    spreads(runs.iter().flat_map(|run| &run.curve).filter_map(|point| Some((point.step, figure(point)?))))
}

/// Mean and range of the values at each step.
pub fn spreads(values: impl Iterator<Item = (usize, f64)>) -> Vec<(usize, Spread)> {
    let mut steps: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (step, value) in values {
        steps.entry(step).or_default().push(value);
    }
    steps.into_iter().filter_map(|(step, values)| Some((step, Spread::of(&values)?))).collect()
}

/// Some steps for a table: the first ones at or above 0, 1, 2, 5, 10, ... and the last.
pub fn some_steps(steps: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut steps: Vec<usize> = steps.into_iter().collect();
    steps.sort_unstable();
    steps.dedup();
    let Some(&last) = steps.last() else { return Vec::new() };
    let round = (0..).flat_map(|power| [1, 2, 5].map(|factor| factor * 10usize.pow(power))).take_while(|&at| at < last);
    let mut chosen: Vec<usize> =
        [0].into_iter().chain(round).map(|at| steps[steps.partition_point(|&step| step < at)]).collect();
    chosen.push(last);
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_round_steps_and_the_last() {
        assert_eq!(some_steps((0..=2500).step_by(5)), [0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 2500]);
        assert_eq!(some_steps([0, 7, 14, 20]), [0, 7, 14, 20]);
        assert_eq!(some_steps([0]), [0]);
        assert!(some_steps([]).is_empty());
    }
}
