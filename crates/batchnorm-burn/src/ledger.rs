//! What becomes of the batches that a layer has seen: in its own running statistics, and in those of the layer that it was
//! cloned from.
//!
//! Training on several devices clones a model for each of them, lets the clones see a batch each, and drops them: only
//! their gradients go on. Their statistics are to go on too. So a clone that is dropped gives its origin the moments of
//! the batches that it has seen, unless it has gone on as a model of its own. What an origin is given between two steps
//! of its own is one batch, pooled in an order that does not depend on that of arrival.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;

use crate::error::Reason;
use crate::lineage::{Lineage, Moment, Origin, locked};
use crate::running::{Cell, Locked, values, vector};

/// The way in which a batch is taken into the vectors of running statistics, of which a layer has two or more.
pub(crate) trait Rule: Clone + Send + Sync + 'static {
    /// Statistics of a batch.
    type Batch: Clone + Send + 'static;
    /// What observes batches instead of their being taken in.
    type Observation: Clone + Send + 'static;

    /// Two parts of a batch together; `None` if they do not fit.
    fn merge(one: &Self::Batch, other: &Self::Batch) -> Option<Self::Batch>;

    /// An order of batches by their numbers.
    fn order(one: &Self::Batch, other: &Self::Batch) -> Ordering;

    /// The running statistics with a batch taken in, and the channels or groups that were not updated.
    fn take_in(&self, running: &[Vec<f64>], batch: &Self::Batch) -> Result<(Vec<Vec<f32>>, Vec<usize>), Reason>;

    /// Observes a batch; gives the channels that are left out of it.
    fn observe(observation: &mut Self::Observation, batch: &Self::Batch) -> Result<Vec<usize>, Reason>;
}

/// A batch that a layer has seen, or several as one.
#[derive(Clone)]
pub(crate) struct Seen<R: Rule> {
    pub rule: R,
    pub batch: R::Batch,
    /// Of a batch over several participants, all of which take it in, this one's part.
    pub part: Option<R::Batch>,
}

/// [`Seen`], of a pass that keeps it: most batches are taken in at once, and nothing of them need be copied.
pub(crate) struct Now<'s, R: Rule> {
    pub rule: &'s R,
    pub batch: &'s R::Batch,
    pub part: Option<&'s R::Batch>,
}

impl<R: Rule> Clone for Now<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Rule> Copy for Now<'_, R> {}

impl<R: Rule> Now<'_, R> {
    fn kept(self) -> Seen<R> {
        Seen { rule: self.rule.clone(), batch: self.batch.clone(), part: self.part.cloned() }
    }

    /// What the layer that took it in owes to its origin: of a batch over several participants its part.
    fn owed(self) -> Seen<R> {
        Now { batch: self.part.unwrap_or(self.batch), ..self }.kept()
    }
}

impl<R: Rule> Seen<R> {
    fn now(&self) -> Now<'_, R> {
        Now { rule: &self.rule, batch: &self.batch, part: self.part.as_ref() }
    }

    /// Both as one batch. Batches that do not fit together (no clone has such) are not merged: the first one counts.
    fn with(self, other: &Seen<R>) -> Seen<R> {
        let batch = R::merge(&self.batch, &other.batch).unwrap_or(self.batch);
        Seen { batch, part: self.part.or_else(|| other.part.clone()), rule: self.rule }
    }

    /// Batches of clones as one: in an order of their own, so that the order of arrival does not matter.
    fn pooled(mut sorted: Vec<&Seen<R>>) -> Option<Seen<R>> {
        sorted.sort_by(|one, other| R::order(&one.batch, &other.batch));
        let (first, others) = sorted.split_first()?;
        Some(others.iter().fold((*first).clone(), |pooled, part| pooled.with(part)))
    }
}

/// A layer's decision on its batches.
#[derive(Clone, Default)]
pub(crate) enum Fate<R: Rule> {
    /// Each is taken into the running statistics at once.
    #[default]
    AtOnce,
    /// They are held until somebody decides; of those of a clone, the first ones are copies of its origin's.
    Holding {
        held: Vec<Seen<R>>,
        copies: usize,
        /// Whether it was the origin that began to hold, and so decides.
        origin_decides: bool,
    },
    /// They are observed instead.
    Observing(R::Observation),
}

/// The batches of a layer; see the [file](self).
pub(crate) struct Ledger<R: Rule> {
    lineage: Arc<Lineage<Life<R>>>,
    state: Mutex<State<R>>,
}

/// The life of a layer, which ends with it, though others may know its ledger. What the layer owes is given then.
pub(crate) struct Life<R: Rule>(Arc<Ledger<R>>);

