//! Tables of numbers as text: rows are samples, columns are features.
//!
//! Cells are parted by commas, semicolons, tabs or spaces, whichever makes rows of one length and numbers of their cells. Every
//! cell must be a number as Rust and Python write it (`1`, `-0.5`, `1e-3`, `nan`, `inf`), or with a decimal comma, or with
//! groups of three digits parted by the other sign; a table in which `1,234` may be either is refused. Spaces around a cell,
//! quotes, blank lines, line ends of any system, a byte order mark, UTF-16 with one and Excel's `sep=;` do not matter.
//!
//! The first line may name the columns, also by numbers (`0,1,2`, years): that is told by quotes, by words in it and by the lines
//! below it, and where it cannot be told the table is refused until [`Header`] says it. A first column of the names or numbers
//! of rows, as data frames and R write it, is left out, and so are lines of comments (`# ..`, `% ..`), an empty last column
//! and empty lines at the end; [`Table::notes`] says so. `True` and `FALSE` are 1 and 0.

mod cells;
mod decimals;
mod defect;
mod header;
mod note;

pub use defect::{Defect, MOST_BYTES, TableError};
pub use header::Header;
pub use note::Note;

use crate::npy::defect::excerpt;
use crate::whole;
use cells::{Cell, Delimiter, Row, Rows};
use decimals::{Decimal, Decimals, is_missing, looks_like_number, number};
use header::{Below, FirstLine};
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Lines that are looked at to tell what parts the cells.
const LINES_LOOKED_AT: usize = 50;

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
    /// What a user should be told about how it was read.
    pub notes: Vec<Note>,
}

/// Reads the table in the file at `path`, of at most `most` numbers.
///
/// # Errors
/// [`TableError`] with the path and one [`Defect`].
pub fn read(path: &Path, most: usize, header: Header) -> Result<Table, TableError> {
    let size = || fs::metadata(path).map(|metadata| metadata.len()).map_err(Defect::from);
    let parsed = || {
        if size()? > MOST_BYTES {
            return Err(Defect::TooLarge);
        }
        let bytes = whole::read(path, MOST_BYTES)?;
        // It may have grown meanwhile.
        if bytes.len() as u64 > MOST_BYTES { Err(Defect::TooLarge) } else { parse(&bytes, most, header) }
    };
    parsed().map_err(|defect| TableError { path: path.to_path_buf(), defect })
}

/// Reads the table that `bytes`, the whole content of a file, holds.
///
/// # Errors
/// As [`read`], without a path.
///
/// ```
/// use batchnorm_io::table::{self, Header};
///
/// let table = table::parse(b"height, width\n1, 2.5\n-3, 4e-1\n", 100, Header::Told)?;
/// assert_eq!(table.names, Some(vec!["height".into(), "width".into()]));
/// assert_eq!((table.rows, table.columns, table.values), (2, 2, vec![1.0, 2.5, -3.0, 0.4]));
///
/// // As a data frame writes it.
/// let table = table::parse(b",a,b\n0,1.5,2.0\n1,2.5,3.0\n", 100, Header::Told)?;
/// assert_eq!(table.values, [1.5, 2.0, 2.5, 3.0]);
/// assert_eq!(table.notes[0].to_string(), "the first column, with an empty header, was left out: it counts the rows");
///
/// let error = table::parse(b"1,2\n3\n", 100, Header::Told).unwrap_err();
/// assert!(error.to_string().starts_with("line 2: expected 2 values"));
/// let error = table::parse(b"0,1,2\n4,5,6\n", 100, Header::Told).unwrap_err();
/// assert!(error.to_string().contains("`--header yes` or `--header no`"));
/// # Ok::<(), table::Defect>(())
/// ```
pub fn parse(bytes: &[u8], most: usize, header: Header) -> Result<Table, Defect> {
    let text = as_utf8(bytes)?;
    let (stated, lines, text) = without_separator_line(&text);
    let (text, comments) = cells::without_comments(text);
    let delimiter = match stated {
        Some(delimiter) => delimiter,
        None => delimiter_of(&text)?,
    };
    let prepared = delimiter.prepared(&text);
    // Where each line ends in a separator, the last cell of each is cut off.
    let ends_empty = {
        let mut rows = Rows::new(&prepared, delimiter, lines);
        let mut ends_empty = true;
        while ends_empty && let Some(row) = rows.next()? {
            ends_empty = row.cells.len() > 1 && row.cells.last().is_some_and(Cell::is_blank);
        }
        ends_empty && !prepared.trim_ascii().is_empty()
    };
    let rows =
        || Filled { rows: Rows::new(&prepared, delimiter, lines), cut: usize::from(ends_empty), ahead: Vec::new() };

    // What all rows show together is known before the first number.
    let mut seen = rows();
    let Some(first) = seen.next()? else { return Err(Defect::NoRows { found: "an empty file" }) };
    let (mut below, mut decimals, mut of_first) = (Below::default(), Decimals::default(), Decimals::default());
    first.cells.iter().for_each(|cell| of_first.see(&cell.text));
    while let Some(row) = seen.next()? {
        below.see(&row);
        row.cells.iter().for_each(|cell| decimals.see(&cell.text));
    }
    let line = header::first_line(&first, &below, header, delimiter)?;
    if line == FirstLine::Sample {
        decimals.join(of_first);
    } else if below.rows == 0 {
        return Err(Defect::NoRows { found: "a line of names alone (or of cells that are no numbers)" });
    }
    let (skipped, mut notes) = header::columns_in_front(&line, &first, &below);
    notes.splice(0..0, comments);
    notes.extend(ends_empty.then_some(Note::EmptyLast));
    let columns = if line == FirstLine::ShortNames { below.cells } else { first.cells.len() };
    if let Some(Note::LeftOut { named, what, .. }) = notes.iter().find(|note| matches!(note, Note::LeftOut { .. }))
        && columns == skipped
    {
        return Err(Defect::RowNamesAlone { named: format!("`{}`", excerpt(named.as_deref().unwrap_or(""))), what });
    }

    let names = match line {
        FirstLine::Sample => None,
        FirstLine::ShortNames => Some(first.cells.iter().map(|cell| cell.text.clone()).collect()),
        FirstLine::Names => Some(first.cells[skipped..].iter().map(|cell| cell.text.clone()).collect()),
    };
    let mut table = Reading { cells: columns, skipped, decimals, most, values: Vec::new(), rows: 0 };
    let mut again = rows();
    if names.is_some() {
        again.next()?;
    }
    while let Some(row) = again.next()? {
        table.push(&row)?;
    }
    let Reading { values, rows, .. } = table;
    Ok(Table { names, columns: columns - skipped, rows, values, notes })
}

