//! Paired comparisons: the runs that the settings ask for, those that are done, and those that are missing.
//!
//! The arms of one seed start from the same weights and see the same batches in the same order. Each (arm, seed) is a
//! run of its own: a comparison that was stopped keeps the runs it finished and knows which are [missing].
//!
//! [missing]: Comparison::missing

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::data::Examples;
use crate::digits::Digits;
use crate::machine::Machine;
use crate::optimizer::{self, Rule, WeightDecay};
use crate::probe::{Answer, Probing};
use crate::run::{Ending, Point, Progress, Reached, Run};
pub use crate::setting::{Difference, SettingError};
pub use crate::settings::{Arm, Settings};
use crate::summary::Summary;
use crate::training::{Batches, Training};

/// Marks the files of this version of the crate.
pub const FORMAT: &str = "batchnorm-compare 2";
/// Burn's version; a test compares it with Cargo.lock.
const BURN: &str = "0.22.1";

/// The versions of the programs that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Version of this workspace.
    pub batchnorm: String,
    /// Version of Burn: its tensors and its automatic differentiation.
    pub burn: String,
}

/// A run that is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The run's arm.
    pub arm: Arm,
    /// The run's seed.
    pub seed: u64,
}

/// A comparison: its settings, the machine it ran on, the runs so far and their figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`FORMAT`].
    pub format: String,
    /// All runs are done.
    pub complete: bool,
    /// The command that asked for it.
    pub command: String,
    /// The versions of the programs that ran.
    pub versions: Versions,
    /// The machine that they ran on.
    pub machine: Machine,
    /// The settings that were asked for.
    pub settings: Settings,
    /// The finished runs, by seed, then in the order of the arms.
    pub runs: Vec<Run>,
    /// The figures of the finished runs.
    pub summary: Summary,
}

impl Comparison {
    /// A comparison without runs, on this machine. `command` is for the record alone.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: Settings, command: String) -> Result<Comparison, SettingError> {
        settings.check()?;
        Ok(Comparison {
            format: FORMAT.to_owned(),
            complete: false,
            command,
            versions: Versions { batchnorm: env!("CARGO_PKG_VERSION").to_owned(), burn: BURN.to_owned() },
            machine: Machine::here(),
            summary: Summary::of(&settings, &[]),
            settings,
            runs: Vec::new(),
        })
    }

    /// Takes over the finished runs of an earlier comparison.
    ///
    /// # Errors
    /// The differences, as (name, earlier, now), if it compared something else, elsewhere, or with another version: its
    /// runs would not be comparable. Nothing is taken over then.
    pub fn resume(&mut self, earlier: Comparison) -> Result<(), Vec<Difference>> {
        let differences = differences(&earlier, self);
        if !differences.is_empty() {
            return Err(differences);
        }
        for run in earlier.runs {
            self.record(run);
        }
        Ok(())
    }

    /// The runs still to do: seed after seed, in each the arms in order.
    pub fn missing(&self) -> Vec<Task> {
        let done = |arm: &Arm, seed| self.runs.iter().any(|run| run.arm == arm.name && run.seed == seed);
        let tasks = self
            .settings
            .seeds
            .iter()
            .flat_map(|&seed| self.settings.arms.iter().map(move |arm| Task { arm: arm.clone(), seed }));
        tasks.filter(|task| !done(&task.arm, task.seed)).collect()
    }

    /// Adds a finished run, in its place; a run of that arm and seed that is there already is replaced, one that was
    /// not asked for is left out.
    pub fn record(&mut self, run: Run) {
        let place = |run: &Run| {
            let arm = self.settings.arms.iter().position(|arm| arm.name == run.arm);
            let seed = self.settings.seeds.iter().position(|&seed| seed == run.seed);
            seed.zip(arm)
        };
        let Some(run_place) = place(&run) else { return };
        self.runs.retain(|other| place(other) != Some(run_place));
        let index = self.runs.partition_point(|other| place(other) < Some(run_place));
        self.runs.insert(index, run);
        self.complete = self.missing().is_empty();
        self.summary = Summary::of(&self.settings, &self.runs);
    }

    /// Does one run. `observe` is told after every evaluation and may stop it; a run that was stopped is lost.
    pub fn perform(
        &self,
        task: &Task,
        digits: &Digits,
        observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> ControlFlow<(), Run> {
        perform(&self.settings, task, &digits.train, &digits.test, observe)
    }

    /// Trains some steps of each arm, and drops the results: the first seconds of a process are slower than later ones,
    /// and the first run would pay for them.
    pub fn warm_up(&self, digits: &Digits) {
        let settings = Settings { steps: 50, ..self.settings.clone() };
        for arm in &settings.arms {
            let task = Task { arm: arm.clone(), seed: settings.seeds[0] };
            let _ = perform(&settings, &task, &digits.train, &digits.test, &mut |_| ControlFlow::Continue(()));
        }
    }
}

