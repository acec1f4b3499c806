//! Data sets by name or path, for the commands that take one.

use std::env;
use std::path::{Path, PathBuf};

use batchnorm_lab::data::{self, Found, Size};
use batchnorm_lab::digits;

use crate::failure::Failure;

/// Data sets that are known by name, and how to get each.
const KNOWN: [(&str, &str); 4] = [
    ("mnist", "scripts/data mnist"),
    ("fashion-mnist", "scripts/data fashion-mnist, or Debian's package dataset-fashion-mnist"),
    ("cifar10", "scripts/data cifar10, or unpack cifar-10-binary.tar.gz of its authors there"),
    ("cifar100", "unpack cifar-100-binary.tar.gz of its authors there"),
];
/// The data set in the program itself.
pub const EMBEDDED: &str = "digits";

/// The data set that a word means: a name, or a path. Its name for people comes with it.
pub fn find(flag: &str, word: &Path, size: Size) -> Result<(String, Found), Failure> {
    let name = word.to_str().unwrap_or_default();
    if name == EMBEDDED {
        return Ok((EMBEDDED.to_owned(), digits::found()));
    }
    let path = match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((name, how)) => known(name).map_err(|looked| {
            Failure::input(format!(
                "{flag}: {name} is in none of {looked}; get it by {how}, or give the path of the folder where it is"
            ))
        })?,
        None if !word.exists() => {
            let names = KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(Failure::input(format!(
                "{flag}: expected {EMBEDDED}, {names} or the path of a data set, got {}, where nothing is",
                word.display()
            )));
        }
        None => word.to_path_buf(),
    };
    let found = data::open(&path, size).map_err(|error| Failure::input(format!("{flag}: {error}")))?;
    Ok((word.display().to_string(), found))
}

/// The folder of a known set; else the places where it was looked for.
fn known(name: &str) -> Result<PathBuf, String> {
    let mut places: Vec<PathBuf> = env::var_os("BATCHNORM_DATA").map(PathBuf::from).into_iter().collect();
    places.extend(env::home_dir().map(|home| home.join(".cache/batchnorm/data")));
    places.push(PathBuf::from("/usr/share/datasets"));
    let folders: Vec<PathBuf> = places.iter().map(|place| place.join(name)).collect();
    let looked = || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    folders.iter().find(|folder| folder.is_dir()).cloned().ok_or_else(looked)
}
