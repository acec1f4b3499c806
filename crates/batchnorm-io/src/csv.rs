//! Tables of numbers as text, values parted by commas: rows are samples, columns are features.
//!
//! The first line may name the columns: it does where none of its cells is a number. Every other cell must be a number as
//! Rust and Python write it (`1`, `-0.5`, `1e-3`, `nan`, `inf`), every row as long as the first one. Spaces around a cell,
//! quotes, blank lines, line ends of any system and a byte order mark do not matter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use csv_core::{ReadFieldResult, Reader};
use thiserror::Error;

use crate::npy::defect::excerpt;
use crate::whole;

/// Bytes of the largest file that is read: 256 MiB.
pub const MOST_BYTES: u64 = 1 << 28;

/// A table in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The names of the columns, where the file has them.
    pub names: Option<Vec<String>>,
    /// Numbers in a row, 1 or more.
    pub columns: usize,
    /// Rows, 1 or more.
    pub rows: usize,
    /// The numbers, row by row.
    pub values: Vec<f64>,
}

/// A table that could not be read: which, and why.
#[derive(Debug, Error)]
#[error("{}: {defect}", path.display())]
pub struct CsvError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with a table. Lines and columns are counted from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Defect {
    /// The file cannot be opened or read, or is a folder, pipe or device.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its bytes are more than are read.
    #[error("expected a table of at most {MOST_BYTES} bytes, got a larger file; save the array as .npy instead")]
    TooLarge,
    /// It has more numbers than were asked for.
    #[error("expected at most {most} numbers, got more; save a part of the table")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// Some bytes are no text.
    #[error("line {line}, column {column}: expected text in UTF-8, got other bytes; save the table as UTF-8")]
    Encoding {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// No row of numbers.
    #[error("expected rows of numbers, got {found}; write one sample a line, its values parted by commas")]
    NoRows {
        /// What there is.
        found: &'static str,
    },
    /// A row of another length than the first one.
    #[error(
        "line {line}: expected {expected} values as in the first row, got {found}; every row needs all of its values"
    )]
    Ragged {
        /// Where.
        line: usize,
        /// Cells of the first row.
        expected: usize,
        /// Cells of this one.
        found: usize,
    },
    /// A cell with nothing in it.
    #[error("line {line}, column {column}: expected a number, got an empty cell; fill it in or leave the sample out")]
    Empty {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// A cell that is no number.
    #[error("line {line}, column {column}: expected a number, got `{found}`; {hint}")]
    NotANumber {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// What is there.
        found: String,
        /// How to mend it.
        hint: &'static str,
    },
}

/// Reads the table in the file at `path`, of at most `most` numbers.
///
/// # Errors
/// [`CsvError`] with the path and one [`Defect`].
pub fn read(path: &Path, most: usize) -> Result<Table, CsvError> {
    let size = || fs::metadata(path).map(|metadata| metadata.len()).map_err(Defect::from);
    let parsed = || {
        if size()? > MOST_BYTES {
            return Err(Defect::TooLarge);
        }
        let bytes = whole::read(path, MOST_BYTES)?;
        // It may have grown meanwhile.
        if bytes.len() as u64 > MOST_BYTES { Err(Defect::TooLarge) } else { parse(&bytes, most) }
    };
    parsed().map_err(|defect| CsvError { path: path.to_path_buf(), defect })
}

/// Reads the table that `bytes`, the whole content of a file, holds.
///
/// # Errors
/// As [`read`], without a path.
///
/// ```
/// use batchnorm_io::csv;
///
/// let table = csv::parse(b"height, width\n1, 2.5\n-3, 4e-1\n", 100)?;
/// assert_eq!(table.names, Some(vec!["height".into(), "width".into()]));
/// assert_eq!((table.rows, table.columns, table.values), (2, 2, vec![1.0, 2.5, -3.0, 0.4]));
///
/// let error = csv::parse(b"1,2\n3\n", 100).unwrap_err();
/// assert!(error.to_string().starts_with("line 2: expected 2 values"));
/// # Ok::<(), csv::Defect>(())
/// ```
pub fn parse(bytes: &[u8], most: usize) -> Result<Table, Defect> {
    let mut cells = Cells::new(bytes);
    let Some(first) = cells.row()? else { return Err(Defect::NoRows { found: "an empty file" }) };
    let columns = first.cells.len();
    // Numbers parted by something else are no name: their cell is refused, with the reason.
    let is_name = |cell: &String| cell.parse::<f64>().is_err() && !are_several(cell);
    let named = first.cells.iter().all(is_name) && first.cells.iter().any(|cell| !cell.is_empty());
    let mut table = Table { names: None, columns, rows: 0, values: Vec::new() };
    if named {
        table.names = Some(first.cells);
    } else {
        table.push(&first, most)?;
    }
    while let Some(row) = cells.row()? {
        table.push(&row, most)?;
    }
    if table.rows == 0 {
        return Err(Defect::NoRows { found: "a line of names alone (or of cells that are no numbers)" });
    }
    Ok(table)
}

