//! Output files that are whole or not there.
//!
//! A file is written beside its target under a hidden name (`.batchnorm-*.part`), synced to the disk and
//! renamed over the target, then the folder is synced. A reader sees the old file or the new one,
//! never a part, and an error leaves the old one as it was.
//!
//! [`write_file`] does this for one file; [`FileSet`] for the several files of one run, all or none.
//!
//! What to know about targets:
//! - A **symbolic link** is replaced by the file: the link is gone, what it pointed to stays untouched.
//! - **Permissions** are what [`File::create`](std::fs::File::create) gives: those of the file replaced,
//!   else `0666` less the umask. The owner is who runs the program.
//! - A **folder, device or pipe** (`/dev/null`, or a link to one) is refused, not replaced.
//! - A process that is **killed** leaves its hidden files behind. A `.batchnorm-*.part` may be deleted, which
//!   [`remove_abandoned`] does; a `.batchnorm-*.old` is what a target held before a commit that was cut off.

mod error;
mod part;
mod set;

use std::io::{self, Write};
use std::path::Path;

pub use error::WriteError;
pub use set::FileSet;

use part::{Part, folder_of};

/// Writes the file at `path` through `write`, replacing what is there, whole or not at all.
///
/// The writer is buffered. The folder must exist.
///
/// # Errors
/// [`WriteError`], naming the path: it is a folder or device, its folder does not exist or can not be
/// written, `write` failed, or the system failed. The target is then as it was and nothing else is left; except
/// for a failure to sync the folder, after which the new file is in place but may not survive a power loss.
///
/// ```
/// use batchnorm_io::atomic::write_file;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("report.txt");
/// write_file(&path, |out| writeln!(out, "largest difference 3e-7"))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "largest difference 3e-7\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    let mut part = Part::write(path, write)?;
    part.rename_into_place()?;
    part::sync_folder(&folder_of(path))
}

/// Removes what killed processes left beside `path`: the `.batchnorm-*.part` files in its folder that nobody holds any more. Those that
/// another process is writing stay. Gives their number; a folder that cannot be read has none.
pub fn remove_abandoned(path: &Path) -> usize {
    part::remove_abandoned(&folder_of(path))
}

/// Makes sure, by trying, that [`write_file`] can put a file at `path`, and changes nothing: before a long
/// computation.
///
/// # Errors
/// As [`write_file`], but for what fails later, such as a full disk.
pub fn expect_writable(path: &Path) -> Result<(), WriteError> {
    part::expect_place(path)?;
    part::expect_writable(&folder_of(path))
}
