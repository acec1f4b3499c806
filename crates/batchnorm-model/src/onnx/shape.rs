//! What is known of shapes without running a graph: the number of a value's axes, and what a Reshape makes.

use std::collections::HashMap;

use super::constant::Constants;
use super::message::{Graph, Node};
use super::uses::Uses;

/// Nodes on the way to a value whose shape is said, at most.
const LONGEST: usize = 64;

/// Operators whose output has as many axes as their first input.
const KEEP_AXES: &[&str] = &[
    "Identity",
    "Dropout",
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "LRN",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "ThresholdedRelu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Gelu",
    "Swish",
    "Softplus",
    "Softsign",
    "Tanh",
    "Erf",
    "Exp",
    "Log",
    "Sqrt",
    "Abs",
    "Neg",
    "Clip",
    "Cast",
    "Softmax",
    "LogSoftmax",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Pad",
    "Transpose",
    "Concat",
    "Slice",
    "Resize",
    "Upsample",
    "QuantizeLinear",
    "DequantizeLinear",
];

/// A length that a Reshape gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// That of the input's axis at the same place.
    Copied,
    /// Whatever is left.
    Inferred,
    /// This one.
    Fixed(i64),
}

/// The axes of the values of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Shapes<'g, 'f> {
    graph: &'g Graph<'f>,
    uses: &'g Uses<'f>,
    constants: &'g Constants<'g, 'f>,
    declared: HashMap<&'f str, usize>,
    opset: i64,
}

impl<'g, 'f> Shapes<'g, 'f> {
    pub fn of(
        graph: &'g Graph<'f>,
        uses: &'g Uses<'f>,
        constants: &'g Constants<'g, 'f>,
        opset: i64,
    ) -> Shapes<'g, 'f> {
        let edges = graph.inputs.iter().chain(&graph.outputs);
        let edges = edges.filter_map(|value| Some((value.name, value.shape.as_ref()?.len())));
        let declared = graph.ranks.iter().copied().chain(edges).collect();
        Shapes { graph, uses, constants, declared, opset }
    }

    /// The number of a value's axes, where the file says it, or the nodes before it do.
    pub fn axes(&self, value: &str) -> Option<usize> {
        // Squeeze and Unsqueeze on the way change it by so many.
        let (mut value, mut change) = (value, 0i64);
        for _ in 0..LONGEST {
            let axes = |number: usize| usize::try_from(number as i64 + change).ok();
            if let Some(&number) = self.declared.get(value) {
                return axes(number);
            }
            let Some(place) = self.uses.maker(value) else { return axes(self.constants.shape(value)?.len()) };
            let node = &self.graph.nodes[place];
            let input = |at: usize| node.input(at);
            if node.is_one_of(&["Gemm", "Flatten"]) {
                return axes(2);
            } else if node.is_one_of(&["Conv", "ConvTranspose"]) {
                return axes(self.constants.shape(input(1)?)?.len());
            } else if node.is("Reshape") {
                return axes(self.reshaped(node)?.len());
            } else if node.is("MatMul") {
                // A matrix on the right leaves the axes on the left as many as they are.
                self.constants.shape(input(1)?).filter(|shape| shape.len() == 2)?;
                value = input(0)?;
            } else if node.is_one_of(&["Squeeze", "Unsqueeze"]) {
                let axes = self.squeezed(node)?.len() as i64;
                change += if node.is("Squeeze") { -axes } else { axes };
                value = input(0)?;
            } else if node.is_one_of(&["Add", "Sub", "Mul", "Div"]) {
                // Beside a constant of few axes the other one decides; of two others either may have more.
                let constant = |at: usize| Some(self.constants.shape(input(at)?)?.len());
                value = match (constant(0), constant(1)) {
                    (Some(0 | 1), None) => input(1)?,
                    (None, Some(0 | 1)) => input(0)?,
                    _ => return None,
                };
            } else if node.is_one_of(KEEP_AXES) {
                value = input(0)?;
            } else {
                return None;
            }
        }
        None
    }

    /// The whole numbers of a constant.
    pub fn whole_numbers(&self, value: &str) -> Option<Vec<i64>> {
        self.constants.whole_numbers(value)
    }

