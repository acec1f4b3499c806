//! `compare --preset` and `compare --vary`: a grid of trainings, each cell done once.

mod arms;
mod asked;
mod runner;
mod said;
mod store;
mod tuning;

use batchnorm_lab::grid::{Arm, Cell, Figures, Study};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::words::count;

use super::options::Arguments;
use super::preset::{self, PRESETS};
use super::request::command;
use crate::failure::{Failure, tell};
use crate::terminal::Stop;
use asked::{Asked, DataSets, Grid};
use runner::Runner;
use store::Store;
use tuning::Tuning;

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
    // Before a folder is made, what is asked for is known to be in range.
    let tuning = Tuning::of(grid, &mut open)?;
    let untuned = if tuning.is_none() { Some(grid.cells(&mut open, &[])?) } else { None };
    let store = Store::new(&grid.folder)?;
    let runner = Runner { store: &store, workers: grid.workers, restart, stop };
    let (tuning, sweeps) = tuning.map_or(Ok(Default::default()), |tuning| tuning.choose(grid, &mut open, &runner))?;
    let asked = match untuned {
        Some(asked) => asked,
        None => grid.cells(&mut open, &sweeps)?,
    };
    let all: Vec<&Asked> = asked.iter().collect();
    let there = runner.there(&all)?;
    if there.len() == all.len() {
        let (cells, folder) = (count(all.len(), "cell"), store.folder().display());
        tell(format_args!("All {cells} are in {folder} already; --restart runs them anew."));
    }
    let done = runner.done(&all, there, &open)?;
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