struct State<R: Rule> {
    fate: Fate<R>,
    /// The running statistics, known from the first pass or clone on.
    cells: Option<Vec<Cell>>,
    /// The batches that the layer owes to its origin, as one.
    owed: Option<Seen<R>>,
    /// What clones have given since the last step, each with its number.
    given: Vec<(u64, Seen<R>)>,
    /// The running statistics before and with `given`.
    around_given: Option<[Vec<Vec<f64>>; 2]>,
    /// How often the layer has made a step, and clones have given something.
    moment: Moment,
    /// Whether the layer itself has taken in a batch over several participants.
    participates: bool,
}

impl<R: Rule> Life<R> {
    /// The life of a layer that is nobody's clone.
    pub fn new(fate: Fate<R>) -> Arc<Life<R>> {
        Self::from_origin(fate, None)
    }

    fn from_origin(fate: Fate<R>, origin: Option<Origin<Life<R>>>) -> Arc<Life<R>> {
        Arc::new_cyclic(|life| {
            let (cells, owed, given, around_given) = (None, None, Vec::new(), None);
            let moment = Moment { steps: 0, given: 0 };
            let state = State { fate, cells, owed, given, around_given, moment, participates: false };
            Life(Arc::new(Ledger { lineage: Lineage::new(life.clone(), origin), state: Mutex::new(state) }))
        })
    }

    pub fn ledger(&self) -> &Arc<Ledger<R>> {
        &self.0
    }
}

impl<R: Rule> Ledger<R> {
    /// The life of a clone of the layer, and its running statistics: those of the layer, which are in `cells`, as one of
    /// its steps has left both of them.
    pub fn cloned(&self, cells: Vec<Cell>) -> (Arc<Life<R>>, Vec<Tensor<1>>) {
        let mut state = locked(&self.state);
        let values = all(&cells);
        state.cells = Some(cells);
        let (fate, moment) = (state.fate_of_copy(true), state.moment);
        drop(state);
        (Life::from_origin(fate, Some(self.lineage.as_origin(moment))), values)
    }

    /// The same of a copy that is a model of its own.
    pub fn copied(&self, cells: Vec<Cell>) -> (Arc<Life<R>>, Vec<Tensor<1>>) {
        let state = locked(&self.state);
        let values = all(&cells);
        (Life::from_origin(state.fate_of_copy(false), None), values)
    }

    /// Asks, or changes, what happens to the layer's batches; those that clones have given are among them.
    pub fn fate<T>(&self, ask: impl FnOnce(&mut Fate<R>) -> T) -> T {
        let owes = self.owes();
        let mut state = locked(&self.state);
        state.keep_given();
        let before = std::mem::discriminant(&state.fate);
        let answer = ask(&mut state.fate);
        if std::mem::discriminant(&state.fate) != before {
            // What comes from here on has another fate than what is in the running statistics already.
            state.end_given(owes);
        }
        answer
    }

    /// Asks what happens to the layer's batches, and how many more there are by what clones have given, which is no
    /// step of the layer.
    pub fn look<T>(&self, ask: impl FnOnce(&Fate<R>, usize) -> T) -> T {
        let state = locked(&self.state);
        ask(&state.fate, usize::from(!state.given.is_empty()))
    }

    /// The batches that are held, with what clones have given.
    pub fn held(&self) -> Vec<R::Batch> {
        let state = locked(&self.state);
        match &state.fate {
            Fate::Holding { held, .. } => held.iter().cloned().chain(state.pooled()).map(|seen| seen.batch).collect(),
            _ => Vec::new(),
        }
    }

    /// Takes in the batches that are held, by a rule, and goes on holding.
    pub fn commit_held(&self, cells: Vec<Cell>, rule: &R) -> Result<Vec<usize>, Reason> {
        let owes = self.owes();
        let mut state = locked(&self.state);
        state.step(cells, owes);
        let Fate::Holding { held, copies, .. } = &mut state.fate else { return Ok(Vec::new()) };
        let (held, copies) = (std::mem::take(held), std::mem::take(copies));
        let mut not_updated = Vec::new();
        for (number, seen) in held.into_iter().enumerate() {
            // The origin of a clone has the copies itself.
            not_updated.extend(state.take_in(Now { rule, ..seen.now() }, owes && number >= copies)?);
        }
        not_updated.sort_unstable();
        not_updated.dedup();
        Ok(not_updated)
    }

