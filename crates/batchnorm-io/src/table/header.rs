//! Which line is names, and which column is no feature: told by what is written, never guessed.

use super::cells::{Cell, Row};
use super::decimals::{counter, is_missing, looks_like_number, shows_decimals};
use super::defect::Defect;
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
    /// For each column, whether all of its cells are written with decimals.
    decimals: Vec<bool>,
    /// For each column, whether all of its cells are numbers or missing.
    numbers: Vec<bool>,
    first: FirstColumn,
}

/// The cells of the first column below the first row.
#[derive(Debug, Default)]
struct FirstColumn {
    /// The first one, as a counter.
    begins: Option<u64>,
    /// Each is one more than the one above it.
    counts: bool,
    /// All are whole numbers, no two alike.
    distinct: bool,
    seen: HashSet<u64>,
}

impl Below {
    /// Takes a row in.
    pub fn see(&mut self, row: &Row) {
        if self.rows == 0 {
            self.cells = row.cells.len();
            self.decimals = vec![true; self.cells];
            self.numbers = vec![true; self.cells];
        }
        for (column, cell) in row.cells.iter().take(self.cells).enumerate() {
            self.decimals[column] &= shows_decimals(&cell.text);
            self.numbers[column] &= looks_like_number(&cell.text) || cell.text.is_empty() || is_missing(&cell.text);
            // (Names of rows are quoted where numbers are not.)
            self.quoted |= cell.quoted && column > 0;
        }
        let number = row.cells.first().and_then(|cell| counter(&cell.text));
        let first = &mut self.first;
        if self.rows == 0 {
            (first.begins, first.counts, first.distinct) = (number, true, true);
        }
        first.counts &= number.is_some() && number == first.begins.map(|begins| begins + self.rows as u64);
        first.distinct &= number.is_some_and(|number| first.seen.insert(number));
        self.rows += 1;
    }

    /// Whether the first column counts the rows, from 0 or 1 on.
    fn counts(&self) -> bool {
        self.first.counts && matches!(self.first.begins, Some(0 | 1))
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
pub(super) fn first_line(first: &Row, below: &Below, header: Header) -> Result<FirstLine, Defect> {
    let cells = &first.cells;
    if header == Header::No {
        return Ok(FirstLine::Sample);
    }
    // (Of a line of numbers that is short one is missing.)
    let is_name = |cell: &Cell| cell.quoted || !looks_like_number(&cell.text);
    if below.rows > 0 && cells.len() + 1 == below.cells && cells.iter().all(is_name) {
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
    if numbers == 0 {
        let all_missing = filled.iter().all(|cell| is_missing(&cell.text));
        return Ok(if all_missing && below.rows > 0 { FirstLine::Sample } else { FirstLine::Names });
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
        let is_word =
            |cell: &&Cell| cell.text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !is_missing(&cell.text);
        let words = filled.iter().filter(|cell| !looks_like_number(&cell.text)).all(is_word);
        let above_numbers = (1..below.cells.min(cells.len())).all(|column| below.numbers[column]);
        let named = words && counters.is_some() && above_numbers && cells.len() == below.cells;
        return Ok(if named { FirstLine::Names } else { FirstLine::Sample });
    }
    let Some(counters) = counters else { return Ok(FirstLine::Sample) };
    let begins = counters[0];
    let in_order = counters.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let years = counters.len() > 1
        && counters.iter().all(|year| (1800..=2200).contains(year))
        && counters.windows(2).all(|pair| pair[0] < pair[1]);
    if !(years || in_order && begins <= 1) {
        return Ok(FirstLine::Sample);
    }
    // A column of row names has no name.
    let nameless = cells[0].text.is_empty();
    let columns = usize::from(nameless)..below.cells;
    let decimals = columns.clone().filter(|&column| below.decimals[column]).count();
    if nameless && (below.counts() || decimals == columns.len()) {
        return Ok(FirstLine::Names);
    }
    if begins == 1 && !years && (counters.len() == 1 || below.rows == 1 || decimals < columns.len()) {
        return Ok(FirstLine::Sample);
    }
    if decimals == columns.len() {
        // As data frames are written: each number of a column of floats has its decimals.
        let sure = counters.len() > 1 && below.rows > 1 && (years || begins == 0);
        return if sure { Ok(FirstLine::Names) } else { unclear("the lines below it have decimals, and it has none") };
    }
    unclear("columns are often numbered so")
}

/// Something about the columns that a user should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The first column was left out, for it names or counts the rows.
    LeftOut {
        /// Its header, as it stands.
        named: Option<String>,
        /// What it does.
        what: &'static str,
    },
    /// The first column counts the rows, and was kept.
    CounterKept {
        /// Its header.
        named: Option<String>,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let headed = |named: &Option<String>| match named.as_deref() {
            None => String::from("without a header"),
            Some("") => String::from("with an empty header"),
            Some(named) => format!("`{}`", excerpt(named)),
        };
        match self {
            Note::LeftOut { named, what } => {
                write!(f, "the first column, {}, was left out: it {what}", headed(named))
            }
            Note::CounterKept { named } => {
                let named = headed(named);
                write!(
                    f,
                    "the first column, {named}, was kept as a feature, though it counts the rows; take it out if it is none"
                )
            }
        }
    }
}

/// Whether the first column is left out, and what is said of it.
pub(super) fn first_column(line: &FirstLine, first: &Row, below: &Below) -> Option<Note> {
    if below.rows == 0 {
        return None;
    }
    let named = match line {
        FirstLine::Names => Some(first.cells[0].text.clone()),
        FirstLine::ShortNames | FirstLine::Sample => None,
    };
    // The headers under which programs write the names of rows.
    let headers = ["", "unnamed: 0", "rownames", "row.names", "index"];
    let of_rows = *line == FirstLine::ShortNames
        || named.as_ref().is_some_and(|named| headers.contains(&named.to_lowercase().as_str()));
    let what = if below.counts() {
        "counts the rows"
    } else if below.cells > 0 && !below.numbers[0] {
        "holds names"
    } else if below.first.distinct {
        "numbers the rows"
    } else {
        ""
    };
    if of_rows && !what.is_empty() || *line == FirstLine::ShortNames {
        let what = if what.is_empty() { "has no name among those of the columns" } else { what };
        return Some(Note::LeftOut { named, what });
    }
    // (Two rows count by chance.)
    let rows = below.rows + usize::from(*line == FirstLine::Sample);
    (counts_with(line, first, below) && rows > 2 && below.cells > 1).then_some(Note::CounterKept { named })
}

/// Whether the first column counts, the first line with it where that is a sample.
fn counts_with(line: &FirstLine, first: &Row, below: &Below) -> bool {
    if *line != FirstLine::Sample {
        return below.counts();
    }
    let begins = counter(&first.cells[0].text);
    below.first.counts && matches!(begins, Some(0 | 1)) && below.first.begins == begins.map(|begins| begins + 1)
}
