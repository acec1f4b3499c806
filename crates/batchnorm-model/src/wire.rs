//! Protobuf's wire format: fields of a message as ranges of the file. Nothing is copied.

use std::ops::Range;

use thiserror::Error;

/// Bytes that are no message of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// A number that does not end within ten bytes, or within its message.
    #[error("byte {at}: expected a varint of at most 10 bytes, got one that does not end")]
    Varint {
        /// Its place in the file.
        at: usize,
    },
    /// A field that reaches past the end of its message.
    #[error("byte {at}: a field says that it has {length} bytes, and {left} are left of its message")]
    Length {
        /// Its place in the file.
        at: usize,
        /// The length that it says.
        length: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A field of a wire type that does not exist, or of a group, which ONNX has none of.
    #[error("byte {at}: expected a field of wire type 0, 1, 2 or 5, got {kind}")]
    Kind {
        /// Its place in the file.
        at: usize,
        /// The wire type.
        kind: u8,
    },
    /// A field of number 0, or of one beyond 2^29.
    #[error("byte {at}: expected a field number in 1..2^29, got {number}")]
    Number {
        /// Its place in the file.
        at: usize,
        /// The number.
        number: u64,
    },
}

/// The wire type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number of one to ten bytes.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// Bytes with their length: text, packed numbers, a message.
    Bytes,
    /// Four bytes.
    Fixed32,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Its wire type.
    pub kind: Kind,
    /// The whole field in the file, its tag included.
    pub whole: Range<usize>,
    /// Its content, behind tag and length.
    pub content: Range<usize>,
}

/// The fields of the message in a range of the file, in order. After an error there is none more.
pub fn fields(file: &[u8], message: Range<usize>) -> Fields<'_> {
    Fields { file, at: message.start, end: message.end }
}

/// An iterator over the fields of a message.
#[derive(Debug, Clone)]
pub struct Fields<'f> {
    file: &'f [u8],
    at: usize,
    end: usize,
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, WireError>;

    fn next(&mut self) -> Option<Result<Field, WireError>> {
        if self.at >= self.end {
            return None;
        }
        let field = self.field();
        self.at = field.as_ref().map_or(self.end, |field| field.whole.end);
        Some(field)
    }
}

impl Fields<'_> {
    fn field(&self) -> Result<Field, WireError> {
        let start = self.at;
        let (tag, at) = varint(self.file, start..self.end)?;
        let (number, kind) = (tag >> 3, (tag & 7) as u8);
        if !(1..1 << 29).contains(&number) {
            return Err(WireError::Number { at: start, number });
        }
        let fixed = |length: usize| match self.end - at {
            left if left < length => Err(WireError::Length { at: start, length: length as u64, left }),
            _ => Ok(at..at + length),
        };
        let (kind, content) = match kind {
            0 => (Kind::Varint, at..varint(self.file, at..self.end)?.1),
            1 => (Kind::Fixed64, fixed(8)?),
            2 => {
                let (length, at) = varint(self.file, at..self.end)?;
                let left = self.end - at;
                let fits = usize::try_from(length).ok().filter(|length| *length <= left);
                let length = fits.ok_or(WireError::Length { at: start, length, left })?;
                (Kind::Bytes, at..at + length)
            }
            5 => (Kind::Fixed32, fixed(4)?),
            kind => return Err(WireError::Kind { at: start, kind }),
        };
        Ok(Field { number: number as u32, kind, whole: start..content.end, content })
    }
}

/// The number that begins a range, and the place behind it. Bits beyond 64 are dropped, as protobuf's own readers do.
pub fn varint(file: &[u8], range: Range<usize>) -> Result<(u64, usize), WireError> {
    let mut number = 0;
    for (index, at) in range.clone().take(10).enumerate() {
        let byte = file[at];
        number |= u64::from(byte & 0x7f).checked_shl(7 * index as u32).unwrap_or(0);
        if byte < 0x80 {
            return Ok((number, at + 1));
        }
    }
    Err(WireError::Varint { at: range.start })
}

/// Appends a number.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that a number takes.
pub fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends the tag of a field.
pub fn put_tag(out: &mut Vec<u8>, number: u32, kind: Kind) {
    let kind = match kind {
        Kind::Varint => 0,
        Kind::Fixed64 => 1,
        Kind::Bytes => 2,
        Kind::Fixed32 => 5,
    };
    put_varint(out, u64::from(number) << 3 | kind);
}

/// Appends a field of bytes.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_tag(out, number, Kind::Bytes);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a field that is a message, of what is appended to it.
pub fn put_message(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    content(&mut message);
    put_bytes(out, number, &message);
}

/// Appends a field of a number.
pub fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, Kind::Varint);
    put_varint(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_the_length_that_is_said() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(varint(&bytes, 0..bytes.len()), Ok((number, bytes.len())));
            assert_eq!(varint_length(number), bytes.len());
        }
    }

    #[test]
    fn what_is_no_message_is_an_error_with_its_place() {
        let first = |bytes: &[u8]| fields(bytes, 0..bytes.len()).next().unwrap();
        assert_eq!(first(&[0xff; 11]), Err(WireError::Varint { at: 0 }));
        assert_eq!(first(&[0x08]), Err(WireError::Varint { at: 1 }));
        assert_eq!(first(&[0x0a, 5, 1, 2]), Err(WireError::Length { at: 0, length: 5, left: 2 }));
        assert_eq!(first(&[0x0b]), Err(WireError::Kind { at: 0, kind: 3 }));
        assert_eq!(first(&[0x02, 0]), Err(WireError::Number { at: 0, number: 0 }));
        assert_eq!(first(&[0x0d, 1]), Err(WireError::Length { at: 0, length: 4, left: 1 }));
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(matches!(first(&huge), Err(WireError::Length { length: u64::MAX, .. })));
    }
}