impl Table {
    fn push(&mut self, row: &Row, most: usize) -> Result<(), Defect> {
        let (line, found) = (row.line, row.cells.len());
        if found != self.columns {
            return Err(Defect::Ragged { line, expected: self.columns, found });
        }
        if self.values.len() + found > most {
            return Err(Defect::TooMany { most });
        }
        for (column, cell) in row.cells.iter().enumerate() {
            self.values.push(number(cell, line, column + 1)?);
        }
        self.rows += 1;
        Ok(())
    }
}

/// Whether a cell is several numbers, parted by something else than commas.
fn are_several(cell: &str) -> bool {
    let mut words = cell.split([';', ' ', '\t']).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| word.parse::<f64>().is_ok())
}

fn number(cell: &str, line: usize, column: usize) -> Result<f64, Defect> {
    if cell.is_empty() {
        return Err(Defect::Empty { line, column });
    }
    let refused = |hint| Err(Defect::NotANumber { line, column, found: excerpt(cell), hint });
    let missing = ["na", "n/a", "null", "none", "-", "?"];
    match cell.parse::<f64>() {
        Ok(value) if value.is_infinite() && cell.contains(|c: char| c.is_ascii_digit()) => {
            refused("the largest a float64 holds is 1.8e308")
        }
        Ok(value) => Ok(value),
        Err(_) if cell.contains(';') => {
            refused("part values by commas, not semicolons, and write decimals with a point")
        }
        Err(_) if are_several(cell) => refused("part values by commas, as np.savetxt does with delimiter=','"),
        Err(_) if missing.contains(&cell.to_lowercase().as_str()) => {
            refused("fill in what is missing or leave the sample out")
        }
        Err(_) if line == 1 => refused("a first line of names has no numbers in it"),
        Err(_) => refused("write it as in 1.5 or -2e-3"),
    }
}

/// A row's cells, without the spaces around them.
struct Row {
    /// Of its last cell, so that what is said of a cell that spans lines points to its end.
    line: usize,
    cells: Vec<String>,
}

/// What is left of a file.
struct Cells<'b> {
    reader: Reader,
    bytes: &'b [u8],
    at: usize,
    /// Line ends before `at`.
    lines: usize,
}

