//! A model out of the bytes of its file.

use std::ops::Range;
use std::str;

use thiserror::Error;

use super::message::{Attribute, AttributeValue, Function, Graph, Model, Node, Tensor, Text, Value, Values, is_onnx};
use crate::budget::{Budget, TooMuch};
use crate::wire::{Field, Kind, WireError, fields, varint};

/// Graphs within graphs.
const DEEPEST: usize = 64;
/// Bytes that a name of a value takes in maps by names.
const OF_A_NAME: usize = 200;

/// Bytes that are no model of ONNX.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No message of protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Too many parts for its size.
    #[error(transparent)]
    Parts(#[from] TooMuch),
    /// A field of another kind than ONNX has.
    #[error("byte {at}: expected {expected} in field {number} of {message}, got another wire type")]
    Field {
        /// Its place in the file.
        at: usize,
        /// What it is to be.
        expected: &'static str,
        /// Its number.
        number: u32,
        /// The message that it is in.
        message: &'static str,
    },
    /// A name that is no text.
    #[error("byte {at}: expected a name in UTF-8, got other bytes")]
    Text {
        /// Its place in the file.
        at: usize,
    },
    /// Graphs within graphs without end.
    #[error("byte {at}: graphs lie within graphs more than {DEEPEST} deep")]
    TooDeep {
        /// The place of the graph.
        at: usize,
    },
    /// No graph, or two.
    #[error("expected one graph, got {0}")]
    Graphs(usize),
}

impl<'f> Model<'f> {
    /// The model in the bytes of a file. Nothing is copied but lists of what is there.
    ///
    /// # Errors
    /// Bytes that are no model of ONNX; more parts than a model of this size may have.
    pub fn read(file: &'f [u8]) -> Result<Model<'f>, ReadError> {
        Model::read_within(file, &mut Budget::of(file.len()))
    }

    /// The same, within a budget that more is taken from afterwards.
    pub(crate) fn read_within(file: &'f [u8], budget: &mut Budget) -> Result<Model<'f>, ReadError> {
        let mut reader = Reader { file, budget };
        let mut model = Model {
            ir_version: 0,
            producer: "",
            producer_version: "",
            opsets: Vec::new(),
            graph: Graph::default(),
            functions: Vec::new(),
            metadata: Vec::new(),
        };
        let mut graphs = 0;
        for field in fields(file, 0..file.len()) {
            let field = field?;
            let of = Of { field: &field, message: "the model" };
            match field.number {
                1 => model.ir_version = reader.int(of)?,
                2 => model.producer = reader.text(of)?,
                3 => model.producer_version = reader.text(of)?,
                7 => {
                    graphs += 1;
                    model.graph = reader.graph(of.bytes()?, 0)?;
                }
                8 => {
                    let opset = reader.opset(of.bytes()?)?;
                    reader.budget.push(&mut model.opsets, opset)?;
                }
                14 => {
                    let entry = reader.entry(of.bytes()?)?;
                    reader.budget.push(&mut model.metadata, entry)?;
                }
                25 => {
                    let function = reader.function(of.bytes()?)?;
                    reader.budget.push(&mut model.functions, function)?;
                }
                _ => {}
            }
        }
        match graphs {
            1 => Ok(model),
            graphs => Err(ReadError::Graphs(graphs)),
        }
    }
}

/// A field of a message, for errors.
#[derive(Clone, Copy)]
struct Of<'a> {
    field: &'a Field,
    message: &'static str,
}

impl Of<'_> {
    fn expect(self, kind: Kind, expected: &'static str) -> Result<(), ReadError> {
        match self.field.kind == kind {
            true => Ok(()),
            false => Err(ReadError::Field {
                at: self.field.whole.start,
                expected,
                number: self.field.number,
                message: self.message,
            }),
        }
    }

    fn bytes(self) -> Result<Range<usize>, ReadError> {
        self.expect(Kind::Bytes, "bytes")?;
        Ok(self.field.content.clone())
    }
}

