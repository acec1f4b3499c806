//! Grids of trainings: arms by seeds, what is done of them, and what their figures say.
//!
//! The arms of one seed start from the same weights and see the same batches, so that figures are compared pair by pair ([`statistics`]).
//!
//! [`statistics`]: crate::statistics

use serde::{Deserialize, Serialize};

use crate::run::{Ending, Reached};
use crate::statistics::{Paired, Verdict};
use crate::summary::Spread;
use crate::trial::Trial;

/// A cell of a grid: an arm and a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// What its training came to.
    pub trial: Trial,
}

/// An arm over its cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmFigures {
    /// The arm's name.
    pub arm: String,
    /// Cells that are done.
    pub cells: usize,
    /// Those that diverged.
    pub diverged: usize,
    /// Accuracy at the end, over those that did not.
    pub accuracy: Option<Spread>,
    /// Cells that reached the target, if there is one.
    pub reached: usize,
    /// Steps to it, over those that reached it: the others are censored, for nobody knows when they would have.
    pub steps_to_target: Option<Spread>,
    /// Seconds of training to it, likewise.
    pub seconds_to_target: Option<Spread>,
    /// Milliseconds a step.
    pub milliseconds_a_step: Option<Spread>,
}

/// An arm beside the first, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The arm.
    pub arm: String,
    /// The first arm.
    pub against: String,
    /// Seeds that both have done, of which one or both diverged.
    pub lost: usize,
    /// This arm's accuracy less the first one's, over the seeds in which neither diverged.
    pub accuracy: Option<Paired>,
    /// What may be said of it.
    pub verdict: Verdict,
    /// Steps to the target of the first arm over those of this one, as a logarithm to base 2, over the seeds in which both reached it.
    pub doublings: Option<Paired>,
    /// Seeds in which one of the two, or none, reached it.
    pub censored: usize,
}

/// The figures of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Each arm, in order.
    pub arms: Vec<ArmFigures>,
    /// Each arm but the first, beside the first.
    pub beside: Vec<Beside>,
}

impl Figures {
    /// The figures of cells; `resolution` is that of an accuracy, one over the examples of the test set.
    pub fn of(arms: &[String], cells: &[Cell], target: Option<f64>, resolution: f64) -> Figures {
        let of_arm = |arm: &String| figures(arm, cells, target);
        let beside = arms.iter().skip(1).map(|arm| beside(arm, &arms[0], cells, target, resolution));
        Figures { arms: arms.iter().map(of_arm).collect(), beside: beside.collect() }
    }
}

fn figures(arm: &str, cells: &[Cell], target: Option<f64>) -> ArmFigures {
    let trials: Vec<&Trial> = cells.iter().filter(|cell| cell.arm == arm).map(|cell| &cell.trial).collect();
    let spread = |of: &dyn Fn(&Trial) -> Option<f64>| {
        Spread::of(&trials.iter().filter_map(|trial| of(trial)).collect::<Vec<f64>>())
    };
    let reached = |trial: &Trial| target.and_then(|target| trial.reached(target));
    ArmFigures {
        arm: arm.to_owned(),
        cells: trials.len(),
        diverged: trials.iter().filter(|trial| matches!(trial.ending, Ending::Diverged { .. })).count(),
        accuracy: spread(&|trial| trial.accuracy),
        reached: trials.iter().filter(|trial| reached(trial).is_some()).count(),
        steps_to_target: spread(&|trial| reached(trial).map(|at| at.step as f64)),
        seconds_to_target: spread(&|trial| reached(trial).map(|at| at.seconds)),
        milliseconds_a_step: spread(&|trial| (trial.steps > 0).then(|| 1000.0 * trial.seconds / trial.steps as f64)),
    }
}

fn beside(arm: &str, against: &str, cells: &[Cell], target: Option<f64>, resolution: f64) -> Beside {
    let find = |arm: &str, seed| cells.iter().find(|cell| cell.arm == arm && cell.seed == seed).map(|cell| &cell.trial);
    let first = cells.iter().filter(|cell| cell.arm == against);
    let pairs: Vec<(&Trial, &Trial)> = first.filter_map(|cell| Some((&cell.trial, find(arm, cell.seed)?))).collect();
    let differences: Vec<f64> =
        pairs.iter().filter_map(|(first, other)| Some(other.accuracy? - first.accuracy?)).collect();
    let accuracy = (!differences.is_empty()).then(|| Paired::of(&differences, resolution));
    // (A network that is at the target before its first step has no time to divide by.)
    let step = |trial: &Trial| target.and_then(|target| trial.reached(target)).filter(|Reached { step, .. }| *step > 0);
    let doublings: Vec<f64> = pairs
        .iter()
        .filter_map(|(first, other)| Some((step(first)?.step as f64 / step(other)?.step as f64).log2()))
        .collect();
    Beside {
        arm: arm.to_owned(),
        against: against.to_owned(),
        lost: pairs.len() - differences.len(),
        verdict: accuracy.as_ref().map_or(Verdict::TooFewPairs, Paired::verdict),
        accuracy,
        censored: if target.is_some() { pairs.len() - doublings.len() } else { 0 },
        doublings: (!doublings.is_empty()).then(|| Paired::of(&doublings, 0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Point;

    fn cell(arm: &str, seed: u64, accuracy: Option<f64>, reached: Option<usize>) -> Cell {
        let point = |step: usize, accuracy: f64| Point {
            step,
            seconds: step as f64,
            training_loss: None,
            test_loss: None,
            accuracy,
        };
        let curve =
            reached.map(|step| point(step, 0.9)).into_iter().chain([point(100, accuracy.unwrap_or(0.1))]).collect();
        let ending = if accuracy.is_some() { Ending::Finished } else { Ending::Diverged { step: 3 } };
        Cell { arm: arm.to_owned(), seed, trial: Trial { ending, accuracy, steps: 100, seconds: 50.0, curve } }
    }

    #[test]
    fn figures_are_paired_by_seed_and_what_is_missing_is_counted() {
        let arms = ["none".to_owned(), "batch".to_owned()];
        let cells = [
            cell("none", 1, Some(0.50), Some(80)),
            cell("batch", 1, Some(0.60), Some(20)),
            cell("none", 2, Some(0.52), None),
            cell("batch", 2, Some(0.61), Some(20)),
            cell("none", 3, None, None),
            cell("batch", 3, Some(0.62), Some(40)),
            cell("batch", 4, Some(0.10), None),
        ];
        let figures = Figures::of(&arms, &cells, Some(0.9), 0.001);
        let Beside { lost, accuracy: Some(accuracy), doublings: Some(doublings), censored, verdict, .. } =
            &figures.beside[0]
        else {
            panic!("{figures:?}")
        };
        assert_eq!((*lost, accuracy.pairs, *censored, *verdict), (1, 2, 2, Verdict::TooFewPairs));
        assert!((accuracy.mean - 0.095).abs() < 1e-12);
        assert_eq!((doublings.pairs, doublings.mean), (1, 2.0));
        assert_eq!((figures.arms[0].cells, figures.arms[0].diverged, figures.arms[0].reached), (3, 1, 1));
        assert_eq!((figures.arms[1].cells, figures.arms[1].reached), (4, 3));
        assert_eq!(figures.arms[1].milliseconds_a_step.map(|spread| spread.mean), Some(500.0));
    }
}
