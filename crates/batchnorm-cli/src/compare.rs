//! `batchnorm compare`: the same network with and without batch norm on real digits.

mod grid;
mod options;
mod preset;
mod request;
mod store;
mod table;
mod words;

use std::ops::ControlFlow;

use batchnorm_lab::comparison::Comparison;
use batchnorm_lab::digits::Digits;

use crate::failure::{Failure, tell};
use crate::flags;
use crate::terminal::{Stop, progress_bar, use_threads};
pub use options::Arguments;
use store::Store;

/// Runs what is missing of the comparison and prints what it says.
///
/// # Errors
/// Bad arguments; a compare.json of something else; a folder that cannot be written; Ctrl-C.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.all {
        return grid::run_all(&arguments);
    }
    if arguments.preset.is_some() || !arguments.vary.is_empty() {
        return grid::run(&arguments);
    }
    request::refuse_flags_of_grids(&arguments)?;
    let settings = request::settings(&arguments)?;
    let threads = settings.threads;
    let mut comparison = Comparison::new(settings, request::command()).map_err(flags::failure)?;
    let mut store = Store::new(&arguments.output_dir);
    if !arguments.restart
        && let Some(earlier) = store.load()?
    {
        comparison.resume(earlier).map_err(|differences| store.refusal(&differences))?;
    }
    // Before the long run: a folder that cannot be written shows now.
    store.save(&comparison)?;
    use_threads(threads)?;

    if comparison.complete {
        tell(format_args!("All runs are in {} already; --restart runs them anew.", store.path().display()));
    } else {
        run_missing(&mut comparison, &mut store)?;
    }
    if arguments.json { table::print_json(&comparison, &store) } else { table::print(&comparison, &store) }
}

fn run_missing(comparison: &mut Comparison, store: &mut Store) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c()?;
    let digits = Digits::embedded();
    let (tasks, steps) = (comparison.missing(), comparison.settings.steps as u64);
    let bar = progress_bar(tasks.len() as u64 * steps);
    comparison.warm_up(&digits);
    for (index, task) in tasks.iter().enumerate() {
        let name = format!("seed {}, {}", task.seed, task.arm.name);
        let outcome = comparison.perform(task, &digits, &mut |progress| {
            bar.set_position(index as u64 * steps + progress.step as u64);
            bar.set_message(format!("{name}: {:.1} %", 100.0 * progress.accuracy));
            if stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let ControlFlow::Continue(run) = outcome else {
            bar.finish_and_clear();
            let (done, all) = (comparison.runs.len(), comparison.runs.len() + tasks.len() - index);
            return Err(Failure::Interrupted(format!(
                "interrupted; {done} of {all} runs are in {}, the same command goes on from there",
                store.path().display()
            )));
        };
        comparison.record(run);
        store.save(comparison)?;
    }
    bar.finish_and_clear();
    Ok(())
}
