//! Models that are written anew, not changed: networks of one's own, and models for tests.

use std::borrow::Cow;
use std::io::{self, Write};

use super::element::element_of;
use crate::numbers::Precision;
use crate::wire::{Kind, put_bytes, put_message, put_number, put_tag};

/// The version of the file format that is written, which readers have known since 2021.
const IR_VERSION: u64 = 8;
/// ONNX's number of i64.
const I64: u64 = 7;

/// A model to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewModel {
    /// The program that writes it.
    pub producer: String,
    /// That program's version.
    pub producer_version: String,
    /// The version of ONNX's operators.
    pub opset: i64,
    /// Its graph.
    pub graph: NewGraph,
    /// Functions that its nodes call, in a domain of their own.
    pub functions: Vec<NewFunction>,
    /// Notes by name.
    pub metadata: Vec<(String, String)>,
}

/// A graph to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewGraph {
    /// Its name.
    pub name: String,
    /// Its nodes, in an order in which they can run.
    pub nodes: Vec<NewNode>,
    /// Tensors that are there from the start.
    pub initializers: Vec<NewTensor>,
    /// Its inputs.
    pub inputs: Vec<NewValue>,
    /// Its outputs.
    pub outputs: Vec<NewValue>,
}

/// A function to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewFunction {
    /// Its name.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<NewNode>,
}

/// A node to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewNode {
    /// Its operator.
    pub operator: String,
    /// The operator's domain; empty for ONNX's own.
    pub domain: String,
    /// Its name.
    pub name: String,
    /// Names of its inputs; an empty one is left out.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Its attributes by name.
    pub attributes: Vec<(String, NewAttribute)>,
}

/// The value of an attribute to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum NewAttribute {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A tensor.
    Tensor(NewTensor),
    /// A graph.
    Graph(Box<NewGraph>),
}

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, in C order.
    pub values: NewValues,
}

/// The values of a tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum NewValues {
    /// Floating point, each rounded to this type.
    Floats(Precision, Vec<f64>),
    /// Floating point of this type, as it stands in a file: little-endian.
    Bytes(Precision, Vec<u8>),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// An input or output to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewValue {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub precision: Precision,
    /// Its shape: lengths, or names for what is open; none where nothing is said of it.
    pub shape: Option<Vec<NewLength>>,
}

/// A length of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewLength {
    /// This one.
    Fixed(i64),
    /// Any, the same wherever it has this name.
    Open(String),
}

impl NewModel {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 1, IR_VERSION);
        put_text(&mut out, 2, &self.producer);
        put_text(&mut out, 3, &self.producer_version);
        put_message(&mut out, 7, |out| self.graph.put(out));
        let mut opset = |domain: &str, version: i64| {
            put_message(&mut out, 8, |out| {
                put_text(out, 1, domain);
                put_number(out, 2, version as u64);
            });
        };
        opset("", self.opset);
        let mut domains: Vec<&str> = self.functions.iter().map(|function| &*function.domain).collect();
        domains.dedup();
        domains.into_iter().for_each(|domain| opset(domain, 1));
        for (key, value) in &self.metadata {
            put_message(&mut out, 14, |out| {
                put_text(out, 1, key);
                put_text(out, 2, value);
            });
        }
        for function in &self.functions {
            put_message(&mut out, 25, |out| function.put(out, self.opset));
        }
        out
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.to_bytes())
    }
}

impl NewGraph {
    fn put(&self, out: &mut Vec<u8>) {
        self.nodes.iter().for_each(|node| put_message(out, 1, |out| node.put(out)));
        put_text(out, 2, &self.name);
        self.initializers.iter().for_each(|tensor| put_message(out, 5, |out| tensor.put(out)));
        self.inputs.iter().for_each(|value| put_message(out, 11, |out| value.put(out)));
        self.outputs.iter().for_each(|value| put_message(out, 12, |out| value.put(out)));
    }
}

