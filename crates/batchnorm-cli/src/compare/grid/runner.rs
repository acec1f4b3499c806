//! The cells of a grid are done, beside each other, and those that are there are taken as they are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchnorm_lab::grid::{Cell, Made};
use batchnorm_lab::machine::Machine;
use batchnorm_lab::trial::{self, Task};
use batchnorm_lab::words::count;

use super::asked::{Asked, DataSets};
use super::store::Store;
use crate::failure::Failure;
use crate::terminal::{Stop, progress_bar};

/// What does the cells of a grid, and has those that are there.
pub struct Runner<'r> {
    pub store: &'r Store,
    /// Cells at a time.
    pub workers: usize,
    /// What is there is done anew.
    pub restart: bool,
    pub stop: &'r Stop,
}

impl Runner<'_> {
    /// Those of the cells that need not be done.
    pub fn there(&self, asked: &[&Asked]) -> Result<BTreeMap<String, Cell>, Failure> {
        if self.restart { Ok(BTreeMap::new()) } else { self.store.load(asked) }
    }

    /// The cells that are asked for: those that are there, and those that are missing, which are done now.
    pub fn done(
        &self,
        asked: &[&Asked],
        there: BTreeMap<String, Cell>,
        open: &DataSets,
    ) -> Result<BTreeMap<String, Cell>, Failure> {
        let mut done = there;
        let mut missing: Vec<&Asked> = Vec::new();
        for asked in asked {
            if !done.contains_key(&asked.key) && !missing.iter().any(|other| other.key == asked.key) {
                missing.push(asked);
            }
        }
        if missing.is_empty() {
            return Ok(done);
        }
        self.run(&missing, open, &mut done)?;
        if asked.iter().all(|asked| done.contains_key(&asked.key)) {
            return Ok(done);
        }
        let again = if self.restart { "the same command without --restart" } else { "the same command" };
        Err(Failure::Interrupted(format!(
            "interrupted; {} of {} are in {}, {again} goes on from there",
            done.len(),
            count(asked.len(), "cell"),
            self.store.folder().display()
        )))
    }

    /// Cells run beside each other, each on a thread of its own: a cell's bits do not depend on what runs beside it, its seconds hardly.
    fn run(&self, missing: &[&Asked], open: &DataSets, done: &mut BTreeMap<String, Cell>) -> Result<(), Failure> {
        let bar = progress_bar(missing.iter().map(|asked| asked.plan.steps as u64).sum());
        let made =
            Made { version: env!("CARGO_PKG_VERSION").to_owned(), machine: Machine::here(), workers: self.workers };
        let (next, outcome) = (AtomicUsize::new(0), Mutex::new((done, None::<Failure>)));
        let work = || {
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let one = one.map_err(|error| Failure::usage(format!("--threads: {error}; ask for fewer")))?;
            while let Some(asked) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let task = Task {
                    plan: &asked.plan,
                    data: &open.data[asked.data],
                    looks: &asked.looks,
                    source: asked.source.as_ref().map(|(plan, place)| (plan, &open.data[*place])),
                };
                let mut before = 0;
                let performed = one.install(|| {
                    trial::perform(&task, &mut |progress| {
                        bar.inc((progress.step - before) as u64);
                        before = progress.step;
                        bar.set_message(format!(
                            "{}, seed {}: {:.1} %",
                            asked.arm,
                            asked.plan.seed,
                            100.0 * progress.accuracy
                        ));
                        if self.stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    })
                });
                match performed.map_err(|error| Failure::input(format!("--data: {error}")))? {
                    ControlFlow::Break(()) => return Ok(()),
                    ControlFlow::Continue(trial) => {
                        bar.inc((asked.plan.steps - before) as u64);
                        let cell = Cell { arm: asked.arm.clone(), seed: asked.plan.seed, trial, made: made.clone() };
                        self.store.save(asked, &cell)?;
                        outcome.lock().expect("no worker panics").0.insert(asked.key.clone(), cell);
                    }
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..self.workers.min(missing.len()) {
                scope.spawn(|| {
                    if let Err(failure) = work() {
                        outcome.lock().expect("no worker panics").1.get_or_insert(failure);
                    }
                });
            }
        });
        bar.finish_and_clear();
        let (_, failure) = outcome.into_inner().expect("no worker panics");
        failure.map_or(Ok(()), Err)
    }
}
