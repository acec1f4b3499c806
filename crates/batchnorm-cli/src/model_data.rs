//! The data that a model is run on: flags that several commands have, and what they name.

use std::path::{Path, PathBuf};

use batchnorm_model::file::ModelFile;
use batchnorm_model::samples::Data;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use crate::arrays::{HeaderName, header_without_tables};
use crate::failure::{Failure, tell};
use crate::model_process::Resources;
use crate::pictures::{Pictures, recipe_of};
use crate::text;

/// Data for a model.
#[derive(clap::Args, Clone, Default)]
pub struct ModelData {
    /// Your data: .npy, .npz (arrays by the names of the model's inputs), a table (.csv, .tsv, .txt), or a folder of PNG and JPEG pictures,
    /// whose sub-folders are classes.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Whether the first line of a table names its columns. [default: as the table tells]
    #[arg(long, value_name = "YES|NO")]
    header: Option<HeaderName>,
    #[command(flatten)]
    pictures: Pictures,
}

/// The flags that were given to a command and say what a model is run on, and how, for another command that takes them.
pub fn flags_given(command: &ArgMatches) -> String {
    let Some((_, given)) = command.subcommand() else { return String::new() };
    let flags = Resources::augment_args(ModelData::augment_args(clap::Command::new("")));
    let flag = |flag: &clap::Arg| {
        let name =
            flag.get_long().filter(|_| given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine))?;
        let values = given.get_raw(flag.get_id().as_str())?.map(|value| value.to_string_lossy());
        let value = values.collect::<Vec<_>>().join(",");
        // (What begins like a flag itself.)
        let between = if value.starts_with('-') { '=' } else { ' ' };
        Some(format!("--{name}{between}{}", text::word(Path::new(&value))))
    };
    flags.get_arguments().filter_map(flag).collect::<Vec<_>>().join(" ")
}

/// Data that could be opened.
pub struct Opened {
    pub data: Data,
    pub has_labels: bool,
}

impl ModelData {
    /// The data, if there are some, opened: what is wrong with them is said before anything runs, and how they are read.
    pub fn open(&self, file: &ModelFile, model: &Path, labels: Option<&Path>) -> Result<Option<Opened>, Failure> {
        let Some(path) = &self.data else {
            let flags = [
                ("--header", self.header.is_some()),
                ("--recipe and what belongs to it", !self.pictures.is_empty()),
                ("--labels", labels.is_some()),
            ];
            return match flags.iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(Failure::usage(format!("{flag}: expected --data, got none"))),
                None => Ok(None),
            };
        };
        if let Some(refusal) = header_without_tables(self.header, [path]) {
            return Err(Failure::usage(refusal));
        }
        let recipe = recipe_of(file, model, &self.pictures)?;
        let data = Data {
            path: path.clone(),
            labels: labels.map(Path::to_owned),
            recipe: path.is_dir().then_some(recipe),
            header: self.header.map(|header| header == HeaderName::Yes),
        };
        let samples = data.open().map_err(Failure::input)?;
        samples.notes().iter().for_each(tell);
        match &data.recipe {
            Some(recipe) => tell(format_args!("pictures: {recipe}")),
            None if self.pictures.is_empty() => {}
            None => {
                return Err(Failure::usage(
                    "--recipe and what belongs to it: expected pictures, got arrays, which are taken as they are",
                ));
            }
        }
        // (Arrays in memory are not kept: the process that runs the model opens them again.)
        Ok(Some(Opened { data, has_labels: samples.labels().is_some() }))
    }
}
