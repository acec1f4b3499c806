//! Several participants, each with a part of the batch, that exchange the numbers which all must know.
//!
//! Every participant merges or adds the numbers of all in the same order, so that all go on with the same bits. Parts
//! of different sizes count by their values, and a part of no values not at all.

use crate::gradients::ParameterGradients;
use crate::statistics::batch::BatchMoments;
use batchnorm_kernel::Moments;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An exchange of numbers between participants: [`Team`] between threads of this process, any other by an
/// implementation of this trait.
pub trait Collective {
    /// Gives every participant the `numbers` of all, in the order of the participants, the same for each.
    ///
    /// All participants call it as often and in the same order, each time with the same name and as many numbers.
    ///
    /// # Errors
    /// Participants that are not at the same layer or have other sizes, or do not come; every participant that waits
    /// gets one, and every later call.
    fn gather(&self, layer: &str, numbers: &[f64]) -> Result<Vec<Vec<f64>>, CollectiveError>;
}

/// An exchange between participants that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// Two participants are at different layers.
    #[error(
        "{layer}: participant {participant} is at {other:?}; all must go through the same layers in the same order"
    )]
    OtherLayer {
        /// Where the first participant is.
        layer: String,
        /// The one that is elsewhere.
        participant: usize,
        /// Where it is.
        other: String,
    },
    /// Two participants have layers of different sizes.
    #[error(
        "{layer}: expected {expected} numbers of participant {participant}, got {got}; all must have as many channels"
    )]
    OtherSize {
        /// The layer.
        layer: String,
        /// The participant that differs from the first one.
        participant: usize,
        /// Numbers of the first participant.
        expected: usize,
        /// Numbers of that participant.
        got: usize,
    },
    /// A participant is used by two threads at once.
    #[error("{layer}: participant {participant} came twice; each thread needs one of its own")]
    Twice {
        /// Where it came the second time.
        layer: String,
        /// The participant.
        participant: usize,
    },
    /// A participant has ended.
    #[error("{layer}: participant {participant} has left; it skipped this layer, or failed before")]
    Left {
        /// Where the others wait.
        layer: String,
        /// The one that left.
        participant: usize,
    },
    /// A participant did not come in time.
    #[error("{layer}: nothing came of participants {missing:?} for {waited:?}; did they skip it?")]
    TimedOut {
        /// Where the others wait.
        layer: String,
        /// Participants that did not come.
        missing: Vec<usize>,
        /// The time that was waited.
        waited: Duration,
    },
    /// A failure of another implementation of [`Collective`].
    #[error("{layer}: {reason}")]
    Transport {
        /// The layer.
        layer: String,
        /// The failure, in its words.
        reason: String,
    },
}

impl BatchMoments {
    /// The moments of the whole batch, of which each participant has those of its part.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    pub fn across(&self, collective: &dyn Collective, layer: &str) -> Result<BatchMoments, CollectiveError> {
        let numbers: Vec<f64> = self.channels().iter().flat_map(|moments| moments.to_parts()).collect();
        let mut whole = vec![Moments::EMPTY; self.channels().len()];
        for part in gather_checked(collective, &format!("{layer}, moments"), &numbers)? {
            for (whole, &part) in whole.iter_mut().zip(part.as_chunks().0) {
                *whole = whole.merge(Moments::from_parts(part));
            }
        }
        Ok(whole.into())
    }
}

impl ParameterGradients {
    /// The sums over the whole batch, of which each participant has those over its part.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    pub fn across(&self, collective: &dyn Collective, layer: &str) -> Result<ParameterGradients, CollectiveError> {
        let numbers: Vec<f64> = self.dgamma.iter().chain(&self.dbeta).copied().collect();
        let mut whole = vec![0.0; numbers.len()];
        for part in gather_checked(collective, &format!("{layer}, gradients"), &numbers)? {
            whole.iter_mut().zip(part).for_each(|(whole, part)| *whole += part);
        }
        let dbeta = whole.split_off(self.dgamma.len());
        Ok(ParameterGradients { dgamma: whole, dbeta })
    }
}

/// [`Collective::gather`], checked to give the numbers of one participant at least, and of each as many as `numbers`
/// are.
fn gather_checked(collective: &dyn Collective, layer: &str, numbers: &[f64]) -> Result<Vec<Vec<f64>>, CollectiveError> {
    let parts = collective.gather(layer, numbers)?;
    let layer = layer.to_string();
    if parts.is_empty() {
        return Err(CollectiveError::Transport { layer, reason: "the collective gave nothing back".to_string() });
    }
    match parts.iter().position(|part| part.len() != numbers.len()) {
        Some(participant) => {
            let (expected, got) = (numbers.len(), parts[participant].len());
            Err(CollectiveError::OtherSize { layer, participant, expected, got })
        }
        None => Ok(parts),
    }
}

