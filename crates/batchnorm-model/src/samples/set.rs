//! The samples of whatever kind.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use batchnorm_io::table::Header;
use batchnorm_io::whole;
use serde::{Deserialize, Serialize};

use super::arrays::{self, Array, Values};
use super::error::SamplesError;
use super::folder::Found;
use super::labels;
use super::pictures::Pictures;
use crate::excerpt::excerpt;
use crate::os_path;
use crate::recipe::Recipe;

/// The user's data as inputs of a model. Several threads may read from it at once.
///
/// ```
/// use batchnorm_io::npy;
/// use batchnorm_model::samples::Samples;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("x.npy");
/// std::fs::write(&path, npy::encode(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0])?)?;
/// let samples = Samples::open(&path, None, None)?;
/// assert_eq!((samples.len(), &samples.inputs()[0].shape), (3, &vec![2]));
/// assert_eq!(samples.read(1..3)?, [[3.0, 4.0, 5.0, 6.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Samples {
    path: PathBuf,
    source: Source,
    count: usize,
    inputs: Vec<InputShape>,
    labels: Option<Vec<usize>>,
    classes: Option<Vec<String>>,
    notes: Vec<String>,
}

/// Where data are, and how they are read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Data {
    /// A file, or a folder of pictures.
    #[serde(with = "os_path")]
    pub path: PathBuf,
    /// The right classes, where they are in a file of their own.
    #[serde(with = "os_path::optional")]
    pub labels: Option<PathBuf>,
    /// What is done to pictures.
    pub recipe: Option<Recipe>,
    /// Whether the first line of a table names its columns, where that is known.
    pub header: Option<bool>,
}

impl Data {
    /// Opens them.
    ///
    /// # Errors
    /// As [`Samples::open`].
    pub fn open(&self) -> Result<Samples, SamplesError> {
        let labels = self.labels.as_deref();
        match self.header {
            Some(true) => Samples::open_table(&self.path, Header::Yes, labels),
            Some(false) => Samples::open_table(&self.path, Header::No, labels),
            None => Samples::open(&self.path, self.recipe.as_ref(), labels),
        }
    }
}

/// One input of a model, as data have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputShape {
    /// Its name, where the data have one: that of an array of a `.npz` file.
    pub name: Option<String>,
    /// The shape of one sample, without the axis of samples.
    pub shape: Vec<usize>,
}

#[derive(Debug)]
enum Source {
    Arrays(Vec<Array>),
    Pictures(Pictures),
}

impl Samples {
    /// Opens data, told by what they are:
    ///
    /// - a `.npy` file, whose first axis counts the samples; it stays in the file;
    /// - a `.npz` file, each array an input of its name, all with the same samples; arrays that are stored stay in the file, those that are
    ///   deflated may take [`MOST_UNPACKED`](super::MOST_UNPACKED) bytes of memory;
    /// - a table (`.csv`, `.tsv`, `.txt`), whose rows are samples, of at most [`MOST_TABLE_NUMBERS`](super::MOST_TABLE_NUMBERS) numbers;
    /// - a folder of PNG or JPEG pictures, sorted by name, or of sub-folders with them, which are classes, sorted by name; pictures are
    ///   prepared by the recipe (by [`Recipe::default`] where there is none), and looked at here but for their pixels: all come out in one size.
    ///
    /// Numbers become the nearest in single precision. Arrays and tables are inputs as they are: a recipe is not applied, which a
    /// [note](Self::notes) says. `labels` is a `.npy` file, or a text with one a line (`.csv`, `.tsv`, `.txt`), of whole numbers from 0 on, in the order of
    /// the samples.
    ///
    /// # Errors
    /// Files that cannot be read, of another kind, damaged, or without samples; pictures that the recipe cannot prepare, or that come out in
    /// several sizes; labels that do not fit.
    pub fn open(path: &Path, recipe: Option<&Recipe>, labels: Option<&Path>) -> Result<Samples, SamplesError> {
        recipe.map_or(Ok(()), Recipe::check)?;
        let metadata = fs::metadata(path).map_err(|error| SamplesError::Read { path: path.to_owned(), error })?;
        let mut samples = match metadata.is_dir() {
            true => Samples::of_folder(path, recipe.cloned().unwrap_or_default())?,
            false => Samples::of_file(path, recipe.is_some())?,
        };
        samples.take_labels(labels)?;
        Ok(samples)
    }

