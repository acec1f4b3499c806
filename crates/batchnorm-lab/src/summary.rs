//! The figures of finished runs: means and ranges over seeds, and paired factors between arms.
//!
//! A target that was not reached has no step, and no number stands in for one: each figure has the number of runs that
//! it is over, and a factor that rests on a run without the target is marked as a bound.

use serde::{Deserialize, Serialize};

use crate::run::{Ending, Reached, Run};
use crate::settings::{Arm, Settings};

/// Mean and range of a figure over some runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub least: f64,
    /// Greatest.
    pub greatest: f64,
}

impl Spread {
    /// The spread of one value or more; none where there are no values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        // Rounding of the sum must not carry the mean of equal values past them.
        let mean = (values.iter().sum::<f64>() / values.len() as f64).clamp(least, greatest);
        Some(Spread { mean, least, greatest })
    }

    /// The spread of factors, with their geometric mean.
    pub fn of_factors(values: &[f64]) -> Option<Spread> {
        let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let spread = Spread::of(values)?;
        let mean = Spread::of(&logarithms)?.mean.exp().clamp(spread.least, spread.greatest);
        Some(Spread { mean, ..spread })
    }
}

/// One arm over its finished runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmSummary {
    /// The arm's name.
    pub arm: String,
    /// Finished runs.
    pub runs: usize,
    /// Runs that reached the target.
    pub reached: usize,
    /// Runs that diverged.
    pub diverged: usize,
    /// Steps to the target, over the runs that reached it.
    pub steps_to_target: Option<Spread>,
    /// Seconds of training to the target, over the runs that reached it.
    pub seconds_to_target: Option<Spread>,
    /// Accuracy after the last step, over the runs that did not diverge.
    pub final_accuracy: Option<Spread>,
    /// Milliseconds a step, over all runs.
    pub milliseconds_a_step: Option<Spread>,
}

/// The factor by which an arm reached the target sooner than the first arm, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// The arm.
    pub arm: String,
    /// The first arm, against which it is measured.
    pub against: String,
    /// Seeds that both arms finished.
    pub pairs: usize,
    /// Pairs in which this arm reached the target, so that there is a factor.
    pub measured: usize,
    /// Measured pairs in which the first arm did not reach it, so that all its steps stand in: the true factor is
    /// at least this. Means and ends of ranges are lower bounds then.
    pub lower_bounds: usize,
    /// Steps of the first arm over steps of this one: geometric mean and range over the measured pairs.
    pub steps: Option<Spread>,
    /// Seconds of the first arm over seconds of this one, likewise.
    pub seconds: Option<Spread>,
}

/// The figures of a comparison's finished runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Each arm, in order.
    pub arms: Vec<ArmSummary>,
    /// Each arm but the first, against the first.
    pub factors: Vec<Factor>,
}

impl Summary {
    /// The summary of runs under these settings.
    pub fn of(settings: &Settings, runs: &[Run]) -> Summary {
        let arms = settings.arms.iter().map(|arm| summarise(arm, runs)).collect();
        let factors = match settings.arms.split_first() {
            Some((first, others)) => others.iter().map(|arm| factor(settings, arm, first, runs)).collect(),
            None => Vec::new(),
        };
        Summary { arms, factors }
    }
}

fn summarise(arm: &Arm, runs: &[Run]) -> ArmSummary {
    let arm_runs: Vec<&Run> = runs.iter().filter(|run| run.arm == arm.name).collect();
    let spread = |figure: &dyn Fn(&Run) -> Option<f64>| {
        Spread::of(&arm_runs.iter().filter_map(|run| figure(run)).collect::<Vec<f64>>())
    };
    let count = |property: &dyn Fn(&Run) -> bool| arm_runs.iter().filter(|run| property(run)).count();
    ArmSummary {
        arm: arm.name.clone(),
        runs: arm_runs.len(),
        reached: count(&|run| run.target.is_some()),
        diverged: count(&|run| matches!(run.ending, Ending::Diverged { .. })),
        steps_to_target: spread(&|run| run.target.map(|at| at.step as f64)),
        seconds_to_target: spread(&|run| run.target.map(|at| at.seconds)),
        final_accuracy: spread(&|run| run.final_accuracy),
        milliseconds_a_step: spread(&|run| {
            let last = run.curve.last().filter(|point| point.step > 0)?;
            Some(last.seconds * 1000.0 / last.step as f64)
        }),
    }
}

