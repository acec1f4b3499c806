//! The files of one run: all or none.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use batchnorm_io::atomic::{FileSet, WriteError};
use tempfile::{TempDir, tempdir};

/// Name and content of everything in a folder, hidden files too.
fn content(folder: &Path) -> Vec<(String, String)> {
    let mut content: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let text = fs::read_to_string(entry.path()).unwrap_or("(a folder)".into());
            (name, text)
        })
        .collect();
    content.sort();
    content
}

fn pairs(content: &[(&str, &str)]) -> Vec<(String, String)> {
    content.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

/// A folder with these files.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn text(text: &str) -> impl FnOnce(&mut dyn Write) -> io::Result<()> {
    move |out| out.write_all(text.as_bytes())
}

/// The hidden file whose content is `text`.
fn hidden(folder: &Path, text: &str) -> std::path::PathBuf {
    let (name, _) = content(folder).into_iter().find(|(name, t)| name.starts_with(".batchnorm-") && t == text).unwrap();
    folder.join(name)
}

#[test]
fn a_commit_replaces_adds_and_removes() {
    let folder = folder_with(&[("y", "old y"), ("dx", "old dx"), ("other", "kept")]);
    let mut set = FileSet::open(folder.path()).unwrap();
    set.file("y", text("new y")).unwrap();
    set.file("mean", text("new mean")).unwrap();
    set.absent("dx").unwrap();
    set.absent("never was").unwrap();
    assert!(folder.path().join("dx").exists());
    assert_eq!(fs::read_to_string(folder.path().join("y")).unwrap(), "old y");

    set.commit().unwrap();
    assert_eq!(content(folder.path()), pairs(&[("mean", "new mean"), ("other", "kept"), ("y", "new y")]));
}

#[test]
fn dropped_without_commit_it_leaves_nothing() {
    let folder = folder_with(&[("y", "old")]);
    let nested = folder.path().join("a/b/c");
    for path in [folder.path(), &nested] {
        let mut set = FileSet::open(path).unwrap();
        set.file("y", text("new")).unwrap();
        set.absent("dx").unwrap();
        drop(set);
        assert_eq!(content(folder.path()), pairs(&[("y", "old")]));
    }
}

#[test]
fn folders_that_are_used_or_were_there_stay() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    let nested = folder.path().join("a/b/c");

    let set = FileSet::open(&nested).unwrap();
    fs::write(folder.path().join("a/b/note"), "of someone else").unwrap();
    drop(set);
    assert!(!nested.exists());
    assert_eq!(content(&folder.path().join("a/b")), pairs(&[("note", "of someone else")]));

    let mut set = FileSet::open(&nested).unwrap();
    set.file("y", text("new")).unwrap();
    set.commit().unwrap();
    assert_eq!(content(&nested), pairs(&[("y", "new")]));

    // A run without output files was still given its folder.
    let empty = folder.path().join("empty");
    FileSet::open(&empty).unwrap().commit().unwrap();
    assert!(empty.is_dir());
}

#[test]
fn a_folder_that_can_not_be_had_is_told_at_once() {
    let folder = folder_with(&[("file", "")]);
    for path in ["file", "file/below/it"] {
        let error = FileSet::open(&folder.path().join(path)).unwrap_err();
        assert!(matches!(&error, WriteError::NotAFolder { path } if path.ends_with("file")), "{error}");
    }
    // What was created before the failure is removed.
    let long = "n".repeat(300);
    let error = FileSet::open(&folder.path().join("made").join(&long)).unwrap_err();
    assert!(error.to_string().contains(&long), "{error}");
    assert_eq!(content(folder.path()), pairs(&[("file", "")]));
}

/// Root may write where permissions say no, but not even root creates files in /proc.
#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_folder_is_told_at_once() {
    let error = FileSet::open(Path::new("/proc/self")).unwrap_err();
    assert!(matches!(error, WriteError::CreateFile { .. }), "{error}");
    let error = FileSet::open(Path::new("/proc/self/out")).unwrap_err();
    assert!(matches!(error, WriteError::CreateFolder { .. }), "{error}");
}

#[test]
fn names_are_bare_and_used_once() {
    let folder = tempdir().unwrap();
    let mut set = FileSet::open(folder.path()).unwrap();
    for name in ["", ".", "..", "/", "a/b", "../y", "/tmp/y", "y/", "./y"] {
        assert!(matches!(set.file(name, text("")).unwrap_err(), WriteError::Name { .. }), "{name}");
        assert!(matches!(set.absent(name).unwrap_err(), WriteError::Name { .. }), "{name}");
    }
    set.file("y", text("1")).unwrap();
    set.absent("x").unwrap();
    for name in ["x", "y"] {
        assert!(matches!(set.file(name, text("")).unwrap_err(), WriteError::Twice { .. }));
        assert!(matches!(set.absent(name).unwrap_err(), WriteError::Twice { .. }));
    }
}

