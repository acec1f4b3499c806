//! The fate of a batch's moments: taken into the running statistics at once, held, or observed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use batchnorm::{BatchMoments, CallError, NormalizeBy, Population};

/// Moments of training passes that are not in the running statistics yet, where the layer holds such.
///
/// A layer takes each batch into its running statistics at once, until [`hold`](crate::BatchNorm::hold) is called. A
/// clone of the layer has a copy of the moments held so far.
#[derive(Default)]
pub struct Held(Mutex<State>);

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    AtOnce,
    Holding(Vec<BatchMoments>),
    Observing(Observation),
}

/// The observation of a layer that is being recalibrated.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// The statistics by which the layer normalises meanwhile.
    pub normalize_by: NormalizeBy,
    /// The moments of all batches so far.
    pub seen: Population,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is replaced as a whole, or pushed to: a panic elsewhere leaves it right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to hold moments.
    pub(crate) fn hold(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Holding(_)) {
            *state = State::Holding(Vec::new());
        }
    }

    /// Takes out the moments that are held.
    pub(crate) fn take(&self) -> Vec<BatchMoments> {
        match &mut *self.lock() {
            State::Holding(held) => std::mem::take(held),
            _ => Vec::new(),
        }
    }

    /// Ends holding, and takes out the moments that were held.
    pub(crate) fn release(&self) -> Vec<BatchMoments> {
        let held = self.take();
        *self.lock() = State::AtOnce;
        held
    }

    /// Number of batches held; `None` where moments are taken in at once.
    pub(crate) fn batches(&self) -> Option<usize> {
        match &*self.lock() {
            State::Holding(held) => Some(held.len()),
            _ => None,
        }
    }

    /// Begins an observation.
    pub(crate) fn observe(&self, observation: Observation) {
        *self.lock() = State::Observing(observation);
    }

    /// Ends the observation, and gives what it has seen.
    pub(crate) fn end_observation(&self) -> Option<Population> {
        match std::mem::take(&mut *self.lock()) {
            State::Observing(observation) => Some(observation.seen),
            _ => None,
        }
    }

    /// The statistics by which a layer under observation normalises.
    pub(crate) fn observed_by(&self) -> Option<NormalizeBy> {
        match &*self.lock() {
            State::Observing(observation) => Some(observation.normalize_by),
            _ => None,
        }
    }

    /// Keeps a batch's moments, and gives the channels that an observation leaves out; `None` where the moments are to
    /// be taken in at once.
    pub(crate) fn keep(&self, batch: &BatchMoments) -> Result<Option<Vec<usize>>, CallError> {
        match &mut *self.lock() {
            State::AtOnce => Ok(None),
            State::Holding(held) => {
                held.push(batch.clone());
                Ok(Some(Vec::new()))
            }
            State::Observing(observation) => observation.seen.observe(batch).map(Some),
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Held(Mutex::new(self.lock().clone()))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}