fn perform(
    settings: &Settings,
    task: &Task,
    train: &Examples,
    test: &Examples,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> ControlFlow<(), Run> {
    let network = settings.network.start(task.arm.batch_norm, task.seed, &Training::device());
    let plain = optimizer::Settings { rule: Rule::PLAIN, decay: WeightDecay::default(), clip: None };
    let mut training = Training::new(network, plain, task.seed, 0);
    let mut batches = Batches::new(train.len(), settings.batch_size, task.seed);
    let mut probing = Probing::new(train, settings.batch_size);
    let mut evaluation = training.evaluate(test);
    probing.look(0, &training, &evaluation);
    let mut curve = vec![Point::new(0, 0.0, &[], evaluation.score)];
    let mut losses = Vec::new();
    let mut ending = Ending::Finished;
    for step in 1..=settings.steps {
        let loss = training.step(&train.select(batches.draw()), task.arm.learning_rate);
        if !loss.is_finite() {
            ending = Ending::Diverged { step };
            break;
        }
        losses.push(loss);
        let last = step == settings.steps;
        if step % settings.evaluate_every == 0 || last {
            evaluation = training.evaluate(test);
            if last || probing.due(step) {
                probing.look(step, &training, &evaluation);
            }
            curve.push(Point::new(step, training.seconds(), &losses, evaluation.score));
            losses.clear();
            observe(Progress { step, steps: settings.steps, accuracy: evaluation.score.accuracy })?;
        }
    }
    let finished = ending == Ending::Finished;
    let reached = curve.iter().find(|point| point.accuracy >= settings.target_accuracy);
    ControlFlow::Continue(Run {
        arm: task.arm.name.clone(),
        seed: task.seed,
        ending,
        target: reached.map(|point| Reached { step: point.step, seconds: point.seconds }),
        final_accuracy: finished.then_some(evaluation.score.accuracy),
        seconds: training.seconds(),
        fingerprint: format!("{:016x}", training.network().fingerprint()),
        curve,
        probes: probing.probes(),
        answers: match finished && settings.seeds.first() == Some(&task.seed) {
            true => Answer::all(&evaluation.scores),
            false => Vec::new(),
        },
    })
}

fn differences(earlier: &Comparison, now: &Comparison) -> Vec<Difference> {
    let (old, new) = (&earlier.settings, &now.settings);
    let settings = [
        ("format", earlier.format.clone(), now.format.clone()),
        ("version of batchnorm", earlier.versions.batchnorm.clone(), now.versions.batchnorm.clone()),
        ("version of burn", earlier.versions.burn.clone(), now.versions.burn.clone()),
        ("processor", earlier.machine.processor.clone(), now.machine.processor.clone()),
        ("cores", earlier.machine.cores.to_string(), now.machine.cores.to_string()),
        ("platform", earlier.machine.platform.clone(), now.machine.platform.clone()),
        ("arms", old.arm_names(), new.arm_names()),
        ("seeds", format!("{:?}", old.seeds), format!("{:?}", new.seeds)),
        ("steps", old.steps.to_string(), new.steps.to_string()),
        ("batch size", old.batch_size.to_string(), new.batch_size.to_string()),
        ("target", old.target_accuracy.to_string(), new.target_accuracy.to_string()),
        ("evaluation interval", old.evaluate_every.to_string(), new.evaluate_every.to_string()),
        ("threads", old.threads.to_string(), new.threads.to_string()),
        ("network", format!("{:?}", old.network), format!("{:?}", new.network)),
    ];
    settings.into_iter().filter(|(_, old, new)| old != new).collect()
}