/// Rows without the cells that are cut off their ends, and without the empty ones at the end of the file, as Excel leaves them.
struct Filled<'b> {
    rows: Rows<'b>,
    cut: usize,
    /// Rows that were read already, the next one last.
    ahead: Vec<Row>,
}

impl Filled<'_> {
    fn read(&mut self) -> Result<Option<Row>, Defect> {
        let mut row = self.rows.next()?;
        if let Some(row) = &mut row {
            row.cells.truncate(row.cells.len() - self.cut);
        }
        Ok(row)
    }

    fn next(&mut self) -> Result<Option<Row>, Defect> {
        if let Some(row) = self.ahead.pop() {
            return Ok(Some(row));
        }
        let is_empty = |row: &Row| row.cells.iter().all(Cell::is_blank);
        let Some(row) = self.read()? else { return Ok(None) };
        if !is_empty(&row) {
            return Ok(Some(row));
        }
        let mut empty = vec![row];
        while let Some(row) = self.read()? {
            let ends = !is_empty(&row);
            empty.push(row);
            if ends {
                self.ahead = empty;
                self.ahead.reverse();
                return Ok(self.ahead.pop());
            }
        }
        Ok(None)
    }
}

/// The rows so far.
struct Reading {
    /// Cells of a row, and how many of them in front are left out.
    cells: usize,
    skipped: usize,
    decimals: Decimals,
    most: usize,
    values: Vec<f64>,
    rows: usize,
}

impl Reading {
    fn push(&mut self, row: &Row) -> Result<(), Defect> {
        let (line, found) = (row.line, row.cells.len());
        if found != self.cells {
            return Err(Defect::Ragged { line, expected: self.cells, found });
        }
        if self.values.len() + found - self.skipped > self.most {
            return Err(Defect::TooMany { most: self.most });
        }
        for (column, cell) in row.cells.iter().enumerate().skip(self.skipped) {
            let value = match self.decimals.told() {
                Some(decimal) => number(&cell.text, decimal),
                None => number(&cell.text, Decimal::Point).filter(|_| !cell.text.contains(',')),
            };
            let value =
                value.filter(|value| !(value.is_infinite() && cell.text.contains(|c: char| c.is_ascii_digit())));
            match value {
                Some(value) => self.values.push(value),
                None => return Err(no_number(&cell.text, (line, column + 1), self.decimals.told(), self.rows == 0)),
            }
        }
        self.rows += 1;
        Ok(())
    }
}

