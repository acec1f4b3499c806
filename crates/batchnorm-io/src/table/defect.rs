//! What can be wrong with a table.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Bytes of the largest file that is read: 256 MiB.
pub const MOST_BYTES: u64 = 1 << 28;

/// A table that could not be read: which, and why.
#[derive(Debug, Error)]
#[error("{}: {defect}", path.display())]
pub struct TableError {
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
    /// The file begins as UTF-16 does, and does not go on so.
    #[error(
        "expected text in UTF-8 or UTF-16, got the mark of UTF-16 and bytes that are none; save the table as UTF-8"
    )]
    Utf16,
    /// No row of numbers.
    #[error("expected rows of numbers, got {found}; write one sample a line, its values parted by commas")]
    NoRows {
        /// What there is.
        found: &'static str,
    },
    /// Nobody can tell whether the first line names the columns.
    #[error(
        "line 1: `{found}` may name the columns or be the first sample, and {why}; say which with `--header yes` or \
         `--header no`"
    )]
    UnclearHeader {
        /// The line.
        found: String,
        /// Why it cannot be told.
        why: &'static str,
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
    /// A first line of one cell less than the others, which begin with a number.
    #[error(
        "line 1: expected {below} names as there are cells in the lines below it, got {cells}; the numbers in front are names of rows (put \
         them in quotes, or a name above them), or decimals have commas (write a semicolon between cells)"
    )]
    ShortFirstLine {
        /// Cells of the first line.
        cells: usize,
        /// Cells of the next one.
        below: usize,
    },
    /// Nothing but the names of rows.
    #[error("expected columns of numbers, got the one column {named}, which {what}")]
    RowNamesAlone {
        /// Its header.
        named: String,
        /// What it holds.
        what: &'static str,
    },
}
