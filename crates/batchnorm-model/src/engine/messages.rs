//! Messages of ONNX written anew, of the fields that are known: every floating-point number as f32, batch norms by version 15.

use std::collections::HashSet;

use batchnorm::reference::random::Random;

use super::error::WrittenError;
use crate::excerpt::excerpt;
use crate::numbers::Precision;
use crate::onnx::{
    Attribute, AttributeValue, BatchNorm, Constants, Elsewhere, Graph, NewAttribute, Node, Tensor, Values, element_of,
    order,
};
use crate::wire::{Kind, fields, put_bytes, put_message, put_number, put_tag};

/// ONNX's numbers of element types that a file may have and an engine need not: f16, f64, bf16.
pub(super) const FLOATS: [i64; 3] = [10, 11, 16];
pub(super) const F32: u64 = 1;

/// Writes messages anew, of the fields that are known.
pub(super) struct Writer<'w, 'f: 'w> {
    pub file: &'f [u8],
    pub elsewhere: &'w Elsewhere<'w>,
    pub constants: &'w Constants<'w, 'f>,
    /// Tensors whose numbers are moved, by where they stand, and by what.
    pub moved: Option<(HashSet<usize>, Random)>,
}

impl Writer<'_, '_> {
    /// A node's name is what people know it by: an engine tells of it by that, and forgets a name that is that of a value too.
    fn put_name(node: &Node, out: &mut Vec<u8>) {
        put_bytes(out, 3, node.title().as_bytes());
    }

    /// A batch norm by the operator's version 15, in inference. Statistics that are given have other names than in the file.
    pub fn put_norm(&mut self, norm: &BatchNorm, node: &Node, given: Option<[&str; 2]>, out: &mut Vec<u8>) {
        let inputs = (0..5).map(|at| match (at, given) {
            (3 | 4, Some(given)) => given[at - 3],
            _ => node.input(at).unwrap_or_default(),
        });
        inputs.for_each(|name| put_bytes(out, 1, name.as_bytes()));
        put_bytes(out, 2, node.output(0).unwrap_or_default().as_bytes());
        Self::put_name(node, out);
        put_bytes(out, 4, b"BatchNormalization");
        put_message(out, 5, |out| {
            put_bytes(out, 1, b"epsilon");
            put_tag(out, 2, Kind::Fixed32);
            out.extend_from_slice(&norm.epsilon.to_le_bytes());
            put_number(out, 20, 1);
        });
    }

    pub fn put_node(&mut self, node: &Node, out: &mut Vec<u8>) -> Result<(), WrittenError> {
        node.inputs.iter().for_each(|name| put_bytes(out, 1, name.text.as_bytes()));
        node.outputs.iter().for_each(|name| put_bytes(out, 2, name.text.as_bytes()));
        Self::put_name(node, out);
        put_bytes(out, 4, node.operator.as_bytes());
        for attribute in &node.attributes {
            let mut message = Vec::new();
            self.put_attribute(node, attribute, &mut message)?;
            put_bytes(out, 5, &message);
        }
        for (name, values) in self.left_out(node) {
            put_bytes(out, 5, &NewAttribute::Ints(values).to_bytes(name));
        }
        put_bytes(out, 7, node.domain.as_bytes());
        Ok(())
    }

    /// Attributes that a file may leave out, and that an engine takes a default for which is none.
    fn left_out(&self, node: &Node) -> Vec<(&'static str, Vec<i64>)> {
        let mut left_out = Vec::new();
        if node.is_one_of(&["Conv", "ConvTranspose"])
            && node.ints("kernel_shape").is_none()
            && let Some([_, _, kernel @ ..]) =
                node.input(1).and_then(|weights| self.constants.shape(weights)).as_deref()
        {
            left_out.push(("kernel_shape", kernel.to_vec()));
        }
        if node.is_one_of(&["MaxPool", "AveragePool", "LpPool"])
            && node.ints("strides").is_none()
            && let Some(kernel) = node.ints("kernel_shape")
        {
            left_out.push(("strides", vec![1; kernel.len()]));
        }
        left_out
    }

