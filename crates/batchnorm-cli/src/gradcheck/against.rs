//! `gradcheck --against`: judges the gradients that another program wrote.

use super::layer::Layer;
use super::options::{Arguments, Mode};
use super::parameters::{fits, parameters};
use super::verdict;
use crate::arrays::{Any, Files, TABLES, Typed, is_npz};
use crate::failure::Failure;
use crate::renorm::renormalization;
use crate::terminal::put;
use batchnorm::{Axes, Element, Grouping, View, Weights};
use batchnorm_gradcheck::{Given, MAX_VALUES, Problem, ProblemError};
use batchnorm_io::npy::Number;
use batchnorm_io::npz::Npz;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Names of the gradients, and endings of their files.
const GRADIENTS: [&str; 3] = ["dx", "dgamma", "dbeta"];

pub fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let layer = arguments.layer.unwrap_or(Layer::Batch);
    let judged = layer.grouping(2, NonZeroUsize::MIN).is_some()
        || matches!(layer, Layer::Batch | Layer::Evaluation | Layer::Renormalized);
    if !judged {
        return Err(Failure::usage(format!(
            "--layer {}: expected batch, renormalized, norm, group, instance, rms or group-rms beside --against; mistakes are known of \
             these",
            layer.name()
        )));
    }
    let evaluation = arguments.mode == Mode::Eval || arguments.layer == Some(Layer::Evaluation);
    if evaluation && (arguments.running_mean.is_none() || arguments.running_var.is_none()) {
        let flag = if arguments.mode == Mode::Eval { "--mode eval" } else { "--layer evaluation" };
        return Err(Failure::usage(format!(
            "{flag}: expected --running-mean and --running-var, the statistics that were normalised by; give both"
        )));
    }
    let (Some(input), Some(gradient)) = (&arguments.input, &arguments.gradient) else {
        return Err(Failure::usage("--against: expected --input and --gradient, by which to judge; give both"));
    };
    let theirs = Theirs::find(folder)?;
    let job = Job { arguments, files: arguments.files(theirs.paths()), layer, evaluation, input, gradient, theirs };
    match job.files.any(input, MAX_VALUES)? {
        Any::F16(x) => job.run(&x),
        Any::F32(x) => job.run(&x),
        Any::F64(x) => job.run(&x),
    }
}

/// The other program's files, as far as it wrote them.
struct Theirs {
    dx: Option<PathBuf>,
    dgamma: Option<PathBuf>,
    dbeta: Option<PathBuf>,
}

impl Theirs {
    fn find(given: &Path) -> Result<Theirs, Failure> {
        let found = if is_npz(given) && !given.is_dir() { in_archive(given)? } else { in_folder(given)? };
        if found.iter().all(Option::is_none) {
            return Err(Failure::input(format!(
                "--against {}: expected at least one of dx, dgamma and dbeta (dx.npy in a folder, or dx in a .npz), found none of \
                 these; save them with np.save",
                given.display()
            )));
        }
        let [dx, dgamma, dbeta] = found;
        Ok(Theirs { dx, dgamma, dbeta })
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.dx, &self.dgamma, &self.dbeta].into_iter().flatten()
    }
}

/// The gradients in a .npz, as `file.npz:name`.
fn in_archive(file: &Path) -> Result<[Option<PathBuf>; 3], Failure> {
    let archive = Npz::open(file).map_err(Failure::input)?;
    let named = |name: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(format!(":{name}"));
        archive.names().any(|other| other == name).then(|| PathBuf::from(path))
    };
    Ok(GRADIENTS.map(named))
}

/// The gradients in the files of a folder.
fn in_folder(folder: &Path) -> Result<[Option<PathBuf>; 3], Failure> {
    if !folder.is_dir() {
        let found = if folder.exists() { "a file" } else { "none" };
        return Err(Failure::input(format!(
            "--against {}: expected a folder with dx, dgamma or dbeta (.npy or tables), or a .npz of them, found {found}",
            folder.display()
        )));
    }
    let mut found = [None, None, None];
    for (found, name) in found.iter_mut().zip(GRADIENTS) {
        let endings =
            std::iter::once("npy").chain(TABLES).flat_map(|ending| [ending.to_owned(), ending.to_uppercase()]);
        let paths: Vec<PathBuf> = endings.map(|ending| folder.join(format!("{name}.{ending}"))).collect();
        let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
        *found = match there[..] {
            [] => None,
            [path] => Some(path.clone()),
            [one, other, ..] => {
                return Err(Failure::input(format!(
                    "--against {}: expected one file of {name}, found {} and {}; take one away",
                    folder.display(),
                    one.display(),
                    other.display()
                )));
            }
        };
    }
    Ok(found)
}

