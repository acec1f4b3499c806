//! `batchnorm recalibrate`: a trained model's running statistics measured anew on the user's data, and what that does to its answers.

mod options;
mod report;
mod unfinished;

use std::path::Path;

use batchnorm_io::atomic;
use batchnorm_model::file::{FileError, Measurable, ModelFile};
use batchnorm_model::fingerprint::Fit;
use batchnorm_model::job::{Answer, Job, Task};
use batchnorm_model::recalibrate::{Event, Outcome};
use batchnorm_model::samples::Samples;
use batchnorm_model::statistics::Statistics;

pub use options::Arguments;
use unfinished::Unfinished;

use crate::failure::{Failure, tell};
use crate::model_process::in_child;
use crate::pictures::recipe_of;
use crate::terminal::{Stop, progress_bar, put};

/// How often better another preparation of pictures must fit to be spoken of, and to be refused for.
const SPOKEN_OF: f64 = 2.0;
const REFUSED: f64 = 10.0;
const GIB: f64 = (1u64 << 30) as f64;

/// Measures, compares, writes, and says what was done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let path = &arguments.input;
    let output = arguments.output.as_deref().filter(|_| !arguments.dry_run);
    if let Some(output) = output {
        atomic::expect_writable(output).map_err(Failure::output)?;
    }
    let file = ModelFile::open(path).map_err(|error| failed(path, error))?;
    if arguments.rollback {
        return roll_back(&file, path, output, arguments.json);
    }
    let Some(data) = &arguments.data else { return Err(Failure::usage("--data: expected a path")) };
    let all = file.measurable().map_err(|error| failed(path, error))?;
    let chosen = chosen(&all, arguments.layers.as_deref(), path)?;
    let recipe = recipe_of(&file, path, &arguments.pictures)?;
    // (Opened here too: what is wrong with the data is said before anything runs.)
    let samples =
        Samples::open(data, data.is_dir().then_some(&recipe), arguments.labels.as_deref()).map_err(Failure::input)?;
    if arguments.unless_worse && samples.labels().is_none() {
        return Err(Failure::usage("--unless-worse: expected labels (--labels, or sub-folders of pictures), got none"));
    }
    samples.notes().iter().for_each(tell);
    if samples.are_pictures() {
        tell(format_args!("pictures: {recipe}"));
    } else if !arguments.pictures.is_empty() {
        return Err(Failure::usage(
            "--recipe and what belongs to it: expected pictures, got arrays, which are taken as they are",
        ));
    }
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let job = |task: Task| Job {
        model: path.clone(),
        data: Some(data.clone()),
        labels: arguments.labels.clone(),
        recipe: samples.are_pictures().then(|| recipe.clone()),
        engine: arguments.engine.choice(),
        threads,
        memory: (arguments.max_memory * GIB) as u64,
        task,
    };
    let stop = Stop::on_ctrl_c()?;
    let fits = fingerprint(&job(Task::Fingerprint), arguments.trust_data, &stop)?;

    let mut work = job(Task::Recalibrate {
        layers: chosen.iter().map(|(node, _)| *node).collect(),
        one_pass: arguments.one_pass,
        batch: arguments.batch,
        blend: arguments.blend.map(|mix| mix.0),
        files: (arguments.cache * GIB) as u64,
        resumed: None,
    });
    let unfinished = output.map(|output| Unfinished::of(output, &work, file.onnx().unwrap_or_default()));
    let outcome = measure(&mut work, unfinished.as_ref(), &stop)?;
    let is_worse = outcome.answers.is_worse() == Some(true);
    if is_worse && arguments.unless_worse {
        put(&report::shown(arguments, &all, &outcome, fits.as_deref(), &recipe, None))?;
        unfinished.iter().for_each(Unfinished::remove);
        return Err(Failure::refused(format!(
            "{}: fewer answers are right with the new statistics, so nothing is written (--unless-worse); try --blend new:0.1, or data like those of its use",
            path.display()
        )));
    }
    let new: Vec<(usize, Statistics)> = outcome.layers.iter().map(|layer| (layer.node, layer.new.clone())).collect();
    let bytes = file.with_statistics(&new).map_err(|error| failed(path, error))?;
    if let Some(output) = output {
        file.expect_data_beside(output).map_err(|error| failed(path, error))?;
        atomic::write_file(output, |out| out.write_all(&bytes)).map_err(Failure::output)?;
        unfinished.iter().for_each(Unfinished::remove);
    }
    put(&report::shown(arguments, &all, &outcome, fits.as_deref(), &recipe, output))?;
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

/// How well the usual preparations of pictures fit, shown; refuses where another one fits far better.
fn fingerprint(job: &Job, trusted: bool, stop: &Stop) -> Result<Option<Vec<Fit>>, Failure> {
    let Answer::Fits(fits) = in_child(job, stop, &mut |_| Ok(()))? else { return Ok(None) };
    let Some(fits) = fits else { return Ok(None) };
    report::fits(&fits).iter().for_each(tell);
    let (own, others) = fits.split_first().unzip();
    let best = others
        .and_then(|others: &[Fit]| others.iter().min_by(|one, other| one.distance().total_cmp(&other.distance())));
    if let (Some(own), Some(best)) = (own, best)
        && own.distance() > SPOKEN_OF * best.distance()
    {
        let ratio = own.distance() / best.distance();
        let hint = format!("{} fits what the model's first batch norms remember {ratio:.1} times better", best.name);
        if ratio >= REFUSED && !trusted {
            return Err(Failure::refused(format!(
                "--data: {hint}; mend the recipe (--recipe, --scale, --mean, --sd, --colours), or say --trust-data where the data are meant to look different"
            )));
        }
        tell(format_args!("hint: {hint}"));
    }
    Ok(Some(fits))
}

/// Has the statistics measured, with a bar, and keeps what is finished.
fn measure(job: &mut Job, unfinished: Option<&Unfinished>, stop: &Stop) -> Result<Outcome, Failure> {
    if let (Task::Recalibrate { resumed, .. }, Some(unfinished)) = (&mut job.task, unfinished) {
        *resumed = unfinished.read().map(Box::new);
        if resumed.is_some() {
            tell(format_args!("goes on from {}", unfinished.path().display()));
        }
    }
    let bar = progress_bar(1000);
    let answer = in_child(job, stop, &mut |event| {
        match event {
            Event::Announced { seconds, layers, passes } => {
                tell(report::announced(*seconds, *layers, *passes));
            }
            Event::Done(share) => bar.set_position((share * 1000.0) as u64),
            Event::State(progress) => {
                if let Some(unfinished) = unfinished {
                    unfinished.write(progress)?;
                }
            }
        }
        Ok(())
    });
    bar.finish_and_clear();
    match answer? {
        Answer::Recalibrated(outcome) => Ok(*outcome),
        _ => Err(Failure::output("the process that runs the model gave another answer than was asked for")),
    }
}
