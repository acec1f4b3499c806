//! `batchnorm predict`: classes of pictures or of a labelled set, by a network that `batchnorm train` wrote.

mod answer;
mod inputs;
mod options;
mod table;
mod verdict;

use batchnorm_lab::model::Model;

use crate::failure::{Failure, tell};
use crate::model_file::{self, Unreadable};
use answer::{Answer, Said, Told};
use inputs::Inputs;
pub use options::Arguments;

/// Examples that are looked at together, so that a large set costs no more memory than its answers.
const PORTION: usize = 500;

/// Asks the network about everything and prints what it says.
///
/// # Errors
/// A model that is missing or broken, paths without a picture, pictures that cannot be read; the others are answered first.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.digits.is_none() && arguments.data.is_none() && arguments.paths.is_empty() {
        return Err(Failure::usage(
            "PATH: expected a PNG or JPEG picture, a folder of them, --data or --digits test, got nothing",
        ));
    }
    let description = model_file::description(arguments.description.as_deref())?;
    let model = model_file::read(&arguments.model, description).map_err(|Unreadable { reason, mend }| {
        let mend = mend.unwrap_or("name a file of `batchnorm train`, or train one");
        Failure::input(format!("--model: {}: {reason}; {mend}", arguments.model.display()))
    })?;
    let inputs = Inputs::of(&arguments, &model.description.data)?;
    let told = ask(&model, inputs);
    if !told.said.is_empty() || arguments.json {
        match arguments.json {
            true => table::print_json(&arguments.model, &model, &told)?,
            false => table::print(&model, &told)?,
        }
    }
    match told.failed.split_last() {
        None => Ok(()),
        Some((only, [])) => Err(Failure::input(only)),
        Some((_, _)) => {
            for reason in &told.failed {
                tell(format_args!("batchnorm: {reason}"));
            }
            let (failed, all) = (told.failed.len(), told.failed.len() + told.said.len());
            Err(Failure::input(format!("{failed} of {all} pictures and folders could not be read")))
        }
    }
}

fn ask(model: &Model, inputs: Inputs) -> Told {
    let data = &model.description.data;
    let mut told = Told { said: Vec::new(), failed: Vec::new(), seen: None };
    let Inputs { asked, mut failed, source } = inputs;
    let only = asked.len() == 1;
    for portion in asked.chunks(PORTION) {
        let mut examples = batchnorm_lab::data::Examples::default();
        let mut answered = Vec::new();
        for one in portion {
            match source.values(one, data) {
                Ok(values) => {
                    told.seen = only.then(|| values.clone());
                    examples.values.extend(values);
                    answered.push(one);
                }
                Err(reason) => failed.push(reason),
            }
        }
        data.prepare(&mut examples);
        let scores = model.scores(&examples.values);
        let answers = scores.chunks_exact(data.classes.len()).map(Answer::new);
        told.said.extend(answered.into_iter().zip(answers).map(|(asked, answer)| Said::new(asked, answer)));
    }
    told.failed = failed;
    told
}
