//! How much a pickle would take in memory, found out without making its objects.
//!
//! A pickle is a program for a stack: sixty bytes can copy a list into itself until it has a million entries. The reader of PyTorch's files
//! ends that at a million; here it ends at what a file of its size may take. Only sizes are kept: a few numbers for each object.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Bytes of text that count as much as an object.
const AS_AN_OBJECT: u64 = 64;
/// Bytes that are kept of a line: more than a number has.
const OF_A_LINE: usize = 32;

/// What a pickle would make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// Objects, copies included.
    pub objects: u64,
    /// Bytes of the names that tensors would have, which are made of the keys of all dictionaries around them: no more than this.
    pub names: u64,
}

/// How a pickle ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At its last operation.
    Stopped(Weight),
    /// In something that is none.
    Broken,
    /// At the limit.
    TooLarge,
}

/// Weighs the pickle at a place of a stream, up to a number of objects. Afterwards the stream stands behind it.
///
/// # Errors
/// What the system says.
pub(super) fn weigh(input: &mut impl BufRead, limit: u64) -> io::Result<End> {
    let mut weigher =
        Weigher { input, stack: Vec::new(), marks: Vec::new(), kept: Vec::new(), memo: HashMap::new(), made: 0 };
    loop {
        match weigher.step() {
            Ok(Some(Step::Stop)) => {
                let Size { path, tensors, .. } = weigher.top_size();
                return Ok(End::Stopped(Weight { objects: weigher.made, names: path.saturating_mul(tensors) }));
            }
            // (A mark waits as long as nothing is made of what is above it.)
            Ok(Some(Step::On)) if weigher.made + weigher.marks.len() as u64 > limit => return Ok(End::TooLarge),
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

/// What an object is made of.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    objects: u64,
    /// Of text its bytes.
    text: u64,
    /// Tensors in it, itself included.
    tensors: u64,
    /// Of what holds others the longest way of keys that leads to one of them, in bytes.
    path: u64,
}

impl Size {
    fn of(objects: u64) -> Size {
        Size { objects, ..Size::default() }
    }

    fn with(self, other: Size) -> Size {
        Size {
            objects: self.objects.saturating_add(other.objects),
            tensors: self.tensors.saturating_add(other.tensors),
            text: self.text.max(other.text),
            path: self.path.max(other.path),
        }
    }
}

/// An object on the stack: a size, or the place of one that is kept, which grows wherever it stands.
#[derive(Clone, Copy)]
enum Object {
    Of(Size),
    Kept(usize),
}

struct Weigher<'i, R> {
    input: &'i mut R,
    stack: Vec<Object>,
    marks: Vec<usize>,
    kept: Vec<Size>,
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
            b'I' | b'L' | b'F' | b'S' | b'V' => self.line()?.map(|(length, _)| self.push_text(length)),
            b'P' => self.line()?.map(|_| self.make(Size { tensors: 1, ..Size::of(1) })),
            b'c' | b'i' => {
                let lines = [self.line()?, self.line()?];
                let there = lines.iter().all(Option::is_some) && (operation == b'c' || self.pop_to_mark().is_some());
                let length: u64 = lines.iter().flatten().map(|(length, _)| length).sum();
                there.then(|| self.push(1 + length / AS_AN_OBJECT)).flatten()
            }
            // (A mark on top goes, and nothing else.)
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.marks.pop().map(|_| ()),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_to_mark().map(|_| ()),
            b'2' => self.stack.last().copied().map(|top| self.push_again(top)),
            // (What a persistent id stands for: a tensor's values.)
            b'Q' => self.join(1).map(|()| self.put_tensor()),
            0x85 => self.join(1),
            0x93 | b'R' | 0x81 | 0x86 => self.join(2),
            0x92 | 0x87 => self.join(3),
            // A state is built into an object, whose copies are made anew.
            b'b' => self.put_into_top(1, false).map(|()| self.made = self.made.saturating_add(self.top_size().objects)),
            b'a' => self.put_into_top(1, false),
            b's' => self.put_into_top(2, true),
            b'e' | 0x90 => self.marked().and_then(|count| self.put_into_top(count, false)),
            b'u' => self.marked().and_then(|count| self.put_into_top(count, true)),
            b't' | b'l' | b'o' | 0x91 => self.pop_to_mark().map(|size| self.make_of(size)),
            b'd' => self.marked().and_then(|count| {
                self.stack.len().checked_sub(count)?;
                let size = self.entries(count)?;
                self.make_of(size);
                Some(())
            }),
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
        Ok(self.skip(length)?.map(|()| self.push_text(length)))
    }

    fn push_text(&mut self, length: u64) {
        self.make(Size { objects: 1 + length / AS_AN_OBJECT, text: length, ..Size::default() });
    }

    /// A line without its end: its length and its beginning; none that does not end.
    fn line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let (mut length, mut begin) = (0, Vec::new());
        loop {
            let there = self.input.fill_buf()?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = &there[..end.unwrap_or(there.len())];
            begin.extend(part.iter().take(OF_A_LINE.saturating_sub(begin.len())));
            length += part.len() as u64;
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            if end.is_some() {
                return Ok(Some((length, begin)));
            }
        }
    }

    fn key(&mut self) -> io::Result<Option<u64>> {
        Ok(self.line()?.and_then(|(_, line)| str::from_utf8(&line).ok()?.trim().parse().ok()))
    }

    fn push(&mut self, objects: u64) -> Option<()> {
        self.make(Size::of(objects));
        Some(())
    }

    fn make(&mut self, size: Size) {
        self.made = self.made.saturating_add(size.objects);
        self.stack.push(Object::Of(size));
    }

    /// Makes one object of others, which were taken off.
    fn make_of(&mut self, others: Size) {
        self.made = self.made.saturating_add(1);
        self.stack.push(Object::Of(others.with(Size::of(1))));
    }

    fn push_again(&mut self, object: Object) {
        self.made = self.made.saturating_add(self.size(object).objects);
        self.stack.push(object);
    }

    fn size(&self, object: Object) -> Size {
        match object {
            Object::Of(size) => size,
            Object::Kept(place) => self.kept[place],
        }
    }

    fn top_size(&self) -> Size {
        self.stack.last().map_or_else(Size::default, |top| self.size(*top))
    }

    fn pop(&mut self) -> Option<Size> {
        let object = self.stack.pop()?;
        Some(self.size(object))
    }

    fn marked(&mut self) -> Option<usize> {
        let mark = self.marks.pop()?;
        self.stack.len().checked_sub(mark)
    }

    fn pop_to_mark(&mut self) -> Option<Size> {
        let count = self.marked()?;
        self.top(count)
    }

    /// The sizes of the topmost objects together, which are taken off.
    fn top(&mut self, count: usize) -> Option<Size> {
        let size = (0..count).try_fold(Size::default(), |size, _| Some(size.with(self.pop()?)))?;
        Some(Size { text: 0, ..size })
    }

    /// The same of keys and values in turn, whose keys lead to what is in the values.
    fn entries(&mut self, count: usize) -> Option<Size> {
        let (mut all, mut keys, mut ways) = (Size::default(), 0, 0);
        for at in 0..count {
            let size = self.pop()?;
            all = all.with(size);
            // (Values come off first.)
            if at % 2 == 1 { keys = keys.max(size.text) } else { ways = ways.max(size.path) }
        }
        Some(Size { text: 0, path: keys.saturating_add(ways).saturating_add(1), ..all })
    }

    /// Makes one object of the topmost ones.
    fn join(&mut self, count: usize) -> Option<()> {
        let size = self.top(count)?;
        self.make_of(size);
        Some(())
    }

    fn put_tensor(&mut self) {
        if let Some(Object::Of(size)) = self.stack.last_mut() {
            size.tensors += 1;
        }
    }

    /// Puts the topmost objects into the one under them, and into what is kept of it.
    fn put_into_top(&mut self, count: usize, as_entries: bool) -> Option<()> {
        let size = if as_entries { self.entries(count)? } else { self.top(count)? };
        let into = match self.stack.last_mut()? {
            Object::Of(into) => into,
            Object::Kept(place) => {
                self.made = self.made.saturating_add(size.objects);
                &mut self.kept[*place]
            }
        };
        *into = Size { text: into.text, ..into.with(size) };
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
        self.push_again(Object::Kept(place));
        Some(())
    }

    /// Keeps the topmost object, which is a copy of it.
    fn keep(&mut self, key: u64) -> Option<()> {
        let top = *self.stack.last()?;
        self.made = self.made.saturating_add(self.size(top).objects);
        let place = match top {
            Object::Kept(place) => place,
            Object::Of(size) => {
                self.kept.push(size);
                self.kept.len() - 1
            }
        };
        *self.stack.last_mut()? = Object::Kept(place);
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

    fn objects(pickle: &[u8]) -> u64 {
        match weighed(pickle, 1_000_000) {
            End::Stopped(weight) => weight.objects,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn usual_pickles_are_light() {
        // {'a': [1, 2]} by protocol 2, as Python writes it.
        let pickle = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01]q\x02(K\x01K\x02es.";
        assert!((5..20).contains(&objects(pickle)));
        assert_eq!(objects(b"(I1\nI2\nl."), 3);
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
        assert_eq!((weighed(&nones, 4000), objects(&nones)), (End::TooLarge, 5001));
        // Behind a long line, and behind a mark that is taken off again.
        let behind = |first: &[u8]| weighed(&[first, &nones].concat(), 4000);
        assert_eq!(behind(&[&b"V"[..], &[b'x'; 100_000], b"\n0"].concat()), End::TooLarge);
        assert_eq!(behind(b"(0"), End::TooLarge);
    }

    #[test]
    fn what_is_small_but_there_is_counted() {
        // Marks that wait; empty tuples, lists and dictionaries; references to tensors.
        for (many, each) in [(&b"("[..], 1), (b"(t", 1), (b"(l", 1), (b"(d", 1), (b"(o", 1), (b"Px\n", 1), (b"N2", 2)] {
            let pickle = [&many.repeat(1000)[..], b"N."].concat();
            assert_eq!(weighed(&pickle, 1000 * each - 1), End::TooLarge, "{many:?}");
            assert!(matches!(weighed(&pickle, 1000 * each + 1), End::Stopped(_)), "{many:?}");
        }
        // As many marks, each of which goes before the next one comes.
        assert_eq!(objects(&[&b"(0".repeat(1_000_000)[..], b"N."].concat()), 1);
    }

    #[test]
    fn names_are_as_long_as_the_keys_around_them() {
        // {key: {"k": tensor}}, as torch.save writes a tensor.
        let pickle = |key: &[u8]| {
            let length = (key.len() as u32).to_le_bytes();
            [&b"\x80\x02}X"[..], &length, key, b"}X\x01\0\0\0kctorch\nx\n(Nt.", b""]
                .concat()
                .into_iter()
                .collect::<Vec<u8>>()
        };
        let mut nested = pickle(&[b'a'; 1000]);
        nested.truncate(nested.len() - 1);
        // (The class and its arguments become a tensor of a persistent id.)
        nested.extend(b"QRss.");
        let End::Stopped(weight) = weighed(&nested, 1000) else { panic!() };
        assert_eq!(weight.names, 1000 + 1 + 2);
    }

    #[test]
    fn what_is_no_pickle_ends_where_it_breaks() {
        for broken in [&b""[..], b"\xff", b"a.", b"h\x05.", b"X\xff\xff\xff\x7fa", b"t.", b"I1", b"0."] {
            assert_eq!(weighed(broken, 100), End::Broken, "{broken:?}");
        }
    }
}
