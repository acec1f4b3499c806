//! Any bytes as a message of protobuf: numbers and fields are those that `prost` reads, and what we write is what it writes. A copy
//! without changes is the same to the bit; with changes it is what a plain rebuilding of the messages gives, and the changes are in it.
//!
//! `prost` and we differ in three things, and in no others: numbers of ten bytes with bits beyond 64, which it refuses and we cut off,
//! as protobuf's own readers do; groups, which we refuse; ends of groups that belong to none, which both refuse.
//!
//! The first bytes of an input choose changes and numbers, the others are the message.

#![no_main]

use std::collections::BTreeMap;
use std::ops::Range;

use batchnorm_fuzz::{memory, mutate};
use batchnorm_model::edit::Edits;
use batchnorm_model::wire::{
    Field, Kind, WireError, fields, put_bytes, put_number, put_tag, put_varint, varint, varint_length,
};
use libfuzzer_sys::arbitrary::{Result as Chosen, Unstructured};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use prost::encoding::{self, DecodeContext, WireType};

/// Bytes of an input that choose.
const CHOICES: usize = 24;
/// The longest number, and the most that its last byte may be without bits beyond 64.
const LONGEST: usize = 10;
const LAST: u8 = 1;

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    memory::limited(bytes.len(), || reads(bytes))
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate_message(data, size, max_size, seed, CHOICES)
});

fn reads(bytes: &[u8]) {
    let Some((choices, message)) = bytes.split_at_checked(CHOICES) else { return };
    is_a_number_as_prost_has_it(message);
    has_fields_as_prost_has_them(message);
    let mut choices = Unstructured::new(choices);
    are_written_as_by_prost(&mut choices).expect("choices enough");
    are_changed_as_they_should_be(&mut choices, message);
}

/// Tells whether the number that begins here has bits beyond 64.
fn is_too_large(bytes: &[u8]) -> bool {
    bytes.iter().take(LONGEST - 1).filter(|byte| **byte >= 0x80).count() == LONGEST - 1
        && bytes.get(LONGEST - 1).is_some_and(|last| *last > LAST && *last < 0x80)
}

fn is_a_number_as_prost_has_it(bytes: &[u8]) {
    let mut left = bytes;
    let theirs = encoding::decode_varint(&mut left).map(|number| (number, bytes.len() - left.len()));
    match (varint(bytes, 0..bytes.len()), theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Ok((_, behind)), Err(_)) => assert!(is_too_large(bytes) && behind == LONGEST, "prost refuses it"),
        (Err(error), theirs) => assert!(theirs.is_err(), "{error}, of {theirs:?}"),
    }
}

fn has_fields_as_prost_has_them(message: &[u8]) {
    let mut at = 0;
    for field in fields(message, 0..message.len()) {
        let theirs = of_prost(&message[at..]);
        match field {
            Ok(field) => {
                assert_eq!(field.whole.start, at);
                lies_within(&field, &(0..message.len()));
                match theirs {
                    Some((number, kind, length)) => {
                        assert_eq!((field.number, wire_type(field.kind)), (number, kind));
                        assert_eq!(field.whole.len(), length);
                    }
                    None => assert!(has_too_large_number(&message[field.whole.clone()]), "prost refuses it"),
                }
                at = field.whole.end;
            }
            Err(WireError::Kind { kind: 3 | 4, .. }) => return,
            Err(error) => {
                assert!(theirs.is_none(), "{error}, of {theirs:?}");
                return;
            }
        }
    }
    assert_eq!(at, message.len());
}

/// The field that begins here: its number, its type and its length.
fn of_prost(bytes: &[u8]) -> Option<(u32, WireType, usize)> {
    let mut left = bytes;
    let (number, kind) = encoding::decode_key(&mut left).ok()?;
    encoding::skip_field(kind, number, &mut left, DecodeContext::default()).ok()?;
    Some((number, kind, bytes.len() - left.len()))
}

