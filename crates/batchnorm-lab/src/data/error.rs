//! What can be wrong with a data set.

use std::path::PathBuf;

use batchnorm_io::{cifar, idx, picture, table};
use thiserror::Error;

/// A data set that cannot be used, or a part of it that cannot be read any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path leads to nothing, or to what may not be looked at.
    #[error("{}: {error}", path.display())]
    Place {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A folder or file that is no data set of a known kind.
    #[error(
        "{}: expected a data set (the IDX files of MNIST and its kin, CIFAR's binary batches, a folder of pictures for each class, or a \
         table of numbers with classes in a column), got {got}",
        path.display()
    )]
    Kind {
        /// The file or folder.
        path: PathBuf,
        /// What is there.
        got: String,
    },
    /// A file that is missing beside others.
    #[error("{}: expected {expected} beside the files that are there, found none; fetch the data set again", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The missing file.
        expected: String,
    },
    /// Files that do not fit together.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Mismatch {
        /// The file or folder.
        path: PathBuf,
        /// What was expected of it.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A class that is asked for, and is none of the set's.
    #[error("expected some of the classes {}, got {got}", classes.join(", "))]
    NoClass {
        /// The set's classes.
        classes: Vec<String>,
        /// What was asked for.
        got: String,
    },
    /// A label that is no class.
    #[error("{}: example {example}: expected a label of {expected}, got {got}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// The place of the example, from 0 on.
        example: usize,
        /// The labels that there may be.
        expected: String,
        /// The label that is there.
        got: String,
    },
    /// An IDX file that cannot be read.
    #[error(transparent)]
    Idx(#[from] idx::IdxError),
    /// A batch of CIFAR that cannot be read.
    #[error(transparent)]
    Cifar(#[from] cifar::BatchError),
    /// A picture that cannot be read.
    #[error(transparent)]
    Picture(#[from] picture::PictureError),
    /// A table that cannot be read.
    #[error(transparent)]
    Table(#[from] table::TableError),
}
