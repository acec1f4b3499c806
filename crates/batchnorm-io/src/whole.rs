//! Regular files, and small ones read whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The bytes of the file at `path`, up to one more than `most`: whoever gets that one knows the file is too large.
///
/// # Errors
/// What the system says; a folder, pipe or device.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file.
///
/// # Errors
/// What the system says; a folder, pipe or device.
pub fn open(path: &Path) -> io::Result<File> {
    // Before it is opened, because opening a pipe waits for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a regular file, got a folder, pipe or device"));
    }
    File::open(path)
}
