//! A table of numbers: a row is an example, one column its class.

use std::path::Path;

use batchnorm_io::table::{self, Header};

use super::error::DataError;
use super::examples::{Examples, Shape};
use super::found::{Found, MOST_CLASSES};
use super::set::Set;

/// Numbers of the largest table: a gigabyte as they are read.
const MOST_NUMBERS: usize = 1 << 27;
/// Columns of this name hold the classes, wherever they stand.
const CLASS_NAMES: [&str; 4] = ["class", "label", "target", "species"];

/// The data set in a file.
pub fn open(path: &Path) -> Result<Found, DataError> {
    let table = table::read(path, MOST_NUMBERS, Header::Told)?;
    if table.columns < 2 {
        return Err(DataError::Mismatch {
            path: path.to_path_buf(),
            expected: String::from(
                "features and, in the last column or one called class, label, target or species, a class",
            ),
            got: String::from("a single column"),
        });
    }
    let is_class = |name: &String| CLASS_NAMES.iter().any(|of_class| name.trim().eq_ignore_ascii_case(of_class));
    let named = table.names.as_ref().and_then(|names| names.iter().position(is_class));
    let column = named.unwrap_or(table.columns - 1);
    let mut labels = Vec::with_capacity(table.rows);
    let mut values = Vec::with_capacity(table.rows * (table.columns - 1));
    for (example, row) in table.values.chunks_exact(table.columns).enumerate() {
        let label = row[column];
        if label.fract() != 0.0 || label.abs() >= 1e9 {
            return Err(DataError::Label {
                path: path.to_path_buf(),
                example,
                expected: format!("a whole number in column {}", column + 1),
                got: label.to_string(),
            });
        }
        labels.push(label as i64);
        values.extend(row.iter().enumerate().filter(|(at, _)| *at != column).map(|(_, value)| *value as f32));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(DataError::Mismatch {
            path: path.to_path_buf(),
            expected: String::from("finite numbers"),
            got: format!("{} in example {}", values[at], at / (table.columns - 1)),
        });
    }
    let mut distinct = labels.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if !(2..=MOST_CLASSES).contains(&distinct.len()) {
        return Err(DataError::Mismatch {
            path: path.to_path_buf(),
            expected: format!("2 to {MOST_CLASSES} different classes in column {}", column + 1),
            got: distinct.len().to_string(),
        });
    }
    let class = |label: &i64| distinct.binary_search(label).expect("each is among them") as u8;
    let classes = labels.iter().map(class).collect();
    let train = Set::in_memory(Shape::features(table.columns - 1), Examples { values, classes });
    let classes = distinct.iter().map(i64::to_string).collect();
    Ok(Found { kind: "a table", classes, train, test: None })
}