impl NewFunction {
    fn put(&self, out: &mut Vec<u8>, opset: i64) {
        put_text(out, 1, &self.name);
        self.inputs.iter().for_each(|name| put_bytes(out, 4, name.as_bytes()));
        self.outputs.iter().for_each(|name| put_bytes(out, 5, name.as_bytes()));
        self.nodes.iter().for_each(|node| put_message(out, 7, |out| node.put(out)));
        put_message(out, 9, |out| put_number(out, 2, opset as u64));
        put_text(out, 10, &self.domain);
    }
}

impl NewNode {
    /// The bytes of its message, without a tag.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        // (A name that is left out is there all the same, empty.)
        self.inputs.iter().for_each(|name| put_bytes(out, 1, name.as_bytes()));
        self.outputs.iter().for_each(|name| put_bytes(out, 2, name.as_bytes()));
        put_text(out, 3, &self.name);
        put_text(out, 4, &self.operator);
        for (name, value) in &self.attributes {
            put_bytes(out, 5, &value.to_bytes(name));
        }
        put_text(out, 7, &self.domain);
    }
}

impl NewAttribute {
    /// The bytes of the message of an attribute of a name, without a tag.
    pub fn to_bytes(&self, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_text(&mut out, 1, name);
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        let kind = match self {
            NewAttribute::Float(value) => {
                put_float(out, 2, *value);
                1
            }
            NewAttribute::Int(value) => {
                put_number(out, 3, *value as u64);
                2
            }
            NewAttribute::Text(text) => {
                put_bytes(out, 4, text.as_bytes());
                3
            }
            NewAttribute::Tensor(tensor) => {
                put_message(out, 5, |out| tensor.put(out));
                4
            }
            NewAttribute::Graph(graph) => {
                put_message(out, 6, |out| graph.put(out));
                5
            }
            NewAttribute::Floats(values) => {
                values.iter().for_each(|value| put_float(out, 7, *value));
                6
            }
            NewAttribute::Ints(values) => {
                values.iter().for_each(|value| put_number(out, 8, *value as u64));
                7
            }
        };
        put_number(out, 20, kind);
    }
}

impl NewTensor {
    /// The bytes of its message, without a tag.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        // (Each length a field of its own: ONNX does not pack them, and there are readers that take no other form.)
        self.shape.iter().for_each(|length| put_number(out, 1, *length as u64));
        let (element, bytes) = match &self.values {
            NewValues::Floats(precision, values) => {
                (element_of(*precision) as u64, Cow::Owned(precision.bytes_of(values.iter().copied())))
            }
            NewValues::Bytes(precision, bytes) => (element_of(*precision) as u64, Cow::Borrowed(bytes.as_slice())),
            NewValues::Ints(values) => (I64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        put_number(out, 2, element);
        put_text(out, 8, &self.name);
        put_bytes(out, 9, &bytes);
    }
}

impl NewValue {
    /// The bytes of its message, without a tag.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, 1, &self.name);
        let lengths = |out: &mut Vec<u8>, shape: &[NewLength]| {
            for length in shape {
                put_message(out, 1, |out| match length {
                    NewLength::Fixed(length) => put_number(out, 1, *length as u64),
                    NewLength::Open(name) => put_text(out, 2, name),
                });
            }
        };
        put_message(out, 2, |out| {
            put_message(out, 1, |out| {
                put_number(out, 1, element_of(self.precision) as u64);
                if let Some(shape) = &self.shape {
                    put_message(out, 2, |out| lengths(out, shape));
                }
            });
        });
    }
}

/// A text that says something.
fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, number, text.as_bytes());
    }
}

fn put_float(out: &mut Vec<u8>, number: u32, value: f32) {
    put_tag(out, number, Kind::Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_a_shape_are_fields_of_their_own() {
        let tensor =
            NewTensor { name: "w".into(), shape: vec![2, 300], values: NewValues::Floats(Precision::F32, vec![]) };
        assert_eq!(tensor.to_bytes(), [8, 2, 8, 0xac, 2, 16, 1, 66, 1, b'w', 74, 0]);
    }
}
