//! How much a pickle would take in memory, found out without making its objects.
//!
//! A pickle is a program for a stack: sixty bytes can copy a list into itself until it has a million entries. The reader of PyTorch's files
//! ends that at a million; here it ends at what a file of its size may take. Only sizes are kept: a number for each object.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Bytes of text that count as much as an object.
const AS_AN_OBJECT: u64 = 64;

/// How a pickle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At its last operation, with so many objects.
    Stopped(u64),
    /// In something that is none: no reader gets further than that.
    Broken,
    /// At the limit.
    TooLarge,
}

/// Objects that the pickle at a place of a stream would make, copies included, up to a limit. Afterwards the stream stands behind it.
///
/// # Errors
/// What the system says.
pub(super) fn weigh(input: &mut impl BufRead, limit: u64) -> io::Result<End> {
    let mut weigher =
        Weigher { input, stack: Vec::new(), marks: Vec::new(), kept: Vec::new(), memo: HashMap::new(), made: 0 };
    loop {
        match weigher.step() {
            Ok(Some(Step::Stop)) => return Ok(End::Stopped(weigher.made)),
            Ok(Some(Step::On)) if weigher.made > limit => return Ok(End::TooLarge),
            Ok(Some(Step::On)) => {}
            Ok(None) => return Ok(End::Broken),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(End::Broken),
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    On,
    Stop,
}

/// Of how many objects an object is made.
#[derive(Clone, Copy)]
enum Size {
    Of(u64),
    /// As one that is kept, by its place: it grows wherever it stands.
    Kept(usize),
}

struct Weigher<'i, R> {
    input: &'i mut R,
    stack: Vec<Size>,
    marks: Vec<usize>,
    kept: Vec<u64>,
    /// Places of what is kept by their keys.
    memo: HashMap<u64, usize>,
    made: u64,
}

impl<R: BufRead> Weigher<'_, R> {
    /// One operation; none if it cannot be done.
    fn step(&mut self) -> io::Result<Option<Step>> {
        let operation = self.number(1)? as u8;
        let done = match operation {
            b'.' => return Ok(Some(Step::Stop)),
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => {
                self.marks.push(self.stack.len());
                Some(())
            }
            b'N' | b')' | b']' | b'}' | 0x88 | 0x89 | 0x8f | 0x97 => self.push(1),
            0x98 => Some(()),
            b'K' | 0x82 => self.skip(1)?.and_then(|()| self.push(1)),
            b'M' | 0x83 => self.skip(2)?.and_then(|()| self.push(1)),
            b'J' | 0x84 => self.skip(4)?.and_then(|()| self.push(1)),
            b'G' => self.skip(8)?.and_then(|()| self.push(1)),
            b'U' | b'C' | 0x8a | 0x8c => self.text(1)?,
            b'T' | b'X' | b'B' | 0x8b => self.text(4)?,
            0x8d | 0x8e | 0x96 => self.text(8)?,
            b'I' | b'L' | b'F' | b'S' | b'V' | b'P' => {
                self.line()?.and_then(|line| self.push(1 + line.len() as u64 / AS_AN_OBJECT))
            }
            b'c' | b'i' => {
                let lines = [self.line()?, self.line()?];
                let there = lines.iter().all(Option::is_some) && (operation == b'c' || self.pop_to_mark().is_some());
                there.then(|| self.push(1)).flatten()
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_to_mark().map(|_| ()),
            b'2' => self.stack.last().copied().map(|top| self.push_again(top)),
            b'Q' | 0x85 => self.join(1),
            0x93 | b'R' | b'b' | 0x81 | 0x86 => self.join(2),
            0x92 | 0x87 => self.join(3),
            b'a' => self.put_into_top(1),
            b's' => self.put_into_top(2),
            b'e' | b'u' | 0x90 => self.marked().and_then(|count| self.put_into_top(count)),
            b't' | b'l' | b'd' | b'o' | 0x91 => {
                self.pop_to_mark().map(|size| self.stack.push(Size::Of(size.saturating_add(1))))
            }
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'g' => self.key()?.and_then(|key| self.copy(key)),
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            b'p' => self.key()?.and_then(|key| self.keep(key)),
            0x94 => self.keep(self.memo.len() as u64),
            _ => None,
        };
        Ok(done.map(|()| Step::On))
    }

    fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let mut number = [0; 8];
        self.input.read_exact(&mut number[..bytes])?;
        Ok(u64::from_le_bytes(number))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<Option<()>> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        Ok((skipped == bytes).then_some(()))
    }

    /// A text behind its length.
    fn text(&mut self, bytes: usize) -> io::Result<Option<()>> {
        let length = self.number(bytes)?;
        Ok(self.skip(length)?.and_then(|()| self.push(1 + length / AS_AN_OBJECT)))
    }

    /// A line, without its end; none that is longer than a number or name can be.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.input.by_ref().take(1 << 16).read_until(b'\n', &mut line)?;
        Ok((line.pop() == Some(b'\n')).then_some(line))
    }

    fn key(&mut self) -> io::Result<Option<u64>> {
        Ok(self.line()?.and_then(|line| str::from_utf8(&line).ok()?.trim().parse().ok()))
    }

    fn push(&mut self, size: u64) -> Option<()> {
        self.made = self.made.saturating_add(size);
        self.stack.push(Size::Of(size));
        Some(())
    }

    fn push_again(&mut self, size: Size) {
        self.made = self.made.saturating_add(self.size(size));
        self.stack.push(size);
    }

    fn size(&self, size: Size) -> u64 {
        match size {
            Size::Of(size) => size,
            Size::Kept(place) => self.kept[place],
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let size = self.stack.pop()?;
        Some(self.size(size))
    }

    fn marked(&mut self) -> Option<usize> {
        let mark = self.marks.pop()?;
        self.stack.len().checked_sub(mark)
    }

    fn pop_to_mark(&mut self) -> Option<u64> {
        let count = self.marked()?;
        self.top(count)
    }

    /// The sizes of the topmost objects together, which are taken off.
    fn top(&mut self, count: usize) -> Option<u64> {
        (0..count).try_fold(0u64, |size, _| Some(size.saturating_add(self.pop()?)))
    }

    /// Makes one object of the topmost ones.
    fn join(&mut self, count: usize) -> Option<()> {
        let size = self.top(count)?;
        self.made = self.made.saturating_add(1);
        self.stack.push(Size::Of(size.saturating_add(1)));
        Some(())
    }

    /// Puts the topmost objects into the one under them.
    fn put_into_top(&mut self, count: usize) -> Option<()> {
        let size = self.top(count)?;
        let into = match self.stack.last_mut()? {
            Size::Of(into) => into,
            Size::Kept(place) => &mut self.kept[*place],
        };
        *into = into.saturating_add(size);
        Some(())
    }

    fn get(&mut self, bytes: usize) -> io::Result<Option<()>> {
        let key = self.number(bytes)?;
        Ok(self.copy(key))
    }

    fn put(&mut self, bytes: usize) -> io::Result<Option<()>> {
        let key = self.number(bytes)?;
        Ok(self.keep(key))
    }

    fn copy(&mut self, key: u64) -> Option<()> {
        let place = *self.memo.get(&key)?;
        self.push_again(Size::Kept(place));
        Some(())
    }

    fn keep(&mut self, key: u64) -> Option<()> {
        let place = match *self.stack.last()? {
            Size::Kept(place) => place,
            Size::Of(size) => {
                self.kept.push(size);
                self.kept.len() - 1
            }
        };
        *self.stack.last_mut()? = Size::Kept(place);
        self.made = self.made.saturating_add(1);
        self.memo.insert(key, place);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(pickle: &[u8], limit: u64) -> End {
        weigh(&mut &pickle[..], limit).unwrap()
    }

    #[test]
    fn usual_pickles_are_light() {
        // {'a': [1, 2]} by protocol 2, as Python writes it.
        let pickle = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01]q\x02(K\x01K\x02es.";
        assert_eq!(weighed(pickle, 100), End::Stopped(8));
        assert_eq!(weighed(b"(I1\nI2\nl.", 100), End::Stopped(2));
    }

    #[test]
    fn copies_of_copies_are_heavy() {
        // A tuple of ten Nones, kept; a tuple of ten of it, kept; and so on.
        let mut pickle = b"\x80\x02(NNNNNNNNNNtq\x00".to_vec();
        for level in 0..12u8 {
            pickle.push(b'(');
            (0..10).for_each(|_| pickle.extend([b'h', level]));
            pickle.extend([b't', b'q', level + 1]);
        }
        pickle.push(b'.');
        assert_eq!(weighed(&pickle, 1_000_000), End::TooLarge);
        // A list that is kept when it is empty, and copied when it is full.
        let full = [&b"]q\x00("[..], &[b'N'; 1000], b"e(", &b"h\x00".repeat(1000), b"t."].concat();
        assert_eq!(weighed(&full, 100_000), End::TooLarge);
        let nones = [vec![b'('], vec![b'N'; 5000], b"t.".to_vec()].concat();
        assert_eq!((weighed(&nones, 4000), weighed(&nones, 6000)), (End::TooLarge, End::Stopped(5000)));
    }

    #[test]
    fn what_is_no_pickle_ends_where_it_breaks() {
        for broken in [&b""[..], b"\xff", b"a.", b"h\x05.", b"X\xff\xff\xff\x7fa", b"t.", b"I1", b"0."] {
            assert_eq!(weighed(broken, 100), End::Broken, "{broken:?}");
        }
    }
}
