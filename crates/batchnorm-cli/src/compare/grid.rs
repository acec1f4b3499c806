//! `compare --vary`: a grid of trainings, each cell done once.

mod asked;
mod said;
mod store;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchnorm_lab::grid::{Cell, Figures};
use batchnorm_lab::trial;

use super::options::Arguments;
use crate::failure::{Failure, tell};
use crate::terminal::{Stop, progress_bar};
use asked::{Asked, Grid};
use store::Store;

/// Does what is missing of the grid, and prints what it says.
///
/// # Errors
/// Bad arguments; data that cannot be read; a folder that cannot be written; Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let grid = Grid::asked(arguments)?;
    let store = Store::new(&arguments.output_dir)?;
    let mut done = if arguments.restart { BTreeMap::new() } else { store.load(&grid)? };
    let missing: Vec<&Asked> = grid.cells.iter().filter(|asked| !done.contains_key(&asked.key)).collect();
    if missing.is_empty() {
        tell(format_args!(
            "All {} cells are in {} already; --restart runs them anew.",
            grid.cells.len(),
            store.folder().display()
        ));
    } else {
        run_missing(&grid, &missing, &store, &mut done)?;
    }
    let cells: Vec<Cell> = grid.cells.iter().filter_map(|asked| done.get(&asked.key).cloned()).collect();
    let figures = Figures::of(&grid.arms, &cells, grid.target, grid.resolution());
    store.summarize(&grid, &cells, &figures)?;
    if arguments.json { said::print_json(&grid, &figures, &store) } else { said::print(&grid, &figures, &store) }
}

/// Cells run beside each other, each on a thread of its own: a cell's bits do not depend on what runs beside it, its seconds hardly.
fn run_missing(
    grid: &Grid,
    missing: &[&Asked],
    store: &Store,
    done: &mut BTreeMap<String, Cell>,
) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c()?;
    let bar = progress_bar(missing.iter().map(|asked| asked.plan.steps as u64).sum());
    let (next, outcome) = (AtomicUsize::new(0), Mutex::new((done, None::<Failure>)));
    let work = || {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let one = one.map_err(|error| Failure::usage(format!("--threads: {error}; ask for fewer")))?;
        while let Some(asked) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut before = 0;
            let performed = one.install(|| {
                trial::perform(&asked.plan, &grid.data[asked.data], &mut |progress| {
                    bar.inc((progress.step - before) as u64);
                    before = progress.step;
                    bar.set_message(format!(
                        "{}, seed {}: {:.1} %",
                        asked.arm,
                        asked.plan.seed,
                        100.0 * progress.accuracy
                    ));
                    if stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            });
            match performed.map_err(|error| Failure::input(format!("--data: {error}")))? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(trial) => {
                    bar.inc((asked.plan.steps - before) as u64);
                    let cell = Cell { arm: asked.arm.clone(), seed: asked.plan.seed, trial };
                    store.save(asked, &cell)?;
                    outcome.lock().expect("no worker panics").0.insert(asked.key.clone(), cell);
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..grid.workers.min(missing.len()) {
            scope.spawn(|| {
                if let Err(failure) = work() {
                    outcome.lock().expect("no worker panics").1.get_or_insert(failure);
                }
            });
        }
    });
    bar.finish_and_clear();
    let (done, failure) = outcome.into_inner().expect("no worker panics");
    match failure {
        Some(failure) => Err(failure),
        None if stop.asked() => Err(Failure::Interrupted(format!(
            "interrupted; {} of {} cells are in {}, the same command goes on from there",
            done.len(),
            grid.cells.len(),
            store.folder().display()
        ))),
        None => Ok(()),
    }
}
