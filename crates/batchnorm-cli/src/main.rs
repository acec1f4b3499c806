//! The program `batchnorm`: arguments in, files and tables out. One file for each command.

mod apply;
mod arrays;
mod bench;
#[cfg(feature = "train")]
mod compare;
#[cfg(feature = "train")]
mod data_set;
#[cfg(feature = "model")]
mod engine;
mod explain;
#[cfg(feature = "train")]
mod export;
mod failure;
#[cfg(feature = "model")]
mod fits;
#[cfg(feature = "train")]
mod flags;
#[cfg(feature = "model")]
mod fold;
mod gradcheck;
#[cfg(feature = "model")]
mod inspect;
mod layer_name;
#[cfg(feature = "model")]
mod model_data;
#[cfg(feature = "train")]
mod model_file;
#[cfg(feature = "model")]
mod model_process;
#[cfg(feature = "model")]
mod pictures;
#[cfg(feature = "train")]
mod predict;
#[cfg(feature = "model")]
mod recalibrate;
mod renorm;
mod terminal;
mod text;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "model")]
mod unfinished;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Fresh outputs of 100 MB cost more in page faults than in arithmetic; this allocator keeps its pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batch normalisation, exact and reproducible.
#[derive(Parser)]
#[command(name = "batchnorm", version, after_help = failure::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// Each says what it does where its flags are: a comment here would hide all but the first line of that.
#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "train")]
    Compare(compare::Arguments),
    #[cfg(feature = "train")]
    Train(Box<train::Arguments>),
    #[cfg(feature = "train")]
    Predict(predict::Arguments),
    #[cfg(feature = "train")]
    Export(export::Arguments),
    Apply(apply::Arguments),
    #[cfg(feature = "model")]
    Fold(fold::Arguments),
    #[cfg(feature = "model")]
    Inspect(Box<inspect::Arguments>),
    #[cfg(feature = "model")]
    Recalibrate(Box<recalibrate::Arguments>),
    // What this program starts to run a stranger's model; not for people.
    #[cfg(feature = "model")]
    #[command(name = model_process::RUN_MODEL, hide = true)]
    RunModel,
    Gradcheck(gradcheck::Arguments),
    Bench(bench::Arguments),
    Explain(explain::Arguments),
}

fn main() -> ExitCode {
    let given = Arguments::command().get_matches();
    let Arguments { command } = Arguments::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    let outcome = match command {
        #[cfg(feature = "train")]
        Command::Compare(arguments) => compare::run(arguments),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(&arguments),
        #[cfg(feature = "train")]
        Command::Predict(arguments) => predict::run(arguments),
        #[cfg(feature = "train")]
        Command::Export(arguments) => export::run(&arguments),
        Command::Apply(arguments) => apply::run(arguments),
        #[cfg(feature = "model")]
        Command::Fold(arguments) => fold::run(&arguments),
        #[cfg(feature = "model")]
        Command::Inspect(arguments) => inspect::run(&arguments, model_data::flags_given(&given)),
        #[cfg(feature = "model")]
        Command::Recalibrate(arguments) => recalibrate::run(&arguments),
        #[cfg(feature = "model")]
        Command::RunModel => model_process::serve(),
        Command::Gradcheck(arguments) => gradcheck::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::tell(format_args!("batchnorm: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}
