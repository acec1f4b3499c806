//! One network trained from one seed.

use serde::{Deserialize, Serialize};

use crate::probe::{Answer, Probe};
use crate::training::Score;

/// The way a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// All steps were taken.
    Finished,
    /// The loss was NaN or infinite; the run was stopped there.
    Diverged {
        /// The step of that loss.
        step: usize,
    },
}

/// A point of a curve: the network after some steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: usize,
    /// Seconds of training until here; evaluations are not counted.
    pub seconds: f64,
    /// Mean loss of the batches since the last point, in nats; none at the start or where it was not finite.
    pub training_loss: Option<f64>,
    /// Mean loss on the test images, in nats, by running statistics; none where it is not finite.
    pub test_loss: Option<f64>,
    /// Share of the test images that are classified rightly, by running statistics.
    pub accuracy: f64,
}

/// The first point of a curve at or above the target accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Steps taken.
    pub step: usize,
    /// Seconds of training until there.
    pub seconds: f64,
}

/// One network trained from one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The arm's name.
    pub arm: String,
    /// The seed of its start weights and of the order of its batches.
    pub seed: u64,
    /// The way it ended.
    pub ending: Ending,
    /// The point at which the target was reached; none (`null`) where it was not within the steps taken.
    pub target: Option<Reached>,
    /// Accuracy after the last step; none (`null`) where the run diverged.
    pub final_accuracy: Option<f64>,
    /// Seconds of training in all.
    pub seconds: f64,
    /// Fingerprint of the network at the end: the same on every run on one machine.
    pub fingerprint: String,
    /// The curve, from step 0 on.
    pub curve: Vec<Point>,
    /// The looks inside the network, from step 0 on.
    pub probes: Vec<Probe>,
    /// The network's answers at the end, for each test image in the data set's order. Kept for the runs of the first
    /// seed only, whose digits the report shows; empty for others and where the run diverged.
    pub answers: Vec<Answer>,
}

impl Point {
    /// The point of a score and of the losses of the batches since the last point.
    pub(crate) fn new(step: usize, seconds: f64, losses: &[f64], score: Score) -> Point {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        Point { step, seconds, training_loss: finite(mean), test_loss: finite(score.loss), accuracy: score.accuracy }
    }
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub step: usize,
    /// Steps to take.
    pub steps: usize,
    /// Accuracy at the last evaluation.
    pub accuracy: f64,
}
