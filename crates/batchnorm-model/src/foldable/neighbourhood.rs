//! A graph, for walks from a batch norm to the layers beside it.

use super::verdict::{Reason, Target};
use crate::onnx::{Constants, Graph, Node, Shapes, User, Uses};

/// Nodes between a batch norm and the layer it goes into, at most.
pub(super) const LONGEST: usize = 32;

/// A graph with its constants, and who uses what.
pub(super) struct Neighbourhood<'g, 'f> {
    pub graph: &'g Graph<'f>,
    pub constants: &'g Constants<'g, 'f>,
    pub uses: &'g Uses<'f>,
    pub shapes: Shapes<'g, 'f>,
    pub opset: i64,
}

/// What a walk met where it found no layer to fold into.
pub(super) enum Obstacle {
    /// A layer, or the way to one, that does not take it.
    Reason(Reason),
    /// Something that is not linear, or the graph's edge, in words.
    Else(String),
}

impl<'g, 'f> Neighbourhood<'g, 'f> {
    pub fn node(&self, place: usize) -> &'g Node<'f> {
        &self.graph.nodes[place]
    }

    pub fn title(&self, place: usize) -> String {
        self.node(place).title()
    }

    /// The node whose first output a value is.
    pub fn maker(&self, value: &str) -> Option<usize> {
        self.uses.maker(value).filter(|&place| self.node(place).output(0) == Some(value))
    }

    /// What takes the numbers of a value. (Shape takes none: its result stays the same.)
    pub fn takers(&self, value: &str) -> Vec<User> {
        let takes = |user: &&User| !matches!(user, User::Node { node, .. } if self.node(*node as usize).is("Shape"));
        self.uses.users(value).iter().filter(takes).copied().collect()
    }

    /// Fails where something else takes the value too.
    pub fn not_shared(&self, value: &str, what: impl Fn() -> String) -> Result<(), Obstacle> {
        match self.takers(value)[..] {
            [User::Node { .. }] => Ok(()),
            _ => Err(Obstacle::Reason(Reason::Shared(what()))),
        }
    }

    /// What a node of an operator computes from a value and a constant: the value, and the constant with the place that it is at.
    pub fn with_constant(&self, place: usize, operator: &str) -> Option<(&'f str, &'f str, usize)> {
        let node = self.node(place);
        let (one, other) = (node.input(0)?, node.input(1)?);
        match (self.constants.has(one), self.constants.has(other)) {
            _ if !node.is(operator) => None,
            (false, true) => Some((one, other, 1)),
            (true, false) => Some((other, one, 0)),
            _ => None,
        }
    }

    /// The shape of a layer's weights; a reason where they are no constants. Its bias, if it has one, has to be one too.
    pub fn weights(&self, place: usize, target: Target) -> Result<Vec<i64>, Obstacle> {
        let node = self.node(place);
        // (What is added to a MatMul is no input of it.)
        let inputs: &[usize] = if target == Target::MatMul { &[1] } else { &[1, 2] };
        for &at in inputs {
            let Some(name) = node.input(at) else { continue };
            if !self.constants.has(name) {
                let maker = self.maker(name).map(|maker| self.node(maker));
                return Err(Obstacle::Reason(match maker.filter(|maker| is_quantisation(maker)) {
                    Some(maker) => Reason::Quantised(maker.title()),
                    None => Reason::Weights(format!("the weights of {} are no constants", node.title())),
                }));
            }
        }
        let shape = node.input(1).and_then(|name| self.constants.shape(name));
        shape.ok_or_else(|| Obstacle::Reason(Reason::Weights(format!("{} has no weights", node.title()))))
    }

    /// The channels that a layer gives.
    pub fn outputs(&self, place: usize, target: Target, shape: &[i64]) -> Option<usize> {
        let group = self.node(place).int("group").unwrap_or(1);
        let channels = match (target, shape) {
            (Target::Conv, [outputs, _, _, ..]) => *outputs,
            (Target::ConvTranspose, [_, outputs, _, ..]) => outputs.checked_mul(group)?,
            (Target::Gemm, [rows, columns]) => {
                if self.is_transposed(place) {
                    *rows
                } else {
                    *columns
                }
            }
            (Target::MatMul, [_, columns]) => *columns,
            _ => return None,
        };
        usize::try_from(channels).ok()
    }

    /// The channels that a layer takes.
    pub fn inputs(&self, place: usize, target: Target, shape: &[i64]) -> Option<usize> {
        let group = self.node(place).int("group").unwrap_or(1);
        let channels = match (target, shape) {
            (Target::Conv, [_, inputs, _, ..]) => inputs.checked_mul(group)?,
            (Target::ConvTranspose, [inputs, _, _, ..]) => *inputs,
            (Target::Gemm, [rows, columns]) => {
                if self.is_transposed(place) {
                    *columns
                } else {
                    *rows
                }
            }
            (Target::MatMul, [rows, _]) => *rows,
            _ => return None,
        };
        usize::try_from(channels).ok()
    }

    fn is_transposed(&self, place: usize) -> bool {
        self.node(place).int("transB").unwrap_or(0) != 0
    }

    /// Tells whether what is added to a matrix product, if anything, is a number for each column, or one for all: the third input of
    /// Gemm, or a constant of the Add behind MatMul.
    pub fn has_a_number_for_each_column(&self, place: usize, add: Option<usize>, columns: usize) -> bool {
        // (Before version 7 an Add says on which axis.)
        let axis = add.and_then(|add| self.node(add).int("axis")).filter(|_| self.opset < 7);
        if axis.is_some_and(|axis| axis != 1 && axis != -1) {
            return false;
        }
        let shape = match add {
            Some(add) => self.node(add).inputs.iter().find_map(|input| self.constants.shape(input.text)),
            None if self.node(place).is("Gemm") => {
                self.node(place).input(2).and_then(|bias| self.constants.shape(bias))
            }
            None => None,
        };
        match shape.as_deref() {
            None | Some([] | [1] | [1, 1]) => true,
            Some([length] | [1, length]) => *length == columns as i64,
            Some(_) => false,
        }
    }

    /// The Add behind a MatMul that adds a number for each column, if there is one, and which of its inputs these are.
    pub fn bias_of_product(&self, place: usize, columns: usize) -> Option<(usize, usize)> {
        let output = self.node(place).output(0)?;
        let [User::Node { node: add, .. }] = self.takers(output)[..] else { return None };
        let add = add as usize;
        let (.., input) = self.with_constant(add, "Add").filter(|_| self.node(add).inputs.len() == 2)?;
        self.has_a_number_for_each_column(place, Some(add), columns).then_some((add, input))
    }

    /// The kind of layer that a node is, if it is one.
    pub fn target(&self, place: usize) -> Option<Target> {
        let node = self.node(place);
        let all = [Target::Conv, Target::ConvTranspose, Target::Gemm, Target::MatMul, Target::BatchNorm];
        all.into_iter().find(|target| node.is(&target.to_string()))
    }
}

/// Tells whether a node goes between numbers and their codes.
pub(super) fn is_quantisation(node: &Node) -> bool {
    matches!(
        node.operator,
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" | "FakeQuantize" | "FakeQuant"
    )
}
