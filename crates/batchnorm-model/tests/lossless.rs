//! What is not changed stays, to the bit: unknown and rarely used parts of a file, whole files, and what stands beside a change.
#![allow(missing_docs)]

mod support;
#[path = "support/thirteen.rs"]
mod thirteen;

use batchnorm_model::edit::Edits;
use batchnorm_model::onnx::{Model, NewAttribute as A};
use batchnorm_model::wire::{put_bytes, put_number};
use support::{model, node, norm, vectors};
use thirteen::{bytes, entry, has, message, with, with_thirteen, written};

#[test]
fn thirteen_of_thirteen_unknown_parts_are_kept_when_one_initializer_is_changed() {
    let (file, marks) = with_thirteen();
    let model = Model::read(&file).unwrap();
    let tensor = model.graph.initializers.iter().find(|tensor| tensor.name == "bn_mean").unwrap();
    let mut edits = Edits::default();
    let new: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.put_values(&file, new.clone(), &mut edits).unwrap();
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
    tensor.put_values(&odd, vec![7; 20], &mut edits).unwrap();
    assert_eq!(written(&edits, &odd).len(), file.len());
    assert_eq!(marks.iter().filter(|mark| has(&written(&edits, &odd), mark)).count(), 13);
    let mut edits = Edits::default();
    tensor.put_values(&odd, vec![7; 2000], &mut edits).unwrap();
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
    model.graph.initializers[0].put_values(&file, vec![1, 2, 3, 4], &mut edits).unwrap();
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
