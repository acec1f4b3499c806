//! What is asked for, what happens on the way, and what comes out.

use std::ops::ControlFlow;
use std::time::Duration;

use batchnorm::{POPULATION_ROW, UpdateWeight};
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::error::RecalibrateError;
use super::layer::Recalibrated;
use crate::cut::Cut;

/// What is to be measured, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The norms, by their places in [`Written::norms`](crate::engine::Written::norms).
    pub layers: Vec<usize>,
    /// In one pass, by batches.
    pub one_pass: bool,
    /// Samples in a batch.
    pub batch: usize,
    /// Mix the new statistics with the old ones, by these weights.
    pub mix: Option<UpdateWeight>,
    /// Measure on samples cut at random, as a training did; the answers are of samples as they are.
    pub cut: Option<Cut>,
    /// Bytes of values between two layers that may be kept in memory.
    pub memory: usize,
    /// Bytes of them that may be kept in files.
    pub files: u64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The norms, in the order of the request.
    pub layers: Vec<Recalibrated>,
    /// What became of the model's answers.
    pub answers: Answers,
    /// Samples in a batch: those asked for, or fewer where the model needs it.
    pub batch: usize,
    /// Samples.
    pub samples: usize,
    /// The engine, with its version.
    pub engine: String,
    /// The share of the time that the engine took.
    pub engine_share: f64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds that had been announced.
    pub announced: f64,
}

/// What happens on the way, of work that goes on from a `P` when it was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event<P = Progress> {
    /// How long it will take.
    Announced {
        /// Seconds.
        seconds: f64,
        /// Norms that are measured.
        layers: usize,
        /// Times that all data go through a part of the model.
        passes: usize,
    },
    /// How long the layers will take that are looked at one by one.
    Ranking {
        /// Seconds.
        seconds: f64,
        /// Layers.
        layers: usize,
    },
    /// How far it has come, of 1.
    Done(f64),
    /// From where it could go on.
    State(Box<P>),
}

impl<P> Event<P> {
    /// The same of work of which that is a part.
    pub fn part_of<Q>(self, of: impl FnOnce(P) -> Q) -> Event<Q> {
        match self {
            Event::Announced { seconds, layers, passes } => Event::Announced { seconds, layers, passes },
            Event::Ranking { seconds, layers } => Event::Ranking { seconds, layers },
            Event::Done(share) => Event::Done(share),
            Event::State(state) => Event::State(Box::new(of(*state))),
        }
    }
}

/// From where a recalibration goes on that was interrupted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The stage that it is in.
    pub stage: usize,
    /// Samples that have gone through it.
    pub done: usize,
    /// The norms whose statistics are known, by their places.
    pub known: Vec<(usize, Recalibrated)>,
    /// What has been seen of those that are being measured, by the places of layers.
    pub measured: Vec<(usize, Vec<[f64; POPULATION_ROW]>)>,
    /// What layers have seen that are used again further on.
    pub used: Vec<(usize, Vec<[f64; POPULATION_ROW]>)>,
}

/// Time between two states that are told.
pub(crate) const BETWEEN_STATES: Duration = Duration::from_secs(10);

/// What is told what happens, and may stop it.
pub type Tell<'t, P = Progress> = dyn FnMut(Event<P>) -> ControlFlow<()> + 't;

/// Tells something, and stops if that is wanted.
pub(crate) fn say<P>(tell: &mut Tell<P>, event: Event<P>) -> Result<(), RecalibrateError> {
    if tell(event).is_break() { Err(RecalibrateError::Stopped) } else { Ok(()) }
}