    /// Statistics of a training pass, of a layer with its running statistics in `cells`: taken into these, held or
    /// observed. Gives the channels or groups that were not updated.
    pub fn train(&self, cells: Vec<Cell>, seen: Now<R>) -> Result<Vec<usize>, Reason> {
        let owes = self.owes();
        let mut state = locked(&self.state);
        if seen.part.is_some() {
            // The batch has the parts of all participants in it, of clones too.
            state.participates = true;
            state.withdraw_parts();
        }
        state.step(cells, owes);
        match &mut state.fate {
            Fate::AtOnce => state.take_in(seen, owes),
            Fate::Holding { held, .. } => {
                held.push(seen.kept());
                Ok(Vec::new())
            }
            Fate::Observing(observation) => {
                let left_out = R::observe(observation, seen.batch)?;
                if owes {
                    state.owe(seen.owed());
                }
                Ok(left_out)
            }
        }
    }

    /// Takes a batch in, whatever happens to others.
    pub fn commit(&self, cells: Vec<Cell>, seen: Now<R>) -> Result<Vec<usize>, Reason> {
        let owes = self.owes();
        let mut state = locked(&self.state);
        state.step(cells, owes);
        state.take_in(seen, owes)
    }

    /// Ends the batch of what clones have given: the layer is told other statistics.
    pub fn end_given(&self) {
        let owes = self.owes();
        let mut state = locked(&self.state);
        state.keep_given();
        state.end_given(owes);
    }

    /// The layer goes on as a model of its own (an optimizer steps on it, a record is loaded, it is quantised): it owes
    /// nothing from here on, and will go on for its origin.
    pub fn go_on(&self, cells: Vec<Cell>) {
        {
            let mut state = locked(&self.state);
            state.keep_given();
            state.forget_given();
            state.cells = Some(cells);
            state.owed = None;
            if let Fate::Holding { origin_decides, .. } = &mut state.fate {
                *origin_decides = false;
            }
        }
        self.lineage.leave_origin();
    }

    /// Whether there is anybody to owe batches to.
    fn owes(&self) -> bool {
        self.lineage.origin().is_some_and(|origin| origin.heir().is_some())
    }

    fn receive(&self, given: Vec<Seen<R>>) {
        let mut state = locked(&self.state);
        let new = state.given.len();
        for seen in given {
            // A participant has taken in the whole batch already.
            if state.participates && seen.part.is_some() {
                continue;
            }
            match &mut state.fate {
                // What cannot be observed is left out, as it would be in a training pass; there is nobody to tell.
                Fate::Observing(observation) => drop(R::observe(observation, &seen.batch)),
                _ => {
                    let number = state.moment.given;
                    state.given.push((number, seen));
                }
            }
            state.moment.given += 1;
        }
        if state.given.len() > new {
            state.show_given(new);
        }
        if state.given.len() > KEPT_APART {
            let number = state.moment.given - 1;
            state.given = state.pooled().into_iter().map(|pooled| (number, pooled)).collect();
        }
    }

    /// The layer has ended. What its heir does not have, that gets; what a clone owes that has none, goes to its origin. What
    /// others have given goes on as it came, so that the pool is the same whatever clones stood between.
    fn end(&self) {
        let mut state = locked(&self.state);
        let origin = self.lineage.origin();
        let mut rest: Vec<Seen<R>> = Vec::new();
        let given = std::mem::take(&mut state.given);
        let receiver = match self.lineage.end(state.moment.steps) {
            Some((heir, moment)) => {
                rest.extend(given.into_iter().filter(|(number, _)| *number >= moment.given).map(|(_, seen)| seen));
                Some(heir)
            }
            None => {
                rest.extend(given.into_iter().map(|(_, seen)| seen));
                rest.extend(state.owed.take());
                if let Fate::Holding { held, copies, origin_decides: true } = &mut state.fate {
                    rest.extend(held.drain(..).skip(*copies).map(|seen| seen.now().owed()));
                }
                origin.and_then(|origin| origin.heir())
            }
        };
        drop(state);
        if let Some(receiver) = receiver.filter(|_| !rest.is_empty()) {
            receiver.ledger().receive(rest);
        }
    }
}

/// The running statistics, as they are at one time.
fn all(cells: &[Cell]) -> Vec<Tensor<1>> {
    locked_all(cells).iter().map(|vector| (**vector).clone()).collect()
}

/// All vectors held, so that no reader sees an old one and a new one.
fn locked_all(cells: &[Cell]) -> Vec<Locked<'_>> {
    cells.iter().map(Cell::lock).collect()
}

/// The numbers in all of them.
fn all_values(vectors: &[Locked]) -> Vec<Vec<f64>> {
    vectors.iter().map(|vector| values(vector)).collect()
}

/// Writes all of them.
fn write(vectors: &mut [Locked], new: Vec<Vec<f32>>) {
    for (old, new) in vectors.iter_mut().zip(new) {
        **old = vector(new, &old.device());
    }
}

