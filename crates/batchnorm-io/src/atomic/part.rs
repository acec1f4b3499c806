//! A file finished beside its target, waiting to take its place.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::WriteError;

/// A hidden file without a lock that was written to so recently may be somebody's.
const UNTOUCHED: Duration = Duration::from_secs(60);

/// A hidden file with the whole content of `target`, synced; deleted when dropped unless renamed.
#[derive(Debug)]
pub(super) struct Part {
    hidden: PathBuf,
    pub target: PathBuf,
    in_place: bool,
    /// Kept open for its lock, by which others see that somebody still needs the hidden file.
    file: Option<File>,
}

impl Part {
    /// Writes the content for `target` into a hidden file beside it.
    pub fn write(target: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Self, WriteError> {
        expect_place(target)?;
        let (hidden, file) = create_hidden(&folder_of(target))?;
        // From here on every way out, a panic in `write` too, deletes the hidden file.
        let mut part = Self { hidden, target: target.to_path_buf(), in_place: false, file: None };
        let file = part.fill(file, write).map_err(|reason| WriteError::Write { path: target.to_path_buf(), reason })?;
        part.file = Some(file);
        Ok(part)
    }

    fn fill(&self, file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
        // Before the first byte, so that a private file's new content is never public.
        if let Ok(old) = fs::metadata(&self.target)
            && old.permissions() != file.metadata()?.permissions()
        {
            file.set_permissions(old.permissions())?;
        }
        let mut buffer = BufWriter::new(file);
        write(&mut buffer)?;
        let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file)
    }

    /// Renames the hidden file over the target. The folder is yet to be synced.
    pub fn rename_into_place(&mut self) -> Result<(), WriteError> {
        fs::rename(&self.hidden, &self.target)
            .map_err(|reason| WriteError::Replace { path: self.target.clone(), reason })?;
        self.in_place = true;
        self.file = None;
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
            // Nobody holds it for long but who removes it. (Where locks are not to be had, the process's number must do.)
            Ok(file) => {
                let _ = file.lock();
                return Ok((path, file));
            }
            // Left behind by a killed process that had our number. Names do not run out: try the next.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(reason) => {
                return Err(WriteError::CreateFile { folder: folder.to_path_buf(), reason });
            }
        }
    }
}

/// Removes the hidden files in `folder` that killed processes left: those nobody holds a lock of, whose process is gone, or which
/// nobody has written to for a minute. What cannot be read or removed stays. Gives their number.
///
/// (A file is without its lock for the moment between its creation and the next call. Whoever writes it is there then, except for those who
/// share the folder but not the numbers of processes, as containers may.)
pub(super) fn remove_abandoned(folder: &Path) -> usize {
    let removed = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        let (process, number) = name.strip_prefix(".batchnorm-")?.strip_suffix(".part")?.split_once('-')?;
        let (process, number): (u32, u64) = (process.parse().ok()?, number.parse().ok()?);
        // (Opening a pipe would wait for somebody to write.)
        if !path.symlink_metadata().ok()?.is_file() {
            return None;
        }
        let file = File::open(path).ok()?;
        file.try_lock().ok()?;
        let gone = match process == process::id() {
            // Of an earlier process that had our number, where we have not come so far.
            true => number >= NEXT.load(Ordering::Relaxed),
            false => cfg!(target_os = "linux") && !Path::new(&format!("/proc/{process}")).exists(),
        };
        let old = || file.metadata().ok()?.modified().ok()?.elapsed().ok().map(|age| age > UNTOUCHED);
        // While it is locked.
        (gone || (process != process::id() && old()?)).then(|| fs::remove_file(path).ok()).flatten()
    };
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter(|entry| removed(&entry.path()).is_some()).count()
}

/// The number of the next hidden file of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name no one else in this process uses. Not made from the target's name, which may be as long as
/// the file system allows. `kind` is `part` for new content, `old` for old.
pub(super) fn hidden_name(folder: &Path, kind: &str) -> PathBuf {
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
