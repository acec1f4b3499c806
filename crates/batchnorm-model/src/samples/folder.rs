//! The pictures of a folder, in an order that is the same on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::SamplesError;

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// The pictures, sorted by class and name.
    pub files: Vec<PathBuf>,
    /// The classes of the files, where there are sub-folders.
    pub labels: Option<Vec<usize>>,
    /// The names of the sub-folders, sorted.
    pub classes: Option<Vec<String>>,
    left_out: LeftOut,
}

/// What was left out, for it is no picture by its name.
#[derive(Debug, Default)]
struct LeftOut {
    hidden: usize,
    others: usize,
    first: Option<PathBuf>,
}

/// What stands in a folder, sorted by name.
struct Listing {
    pictures: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Found {
    /// Looks for the pictures in a folder, or in its sub-folders.
    pub fn of(folder: &Path) -> Result<Found, SamplesError> {
        let mut found = Found::default();
        let Listing { pictures, folders } = found.list(folder)?;
        match (pictures.first(), folders.first()) {
            (Some(picture), Some(inner)) => {
                let (picture, inner) = (picture.clone(), inner.clone());
                return Err(SamplesError::Mixed { path: folder.to_owned(), picture, folder: inner });
            }
            (None, None) => return Err(SamplesError::NoPictures(folder.to_owned())),
            (Some(_), None) => found.files = pictures,
            (None, Some(_)) => {
                let mut labels = Vec::new();
                for (class, folder) in folders.iter().enumerate() {
                    let inner = found.list(folder)?;
                    if let Some(nested) = inner.folders.into_iter().next() {
                        return Err(SamplesError::Nested(nested));
                    }
                    if inner.pictures.is_empty() {
                        return Err(SamplesError::NoPictures(folder.clone()));
                    }
                    labels.extend(inner.pictures.iter().map(|_| class));
                    found.files.extend(inner.pictures);
                }
                found.labels = Some(labels);
                found.classes = Some(folders.iter().map(|folder| name(folder)).collect());
            }
        }
        Ok(found)
    }

    fn list(&mut self, folder: &Path) -> Result<Listing, SamplesError> {
        let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut entries = read().map_err(|error| SamplesError::Read { path: folder.to_owned(), error })?;
        entries.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
        let mut listing = Listing { pictures: Vec::new(), folders: Vec::new() };
        for entry in entries {
            if name(&entry).starts_with('.') {
                self.left_out.hidden += 1;
            } else if entry.is_dir() {
                listing.folders.push(entry);
            } else if is_picture(&entry) {
                listing.pictures.push(entry);
            } else {
                self.left_out.others += 1;
                self.left_out.first.get_or_insert(entry);
            }
        }
        Ok(listing)
    }

    /// What a user should be told of it.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let LeftOut { hidden, others, first } = &self.left_out;
        if *hidden > 0 {
            notes.push(format!("hidden files and folders were left out: {hidden}"));
        }
        if let Some(first) = first {
            let first = first.display();
            notes.push(format!(
                "files that are not *.png, *.jpg or *.jpeg were left out: {others}, the first is {first}"
            ));
        }
        let numbers: Option<Vec<u64>> = self.classes.iter().flatten().map(|class| class.parse().ok()).collect();
        if let Some(numbers) = numbers.filter(|numbers| !numbers.is_sorted())
            && let Some(classes) = &self.classes
        {
            let (at, other) =
                numbers.windows(2).enumerate().find(|(_, two)| two[0] > two[1]).map_or((0, 0), |(at, _)| (at, at + 1));
            notes.push(format!(
                "the classes are in the order of their names as text, as torchvision has it: `{}` is class {at}, `{}` class {other}; write \
                 them with as many digits each (02, 10) where the model has them in the order of the numbers",
                classes[at], classes[other]
            ));
        }
        notes
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_picture(path: &Path) -> bool {
    ["png", "jpg", "jpeg"].iter().any(|known| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(known)))
}
