//! Figures of cells: means and ranges over seeds, and paired differences.

use serde::{Deserialize, Serialize};

use super::published::{Near, near};
use super::question::{Cell, Question};
use crate::look::{Base, Kind, Reading, Series};
use crate::run::{Ending, Point};
use crate::statistics::{Paired, Verdict};
use crate::summary::Spread;
use crate::trial::Trial;

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
    /// What the looks gave.
    pub readings: Vec<Taken>,
}

/// Readings of an arm over its cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// What they are.
    pub what: String,
    /// The layer that they are of.
    pub layer: Option<String>,
    /// Steps that the networks had taken.
    pub step: usize,
    /// Cells that have it.
    pub cells: usize,
    /// The values.
    pub spread: Spread,
    /// How people read them.
    pub kind: Kind,
    /// Their place in a series.
    pub series: Option<Series>,
    /// Of an accuracy: what it changes, in the same cells.
    pub change: Option<Change>,
}

/// A reading less what it is a change of, cell by cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is a change of.
    pub from: Base,
    /// The difference.
    pub difference: Paired,
    /// What may be said of it.
    pub verdict: Verdict,
}

/// A reading of an arm beside another arm's, pair by pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BesideReading {
    /// The reading; of layers, its geometric mean over them.
    pub what: String,
    /// What its difference is of.
    pub scale: Scale,
    /// The difference.
    pub difference: Paired,
    /// What may be said of it.
    pub verdict: Verdict,
}

/// What a difference is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Shares.
    Points,
    /// Natural logarithms: its exponential is a factor.
    Logarithms,
}

/// An arm beside the one that it is measured against, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The arm.
    pub arm: String,
    /// The other.
    pub against: String,
    /// Seeds that both have done, of which one or both diverged.
    pub lost: usize,
    /// This arm's accuracy less the other one's, over the seeds in which neither diverged.
    pub accuracy: Option<Paired>,
    /// What may be said of it.
    pub verdict: Verdict,
    /// Steps to the target of the other arm over those of this one, as a logarithm to base 2, over the seeds in which both reached it.
    pub doublings: Option<Paired>,
    /// The same of seconds of training.
    pub doublings_of_seconds: Option<Paired>,
    /// Seeds in which one of the two, or none, reached it.
    pub censored: usize,
    /// Seeds in which this arm did, and the other.
    pub reached: [usize; 2],
    /// Other accuracies of the two.
    pub readings: Vec<BesideReading>,
}

/// The figures of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Each arm, in order.
    pub arms: Vec<ArmFigures>,
    /// Each arm that is measured against another.
    pub beside: Vec<Beside>,
    /// What others have published, beside what was found.
    pub near: Vec<Near>,
}

impl Figures {
    /// The figures of cells.
    pub fn of(question: &Question, cells: &[Cell]) -> Figures {
        let arms = question.arms.iter();
        let measured =
            arms.clone().flat_map(|arm| arm.against.iter().map(|against| (arm.name.as_str(), against.as_str())));
        Figures {
            arms: arms.map(|arm| figures(&arm.name, cells, question)).collect(),
            beside: measured.map(|(arm, against)| beside(arm, against, cells, question)).collect(),
            near: question.published.iter().map(|published| near(published, cells)).collect(),
        }
    }

    /// Those of an arm.
    pub fn of_arm(&self, name: &str) -> Option<&ArmFigures> {
        self.arms.iter().find(|figures| figures.arm == name)
    }

    /// The verdicts on differences, of which one in twenty is a finding by chance where there is none.
    pub fn verdicts(&self) -> usize {
        let of_beside = |beside: &Beside| {
            let figures = [&beside.accuracy, &beside.doublings, &beside.doublings_of_seconds];
            figures.into_iter().flatten().count() + beside.readings.len()
        };
        let changes = self.arms.iter().flat_map(|arm| &arm.readings).filter(|taken| taken.change.is_some());
        self.beside.iter().map(of_beside).sum::<usize>() + changes.count()
    }
}

