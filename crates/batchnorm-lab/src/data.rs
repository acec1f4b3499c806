//! Labelled data sets of any kind, as sets that are read by place.
//!
//! What a path holds is told by its files: the IDX files of MNIST and its kin, the binary batches of CIFAR-10 and CIFAR-100, pictures in a
//! folder for each class (in one part, or in folders `train` and `test`), or a table of numbers of which one column is the class. Values
//! of pictures are in 0..=1. IDX files that are not packed, CIFAR's batches, and pictures beyond 256 MiB of each part are read from disk as they are
//! needed; tables and packed files are in memory, up to a gigabyte.

mod augment;
mod cifar;
mod error;
mod examples;
mod folder;
mod found;
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
pub use folder::{FOLDER, Size, entries, luminance_on_white, pictures, seen};
pub use found::{Found, MOST_CLASSES};
pub use scale::Scale;
pub use set::Set;
pub use split::{count, split_off, subset};
pub use summary::{Data, DataSummary, Parts};

/// Looks at what a path holds; pictures in a folder get a size.
///
/// # Errors
/// [`DataError`]: nothing there, no data set of a known kind, files that are broken or do not fit together, labels that are no classes.
pub fn open(path: &Path, size: Size) -> Result<Found, DataError> {
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
