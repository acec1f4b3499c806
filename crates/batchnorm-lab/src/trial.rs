//! One training of a grid, from its start to its end, with its curve and what was read off it.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::data::{Data, DataError};
use crate::look::{ACCURACY, Look, Looking, Reading};
use crate::network::Network;
use crate::plan::Plan;
use crate::probe::is_due;
use crate::run::{Ending, Point, Progress, Reached};
use crate::training::score;

/// What a training came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The way it ended.
    pub ending: Ending,
    /// Share of the test set that is classified rightly at the end, by running statistics; none where it diverged.
    pub accuracy: Option<f64>,
    /// Steps taken.
    pub steps: usize,
    /// Seconds of training.
    pub seconds: f64,
    /// Seconds in all: evaluations and looks too, and the training of the network that it started from.
    pub wall_seconds: f64,
    /// The evaluations, from step 0 on.
    pub curve: Vec<Point>,
    /// What the looks gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
}

impl Trial {
    /// A figure at the end by its name: the accuracy, or what a look gave of the whole network.
    pub fn figure(&self, what: &str) -> Option<f64> {
        if what == ACCURACY {
            return self.accuracy;
        }
        let at_end = |of: &&Reading| of.what == what && of.layer.is_none() && of.step == self.steps;
        self.readings.iter().find(at_end).map(|reading| reading.value)
    }

    /// The evaluation before the first one at or above an accuracy, and that one: it was reached between the two.
    pub fn reach(&self, target: f64) -> Option<[&Point; 2]> {
        let at = self.curve.iter().position(|point| point.accuracy >= target)?;
        Some([&self.curve[at.saturating_sub(1)], &self.curve[at]])
    }

    /// The geometric mean over layers of what a look gave of them at the end; none where the training did not get there, or one is 0.
    pub fn over_layers(&self, what: &str) -> Option<f64> {
        let at_end = |of: &&Reading| of.what == what && of.layer.is_some() && of.step == self.steps;
        let values: Vec<f64> = self.readings.iter().filter(at_end).map(|reading| reading.value.ln()).collect();
        let mean = (values.iter().sum::<f64>() / values.len() as f64).exp();
        (self.accuracy.is_some() && mean.is_finite() && mean > 0.0).then_some(mean)
    }

    /// The first evaluation at or above an accuracy.
    pub fn reached(&self, target: f64) -> Option<Reached> {
        let [_, point] = self.reach(target)?;
        Some(Reached { step: point.step, seconds: point.seconds })
    }
}

/// A training that a trial consists of.
pub struct Task<'t> {
    /// Its plan.
    pub plan: &'t Plan,
    /// Its data.
    pub data: &'t Data,
    /// What to look at.
    pub looks: &'t [Look],
    /// The training of the network that it starts from, if it starts from one: its plan and data.
    pub source: Option<(&'t Plan, &'t Data)>,
}

/// Steps between two times that the observer is asked, besides evaluations.
const ASKED_EVERY: usize = 20;

/// Does a training. `observe` is told after every evaluation, and every few steps, and may stop it before its last step; a training that was stopped
/// is lost. One whose loss on the test set is not finite at the end has diverged as one whose loss was not in training.
///
/// # Errors
/// Data that cannot be read.
pub fn perform(
    task: &Task,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ControlFlow<(), Trial>, DataError> {
    let Task { plan, data, .. } = *task;
    let begun = Instant::now();
    let start = match task.source {
        None => plan.start(&data.summary),
        Some((of_source, its_data)) => {
            let ControlFlow::Continue(source) = source(of_source, its_data, observe)? else {
                return Ok(ControlFlow::Break(()));
            };
            plan.start_from(&data.summary, source).expect("it is checked when the trial is planned")
        }
    };
    let mut training = plan.training(start, 0);
    let mut batches = plan.batches(data);
    let every = plan.evaluate_every.unwrap_or(plan.steps);
    let on_the_way: Vec<Look> = task.looks.iter().copied().filter(|look| look.is_on_the_way()).collect();
    let at_the_end: Vec<Look> = task.looks.iter().copied().filter(|look| !look.is_on_the_way()).collect();
    let mut curve = vec![Point::new(0, 0.0, &[], score(training.network(), &data.summary, &data.test)?)];
    let (mut losses, mut ending, mut steps, mut readings, mut last_look) =
        (Vec::new(), Ending::Finished, 0, Vec::new(), 0);
    let look = |step: usize, training: &_, accuracy: f64, looks: &[Look]| {
        let looking = Looking { plan, data, training, step, accuracy };
        looks.iter().map(|look| looking.at(*look)).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    };
    readings.extend(look(0, &training, curve[0].accuracy, &on_the_way)?);
    while steps < plan.steps {
        let batch = plan.batch(data, batches.draw(), steps)?;
        let loss = training.step(&batch, plan.rate(steps));
        if !loss.is_finite() {
            ending = Ending::Diverged { step: steps + 1 };
            break;
        }
        steps += 1;
        losses.push(loss);
        let last = steps == plan.steps;
        if steps.is_multiple_of(every) || last {
            let score = score(training.network(), &data.summary, &data.test)?;
            curve.push(Point::new(steps, training.seconds(), &losses, score));
            losses.clear();
            if last || is_due(steps, last_look) {
                readings.extend(look(steps, &training, score.accuracy, &on_the_way)?);
                last_look = steps;
            }
            if last {
                readings.extend(look(steps, &training, score.accuracy, &at_the_end)?);
            }
        }
        let told = steps.is_multiple_of(every) || steps.is_multiple_of(ASKED_EVERY);
        let accuracy = curve.last().map_or(0.0, |point| point.accuracy);
        if told && !last && observe(Progress { step: steps, steps: plan.steps, accuracy }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if curve.last().is_none_or(|point| point.test_loss.is_none()) && ending == Ending::Finished {
        ending = Ending::Diverged { step: steps };
    }
    let accuracy = if ending == Ending::Finished { curve.last().map(|point| point.accuracy) } else { None };
    let (seconds, wall_seconds) = (training.seconds(), begun.elapsed().as_secs_f64());
    Ok(ControlFlow::Continue(Trial { ending, accuracy, steps, seconds, wall_seconds, curve, readings }))
}

/// The network at the end of a training that is there for its weights.
fn source(
    plan: &Plan,
    data: &Data,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ControlFlow<(), Network>, DataError> {
    let mut training = plan.training(plan.start(&data.summary), 0);
    let mut batches = plan.batches(data);
    for step in 0..plan.steps {
        let loss = training.step(&plan.batch(data, batches.draw(), step)?, plan.rate(step));
        // (A network that diverged stays as it was at the last finite loss, and what starts from it shows that.)
        let stopped = step.is_multiple_of(ASKED_EVERY)
            && observe(Progress { step: 0, steps: plan.steps, accuracy: 0.0 }).is_break();
        if stopped {
            return Ok(ControlFlow::Break(()));
        }
        if !loss.is_finite() {
            break;
        }
    }
    Ok(ControlFlow::Continue(training.network().apart()))
}