fn of_arm<'c>(cells: &'c [Cell], arm: &str) -> Vec<&'c Trial> {
    cells.iter().filter(|cell| cell.arm == arm).map(|cell| &cell.trial).collect()
}

fn figures(arm: &str, cells: &[Cell], question: &Question) -> ArmFigures {
    let trials = of_arm(cells, arm);
    let spread = |of: &dyn Fn(&Trial) -> Option<f64>| {
        Spread::of(&trials.iter().filter_map(|trial| of(trial)).collect::<Vec<f64>>())
    };
    let reached = |trial: &Trial| question.target.and_then(|target| trial.reached(target));
    ArmFigures {
        arm: arm.to_owned(),
        cells: trials.len(),
        diverged: trials.iter().filter(|trial| matches!(trial.ending, Ending::Diverged { .. })).count(),
        accuracy: spread(&|trial| trial.accuracy),
        reached: trials.iter().filter(|trial| reached(trial).is_some()).count(),
        steps_to_target: spread(&|trial| reached(trial).map(|at| at.step as f64)),
        seconds_to_target: spread(&|trial| reached(trial).map(|at| at.seconds)),
        milliseconds_a_step: spread(&|trial| (trial.steps > 0).then(|| 1000.0 * trial.seconds / trial.steps as f64)),
        readings: taken(&trials, question.resolution),
    }
}