#[test]
fn a_writer_that_fails_leaves_the_set_usable() {
    let folder = tempdir().unwrap();
    let mut set = FileSet::open(folder.path()).unwrap();
    set.file("y", text("new y")).unwrap();
    let error = set.file("dx", |_| Err(ErrorKind::StorageFull.into())).unwrap_err();
    assert!(matches!(&error, WriteError::Write { path, .. } if path.ends_with("dx")), "{error}");
    set.file("dx", text("second attempt")).unwrap();
    set.commit().unwrap();
    assert_eq!(content(folder.path()), pairs(&[("dx", "second attempt"), ("y", "new y")]));
}

#[test]
fn a_target_that_is_a_folder_is_told_while_staging() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("y")).unwrap();
    let mut set = FileSet::open(folder.path()).unwrap();
    assert!(matches!(set.file("y", text("")).unwrap_err(), WriteError::NotAFile { .. }));
    assert!(matches!(set.absent("y").unwrap_err(), WriteError::NotAFile { .. }));
}

#[test]
fn a_target_that_becomes_a_folder_stops_the_commit_before_anything_changes() {
    for (folder_name, stale) in [("mean", "dx"), ("dx", "dx")] {
        let folder = folder_with(&[("y", "old y")]);
        let mut set = FileSet::open(folder.path()).unwrap();
        set.file("y", text("new y")).unwrap();
        set.file("mean", text("new mean")).unwrap();
        set.absent(stale).unwrap();
        fs::create_dir(folder.path().join(folder_name)).unwrap();

        let error = set.commit().unwrap_err();
        assert!(matches!(&error, WriteError::NotAFile { path, .. } if path.ends_with(folder_name)), "{error}");
        assert_eq!(content(folder.path()), pairs(&[(folder_name, "(a folder)"), ("y", "old y")]));
    }
}

/// The staged content of one file vanishes, so that its rename fails after others have succeeded: every
/// file is as it was, whether it had been replaced, added, removed or not yet reached.
#[test]
fn a_rename_that_fails_halfway_is_rolled_back() {
    let old = [("c", "old c"), ("d", "old d"), ("stale", "old stale"), ("y", "old y")];
    for victim in ["a", "b", "c", "d", "y"] {
        let folder = folder_with(&old);
        let nested = folder.path();
        let mut set = FileSet::open(nested).unwrap();
        set.absent("stale").unwrap();
        for name in ["y", "a", "c", "b", "d"] {
            set.file(name, text(&format!("new {name}"))).unwrap();
        }
        fs::remove_file(hidden(nested, &format!("new {victim}"))).unwrap();

        let error = set.commit().unwrap_err();
        assert!(matches!(&error, WriteError::Replace { path, .. } if path.ends_with(victim)), "{error}");
        assert_eq!(content(nested), pairs(&old), "{victim}");
    }
}

#[test]
fn a_failed_commit_removes_the_folder_it_had_created() {
    let folder = tempdir().unwrap();
    let nested = folder.path().join("a/b");
    let mut set = FileSet::open(&nested).unwrap();
    set.file("x", text("new x")).unwrap();
    set.file("y", text("new y")).unwrap();
    fs::remove_file(hidden(&nested, "new y")).unwrap();
    set.commit().unwrap_err();
    assert_eq!(content(folder.path()), pairs(&[]));
}

#[cfg(unix)]
#[test]
fn links_are_replaced_removed_and_put_back_as_links() {
    use std::os::unix::fs::symlink;

    let folder = folder_with(&[("real", "old")]);
    for name in ["y", "stale"] {
        symlink("real", folder.path().join(name)).unwrap();
    }
    let stage = || {
        let mut set = FileSet::open(folder.path()).unwrap();
        set.file("y", text("new y")).unwrap();
        set.file("z", text("new z")).unwrap();
        set.absent("stale").unwrap();
        set
    };
    let set = stage();
    fs::remove_file(hidden(folder.path(), "new z")).unwrap();
    set.commit().unwrap_err();
    for name in ["y", "stale"] {
        assert_eq!(fs::read_link(folder.path().join(name)).unwrap(), Path::new("real"));
    }

    stage().commit().unwrap();
    assert_eq!(content(folder.path()), pairs(&[("real", "old"), ("y", "new y"), ("z", "new z")]));
    assert!(fs::symlink_metadata(folder.path().join("y")).unwrap().is_file());
}
