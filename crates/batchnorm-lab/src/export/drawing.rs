//! A graph of ONNX that is being drawn, node behind node.

use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{NewAttribute, NewGraph, NewLength, NewNode, NewTensor, NewValue};

use super::tensors::{Tensors, floats};
use crate::data::Shape;
use crate::network::Recipe;

/// What the graph takes, what it gives, and the open length of both.
const INPUT: &str = "input";
pub const SCORES: &str = "scores";
const EXAMPLES: &str = "N";

/// A graph that is being drawn, and the value that it has come to.
pub struct Drawing<'n> {
    pub recipe: &'n Recipe,
    pub tensors: &'n Tensors,
    pub graph: NewGraph,
    /// The value that the next node takes.
    value: String,
    /// Its shape for one example.
    pub shape: Shape,
    /// Whether it has axes for rows and columns.
    pub is_plane: bool,
}

impl<'n> Drawing<'n> {
    /// A graph with its input and output, and no node.
    pub fn new(recipe: &'n Recipe, tensors: &'n Tensors, input: Shape, classes: usize) -> Drawing<'n> {
        let is_plane = input.is_picture();
        let value = |name: &str, lengths: &[usize]| {
            let fixed = lengths.iter().map(|&length| NewLength::Fixed(length as i64));
            let shape = std::iter::once(NewLength::Open(String::from(EXAMPLES))).chain(fixed).collect();
            NewValue { name: name.to_owned(), precision: Precision::F32, shape: Some(shape) }
        };
        let Shape { channels, rows, columns } = input;
        let lengths: &[usize] = if is_plane { &[channels, rows, columns] } else { &[channels] };
        let graph = NewGraph {
            name: String::from("network"),
            inputs: vec![value(INPUT, lengths)],
            outputs: vec![value(SCORES, &[classes])],
            ..NewGraph::default()
        };
        Drawing { recipe, tensors, graph, value: String::from(INPUT), shape: input, is_plane }
    }

    /// The value that the next node takes.
    pub fn value(&self) -> String {
        self.value.clone()
    }

    /// The value that the next node takes instead of the last one, which is given back.
    pub fn back_to(&mut self, value: String) -> String {
        std::mem::replace(&mut self.value, value)
    }

    /// A node that takes the last value and others, and whose output the next one takes. The output is called as the node.
    pub fn then(&mut self, operator: &str, name: String, others: Vec<String>, attributes: Vec<(&str, NewAttribute)>) {
        let inputs = std::iter::once(self.value()).chain(others).collect();
        self.graph.nodes.push(NewNode {
            operator: operator.to_owned(),
            domain: String::new(),
            outputs: vec![name.clone()],
            inputs,
            attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            name: name.clone(),
        });
        self.value = name;
    }

    /// A tensor that is there from the start; its name.
    pub fn constant(&mut self, tensor: NewTensor) -> String {
        let name = tensor.name.clone();
        self.graph.initializers.push(tensor);
        name
    }

    /// The shape of a vector with a number for each channel of the value, so that it reaches all of the channel.
    pub fn by_channel(&self) -> Vec<usize> {
        if self.is_plane { vec![self.shape.channels, 1, 1] } else { vec![self.shape.channels] }
    }

    /// A tensor with a number for each channel.
    pub fn vector(&mut self, name: String, values: Vec<f64>) -> String {
        let shape = self.by_channel();
        self.constant(floats(name, shape, values))
    }
}