/// Readings over trials, in the order in which the first trial that has them took them.
fn taken(trials: &[&Trial], resolution: f64) -> Vec<Taken> {
    let mut kinds: Vec<&Reading> = Vec::new();
    let same =
        |one: &Reading, other: &Reading| (one.step, &one.layer, &one.what) == (other.step, &other.layer, &other.what);
    for reading in trials.iter().flat_map(|trial| &trial.readings) {
        if !kinds.iter().any(|kind| same(kind, reading)) {
            kinds.push(reading);
        }
    }
    let of_kind = |kind: &Reading| {
        let found =
            |trial: &&Trial| trial.readings.iter().find(|reading| same(kind, reading)).map(|reading| reading.value);
        let values: Vec<f64> = trials.iter().filter_map(found).collect();
        let change = kind.change_of.as_ref().and_then(|from| {
            let differences = trials.iter().filter_map(|trial| Some(found(trial)? - trial.figure(&from.figure)?));
            let difference = paired(differences.collect(), resolution)?;
            Some(Change { from: from.clone(), verdict: difference.verdict(), difference })
        });
        let Reading { what, layer, step, kind, series, .. } = kind.clone();
        Some(Taken { what, layer, step, cells: values.len(), spread: Spread::of(&values)?, kind, series, change })
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

fn paired(differences: Vec<f64>, resolution: f64) -> Option<Paired> {
    (!differences.is_empty()).then(|| Paired::of(&differences, resolution))
}

fn beside(arm: &str, against: &str, cells: &[Cell], question: &Question) -> Beside {
    let find = |arm: &str, seed| cells.iter().find(|cell| cell.arm == arm && cell.seed == seed).map(|cell| &cell.trial);
    let first = cells.iter().filter(|cell| cell.arm == against);
    let pairs: Vec<(&Trial, &Trial)> = first.filter_map(|cell| Some((&cell.trial, find(arm, cell.seed)?))).collect();
    let differences: Vec<f64> =
        pairs.iter().filter_map(|(first, other)| Some(other.accuracy? - first.accuracy?)).collect();
    let lost = pairs.len() - differences.len();
    let accuracy = paired(differences, question.resolution);
    let reach: Vec<[[&Point; 2]; 2]> = pairs
        .iter()
        .filter_map(|(first, other)| Some([reach_of(first, question.target)?, reach_of(other, question.target)?]))
        .collect();
    let reached = |trial: &Trial| reach_of(trial, question.target).is_some();
    Beside {
        arm: arm.to_owned(),
        against: against.to_owned(),
        lost,
        verdict: accuracy.as_ref().map_or(Verdict::TooFewPairs, Paired::verdict),
        accuracy,
        censored: if question.target.is_some() { pairs.len() - reach.len() } else { 0 },
        reached: [
            pairs.iter().filter(|(_, this)| reached(this)).count(),
            pairs.iter().filter(|(other, _)| reached(other)).count(),
        ],
        doublings: doublings(&reach, |point| point.step as f64),
        doublings_of_seconds: doublings(&reach, |point| point.seconds),
        readings: readings(&pairs, question.resolution),
    }
}

fn reach_of(trial: &Trial, target: Option<f64>) -> Option<[&Point; 2]> {
    // (A network that is at the target before its first step has no time to divide by.)
    trial.reach(target?).filter(|[_, at]| at.step > 0)
}

/// By how many doublings the second of each pair was sooner. It was there between two evaluations: the intervals are wider by what that leaves open.
fn doublings(reach: &[[[&Point; 2]; 2]], of: impl Fn(&Point) -> f64) -> Option<Paired> {
    // (Before the first evaluation a step has been taken.)
    let least = |[before, at]: [&Point; 2]| of(before).max(of(at) / at.step as f64);
    let open = |reach: [&Point; 2]| (of(reach[1]) / least(reach)).log2();
    let mean = |which: usize| reach.iter().map(|pair| open(pair[which])).sum::<f64>() / reach.len() as f64;
    let differences: Vec<f64> = reach.iter().map(|[first, other]| (of(first[1]) / of(other[1])).log2()).collect();
    Some(paired(differences, 0.0)?.widened(mean(0), mean(1)))
}

/// The readings of pairs of trainings, each of the second less that of the first.
fn readings(pairs: &[(&Trial, &Trial)], resolution: f64) -> Vec<BesideReading> {
    let mut kinds: Vec<&Reading> = Vec::new();
    for reading in pairs.iter().flat_map(|(first, other)| other.readings.iter().chain(&first.readings)) {
        if (matches!(reading.kind, Kind::Share | Kind::Points) || reading.layer.is_some())
            && !kinds.iter().any(|kind| kind.what == reading.what)
        {
            kinds.push(reading);
        }
    }
    let has = |trial: &Trial, kind: &Reading| trial.readings.iter().any(|reading| reading.what == kind.what);
    let of_kind = |kind: &Reading| {
        let (scale, resolution) = match kind.layer {
            Some(_) => (Scale::Logarithms, 0.0),
            None => (Scale::Points, resolution),
        };
        // An arm without norms has no statistics to change: its accuracy is what it is by any.
        let [never_first, never_other] =
            [pairs.iter().all(|(first, _)| !has(first, kind)), pairs.iter().all(|(_, other)| !has(other, kind))];
        let figure = |trial: &Trial, never: bool| match (&kind.layer, &kind.change_of) {
            (Some(_), _) => Some(trial.over_layers(&kind.what)?.ln()),
            (None, Some(from)) if never => trial.figure(&from.figure),
            (None, _) => trial.figure(&kind.what),
        };
        let differences =
            pairs.iter().filter_map(|(first, other)| Some(figure(other, never_other)? - figure(first, never_first)?));
        let difference = paired(differences.collect(), resolution)?;
        Some(BesideReading { what: kind.what.clone(), scale, verdict: difference.verdict(), difference })
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Arm, Made, Published};
    use crate::look::ACCURACY;
    use crate::machine::Machine;

    fn question(arms: Vec<Arm>, target: Option<f64>) -> Question {
        Question {
            title: String::new(),
            text: None,
            claims: vec![],
            arms,
            seeds: vec![1, 2, 3, 4],
            target,
            resolution: 0.001,
            beside: vec![],
            over: None,
            published: vec![Published {
                arm: String::from("batch"),
                what: None,
                step: Some(100),
                value: 0.63,
                source: String::from("a source"),
                note: None,
            }],
            before: vec![],
        }
    }

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
        Cell {
            arm: arm.to_owned(),
            seed,
            trial: Trial { ending, accuracy, steps: 100, seconds: 50.0, wall_seconds: 60.0, curve, readings: vec![] },
            made: Made { version: String::new(), machine: Machine::here(), workers: 1 },
        }
    }

    #[test]
    fn figures_are_paired_by_seed_and_what_is_missing_is_counted() {
        let arm = |name: &str, against: Option<&str>| Arm {
            name: name.to_owned(),
            at: vec![],
            against: against.map(str::to_owned).into_iter().collect(),
        };
        let arms = vec![arm("none", None), arm("batch", Some("none"))];
        let cells = [
            cell("none", 1, Some(0.50), Some(80)),
            cell("batch", 1, Some(0.60), Some(20)),
            cell("none", 2, Some(0.52), None),
            cell("batch", 2, Some(0.61), Some(20)),
            cell("none", 3, None, None),
            cell("batch", 3, Some(0.62), Some(40)),
            cell("batch", 4, Some(0.10), None),
        ];
        let figures = Figures::of(&question(arms, Some(0.9)), &cells);
        let Beside { lost, accuracy: Some(accuracy), doublings: Some(doublings), censored, verdict, .. } =
            &figures.beside[0]
        else {
            panic!("{figures:?}")
        };
        assert_eq!((*lost, accuracy.pairs, *censored, *verdict), (1, 2, 2, Verdict::TooFewPairs));
        assert!((accuracy.mean - 0.095).abs() < 1e-12);
        assert_eq!((doublings.pairs, doublings.mean), (1, 2.0));
        assert_eq!((figures.beside[0].reached, figures.verdicts()), ([3, 1], 3));
        assert_eq!((figures.arms[0].cells, figures.arms[0].diverged, figures.arms[0].reached), (3, 1, 1));
        assert_eq!((figures.arms[1].cells, figures.arms[1].reached), (4, 3));
        // Four runs at step 100, .10 to .62; .63 is within that range widened by a point.
        assert!(figures.near[0].inside && figures.near[0].found.unwrap().greatest == 0.62, "{:?}", figures.near);
        assert_eq!(figures.arms[1].milliseconds_a_step.map(|spread| spread.mean), Some(500.0));
    }

    #[test]
    fn readings_are_compared_with_what_they_are_a_change_of() {
        let arms = vec![Arm { name: String::from("a"), at: vec![], against: vec![] }];
        let with = |seed: u64, accuracy: f64, shifted: f64, recalibrated: f64| {
            let reading = |what: &str, of: &str, value: f64| Reading {
                what: what.to_owned(),
                layer: None,
                step: 100,
                value,
                kind: Kind::Share,
                change_of: Some(Base { figure: of.to_owned(), words: String::new() }),
                series: None,
            };
            let mut cell = cell("a", seed, Some(accuracy), None);
            cell.trial.readings = vec![
                reading("accuracy, contrast 0.3", ACCURACY, shifted),
                reading("accuracy, contrast 0.3, recalibrated on 16", "accuracy, contrast 0.3", recalibrated),
            ];
            cell
        };
        let cells = [with(1, 0.9, 0.5, 0.8), with(2, 0.9, 0.4, 0.8), with(3, 0.9, 0.45, 0.8)];
        let figures = Figures::of(&question(arms, None), &cells);
        let [shifted, recalibrated] = &figures.arms[0].readings[..] else { panic!("{figures:?}") };
        let difference = |taken: &Taken| taken.change.as_ref().unwrap().difference.mean;
        assert!((difference(shifted) + 0.45).abs() < 1e-12 && (difference(recalibrated) - 0.35).abs() < 1e-12);
        assert_eq!(recalibrated.change.as_ref().unwrap().verdict, Verdict::Greater);
        assert_eq!(recalibrated.change.as_ref().unwrap().from.figure, "accuracy, contrast 0.3");
    }
}