    fn put_attribute(&mut self, node: &Node, attribute: &Attribute, out: &mut Vec<u8>) -> Result<(), WrittenError> {
        // What is cast to a type that becomes f32, becomes f32.
        if node.is("Cast") && attribute.name == "to" && node.int("to").is_some_and(|to| FLOATS.contains(&to)) {
            put_bytes(out, 1, b"to");
            put_number(out, 3, F32);
            put_number(out, 20, 2);
            return Ok(());
        }
        let Some(whole) = fields(self.file, attribute.whole.clone()).next().transpose()? else { return Ok(()) };
        for field in fields(self.file, whole.content) {
            let field = field?;
            if matches!(field.number, 1..=4 | 7..=9 | 20) {
                out.extend_from_slice(&self.file[field.whole]);
            }
        }
        match &attribute.value {
            AttributeValue::Tensor(tensor) => {
                let mut message = Vec::new();
                self.put_tensor(tensor, &mut message)?;
                put_bytes(out, 5, &message);
            }
            AttributeValue::Graphs(graphs) => {
                let number = if graphs.len() == 1 { 6 } else { 11 };
                for graph in graphs {
                    let mut message = Vec::new();
                    self.put_inner(graph, &mut message)?;
                    put_bytes(out, number, &message);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A graph within a node.
    fn put_inner(&mut self, graph: &Graph, out: &mut Vec<u8>) -> Result<(), WrittenError> {
        if let Some(name) = graph.sparse_initializers.first() {
            return Err(WrittenError::Sparse(excerpt(name)));
        }
        for place in order(graph).0 {
            let mut message = Vec::new();
            self.put_node(&graph.nodes[place], &mut message)?;
            put_bytes(out, 1, &message);
        }
        put_bytes(out, 2, graph.name.as_bytes());
        for tensor in &graph.initializers {
            let mut message = Vec::new();
            self.put_tensor(tensor, &mut message)?;
            put_bytes(out, 5, &message);
        }
        graph
            .inputs
            .iter()
            .for_each(|value| put_message(out, 11, |out| put_value(value.name, value.element, None, out)));
        graph
            .outputs
            .iter()
            .for_each(|value| put_message(out, 12, |out| put_value(value.name, value.element, None, out)));
        Ok(())
    }

    /// A tensor with its values as bytes: floating point as f32, others as they are.
    pub fn put_tensor(&mut self, tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), WrittenError> {
        let count = tensor.count()?;
        for &length in &tensor.dims {
            put_number(out, 1, length as u64);
        }
        put_bytes(out, 8, tensor.name.as_bytes());
        if let Some(precision) = tensor.precision() {
            put_number(out, 2, F32);
            if let Some((_, random)) = self.moved.as_mut().filter(|(tensors, _)| tensors.contains(&tensor.whole.start))
            {
                let numbers = tensor.numbers(self.file, self.elsewhere)?;
                let moved = numbers.to_vec().into_iter().map(|number| f64::from(moved_by_one(number as f32, random)));
                put_bytes(out, 9, &Precision::F32.bytes_of(moved));
                return Ok(());
            }
            match &tensor.values {
                Values::Raw(bytes) if precision == Precision::F32 && bytes.len() == 4 * count => {
                    put_bytes(out, 9, bytes)
                }
                _ => {
                    let numbers = tensor.numbers(self.file, self.elsewhere)?;
                    put_bytes(out, 9, &Precision::F32.bytes_of(numbers.to_vec().into_iter()));
                }
            }
            return Ok(());
        }
        put_number(out, 2, tensor.element as u64);
        match &tensor.values {
            Values::Raw(bytes) => put_bytes(out, 9, bytes),
            // (Texts are not packed.)
            Values::Fields(6, pieces) => pieces.iter().for_each(|piece| put_bytes(out, 6, &self.file[piece.clone()])),
            Values::Fields(number, pieces) => {
                let packed: Vec<u8> = pieces.iter().flat_map(|piece| &self.file[piece.clone()]).copied().collect();
                put_bytes(out, *number, &packed);
            }
            Values::External(_) => {
                let bytes = count * bytes_of_element(tensor.element);
                put_bytes(out, 9, &tensor.bytes_elsewhere(bytes, self.elsewhere)?);
            }
        }
        Ok(())
    }
}

/// A number as it is, or the next one above or below. (Not 0, which is there for a reason.)
pub fn moved_by_one(number: f32, random: &mut Random) -> f32 {
    match random.bits() % 3 {
        0 => number,
        _ if !number.is_finite() || number == 0.0 => number,
        1 => number.next_up(),
        _ => number.next_down(),
    }
}

/// Bytes of an element of a type that is not of floating point.
fn bytes_of_element(element: i32) -> usize {
    match element {
        2 | 3 | 9 => 1,
        4 | 5 => 2,
        6 | 12 => 4,
        _ => 8,
    }
}

pub(super) fn put_value(name: &str, element: Option<i32>, shape: Option<&[Option<i64>]>, out: &mut Vec<u8>) {
    put_bytes(out, 1, name.as_bytes());
    let Some(element) = element else { return };
    let element = if FLOATS.contains(&element.into()) { element_of(Precision::F32) } else { element };
    put_message(out, 2, |out| {
        put_message(out, 1, |out| {
            put_number(out, 1, element as u64);
            let Some(shape) = shape else { return };
            // (There may be as many axes as the name has bytes.)
            let short = excerpt(name);
            put_message(out, 2, |out| {
                for (axis, length) in shape.iter().enumerate() {
                    put_message(out, 1, |out| match length {
                        Some(length) => put_number(out, 1, *length as u64),
                        None => put_bytes(out, 2, format!("{short}.{axis}").as_bytes()),
                    });
                }
            });
        });
    });
}
