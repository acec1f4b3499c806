//! Models for tests, out of few words.
#![allow(dead_code, missing_docs)]

use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{NewAttribute, NewGraph, NewLength, NewModel, NewNode, NewTensor, NewValue, NewValues};

/// Deterministic numbers between -1 and 1 that are no special ones.
pub fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    };
    (0..count).map(|_| next() * 0.9 + 0.05).collect()
}

pub fn tensor(name: &str, shape: &[usize], values: Vec<f64>) -> NewTensor {
    NewTensor { name: name.into(), shape: shape.to_vec(), values: NewValues::Floats(Precision::F32, values) }
}

/// A tensor of numbers that its name decides.
pub fn weights(name: &str, shape: &[usize]) -> NewTensor {
    let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    tensor(name, shape, numbers(shape.iter().product(), seed))
}

pub fn ints(name: &str, values: &[i64]) -> NewTensor {
    NewTensor { name: name.into(), shape: vec![values.len()], values: NewValues::Ints(values.to_vec()) }
}

/// A node; it is named by its first output.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, NewAttribute)]) -> NewNode {
    NewNode {
        operator: operator.into(),
        domain: String::new(),
        name: outputs.first().copied().unwrap_or_default().to_owned(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    }
}

pub fn value(name: &str, shape: &[i64]) -> NewValue {
    let length = |&length: &i64| if length < 0 { NewLength::Open("n".into()) } else { NewLength::Fixed(length) };
    NewValue { name: name.into(), precision: Precision::F32, shape: Some(shape.iter().map(length).collect()) }
}

/// A value of whose shape nothing is said.
pub fn shapeless(name: &str) -> NewValue {
    NewValue { name: name.into(), precision: Precision::F32, shape: None }
}

/// A model with one input of a shape (-1 is open) and the output `y`.
pub fn model(opset: i64, input: &[i64], nodes: Vec<NewNode>, initializers: Vec<NewTensor>) -> NewModel {
    NewModel {
        producer: "tests".into(),
        opset,
        graph: NewGraph {
            name: "graph".into(),
            nodes,
            initializers,
            inputs: vec![value("x", input)],
            outputs: vec![shapeless("y")],
        },
        ..NewModel::default()
    }
}

/// A batch norm from one value to another, with the vectors NAME_gamma and so on.
pub fn norm(name: &str, from: &str, to: &str) -> NewNode {
    let parameters: Vec<String> =
        ["gamma", "beta", "mean", "var"].iter().map(|what| format!("{name}_{what}")).collect();
    let inputs: Vec<&str> = std::iter::once(from).chain(parameters.iter().map(String::as_str)).collect();
    NewNode { name: name.into(), ..node("BatchNormalization", &inputs, &[to], &[]) }
}

/// The vectors of [`norm`]: gamma of both signs, a variance above 0.
pub fn vectors(name: &str, channels: usize) -> Vec<NewTensor> {
    let own = |what: &str| weights(&format!("{name}_{what}"), &[channels]);
    let mut variance = own("var");
    if let NewValues::Floats(_, values) = &mut variance.values {
        values.iter_mut().for_each(|value| *value = value.abs() + 0.2);
    }
    vec![own("gamma"), own("beta"), own("mean"), variance]
}

/// Vectors with which a norm shifts nothing: mean and beta 0.
pub fn scaling(name: &str, channels: usize) -> Vec<NewTensor> {
    let mut all = vectors(name, channels);
    for at in [1, 2] {
        all[at].values = NewValues::Floats(Precision::F32, vec![0.0; channels]);
    }
    all
}
