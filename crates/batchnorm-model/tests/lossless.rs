//! What is not changed stays, to the bit: unknown and rarely used parts of a file, whole files, and what stands beside a change.
#![allow(missing_docs)]

mod support;

use std::ops::Range;

use batchnorm_model::edit::Edits;
use batchnorm_model::onnx::{Model, NewAttribute as A};
use batchnorm_model::wire::{Kind, fields, put_bytes, put_number};
use support::{model, node, norm, vectors, weights};

/// The way to a message: the number of each field, and which one of that number it is.
type Way<'w> = &'w [(u32, usize)];

/// The file with fields appended to messages.
fn with(file: &[u8], appended: &[(Way, Vec<u8>)]) -> Vec<u8> {
    let mut edits = Edits::default();
    for (way, field) in appended {
        edits.append(message(file, way), field);
    }
    written(&edits, file)
}

fn message(file: &[u8], way: Way) -> Range<usize> {
    way.iter().fold(0..file.len(), |content, (number, which)| {
        let found = fields(file, content)
            .map(Result::unwrap)
            .filter(|field| field.number == *number && field.kind == Kind::Bytes);
        found.into_iter().nth(*which).unwrap().content
    })
}

fn written(edits: &Edits, file: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    edits.write(file, &mut out).unwrap();
    out
}

fn bytes(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, content);
    out
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat()
}

/// A model with thirteen parts that readers of today do not know, or that few keep; each has a mark of its own.
fn with_thirteen() -> (Vec<u8>, Vec<String>) {
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
        (&[(7, 0), (1, 1)], bytes(9, &entry("note", text(6)))),
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

fn has(file: &[u8], mark: &str) -> bool {
    file.windows(mark.len()).any(|window| window == mark.as_bytes())
}

#[test]
fn thirteen_of_thirteen_unknown_parts_are_kept_when_one_initializer_is_changed() {
    let (file, marks) = with_thirteen();
    let model = Model::read(&file).unwrap();
    let tensor = model.graph.initializers.iter().find(|tensor| tensor.name == "bn_mean").unwrap();
    let mut edits = Edits::default();
    let new: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.put_values(&file, &new, &mut edits).unwrap();
    let changed = written(&edits, &file);
    assert_eq!(marks.iter().filter(|mark| has(&changed, mark)).count(), 13);
    let again = Model::read(&changed).unwrap();
    let of = |name: &str| again.graph.initializers.iter().find(|tensor| tensor.name == name).unwrap();
    let numbers = |name: &str| of(name).numbers(&changed, &|_, _, _| Err("elsewhere".into())).unwrap().to_vec();
    assert_eq!(numbers("bn_mean"), [1.0, 2.0, 3.0, 4.0, 5.0]);
    // As many bytes as before: so every other byte is where it was, and the same.
    let differing: Vec<usize> = (0..file.len()).filter(|&at| file[at] != changed[at]).collect();
    assert_eq!(file.len(), changed.len());
    assert!(differing.iter().all(|at| tensor.content.contains(at)), "{differing:?} outside {:?}", tensor.content);
}

#[test]
fn values_of_another_length_move_what_is_behind_and_change_nothing_of_it() {
    let (file, marks) = with_thirteen();
    let model = Model::read(&file).unwrap();
    let tensor = &model.graph.initializers[2];
    // In a field of their own type, in two pieces, and as bytes: all of them are replaced.
    let name = message(&file, &[(7, 0), (5, 2)]);
    assert_eq!(name, tensor.content);
    let mut floats = Vec::new();
    put_bytes(&mut floats, 4, &[0; 8]);
    floats.extend([0x25, 0, 0, 0, 0]);
    let odd = with(&file, &[(&[(7, 0), (5, 2)], floats)]);
    let model = Model::read(&odd).unwrap();
    let tensor = &model.graph.initializers[2];
    let mut edits = Edits::default();
    tensor.put_values(&odd, &[7; 20], &mut edits).unwrap();
    assert_eq!(written(&edits, &odd).len(), file.len());
    assert_eq!(marks.iter().filter(|mark| has(&written(&edits, &odd), mark)).count(), 13);
    let mut edits = Edits::default();
    tensor.put_values(&odd, &[7; 2000], &mut edits).unwrap();
    let long = written(&edits, &odd);
    assert_eq!(marks.iter().filter(|mark| has(&long, mark)).count(), 13);
    let again = Model::read(&long).unwrap();
    assert_eq!((again.graph.nodes.len(), again.graph.initializers.len()), (3, 5));
}

#[test]
fn external_values_come_into_the_file_when_they_are_changed() {
    let mut plain = model(13, &[-1, 3], vec![norm("bn", "x", "y")], vectors("bn", 3));
    plain.graph.initializers[0].values = batchnorm_model::onnx::NewValues::Ints(vec![]);
    let file = plain.to_bytes();
    let mut location = vec![];
    put_number(&mut location, 14, 1);
    let file = with(&file, &[(&[(7, 0), (5, 0)], [bytes(13, &entry("location", "weights.bin")), location].concat())]);
    let model = Model::read(&file).unwrap();
    let mut edits = Edits::default();
    model.graph.initializers[0].put_values(&file, &[1, 2, 3, 4], &mut edits).unwrap();
    let changed = written(&edits, &file);
    assert!(!has(&changed, "weights.bin"));
    let again = Model::read(&changed).unwrap();
    assert!(matches!(again.graph.initializers[0].values, batchnorm_model::onnx::Values::Raw([1, 2, 3, 4])));
}

#[test]
fn a_new_model_is_read_as_it_was_made() {
    let mut made = model(17, &[-1, 3, 9, 9], vec![norm("bn", "x", "y")], vectors("bn", 3));
    made.metadata = vec![("key".into(), "text".into())];
    made.producer_version = "1".into();
    let branch = made.graph.clone();
    made.graph.nodes.push(node(
        "If",
        &["c"],
        &["z"],
        &[
            ("then_branch", A::Graph(Box::new(branch))),
            ("f", A::Float(0.5)),
            ("i", A::Int(-3)),
            ("t", A::Text("text".into())),
            ("fs", A::Floats(vec![1.0, 2.0])),
            ("is", A::Ints(vec![-1, 300])),
            ("v", A::Tensor(support::ints("", &[4, -5]))),
        ],
    ));
    let file = made.to_bytes();
    let read = Model::read(&file).unwrap();
    assert_eq!((read.producer, read.producer_version, read.opset()), ("tests", "1", 17));
    assert_eq!(read.metadata, [("key", "text")]);
    assert_eq!(read.graph.inputs[0].shape, Some(vec![None, Some(3), Some(9), Some(9)]));
    let node = &read.graph.nodes[1];
    assert_eq!((node.float("f"), node.int("i"), node.bytes("t")), (Some(0.5), Some(-3), Some(&b"text"[..])));
    assert_eq!(node.ints("is"), Some(&[-1, 300][..]));
    assert_eq!(node.graphs().map(|(name, graph)| (name, graph.nodes.len())).collect::<Vec<_>>(), [("then_branch", 1)]);
    let expected = support::vectors("bn", 3);
    for (tensor, made) in read.graph.initializers.iter().zip(expected) {
        let batchnorm_model::onnx::NewValues::Floats(_, values) = made.values else { unreachable!() };
        let read = tensor.numbers(&file, &|_, _, _| Err(String::new())).unwrap().to_vec();
        assert_eq!(read, values.iter().map(|value| f64::from(*value as f32)).collect::<Vec<f64>>());
    }
}