/// Why a cell is no number.
fn no_number(cell: &str, (line, column): (usize, usize), decimal: Option<Decimal>, first_sample: bool) -> Defect {
    if cell.is_empty() {
        return Defect::Empty { line, column };
    }
    let other = match decimal {
        Some(Decimal::Comma) => Decimal::Point,
        _ => Decimal::Comma,
    };
    let is_word = |c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E');
    let hint = if is_missing(cell) {
        "fill in what is missing or leave the sample out"
    } else if cell.parse::<f64>().is_ok_and(f64::is_infinite) {
        "the largest a float64 holds is 1.8e308"
    } else if decimal.is_none() {
        "its comma may stand in front of decimals or between thousands; write decimals with a point and thousands together"
    } else if number(cell, other).is_some() {
        "other cells have a point where this one has a comma, or the other way round; write all decimals alike"
    } else if cell.contains([';', '\t', ' ', '|']) && !cell.contains(is_word) {
        "part values by commas, semicolons, tabs or spaces, everywhere the same, and write thousands together"
    } else if cell.contains(['\'', '_', '\u{a0}', '\u{202f}']) && !cell.contains(is_word) {
        "write thousands together"
    } else if is_date(cell) {
        "a date or a time is no number: take its column out, or leave its header empty, as that of an index"
    } else if line == 1 {
        "is the first line one of names? Then say `--header yes`"
    } else if first_sample && column == 1 && cell.contains(is_word) {
        "is it a column of names? Then take it out, or leave its header empty; numbers are written as in 1.5 or -2e-3"
    } else {
        "write it as in 1.5 or -2e-3"
    };
    Defect::NotANumber { line, column, found: excerpt(cell), hint }
}

/// Whether a cell is a date or a time, by what parts its numbers: `2020-01-31`, `31/1/2020`, `12:30`.
fn is_date(cell: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parted = |sign: char, parts: usize| {
        let first = cell.split([' ', 'T']).next().unwrap_or_default();
        first.split(sign).count() >= parts && first.split(sign).all(is_part)
    };
    parted('-', 3) || parted('/', 2) || parted(':', 2)
}

/// The bytes without a byte order mark, those of UTF-16 as UTF-8.
fn as_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Defect> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Ok(Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))),
    };
    let (pairs, rest) = bytes[2..].as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|&pair| unit(pair))).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(Cow::Owned(text.into_bytes())),
        _ => Err(Defect::Utf16),
    }
}

/// Excel's first line `sep=;`: what it states, the lines that it takes, and what follows it.
fn without_separator_line(text: &[u8]) -> (Option<Delimiter>, usize, &[u8]) {
    if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', byte, rest @ ..] = text
        && let Some(delimiter) = Delimiter::of_byte(*byte)
        && let Some(rest) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).or(rest.strip_prefix(b"\r"))
    {
        return (Some(delimiter), 1, rest);
    }
    (None, 0, text)
}

/// What parts the cells: what makes rows of one length, and numbers of the cells below the first line.
fn delimiter_of(text: &[u8]) -> Result<Delimiter, Defect> {
    let mut best = (0, Delimiter::Comma);
    for delimiter in Delimiter::ALL {
        let prepared = delimiter.prepared(beginning(text));
        let mut rows = Rows::new(&prepared, delimiter, 0);
        let (mut widths, mut numbers, mut first_is_numbers) = (Vec::new(), true, true);
        while widths.len() < LINES_LOOKED_AT
            && let Some(row) = rows.next()?
        {
            let are_numbers = row.cells.iter().enumerate().all(|(column, cell)| may_be_cell(cell, column));
            if widths.is_empty() {
                first_is_numbers = are_numbers
            } else {
                numbers &= are_numbers
            }
            widths.push(row.cells.len());
        }
        let most = widths.iter().copied().max().unwrap_or(0);
        let (first, below) = widths.split_first().unwrap_or((&0, &[]));
        let alike = below.iter().all(|&width| width == most);
        // One line is told by its own cells.
        let numbers = if below.is_empty() { first_is_numbers } else { numbers };
        let rank = match (most > 1 && alike, *first == most, *first + 1 == most) {
            (true, true, _) => 3 + 2 * u8::from(numbers),
            (true, _, true) => 2 + 2 * u8::from(numbers),
            // (Spaces may stand in one name or another.)
            _ if most > 1 && delimiter != Delimiter::Spaces => 1,
            _ => 0,
        };
        if rank > best.0 {
            best = (rank, delimiter);
        }
    }
    Ok(best.1)
}

/// Whether a cell may be one of a line of numbers, of which the first may be a name.
fn may_be_cell(Cell { text, quoted }: &Cell, column: usize) -> bool {
    let is_name = *quoted || text.contains(char::is_alphabetic) && !text.contains([';', '\t']);
    looks_like_number(text) || text.is_empty() || is_missing(text) || (column == 0 && is_name)
}

/// So much of a text as the lines that are looked at are likely to need, to the end of a line.
fn beginning(text: &[u8]) -> &[u8] {
    const BYTES: usize = 1 << 20;
    match text.get(..BYTES) {
        None => text,
        Some(part) => part.iter().rposition(|&byte| byte == b'\n').map_or(text, |end| &text[..=end]),
    }
}

#[cfg(test)]
mod tests;