impl<'b> Cells<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Cells { reader: Reader::new(), bytes, at: 0, lines: 0 }
    }

    /// The next row that is not blank.
    fn row(&mut self) -> Result<Option<Row>, Defect> {
        let mut cells = Vec::new();
        loop {
            let mut content = Vec::new();
            let mut line = self.lines + 1;
            let record_end = loop {
                let mut out = [0; 256];
                let (result, read, written) = self.reader.read_field(&self.bytes[self.at..], &mut out);
                content.extend_from_slice(&out[..written]);
                // The line end that closes the field is not in front of it.
                let closing = usize::from(matches!(self.bytes[self.at..self.at + read].last(), Some(b'\n' | b'\r')));
                line = line.max(self.lines + 1 + self.line_ends(self.at + read - closing));
                self.lines += self.line_ends(self.at + read);
                self.at += read;
                match result {
                    ReadFieldResult::OutputFull => {}
                    ReadFieldResult::InputEmpty => {} // asked again, with nothing, it closes the last field
                    ReadFieldResult::Field { record_end } => break record_end,
                    ReadFieldResult::End => return Ok(None),
                }
            };
            let Ok(text) = str::from_utf8(&content) else {
                return Err(Defect::Encoding { line, column: cells.len() + 1 });
            };
            cells.push(text.trim().to_owned());
            if record_end {
                // A line of spaces is as blank as one of nothing, which the reader passes over.
                if cells.len() == 1 && cells[0].is_empty() {
                    cells.clear();
                    continue;
                }
                return Ok(Some(Row { line, cells }));
            }
        }
    }

    /// Line ends between what was read and `end`: `\n`, `\r\n`, or `\r` alone.
    fn line_ends(&self, end: usize) -> usize {
        let ends_line = |&at: &usize| match self.bytes[at] {
            b'\n' => true,
            b'\r' => at + 1 < self.bytes.len() && self.bytes[at + 1] != b'\n',
            _ => false,
        };
        (self.at..end).filter(ends_line).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Table {
        parse(text.as_bytes(), 1000).unwrap_or_else(|defect| panic!("{text:?}: {defect}"))
    }

    #[test]
    fn what_does_not_matter_changes_nothing() {
        let plain = values("1,2\n3,4\n");
        assert_eq!((plain.rows, plain.columns, &plain.values[..]), (2, 2, &[1.0, 2.0, 3.0, 4.0][..]));
        for text in [
            "1,2\n3,4",
            "1,2\r\n3,4\r\n",
            "1,2\r3,4\r",
            "\u{feff}1,2\n3,4\n",
            "\n\n 1 ,\t2\n\n3, 4 \n  \n",
            "\"1\",\"2\"\n3,4\n",
        ] {
            assert_eq!(values(text), plain, "{text:?}");
        }
        let named = values("\u{feff}\"a, \"\"b\"\"\", c\n1,2\n3,4\n");
        assert_eq!(named.names, Some(vec!["a, \"b\"".into(), "c".into()]));
        assert_eq!(named.values, plain.values);
        assert_eq!(values(",x\n0,1\n").names, Some(vec![String::new(), "x".into()]));
        assert_eq!(values("x\n1\n").columns, 1);
        let extremes = values("nan,-inf,1e-400,+5,.5,5.\n").values;
        assert!(extremes[0].is_nan() && extremes[1..] == [f64::NEG_INFINITY, 0.0, 5.0, 0.5, 5.0]);
        // Longer than any buffer on the way.
        let long = format!("{}\n{}\n", "n".repeat(5000), "0".repeat(3000) + "7");
        assert_eq!(values(&long).values, [7.0]);
    }

    #[test]
    fn defects_name_line_and_column() {
        for (text, says) in [
            ("", "got an empty file"),
            ("\n \n\n", "got an empty file"),
            ("a,b\n", "a line of names alone"),
            ("1,2\n3\n", "line 2: expected 2 values as in the first row, got 1"),
            ("a,b\r\n1,2\r\n\r\n3,4,5\r\n", "line 4: expected 2 values as in the first row, got 3"),
            ("1\r2\rx\r4", "line 3, column 1: expected a number, got `x`"),
            ("1,2\n3,\n", "line 2, column 2: expected a number, got an empty cell"),
            (",\n1,2\n", "line 1, column 1: expected a number, got an empty cell"),
            ("1,b\n2,3\n", "line 1, column 2: expected a number, got `b`; a first line of names has no numbers in it"),
            ("a,b\n1,2\n3,4 m\n", "line 3, column 2: expected a number, got `4 m`; write it as"),
            ("1;2\n3;4\n", "line 1, column 1: expected a number, got `1;2`; part values by commas, not semicolons"),
            ("1\t2\n3\t4\n", "line 1, column 1: expected a number, got `1\\t2`; part values by commas, as np.savetxt"),
            ("1.0 2.0\n3 4\n", "line 1, column 1: expected a number, got `1.0 2.0`; part values by commas"),
            ("1,NA\n3,4\n", "line 1, column 2: expected a number, got `NA`; fill in what is missing"),
            ("a,b\n3,null\n", "got `null`; fill in what is missing"),
            ("1,2\n3,1e999\n", "line 2, column 2: expected a number, got `1e999`; the largest"),
            ("1,2\n3,\u{1b}[2J\n", "got `\\u{1b}[2J`"),
        ] {
            let message = parse(text.as_bytes(), 1000).expect_err(text).to_string();
            assert!(message.contains(says), "{text:?}: {message}");
            assert!(!message.contains('\n') && !message.contains('\u{1b}'), "{message}");
        }
        let message = parse(b"1,2\n3,\xff\n", 10).unwrap_err().to_string();
        assert!(message.starts_with("line 2, column 2: expected text in UTF-8"), "{message}");
        assert!(matches!(parse(b"1,2\n3,4\n", 3), Err(Defect::TooMany { most: 3 })));
        let missing = read(Path::new("no/such.csv"), 10).unwrap_err().to_string();
        assert!(missing.starts_with("no/such.csv: cannot be read"), "{missing}");
    }
}