/// Tells whether a field's tag, or the number behind it (a value or a length), has bits beyond 64.
fn has_too_large_number(field: &[u8]) -> bool {
    let behind_tag = field.iter().position(|byte| *byte < 0x80).map_or(0, |at| at + 1);
    is_too_large(field) || is_too_large(&field[behind_tag..])
}

fn lies_within(field: &Field, message: &Range<usize>) {
    assert!(message.start <= field.whole.start && field.whole.end <= message.end, "{field:?}");
    assert!(field.whole.start < field.content.start && field.content.start <= field.content.end, "{field:?}");
    assert_eq!(field.content.end, field.whole.end, "{field:?}");
}

fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Varint => WireType::Varint,
        Kind::Fixed64 => WireType::SixtyFourBit,
        Kind::Bytes => WireType::LengthDelimited,
        Kind::Fixed32 => WireType::ThirtyTwoBit,
    }
}

fn are_written_as_by_prost(choices: &mut Unstructured) -> Chosen<()> {
    let value = choices.arbitrary::<u64>()?;
    let number = choices.int_in_range(1..=(1 << 29) - 1)?;
    let kind = *choices.choose(&[Kind::Varint, Kind::Fixed64, Kind::Bytes, Kind::Fixed32])?;
    let text = value.to_le_bytes().to_vec();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    put_varint(&mut ours, value);
    encoding::encode_varint(value, &mut theirs);
    assert_eq!((ours.len(), varint_length(value)), (encoding::encoded_len_varint(value), theirs.len()));
    put_tag(&mut ours, number, kind);
    encoding::encode_key(number, wire_type(kind), &mut theirs);
    put_number(&mut ours, number, value);
    encoding::uint64::encode(number, &value, &mut theirs);
    put_bytes(&mut ours, number, &text);
    encoding::bytes::encode(number, &text, &mut theirs);
    assert_eq!(ours, theirs);
    Ok(())
}

/// Changes, in the order in which they were chosen.
#[derive(Default)]
struct Changes {
    /// What comes instead of the field at a range.
    instead: BTreeMap<(usize, usize), Vec<u8>>,
    /// What comes behind the message at a range.
    behind: BTreeMap<(usize, usize), Vec<u8>>,
}

fn are_changed_as_they_should_be(choices: &mut Unstructured, message: &[u8]) {
    let written = |edits: &Edits| {
        let mut out = Vec::new();
        edits.write(message, &mut out).map(|()| out)
    };
    assert_eq!(written(&Edits::default()).expect("a copy"), message);
    if all(message, 0..message.len()).is_none() {
        return;
    }
    let (mut edits, mut changes) = (Edits::default(), Changes::default());
    while !choices.is_empty() {
        choose(choices, message, &mut edits, &mut changes);
    }
    assert_eq!(edits.is_empty(), changes.instead.is_empty() && changes.behind.is_empty());
    let new = written(&edits).expect("a message with changes");
    assert_eq!(new, rebuilt(message, 0..message.len(), &changes));
    keeps_what_is_outside(message, &new, &changes);
    has_the_changes(message, &new, &changes);
}

/// The fields of a message; none if it is no message.
fn all(message: &[u8], content: Range<usize>) -> Option<Vec<Field>> {
    fields(message, content).map(Result::ok).collect()
}

