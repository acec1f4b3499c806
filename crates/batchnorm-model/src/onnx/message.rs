//! ONNX's messages as views of the file: names and numbers where they stand, tensors by their places.

use std::ops::Range;

use crate::excerpt::excerpt;

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model<'f> {
    /// The version of the file format.
    pub ir_version: i64,
    /// The program that wrote it.
    pub producer: &'f str,
    /// That program's version.
    pub producer_version: &'f str,
    /// Versions of operator sets by their domains; `""` and `ai.onnx` are ONNX's own.
    pub opsets: Vec<(&'f str, i64)>,
    /// Its graph.
    pub graph: Graph<'f>,
    /// Functions that nodes may call.
    pub functions: Vec<Function<'f>>,
    /// Notes by name.
    pub metadata: Vec<(&'f str, &'f str)>,
}

/// A graph, of a model or in an attribute of a node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph<'f> {
    /// Its place in the file.
    pub content: Range<usize>,
    /// Its name.
    pub name: &'f str,
    /// Its nodes, in an order in which they can run.
    pub nodes: Vec<Node<'f>>,
    /// Tensors that are there from the start.
    pub initializers: Vec<Tensor<'f>>,
    /// Its inputs; in old files initialisers are among them.
    pub inputs: Vec<Value<'f>>,
    /// Its outputs.
    pub outputs: Vec<Value<'f>>,
    /// Names of initialisers that are sparse.
    pub sparse_initializers: Vec<&'f str>,
    /// Lengths of the shapes that are said of values within it.
    pub ranks: Vec<(&'f str, usize)>,
}

/// A function of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Function<'f> {
    /// Its domain.
    pub domain: &'f str,
    /// The version of ONNX's own operators that its nodes are of, where it says so.
    pub opset: Option<i64>,
    /// Names of its outputs.
    pub outputs: Vec<&'f str>,
    /// Its name and nodes, as a graph; its inputs are values that nothing in it makes.
    pub graph: Graph<'f>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node<'f> {
    /// The whole field in the file.
    pub whole: Range<usize>,
    /// Its content.
    pub content: Range<usize>,
    /// Its name, if it has one.
    pub name: &'f str,
    /// Its operator.
    pub operator: &'f str,
    /// The operator's domain.
    pub domain: &'f str,
    /// Names of its inputs; an empty one is an input that is left out.
    pub inputs: Vec<Text<'f>>,
    /// Names of its outputs.
    pub outputs: Vec<Text<'f>>,
    /// Its attributes.
    pub attributes: Vec<Attribute<'f>>,
}

/// A name in the file, with its field.
#[derive(Debug, Clone, PartialEq)]
pub struct Text<'f> {
    /// The whole field.
    pub whole: Range<usize>,
    /// The name.
    pub text: &'f str,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute<'f> {
    /// The whole field in the file.
    pub whole: Range<usize>,
    /// Its name.
    pub name: &'f str,
    /// Its value.
    pub value: AttributeValue<'f>,
}

/// The value of an attribute. Of several that contradict each other the last one is it.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue<'f> {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(&'f [u8]),
    /// A tensor.
    Tensor(Box<Tensor<'f>>),
    /// Graphs: one, or several.
    Graphs(Vec<Graph<'f>>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whatever else: of its kind nothing is asked here.
    Other,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'f> {
    /// The whole field in the file.
    pub whole: Range<usize>,
    /// Its content.
    pub content: Range<usize>,
    /// Its name.
    pub name: &'f str,
    /// Its shape.
    pub dims: Vec<i64>,
    /// The number of its element type.
    pub element: i32,
    /// Where its values are.
    pub values: Values<'f>,
}

/// Where the values of a tensor are.
#[derive(Debug, Clone, PartialEq)]
pub enum Values<'f> {
    /// Little-endian, one behind another.
    Raw(&'f [u8]),
    /// In fields of their own, by the number of the field, each packed or single.
    Fields(u32, Vec<Range<usize>>),
    /// In another file.
    External(Vec<(&'f str, &'f str)>),
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Value<'f> {
    /// The whole field in the file.
    pub whole: Range<usize>,
    /// Its name.
    pub name: &'f str,
    /// The number of its element type, if it is a tensor.
    pub element: Option<i32>,
    /// Its shape, if it is a tensor of which one is said: a length, or none where it is open or named.
    pub shape: Option<Vec<Option<i64>>>,
}

impl<'f> Node<'f> {
    /// The attribute of a name; of several the last one.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'f>> {
        self.attributes.iter().rev().find(|attribute| attribute.name == name)
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attribute(name)?.value {
            AttributeValue::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whole numbers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match &self.attribute(name)?.value {
            AttributeValue::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// A number.
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.attribute(name)?.value {
            AttributeValue::Float(value) => Some(value),
            _ => None,
        }
    }

    /// Its name, or that of its first output where it has none.
    pub fn known_as(&self) -> &'f str {
        if self.name.is_empty() { self.outputs.first().map_or("", |output| output.text) } else { self.name }
    }

    /// Operator and name, for people: of long ones the ends.
    pub fn title(&self) -> String {
        format!("{} {}", excerpt(self.operator), excerpt(self.known_as()))
    }

    /// Bytes, as texts are.
    pub fn bytes(&self, name: &str) -> Option<&'f [u8]> {
        match self.attribute(name)?.value {
            AttributeValue::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The graphs in its attributes, each with the attribute's name.
    pub fn graphs(&self) -> impl Iterator<Item = (&'f str, &Graph<'f>)> {
        self.attributes.iter().flat_map(|attribute| {
            let graphs: &[Graph] = match &attribute.value {
                AttributeValue::Graphs(graphs) => graphs,
                _ => &[],
            };
            graphs.iter().map(move |graph| (attribute.name, graph))
        })
    }

    /// The name of an input; none if it is left out.
    pub fn input(&self, place: usize) -> Option<&'f str> {
        self.inputs.get(place).map(|input| input.text).filter(|name| !name.is_empty())
    }

    /// The name of an output; none if it is left out.
    pub fn output(&self, place: usize) -> Option<&'f str> {
        self.outputs.get(place).map(|output| output.text).filter(|name| !name.is_empty())
    }

    /// Tells whether it is an operator of ONNX's own.
    pub fn is(&self, operator: &str) -> bool {
        self.operator == operator && is_onnx(self.domain)
    }

    /// Tells whether it is one of several operators of ONNX's own.
    pub fn is_one_of(&self, operators: &[&str]) -> bool {
        operators.contains(&self.operator) && is_onnx(self.domain)
    }
}

impl Model<'_> {
    /// The version of ONNX's own operators; 1 in files from before they had versions.
    pub fn opset(&self) -> i64 {
        self.opsets.iter().rev().find(|(domain, _)| is_onnx(domain)).map_or(1, |(_, version)| *version)
    }
}

pub(super) fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