struct Job<'a> {
    arguments: &'a Arguments,
    files: Files,
    layer: Layer,
    evaluation: bool,
    input: &'a Path,
    gradient: &'a Path,
    theirs: Theirs,
}

impl Job<'_> {
    fn run<T: Element + Number>(&self, x: &Typed<T>) -> Result<(), Failure> {
        let axes = Axes::Channel(self.arguments.channel_axis());
        let named = |error| Failure::input(format!("{}: {error}", self.input.display()));
        let view = x.view(axes).map_err(named)?;
        let problem = match self.files.any(self.gradient, MAX_VALUES)? {
            Any::F16(dy) => self.problem(&view, &dy),
            Any::F32(dy) => self.problem(&view, &dy),
            Any::F64(dy) => self.problem(&view, &dy),
        }?;
        let shape = self.parameter_shape(&x.shape, view.channels());
        let diagnosis = self.given(&problem, axes, &shape)?.diagnose().map_err(|error| self.refusal(&error))?;
        let subject = verdict::Subject {
            input: self.input,
            layer: if self.evaluation { Layer::Evaluation } else { self.layer }.name(),
            shape: &x.shape,
            number: T::TYPE.to_string(),
            channel_axis: view.channel_axis(),
            epsilon: self.arguments.epsilon,
        };
        put(&if self.arguments.json {
            verdict::as_json(&subject, &diagnosis)
        } else {
            verdict::as_table(&subject, &diagnosis)
        })?;
        let wrong: Vec<&str> =
            diagnosis.all().filter(|(_, found)| found.verdict.is_wrong()).map(|(name, _)| name).collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Failure::Wrong(format!(
                "{} {} wrong",
                wrong.join(", "),
                if wrong.len() == 1 { "is" } else { "are" }
            ))),
        }
    }

    /// The shape of gamma and beta.
    fn parameter_shape(&self, shape: &[usize], channels: usize) -> Vec<usize> {
        if self.layer.has_element_parameters() { shape[1..].to_vec() } else { vec![channels] }
    }

    fn problem<T: Element + Number, U: Element>(&self, x: &View<T>, dy: &Typed<U>) -> Result<Problem, Failure> {
        let arguments = self.arguments;
        if dy.shape != x.shape() {
            return Err(Failure::input(format!(
                "{}: expected the input's shape {:?}, got {:?}",
                self.gradient.display(),
                x.shape(),
                dy.shape
            )));
        }
        let dy = dy.view(Axes::Channel(arguments.channel_axis())).map_err(Failure::input)?;
        let shape = self.parameter_shape(x.shape(), x.channels());
        let gamma = match &arguments.gamma {
            Some(path) => parameters(&self.files, path, &shape)?,
            None => vec![1.0; shape.iter().product()],
        };
        // No gradient depends on beta. Its file is read all the same, so that a wrong path is an error.
        arguments.beta.as_ref().map(|path| parameters(&self.files, path, &shape)).transpose()?;
        let epsilon = arguments.epsilon;
        let problem = match self.layer.grouping(x.shape().len(), arguments.groups.unwrap_or(NonZeroUsize::MIN)) {
            Some(grouping) => {
                if let Grouping::Group { groups } | Grouping::GroupRms { groups } = grouping
                    && !x.channels().is_multiple_of(groups)
                {
                    let channels = x.channels();
                    return Err(Failure::usage(format!(
                        "--groups {groups}: expected a divisor of {channels} channels"
                    )));
                }
                Problem::sample_norm(grouping, x, &dy, &gamma, epsilon)
            }
            None if self.evaluation || self.layer == Layer::Renormalized => {
                let statistics = |path: &Option<PathBuf>| {
                    path.as_ref().map_or(Ok(Vec::new()), |path| parameters(&self.files, path, &shape))
                };
                let (mean, variance) = (statistics(&arguments.running_mean)?, statistics(&arguments.running_var)?);
                match &arguments.renorm {
                    None => Problem::evaluation(x, &dy, &gamma, epsilon, &mean, &variance),
                    Some(text) => {
                        let limits = renormalization(text).map_err(Failure::usage)?.limits(0);
                        Problem::renormalized(x, &dy, &gamma, epsilon, &mean, &variance, limits)
                    }
                }
            }
            None => match &arguments.weights {
                None => Problem::batch_norm(x, &dy, &gamma, epsilon),
                Some(path) => {
                    let (shape, values) = self.files.weights::<T>(path, x.shape(), x.channel_axes())?;
                    let weights = Weights::new(&values, &shape)
                        .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
                    Problem::weighted(x, &dy, &gamma, epsilon, &weights)
                }
            },
        };
        problem.map_err(|error| self.refusal(&error))
    }

    /// The library's refusal as a failure, with the file's name in place of the argument's.
    fn refusal(&self, error: &ProblemError) -> Failure {
        let arguments = self.arguments;
        let file = |argument: &str| -> Option<&Path> {
            match argument {
                "x" => Some(self.input),
                "dy" => Some(self.gradient),
                "gamma" => arguments.gamma.as_deref(),
                "mean" => arguments.running_mean.as_deref(),
                "variance" => arguments.running_var.as_deref(),
                "weights" => arguments.weights.as_deref(),
                _ => None,
            }
        };
        let text = error.to_string();
        let text = match text.split_once(": ").and_then(|(argument, reason)| Some((file(argument)?, reason))) {
            Some((path, reason)) => format!("{}: {reason}", path.display()),
            None => text,
        };
        match error {
            ProblemError::SingleValue { .. }
            | ProblemError::SingleCounting { .. }
            | ProblemError::Empty { .. }
            | ProblemError::Number { .. }
            | ProblemError::Range { .. }
            | ProblemError::Overflow { .. } => Failure::refused(text),
            _ => Failure::input(text),
        }
    }

    fn given<'p>(&self, problem: &'p Problem, axes: Axes, shape: &[usize]) -> Result<Given<'p>, Failure> {
        let mut given = problem.given();
        if let Some(path) = &self.theirs.dx {
            given = match self.files.any(path, MAX_VALUES)? {
                Any::F16(dx) => self.with_dx(given, problem, path, &dx, axes),
                Any::F32(dx) => self.with_dx(given, problem, path, &dx, axes),
                Any::F64(dx) => self.with_dx(given, problem, path, &dx, axes),
            }?;
        }
        for (path, of_gamma) in [(&self.theirs.dgamma, true), (&self.theirs.dbeta, false)] {
            let Some(path) = path else { continue };
            given = match self.files.any(path, MAX_VALUES)? {
                Any::F16(values) => with_vector(given, path, &values, shape, of_gamma),
                Any::F32(values) => with_vector(given, path, &values, shape, of_gamma),
                Any::F64(values) => with_vector(given, path, &values, shape, of_gamma),
            }?;
        }
        Ok(given)
    }

    fn with_dx<'p, G: Element>(
        &self,
        given: Given<'p>,
        problem: &Problem,
        path: &Path,
        dx: &Typed<G>,
        axes: Axes,
    ) -> Result<Given<'p>, Failure> {
        let named = |error: &dyn std::fmt::Display| Failure::input(format!("{}: {error}", path.display()));
        if dx.shape != problem.shape() {
            let (expected, got) = (problem.shape(), &dx.shape);
            return Err(named(&format_args!("expected the input's shape {expected:?}, got {got:?}")));
        }
        let dx = dx.view(axes).map_err(|error| named(&error))?;
        given.dx(&dx).map_err(|error| named(&error))
    }
}

fn with_vector<'p, G: Element>(
    given: Given<'p>,
    path: &Path,
    values: &Typed<G>,
    shape: &[usize],
    of_gamma: bool,
) -> Result<Given<'p>, Failure> {
    fits(path, shape, &values.shape, "was it summed over the right axes?")?;
    let values = values.in_c_order();
    let given = if of_gamma { given.dgamma(&values) } else { given.dbeta(&values) };
    given.map_err(|error| Failure::input(format!("{}: {error}", path.display())))
}
