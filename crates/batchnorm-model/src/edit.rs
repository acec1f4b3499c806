//! Changes of a file of nested messages: only the messages on the way to a change are written anew, every other byte stays as it is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use crate::wire::{Kind, WireError, fields, put_tag, put_varint};

/// Changes of a file: fields replaced or removed, fields appended to messages.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// By the place where a field begins: where it ends, and what comes instead, in two pieces, of which the second is long at times.
    replaced: BTreeMap<usize, (usize, [Vec<u8>; 2])>,
    /// By the place where a field begins: where it ends, and what comes behind it.
    inserted: BTreeMap<usize, (usize, Vec<u8>)>,
    /// By the range of a message's content: what comes behind its last field.
    appended: BTreeMap<(usize, usize), Vec<u8>>,
}

/// A piece of the changed file.
enum Piece<'e> {
    /// As it was.
    Kept(Range<usize>),
    /// New.
    New(&'e [u8]),
    /// A length that has changed.
    Length(u64),
}

impl Edits {
    /// Puts fields in the place of a field.
    pub fn replace(&mut self, whole: Range<usize>, by: Vec<u8>) {
        self.replaced.insert(whole.start, (whole.end, [by, Vec::new()]));
    }

    /// Puts a field of bytes in the place of a field, without a copy of them.
    pub fn replace_by_bytes(&mut self, whole: Range<usize>, number: u32, content: Vec<u8>) {
        let mut start = Vec::new();
        put_tag(&mut start, number, Kind::Bytes);
        put_varint(&mut start, content.len() as u64);
        self.replaced.insert(whole.start, (whole.end, [start, content]));
    }

    /// Removes a field.
    pub fn remove(&mut self, whole: Range<usize>) {
        self.replace(whole, Vec::new());
    }

    /// Puts fields behind a field, which may itself be changed.
    pub fn insert_behind(&mut self, whole: Range<usize>, fields: &[u8]) {
        self.inserted.entry(whole.start).or_insert((whole.end, Vec::new())).1.extend_from_slice(fields);
    }

    /// Appends fields to the message whose content this is.
    pub fn append(&mut self, content: Range<usize>, fields: &[u8]) {
        self.appended.entry((content.start, content.end)).or_default().extend_from_slice(fields);
    }

    /// Tells whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.inserted.is_empty() && self.appended.is_empty()
    }

    /// Writes the file as it is changed. A field within another one that is replaced is gone with that one.
    ///
    /// # Errors
    /// What the writer says; a message on the way to a change that is none.
    pub fn write(&self, file: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut pieces = Vec::new();
        self.message(file, 0..file.len(), &mut pieces).map_err(io::Error::other)?;
        let mut length = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Kept(range) => out.write_all(&file[range])?,
                Piece::New(bytes) => out.write_all(bytes)?,
                Piece::Length(number) => {
                    length.clear();
                    put_varint(&mut length, number);
                    out.write_all(&length)?;
                }
            }
        }
        Ok(())
    }

    /// The pieces of a message, and its new length. Only messages with a change inside are walked through.
    fn message<'e>(
        &'e self,
        file: &[u8],
        content: Range<usize>,
        pieces: &mut Vec<Piece<'e>>,
    ) -> Result<u64, WireError> {
        let mut length = 0;
        let mut kept = content.start;
        let keep = |pieces: &mut Vec<Piece<'e>>, from: usize, to: usize| {
            if from < to {
                pieces.push(Piece::Kept(from..to));
            }
            (to - from) as u64
        };
        if self.changes_inside(&content) {
            for field in fields(file, content.clone()) {
                let field = field?;
                if let Some((_, by)) = self.replaced.get(&field.whole.start).filter(|(end, _)| *end == field.whole.end)
                {
                    length += keep(pieces, kept, field.whole.start);
                    for by in by {
                        length += by.len() as u64;
                        pieces.push(Piece::New(by));
                    }
                    kept = field.whole.end;
                } else if field.kind == Kind::Bytes && self.changes_inside(&field.content) {
                    // (The tag, behind which the length stands.)
                    let tag = crate::wire::varint(file, field.whole.clone())?.1;
                    length += keep(pieces, kept, tag);
                    let place = pieces.len();
                    pieces.push(Piece::Length(0));
                    let inner = self.message(file, field.content.clone(), pieces)?;
                    pieces[place] = Piece::Length(inner);
                    length += crate::wire::varint_length(inner) as u64 + inner;
                    kept = field.whole.end;
                }
                if let Some((_, new)) = self.inserted.get(&field.whole.start).filter(|(end, _)| *end == field.whole.end)
                {
                    length += keep(pieces, kept, field.whole.end) + new.len() as u64;
                    pieces.push(Piece::New(new));
                    kept = field.whole.end;
                }
            }
        }
        length += keep(pieces, kept, content.end);
        if let Some(new) = self.appended.get(&(content.start, content.end)) {
            pieces.push(Piece::New(new));
            length += new.len() as u64;
        }
        Ok(length)
    }

    fn changes_inside(&self, content: &Range<usize>) -> bool {
        let appended = self
            .appended
            .range((content.start, 0)..=(content.end, usize::MAX))
            .any(|((_, end), _)| *end <= content.end);
        appended
            || self.replaced.range(content.clone()).next().is_some()
            || self.inserted.range(content.clone()).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Field, put_bytes, put_number};

    fn message(parts: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|(number, content)| put_bytes(&mut bytes, *number, content));
        bytes
    }

    fn all(file: &[u8], message: Range<usize>) -> Vec<Field> {
        fields(file, message).map(Result::unwrap).collect()
    }

    fn written(edits: &Edits, file: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        edits.write(file, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_not_changed_stays_and_lengths_follow_all_the_way_up() {
        let inner = message(&[(1, b"one"), (2, &[7; 120]), (900, b"unknown")]);
        let file = message(&[(5, b"before"), (7, &message(&[(3, &inner), (4, b"beside")])), (6, b"behind")]);
        assert_eq!(written(&Edits::default(), &file), file);
        let outer = all(&file, 0..file.len());
        let middle = all(&file, outer[1].content.clone());
        let deep = all(&file, middle[0].content.clone());
        let mut edits = Edits::default();
        let mut instead = Vec::new();
        put_number(&mut instead, 1, 300);
        edits.replace(deep[0].whole.clone(), instead.clone());
        edits.remove(middle[1].whole.clone());
        edits.append(middle[0].content.clone(), &message(&[(8, &[1; 200])]));
        edits.append(0..file.len(), &message(&[(9, b"last")]));
        edits.insert_behind(middle[0].whole.clone(), &message(&[(10, b"between")]));
        let expected_inner = [instead, message(&[(2, &[7; 120]), (900, b"unknown"), (8, &[1; 200])])].concat();
        let expected = message(&[
            (5, b"before"),
            (7, &message(&[(3, &expected_inner), (10, b"between")])),
            (6, b"behind"),
            (9, b"last"),
        ]);
        assert_eq!(written(&edits, &file), expected);
    }

    #[test]
    fn an_empty_message_can_be_filled_and_a_full_one_emptied() {
        let file = message(&[(1, b""), (2, &message(&[(3, b"x")]))]);
        let outer = all(&file, 0..file.len());
        let mut edits = Edits::default();
        edits.append(outer[0].content.clone(), &message(&[(4, b"y")]));
        edits.remove(all(&file, outer[1].content.clone())[0].whole.clone());
        assert_eq!(written(&edits, &file), message(&[(1, &message(&[(4, b"y")])), (2, b"")]));
    }
}
