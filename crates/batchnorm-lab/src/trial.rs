//! One training of a grid, from its start to its end, with its curve.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::data::{Data, DataError};
use crate::plan::Plan;
use crate::run::{Ending, Point, Progress, Reached};
use crate::training::{Batches, score};

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
    /// The evaluations, from step 0 on.
    pub curve: Vec<Point>,
}

impl Trial {
    /// The first evaluation at or above an accuracy.
    pub fn reached(&self, target: f64) -> Option<Reached> {
        let point = self.curve.iter().find(|point| point.accuracy >= target)?;
        Some(Reached { step: point.step, seconds: point.seconds })
    }
}

/// Does a training. `observe` is told after every evaluation and may stop it; a training that was stopped is lost.
///
/// # Errors
/// Data that cannot be read.
pub fn perform(
    plan: &Plan,
    data: &Data,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ControlFlow<(), Trial>, DataError> {
    let mut training = plan.training(plan.start(&data.summary), 0);
    let mut batches = Batches::new(data.train.len(), plan.batch_size, plan.seed);
    let every = plan.evaluate_every.unwrap_or(plan.steps);
    let mut curve = vec![Point::new(0, 0.0, &[], score(training.network(), &data.summary, &data.test)?)];
    let (mut losses, mut ending, mut steps) = (Vec::new(), Ending::Finished, 0);
    while steps < plan.steps {
        let batch = plan.batch(data, batches.draw(), steps)?;
        let loss = training.step(&batch, plan.rate(steps));
        if !loss.is_finite() {
            ending = Ending::Diverged { step: steps + 1 };
            break;
        }
        steps += 1;
        losses.push(loss);
        if steps.is_multiple_of(every) || steps == plan.steps {
            let score = score(training.network(), &data.summary, &data.test)?;
            curve.push(Point::new(steps, training.seconds(), &losses, score));
            losses.clear();
            if observe(Progress { step: steps, steps: plan.steps, accuracy: score.accuracy }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    let last = curve.last().map(|point| point.accuracy);
    let accuracy = if ending == Ending::Finished { last } else { None };
    Ok(ControlFlow::Continue(Trial { ending, accuracy, steps, seconds: training.seconds(), curve }))
}
