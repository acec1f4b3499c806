//! One file, replaced whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use batchnorm_io::atomic::{WriteError, expect_writable, write_file};
use tempfile::tempdir;

/// The names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_and_replaced() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("y");
    for content in ["first", "second and longer", ""] {
        write_file(&path, |out| out.write_all(content.as_bytes())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(names(folder.path()), ["y"]);
    }
}

#[test]
fn a_name_as_long_as_the_file_system_allows_will_do() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    write_file(&path, |out| out.write_all(b"x")).unwrap();
    assert!(path.exists());
}

#[test]
fn a_writer_that_fails_or_panics_leaves_the_old_file_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("y");
    fs::write(&path, "old").unwrap();

    let error = write_file(&path, |out| {
        out.write_all(&[7; 100_000])?;
        Err(io::Error::other("no more numbers"))
    })
    .unwrap_err();
    assert!(matches!(&error, WriteError::Write { path: p, .. } if *p == path));
    assert!(error.to_string().ends_with("y: cannot be written: no more numbers"), "{error}");

    let panicked = std::panic::catch_unwind(|| write_file(&path, |_| panic!("as planned")));
    assert!(panicked.is_err());

    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["y"]);
}

#[test]
fn folders_and_bad_paths_are_refused() {
    let folder = tempdir().unwrap();
    let target = folder.path().join("y");
    fs::create_dir(&target).unwrap();
    let never = |_: &mut dyn io::Write| -> io::Result<()> { panic!("nothing should be computed") };

    let error = write_file(&target, never).unwrap_err();
    assert!(matches!(error, WriteError::NotAFile { found: "a folder", .. }), "{error}");
    for path in ["", "/", ".."] {
        let error = write_file(Path::new(path), never).unwrap_err();
        assert!(matches!(error, WriteError::Name { .. }), "{path}: {error}");
    }
    let error = write_file(&folder.path().join("missing/y"), never).unwrap_err();
    assert!(matches!(&error, WriteError::CreateFile { reason, .. } if reason.kind() == ErrorKind::NotFound));
    assert!(error.to_string().contains("missing: no file can be created"), "{error}");
    assert_eq!(names(folder.path()), ["y"]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn permissions_are_those_of_a_plain_file() {
        let folder = tempdir().unwrap();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
        fs::write(&plain, "").unwrap();
        write_file(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), mode(&plain));

        // Replaced, it keeps its own, even while it is being written.
        fs::set_permissions(&ours, PermissionsExt::from_mode(0o600)).unwrap();
        write_file(&ours, |_| {
            let hidden = names(folder.path()).remove(0);
            assert!(hidden.starts_with(".batchnorm-"));
            assert_eq!(mode(&folder.path().join(hidden)), 0o600);
            Ok(())
        })
        .unwrap();
        assert_eq!(mode(&ours), 0o600);
    }

    #[test]
    fn a_link_is_replaced_and_what_it_points_to_untouched() {
        let folder = tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        for destination in ["real", "nowhere"] {
            symlink(destination, &link).unwrap();
            write_file(&link, |out| out.write_all(b"new")).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_file());
            assert_eq!(fs::read_to_string(&link).unwrap(), "new");
            assert_eq!(fs::read_to_string(&real).unwrap(), "old");
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn devices_and_links_to_folders_are_refused() {
        let folder = tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link] {
            let error = write_file(path, |_| Ok(())).unwrap_err();
            assert!(matches!(error, WriteError::NotAFile { .. }), "{error}");
        }
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        fs::remove_file(&link).unwrap();
        symlink(folder.path(), &link).unwrap();
        assert!(matches!(write_file(&link, |_| Ok(())).unwrap_err(), WriteError::NotAFile { .. }));
    }
}

#[test]
fn a_place_is_tried_without_a_change() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("y");
    expect_writable(&path).unwrap();
    fs::write(&path, "old").unwrap();
    expect_writable(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(matches!(expect_writable(folder.path()).unwrap_err(), WriteError::NotAFile { found: "a folder", .. }));
    let nowhere = folder.path().join("nowhere/y");
    assert!(matches!(expect_writable(&nowhere).unwrap_err(), WriteError::CreateFile { .. }));
    assert!(matches!(expect_writable("..".as_ref()).unwrap_err(), WriteError::Name { .. }));
}

/// Hidden files of killed processes go, and nothing else does.
#[cfg(target_os = "linux")]
#[test]
fn abandoned_files_are_removed_and_those_in_use_stay() {
    use batchnorm_io::atomic::remove_abandoned;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A process that is gone: one that has ended and was waited for.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let gone = child.id();
    child.wait().unwrap();
    let names = [
        format!(".batchnorm-{gone}-0.part"),
        format!(".batchnorm-{gone}-17.part"),
        format!(".batchnorm-{gone}-0.old"),
        format!(".batchnorm-{}-x.part", std::process::id()),
        String::from(".batchnorm-1-0.part"),
        String::from(".batchnorm-x-0.part"),
        String::from("batchnorm-model.safetensors"),
        format!(".batchnorm-{gone}-2.part"),
    ];
    names.iter().for_each(|name| fs::write(at(name), name).unwrap());
    // An earlier process with our number had come further.
    fs::write(at(&format!(".batchnorm-{}-900000.part", std::process::id())), "").unwrap();
    // Somebody (on another machine, say) holds one of them.
    let held = fs::File::open(at(&names[7])).unwrap();
    held.lock().unwrap();
    let target = at("model");
    assert_eq!(remove_abandoned(&target), 3);
    let left = |name: &String| at(name).exists();
    assert_eq!(names.each_ref().map(left), [false, false, true, true, true, true, true, true]);
    drop(held);
    assert_eq!(remove_abandoned(&target), 1);
    assert_eq!(remove_abandoned(&at("no such folder/model")), 0);

    // What this process is writing stays, and what it has written is whole.
    write_file(&target, |out| {
        assert_eq!(remove_abandoned(&target), 0);
        out.write_all(b"whole")
    })
    .unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"whole");
}
