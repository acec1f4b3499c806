//! What is known of a network and of its training, beside its tensors.

use serde::{Deserialize, Serialize};

use super::error::{ModelError, one_line, shortened};
use crate::data::{DataSummary, MOST_CLASSES};
use crate::plan::Plan;
use crate::training::Score;

/// The description of a network and of its training so far, in the network's file. It has no times: the same training
/// gives the same file.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The data it is trained on.
    pub data: DataSummary,
    /// The network and what it is trained by.
    pub plan: Plan,
    /// Steps taken so far.
    pub steps_done: usize,
    /// Its score on the test set, and the steps it had taken then.
    pub test: Option<Tested>,
    /// How a training that ends by itself stands.
    pub watch: Option<Watch>,
    /// The scores beside that of averaged weights, which is `test`.
    pub beside: Option<BesideAverage>,
}

/// The scores at the step of the test: of the last weights, and of the averaged ones with the training's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BesideAverage {
    /// Share of the test set that the last weights classify rightly.
    pub last_accuracy: f64,
    /// That of the averaged weights with the statistics of the training; none where those are not computed again.
    pub training_statistics_accuracy: Option<f64>,
}

/// The score of a network on its test set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Steps that the network had taken.
    pub step: usize,
    /// Share of the test set it classifies rightly.
    pub accuracy: f64,
    /// Mean cross-entropy on it, in nats; none where it is not finite.
    pub loss: Option<f64>,
}

/// A training that ends when its loss on the validation set does not get better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The step of the best network, which the file has.
    pub best_step: usize,
    /// Its loss on the validation set, in nats.
    pub best_loss: f64,
    /// Evaluations since then.
    pub waited: usize,
}

impl Description {
    /// The description of a network that has taken `steps_done` steps of the plan and has this score on the test set.
    pub fn new(data: DataSummary, plan: Plan, steps_done: usize, score: Score) -> Description {
        let test = Tested::new(steps_done, score);
        Description { data, plan, steps_done, test: Some(test), watch: None, beside: None }
    }

    pub(super) fn checked(self) -> Result<Description, ModelError> {
        let expect = |what: &str, fits: bool| {
            if fits { Ok(()) } else { Err(ModelError::Description(what.to_owned())) }
        };
        let DataSummary { input, classes, scale, .. } = &self.data;
        let lengths = [input.channels, input.rows, input.columns];
        let values = lengths.iter().try_fold(1usize, |values, &length| values.checked_mul(length));
        expect("its input has no value, or too many", values.is_some_and(|values| (1..=1 << 24).contains(&values)))?;
        expect("it has no class, or too many", (1..=MOST_CLASSES).contains(&classes.len()))?;
        let fits = scale.as_ref().is_none_or(|scale| {
            let fits = |values: &[f64]| values.len() == input.channels && values.iter().all(|value| value.is_finite());
            fits(&scale.mean) && fits(&scale.deviation) && scale.deviation.iter().all(|&deviation| deviation >= 0.0)
        });
        expect("its means and deviations are not those of its channels", fits)?;
        self.plan.check(&self.data).map_err(|error| ModelError::Description(shortened(&error.to_string())))?;
        expect("it has more steps behind it than it has in all", self.steps_done <= self.plan.steps)?;
        let share = self.test.is_none_or(|test| (0.0..=1.0).contains(&test.accuracy));
        expect("its test accuracy is no share", share)?;
        Ok(self)
    }
}

impl Tested {
    /// A score of a network that has taken so many steps.
    pub fn new(step: usize, score: Score) -> Tested {
        Tested { step, accuracy: score.accuracy, loss: Some(score.loss).filter(|loss| loss.is_finite()) }
    }
}

pub(super) fn no_description(error: serde_json::Error) -> ModelError {
    ModelError::Description(one_line(&error.to_string()))
}
