//! Text in rows and cells, whatever they are parted by.

use super::defect::Defect;
use super::note::Note;
use csv_core::{ReadFieldResult, Reader, ReaderBuilder};
use std::borrow::Cow;

/// What parts the cells of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Comma,
    Semicolon,
    Tab,
    /// One or more spaces.
    Spaces,
}

impl Delimiter {
    /// In the order in which they are tried.
    pub const ALL: [Delimiter; 4] = [Delimiter::Comma, Delimiter::Semicolon, Delimiter::Tab, Delimiter::Spaces];

    /// That of the byte after `sep=`, as Excel writes it.
    pub fn of_byte(byte: u8) -> Option<Delimiter> {
        Delimiter::ALL.into_iter().find(|delimiter| delimiter.byte() == byte)
    }

    fn byte(self) -> u8 {
        match self {
            Delimiter::Comma => b',',
            Delimiter::Semicolon => b';',
            Delimiter::Tab => b'\t',
            Delimiter::Spaces => b' ',
        }
    }

    /// The bytes with one delimiter between two cells.
    pub fn prepared(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self != Delimiter::Spaces {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let (mut quoted, mut space) = (false, false);
        for &byte in bytes {
            let ends_line = matches!(byte, b'\n' | b'\r');
            if !quoted && matches!(byte, b' ' | b'\t') {
                space = true;
                continue;
            }
            // None in front of a line and none behind it.
            if space && !ends_line && !matches!(out.last(), None | Some(b'\n' | b'\r')) {
                out.push(b' ');
            }
            space = false;
            quoted ^= byte == b'"';
            out.push(byte);
        }
        Cow::Owned(out)
    }
}

/// A text whose lines of comments are empty, and what is to be said of them. A comment begins with `#` or `%` and a space, as
/// NumPy and MATLAB write them; without the space it may be a name.
pub(super) fn without_comments(text: &[u8]) -> (Cow<'_, [u8]>, Option<Note>) {
    let is_comment = |line: &[u8]| match line.trim_ascii_start() {
        [mark @ (b'#' | b'%'), rest @ ..] => rest.first().is_none_or(|next| next.is_ascii_whitespace() || next == mark),
        _ => false,
    };
    if !text.split(|byte| matches!(byte, b'\n' | b'\r')).any(is_comment) {
        return (Cow::Borrowed(text), None);
    }
    let (mut kept, mut first, mut lines, mut quoted) = (Vec::with_capacity(text.len()), None, 0, false);
    for line in text.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let content = line.trim_ascii_end();
        if !quoted && is_comment(line) {
            first.get_or_insert_with(|| String::from_utf8_lossy(content).into_owned());
            lines += 1;
            kept.extend_from_slice(&line[content.len()..]);
        } else {
            quoted ^= line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            kept.extend_from_slice(line);
        }
    }
    (Cow::Owned(kept), first.map(|first| Note::Comments { first, lines }))
}

/// A cell without the spaces around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub text: String,
    /// Whether it stood in quotes.
    pub quoted: bool,
}

impl Cell {
    /// Whether nothing was written.
    pub fn is_blank(&self) -> bool {
        self.text.is_empty() && !self.quoted
    }
}

/// A row's cells.
#[derive(Debug)]
pub(super) struct Row {
    /// Of its last cell, so that what is said of a cell that spans lines points to its end.
    pub line: usize,
    pub cells: Vec<Cell>,
}

/// What is left of a file.
pub(super) struct Rows<'b> {
    reader: Reader,
    bytes: &'b [u8],
    at: usize,
    /// Line ends before `at`.
    lines: usize,
}

impl<'b> Rows<'b> {
    /// Of bytes as [`Delimiter::prepared`] gives them, after so many lines.
    pub fn new(bytes: &'b [u8], delimiter: Delimiter, lines: usize) -> Self {
        Rows { reader: ReaderBuilder::new().delimiter(delimiter.byte()).build(), bytes, at: 0, lines }
    }

    /// The next row that is not blank.
    pub fn next(&mut self) -> Result<Option<Row>, Defect> {
        let mut cells = Vec::new();
        loop {
            let mut content = Vec::new();
            let mut line = self.lines + 1;
            let begins = self.bytes[self.at..].iter().find(|byte| !byte.is_ascii_whitespace());
            let quoted = begins == Some(&b'"');
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
            cells.push(Cell { text: text.trim().to_owned(), quoted });
            if record_end {
                // A line of spaces is as blank as one of nothing, which the reader passes over.
                if cells.len() == 1 && cells[0].text.is_empty() {
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