struct Reader<'f, 'b> {
    file: &'f [u8],
    budget: &'b mut Budget,
}

impl<'f> Reader<'f, '_> {
    fn int(&self, of: Of) -> Result<i64, ReadError> {
        of.expect(Kind::Varint, "a whole number")?;
        Ok(varint(self.file, of.field.content.clone())?.0 as i64)
    }

    fn float(&self, of: Of) -> Result<f32, ReadError> {
        of.expect(Kind::Fixed32, "a number")?;
        Ok(f32::from_le_bytes(self.file[of.field.content.clone()].try_into().expect("four bytes")))
    }

    fn text(&self, of: Of) -> Result<&'f str, ReadError> {
        let content = of.bytes()?;
        str::from_utf8(&self.file[content.clone()]).map_err(|_| ReadError::Text { at: content.start })
    }

    /// A whole number that may be repeated: single, or several packed into bytes.
    fn ints(&mut self, of: Of, into: &mut Vec<i64>) -> Result<(), ReadError> {
        if of.field.kind == Kind::Varint {
            let value = self.int(of)?;
            return Ok(self.budget.push(into, value)?);
        }
        let mut left = of.bytes()?;
        while !left.is_empty() {
            let (value, next) = varint(self.file, left.clone())?;
            self.budget.push(into, value as i64)?;
            left.start = next;
        }
        Ok(())
    }

    fn floats(&mut self, of: Of, into: &mut Vec<f32>) -> Result<(), ReadError> {
        if of.field.kind == Kind::Fixed32 {
            let value = self.float(of)?;
            return Ok(self.budget.push(into, value)?);
        }
        let content = of.bytes()?;
        let (numbers, rest) = self.file[content.clone()].as_chunks::<4>();
        if !rest.is_empty() {
            return Err(WireError::Length { at: content.start, length: 4, left: rest.len() }.into());
        }
        self.budget.take::<f32>(numbers.len())?;
        into.extend(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(())
    }

    fn opset(&self, content: Range<usize>) -> Result<(&'f str, i64), ReadError> {
        let (mut domain, mut version) = ("", 0);
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "an operator set" };
            match field.number {
                1 => domain = self.text(of)?,
                2 => version = self.int(of)?,
                _ => {}
            }
        }
        Ok((domain, version))
    }

    fn entry(&self, content: Range<usize>) -> Result<(&'f str, &'f str), ReadError> {
        let (mut key, mut value) = ("", "");
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "an entry of notes" };
            match field.number {
                1 => key = self.text(of)?,
                2 => value = self.text(of)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn graph(&mut self, content: Range<usize>, depth: usize) -> Result<Graph<'f>, ReadError> {
        if depth >= DEEPEST {
            return Err(ReadError::TooDeep { at: content.start });
        }
        let [nodes, initializers, inputs, outputs] = self.counts(&content, [1, 5, 11, 12])?;
        let mut graph = Graph {
            content: content.clone(),
            nodes: self.budget.list(nodes)?,
            initializers: self.budget.list(initializers)?,
            inputs: self.budget.list(inputs)?,
            outputs: self.budget.list(outputs)?,
            ..Graph::default()
        };
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "a graph" };
            match field.number {
                1 => {
                    let node = self.node(of, depth)?;
                    graph.nodes.push(node);
                }
                2 => graph.name = self.text(of)?,
                5 => {
                    let tensor = self.tensor(of)?;
                    self.budget.take_bytes(OF_A_NAME)?;
                    graph.initializers.push(tensor);
                }
                11 | 12 => {
                    let value = self.value(of)?;
                    let list = if field.number == 11 { &mut graph.inputs } else { &mut graph.outputs };
                    self.budget.take_bytes(OF_A_NAME)?;
                    list.push(value);
                }
                13 => {
                    let value = self.value(of)?;
                    if let Some(shape) = value.shape {
                        self.budget.push(&mut graph.ranks, (value.name, shape.len()))?;
                    }
                }
                15 => {
                    let name = self.sparse_name(of.bytes()?)?;
                    self.budget.push(&mut graph.sparse_initializers, name)?;
                }
                _ => {}
            }
        }
        Ok(graph)
    }

    /// How many fields of each of these numbers a message has.
    fn counts<const N: usize>(&self, content: &Range<usize>, numbers: [u32; N]) -> Result<[usize; N], ReadError> {
        let mut counts = [0; N];
        for field in fields(self.file, content.clone()) {
            let number = field?.number;
            if let Some(at) = numbers.iter().position(|other| *other == number) {
                counts[at] += 1;
            }
        }
        Ok(counts)
    }

    fn first_text(&self, content: Range<usize>, message: &'static str, number: u32) -> Result<&'f str, ReadError> {
        let mut text = "";
        for field in fields(self.file, content) {
            let field = field?;
            if field.number == number {
                text = self.text(Of { field: &field, message })?;
            }
        }
        Ok(text)
    }

    /// The name of a sparse tensor is that of its values.
    fn sparse_name(&mut self, content: Range<usize>) -> Result<&'f str, ReadError> {
        let mut name = "";
        for field in fields(self.file, content) {
            let field = field?;
            if field.number == 1 {
                name = self.first_text(Of { field: &field, message: "a sparse tensor" }.bytes()?, "a tensor", 8)?;
            }
        }
        Ok(name)
    }

    fn function(&mut self, content: Range<usize>) -> Result<Function<'f>, ReadError> {
        let mut function = Function { domain: "", opset: None, outputs: Vec::new(), graph: Graph::default() };
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "a function" };
            match field.number {
                1 => function.graph.name = self.text(of)?,
                5 => {
                    let name = self.text(of)?;
                    self.budget.push(&mut function.outputs, name)?;
                }
                7 => {
                    let node = self.node(of, 1)?;
                    self.budget.push(&mut function.graph.nodes, node)?;
                }
                9 => {
                    let (domain, version) = self.opset(of.bytes()?)?;
                    if is_onnx(domain) {
                        function.opset = Some(version);
                    }
                }
                10 => function.domain = self.text(of)?,
                _ => {}
            }
        }
        Ok(function)
    }

    fn node(&mut self, of: Of, depth: usize) -> Result<Node<'f>, ReadError> {
        let content = of.bytes()?;
        let [inputs, outputs, attributes] = self.counts(&content, [1, 2, 5])?;
        self.budget.take_bytes((inputs + outputs).saturating_mul(OF_A_NAME))?;
        let mut node = Node {
            whole: of.field.whole.clone(),
            content: content.clone(),
            inputs: self.budget.list(inputs)?,
            outputs: self.budget.list(outputs)?,
            attributes: self.budget.list(attributes)?,
            ..Node::default()
        };
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "a node" };
            match field.number {
                1 | 2 => {
                    let text = Text { whole: field.whole.clone(), text: self.text(of)? };
                    let list = if field.number == 1 { &mut node.inputs } else { &mut node.outputs };
                    list.push(text);
                }
                3 => node.name = self.text(of)?,
                4 => node.operator = self.text(of)?,
                5 => {
                    let attribute = self.attribute(of, depth)?;
                    node.attributes.push(attribute);
                }
                7 => node.domain = self.text(of)?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute(&mut self, of: Of, depth: usize) -> Result<Attribute<'f>, ReadError> {
        let mut attribute = Attribute { whole: of.field.whole.clone(), name: "", value: AttributeValue::Other };
        let (mut ints, mut floats, mut graphs, mut kind) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for field in fields(self.file, of.bytes()?) {
            let field = field?;
            let of = Of { field: &field, message: "an attribute" };
            match field.number {
                1 => attribute.name = self.text(of)?,
                2 => attribute.value = AttributeValue::Float(self.float(of)?),
                3 => attribute.value = AttributeValue::Int(self.int(of)?),
                4 => attribute.value = AttributeValue::Bytes(&self.file[of.bytes()?]),
                5 => {
                    let tensor = self.tensor(of)?;
                    self.budget.take::<Tensor>(1)?;
                    attribute.value = AttributeValue::Tensor(Box::new(tensor));
                }
                6 | 11 => {
                    let graph = self.graph(of.bytes()?, depth + 1)?;
                    self.budget.push(&mut graphs, graph)?;
                }
                7 => self.floats(of, &mut floats)?,
                8 => self.ints(of, &mut ints)?,
                20 => kind = self.int(of)?,
                _ => {}
            }
        }
        if !graphs.is_empty() {
            attribute.value = AttributeValue::Graphs(graphs);
        } else if !ints.is_empty() {
            attribute.value = AttributeValue::Ints(ints);
        } else if !floats.is_empty() {
            attribute.value = AttributeValue::Floats(floats);
        } else if attribute.value == AttributeValue::Other {
            // What is 0 or empty some writers leave out, and say of which kind it is.
            attribute.value = match kind {
                1 => AttributeValue::Float(0.0),
                2 => AttributeValue::Int(0),
                3 => AttributeValue::Bytes(b""),
                6 => AttributeValue::Floats(floats),
                7 => AttributeValue::Ints(ints),
                _ => AttributeValue::Other,
            };
        }
        Ok(attribute)
    }

    fn tensor(&mut self, of: Of) -> Result<Tensor<'f>, ReadError> {
        let content = of.bytes()?;
        let mut tensor = Tensor {
            whole: of.field.whole.clone(),
            content: content.clone(),
            name: "",
            dims: Vec::new(),
            element: 0,
            values: Values::Raw(&[]),
        };
        let (mut typed, mut number, mut external, mut elsewhere) = (Vec::new(), 0, Vec::new(), false);
        for field in fields(self.file, content) {
            let field = field?;
            let of = Of { field: &field, message: "a tensor" };
            match field.number {
                1 => self.ints(of, &mut tensor.dims)?,
                2 => tensor.element = self.int(of)? as i32,
                4..=7 | 10 | 11 => {
                    number = field.number;
                    self.budget.push(&mut typed, field.content.clone())?;
                }
                8 => tensor.name = self.text(of)?,
                9 => tensor.values = Values::Raw(&self.file[of.bytes()?]),
                13 => {
                    let entry = self.entry(of.bytes()?)?;
                    self.budget.push(&mut external, entry)?;
                }
                14 => elsewhere = self.int(of)? == 1,
                _ => {}
            }
        }
        if elsewhere {
            tensor.values = Values::External(external);
        } else if !typed.is_empty() {
            tensor.values = Values::Fields(number, typed);
        }
        Ok(tensor)
    }

    fn value(&mut self, of: Of) -> Result<Value<'f>, ReadError> {
        let mut value = Value { whole: of.field.whole.clone(), name: "", element: None, shape: None };
        for field in fields(self.file, of.bytes()?) {
            let field = field?;
            let of = Of { field: &field, message: "an input or output" };
            match field.number {
                1 => value.name = self.text(of)?,
                2 => self.tensor_type(of.bytes()?, &mut value)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn tensor_type(&mut self, content: Range<usize>, value: &mut Value<'f>) -> Result<(), ReadError> {
        for field in fields(self.file, content) {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            for field in fields(self.file, Of { field: &field, message: "a type" }.bytes()?) {
                let field = field?;
                let of = Of { field: &field, message: "the type of a tensor" };
                match field.number {
                    1 => value.element = Some(self.int(of)? as i32),
                    2 => value.shape = Some(self.shape(of.bytes()?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn shape(&mut self, content: Range<usize>) -> Result<Vec<Option<i64>>, ReadError> {
        let mut shape = Vec::new();
        for field in fields(self.file, content) {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            let mut length = None;
            for field in fields(self.file, Of { field: &field, message: "a shape" }.bytes()?) {
                let field = field?;
                if field.number == 1 {
                    length = Some(self.int(Of { field: &field, message: "a length" })?);
                }
            }
            self.budget.push(&mut shape, length)?;
        }
        Ok(shape)
    }
}
