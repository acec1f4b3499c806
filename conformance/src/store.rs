//! Cases as files: `index.json`, and one `.npz` file for each. The README describes the format.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use batchnorm_io::npy::{Array, Numbers};
use batchnorm_io::npz::{Npz, NpzError, Packing, Writer};
use batchnorm_io::{atomic, whole};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::array::Input;
use crate::case::{
    Activation, Average, Bound, Case, Expected, Level, Norm, Operation, Problem, Refusal, Renormalization, Twin, Unit,
    Update,
};
use crate::judge::{Answer, Implementation};
use crate::kinds::{Element, Role};
use crate::recipe::Recipe;

/// The version of the format.
pub const FORMAT: u32 = 1;

const INDEX: &str = "index.json";
const CASES: &str = "cases";

/// The most bytes of an index that are read; ours is far smaller.
const MOST_OF_AN_INDEX: u64 = 16 << 20;

/// The reason why cases were not read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The index can not be read.
    #[error("{}: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The index is not of this format.
    #[error("{}: {reason}; expected an index of format {FORMAT}, as `generate` writes it", .path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A case's arrays.
    #[error(transparent)]
    Arrays(#[from] NpzError),
    /// A case does not hold together.
    #[error("case '{case}': {reason}; `generate` writes it again")]
    Case {
        /// The case's name.
        case: String,
        /// What is wrong.
        reason: String,
    },
}

/// The folder of this crate, which has the committed cases.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    level: Level,
    what: String,
    why: String,
    needs: Vec<String>,
    file: String,
    norm: Norm,
    operation: Operation,
    #[serde(rename = "type")]
    element: Element,
    roles: Vec<Role>,
    epsilon: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    update: Option<Update>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average: Option<Average>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renormalization: Option<Renormalization>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<usize>,
    refusal: Refusal,
    inputs: BTreeMap<String, InputEntry>,
    outputs: BTreeMap<String, OutputEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    twin: Option<Twin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strides: Option<Vec<isize>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipe: Option<Recipe>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputEntry {
    unit: Unit,
    at_most: f64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    licence: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    #[allow(dead_code)] // for people
    licence: String,
    cases: Vec<Entry>,
}

/// The files of these cases, by their place in the folder.
pub fn files(cases: &[Case]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    // A case to a line, so that a change shows as one.
    let lines: Vec<String> = cases.iter().map(|case| json(&entry(case))).collect();
    let head = json(&Head { format: FORMAT, licence: "CC0-1.0".to_string() });
    let head = head.trim_end_matches('}');
    files.insert(PathBuf::from(INDEX), format!("{head},\"cases\":[\n{}\n]}}\n", lines.join(",\n")).into_bytes());
    for case in cases {
        files.insert(PathBuf::from(place(&case.name)), arrays(case));
    }
    files
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text keys and finite numbers")
}

fn place(name: &str) -> String {
    format!("{CASES}/{name}.npz")
}

/// Writes the cases into a folder, and removes the files of cases that are no more.
///
/// # Errors
/// What the system says.
pub fn write(folder: &Path, cases: &[Case]) -> io::Result<()> {
    let files = files(cases);
    fs::create_dir_all(folder.join(CASES))?;
    for (place, bytes) in &files {
        atomic::write_file(&folder.join(place), |out| out.write_all(bytes)).map_err(io::Error::other)?;
    }
    for old in fs::read_dir(folder.join(CASES))? {
        let place = Path::new(CASES).join(old?.file_name());
        if place.extension().is_some_and(|extension| extension == "npz") && !files.contains_key(&place) {
            fs::remove_file(folder.join(place))?;
        }
    }
    Ok(())
}

fn entry(case: &Case) -> Entry {
    let input = |input: &Input| InputEntry {
        shape: input.shape.clone(),
        strides: input.strides.clone(),
        offset: input.strides.as_ref().map(|_| input.offset),
        recipe: input.recipe,
    };
    let output = |expected: &Expected| OutputEntry { unit: expected.bound.unit, at_most: expected.bound.at_most };
    let problem = &case.problem;
    Entry {
        name: case.name.clone(),
        level: case.level,
        what: case.what.clone(),
        why: case.why.clone(),
        needs: case.needs().into_iter().map(str::to_string).collect(),
        file: place(&case.name),
        norm: problem.norm,
        operation: problem.operation,
        element: problem.element,
        roles: problem.roles.clone(),
        epsilon: problem.epsilon,
        update: problem.update,
        average: problem.average,
        renormalization: problem.renormalization,
        activation: problem.activation,
        layers: (problem.operation == Operation::Chain).then_some(problem.layers),
        refusal: case.refusal,
        inputs: problem.inputs.iter().map(|(name, own)| (name.clone(), input(own))).collect(),
        outputs: case.expected.iter().map(|(name, own)| (name.clone(), output(own))).collect(),
        twin: case.twin.clone(),
    }
}

