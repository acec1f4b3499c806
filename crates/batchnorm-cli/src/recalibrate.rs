//! `batchnorm recalibrate`: a trained model's running statistics measured anew on the user's data, and what that does to its answers.

mod options;
mod report;

use std::path::Path;

use batchnorm_io::atomic;
use batchnorm_model::file::{FileError, Measurable, ModelFile};
use batchnorm_model::job::{Answer, Job, Task};
use batchnorm_model::recalibrate::Verdict;
use batchnorm_model::statistics::Statistics;

pub use options::Arguments;

use crate::failure::{Failure, tell};
use crate::fits::Fits;
use crate::model_data::Opened;
use crate::model_process::{other_answer, with_progress};
use crate::terminal::{Stop, put};
use crate::unfinished::Unfinished;

/// Measures, compares, writes, and says what was done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.resources.check()?;
    let path = &arguments.input;
    let output = arguments.output.as_deref().filter(|_| !arguments.dry_run);
    if let Some(output) = output {
        atomic::expect_writable(output).map_err(Failure::output)?;
    }
    let file = ModelFile::open(path).map_err(|error| failed(path, error))?;
    if arguments.rollback {
        return roll_back(&file, path, output, arguments.json);
    }
    let all = file.measurable().map_err(|error| failed(path, error))?;
    let chosen = chosen(&all, arguments.layers.as_deref(), path)?;
    let opened = arguments.data.open(&file, path, arguments.labels.as_deref())?;
    let Some(Opened { data, has_labels }) = opened else { return Err(Failure::usage("--data: expected a path")) };
    if arguments.unless_worse && !has_labels {
        return Err(Failure::usage("--unless-worse: expected labels (--labels, or sub-folders of pictures), got none"));
    }
    let job = |task: Task| arguments.resources.job(path, &data, task);
    let stop = Stop::on_ctrl_c()?;
    let fits = fingerprint(&job(Task::Fingerprint)?, arguments.trust_data, &stop)?;

    let work = job(Task::Recalibrate {
        layers: chosen.iter().map(|(node, _)| *node).collect(),
        one_pass: arguments.one_pass,
        cut: arguments.cut,
        batch: arguments.resources.batch,
        blend: arguments.blend.map(|mix| mix.0),
        files: arguments.resources.files()?,
    })?;
    let unfinished = output.map(|output| Unfinished::beside(output, &work, &file));
    let Answer::Recalibrated(outcome) = with_progress(work, &stop, unfinished.as_ref())? else {
        return Err(other_answer());
    };
    let is_worse = outcome.answers.verdict() == Some(Verdict::Worse);
    if is_worse && arguments.unless_worse {
        put(&report::shown(arguments, &all, &outcome, fits.as_ref(), data.recipe.as_ref(), None))?;
        unfinished.iter().for_each(Unfinished::remove);
        return Err(Failure::refused(format!(
            "{}: fewer answers are right with the new statistics, so nothing is written (--unless-worse); try --blend new:0.1, or data like those of its use",
            path.display()
        )));
    }
    let new: Vec<(usize, Statistics)> = outcome.layers.iter().map(|layer| (layer.node, layer.new.clone())).collect();
    let written = file.with_statistics(&new).map_err(|error| failed(path, error))?;
    if let Some(output) = output {
        file.expect_data_beside(output).map_err(|error| failed(path, error))?;
        atomic::write_file(output, |out| out.write_all(&written)).map_err(Failure::output)?;
        unfinished.iter().for_each(Unfinished::remove);
    }
    put(&report::shown(arguments, &all, &outcome, fits.as_ref(), data.recipe.as_ref(), output))?;
    if is_worse {
        tell("warning: fewer answers are right than before; --rollback puts the old statistics back");
    }
    if let Some(output) = output {
        tell(format_args!("wrote {}", output.display()));
    }
    Ok(())
}

fn failed(path: &Path, error: FileError) -> Failure {
    let message = format!("{}: {error}", path.display());
    if matches!(error, FileError::NoGraph(_)) { Failure::Refused(message) } else { Failure::Input(message) }
}

fn roll_back(file: &ModelFile, path: &Path, output: Option<&Path>, json: bool) -> Result<(), Failure> {
    let (bytes, norms) = file.rolled_back().map_err(|error| failed(path, error))?;
    if let Some(output) = output {
        file.expect_data_beside(output).map_err(|error| failed(path, error))?;
        atomic::write_file(output, |out| out.write_all(&bytes)).map_err(Failure::output)?;
    }
    put(&report::rolled_back(path, output, norms, json))
}

/// The norms that are measured: the places of their nodes, and their names.
fn chosen(all: &[Measurable], pattern: Option<&str>, path: &Path) -> Result<Vec<(usize, String)>, Failure> {
    let patterns: Vec<&str> = pattern.unwrap_or("*").split(',').map(str::trim).collect();
    let fits = |norm: &&Measurable| patterns.iter().any(|pattern| matches(pattern, &norm.name));
    if let Some(pattern) = patterns.iter().find(|pattern| !all.iter().any(|norm| matches(pattern, &norm.name)))
        && pattern != &"*"
    {
        return Err(Failure::usage(format!(
            "--layers: expected names of batch norms (`inspect` lists them), got {pattern:?}, which fits none"
        )));
    }
    let chosen: Vec<(usize, String)> =
        all.iter().filter(fits).filter_map(|norm| norm.node.ok().map(|node| (node, norm.name.clone()))).collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let why = match all.iter().find_map(|norm| norm.node.err()) {
        Some(why) => format!("no batch norm that can be measured: {why}"),
        None => String::from("no batch norm: they are folded already, or it never had one; recalibrate before folding"),
    };
    Err(Failure::refused(format!("{}: {why}", path.display())))
}

/// Whether a name fits a pattern, in which * is anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// How well the usual preparations of pictures fit; refuses where another one fits far better.
fn fingerprint(job: &Job, trusted: bool, stop: &Stop) -> Result<Option<Fits>, Failure> {
    let fits = Fits::of(job, stop)?;
    match fits.as_ref().and_then(Fits::refusal) {
        Some(hint) if !trusted => Err(Failure::refused(format!(
            "--data: {hint}; mend the recipe (--recipe, --scale, --mean, --sd, --colours), or say --trust-data where the data are meant to look different"
        ))),
        _ => Ok(fits),
    }
}