fn factor(settings: &Settings, arm: &Arm, first: &Arm, runs: &[Run]) -> Factor {
    let find = |arm: &Arm, seed| runs.iter().find(|run| run.arm == arm.name && run.seed == seed);
    let pairs: Vec<(&Run, &Run)> =
        settings.seeds.iter().filter_map(|&seed| find(first, seed).zip(find(arm, seed))).collect();
    // An untrained network that is at the target (step 0) gives no factor: there is no time to divide by.
    let measured = pairs.iter().filter_map(|(first, run)| {
        let reached = run.target.filter(|at| at.step > 0)?;
        let bound = first.curve.last().map(|last| Reached { step: last.step, seconds: last.seconds })?;
        let against = first.target.unwrap_or(bound);
        Some((first.target.is_none(), against.step as f64 / reached.step as f64, against.seconds / reached.seconds))
    });
    let measured: Vec<(bool, f64, f64)> = measured.filter(|(_, steps, _)| *steps > 0.0).collect();
    Factor {
        arm: arm.name.clone(),
        against: first.name.clone(),
        pairs: pairs.len(),
        measured: measured.len(),
        lower_bounds: measured.iter().filter(|(bound, ..)| *bound).count(),
        steps: Spread::of_factors(&measured.iter().map(|(_, steps, _)| *steps).collect::<Vec<_>>()),
        seconds: Spread::of_factors(&measured.iter().map(|(_, _, seconds)| *seconds).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Point;

    /// A run that reached the target at a step, or did not; a step takes a second without batch norm, two with it.
    fn run(arm: &Arm, seed: u64, reached: Option<usize>, steps: usize) -> Run {
        let seconds = |step: usize| step as f64 * if arm.batch_norm { 2.0 } else { 1.0 };
        let point = Point { step: steps, seconds: seconds(steps), training_loss: None, test_loss: None, accuracy: 0.5 };
        Run {
            arm: arm.name.clone(),
            seed,
            ending: Ending::Finished,
            target: reached.map(|step| Reached { step, seconds: seconds(step) }),
            final_accuracy: Some(0.5 + seed as f64 / 100.0),
            seconds: seconds(steps),
            fingerprint: String::new(),
            curve: vec![point],
            probes: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn summary(steps_to_target: &[(Option<usize>, Option<usize>)]) -> Summary {
        let settings = Settings {
            arms: Settings::arms_at(1.0),
            seeds: (1..=steps_to_target.len() as u64).collect(),
            ..Settings::default()
        };
        let runs: Vec<Run> = steps_to_target
            .iter()
            .zip(1..)
            .flat_map(|(&(without, with), seed)| {
                [run(&settings.arms[0], seed, without, 1000), run(&settings.arms[1], seed, with, 1000)]
            })
            .collect();
        Summary::of(&settings, &runs)
    }

    #[test]
    fn factors_are_paired_by_seed() {
        let summary = summary(&[(Some(800), Some(100)), (Some(400), Some(200))]);
        let factor = &summary.factors[0];
        assert_eq!((factor.pairs, factor.measured, factor.lower_bounds), (2, 2, 0));
        // 8 and 2: their geometric mean.
        let steps = factor.steps.unwrap();
        assert_eq!((steps.least, steps.greatest), (2.0, 8.0));
        assert!((steps.mean - 4.0).abs() < 1e-12);
        assert_eq!(factor.seconds.unwrap().greatest, 4.0);
        assert_eq!(summary.arms[0].steps_to_target, Some(Spread { mean: 600.0, least: 400.0, greatest: 800.0 }));
        assert_eq!(summary.arms[1].milliseconds_a_step.unwrap().mean, 2000.0);
    }

    #[test]
    fn what_was_not_reached_is_a_bound_or_nothing() {
        let summary = summary(&[(None, Some(100)), (Some(500), None), (None, None)]);
        assert_eq!((summary.arms[0].reached, summary.arms[0].runs), (1, 3));
        let factor = &summary.factors[0];
        assert_eq!((factor.pairs, factor.measured, factor.lower_bounds), (3, 1, 1));
        assert_eq!(factor.steps.unwrap().mean, 10.0);
        let nothing = self::summary(&[(Some(500), None)]);
        assert_eq!(nothing.factors[0].steps, None);
        assert_eq!(nothing.arms[1].steps_to_target, None);
    }

    #[test]
    fn the_mean_of_equal_values_is_that_value() {
        assert_eq!(Spread::of(&[0.1; 3]), Some(Spread { mean: 0.1, least: 0.1, greatest: 0.1 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