/// More batches than these are pooled before the others of the step have come.
const KEPT_APART: usize = 256;

impl<R: Rule> State<R> {
    fn fate_of_copy(&self, origin_decides: bool) -> Fate<R> {
        match &self.fate {
            Fate::Holding { held, .. } => {
                let held: Vec<_> = held.iter().cloned().chain(self.pooled()).collect();
                Fate::Holding { copies: held.len(), held, origin_decides }
            }
            other => other.clone(),
        }
    }

    /// A step of the layer itself: what clones have given before it is one batch of its own.
    fn step(&mut self, cells: Vec<Cell>, owes: bool) {
        self.keep_given();
        self.end_given(owes);
        self.cells = Some(cells);
        self.moment.steps += 1;
    }

    /// What clones have given so far is a batch, and what they give later another one.
    fn end_given(&mut self, owes: bool) {
        if owes && let Some(pooled) = self.pooled() {
            self.owe(pooled);
        }
        self.forget_given();
    }

    fn forget_given(&mut self) {
        (self.given, self.around_given) = (Vec::new(), None);
    }

    /// What clones have given since the last step, as one batch.
    fn pooled(&self) -> Option<Seen<R>> {
        Seen::pooled(self.given.iter().map(|(_, seen)| seen).collect())
    }

    fn owe(&mut self, seen: Seen<R>) {
        self.owed = Some(match self.owed.take() {
            Some(owed) => owed.with(&seen),
            None => seen,
        });
    }

    /// Takes a batch into the running statistics.
    fn take_in(&mut self, seen: Now<R>, owes: bool) -> Result<Vec<usize>, Reason> {
        let Some(cells) = &self.cells else { return Ok(Vec::new()) };
        let mut vectors = locked_all(cells);
        let (new, not_updated) = seen.rule.take_in(&all_values(&vectors), seen.batch)?;
        write(&mut vectors, new);
        drop(vectors);
        if owes {
            self.owe(seen.owed());
        }
        Ok(not_updated)
    }

    /// Where batches are kept, what clones have given is kept as one of them.
    fn keep_given(&mut self) {
        if matches!(self.fate, Fate::AtOnce) {
            return;
        }
        let Some(pooled) = self.pooled() else { return };
        match &mut self.fate {
            Fate::Holding { held, .. } => held.push(pooled),
            // (An observation has it already.)
            Fate::AtOnce | Fate::Observing(_) => {}
        }
        self.forget_given();
    }

    /// Takes the parts of clones out of what was given.
    fn withdraw_parts(&mut self) {
        let others: Vec<(u64, Seen<R>)> = self.given.iter().filter(|(_, seen)| seen.part.is_none()).cloned().collect();
        if others.len() == self.given.len() {
            return;
        }
        if let (Some(cells), Some([before, after])) = (&self.cells, self.around_given.take()) {
            let mut vectors = locked_all(cells);
            if all_values(&vectors) == after {
                let narrowed = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
                write(&mut vectors, before.into_iter().map(narrowed).collect());
            }
        }
        self.given = others;
        self.show_given(0);
    }

    /// Shows in the running statistics what clones have given; those from `new` on are not in them.
    fn show_given(&mut self, new: usize) {
        let Some(cells) = self.cells.clone().filter(|_| matches!(self.fate, Fate::AtOnce)) else { return };
        let mut vectors = locked_all(&cells);
        let now = all_values(&vectors);
        let before = match self.around_given.take() {
            Some([before, after]) if after == now => before,
            // Somebody has told the layer other statistics since: the batches before are not in them.
            Some(_) => {
                self.given = self.given.split_off(new);
                now
            }
            None => now,
        };
        let Some(pooled) = self.pooled() else { return };
        // A batch that cannot be taken in stays out, as it would in a training pass; there is nobody to tell.
        let Ok((new, _)) = pooled.rule.take_in(&before, &pooled.batch) else { return };
        let after = new.iter().map(|values| values.iter().copied().map(f64::from).collect()).collect();
        write(&mut vectors, new);
        self.around_given = Some([before, after]);
    }
}

impl<R: Rule> Drop for Life<R> {
    fn drop(&mut self) {
        // A step that panicked is none to learn from.
        if !std::thread::panicking() {
            self.0.end();
        }
    }
}

impl<R: Rule> fmt::Debug for Ledger<R> {
    /// What happens to batches, and how many are held: the batches themselves are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &locked(&self.state).fate {
            Fate::AtOnce => f.write_str("AtOnce"),
            Fate::Holding { held, .. } => write!(f, "Holding({})", held.len()),
            Fate::Observing(_) => f.write_str("Observing"),
        }
    }
}

impl<R: Rule> fmt::Debug for Life<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
