//! Labelled data sets of any kind, as sets that are read by place.
//!
//! What a path holds is told by its files: the IDX files of MNIST and its kin, the binary batches of CIFAR-10 and CIFAR-100, pictures in a
//! folder for each class (in one part, or in folders `train` and `test`), or a table of numbers of which one column is the class. Values
//! of pictures are in 0..=1. Nothing larger than memory is held in it: pictures of IDX files that are not packed and of CIFAR's batches stay on disk.

mod augment;
mod cifar;
mod error;
mod examples;
mod folder;
mod idx;
mod scale;
mod set;
mod split;
mod summary;
mod table;

use std::path::Path;

pub use augment::Augmentation;
pub use error::DataError;
pub use examples::{Examples, Shape};
pub use folder::{entries, pictures, seen};
pub use scale::Scale;
pub use set::Set;
pub use split::{count, split_off, subset};
pub use summary::{Data, DataSummary, Parts};

use crate::digits::{self, Digits};

/// Classes of the set with the most: a label is a byte.
pub const MOST_CLASSES: usize = 256;

/// A data set that was found.
#[derive(Debug)]
pub struct Found {
    /// What it is, in words.
    pub kind: &'static str,
    /// The name of each class.
    pub classes: Vec<String>,
    /// The examples to train on.
    pub train: Set,
    /// Those to test with, where the set comes in two parts.
    pub test: Option<Set>,
}

/// Looks at what a path holds; pictures in a folder get a size (rows, columns), or keep their own.
///
/// # Errors
/// [`DataError`]: nothing there, no data set of a known kind, files that are broken or do not fit together, labels that are no classes.
pub fn open(path: &Path, size: Option<(usize, usize)>) -> Result<Found, DataError> {
    let place = |error| DataError::Place { path: path.to_path_buf(), error };
    if !path.metadata().map_err(place)?.is_dir() {
        return table::open(path);
    }
    let below = entries(path).map_err(place)?;
    if let Some(found) = idx::open(path, &below).or_else(|| cifar::open(path, &below)) {
        return found;
    }
    // As the archive of CIFAR-10 unpacks.
    if let [only] = &below[..]
        && only.is_dir()
    {
        return open(only, size);
    }
    folder::open(path, &below, size).unwrap_or_else(|| {
        let got = match below.len() {
            0 => String::from("an empty folder"),
            count => format!("a folder of {count} other files and folders"),
        };
        Err(DataError::Kind { path: path.to_path_buf(), got })
    })
}

/// The embedded digits.
pub fn digits() -> Found {
    let Digits { train, test } = Digits::embedded();
    let shape = Shape { channels: 1, rows: 8, columns: 8 };
    Found {
        kind: "embedded",
        classes: (0..digits::CLASSES).map(|class| class.to_string()).collect(),
        train: Set::in_memory(shape, train),
        test: Some(Set::in_memory(shape, test)),
    }
}

/// A byte of a picture as a share: 255 is 1.
fn byte(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Number of classes of a set whose labels are all classes.
fn most_class(set: &Set) -> usize {
    set.classes().iter().max().map_or(0, |&class| usize::from(class) + 1)
}

/// Errs unless each label up to the highest occurs: one that stands alone far above the others is no class.
fn expect_every_class(path: &Path, classes: &[u8]) -> Result<(), DataError> {
    let mut there = [false; MOST_CLASSES];
    classes.iter().for_each(|&class| there[usize::from(class)] = true);
    let highest = classes.iter().copied().max().unwrap_or(0);
    let Some(gap) = there[..usize::from(highest)].iter().position(|there| !there) else { return Ok(()) };
    let example = classes.iter().position(|&class| usize::from(class) > gap).expect("the highest is above the gap");
    Err(DataError::Label {
        path: path.to_path_buf(),
        example,
        expected: format!("classes that each have an example (none has {gap})"),
        got: classes[example].to_string(),
    })
}
