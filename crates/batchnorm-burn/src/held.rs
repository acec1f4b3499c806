//! The fate of a batch's moments: taken into the running statistics at once, held, or observed.

use std::cmp::Ordering;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, OnceLock};

use batchnorm::{BatchMoments, Config, Moments, NormalizeBy, Population};

use crate::error::Reason;
use crate::ledger::{Fate, Ledger, Life, Rule};
use crate::prepared::LastPrepared;
use crate::running::statistics;

/// The batches of a layer, and what becomes of them.
///
/// A layer takes each batch into its running statistics at once, until [`hold`](crate::BatchNorm::hold) is called. A
/// clone of the layer has a copy of the moments held so far, and gives its own batches to the layer when it is dropped;
/// see [`BatchNorm`](crate::BatchNorm#clones-and-replicas).
pub struct Held {
    ledger: Arc<Ledger<Config>>,
    /// None in a handle to the layer, which outlives it for nobody.
    life: Option<Arc<Life<Config>>>,
    /// What the last evaluation prepared for the next one.
    prepared: LastPrepared,
}

/// The observation of a layer that is being recalibrated.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// The statistics by which the layer normalises meanwhile.
    pub normalize_by: NormalizeBy,
    /// The moments of all batches so far.
    pub seen: Population,
    /// When the layer, or a clone of it, saw its first batch: its place among the layers that count by the same counter.
    pub first_at: Arc<OnceLock<usize>>,
    pub counter: Arc<AtomicUsize>,
}

impl Observation {
    /// Whether a batch has been observed.
    pub fn begun(&self) -> bool {
        self.first_at.get().is_some()
    }
}

impl Default for Held {
    fn default() -> Self {
        Held::of(Life::new(Fate::AtOnce))
    }
}

impl Held {
    pub(crate) fn ledger(&self) -> &Arc<Ledger<Config>> {
        &self.ledger
    }

    pub(crate) fn of(life: Arc<Life<Config>>) -> Held {
        Held { ledger: life.ledger().clone(), life: Some(life), prepared: LastPrepared::default() }
    }

    /// A handle to the same batches, by which the layer does not go on.
    pub(crate) fn handle(&self) -> Held {
        Held { ledger: self.ledger.clone(), life: None, prepared: self.prepared() }
    }

    /// Takes over the life of a layer whose handle this is.
    pub(crate) fn in_place_of(&mut self, layer: Held) {
        if Arc::ptr_eq(&self.ledger, &layer.ledger) {
            self.life = layer.life;
        }
    }

    pub(crate) fn prepared(&self) -> LastPrepared {
        self.prepared.clone()
    }

    /// Begins to hold moments.
    pub(crate) fn hold(&self) {
        self.ledger.fate(|fate| {
            if !matches!(fate, Fate::Holding { .. }) {
                *fate = Fate::Holding { held: Vec::new(), copies: 0, origin_decides: false };
            }
        });
    }

    /// Drops the moments that are held, and gives their number.
    pub(crate) fn discard(&self) -> usize {
        self.ledger.fate(|fate| match fate {
            Fate::Holding { held, copies, .. } => {
                *copies = 0;
                std::mem::take(held).len()
            }
            _ => 0,
        })
    }

    /// Ends holding, and drops the moments that are held.
    pub(crate) fn release(&self) -> usize {
        let dropped = self.discard();
        self.ledger.fate(|fate| *fate = Fate::AtOnce);
        dropped
    }

    /// Number of batches held; `None` where moments are taken in at once.
    pub(crate) fn batches(&self) -> Option<usize> {
        self.ledger.look(|fate, more| match fate {
            Fate::Holding { held, .. } => Some(held.len() + more),
            _ => None,
        })
    }

    /// The moments held.
    pub(crate) fn moments(&self) -> Vec<BatchMoments> {
        self.ledger.held()
    }

    /// Begins an observation.
    pub(crate) fn observe(&self, observation: Observation) {
        self.ledger.fate(|fate| *fate = Fate::Observing(observation));
    }

    /// Ends the observation, and gives it.
    pub(crate) fn end_observation(&self) -> Option<Observation> {
        self.ledger.fate(|fate| match std::mem::take(fate) {
            Fate::Observing(observation) => Some(observation),
            other => {
                *fate = other;
                None
            }
        })
    }

    /// When an observed layer first saw a batch.
    pub(crate) fn first_batch_at(&self) -> Option<usize> {
        self.ledger.fate(|fate| match fate {
            Fate::Observing(observation) => observation.first_at.get().copied(),
            _ => None,
        })
    }

    /// The statistics by which an observed layer normalises.
    pub(crate) fn observed_by(&self) -> Option<NormalizeBy> {
        self.ledger.look(|fate, _| match fate {
            Fate::Observing(observation) => Some(observation.normalize_by),
            _ => None,
        })
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ledger.fmt(f)
    }
}

/// The options of a layer say how its running statistics take in a batch.
impl Rule for Config {
    type Batch = BatchMoments;
    type Observation = Observation;

    fn merge(one: &BatchMoments, other: &BatchMoments) -> Option<BatchMoments> {
        one.merge(other).ok()
    }

    fn order(one: &BatchMoments, other: &BatchMoments) -> Ordering {
        let parts = |moments: &Moments| moments.to_parts().map(f64::to_bits);
        one.channels().iter().map(parts).cmp(other.channels().iter().map(parts))
    }

    fn take_in(&self, running: &[Vec<f64>], batch: &BatchMoments) -> Result<(Vec<Vec<f32>>, Vec<usize>), Reason> {
        let (old_mean, old_variance, old_updates) = (&running[0], &running[1], running.get(2));
        let mut new = statistics(old_mean, old_variance, old_updates.map(Vec::as_slice))?;
        let mut not_updated = new.update(batch, self)?;

        let rounded = |new: &[f64]| new.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (mut means, mut variances) = (rounded(new.mean()), rounded(new.variance()));
        let mut updates =
            old_updates.map(|_| new.updates().iter().map(|&updates| updates as f32).collect::<Vec<f32>>());
        // The core's average comes to the mean of a constant channel, to the bit. So does what is rounded: where that stays short
        // of the batch's mean because a step is lost to rounding, the next `f32` is taken.
        let channels = means.iter_mut().zip(old_mean.iter().zip(new.mean())).zip(batch.channels());
        for ((rounded, (&old, &new)), moments) in channels {
            if f64::from(*rounded) == old && new != old {
                let target = moments.mean() as f32;
                if target.is_finite() && target != *rounded {
                    *rounded = if new > old { rounded.next_up() } else { rounded.next_down() };
                }
            }
        }
        for channel in
            (0..means.len()).filter(|&c| !(means[c].is_finite() && variances[c].is_finite())).collect::<Vec<_>>()
        {
            // The old values came from `f32` and go back unchanged.
            (means[channel], variances[channel]) = (old_mean[channel] as f32, old_variance[channel] as f32);
            if let (Some(new), Some(old)) = (&mut updates, old_updates) {
                new[channel] = old[channel] as f32;
            }
            not_updated.push(channel);
        }
        not_updated.sort_unstable();
        not_updated.dedup();
        Ok(([means, variances].into_iter().chain(updates).collect(), not_updated))
    }

    fn observe(observation: &mut Observation, batch: &BatchMoments) -> Result<Vec<usize>, Reason> {
        let Observation { seen, first_at, counter, .. } = observation;
        first_at.get_or_init(|| counter.fetch_add(1, Atomic::Relaxed));
        Ok(seen.observe(batch)?)
    }
}
