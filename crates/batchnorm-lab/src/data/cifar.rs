//! CIFAR-10 and CIFAR-100 in their binary batches.

use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_io::cifar::{Batch, PICTURE_BYTES, SHAPE};

use super::error::DataError;
use super::examples::Shape;
use super::found::{Found, byte};
use super::set::{Set, Source};

/// A version of the data set.
struct Version {
    kind: &'static str,
    classes: usize,
    /// Bytes of labels; the last one is taken (CIFAR-100's fine label).
    labels: usize,
    train: &'static [&'static str],
    test: &'static str,
    /// A file with the names of the classes, one a line.
    names: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        kind: "CIFAR-10's batches",
        classes: 10,
        labels: 1,
        train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        test: "test_batch.bin",
        names: "batches.meta.txt",
    },
    Version {
        kind: "CIFAR-100's batches",
        classes: 100,
        labels: 2,
        train: &["train.bin"],
        test: "test.bin",
        names: "fine_label_names.txt",
    },
];

/// The classes of CIFAR-10 as its authors name them.
const CIFAR10: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The data set in a folder; none if it has no such files.
pub fn open(folder: &Path, entries: &[PathBuf]) -> Option<Result<Found, DataError>> {
    let has = |name: &str| entries.iter().any(|path| path.file_name().is_some_and(|of| of == name));
    let version = VERSIONS.iter().find(|version| version.train.iter().any(|name| has(name)) || has(version.test))?;
    let read = || {
        let train = part(folder, version, version.train)?;
        let test = if has(version.test) { Some(part(folder, version, &[version.test])?) } else { None };
        Ok(Found { kind: version.kind, classes: names(folder, version), train, test })
    };
    Some(read())
}

/// The names in the file beside the batches, where it has as many as there are classes.
fn names(folder: &Path, version: &Version) -> Vec<String> {
    let text = fs::read_to_string(folder.join(version.names)).unwrap_or_default();
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match names.len() == version.classes {
        true => names,
        false if version.classes == CIFAR10.len() => CIFAR10.map(str::to_owned).to_vec(),
        false => (0..version.classes).map(|class| class.to_string()).collect(),
    }
}

fn part(folder: &Path, version: &Version, names: &[&str]) -> Result<Set, DataError> {
    let mut classes = Vec::new();
    let mut batches = Vec::new();
    let mut record = vec![0; version.labels + PICTURE_BYTES];
    for name in names {
        let path = folder.join(name);
        if !path.exists() {
            return Err(DataError::Missing { path: folder.to_path_buf(), expected: (*name).to_owned() });
        }
        let mut batch = Batch::open(&path, version.labels)?;
        for at in 0..batch.records() {
            batch.read(at, &mut record)?;
            let class = record[version.labels - 1];
            if usize::from(class) >= version.classes {
                return Err(DataError::Label {
                    path,
                    example: at,
                    expected: format!("0 to {}", version.classes - 1),
                    got: class.to_string(),
                });
            }
            classes.push(class);
        }
        batches.push(batch);
    }
    let [channels, rows, columns] = SHAPE;
    let shape = Shape { channels, rows, columns };
    Ok(Set::new(shape, classes, Batches { batches, record, labels: version.labels }))
}

struct Batches {
    batches: Vec<Batch>,
    /// Room for one record.
    record: Vec<u8>,
    labels: usize,
}

impl Source for Batches {
    fn read(&mut self, mut place: usize, into: &mut Vec<f32>) -> Result<(), DataError> {
        for batch in &mut self.batches {
            if place < batch.records() {
                batch.read(place, &mut self.record)?;
                into.extend(self.record[self.labels..].iter().copied().map(byte));
                return Ok(());
            }
            place -= batch.records();
        }
        unreachable!("a place of the set")
    }
}