    /// Opens a table, whatever its name, of which it is known whether its first line names the columns: [`open`](Self::open) refuses those of
    /// which nobody can tell, with the word `--header`.
    ///
    /// # Errors
    /// As there.
    pub fn open_table(path: &Path, header: Header, labels: Option<&Path>) -> Result<Samples, SamplesError> {
        let mut notes = Vec::new();
        let arrays = arrays::of_table(path, header, &mut notes)?;
        let mut samples = Samples::of_arrays(path, arrays, notes);
        samples.take_labels(labels)?;
        Ok(samples)
    }

    fn take_labels(&mut self, path: Option<&Path>) -> Result<(), SamplesError> {
        let Some(path) = path else { return Ok(()) };
        if self.classes.is_some() {
            return Err(SamplesError::LabelsTwice { path: path.to_owned(), folder: self.path.clone() });
        }
        self.labels = Some(labels::read(path, self.count, &mut self.notes)?);
        Ok(())
    }

    fn of_folder(path: &Path, recipe: Recipe) -> Result<Samples, SamplesError> {
        let mut found = Found::of(path)?;
        let mut notes = found.notes();
        let pictures = Pictures::open(std::mem::take(&mut found.files), recipe, &mut notes)?;
        Ok(Samples {
            path: path.to_owned(),
            count: pictures.files.len(),
            inputs: vec![InputShape { name: None, shape: pictures.shape() }],
            source: Source::Pictures(pictures),
            labels: found.labels,
            classes: found.classes,
            notes,
        })
    }

    fn of_file(path: &Path, has_recipe: bool) -> Result<Samples, SamplesError> {
        let mut begin = Vec::new();
        let read = whole::open(path).and_then(|file| file.take(6).read_to_end(&mut begin));
        read.map_err(|error| SamplesError::Read { path: path.to_owned(), error })?;
        let ends = |ends: &[&str]| {
            path.extension().is_some_and(|end| ends.iter().any(|known| end.eq_ignore_ascii_case(known)))
        };
        let mut notes = Vec::new();
        // (By its name where its beginning is damaged, for then its reader says how.)
        let arrays = if begin.starts_with(b"\x93NUMPY") || ends(&["npy"]) {
            arrays::of_npy(path, &mut notes)?
        } else if begin.starts_with(b"PK") || ends(&["npz"]) {
            arrays::of_npz(path, &mut notes)?
        } else if begin.starts_with(b"\x89PNG") || begin.starts_with(b"\xff\xd8\xff") {
            return Err(SamplesError::Kind { path: path.to_owned(), got: "a single picture; put it into a folder" });
        } else if ends(&["csv", "tsv", "txt"]) {
            arrays::of_table(path, Header::Told, &mut notes)?
        } else {
            return Err(SamplesError::Kind { path: path.to_owned(), got: "another file" });
        };
        if has_recipe {
            notes.push(format!(
                "{}: the recipe was not applied: arrays and tables are inputs as they are",
                path.display()
            ));
        }
        Ok(Samples::of_arrays(path, arrays, notes))
    }

    /// Of arrays, one at least, that have the same samples.
    fn of_arrays(path: &Path, arrays: Vec<Array>, notes: Vec<String>) -> Samples {
        let input = |array: &Array| InputShape { name: array.name.clone(), shape: array.shape[1..].to_vec() };
        Samples {
            path: path.to_owned(),
            count: arrays[0].shape[0],
            inputs: arrays.iter().map(input).collect(),
            source: Source::Arrays(arrays),
            labels: None,
            classes: None,
            notes,
        }
    }

