//! Inputs of `predict`: the embedded digits, a labelled set, or the pictures that paths lead to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use batchnorm_io::picture;
use batchnorm_lab::data::{self, Data, DataSummary, Found, Set, Size, entries, pictures};
use batchnorm_lab::digits::{self, Digits, PIXELS};
use batchnorm_lab::picture::{Source as Ink, seen};

use super::options::{Arguments, Digits as Embedded, Part};
use crate::data_set;
use crate::failure::{Failure, tell};

/// One example that is asked about.
pub struct Asked {
    /// Its name: the path, or its place in a set.
    pub name: String,
    /// The class it is, where that is known.
    pub label: Option<usize>,
    at: At,
}

/// Where an example is.
enum At {
    Picture(PathBuf),
    /// In the set, at this place.
    Set(usize),
}

/// All that is asked about, and the reasons why other things cannot be.
pub struct Inputs {
    pub asked: Vec<Asked>,
    /// One line for each picture or folder that could not be read.
    pub failed: Vec<String>,
    pub source: Source,
}

/// The set that places are in, if any.
pub struct Source(Option<Set>);

impl Source {
    /// The values of an example as the network knows them, before they are standardised.
    pub fn values(&self, asked: &Asked, data: &DataSummary) -> Result<Vec<f32>, String> {
        match (&asked.at, &self.0) {
            (At::Set(place), Some(set)) => {
                set.read(&[*place]).map(|examples| examples.values).map_err(|error| error.to_string())
            }
            (At::Set(_), None) => Err(format!("{}: no set", asked.name)),
            (At::Picture(path), _) => {
                let picture = picture::read(path).map_err(|error| error.to_string())?;
                if !is_of_digits(data) {
                    return Ok(data::seen(&picture, data.input));
                }
                let ink = Ink { width: picture.width, pixels: &picture.pixels };
                seen(ink).map(|pixels| pixels.to_vec()).map_err(|error| format!("{}: {error}", path.display()))
            }
        }
    }
}

/// Tells whether a network was trained on the embedded digits: pictures are then made as those were.
pub fn is_of_digits(data: &DataSummary) -> bool {
    data.name == data_set::EMBEDDED && data.input.values() == PIXELS
}

impl Inputs {
    /// What the command line asks about a network of these data.
    pub fn of(arguments: &Arguments, data: &DataSummary) -> Result<Inputs, Failure> {
        if let Some(set) = arguments.digits {
            if data.input.values() != PIXELS || data.classes.len() != 10 {
                let got = format!("{} and {} classes", data.input, data.classes.len());
                return Err(Failure::usage(format!(
                    "--digits: expected a network of 8x8 pixels and 10 classes, got one of {got}; give its --data"
                )));
            }
            return Ok(embedded(set));
        }
        if let Some(word) = &arguments.data {
            return labelled(word, arguments.part, data);
        }
        if !(data.input.is_picture() && matches!(data.input.channels, 1 | 3)) {
            let got = format!("a network of {}", data.input);
            return Err(Failure::usage(format!(
                "PATH: expected a network of pictures for pictures, got {got}; give a table by --data"
            )));
        }
        Ok(of_paths(&arguments.paths, data))
    }
}

/// Digits of the data set, called by the part they are in and their place there.
fn embedded(set: Embedded) -> Inputs {
    let Digits { train, test } = Digits::embedded();
    let mut all = batchnorm_lab::data::Examples::default();
    let mut asked = Vec::new();
    for (part, examples, left_out) in [("train", train, Embedded::Test), ("test", test, Embedded::Train)] {
        if set == left_out {
            continue;
        }
        for (place, &class) in examples.classes.iter().enumerate() {
            let at = At::Set(asked.len());
            asked.push(Asked { name: format!("{part} {place}"), label: Some(usize::from(class)), at });
        }
        all.values.extend(examples.values);
        all.classes.extend(examples.classes);
    }
    let set = Set::in_memory(digits::SHAPE, all);
    Inputs { asked, failed: Vec::new(), source: Source(Some(set)) }
}

