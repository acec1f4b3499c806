//! Inputs of `predict`: the embedded digits, or the pictures that paths lead to.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use batchnorm_io::picture;
use batchnorm_lab::data::Examples;
use batchnorm_lab::digits::{Digits, PIXELS};
use batchnorm_lab::picture::{Source, seen};

use super::options::Set;

/// One digit that was asked about.
pub struct Asked {
    /// Its name: the path, or its place in the embedded set.
    pub name: String,
    /// The digit it is, where that is known.
    pub label: Option<u8>,
    /// The pixels, as the network sees them.
    pub seen: [f32; PIXELS],
}

/// The inputs that can be read, and the reasons why others cannot.
pub struct Inputs {
    pub asked: Vec<Asked>,
    /// One line for each picture or folder that could not be read.
    pub failed: Vec<String>,
}

/// Digits of the data set, called by the part they are in and their place there.
pub fn embedded(set: Set) -> Inputs {
    let Digits { train, test } = Digits::embedded();
    let named = |part: &str, images: &Examples| -> Vec<Asked> {
        let pixels = images.values.as_chunks::<PIXELS>().0;
        let all = pixels.iter().zip(&images.classes).enumerate();
        all.map(|(at, (&seen, &class))| Asked { name: format!("{part} {at}"), label: Some(class), seen }).collect()
    };
    let mut asked = Vec::new();
    if set != Set::Test {
        asked.extend(named("train", &train));
    }
    if set != Set::Train {
        asked.extend(named("test", &test));
    }
    Inputs { asked, failed: Vec::new() }
}

/// The pictures at these paths, each as the network sees it.
pub fn pictures(paths: &[PathBuf]) -> Inputs {
    let mut inputs = Inputs { asked: Vec::new(), failed: Vec::new() };
    let mut found = Vec::new();
    for path in paths {
        find(path, &mut found, &mut inputs.failed);
    }
    for (path, label) in found {
        match look(&path) {
            Ok(seen) => inputs.asked.push(Asked { name: path.display().to_string(), label, seen }),
            Err(reason) => inputs.failed.push(reason),
        }
    }
    inputs
}

fn look(path: &Path) -> Result<[f32; PIXELS], String> {
    let picture = picture::read(path).map_err(|error| error.to_string())?;
    let source = Source { width: picture.width, pixels: &picture.pixels };
    seen(source).map_err(|error| format!("{}: {error}", path.display()))
}

/// Adds the picture at a path, or those in the folder: of its subfolders 0 to 9, labelled, if it has such. A folder
/// that cannot be read or has none adds a line to `failed`.
fn find(path: &Path, found: &mut Vec<(PathBuf, Option<u8>)>, failed: &mut Vec<String>) {
    if !path.is_dir() {
        // A path that is no file fails when it is read.
        found.push((path.to_path_buf(), None));
        return;
    }
    let before = (found.len(), failed.len());
    let entries = entries(path, failed);
    let labelled: Vec<(&PathBuf, u8)> = entries.iter().filter_map(|entry| label(entry).map(|of| (entry, of))).collect();
    let pictures = pictures_of(&entries);
    match (labelled.is_empty(), pictures.is_empty()) {
        (true, _) => found.extend(pictures.into_iter().map(|path| (path, None))),
        (false, true) => {
            for (folder, label) in labelled {
                let pictures = pictures_of(&self::entries(folder, failed));
                found.extend(pictures.into_iter().map(|path| (path, Some(label))));
            }
        }
        (false, false) => failed.push(format!(
            "{}: expected PNG or JPEG pictures or subfolders 0 to 9, got both; give one of them, or each by its path",
            path.display()
        )),
    }
    if (found.len(), failed.len()) == before {
        let holds = if entries.is_empty() { "an empty folder" } else { "a folder without any" };
        failed.push(format!(
            "{}: expected PNG or JPEG pictures (*.png, *.jpg, *.jpeg), or subfolders 0 to 9 with some, got {holds}",
            path.display()
        ));
    }
}

/// The entries of a folder, sorted by name. If it cannot be read, the reason is added to `failed`.
fn entries(folder: &Path, failed: &mut Vec<String>) -> Vec<PathBuf> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut entries = read().unwrap_or_else(|error| {
        failed.push(format!("{}: cannot be read: {error}", folder.display()));
        Vec::new()
    });
    entries.sort();
    entries
}

/// Those that are pictures by their names.
fn pictures_of(entries: &[PathBuf]) -> Vec<PathBuf> {
    let ends = |path: &PathBuf, with: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(with));
    let is_picture = |path: &&PathBuf| ["png", "jpg", "jpeg"].iter().any(|with| ends(path, with)) && !path.is_dir();
    entries.iter().filter(is_picture).cloned().collect()
}

/// The digit a folder is named by.
fn label(path: &Path) -> Option<u8> {
    let digit = match path.file_name().and_then(OsStr::to_str)?.as_bytes() {
        [digit @ b'0'..=b'9'] => digit - b'0',
        _ => return None,
    };
    path.is_dir().then_some(digit)
}