/// The case's `.npz` file.
fn arrays(case: &Case) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Packing::Stored);
    let mut put = |name: &str, shape: &[usize], numbers: &Numbers| {
        match numbers {
            Numbers::F16(values) => writer.array(name, shape, values),
            Numbers::F32(values) => writer.array(name, shape, values),
            Numbers::F64(values) => writer.array(name, shape, values),
            Numbers::Whole(..) => unreachable!("cases are of floats"),
        }
        .expect("into memory, by names of our own")
    };
    for (name, input) in &case.problem.inputs {
        match (&input.recipe, &input.strides) {
            (Some(_), _) => {}
            // The whole buffer: the index has the strides that lead to the elements.
            (None, Some(_)) => put(name, &[input.numbers.len()], &input.numbers),
            (None, None) => put(name, &input.shape, &input.numbers),
        }
    }
    for (name, own) in &case.expected {
        let mut wide = |what: String, shape: &[usize], values: &[f64]| put(&what, shape, &Element::F64.numbers(values));
        wide(format!("expected.{name}"), &own.shape, &own.high);
        wide(format!("scale.{name}"), &own.scale_shape, &own.scale);
        if let Some(low) = &own.low {
            wide(format!("low.{name}"), &own.shape, low);
        }
        if let Some(alternative) = &own.alternative {
            wide(format!("alternative.{name}"), &own.shape, alternative);
        }
        if let Some(probes) = &own.probes {
            let probes: Vec<f64> = probes.iter().map(|&place| place as f64).collect();
            wide(format!("probes.{name}"), &[probes.len()], &probes);
        }
    }
    writer.finish().expect("into memory")
}

/// Reads the cases of a folder.
///
/// # Errors
/// Files that are missing, damaged, or of another format; a case that does not hold together.
pub fn read(folder: &Path) -> Result<Vec<Case>, StoreError> {
    read_named(folder, |_| true)
}