/// The part of a labelled set that was asked for: unless it is said, what the network was not trained on.
fn labelled(word: &Path, part: Option<Part>, data: &DataSummary) -> Result<Inputs, Failure> {
    let has_pictures = data.input.is_picture() && matches!(data.input.channels, 1 | 3);
    let size = if has_pictures { Size::As(data.input) } else { Size::Own };
    let (name, found) = data_set::find("--data", word, size)?;
    // A network of some of the classes is asked about those.
    let found = match &data.parts.classes {
        Some(names) => found.of_classes(names).map_err(|error| Failure::input(format!("--data: {name}: {error}")))?,
        None => found,
    };
    let mismatch =
        |expected: String, got: String| Failure::input(format!("--data: {name}: expected {expected}, got {got}"));
    if found.classes != data.classes {
        let words = |classes: &[String]| format!("the classes {}", classes.join(", "));
        return Err(mismatch(words(&data.classes), words(&found.classes)));
    }
    if found.train.shape() != data.input {
        return Err(mismatch(format!("examples of {}", data.input), found.train.shape().to_string()));
    }
    let (what, set) = match (part, found.test) {
        // (Nothing else of the set has to be read.)
        (None | Some(Part::Test), Some(test)) => ("test", test),
        (part, test) => part_of(part, &name, Found { test, ..found }, data)?,
    };
    let asked = set.classes().iter().enumerate().map(|(place, &class)| Asked {
        name: format!("{what} {place}"),
        label: Some(usize::from(class)),
        at: At::Set(place),
    });
    Ok(Inputs { asked: asked.collect(), failed: Vec::new(), source: Source(Some(set)) })
}

/// A part of a set that may be the one that the network was trained on: then the parts are those of its training.
fn part_of(part: Option<Part>, name: &str, found: Found, data: &DataSummary) -> Result<(&'static str, Set), Failure> {
    let everything = found.train.part(&(0..found.train.len()).collect::<Vec<_>>());
    let in_parts = Data::new(name, found, data.parts.clone(), false)
        .map_err(|error| Failure::input(format!("--data: {error}")))?;
    let same = in_parts.summary.fingerprint == data.fingerprint;
    let Data { train, test, .. } = in_parts;
    let (what, set) = match part {
        Some(Part::Train) => ("train", train),
        Some(Part::Test) => ("test", test),
        None if same => ("test", test),
        None | Some(Part::All) => ("all", everything),
    };
    if same && what != "test" {
        tell(format_args!("batchnorm: warning: the network was trained on examples of {name} ({what})"));
    }
    Ok((what, set))
}

/// The pictures at these paths.
fn of_paths(paths: &[PathBuf], data: &DataSummary) -> Inputs {
    let mut inputs = Inputs { asked: Vec::new(), failed: Vec::new(), source: Source(None) };
    for path in paths {
        find(path, &data.classes, &mut inputs);
    }
    inputs
}

fn found(path: &Path, label: Option<usize>) -> Asked {
    Asked { name: path.display().to_string(), label, at: At::Picture(path.to_path_buf()) }
}

/// Adds the picture at a path, or those in the folder: of its subfolders named as classes, labelled, if it has such. A folder
/// that cannot be read or has none adds a line to `failed`.
fn find(path: &Path, classes: &[String], inputs: &mut Inputs) {
    if !path.is_dir() {
        // A path that is no file fails when it is read.
        inputs.asked.push(found(path, None));
        return;
    }
    let before = (inputs.asked.len(), inputs.failed.len());
    let below = read(path, &mut inputs.failed);
    let label = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str)?;
        classes.iter().position(|class| class == name).filter(|_| path.is_dir())
    };
    let labelled: Vec<(&PathBuf, usize)> =
        below.iter().filter_map(|entry| label(entry).map(|of| (entry, of))).collect();
    let loose = pictures(&below);
    let folders = match classes {
        [first, .., last] if classes.len() > 4 => format!("subfolders {first} to {last}"),
        _ => format!("subfolders {}", classes.join(", ")),
    };
    match (labelled.is_empty(), loose.is_empty()) {
        (true, _) => inputs.asked.extend(loose.iter().map(|path| found(path, None))),
        (false, true) => {
            for (folder, label) in labelled {
                let below = read(folder, &mut inputs.failed);
                inputs.asked.extend(pictures(&below).iter().map(|path| found(path, Some(label))));
            }
        }
        (false, false) => inputs.failed.push(format!(
            "{}: expected PNG or JPEG pictures or {folders}, got both; give one of them, or each by its path",
            path.display()
        )),
    }
    if (inputs.asked.len(), inputs.failed.len()) == before {
        let holds = if below.is_empty() { "an empty folder" } else { "a folder without any" };
        inputs.failed.push(format!(
            "{}: expected PNG or JPEG pictures (*.png, *.jpg, *.jpeg), or {folders} with some, got {holds}",
            path.display()
        ));
    }
}

/// The entries of a folder, sorted by name. If it cannot be read, the reason is added to `failed`.
fn read(folder: &Path, failed: &mut Vec<String>) -> Vec<PathBuf> {
    entries(folder).unwrap_or_else(|error| {
        failed.push(format!("{}: cannot be read: {error}", folder.display()));
        Vec::new()
    })
}
