//! Which line is names, and which column is no feature: told by what is written, never guessed.

use super::cells::{Cell, Delimiter, Row};
use super::decimals::{counter, is_missing, looks_like_number, shows_decimals, value_of};
use super::defect::Defect;
use super::note::Note;
use crate::npy::defect::excerpt;
use std::collections::HashSet;

/// Whether the first line names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// The table tells it, or is refused.
    #[default]
    Told,
    /// It does.
    Yes,
    /// It is a sample.
    No,
}

/// What the rows below the first one show.
#[derive(Debug, Default)]
pub(super) struct Below {
    pub rows: usize,
    /// Cells of the first of them.
    pub cells: usize,
    /// Some cell stands in quotes.
    quoted: bool,
    columns: Vec<Column>,
}

/// What the cells of a column show.
#[derive(Debug, Default)]
struct Column {
    /// Written with decimals; of all, and of all but the first.
    decimals: bool,
    decimals_later: bool,
    /// Numbers, or missing.
    numbers: bool,
    /// Whole numbers.
    whole: bool,
    /// The first one in quotes.
    quoted: bool,
    /// The first one, and whether each is one more than the one above it.
    begins: f64,
    counts: bool,
    /// Whole numbers, no two alike.
    distinct: bool,
    seen: HashSet<i64>,
}

/// Columns that may be names of rows: those of several at most are in front.
const MOST_INDEXES: usize = 4;

impl Column {
    fn see(&mut self, cell: &Cell, row: usize, leading: bool) {
        let value = value_of(&cell.text).filter(|value| value.is_finite());
        if row == 0 {
            *self = Column {
                decimals: true,
                decimals_later: true,
                numbers: true,
                whole: true,
                counts: true,
                distinct: leading,
                ..Column::default()
            };
            (self.quoted, self.begins) = (cell.quoted, value.unwrap_or(f64::NAN));
        } else {
            self.decimals_later &= shows_decimals(&cell.text);
        }
        self.decimals &= shows_decimals(&cell.text);
        self.numbers &= looks_like_number(&cell.text) || cell.text.is_empty() || is_missing(&cell.text);
        self.whole &= value.is_some_and(|value| value.fract() == 0.0);
        self.counts &= value == Some(self.begins + row as f64);
        if leading && self.distinct {
            let number = cell.text.parse::<i64>().ok();
            self.distinct &= number.is_some_and(|number| self.seen.insert(number));
        }
    }

    /// Counts the rows from 0 or 1 on.
    fn counts_rows(&self) -> bool {
        self.counts && (self.begins == 0.0 || self.begins == 1.0)
    }

    /// Why it is no feature but the names of the rows, if it may be under this header.
    fn is_index(&self, header: &str) -> Option<&'static str> {
        // The headers under which programs write the names of rows.
        let header = header.to_lowercase();
        let nameless = header.is_empty() || header.starts_with("unnamed: 0");
        if header == "index" && !self.counts_rows()
            || !nameless && !["index", "rownames", "row.names"].contains(&&header[..])
        {
            return None;
        }
        if self.counts_rows() {
            Some("counts the rows")
        } else if !self.numbers {
            Some("holds names")
        } else if self.distinct {
            Some("numbers the rows")
        } else {
            (nameless && self.whole).then_some("holds whole numbers, as an index does")
        }
    }
}

impl Below {
    /// Takes a row in.
    pub fn see(&mut self, row: &Row) {
        if self.rows == 0 {
            self.cells = row.cells.len();
            self.columns.resize_with(self.cells, Column::default);
        }
        for (at, (cell, column)) in row.cells.iter().zip(&mut self.columns).enumerate() {
            column.see(cell, self.rows, at < MOST_INDEXES);
            // (Names of rows are quoted where numbers are not.)
            self.quoted |= cell.quoted && at > 0;
        }
        self.rows += 1;
    }
}

/// What the first line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    Names,
    /// Of all columns but the first, as R writes it.
    ShortNames,
    Sample,
}

