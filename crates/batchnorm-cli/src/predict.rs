//! `batchnorm predict`: digits in pictures, by a network that `batchnorm train` wrote.

mod inputs;
mod options;
mod table;

use batchnorm_lab::model::Model;
use batchnorm_lab::probe::Answer;

use crate::failure::{Failure, tell};
use crate::model_file::{self, Unreadable};
use inputs::Asked;
pub use options::Arguments;

/// Asks the network about everything and prints what it says.
///
/// # Errors
/// A model that is missing or broken, paths without a picture, pictures that cannot be read; the others are answered first.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.digits.is_none() && arguments.paths.is_empty() {
        return Err(Failure::usage(
            "PATH: expected a PNG or JPEG picture, a folder of them or --digits test, got nothing",
        ));
    }
    let description = model_file::description(arguments.description.as_deref())?;
    let model = model_file::read(&arguments.model, description).map_err(|Unreadable { reason, mend }| {
        let mend = mend.unwrap_or("name a file of `batchnorm train`, or train one");
        Failure::input(format!("--model: {}: {reason}; {mend}", arguments.model.display()))
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
