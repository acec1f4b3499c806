//! Arrays and tables, which are inputs as they are.

use std::path::Path;

use batchnorm_io::npy::{NumberType, Rows};
use batchnorm_io::npz::Npz;
use batchnorm_io::table::{self, Header};

use super::error::SamplesError;
use crate::excerpt::excerpt;

/// Bytes that the deflated arrays of a `.npz` file may take together, which are unpacked into memory: 1 GiB. Stored ones stay in the file.
pub const MOST_UNPACKED: u64 = 1 << 30;
/// Numbers that a table may have, which are kept in memory (128 MiB of them; reading takes three times that).
pub const MOST_TABLE_NUMBERS: usize = 1 << 25;

/// One array.
#[derive(Debug)]
pub struct Array {
    pub name: Option<String>,
    /// Of all samples.
    pub shape: Vec<usize>,
    pub values: Values,
}

/// Where the values are.
#[derive(Debug)]
pub enum Values {
    Rows(Rows),
    Table(Vec<f32>),
}

/// The array of a `.npy` file.
pub fn of_npy(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Array>, SamplesError> {
    let rows = Rows::open(path)?;
    Ok(vec![array(path, None, rows, notes)?])
}

/// The arrays of a `.npz` file, in its order.
pub fn of_npz(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Array>, SamplesError> {
    // (What a stored array takes is none of memory's.)
    let archive = Npz::open_within(path, u64::MAX)?;
    let mut left = MOST_UNPACKED;
    let mut arrays: Vec<Array> = Vec::new();
    for name in archive.names() {
        let rows = archive.rows(name, left)?;
        left -= archive.unpacked_bytes(name);
        let array = array(path, Some(name.to_owned()), rows, notes)?;
        if let Some(first) = arrays.first()
            && first.shape[0] != array.shape[0]
        {
            return Err(SamplesError::Counts {
                path: path.to_owned(),
                first: excerpt(first.name.as_deref().unwrap_or("")),
                first_count: first.shape[0],
                name: excerpt(name),
                count: array.shape[0],
            });
        }
        arrays.push(array);
    }
    if arrays.is_empty() {
        return Err(SamplesError::Empty { path: path.to_owned(), shape: Vec::new() });
    }
    Ok(arrays)
}

/// The numbers of a table: rows are samples.
pub fn of_table(path: &Path, header: Header, notes: &mut Vec<String>) -> Result<Vec<Array>, SamplesError> {
    let table = table::read(path, MOST_TABLE_NUMBERS, header)?;
    notes.extend(table.notes.iter().map(|note| format!("{}: {note}", path.display())));
    let values = Values::Table(table.values.iter().map(|&value| value as f32).collect());
    Ok(vec![Array { name: None, shape: vec![table.rows, table.columns], values }])
}

fn array(path: &Path, name: Option<String>, rows: Rows, notes: &mut Vec<String>) -> Result<Array, SamplesError> {
    let shape = rows.shape().to_vec();
    if shape.contains(&0) {
        return Err(SamplesError::Empty { path: path.to_owned(), shape });
    }
    if let number_type @ NumberType::Whole(_) = rows.number_type() {
        let named = name.as_ref().map(|name| format!(" `{}`", excerpt(name))).unwrap_or_default();
        let path = path.display();
        notes.push(format!(
            "{path}{named}: its whole numbers ({number_type}) were taken as they stand, not as shares of 255"
        ));
    }
    Ok(Array { name, shape, values: Values::Rows(rows) })
}

impl Array {
    /// Values of a sample.
    pub fn each(&self) -> usize {
        self.shape[1..].iter().product()
    }
}
