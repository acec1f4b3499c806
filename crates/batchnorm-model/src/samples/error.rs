//! What can be wrong with a user's data.

use std::io;
use std::path::PathBuf;

use batchnorm_io::npy::NpyError;
use batchnorm_io::npz::NpzError;
use batchnorm_io::picture::PictureError;
use batchnorm_io::table::TableError;
use thiserror::Error;

use crate::recipe::RecipeError;

/// Why data cannot be read. Samples are counted from 0, lines from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SamplesError {
    /// What the system says.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A `.npy` file.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// A `.npz` file.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A picture that cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A recipe that no picture can be prepared by.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A picture that the recipe cannot prepare.
    #[error("{}: {error}", path.display())]
    Prepare {
        /// The picture.
        path: PathBuf,
        /// Why not.
        error: RecipeError,
    },
    /// No data of a kind that is read.
    #[error(
        "{}: expected a folder of PNG or JPEG pictures, a .npy or .npz file, or a table (.csv, .tsv, .txt), got {got}", path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        got: &'static str,
    },
    /// Nothing in it.
    #[error("{}: expected samples, the first axis, with values each, got an array of shape {shape:?}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Arrays of one file that do not have the same samples.
    #[error(
        "{}: expected as many samples (the first axis) in each array, got {first_count} in `{first}` and {count} in `{name}`; save \
         the model's inputs alone, each with all samples", path.display()
    )]
    Counts {
        /// The file.
        path: PathBuf,
        /// The first array.
        first: String,
        /// Its samples.
        first_count: usize,
        /// Another array.
        name: String,
        /// Its samples.
        count: usize,
    },
    /// Pictures and folders of them beside each other.
    #[error(
        "{}: expected either pictures or sub-folders of pictures (one for each class), got both, as {} and {}; move one kind away",
        path.display(), picture.display(), folder.display()
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// The first picture in it.
        picture: PathBuf,
        /// The first folder in it.
        folder: PathBuf,
    },
    /// A folder without pictures.
    #[error("{}: expected PNG or JPEG pictures (*.png, *.jpg, *.jpeg), got none; convert the pictures, or take the folder away", .0.display())]
    NoPictures(PathBuf),
    /// A folder within that of a class.
    #[error("{}: expected pictures alone in the folder of a class, got a folder; move its pictures up", .0.display())]
    Nested(PathBuf),
    /// Pictures of different sizes.
    #[error(
        "{}: expected {first_height} x {first_width} (height x width) as {} comes out, got {height} x {width}; have all of them resized \
         to one size by the recipe, or leave this one out", path.display(), first.display()
    )]
    Sizes {
        /// The picture.
        path: PathBuf,
        /// Rows it comes out with.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// The first picture.
        first: PathBuf,
        /// Rows it comes out with.
        first_height: usize,
        /// Pixels in a row.
        first_width: usize,
    },
    /// A value that would make statistics that are no numbers.
    #[error(
        "{place}: expected finite numbers, got {value} in sample {sample} (counted from 0) at {at:?}{}; mend the value or leave the sample out",
        if value.is_infinite() { " (or a number beyond single precision)" } else { "" }
    )]
    NotFinite {
        /// The file, with the array's name.
        place: String,
        /// The sample, from 0 on.
        sample: usize,
        /// The place in it, along each axis.
        at: Vec<usize>,
        /// The value.
        value: f32,
    },
    /// Labels of another number than the samples.
    #[error("{}: expected {samples} labels, one for each sample, got {labels}", path.display())]
    LabelCount {
        /// The file.
        path: PathBuf,
        /// Samples that there are.
        samples: usize,
        /// What the file has.
        labels: String,
    },
    /// A label that is none.
    #[error("{}: {place}: expected one label, a whole number from 0 to {most}, got {got}; {hint}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// The line, or the sample.
        place: String,
        /// The largest label.
        most: usize,
        /// What stands there.
        got: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// A file of labels of another kind.
    #[error("{}: expected labels in a .npy, .csv or .txt file, got {got}", path.display())]
    LabelKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        got: &'static str,
    },
    /// Labels from a file and from folders.
    #[error(
        "{}: expected labels from one place, got a file, and sub-folders as classes in {}; leave the file away, or put the pictures \
         into one folder", path.display(), folder.display()
    )]
    LabelsTwice {
        /// The file of labels.
        path: PathBuf,
        /// The folder of the pictures.
        folder: PathBuf,
    },
    /// Samples that there are not.
    #[error("expected samples before {count}, got a request for those from {first} up to {end}")]
    Range {
        /// Samples that there are.
        count: usize,
        /// The first one asked for.
        first: usize,
        /// The one behind the last.
        end: usize,
    },
    /// More values than there is memory for.
    #[error("expected samples that memory has room for, got {0} values; read fewer at once")]
    Memory(usize),
    /// Another preparation of what has none.
    #[error("expected pictures, which can be prepared otherwise, got arrays of inputs, which are taken as they are")]
    NotPictures,
    /// Another preparation that has another number of channels.
    #[error("expected a recipe with {expected} channels, as the pictures have, got one with {got}")]
    Channels {
        /// The channels of the samples.
        expected: usize,
        /// Those of the recipe.
        got: usize,
    },
}