    /// Tells whether a value is a constant 0.
    pub fn is_zero(&self, value: &str) -> bool {
        let numbers = self.constants.numbers(value, 1, &|_, _, _| Err(String::from("not read here")));
        numbers.is_ok_and(|numbers| numbers.iter().all(|number| number == 0.0))
    }

    /// The axes of a Squeeze or Unsqueeze, if they are constants.
    pub fn squeezed(&self, node: &Node<'f>) -> Option<Vec<i64>> {
        match self.opset < 13 {
            true => node.ints("axes").map(<[i64]>::to_vec),
            false => self.constants.whole_numbers(node.input(1)?),
        }
    }

    /// The shape that a Reshape gives: a constant, or lengths of its input joined with constants, as exporters write `view(n, -1)`.
    pub fn reshaped(&self, node: &Node<'f>) -> Option<Vec<Length>> {
        let numbers = |numbers: &[i64]| {
            let keeps_zero = node.int("allowzero").unwrap_or(0) != 0;
            let length = |&number: &i64| match number {
                0 if !keeps_zero => Length::Copied,
                -1 => Length::Inferred,
                number => Length::Fixed(number),
            };
            numbers.iter().map(length).collect::<Vec<Length>>()
        };
        if self.opset < 5 {
            return Some(numbers(node.ints("shape")?));
        }
        let shape = node.input(1)?;
        if let Some(shape) = self.constants.whole_numbers(shape) {
            return Some(numbers(&shape));
        }
        let joined = &self.graph.nodes[self.uses.maker(shape)?];
        if !joined.is("Concat") || joined.inputs.len() > 8 {
            return None;
        }
        let mut lengths = Vec::new();
        for (at, part) in joined.inputs.iter().enumerate() {
            match self.constants.whole_numbers(part.text) {
                Some(constant) => lengths.extend(numbers(&constant)),
                None if lengths.len() == at && self.is_length_of(part.text, node.input(0)?, at as i64) => {
                    lengths.push(Length::Copied);
                }
                None => return None,
            }
        }
        Some(lengths)
    }

    /// The first length that a Reshape gives, where it is a constant, whatever the others are.
    pub fn first_reshaped(&self, node: &Node<'f>) -> Option<Length> {
        if let Some(lengths) = self.reshaped(node) {
            return lengths.first().copied();
        }
        let joined = &self.graph.nodes[self.uses.maker(node.input(1)?)?];
        let first = if joined.is("Concat") { self.constants.whole_numbers(joined.input(0)?)? } else { return None };
        first.first().map(|&first| Length::Fixed(first))
    }

    /// Tells whether a value is made of constants alone, by few enough nodes: so many are `left` to be looked at.
    pub fn is_of_constants(&self, value: &str, left: &mut usize) -> bool {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        self.constants.has(value)
            || self.uses.maker(value).is_some_and(|place| {
                let inputs =
                    self.graph.nodes[place].inputs.iter().map(|input| input.text).filter(|name| !name.is_empty());
                let inputs: Vec<&str> = inputs.take(LONGEST).collect();
                !inputs.is_empty() && inputs.into_iter().all(|input| self.is_of_constants(input, left))
            })
    }

    /// Tells whether a value is the length of an axis of another one: Shape, Gather, and perhaps Unsqueeze.
    fn is_length_of(&self, length: &str, of: &str, axis: i64) -> bool {
        let made_by = |value: &str, operator: &str| {
            let node = &self.graph.nodes[self.uses.maker(value)?];
            node.is(operator).then_some(node)
        };
        let find = || {
            let gathered = match made_by(length, "Unsqueeze") {
                Some(node) => node.input(0)?,
                None => length,
            };
            let gather = made_by(gathered, "Gather")?;
            let at = self.constants.whole_numbers(gather.input(1)?)?;
            let shape = made_by(gather.input(0)?, "Shape")?;
            // (A part of a shape counts from another axis.)
            let is_whole = shape.attribute("start").is_none() && shape.attribute("end").is_none();
            Some(at == [axis] && is_whole && shape.input(0)? == of)
        };
        find().unwrap_or(false)
    }
}
