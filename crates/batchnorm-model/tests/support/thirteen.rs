//! A model with parts that readers of today do not know, or that few keep.
#![allow(dead_code, missing_docs)]

use std::ops::Range;

use batchnorm_model::edit::Edits;
use batchnorm_model::onnx::NewAttribute as A;
use batchnorm_model::wire::{Kind, fields, put_bytes};

use super::support::{model, node, norm, vectors, weights};

/// The way to a message: the number of each field, and which one of that number it is.
pub type Way<'w> = &'w [(u32, usize)];

/// The file with fields appended to messages.
pub fn with(file: &[u8], appended: &[(Way, Vec<u8>)]) -> Vec<u8> {
    let mut edits = Edits::default();
    for (way, field) in appended {
        edits.append(message(file, way), field);
    }
    written(&edits, file)
}

pub fn message(file: &[u8], way: Way) -> Range<usize> {
    way.iter().fold(0..file.len(), |content, (number, which)| {
        let found = fields(file, content)
            .map(Result::unwrap)
            .filter(|field| field.number == *number && field.kind == Kind::Bytes);
        found.into_iter().nth(*which).unwrap().content
    })
}

pub fn written(edits: &Edits, file: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    edits.write(file, &mut out).unwrap();
    out
}

pub fn bytes(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, content);
    out
}

pub fn entry(key: &str, value: &str) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat()
}

/// A model with thirteen parts that readers of today do not know, or that few keep; each has a mark of its own.
pub fn with_thirteen() -> (Vec<u8>, Vec<String>) {
    let nodes = vec![
        node("Conv", &["x", "w"], &["a"], &[("pads", A::Ints(vec![1; 4]))]),
        norm("bn", "a", "b"),
        node("Relu", &["b"], &["y"], &[]),
    ];
    let tensors = [weights("w", &[5, 3, 3, 3])].into_iter().chain(vectors("bn", 5)).collect();
    let plain = model(13, &[-1, 3, 9, 9], nodes, tensors).to_bytes();
    let marks: Vec<String> = (1..=13).map(|mark| format!("MARK-{mark:02}")).collect();
    let mark = |at: usize| marks[at].as_bytes();
    let text = |at: usize| marks[at].as_str();
    let sparse = bytes(1, &[bytes(8, mark(7)), [vec![0x10, 1], bytes(9, &[0; 4])].concat()].concat());
    let function = [bytes(1, mark(10)), bytes(10, b"own")].concat();
    let parts: Vec<(Way, Vec<u8>)> = vec![
        (&[], bytes(900, mark(0))),
        (&[(7, 0)], bytes(901, mark(1))),
        (&[(7, 0), (1, 0)], bytes(902, mark(2))),
        (&[(7, 0), (1, 0), (5, 0)], bytes(903, mark(3))),
        (&[(7, 0), (5, 0)], bytes(904, mark(4))),
        (&[(7, 0), (11, 0)], bytes(905, mark(5))),
        (&[(7, 0), (1, 2)], bytes(9, &entry("note", text(6)))),
        (&[(7, 0)], bytes(15, &sparse)),
        (&[(7, 0)], bytes(14, &[bytes(1, b"w"), bytes(2, &entry("SCALE_TENSOR", text(8)))].concat())),
        (&[], bytes(20, &bytes(1, &bytes(2, mark(9))))),
        (&[], bytes(25, &function)),
        (&[], bytes(14, &entry("made", text(11)))),
        (&[], bytes(8, &[bytes(1, mark(12)), vec![0x10, 1]].concat())),
    ];
    assert_eq!(parts.len(), marks.len());
    (with(&plain, &parts), marks)
}

pub fn has(file: &[u8], mark: &str) -> bool {
    file.windows(mark.len()).any(|window| window == mark.as_bytes())
}
