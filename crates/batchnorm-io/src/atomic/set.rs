//! The output files of one run.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::WriteError;
use super::part::{self, Part, folder_of};

/// The files of one output folder, replaced all or none.
///
/// [`open`](Self::open) it before the work, stage each [`file`](Self::file), name what must be
/// [`absent`](Self::absent), then [`commit`](Self::commit). Until the commit the folder's files are as they
/// were; dropped without it, the set leaves nothing behind, not even a folder it created.
///
/// All or none holds against errors, not against a power loss or a kill between two renames of the
/// commit (every byte is written before the first of them), and not between two processes that commit
/// to the same folder at once. A commit removes stale files first, then replaces in the order of staging.
///
/// ```
/// use batchnorm_io::atomic::FileSet;
///
/// # let folder = tempfile::tempdir()?;
/// # let out = folder.path().join("a/b");
/// let mut files = FileSet::open(&out)?;
/// files.file("mean.txt", |f| writeln!(f, "0.5"))?;
/// files.file("variance.txt", |f| writeln!(f, "1.25"))?;
/// assert!(!out.join("mean.txt").exists());
/// files.commit()?;
/// assert_eq!(std::fs::read_to_string(out.join("mean.txt"))?, "0.5\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped without `commit`, the set removes what it staged"]
pub struct FileSet {
    folder: PathBuf,
    /// Folders made by `open`, outermost first; emptied by a commit.
    created: Vec<PathBuf>,
    parts: Vec<Part>,
    stale: Vec<PathBuf>,
}

impl FileSet {
    /// Opens `folder` for output: creates it, and those above it, where missing, and makes sure by
    /// trying that files can be created in it.
    ///
    /// # Errors
    /// [`WriteError::CreateFolder`], [`WriteError::NotAFolder`], [`WriteError::CreateFile`]; folders
    /// created before the error are removed.
    pub fn open(folder: &Path) -> Result<Self, WriteError> {
        // `.` as a folder is written `""` by `Path::parent`.
        let folder = if folder == Path::new("") { Path::new(".") } else { folder };
        let mut set = Self { folder: folder.to_path_buf(), created: Vec::new(), parts: Vec::new(), stale: Vec::new() };
        // Errors below drop `set`, which removes what it created.
        set.create_folders()?;
        part::expect_writable(folder)?;
        Ok(set)
    }

    fn create_folders(&mut self) -> Result<(), WriteError> {
        let mut outermost_first: Vec<&Path> = self.folder.ancestors().collect();
        outermost_first.reverse();
        for path in outermost_first {
            if path == Path::new("") || path.is_dir() {
                continue;
            }
            let path = path.to_path_buf();
            match fs::create_dir(&path) {
                Ok(()) => self.created.push(path),
                // Made by another process just now, so it is not ours to remove.
                Err(_) if path.is_dir() => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(WriteError::NotAFolder { path });
                }
                Err(reason) => return Err(WriteError::CreateFolder { path, reason }),
            }
        }
        Ok(())
    }

    /// Writes the content of the file `name` through `write`, whole and synced, but hidden until the commit.
    ///
    /// # Errors
    /// [`WriteError::Name`] unless `name` is the bare name of a file, [`WriteError::Twice`] if the set
    /// has it already, [`WriteError::NotAFile`] if the folder holds a folder or device of that name,
    /// [`WriteError::CreateFile`] and [`WriteError::Write`]. The set stays usable, without this file.
    pub fn file(&mut self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
        let target = self.new_target(name)?;
        self.parts.push(Part::write(&target, write)?);
        Ok(())
    }

    /// Has the commit remove the file `name`, if it is there: the output of an earlier run, which would lie
    /// beside this run's as if they belonged together.
    ///
    /// # Errors
    /// [`WriteError::Name`], [`WriteError::Twice`], [`WriteError::NotAFile`] as for [`file`](Self::file).
    pub fn absent(&mut self, name: &str) -> Result<(), WriteError> {
        let target = self.new_target(name)?;
        part::expect_replaceable(&target)?;
        self.stale.push(target);
        Ok(())
    }

    fn new_target(&self, name: &str) -> Result<PathBuf, WriteError> {
        // A trailing slash is no component, so the components are compared with the name itself.
        let mut components = Path::new(name).components();
        let bare = matches!(components.next(), Some(Component::Normal(only)) if only == name);
        if !bare || components.next().is_some() {
            return Err(WriteError::Name {
                path: name.into(),
                expected: "the bare name of a file in the output folder, like y.npy",
            });
        }
        let path = self.folder.join(name);
        if self.stale.contains(&path) || self.parts.iter().any(|part| part.target == path) {
            return Err(WriteError::Twice { path });
        }
        Ok(path)
    }

    /// Puts every file in its place and removes the stale ones.
    ///
    /// The old files are kept under hidden names until all is done; on any error they are put back.
    /// A hidden copy that can not be deleted after success stays; the commit counts.
    ///
    /// # Errors
    /// [`WriteError::NotAFile`] before anything is touched; [`WriteError::Replace`],
    /// [`WriteError::Remove`], [`WriteError::Sync`] with everything as it was; [`WriteError::RollBack`] if
    /// putting back failed too, with the place of the old content.
    pub fn commit(mut self) -> Result<(), WriteError> {
        let targets = self.parts.iter().map(|part| &part.target).chain(&self.stale);
        targets.into_iter().try_for_each(|target| part::expect_replaceable(target))?;

        let mut done = Vec::new();
        if let Err(cause) = self.replace_all(&mut done) {
            return Err(undo(done, cause));
        }
        for Replaced { backup, .. } in done {
            // The outputs are in place and synced; an undeletable hidden file takes nothing from that.
            backup.map(fs::remove_file);
        }
        self.created.clear();
        Ok(())
    }

    fn replace_all(&mut self, done: &mut Vec<Replaced>) -> Result<(), WriteError> {
        for target in &self.stale {
            if exists(target) {
                let backup =
                    move_aside(target).map_err(|reason| WriteError::Remove { path: target.clone(), reason })?;
                done.push(Replaced { target: target.clone(), backup: Some(backup) });
            }
        }
        for part in &mut self.parts {
            let target = part.target.clone();
            let backup = keep(&target).map_err(|reason| WriteError::Replace { path: target.clone(), reason })?;
            // Noted before the rename, for its failure must delete the backup too.
            let had_backup = backup.is_some();
            done.push(Replaced { target, backup });
            if let Err(cause) = part.rename_into_place() {
                if !had_backup {
                    done.pop();
                }
                return Err(cause);
            }
        }
        part::sync_folder(&self.folder)?;
        self.created.iter().try_for_each(|folder| part::sync_folder(&folder_of(folder)))
    }
}

