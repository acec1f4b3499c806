//! The program `batchnorm`: arguments in, files and tables out. One file for each command.

mod apply;
#[cfg(feature = "train")]
mod compare;
mod failure;

use clap::{Parser, Subcommand};
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

#[derive(Subcommand)]
enum Command {
    /// Train the same network with and without batch norm on real digits, and compare.
    #[cfg(feature = "train")]
    Compare(compare::Arguments),
    /// Run the layer on arrays in .npy files, forward and backward.
    Apply(apply::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        #[cfg(feature = "train")]
        Command::Compare(arguments) => compare::run(arguments),
        Command::Apply(arguments) => apply::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::tell(format_args!("batchnorm: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}
