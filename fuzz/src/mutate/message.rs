//! Changes of nested messages of protobuf: fields removed, repeated, moved and changed, with all lengths as they have to be.

use batchnorm_model::wire::{Kind, fields, put_bytes, put_tag};
use libfuzzer_sys::fuzzer_mutate;

use super::{Random, changed, put};

/// Messages within messages that are looked for. (Bytes that are no message are often read as one.)
const DEEPEST: usize = 12;

/// A field, and what is in it.
#[derive(Clone)]
struct Part {
    number: u32,
    kind: Kind,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Message(Vec<Part>),
}

/// Changes the message that stands behind so many bytes of an input; one time in four, and where there is none, libFuzzer changes
/// whatever it likes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, before: usize) -> usize {
    let mut random = Random(u64::from(seed));
    let parts = data[..size].get(before..).and_then(|message| read(message, 0)).filter(|parts| !parts.is_empty());
    let Some(mut parts) = parts.filter(|_| random.below(4) > 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=random.below(3) {
        change(&mut parts, &mut random);
    }
    let mut new = data[..before].to_vec();
    write(&parts, &mut new);
    put(&new, data, size, max_size)
}

fn read(message: &[u8], depth: usize) -> Option<Vec<Part>> {
    let part = |field| {
        let field: batchnorm_model::wire::Field = Result::ok(field)?;
        let bytes = &message[field.content];
        let inner = (field.kind == Kind::Bytes && !bytes.is_empty() && depth < DEEPEST).then(|| read(bytes, depth + 1));
        let content = inner.flatten().map_or_else(|| Content::Bytes(bytes.to_vec()), Content::Message);
        Some(Part { number: field.number, kind: field.kind, content })
    };
    fields(message, 0..message.len()).map(part).collect()
}

fn write(parts: &[Part], out: &mut Vec<u8>) {
    for part in parts {
        let bytes = part.content.bytes();
        if part.kind == Kind::Bytes {
            put_bytes(out, part.number, &bytes);
        } else {
            put_tag(out, part.number, part.kind);
            out.extend(bytes);
        }
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Message(parts) => {
                let mut bytes = Vec::new();
                write(parts, &mut bytes);
                bytes
            }
        }
    }
}

fn count(parts: &[Part]) -> usize {
    let inner = |part: &Part| match &part.content {
        Content::Bytes(_) => 1,
        Content::Message(parts) => 1 + count(parts),
    };
    parts.iter().map(inner).sum()
}

/// The field of a number, counted through all messages, as its message and its place there.
fn find<'p>(parts: &'p mut Vec<Part>, wanted: &mut usize) -> Option<(&'p mut Vec<Part>, usize)> {
    let mut place = None;
    for (at, part) in parts.iter().enumerate() {
        let size = count(std::slice::from_ref(part));
        if *wanted < size {
            place = Some(at);
            break;
        }
        *wanted -= size;
    }
    let place = place?;
    if *wanted == 0 {
        return Some((parts, place));
    }
    *wanted -= 1;
    match &mut parts[place].content {
        Content::Message(inner) => find(inner, wanted),
        Content::Bytes(_) => None,
    }
}

fn change(parts: &mut Vec<Part>, random: &mut Random) {
    let all = count(parts);
    if all == 0 {
        return;
    }
    let (mut one, mut other) = (random.below(all), random.below(all));
    let Some(source) = find(parts, &mut other).map(|(message, at)| message[at].clone()) else { return };
    let Some((message, at)) = find(parts, &mut one) else { return };
    match random.below(9) {
        0 => {
            message.remove(at);
        }
        1 => message.insert(at, message[at].clone()),
        2 => message.insert(at, source),
        3 => {
            let with = random.below(message.len());
            message.swap(at, with);
        }
        // A name becomes that of something else: so nodes are joined.
        4 | 5 if message[at].kind == source.kind => message[at].content = source.content,
        6 => {
            let near = message[at].number as usize + random.below(5);
            message[at].number = near.saturating_sub(2).max(1) as u32;
        }
        _ => {
            let new = changed(&message[at].content.bytes());
            let fits = match message[at].kind {
                Kind::Bytes => true,
                Kind::Varint => {
                    (1..=10).contains(&new.len()) && new.iter().rposition(|byte| *byte < 0x80) == Some(new.len() - 1)
                }
                Kind::Fixed32 => new.len() == 4,
                Kind::Fixed64 => new.len() == 8,
            };
            if fits {
                message[at].content = Content::Bytes(new);
            }
        }
    }
}
