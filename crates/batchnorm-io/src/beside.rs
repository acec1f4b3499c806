//! Files that another file names: in its folder or below, and nowhere else.
//!
//! A file from a stranger may name any path. What is opened here is a regular file whose name leads down from the folder, and that is
//! there when all symbolic links have been followed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::whole;

/// A name that leads out of the folder, or to no regular file. The messages end in what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BesideError {
    /// An absolute path, one with `..`, or none.
    #[error(
        "{name:?}: expected the name of a file in the same folder or below, got a path that leads elsewhere; put the file there and name it so"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A symbolic link on the way that leads out of the folder.
    #[error(
        "{name:?}: expected a file in the same folder or below, got a link to elsewhere; put the file itself there"
    )]
    Link {
        /// The name.
        name: String,
    },
    /// What the system says; a folder, pipe or device.
    #[error("{name:?}: {error}")]
    Io {
        /// The name.
        name: String,
        /// What is wrong.
        error: io::Error,
    },
    /// A range that the file does not have.
    #[error("{name:?}: expected {length} bytes from byte {offset} on, got a file of {size} bytes")]
    Range {
        /// The name.
        name: String,
        /// Where they begin.
        offset: u64,
        /// How many there are to be.
        length: u64,
        /// The size of the file.
        size: u64,
    },
}

/// The path of a file that is named beside others in a folder, with all links followed.
///
/// # Errors
/// A name that leads out of the folder, by itself or by links; no regular file.
pub fn find(folder: &Path, name: &str) -> Result<PathBuf, BesideError> {
    let path = Path::new(name);
    let leads_down = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || name.contains(['\0', '\\']) || !path.components().all(leads_down) {
        return Err(BesideError::Name { name: name.to_owned() });
    }
    let io = |error: io::Error| BesideError::Io { name: name.to_owned(), error };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let within = fs::canonicalize(folder).map_err(io)?;
    let path = fs::canonicalize(folder.join(path)).map_err(io)?;
    if !path.starts_with(&within) {
        return Err(BesideError::Link { name: name.to_owned() });
    }
    // (A pipe or device is none either.)
    whole::open(&path).map_err(io)?;
    Ok(path)
}

/// A range of bytes of a file that is named beside others in a folder; without a length to its end. Nothing is read of a file that
/// is smaller than that.
///
/// # Errors
/// As [`find`]; a range that the file does not have.
///
/// ```
/// use batchnorm_io::beside;
/// # let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("weights.bin"), b"0123456789")?;
/// assert_eq!(beside::read(folder.path(), "weights.bin", 2, Some(3))?, b"234");
/// assert!(beside::read(folder.path(), "../weights.bin", 0, None).is_err());
/// assert!(beside::read(folder.path(), "weights.bin", 8, Some(3)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(folder: &Path, name: &str, offset: u64, length: Option<u64>) -> Result<Vec<u8>, BesideError> {
    let io = |error: io::Error| BesideError::Io { name: name.to_owned(), error };
    let mut file = whole::open(&find(folder, name)?).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let length = length.unwrap_or(size.saturating_sub(offset));
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(BesideError::Range { name: name.to_owned(), offset, length, size });
    }
    read_range(&mut file, offset, length).map_err(io)
}

/// A range of bytes of an open file, which is known to have it.
///
/// # Errors
/// What the system says; a file that has become shorter.
pub fn read_range(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).map_err(io::Error::other)?).map_err(io::Error::other)?;
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), b"x").unwrap();
        let folder = outside.path().join("model");
        fs::create_dir_all(folder.join("data")).unwrap();
        fs::write(folder.join("data/weights"), b"abc").unwrap();
        assert_eq!(read(&folder, "data/weights", 1, None).unwrap(), b"bc");
        assert_eq!(read(&folder, "./data/weights", 0, Some(1)).unwrap(), b"a");
        let absolute = outside.path().join("secret").to_string_lossy().into_owned();
        for name in ["../secret", "data/../../secret", &absolute, "", "data\\weights", "a\0b", ".."] {
            assert!(matches!(find(&folder, name), Err(BesideError::Name { .. })), "{name:?}");
        }
        for name in ["data", "absent", "."] {
            assert!(matches!(find(&folder, name), Err(BesideError::Io { .. })), "{name:?}");
        }
        for (offset, length) in [(4, None), (2, Some(2)), (u64::MAX, Some(2))] {
            let said = read(&folder, "data/weights", offset, length).map(|bytes| bytes.len());
            assert!(matches!(said, Err(BesideError::Range { .. }) | Ok(0)), "{offset} {length:?}: {said:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_may_not_lead_out_and_devices_are_no_files() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("model");
        fs::create_dir(&folder).unwrap();
        fs::write(outside.path().join("secret"), b"x").unwrap();
        fs::write(folder.join("weights"), b"abc").unwrap();
        symlink("../secret", folder.join("out")).unwrap();
        symlink("weights", folder.join("in")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("/dev/zero", folder.join("zero")).unwrap();
        assert_eq!(read(&folder, "in", 0, None).unwrap(), b"abc");
        for name in ["out", "up/secret", "zero"] {
            assert!(matches!(find(&folder, name), Err(BesideError::Link { .. })), "{name}");
        }
        assert!(matches!(find(Path::new("/dev"), "zero"), Err(BesideError::Io { .. })));
    }
}
