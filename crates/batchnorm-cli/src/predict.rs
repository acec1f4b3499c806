//! `batchnorm predict`: digits in pictures, by a network that `batchnorm train` wrote.

mod inputs;
mod table;

use std::path::PathBuf;

use batchnorm_lab::digits::PIXELS;
use batchnorm_lab::model::Model;
use batchnorm_lab::probe::Answer;
use clap::ValueEnum;

use crate::failure::{Failure, tell};
use crate::model_file;

/// Recognise digits in pictures by a trained network.
///
/// A PATH is a PNG picture of one digit, or a folder of them. A folder whose subfolders are named 0 to 9 is a labelled
/// set: accuracy, confusions and the worst mistakes are shown. Other subfolders, and pictures deeper down, are ignored. Dark on light or light on dark, any size up to 4096 x
/// 4096: the digit is cut out, scaled and counted as those of the data set were; 8 x 8 pixels are taken as they are.
///
/// Every picture is looked at. Those that cannot be read, or are blank, and folders without any are named at the end,
/// and the exit code is 3 then; the others' answers are printed all the same.
#[derive(clap::Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// A file of `batchnorm train`.
    #[arg(long, value_name = "FILE", default_value = "batchnorm-model.safetensors")]
    model: PathBuf,

    /// PNG pictures, folders of them, or folders with subfolders 0 to 9.
    #[arg(value_name = "PATH", conflicts_with = "digits")]
    paths: Vec<PathBuf>,

    /// The embedded digits instead of pictures.
    #[arg(long, value_enum)]
    digits: Option<Set>,

    /// Print the answers as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// the 360 that `train` never trains on
    Test,
    /// the 1,437 it trains on
    Train,
    /// both
    All,
}

/// One digit that was asked about.
struct Asked {
    /// What to call it: the path, or its place in the embedded set.
    name: String,
    /// The digit it is, where that is known.
    label: Option<u8>,
    /// What the network sees.
    seen: [f32; PIXELS],
}

/// Asks the network about everything and prints what it says.
///
/// # Errors
/// A model that is missing or broken, paths without a picture, pictures that cannot be read; the others are answered first.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.digits.is_none() && arguments.paths.is_empty() {
        return Err(Failure::usage("PATH: expected a PNG picture, a folder of them or --digits test, got nothing"));
    }
    let model = model_file::read(&arguments.model).map_err(|reason| {
        Failure::input(format!(
            "--model: {}: {reason}; name a file of `batchnorm train`, or train one",
            arguments.model.display()
        ))
    })?;
    let inputs = match arguments.digits {
        Some(set) => inputs::embedded(set),
        None => inputs::pictures(&arguments.paths),
    };
    let answers = ask(&model, &inputs.asked);
    if !inputs.asked.is_empty() || arguments.json {
        match arguments.json {
            true => table::print_json(&arguments.model, &model, &inputs, &answers)?,
            false => table::print(&model, &inputs, &answers)?,
        }
    }
    match inputs.failed.split_last() {
        None => Ok(()),
        Some((only, [])) => Err(Failure::input(only)),
        Some((_, _)) => {
            for reason in &inputs.failed {
                tell(format_args!("batchnorm: {reason}"));
            }
            let (failed, all) = (inputs.failed.len(), inputs.failed.len() + inputs.asked.len());
            Err(Failure::input(format!("{failed} of {all} pictures and folders could not be read")))
        }
    }
}

fn ask(model: &Model, asked: &[Asked]) -> Vec<Answer> {
    // In portions, so that a large folder costs no more memory than its pictures.
    let scores = |some: &[Asked]| model.scores(&some.iter().flat_map(|one| one.seen).collect::<Vec<f32>>());
    asked.chunks(1000).flat_map(|some| Answer::all(&scores(some))).collect()
}
