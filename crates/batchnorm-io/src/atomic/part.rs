//! A file finished beside its target, waiting to take its place.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::WriteError;

/// A hidden file with the whole content of `target`, synced; deleted when dropped unless renamed.
#[derive(Debug)]
pub(super) struct Part {
    hidden: PathBuf,
    pub target: PathBuf,
    in_place: bool,
}

impl Part {
    /// Writes the content for `target` into a hidden file beside it.
    pub fn write(target: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Self, WriteError> {
        expect_place(target)?;
        let (hidden, file) = create_hidden(&folder_of(target))?;
        // From here on every way out, a panic in `write` too, deletes the hidden file.
        let part = Self { hidden, target: target.to_path_buf(), in_place: false };
        part.fill(file, write).map_err(|reason| WriteError::Write { path: target.to_path_buf(), reason })?;
        Ok(part)
    }

    fn fill(&self, file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        // Before the first byte, so that a private file's new content is never public.
        if let Ok(old) = fs::metadata(&self.target)
            && old.permissions() != file.metadata()?.permissions()
        {
            file.set_permissions(old.permissions())?;
        }
        let mut buffer = BufWriter::new(file);
        write(&mut buffer)?;
        buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Renames the hidden file over the target. The folder is yet to be synced.
    pub fn rename_into_place(&mut self) -> Result<(), WriteError> {
        fs::rename(&self.hidden, &self.target)
            .map_err(|reason| WriteError::Replace { path: self.target.clone(), reason })?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.in_place {
            // Nobody is left to tell, and a hidden file does no harm.
            let _ = fs::remove_file(&self.hidden);
        }
    }
}

/// Errs unless `target` ends in a name, and nothing is there that no file may replace.
pub(super) fn expect_place(target: &Path) -> Result<(), WriteError> {
    if target.file_name().is_none() {
        let path = target.to_path_buf();
        return Err(WriteError::Name { path, expected: "a path that ends in the name of a file" });
    }
    expect_replaceable(target)
}

/// Errs unless a file can be created in `folder` and removed, which is tried.
pub(super) fn expect_writable(folder: &Path) -> Result<(), WriteError> {
    let (probe, file) = create_hidden(folder)?;
    drop(file);
    fs::remove_file(&probe).map_err(|reason| WriteError::CreateFile { folder: folder.to_path_buf(), reason })
}

/// Errs if something is at `target` that a rename would destroy or fail on. Links are followed: a link
/// to a folder or device was not meant to be replaced by a file.
pub(super) fn expect_replaceable(target: &Path) -> Result<(), WriteError> {
    let found = match fs::metadata(target) {
        Ok(metadata) if metadata.is_dir() => "a folder",
        Ok(metadata) if !metadata.is_file() => "a pipe, socket or device",
        // An error is no objection: most often there is nothing; if not, creating the file will tell.
        _ => return Ok(()),
    };
    Err(WriteError::NotAFile { path: target.to_path_buf(), found })
}

/// A new empty hidden file in `folder`, with the permissions any new file gets.
pub(super) fn create_hidden(folder: &Path) -> Result<(PathBuf, File), WriteError> {
    loop {
        let path = hidden_name(folder, "part");
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            // Left behind by a killed process that had our number. Names do not run out: try the next.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(reason) => {
                return Err(WriteError::CreateFile { folder: folder.to_path_buf(), reason });
            }
        }
    }
}

/// A name no one else in this process uses. Not made from the target's name, which may be as long as
/// the file system allows. `kind` is `part` for new content, `old` for old.
pub(super) fn hidden_name(folder: &Path, kind: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(".batchnorm-{}-{number}.{kind}", process::id()))
}

/// Makes renames in `folder` survive a power loss, where the system can.
pub(super) fn sync_folder(folder: &Path) -> Result<(), WriteError> {
    // Only Unix opens a folder as a file.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|f| f.sync_all()) {
        // Some network file systems do not know the operation.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(reason) => Err(WriteError::Sync { folder: folder.to_path_buf(), reason }),
        Ok(()) => Ok(()),
    }
}

/// The folder a file is in; `.` for a bare name.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
