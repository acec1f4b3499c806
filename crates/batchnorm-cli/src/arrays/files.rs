//! From what a flag names to an array: .npy, one of a .npz, or a table.

use crate::failure::{Failure, tell};
use batchnorm_io::npy::{self, Array, NumberType, Numbers};
use batchnorm_io::npz::Npz;
use batchnorm_io::table::{self, Defect, Header, Table};
use clap::ValueEnum;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// The endings of tables.
pub const TABLES: [&str; 5] = ["csv", "tsv", "tab", "txt", "dat"];

/// `--header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeaderName {
    /// it names the columns
    Yes,
    /// it is a sample
    No,
}

/// The files of one run, and how they are read.
#[derive(Debug, Default)]
pub struct Files {
    header: Header,
    /// The tables among them.
    tables: Vec<PathBuf>,
    /// What was said of them.
    notes: RefCell<Vec<String>>,
}

/// An array as its file holds it.
pub(super) struct Found {
    pub shape: Vec<usize>,
    pub fortran_order: bool,
    pub numbers: Numbers,
    /// The names of a table's columns.
    pub names: Option<Vec<String>>,
}

/// Where an array lies.
enum Source<'p> {
    Npy,
    Table,
    /// The file, and the array's name if it is given.
    Npz(PathBuf, Option<&'p str>),
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Whether a file is a .npz by its ending.
pub fn is_npz(path: &Path) -> bool {
    has_ending(path, &["npz"])
}

/// Whether a file is a table by its ending.
pub fn is_table(path: &Path) -> bool {
    has_ending(path, &TABLES)
}

/// The refusal of `--header` where no file is a table, for which alone it means something.
pub fn header_without_tables<'p>(
    header: Option<HeaderName>,
    paths: impl IntoIterator<Item = &'p PathBuf>,
) -> Option<&'static str> {
    let is_void = header.is_some() && !paths.into_iter().any(|path| is_table(path));
    is_void.then_some(
        "--header: expected with a table (.csv, .tsv, .tab, .txt, .dat), for other files have no first line; leave it out",
    )
}

fn source(path: &Path) -> Source<'_> {
    if is_table(path) {
        return Source::Table;
    }
    if is_npz(path) {
        return Source::Npz(path.to_path_buf(), None);
    }
    // `file.npz:name`, unless a file is called so.
    match path.to_str().and_then(|text| text.rsplit_once(':')) {
        Some((file, name)) if !path.exists() && has_ending(Path::new(file), &["npz"]) => {
            Source::Npz(PathBuf::from(file), Some(name))
        }
        _ => Source::Npy,
    }
}

