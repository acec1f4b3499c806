//! What becomes of a batch's moments: taken into the running statistics at once, held, or observed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use batchnorm::{BatchMoments, CallError, NormalizeBy, Population};

/// Moments of training passes that are not in the running statistics yet, and whether there may be any.
///
/// A layer takes each batch into its running statistics at once, until [`hold`](crate::BatchNorm::hold) is called. A clone of
/// the layer has what is held, too, and goes its own way from there.
#[derive(Default)]
pub struct Held(Mutex<State>);

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    AtOnce,
    Holding(Vec<BatchMoments>),
    Observing(Observation),
}

/// A layer that is recalibrated: what it sees, and by what it normalises meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub by: NormalizeBy,
    pub seen: Population,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is replaced as a whole, or pushed to: a panic elsewhere leaves it right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on moments are held.
    pub(crate) fn hold(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Holding(_)) {
            *state = State::Holding(Vec::new());
        }
    }

    /// What is held, taken out.
    pub(crate) fn take(&self) -> Vec<BatchMoments> {
        match &mut *self.lock() {
            State::Holding(held) => std::mem::take(held),
            _ => Vec::new(),
        }
    }

    /// What is held, and no more holding.
    pub(crate) fn release(&self) -> Vec<BatchMoments> {
        let held = self.take();
        *self.lock() = State::AtOnce;
        held
    }

    /// How many batches are held; `None` where moments are taken in at once.
    pub(crate) fn batches(&self) -> Option<usize> {
        match &*self.lock() {
            State::Holding(held) => Some(held.len()),
            _ => None,
        }
    }

    pub(crate) fn observe(&self, observation: Observation) {
        *self.lock() = State::Observing(observation);
    }

    /// What was seen, and no more observing.
    pub(crate) fn observed(&self) -> Option<Population> {
        match std::mem::take(&mut *self.lock()) {
            State::Observing(observation) => Some(observation.seen),
            _ => None,
        }
    }

    /// By what a layer normalises that is observed.
    pub(crate) fn normalizes_by(&self) -> Option<NormalizeBy> {
        match &*self.lock() {
            State::Observing(observation) => Some(observation.by),
            _ => None,
        }
    }

    /// Keeps a batch's moments, unless they are to be taken in at once. Gives the channels that an observation leaves out.
    pub(crate) fn keeps(&self, batch: &BatchMoments) -> Result<Option<Vec<usize>>, CallError> {
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
