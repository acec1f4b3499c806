//! `batchnorm train`: one network on one data set, into one file.

mod board;
mod file;
mod options;
mod report;
mod request;
mod run;
mod scores;
mod summary;

use batchnorm_lab::model::{Description, Model};
use batchnorm_lab::training::Training;

use crate::failure::{Failure, tell};
use crate::model_file;
use file::Store;
pub use options::Arguments;
use report::Report;
use request::Request;
pub use request::{data_of, plan_from, plan_on, same_data};
use run::Run;

/// Trains what is missing and prints how the network does.
///
/// # Errors
/// Bad arguments; data that cannot be read; a file of something else or of another training; a file that cannot be written; a loss that
/// is not finite; Ctrl-C.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let request = request::request(arguments)?;
    if arguments.outline {
        return summary::outline(arguments, &request);
    }
    let Request { data, plan, start, threads, save_every } = request;
    let store = Store::new(&arguments.output);
    if let Some(log) = &arguments.log
        && store.is_at(log)
    {
        return Err(Failure::usage("--log: expected another file than --output, got the same"));
    }
    if let Some(from) = &arguments.from
        && store.is_at(from)
    {
        return Err(Failure::usage("--output: expected another file than --from, which would be lost, got the same"));
    }
    let description = model_file::description(arguments.description.as_deref())?;
    let is_described = description.is_some();
    let earlier = if arguments.restart { None } else { store.load(description)? };
    if is_described && earlier.is_none() {
        return Err(Failure::usage(format!(
            "--description: expected a training in --output {} to go on from, found none; leave it out",
            arguments.output.display()
        )));
    }
    if let Some(earlier) = &earlier {
        store.expect_same(&earlier.description, &data.summary, &plan)?;
    }
    let done = earlier.as_ref().map_or(0, |earlier| earlier.description.steps_done);
    let planned = earlier.as_ref().map(|earlier| earlier.description.plan.steps);
    let mut run = match earlier {
        None => Run::new(data, plan, start),
        Some(earlier) => {
            let kept = earlier.network.clone();
            let (training, description) = resumed(earlier, &store)?;
            Run::resumed(data, plan, training, description, kept)
        }
    };
    if planned == Some(run.plan().steps) && run.is_over() {
        let (path, done) = (arguments.output.display(), run.done());
        match run.has_given_up() {
            false if run.plan().schedule.depends_on_steps() => tell(format_args!(
                "{path} has all {done} steps already and stays as it is; its learning rate fell for just these: --restart trains anew."
            )),
            false => tell(format_args!(
                "{path} has all {done} steps already and stays as it is; --steps trains it further, --restart anew."
            )),
            true => tell(format_args!(
                "{path} has ended by itself after {done} steps and stays as it is; more --patience is another training (--restart)."
            )),
        }
    } else {
        if !run.is_plain() {
            summary::announce(run.data(), run.plan(), threads);
        }
        // Before the long run. Nothing is replaced yet: what is there is worth more than a network just begun.
        store.expect_writable()?;
        let report = Report::new(arguments, done)?;
        // On a thread of the pool: from any other one, each operation that runs in parallel would be handed over.
        rayon::scope(|_| run.train(&store, save_every, report))?;
    }
    summary::print(arguments, &run)
}

/// The training in a file, with its description.
fn resumed(earlier: Model, store: &Store) -> Result<(Training, Description), Failure> {
    earlier.resumed().map_err(|error| {
        let path = store.path().display();
        Failure::input(format!("--output: {path}: {error} (--restart), or name another --output"))
    })
}
