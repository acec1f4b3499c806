//! Which layer was cloned from which, and who goes on for whom.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The identity of a layer, known by its ledger `L`, by which its clones find it.
pub(crate) struct Lineage<L> {
    ledger: Weak<L>,
    family: Mutex<Family<L>>,
}

struct Family<L> {
    origin: Option<Origin<L>>,
    /// The layer that goes on where this one, and those that it went on for, have ended: an optimizer often steps on a
    /// clone, which then takes the model's place.
    successor: Arc<Mutex<Weak<L>>>,
}

/// The layer that a clone was made from.
pub(crate) struct Origin<L> {
    lineage: Arc<Lineage<L>>,
    /// Its number of changes when it was cloned.
    pub changes: u64,
}

impl<L> Clone for Origin<L> {
    fn clone(&self) -> Self {
        Origin { lineage: self.lineage.clone(), changes: self.changes }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked in this crate is changed by single assignments: a panic elsewhere leaves it right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L> Lineage<L> {
    pub fn new(ledger: Weak<L>, origin: Option<Origin<L>>) -> Arc<Lineage<L>> {
        Arc::new(Lineage { ledger, family: Mutex::new(Family { origin, successor: Arc::default() }) })
    }

    /// This layer as the origin of a clone that is made now.
    pub fn as_origin(self: &Arc<Self>, changes: u64) -> Origin<L> {
        let mut family = locked(&self.family);
        // Layers that have ended are skipped, so that clones of clones of clones make no chain.
        while let Some(origin) = &family.origin {
            if origin.ledger().is_some() || locked(&origin.lineage.successor()).strong_count() > 0 {
                break;
            }
            let before = locked(&origin.lineage.family).origin.clone();
            family.origin = before;
        }
        Origin { lineage: self.clone(), changes }
    }

    fn successor(&self) -> Arc<Mutex<Weak<L>>> {
        locked(&self.family).successor.clone()
    }

    pub fn origin(&self) -> Option<Origin<L>> {
        locked(&self.family).origin.clone()
    }

    /// Parts with the origin.
    pub fn leave_origin(&self) -> Option<Origin<L>> {
        locked(&self.family).origin.take()
    }

    /// Goes on for a layer, once that has ended.
    pub fn succeed(&self, origin: &Origin<L>) {
        let successor = origin.lineage.successor();
        *locked(&successor) = self.ledger.clone();
        locked(&self.family).successor = successor;
    }
}

impl<L> Origin<L> {
    /// The origin, if it has not ended.
    pub fn ledger(&self) -> Option<Arc<L>> {
        self.lineage.ledger.upgrade()
    }

    /// The layer that the clone's batches go to: the origin, the one that went on for it, or the one that it was cloned
    /// from itself.
    pub fn heir(&self) -> Option<Arc<L>> {
        let mut origin = self.clone();
        loop {
            let living = origin.ledger().or_else(|| locked(&origin.lineage.successor()).upgrade());
            if living.is_some() {
                return living;
            }
            origin = origin.lineage.origin()?;
        }
    }
}
