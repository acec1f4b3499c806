//! `batchnorm compare`: the same network with and without batch norm on real digits.

mod request;
mod store;
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;

use batchnorm_lab::comparison::{Comparison, Settings};
use batchnorm_lab::digits::Digits;

use crate::failure::{Failure, tell};
use crate::flags;
use crate::terminal::{Stop, progress_bar, use_threads};
use store::Store;

/// Train the same network with and without batch norm on real digits, and compare.
///
/// A sigmoid network of 64-100-100-100-10 learns 1,437 images of handwritten digits by plain gradient descent, once
/// for each arm and seed; the arms of one seed start from the same weights and see the same batches. Accuracy is that
/// on 360 other images, always by running statistics. Finished runs are kept in compare.json: the same command goes
/// on where it was stopped. Beside it is report.html: what was found, curves, gradients and digits, in one page that
/// needs no network.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many seeds, 1 to N; or a list, such as 3,17,42.
    #[arg(long, value_name = "N", default_value_t = request::seeds_by_default(), allow_negative_numbers = true)]
    seeds: String,

    /// Steps of each run.
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps.to_string(), allow_negative_numbers = true)]
    steps: String,

    /// Accuracy to reach, a share of the test images.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().target_accuracy.to_string(), allow_negative_numbers = true)]
    target: String,

    /// One learning rate for both arms. Without it: the rate tuned for the network without batch norm, in both arms,
    /// and the one tuned for batch norm.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<String>,

    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = Settings::default().batch_size.to_string(), allow_negative_numbers = true)]
    batch_size: String,

    /// Steps between two evaluations: how finely "steps to the target" are known.
    #[arg(long, value_name = "N", default_value_t = Settings::default().evaluate_every.to_string(), allow_negative_numbers = true)]
    evaluate_every: String,

    /// Threads. (The kernels of a network this small use one; no result depends on it.)
    #[arg(long, value_name = "N", default_value_t = Settings::default().threads.to_string(), allow_negative_numbers = true)]
    threads: String,

    /// Folder for compare.json and report.html; created.
    #[arg(long, value_name = "DIR", default_value = "batchnorm-compare")]
    output_dir: PathBuf,

    /// Drop the runs that compare.json holds and start anew.
    #[arg(long)]
    restart: bool,

    /// Print the summary as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs what is missing of the comparison and prints what it says.
///
/// # Errors
/// Bad arguments; a compare.json of something else; a folder that cannot be written; Ctrl-C.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = request::settings(&arguments)?;
    let threads = settings.threads;
    let mut comparison = Comparison::new(settings, command()).map_err(flags::failure)?;
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

/// The command line, for the record.
fn command() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