/// Goes down to a field by chance, and changes it.
fn choose(choices: &mut Unstructured, message: &[u8], edits: &mut Edits, changes: &mut Changes) {
    let mut content = 0..message.len();
    loop {
        // (Where no choices are left this is 0: down to the first field, which is replaced.)
        let choice = choices.arbitrary::<u8>().unwrap_or(0);
        let found = all(message, content.clone()).unwrap_or_default();
        let field = (!found.is_empty()).then(|| &found[usize::from(choice >> 3) % found.len()]);
        let mut new = Vec::new();
        // Numbers that tell the changes apart; now and then one that makes a length take a byte more.
        put_number(&mut new, 99, (changes.instead.len() + changes.behind.len()) as u64);
        if choice & 0x80 != 0 {
            put_bytes(&mut new, 98, &[7; 130]);
        }
        match (choice & 7, field) {
            (0..4, Some(field)) if field.kind == Kind::Bytes && all(message, field.content.clone()).is_some() => {
                content = field.content.clone();
                continue;
            }
            (0..5, Some(field)) => {
                edits.replace(field.whole.clone(), new.clone());
                changes.instead.insert((field.whole.start, field.whole.end), new);
            }
            (5, Some(field)) => {
                edits.remove(field.whole.clone());
                changes.instead.insert((field.whole.start, field.whole.end), Vec::new());
            }
            _ => {
                edits.append(content.clone(), &new);
                changes.behind.entry((content.start, content.end)).or_default().extend(new);
            }
        }
        return;
    }
}

impl Changes {
    fn places(&self) -> impl Iterator<Item = &(usize, usize)> {
        self.instead.keys().chain(self.behind.keys())
    }

    fn are_within(&self, content: &Range<usize>) -> bool {
        self.places().any(|(start, end)| content.start <= *start && *end <= content.end)
    }
}

/// A message with changes, as plainly as it can be said.
fn rebuilt(message: &[u8], content: Range<usize>, changes: &Changes) -> Vec<u8> {
    let mut new = Vec::new();
    for field in all(message, content.clone()).expect("fields on the way to a change") {
        if let Some(instead) = changes.instead.get(&(field.whole.start, field.whole.end)) {
            new.extend(instead);
        } else if field.kind == Kind::Bytes && changes.are_within(&field.content) {
            let inner = rebuilt(message, field.content.clone(), changes);
            let behind_tag = varint(message, field.whole.clone()).expect("a tag").1;
            new.extend(&message[field.whole.start..behind_tag]);
            encoding::encode_varint(inner.len() as u64, &mut new);
            new.extend(inner);
        } else {
            new.extend(&message[field.whole]);
        }
    }
    new.extend(changes.behind.get(&(content.start, content.end)).into_iter().flatten());
    new
}

/// Whatever stands in front of the first field of the file that is changed, or has a change in it, and behind the last one, stays.
fn keeps_what_is_outside(message: &[u8], new: &[u8], changes: &Changes) {
    let outer = all(message, 0..message.len()).expect("a message");
    let is_changed = |field: &&Field| {
        changes.places().any(|(start, end)| field.whole.start <= *start && *end <= field.whole.end && start < end)
            || (field.kind == Kind::Bytes && changes.are_within(&field.content))
    };
    let at_the_end = changes.behind.get(&(0, message.len())).map_or(0, Vec::len);
    let front = outer.iter().find(is_changed).map_or(message.len(), |field| field.whole.start);
    let back = outer.iter().rfind(is_changed).map_or(0, |field| field.whole.end);
    assert_eq!(new[..front], message[..front]);
    assert!(new[..new.len() - at_the_end].ends_with(&message[back..]));
}

/// The new message is one, and the fields that were put in are in it, unless what they are in is gone itself.
fn has_the_changes(message: &[u8], new: &[u8], changes: &Changes) {
    assert!(all(new, 0..new.len()).is_some(), "no message any more");
    let is_gone = |(start, end): &(usize, usize)| {
        let around =
            |(outer, behind): &(usize, usize)| outer <= start && end <= behind && (outer, behind) != (start, end);
        changes.instead.keys().any(around)
    };
    let put_in =
        changes.instead.iter().chain(&changes.behind).filter(|(place, fields)| !fields.is_empty() && !is_gone(place));
    for (_, fields) in put_in {
        assert!(new.windows(fields.len()).any(|window| window == &fields[..]), "{fields:?}");
    }
    if changes.places().next().is_none() {
        assert_eq!(new, message);
    }
}
