//! Which layer was cloned from which, and who goes on for whom.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The identity of a layer, whose life is an `L`, by which its clones find it.
pub(crate) struct Lineage<L> {
    own: Weak<L>,
    family: Mutex<Family<L>>,
}

struct Family<L> {
    origin: Option<Origin<L>>,
    /// The clone that went on as a model of its own last. When this layer ends it goes on for it: an optimizer often steps
    /// on a clone, which then takes the model's place.
    heir: Option<(Weak<Lineage<L>>, Moment)>,
    /// Layers that have ended, and whose heir this one is.
    predecessors: Vec<Weak<Lineage<L>>>,
}

/// The layer that a clone was made from.
pub(crate) struct Origin<L> {
    lineage: Arc<Lineage<L>>,
    /// What it was when it was cloned.
    moment: Moment,
}

/// What a layer had seen when it was cloned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Its own steps.
    pub steps: u64,
    /// Batches that clones had given.
    pub given: u64,
}

impl<L> Clone for Origin<L> {
    fn clone(&self) -> Self {
        Origin { lineage: self.lineage.clone(), moment: self.moment }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked in this crate is changed by single assignments: a panic elsewhere leaves it right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L> Lineage<L> {
    pub fn new(own: Weak<L>, origin: Option<Origin<L>>) -> Arc<Lineage<L>> {
        Arc::new(Lineage { own, family: Mutex::new(Family { origin, heir: None, predecessors: Vec::new() }) })
    }

    /// This layer as the origin of a clone that is made now.
    pub fn as_origin(self: &Arc<Self>, moment: Moment) -> Origin<L> {
        // Layers that have ended and have no heir are skipped, so that clones of clones of clones make no chain.
        while let Some(origin) = self.origin() {
            if origin.lineage.own.strong_count() > 0 || origin.lineage.living_heir().is_some() {
                break;
            }
            locked(&self.family).origin = origin.lineage.origin();
        }
        Origin { lineage: self.clone(), moment }
    }

    pub fn origin(&self) -> Option<Origin<L>> {
        locked(&self.family).origin.clone()
    }

    fn living_heir(&self) -> Option<Arc<L>> {
        let heir = locked(&self.family).heir.as_ref().and_then(|(heir, _)| heir.upgrade())?;
        heir.own.upgrade()
    }

    /// Parts with the origin, to go on for it when it ends.
    pub fn leave_origin(self: &Arc<Self>) {
        let Some(origin) = locked(&self.family).origin.take() else { return };
        locked(&origin.lineage.family).heir = Some((Arc::downgrade(self), origin.moment));
        if origin.lineage.own.strong_count() == 0 {
            locked(&self.family).predecessors.push(Arc::downgrade(&origin.lineage));
        }
    }

    /// The layer ends after so many steps. Gives its heir, and what that has of it already: the clone that went on last, if it
    /// lives and the layer has made no step of its own since.
    pub fn end(self: &Arc<Self>, steps: u64) -> Option<(Arc<L>, Moment)> {
        let (heir, predecessors) = {
            let mut family = locked(&self.family);
            (family.heir.take(), std::mem::take(&mut family.predecessors))
        };
        let (heir, moment) = heir.filter(|(_, moment)| moment.steps == steps)?;
        let (lineage, weak) = (heir.upgrade()?, heir);
        let life = lineage.own.upgrade()?;
        // Whose heir this layer was, theirs is its heir now.
        let mut handed_over = vec![Arc::downgrade(self)];
        for predecessor in predecessors.iter().filter_map(Weak::upgrade) {
            let mut family = locked(&predecessor.family);
            if let Some((its_heir, _)) = &mut family.heir
                && std::ptr::eq(its_heir.as_ptr(), Arc::as_ptr(self))
            {
                *its_heir = weak.clone();
                handed_over.push(Arc::downgrade(&predecessor));
            }
        }
        {
            let mut family = locked(&self.family);
            (family.origin, family.heir) = (None, Some((weak, moment)));
        }
        locked(&lineage.family).predecessors.append(&mut handed_over);
        Some((life, moment))
    }
}

impl<L> Origin<L> {
    /// The layer that the clone's batches go to: the origin, the one that went on for it, or the one that it was cloned
    /// from itself.
    pub fn heir(&self) -> Option<Arc<L>> {
        let mut lineage = self.lineage.clone();
        loop {
            let living = lineage.own.upgrade().or_else(|| lineage.living_heir());
            if living.is_some() {
                return living;
            }
            lineage = lineage.origin()?.lineage;
        }
    }
}