impl Drop for FileSet {
    fn drop(&mut self) {
        self.parts.clear();
        for folder in self.created.iter().rev() {
            // Fails, as it should, if someone has put a file there.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A target that the commit has changed, and where its old content is, if it had any.
#[derive(Debug)]
struct Replaced {
    target: PathBuf,
    backup: Option<PathBuf>,
}

/// A second name for the file at `target`, or `None` if there is none.
fn keep(target: &Path) -> io::Result<Option<PathBuf>> {
    match fs::symlink_metadata(target) {
        // Made since the commit looked: a rename would move it aside as if it were a file.
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => {}
        Err(_) => return Ok(None),
    }
    // With a link the target is never missing. Not every file system has links, and Linux may forbid
    // them for files of others; a rename does for those.
    let backup = unused_name(target);
    match fs::hard_link(target, &backup) {
        Ok(()) => Ok(Some(backup)),
        Err(_) => move_aside(target).map(Some),
    }
}

fn move_aside(target: &Path) -> io::Result<PathBuf> {
    let backup = unused_name(target);
    fs::rename(target, &backup)?;
    Ok(backup)
}

fn unused_name(target: &Path) -> PathBuf {
    loop {
        let name = part::hidden_name(&folder_of(target), "old");
        if !exists(&name) {
            return name;
        }
    }
}

/// Also true for a link that points to nothing.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Puts the old files back, last changed first, and returns why.
fn undo(done: Vec<Replaced>, mut cause: WriteError) -> WriteError {
    for Replaced { target, backup } in done.into_iter().rev() {
        let restored = match &backup {
            Some(backup) => put_back(backup, &target),
            None => fs::remove_file(&target),
        };
        if let Err(reason) = restored {
            cause = WriteError::RollBack { cause: Box::new(cause), path: target, backup, reason };
        }
    }
    cause
}

fn put_back(backup: &Path, target: &Path) -> io::Result<()> {
    fs::rename(backup, target)?;
    // Where both names are still the same file, because it was not replaced yet, a rename does nothing.
    match fs::remove_file(backup) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one path no public call can reach on purpose: the old content has vanished.
    #[test]
    fn a_failed_roll_back_says_where_the_old_content_is() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Replaced { target: folder.path().join("y"), backup: Some(folder.path().join("old")) };
        let cause = WriteError::Twice { path: "cause".into() };
        let message = undo(vec![gone], cause).to_string();
        assert!(message.starts_with("cause: named twice"), "{message}");
        assert!(message.contains("could not be put back"), "{message}");
        assert!(message.contains("old content is in"), "{message}");
    }

    #[test]
    fn putting_back_a_file_that_was_not_replaced_leaves_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("y");
        fs::write(&target, "old").unwrap();
        let backup = keep(&target).unwrap().unwrap();
        put_back(&backup, &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert!(!exists(&backup));
    }
}