/// Reads the cases of a folder whose names are wanted.
///
/// # Errors
/// As [`read`].
pub fn read_named(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Case>, StoreError> {
    let path = folder.join(INDEX);
    let bytes =
        whole::read(&path, MOST_OF_AN_INDEX).map_err(|reason| StoreError::Read { path: path.clone(), reason })?;
    let wrong = |reason: String| StoreError::Index { path: path.clone(), reason };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if head.format != FORMAT {
        return Err(wrong(format!("format {}", head.format)));
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    debug_assert_eq!(index.format, FORMAT);
    index.cases.into_iter().filter(|entry| wanted(&entry.name)).map(|entry| read_case(folder, entry)).collect()
}

fn read_case(folder: &Path, entry: Entry) -> Result<Case, StoreError> {
    let broken = |reason: &str| StoreError::Case { case: entry.name.clone(), reason: reason.to_string() };
    // The name decides where the file is: an index from elsewhere can not point out of its folder.
    if !entry.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        || entry.file != place(&entry.name)
    {
        return Err(broken("its name must be of a-z, 0-9 and -, and its file cases/NAME.npz"));
    }
    let first = entry.inputs.get("x").or(entry.inputs.get("x0")).ok_or_else(|| broken("it has no x"))?;
    let channels = entry.roles.iter().filter(|&&role| role == Role::Channel).count();
    if channels != 1 || entry.roles.len() != first.shape.len() {
        return Err(broken("its roles must name each axis of x, and one as the channels"));
    }
    let one_batch = entry.norm == Norm::Batch && matches!(entry.operation, Operation::Train | Operation::Eval);
    if entry.activation.is_some() && !(one_batch || entry.norm != Norm::Batch && entry.operation == Operation::Forward)
    {
        return Err(broken("an activation may follow train, eval and forward alone"));
    }
    let has = |name: &str| entry.inputs.contains_key(name);
    if let Some(Renormalization { r_max, d_max }) = entry.renormalization {
        let trains = entry.norm == Norm::Batch && entry.operation == Operation::Train;
        let plain = !has("weights") && !has("direction");
        if !(trains && plain && has("running_mean") && has("running_variance") && r_max >= 1.0 && d_max >= 0.0) {
            return Err(broken(
                "renormalization is of training by batch norm, with running statistics, r_max >= 1 and d_max >= 0, without weights",
            ));
        }
    }
    if entry.average.is_some() && entry.update.is_none() {
        return Err(broken("an average without an update"));
    }
    if entry.twin.as_ref().is_some_and(|twin| !entry.inputs.contains_key(&twin.x)) {
        return Err(broken("it has no such input as its twin names"));
    }
    let archive = Npz::open(&folder.join(&entry.file))?;
    let mut inputs = BTreeMap::new();
    for (name, own) in &entry.inputs {
        let InputEntry { shape, strides, offset, recipe } = own;
        let count = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        let count = count.filter(|&count| count <= 1 << 28).ok_or_else(|| broken("an input is too large"))?;
        let mut input = match recipe {
            Some(recipe) => {
                Input { recipe: Some(*recipe), ..Input::dense(recipe.numbers(entry.element, count), shape) }
            }
            None => {
                let array = archive.array(name)?;
                if array.fortran_order || strides.is_none() && array.shape != *shape {
                    return Err(broken(&format!(
                        "'{name}' is not in C order, or of another shape than the index says"
                    )));
                }
                Input::dense(array.numbers, shape)
            }
        };
        if input.numbers.number_type() != entry.element.of_input(name).numbers(&[]).number_type() {
            return Err(broken(&format!("'{name}' is not of the case's type")));
        }
        let length = input.numbers.len();
        if let Some(strides) = strides {
            (input.strides, input.offset) = (Some(strides.clone()), offset.unwrap_or(0));
            if strides.len() != shape.len() || !within(&input, length) {
                return Err(broken(&format!("the strides of '{name}' lead out of its buffer")));
            }
        }
        inputs.insert(name.clone(), input);
    }
    let mut expected = BTreeMap::new();
    for (name, own) in &entry.outputs {
        let values = |what: &str| -> Result<Option<Array>, StoreError> {
            let name = format!("{what}.{name}");
            match archive.contains(&name).then(|| archive.array(&name)).transpose()? {
                Some(array) if array.fortran_order => Err(broken(&format!("'{name}' is not in C order"))),
                array => Ok(array),
            }
        };
        let missing = |what: &str| broken(&format!("it has no array '{what}.{name}'"));
        let high = values("expected")?.ok_or_else(|| missing("expected"))?;
        let scale = values("scale")?.ok_or_else(|| missing("scale"))?;
        let fits = |(&length, &own): (&usize, &usize)| own == length || own == 1;
        if scale.shape.len() != high.shape.len() || !high.shape.iter().zip(&scale.shape).all(fits) {
            return Err(broken(&format!("'scale.{name}' does not fit 'expected.{name}'")));
        }
        let beside = |what: &str| -> Result<Option<Vec<f64>>, StoreError> {
            match values(what)? {
                Some(other) if other.shape != high.shape => Err(broken(&format!("'{what}.{name}' has another shape"))),
                other => Ok(other.map(|other| other.numbers.to_f64())),
            }
        };
        let probes = beside("probes")?.map(|probes| probes.into_iter().map(|place| place as usize).collect());
        expected.insert(
            name.clone(),
            Expected {
                bound: Bound { unit: own.unit, at_most: own.at_most },
                low: beside("low")?,
                alternative: beside("alternative")?,
                probes,
                shape: high.shape.clone(),
                high: high.numbers.to_f64(),
                scale_shape: scale.shape,
                scale: scale.numbers.to_f64(),
            },
        );
    }
    let problem = Problem {
        norm: entry.norm,
        operation: entry.operation,
        element: entry.element,
        roles: entry.roles,
        epsilon: entry.epsilon,
        update: entry.update,
        average: entry.average,
        renormalization: entry.renormalization,
        activation: entry.activation,
        layers: entry.layers.unwrap_or(1),
        inputs,
    };
    let Entry { name, level, what, why, refusal, twin, .. } = entry;
    Ok(Case { name, level, what, why, problem, refusal, expected, twin })
}

/// Whether all elements of an array lie in a buffer of this length.
fn within(input: &Input, length: usize) -> bool {
    if input.shape.contains(&0) {
        return true;
    }
    let (mut low, mut high) = (input.offset as i128, input.offset as i128);
    for (&length, &stride) in input.shape.iter().zip(input.strides.iter().flatten()) {
        let reach = (length as i128 - 1) * stride as i128;
        (low, high) = (low + reach.min(0), high + reach.max(0));
    }
    low >= 0 && high < length as i128
}

/// Writes what an implementation answers to a case, as `run.py FOLDER` reads it: `NAME.npz` with an f64 array for each
/// output (of those with probes, the probed values), none where it refuses, and no file where it does not support the case; `NAME.twin.npz` for the twin of x.
///
/// # Errors
/// What the system says.
pub fn write_answers(folder: &Path, case: &Case, implementation: &dyn Implementation) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let put = |name: String, problem: &Problem| {
        let outputs = match implementation.solve(problem) {
            Answer::Outputs(outputs) => outputs,
            Answer::Refused(_) => BTreeMap::new(),
            Answer::Unsupported(_) => return Ok(()),
        };
        let mut writer = Writer::new(Vec::new(), Packing::Deflated);
        for (name, values) in &outputs {
            // Only the probes of outputs that are too large to be stored.
            let probes = case.expected.get(name).and_then(|expected| expected.probes.as_ref());
            let picked: Vec<f64> = match probes.filter(|probes| probes.iter().all(|&place| place < values.len())) {
                Some(probes) => probes.iter().map(|&place| values[place]).collect(),
                None => values.clone(),
            };
            writer.array(name, &[picked.len()], &picked)?;
        }
        let bytes = writer.finish()?;
        atomic::write_file(&folder.join(name), |out| out.write_all(&bytes)).map_err(io::Error::other)
    };
    put(format!("{}.npz", case.name), &case.problem)?;
    case.twin_problem().map_or(Ok(()), |twin| put(format!("{}.twin.npz", case.name), &twin))
}