/// Participants that are threads of this process, each of which must own its part of the team (so that it is dropped
/// when the thread ends or panics) and must not wait for another one's: no tasks of one pool.
///
/// ```
/// use batchnorm::{Axes, Config, Team, View};
/// use std::time::Duration;
/// let normalizer = &Config::pytorch().normalizer()?;
/// let parts = [&[1.0f32, 2.0][..], &[], &[6.0]];
/// let means = std::thread::scope(|scope| {
///     let threads = Team::of(3, Duration::from_secs(60)).into_iter().zip(parts).map(|(participant, part)| {
///         scope.spawn(move || {
///             let x = View::new(part, &[part.len(), 1], Axes::NCHW).unwrap();
///             normalizer.moments(&x).across(&participant, "norm1").unwrap().channels()[0].mean()
///         })
///     });
///     threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
/// });
/// assert_eq!(means, [3.0, 3.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    number: usize,
}

/// Memory that all participants of a team share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when an exchange is complete or has failed.
    changed: Condvar,
    patience: Duration,
}

/// The present exchange, and the result of the last one.
#[derive(Debug, Default)]
struct State {
    /// Layer and numbers that each participant has brought to the present exchange; `None` where it has not come yet.
    brought: Vec<Option<(String, Vec<f64>)>>,
    /// Number of exchanges that are complete.
    completed: u64,
    /// The result of the last complete exchange. The next one cannot complete before everyone has taken this, for
    /// everyone must come to it.
    result: Arc<Vec<Vec<f64>>>,
    /// True for each participant that is gone.
    departed: Vec<bool>,
    /// The first error. It stays, so that who comes later gets it too.
    failure: Option<CollectiveError>,
}

impl Team {
    /// So many participants, one for each thread. Nobody waits longer than `patience` for the others.
    pub fn of(participants: usize, patience: Duration) -> Vec<Team> {
        let state =
            State { brought: vec![None; participants], departed: vec![false; participants], ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), patience });
        (0..participants).map(|number| Team { shared: shared.clone(), number }).collect()
    }

    /// The state, locked for this participant.
    fn lock(&self) -> MutexGuard<'_, State> {
        // No participant computes while it holds the lock, so one that panicked has left the state whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all exchanges with an error, and gives the one to return: the first that there was.
    fn fail(&self, state: &mut State, error: CollectiveError) -> CollectiveError {
        self.shared.changed.notify_all();
        state.failure.get_or_insert(error).clone()
    }
}

impl State {
    /// Returns true if all have come to the present exchange. Errors if those that came differ in the layer or in how
    /// many numbers they brought, or if one that is missing is gone.
    fn is_complete(&self) -> Result<bool, CollectiveError> {
        let mut came =
            self.brought.iter().enumerate().filter_map(|(number, brought)| Some((number, brought.as_ref()?)));
        let Some((_, (layer, values))) = came.next() else { return Ok(false) };
        let (layer, expected) = (layer.clone(), values.len());
        for (participant, (other, values)) in came {
            if *other != layer {
                return Err(CollectiveError::OtherLayer { layer, participant, other: other.clone() });
            }
            if values.len() != expected {
                return Err(CollectiveError::OtherSize { layer, participant, expected, got: values.len() });
            }
        }
        if let Some(participant) = self.missing().find(|&number| self.departed[number]) {
            return Err(CollectiveError::Left { layer, participant });
        }
        Ok(self.missing().next().is_none())
    }

    /// Participants that have not come to the present exchange yet.
    fn missing(&self) -> impl Iterator<Item = usize> {
        (0..self.brought.len()).filter(|&number| self.brought[number].is_none())
    }
}

impl Collective for Team {
    fn gather(&self, layer: &str, numbers: &[f64]) -> Result<Vec<Vec<f64>>, CollectiveError> {
        let Shared { changed, patience, .. } = &*self.shared;
        let mut state = self.lock();
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        if state.brought[self.number].is_some() {
            let error = CollectiveError::Twice { layer: layer.to_string(), participant: self.number };
            return Err(self.fail(&mut state, error));
        }
        state.brought[self.number] = Some((layer.to_string(), numbers.to_vec()));
        let completed_before = state.completed;
        match state.is_complete() {
            // The last one to come gives all their result.
            Ok(true) => {
                state.result =
                    Arc::new(state.brought.iter_mut().filter_map(Option::take).map(|(_, numbers)| numbers).collect());
                state.completed += 1;
                changed.notify_all();
            }
            Ok(false) => {}
            Err(error) => return Err(self.fail(&mut state, error)),
        }
        let start = Instant::now();
        // An exchange that completed has its result, even if the team has failed since: so this is asked first.
        while state.completed == completed_before {
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            let remaining = patience.saturating_sub(start.elapsed());
            if remaining.is_zero() {
                let missing = state.missing().collect();
                let error = CollectiveError::TimedOut { layer: layer.to_string(), missing, waited: *patience };
                return Err(self.fail(&mut state, error));
            }
            state = changed.wait_timeout(state, remaining).unwrap_or_else(PoisonError::into_inner).0;
        }
        let result = state.result.clone();
        drop(state);
        Ok(result.to_vec())
    }
}

impl Drop for Team {
    /// Marks the participant as gone, so that the others need not wait for it.
    fn drop(&mut self) {
        let mut state = self.lock();
        state.departed[self.number] = true;
        if let Err(error) = state.is_complete() {
            self.fail(&mut state, error);
        }
    }
}