impl Files {
    /// Read as `--header` says. Where a table does not tell whether its first line is names, another one of `paths` that does
    /// decides for it too.
    pub fn new<'p>(header: Option<HeaderName>, paths: impl IntoIterator<Item = &'p PathBuf>) -> Files {
        let header = match header {
            None => Header::Told,
            Some(HeaderName::Yes) => Header::Yes,
            Some(HeaderName::No) => Header::No,
        };
        let tables = paths.into_iter().filter(|path| matches!(source(path), Source::Table)).cloned().collect();
        Files { header, tables, notes: RefCell::default() }
    }

    /// What was said of the files that were read, for a summary.
    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// Says something of a file, once.
    pub(super) fn note(&self, path: &Path, what: impl std::fmt::Display) {
        let note = format!("{}: {what}", path.display());
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            tell(format_args!("batchnorm: note: {note}"));
            notes.push(note);
        }
    }

    /// The array that `path` names, of at most `most` values, of a shape that `fits`. Of .npy the header alone is read before both
    /// are known.
    pub(super) fn read(
        &self,
        path: &Path,
        most: usize,
        fits: impl FnOnce(&[usize]) -> Result<(), Failure>,
    ) -> Result<Found, Failure> {
        let few = |shape: &[usize]| {
            let values = shape.iter().try_fold(1usize, |values, &length| values.checked_mul(length));
            if values.is_none_or(|values| values > most) {
                return Err(Failure::input(format!(
                    "{}: expected at most {most} values, got shape {shape:?}; save a part of the array",
                    path.display()
                )));
            }
            Ok(())
        };
        let of_array = |Array { shape, fortran_order, numbers }| Found { shape, fortran_order, numbers, names: None };
        match source(path) {
            Source::Npy => {
                let shape = npy::shape(path).map_err(Failure::input)?;
                few(&shape)?;
                fits(&shape)?;
                Ok(of_array(npy::read(path).map_err(Failure::input)?))
            }
            Source::Npz(file, name) => {
                let archive = Npz::open(&file).map_err(Failure::input)?;
                let array = archive.array(&name_in(&archive, &file, name)?).map_err(Failure::input)?;
                few(&array.shape)?;
                fits(&array.shape)?;
                Ok(of_array(array))
            }
            Source::Table => {
                let Table { names, columns, rows, values, notes } = self.table(path, most)?;
                let shape = vec![rows, columns];
                fits(&shape)?;
                notes.iter().for_each(|note| self.note(path, note));
                Ok(Found { shape, fortran_order: false, numbers: Numbers::F64(values), names })
            }
        }
    }

    fn table(&self, path: &Path, most: usize) -> Result<Table, Failure> {
        let others = || self.tables.iter().filter(|other| *other != path);
        match table::read(path, most, self.header) {
            // One whose first line is names for certain decides for all; one that has a sample there for none.
            Err(error) if matches!(error.defect, Defect::UnclearHeader { .. }) => {
                let read = |other: &PathBuf| table::read(other, usize::MAX, Header::Told).ok();
                let names = others().filter_map(read).any(|other| other.names.is_some());
                if names { table::read(path, most, Header::Yes) } else { Err(error) }.map_err(Failure::input)
            }
            Ok(table) if self.header == Header::Told && table.names.is_none() => {
                // A sample that two arrays share is hardly one: a line of names, which neither tells.
                let first = &table.values[..table.columns];
                let numbered =
                    table.columns > 1 && first.windows(2).all(|pair| pair[0] < pair[1] && pair[0].fract() == 0.0);
                let same = |other: &&PathBuf| {
                    let read = table::read(other, usize::MAX, Header::Told).ok();
                    read.is_some_and(|other| {
                        other.names.is_none() && other.values.starts_with(first) && other.columns == table.columns
                    })
                };
                match numbered.then(|| others().find(same)).flatten() {
                    Some(other) => Err(Failure::input(format!(
                        "{}: line 1 may name the columns or be the first sample, for {} begins with the same numbers; say which \
                         with `--header yes` or `--header no`",
                        path.display(),
                        other.display()
                    ))),
                    None => Ok(table),
                }
            }
            read => read.map_err(Failure::input),
        }
    }
}

/// The name of the array that is meant: the one given, or the only one there is.
fn name_in(archive: &Npz, file: &Path, name: Option<&str>) -> Result<String, Failure> {
    let names: Vec<&str> = archive.names().collect();
    match (name, &names[..]) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(Failure::input(format!(
            "{0}: expected the name of one of its arrays, for it holds {1}; give {0}:NAME",
            file.display(),
            if names.is_empty() { String::from("none") } else { names.join(", ") }
        ))),
    }
}

/// The values in double precision.
///
/// # Errors
/// Whole numbers that a double does not hold.
pub(super) fn exact_doubles(path: &Path, numbers: Numbers) -> Result<Vec<f64>, Failure> {
    let number_type = numbers.number_type();
    match numbers {
        Numbers::F64(values) => Ok(values),
        Numbers::Whole(_, values) => whole_as(path, number_type, &values, "float64", |value| value as f64),
        floats => Ok(floats.to_f64()),
    }
}

/// Whole numbers as floats that hold them.
pub(super) fn whole_as<F: Copy + Into<f64>>(
    path: &Path,
    number_type: NumberType,
    values: &[i64],
    float: &str,
    convert: impl Fn(i64) -> F,
) -> Result<Vec<F>, Failure> {
    let exact = |&value: &i64| {
        let float = convert(value);
        // (The largest of all, 2^63 - 1, would come back from 2^63 by saturation.)
        (float.into() as i64 == value && float.into() < 9.2e18).then_some(float)
    };
    values.iter().map(|value| exact(value).ok_or(value)).collect::<Result<Vec<F>, &i64>>().map_err(|value| {
        Failure::input(format!(
            "{}: expected whole numbers that {float} holds, got {value} ({number_type}); save x.astype(np.float64), of which \
             this may be rounded",
            path.display()
        ))
    })
}
