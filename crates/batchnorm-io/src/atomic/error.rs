//! Why an output file is not there.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an output was not written. The message is complete in itself: which file, what happened, how to
/// mend it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The folder for the output can not be made.
    #[error("output folder {}: cannot be created: {reason}; name a folder that can be", .path.display())]
    CreateFolder {
        /// The folder, or the one above it that failed.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The name of the output folder belongs to something else.
    #[error("output folder {}: expected a folder, found something else; name another or move it away", .path.display())]
    NotAFolder {
        /// The path given as a folder.
        path: PathBuf,
    },
    /// No file can be made in the folder.
    #[error(
        "{}: no file can be created in this folder: {reason}; it must exist and be writable", .folder.display()
    )]
    CreateFile {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The target is a folder, device or pipe, which is never replaced.
    #[error("{}: expected a regular file to replace or nothing, found {found}; name another output", .path.display())]
    NotAFile {
        /// The target.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The path does not end in a name, or the name given to a set is a path.
    #[error("`{}`: expected {expected}", .path.display())]
    Name {
        /// What came.
        path: PathBuf,
        /// What should have come.
        expected: &'static str,
    },
    /// A name is used twice in one set.
    #[error("{}: named twice in one set of output files; each is written or removed once", .path.display())]
    Twice {
        /// The target.
        path: PathBuf,
    },
    /// Writing or syncing the content failed, in the system or in the function that writes.
    #[error("{}: cannot be written: {reason}", .path.display())]
    Write {
        /// The target, which is as it was.
        path: PathBuf,
        /// What the system or the function said.
        reason: io::Error,
    },
    /// The finished file could not take its place.
    #[error("{}: cannot be replaced: {reason}", .path.display())]
    Replace {
        /// The target, which is as it was.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A file that must not lie beside the new ones could not be removed.
    #[error("{}: is of an earlier run and cannot be removed: {reason}", .path.display())]
    Remove {
        /// The file, which is as it was.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The folder could not be synced to the disk.
    #[error("{}: cannot be synced to the disk: {reason}", .folder.display())]
    Sync {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A commit failed and an earlier file could not be put back.
    #[error(
        "{cause}; then {} could not be put back: {reason}{}", .path.display(),
        .backup.as_ref().map(|b| format!("; its old content is in {}", b.display())).unwrap_or_default()
    )]
    RollBack {
        /// Why the commit failed.
        cause: Box<WriteError>,
        /// The file that is not as it was.
        path: PathBuf,
        /// Where its old content lies, if there was any.
        backup: Option<PathBuf>,
        /// What the system said.
        reason: io::Error,
    },
}
