//! The program `batchnorm`: arguments in, files and tables out. One file for each command.

mod apply;
#[cfg(feature = "train")]
mod compare;
mod failure;
#[cfg(feature = "train")]
mod flags;
#[cfg(feature = "train")]
mod predict;
#[cfg(feature = "train")]
mod terminal;
#[cfg(feature = "train")]
mod train;

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
    /// Train one network on the digits and write it to a file that PyTorch reads too.
    #[cfg(feature = "train")]
    Train(train::Arguments),
    /// Recognise digits in pictures by a trained network.
    #[cfg(feature = "train")]
    Predict(predict::Arguments),
    /// Run the layer on arrays in .npy files, forward and backward.
    Apply(apply::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        #[cfg(feature = "train")]
        Command::Compare(arguments) => compare::run(arguments),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(arguments),
        #[cfg(feature = "train")]
        Command::Predict(arguments) => predict::run(arguments),
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