/// Tells what the first line is, by itself, by what follows it and by what was asked for.
pub(super) fn first_line(
    first: &Row,
    below: &Below,
    header: Header,
    delimiter: Delimiter,
) -> Result<FirstLine, Defect> {
    let cells = &first.cells;
    if header == Header::No {
        return Ok(FirstLine::Sample);
    }
    // (Of a line of numbers that is short one is missing.)
    let is_name = |cell: &Cell| cell.quoted || !looks_like_number(&cell.text);
    if below.rows > 0 && cells.len() + 1 == below.cells && (header == Header::Yes || cells.iter().all(is_name)) {
        let names = &below.columns[0];
        // Unquoted numbers behind commas may be what stands in front of a decimal comma.
        if delimiter == Delimiter::Comma && names.numbers && !names.quoted {
            return Err(Defect::ShortFirstLine { cells: cells.len(), below: below.cells });
        }
        return Ok(FirstLine::ShortNames);
    }
    if header == Header::Yes {
        return Ok(FirstLine::Names);
    }
    let unclear = |why| {
        let words: Vec<&str> = cells.iter().map(|cell| &cell.text[..]).collect();
        Err(Defect::UnclearHeader { found: excerpt(&words.join(",")), why })
    };
    let filled: Vec<&Cell> = cells.iter().filter(|cell| !cell.text.is_empty()).collect();
    let numbers = filled.iter().filter(|cell| looks_like_number(&cell.text)).count();
    if filled.is_empty() {
        return Ok(FirstLine::Sample);
    }
    // A word, which is no slip of the pen in a number.
    let is_word = |cell: &&&Cell| {
        let text = cell.text.trim_start_matches(['#', '%', '(', '_', '\'', '"']);
        let begins = text.starts_with(char::is_alphabetic) && !cell.text.ends_with(['!', '?']);
        (begins || cell.quoted && cell.text.contains(char::is_alphabetic)) && !is_missing(&cell.text)
    };
    if numbers == 0 {
        if filled.iter().all(|cell| is_missing(&cell.text)) && below.rows > 0 {
            return Ok(FirstLine::Sample);
        }
        return match filled.iter().any(|cell| is_word(&cell)) || below.rows == 0 {
            true => Ok(FirstLine::Names),
            false => unclear("it is neither of words nor of numbers"),
        };
    }
    if below.rows == 0 {
        return Ok(FirstLine::Sample);
    }
    // Text is quoted and numbers are not.
    if filled.iter().all(|cell| cell.quoted) && !below.quoted {
        return Ok(FirstLine::Names);
    }
    let counters: Option<Vec<u64>> =
        filled.iter().filter(|cell| looks_like_number(&cell.text)).map(|cell| counter(&cell.text)).collect();
    if numbers < filled.len() {
        // Words among numbers: names, if the numbers may be some and the words are no slip of the pen.
        let words = filled.iter().filter(|cell| !looks_like_number(&cell.text)).all(|cell| is_word(&cell));
        let above_numbers = below.columns.iter().take(cells.len()).skip(1).all(|column| column.numbers);
        let named = words && counters.is_some() && above_numbers && cells.len() == below.cells;
        return Ok(if named { FirstLine::Names } else { FirstLine::Sample });
    }
    // A column of row names has no name.
    let nameless = cells[0].text.is_empty() && cells.len() == below.cells;
    if nameless && below.columns[0].is_index("").is_some() {
        return Ok(FirstLine::Names);
    }
    all_numbers(&filled, below, nameless).map_or_else(unclear, Ok)
}

/// What a first line of numbers is, or why it cannot be told.
fn all_numbers(filled: &[&Cell], below: &Below, nameless: bool) -> Result<FirstLine, &'static str> {
    const NUMBERED: &str = "columns are often numbered so";
    let columns = &below.columns[usize::from(nameless)..];
    let values: Vec<f64> = filled.iter().filter_map(|cell| value_of(&cell.text)).collect();
    let Some(counters) = filled.iter().map(|cell| counter(&cell.text)).collect::<Option<Vec<u64>>>() else {
        // 0.0, 1.0, 2.0 above whole numbers; 400.5, 401.0, 401.5 above others.
        let steps = |values: &[f64]| {
            values.len() > 2
                && values[1] != values[0]
                && values
                    .windows(3)
                    .all(|three| (three[2] - three[1] - three[1] + three[0]).abs() <= 1e-9 * three[2].abs())
        };
        return if steps(&values) { Err(NUMBERED) } else { Ok(FirstLine::Sample) };
    };
    let begins = counters[0];
    let in_order = counters.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let distinct = counters.iter().collect::<HashSet<_>>().len() == counters.len();
    let years = counters.len() > 1 && counters.iter().all(|year| (1800..=2200).contains(year)) && distinct;
    let decimals = columns.iter().filter(|column| column.decimals).count();
    if decimals == columns.len() && distinct {
        // As data frames are written: each number of a column of floats has its decimals.
        let sure = counters.len() > 1 && below.rows > 1 && (years || in_order && begins == 0);
        return if sure { Ok(FirstLine::Names) } else { Err("the lines below it have decimals, and it has none") };
    }
    // Two lines of names.
    if below.rows > 2 && columns.iter().all(|column| column.decimals_later && !column.decimals) {
        return Err("the lines below the second have decimals, and it has none");
    }
    if years || in_order && begins == 0 && (counters.len() > 1 || columns[0].whole) {
        return Err(NUMBERED);
    }
    Ok(FirstLine::Sample)
}

/// How many columns in front are left out, and what is said of them and of those that are kept.
pub(super) fn columns_in_front(line: &FirstLine, first: &Row, below: &Below) -> (usize, Vec<Note>) {
    if below.rows == 0 {
        return (0, Vec::new());
    }
    let names = match line {
        FirstLine::Names => Some(&first.cells),
        FirstLine::ShortNames | FirstLine::Sample => None,
    };
    let mut notes = Vec::new();
    if *line == FirstLine::ShortNames {
        let what = below.columns[0].is_index("").unwrap_or("has no name among those of the columns");
        notes.push(Note::LeftOut { column: 1, named: None, what });
    }
    for (at, (name, column)) in names.into_iter().flatten().zip(&below.columns).enumerate().take(MOST_INDEXES) {
        let Some(what) = column.is_index(&name.text) else { break };
        notes.push(Note::LeftOut { column: at + 1, named: Some(name.text.clone()), what });
    }
    let skipped = notes.len();
    // (Two rows count by chance.)
    let is_sample = *line == FirstLine::Sample;
    let rows = below.rows + usize::from(is_sample);
    for (at, column) in below.columns.iter().enumerate().skip(skipped) {
        let named = match line {
            FirstLine::Names => first.cells.get(at).map(|cell| cell.text.clone()),
            FirstLine::ShortNames => first.cells.get(at - 1).map(|cell| cell.text.clone()),
            FirstLine::Sample => None,
        };
        let before = first.cells.get(at).and_then(|cell| value_of(&cell.text));
        let counts = column.counts && (!is_sample || before == Some(column.begins - 1.0));
        if counts && rows > 2 && below.cells - skipped > 1 {
            notes.push(Note::CounterKept { column: at + 1, named });
        } else if named.is_some_and(|named| named.is_empty()) {
            notes.push(Note::NamelessKept { column: at + 1 });
        }
    }
    (skipped, notes)
}
