//! MNIST and its kin: four IDX files in a folder, packed or not.

use std::path::{Path, PathBuf};

use batchnorm_io::idx::Idx;

use super::error::DataError;
use super::examples::Shape;
use super::found::{Found, byte, expect_every_class, most_class};
use super::set::{Set, Source};

/// Bytes that a packed file may take in memory: a gigabyte. MNIST's take 47 MB.
const MOST_UNPACKED: u64 = 1 << 30;

/// Names of the parts: training, then testing.
const PARTS: [&[&str]; 2] = [&["train"], &["t10k", "test"]];

/// The data set in a folder; none if it has no such files.
pub fn open(folder: &Path, entries: &[PathBuf]) -> Option<Result<Found, DataError>> {
    let find = |part: &[&str], what: &str| {
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            part.iter().any(|part| name.starts_with(&format!("{part}-{what}"))) && name.contains("ubyte")
        };
        entries.iter().find(is_it)
    };
    let paths = PARTS.map(|part| (find(part, "images"), find(part, "labels")));
    if paths.iter().all(|(pictures, labels)| pictures.is_none() && labels.is_none()) {
        return None;
    }
    let missing = |expected: &str| DataError::Missing { path: folder.to_path_buf(), expected: expected.to_owned() };
    let read = || {
        let [(train, train_labels), (test, test_labels)] = paths;
        let train = part(
            train.ok_or_else(|| missing("train-images-idx3-ubyte"))?,
            train_labels.ok_or_else(|| missing("train-labels-idx1-ubyte"))?,
            None,
        )?;
        let classes = most_class(&train);
        let test = match (test, test_labels) {
            (None, None) => None,
            (pictures, labels) => Some(part(
                pictures.ok_or_else(|| missing("t10k-images-idx3-ubyte"))?,
                labels.ok_or_else(|| missing("t10k-labels-idx1-ubyte"))?,
                Some((classes, train.shape())),
            )?),
        };
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Ok(Found { kind: "IDX files", classes, train, test })
    };
    Some(read())
}

/// One of the two parts. That for testing has the classes and the shape of the other.
fn part(pictures: &Path, labels: &Path, expected: Option<(usize, Shape)>) -> Result<Set, DataError> {
    let (of_pictures, mut of_labels) = (Idx::open(pictures, MOST_UNPACKED)?, Idx::open(labels, MOST_UNPACKED)?);
    let mismatch = |path: &Path, expected: String, got: String| {
        Err(DataError::Mismatch { path: path.to_path_buf(), expected, got })
    };
    if of_labels.shape().len() != 1 {
        let got = format!("an array of {} axes", of_labels.shape().len());
        return mismatch(labels, String::from("labels, one number a picture"), got);
    }
    let shape = match of_pictures.shape()[1..] {
        [features] => Shape::features(features),
        [rows, columns] => Shape { channels: 1, rows, columns },
        _ => {
            let got = format!("shape {:?}", of_pictures.shape());
            return mismatch(pictures, String::from("pictures of rows and columns, one channel"), got);
        }
    };
    if shape.values() == 0 || of_pictures.items() == 0 {
        let got = format!("shape {:?}", of_pictures.shape());
        return mismatch(pictures, String::from("one picture or more, of one pixel or more"), got);
    }
    if of_pictures.items() != of_labels.items() {
        let expected = format!("as many labels as {} has pictures, {}", pictures.display(), of_pictures.items());
        return mismatch(labels, expected, of_labels.items().to_string());
    }
    let mut classes = vec![0; of_labels.items()];
    of_labels.read(0, &mut classes)?;
    if let Some((known, trained)) = expected {
        if trained != shape {
            return mismatch(pictures, format!("pictures of the training set's shape, {trained}"), shape.to_string());
        }
        if let Some(at) = classes.iter().position(|&class| usize::from(class) >= known) {
            return Err(DataError::Label {
                path: labels.to_path_buf(),
                example: at,
                expected: format!("the training set, 0 to {}", known - 1),
                got: classes[at].to_string(),
            });
        }
    } else {
        expect_every_class(labels, &classes)?;
    }
    Ok(Set::new(shape, classes, Pictures { bytes: vec![0; shape.values()], file: of_pictures }))
}

struct Pictures {
    file: Idx,
    /// Room for one picture.
    bytes: Vec<u8>,
}

impl Source for Pictures {
    fn read(&mut self, place: usize, into: &mut Vec<f32>) -> Result<(), DataError> {
        self.file.read(place, &mut self.bytes)?;
        into.extend(self.bytes.iter().copied().map(byte));
        Ok(())
    }
}
