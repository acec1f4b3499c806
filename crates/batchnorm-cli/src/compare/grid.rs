//! `compare --preset` and `compare --vary`: a grid of trainings, each cell done once.

mod arms;
mod asked;
mod said;
mod store;
mod tuning;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchnorm_lab::grid::{Arm, Cell, Figures, Made, Study};
use batchnorm_lab::machine::Machine;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::trial::{self, Task};
use batchnorm_lab::words::count;

use super::options::Arguments;
use super::preset::{self, PRESETS};
use super::request::command;
use crate::failure::{Failure, tell};
use crate::terminal::{Stop, progress_bar};
use asked::{Asked, DataSets, Grid};
use store::Store;
use tuning::Search;

/// Does what is missing of the grid, and prints what it says.
///
/// # Errors
/// Bad arguments; data that cannot be read; a folder that cannot be written; Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let grid = Grid::asked(arguments)?;
    let (study, store) = study(&grid, command(), arguments.restart, &Stop::on_ctrl_c()?)?;
    if arguments.json { said::print_json(&study, &store) } else { said::print(&study, &store) }
}

/// Does what is missing of all presets; what cannot be had of one, its data for instance, is told, and the others go on.
///
/// # Errors
/// Bad arguments; Ctrl-C; at the end, if one could not be run.
pub fn run_all(arguments: &Arguments) -> Result<(), Failure> {
    asked::workers(arguments)?;
    let stop = Stop::on_ctrl_c()?;
    let mut failed = Vec::new();
    for (name, _) in PRESETS {
        let of_preset = Arguments { preset: Some((*name).to_owned()), ..arguments.clone() };
        tell(format_args!("{name}: {}", preset::question(name)));
        // (The command that runs this one again.)
        let command = format!("batchnorm compare --preset {name}{}", if arguments.quick { " --quick" } else { "" });
        match Grid::asked(&of_preset).and_then(|grid| study(&grid, command, arguments.restart, &stop)) {
            Ok((study, store)) => said::print_short(&study, &store)?,
            Err(Failure::Interrupted(text)) => return Err(Failure::Interrupted(format!("{name}: {text}"))),
            Err(failure) => {
                tell(format_args!("{name}: {failure}"));
                failed.push(*name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::input(format!("not run: {}; the reasons are above", failed.join(", ")))),
    }
}

/// The grid, with what was missing of it done, and its files written.
fn study(grid: &Grid, command: String, restart: bool, stop: &Stop) -> Result<(Study, Store), Failure> {
    let mut open = DataSets::default();
    let (mut tuning, mut sweeps) = (Vec::new(), Vec::new());
    // Before a folder is made, what is asked for is known to be in range.
    let tuned = grid.tuned()?;
    let untuned = if tuned.is_none() { Some(grid.cells(&mut open, &[])?) } else { None };
    if let Some((varied, arms)) = &tuned {
        for (arm, value) in arms.iter().flat_map(|arm| varied.values.iter().map(move |value| (arm, value))) {
            grid.tuning(&mut open, arm, varied, value)?;
        }
    }
    let store = Store::new(&grid.folder)?;
    if let Some((varied, arms)) = tuned {
        let mut searches: Vec<Search> = arms.iter().map(|arm| Search::new(arm, &varied)).collect();
        loop {
            let mut asked: Vec<(usize, String, Asked)> = Vec::new();
            for (number, search) in searches.iter_mut().enumerate() {
                for value in search.next() {
                    let cell = grid.tuning(&mut open, &search.arm, &varied, &value)?;
                    asked.push((number, value, cell));
                }
            }
            if asked.is_empty() {
                break;
            }
            let all: Vec<&Asked> = asked.iter().map(|(_, _, cell)| cell).collect();
            let done = done(&all, &open, grid.workers, &store, restart, stop)?;
            for (number, value, cell) in &asked {
                searches[*number].judge(value, done[&cell.key].trial.accuracy);
                tuning.push(done[&cell.key].clone());
            }
        }
        sweeps = searches.into_iter().map(|search| search.sweep(&varied)).collect();
    }
    let asked = match untuned {
        Some(asked) => asked,
        None => grid.cells(&mut open, &sweeps)?,
    };
    let all: Vec<&Asked> = asked.iter().collect();
    let before = if restart { 0 } else { store.load(&all)?.len() };
    let done = done(&all, &open, grid.workers, &store, restart, stop)?;
    if before == all.len() {
        let (cells, folder) = (count(all.len(), "cell"), store.folder().display());
        tell(format_args!("All {cells} are in {folder} already; --restart runs them anew."));
    }
    let question = grid.question(&open, &asked);
    // (Arms that ask for the same training share it; each cell has the names of its own.)
    let named = |asked: &Asked| Cell { arm: asked.arm.clone(), seed: asked.plan.seed, ..done[&asked.key].clone() };
    let cells: Vec<Cell> = asked.iter().map(named).collect();
    let seconds = |cell: &Cell| cell.trial.wall_seconds;
    let plan = |arm: &Arm| {
        asked.iter().find(|asked| asked.arm == arm.name).map(|asked| (arm.name.clone(), asked.plan.clone()))
    };
    let plans: Vec<(String, Plan)> = question.arms.iter().filter_map(plan).collect();
    let all_cells = || tuning.iter().chain(&cells);
    let study = Study {
        figures: Figures::of(&question, &cells),
        command,
        flags: grid.form.flags.to_vec(),
        source: grid.form.source.to_vec(),
        data: open.words(&asked),
        unasked: grid.unasked(&plans),
        plans,
        sweeps,
        seconds: all_cells().map(seconds).sum(),
        elapsed: all_cells().map(|cell| seconds(cell) / cell.made.workers as f64).sum(),
        question,
        cells,
    };
    store.summarize(&study)?;
    Ok((study, store))
}

/// The cells that are asked for: those that were done, and those that are missing, which are done now.
fn done(
    asked: &[&Asked],
    open: &DataSets,
    workers: usize,
    store: &Store,
    restart: bool,
    stop: &Stop,
) -> Result<BTreeMap<String, Cell>, Failure> {
    let mut done = if restart { BTreeMap::new() } else { store.load(asked)? };
    let mut missing: Vec<&Asked> = Vec::new();
    for asked in asked {
        if !done.contains_key(&asked.key) && !missing.iter().any(|other| other.key == asked.key) {
            missing.push(asked);
        }
    }
    if missing.is_empty() {
        return Ok(done);
    }
    run_missing(&missing, open, workers, store, stop, &mut done)?;
    let again = if restart { "the same command without --restart" } else { "the same command" };
    if asked.iter().all(|asked| done.contains_key(&asked.key)) {
        return Ok(done);
    }
    Err(Failure::Interrupted(format!(
        "interrupted; {} of {} are in {}, {again} goes on from there",
        done.len(),
        count(asked.len(), "cell"),
        store.folder().display()
    )))
}

/// Cells run beside each other, each on a thread of its own: a cell's bits do not depend on what runs beside it, its seconds hardly.
fn run_missing(
    missing: &[&Asked],
    open: &DataSets,
    workers: usize,
    store: &Store,
    stop: &Stop,
    done: &mut BTreeMap<String, Cell>,
) -> Result<(), Failure> {
    let bar = progress_bar(missing.iter().map(|asked| asked.plan.steps as u64).sum());
    let made = Made { version: env!("CARGO_PKG_VERSION").to_owned(), machine: Machine::here(), workers };
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
                    if stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            });
            match performed.map_err(|error| Failure::input(format!("--data: {error}")))? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(trial) => {
                    bar.inc((asked.plan.steps - before) as u64);
                    let cell = Cell { arm: asked.arm.clone(), seed: asked.plan.seed, trial, made: made.clone() };
                    store.save(asked, &cell)?;
                    outcome.lock().expect("no worker panics").0.insert(asked.key.clone(), cell);
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(missing.len()) {
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