    /// How many samples there are, one at least.
    #[expect(clippy::len_without_is_empty, reason = "there are no samples without one: opening them is an error")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// What a sample consists of, in the order of the data.
    pub fn inputs(&self) -> &[InputShape] {
        &self.inputs
    }

    /// The class of each sample, where labels or sub-folders say it.
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// The names of sub-folders, sorted, by which pictures are labelled.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// Whether they are pictures, which a recipe prepares.
    pub fn are_pictures(&self) -> bool {
        matches!(self.source, Source::Pictures(_))
    }

    /// The recipe by which pictures are prepared.
    pub fn recipe(&self) -> Option<&Recipe> {
        match &self.source {
            Source::Pictures(pictures) => Some(&pictures.recipe),
            Source::Arrays(_) => None,
        }
    }

    /// What a user should be told about how the data were read, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// For each input the values of these samples, one behind another.
    ///
    /// # Errors
    /// Samples that there are not; files that cannot be read any more, or are damaged; values that are not finite, in single precision.
    pub fn read(&self, places: Range<usize>) -> Result<Vec<Vec<f32>>, SamplesError> {
        if places.start > places.end || places.end > self.count {
            return Err(SamplesError::Range { count: self.count, first: places.start, end: places.end });
        }
        match &self.source {
            Source::Arrays(arrays) => arrays.iter().map(|array| self.of_array(array, places.clone())).collect(),
            Source::Pictures(pictures) => {
                // (A picture has no more values than its size says, and a finite recipe gives finite ones.)
                let each = self.inputs[0].shape.iter().product::<usize>();
                let mut values = room(places.len().saturating_mul(each))?;
                pictures.read(places, &mut values)?;
                Ok(vec![values])
            }
        }
    }

    fn of_array(&self, array: &Array, places: Range<usize>) -> Result<Vec<f32>, SamplesError> {
        let (each, first) = (array.each(), places.start);
        let values = match &array.values {
            Values::Rows(rows) => rows.read(places).map_err(|error| self.named(error))?,
            Values::Table(all) => all[places.start * each..places.end * each].to_vec(),
        };
        let Some(place) = values.iter().position(|value| !value.is_finite()) else { return Ok(values) };
        let mut rest = place % each;
        let mut at: Vec<usize> = Vec::new();
        for length in array.shape[1..].iter().rev() {
            at.push(rest % length);
            rest /= length;
        }
        at.reverse();
        let named = array.name.as_ref().map(|name| format!(" `{}`", excerpt(name))).unwrap_or_default();
        let file = format!("{}{named}", self.path.display());
        Err(SamplesError::NotFinite { place: file, sample: first + place / each, at, value: values[place] })
    }

    /// An error of an array with the file's path, which one of a `.npz` file does not have.
    fn named(&self, mut error: batchnorm_io::npy::NpyError) -> SamplesError {
        error.path.get_or_insert_with(|| self.path.clone());
        error.into()
    }

    /// The same pictures prepared otherwise, as far as values and the order of colours go (`scale`, `mean`, `sd`, `colours`): sizes and layout stay
    /// as they are. For comparing preprocessings.
    ///
    /// # Errors
    /// No pictures; another number of channels; what [`Recipe::check`] says.
    pub fn prepared_by(&self, recipe: &Recipe) -> Result<Samples, SamplesError> {
        let Source::Pictures(pictures) = &self.source else { return Err(SamplesError::NotPictures) };
        let (expected, got) = (pictures.recipe.channels(), recipe.channels());
        if expected != got {
            return Err(SamplesError::Channels { expected, got });
        }
        let pictures = pictures.with_values_of(recipe);
        pictures.recipe.check()?;
        Ok(Samples {
            path: self.path.clone(),
            source: Source::Pictures(pictures),
            count: self.count,
            inputs: self.inputs.clone(),
            labels: self.labels.clone(),
            classes: self.classes.clone(),
            notes: self.notes.clone(),
        })
    }
}

/// Room for so many values, or an error where a plain allocation would end the program.
fn room(count: usize) -> Result<Vec<f32>, SamplesError> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| SamplesError::Memory(count))?;
    Ok(values)
}
