//! Values that are there before a graph runs: initialisers, and what nodes make of nothing.

use std::collections::HashMap;

use thiserror::Error;

use super::message::{AttributeValue, Graph, Node, Tensor};
use super::tensor::{Elsewhere, TensorError, values_of};
use crate::excerpt::excerpt;
use crate::numbers::{Numbers, Precision};

/// Nodes between a value and the constant that it is, at most.
const LONGEST: usize = 16;

/// Axes of a constant whose shape is asked for, at most.
const MOST_AXES: usize = 16;

/// Where the values of a constant are.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant<'g, 'f> {
    /// In a tensor: an initialiser, or the attribute of a node.
    Tensor(&'g Tensor<'f>),
    /// In an attribute of numbers.
    Floats(&'g [f32]),
    /// In an attribute of whole numbers.
    Ints(&'g [i64]),
    /// Nowhere: one number of a type throughout a shape.
    Filled {
        /// The shape.
        shape: Vec<i64>,
        /// How many values that has.
        count: usize,
        /// The number.
        number: f64,
        /// Its type.
        precision: Precision,
    },
}

/// A value that is no constant of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConstantError {
    /// It is an input of the graph, or the output of a node that computes.
    #[error("{name} is {got}, no constant")]
    NotConstant {
        /// The value.
        name: String,
        /// What it is.
        got: String,
    },
    /// More values than are expected.
    #[error("{name}: {got} values, where {most} are expected at most")]
    TooMany {
        /// The value.
        name: String,
        /// How many it has.
        got: usize,
        /// How many are expected at most.
        most: usize,
    },
    /// Its tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The constants of a graph, by the names of their values; for a graph within another one those around it too.
#[derive(Debug, Clone)]
pub struct Constants<'g, 'f> {
    initializers: HashMap<&'f str, &'g Tensor<'f>>,
    /// The node that makes each value.
    makers: HashMap<&'f str, &'g Node<'f>>,
    outer: Option<&'g Constants<'g, 'f>>,
    file: &'f [u8],
}

impl<'g, 'f> Constants<'g, 'f> {
    /// Those of a graph of the model in a file.
    pub fn of(graph: &'g Graph<'f>, file: &'f [u8]) -> Constants<'g, 'f> {
        let mut constants = Constants::of_nodes(&graph.nodes, file);
        constants.initializers = graph.initializers.iter().map(|tensor| (tensor.name, tensor)).collect();
        constants
    }

    /// Those of nodes alone, as a function has them.
    pub fn of_nodes(nodes: &'g [Node<'f>], file: &'f [u8]) -> Constants<'g, 'f> {
        let outputs = nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (output.text, node)));
        let makers = outputs.filter(|(name, _)| !name.is_empty()).collect();
        Constants { initializers: HashMap::new(), makers, outer: None, file }
    }

    /// The same, with those of the graph around this one.
    #[must_use]
    pub fn within(self, outer: &'g Constants<'g, 'f>) -> Constants<'g, 'f> {
        Constants { outer: Some(outer), ..self }
    }

    /// The constant of a name: an initialiser, a Constant or ConstantOfShape node, or one of these behind Identity.
    ///
    /// # Errors
    /// A value that is none of these.
    pub fn find(&self, name: &str) -> Result<Constant<'g, 'f>, ConstantError> {
        let not = |got: String| ConstantError::NotConstant { name: excerpt(name), got };
        let mut at = name;
        for _ in 0..LONGEST {
            if let Some(tensor) = self.initializers.get(at) {
                return Ok(Constant::Tensor(tensor));
            }
            let Some(&node) = self.makers.get(at) else {
                return match self.outer {
                    Some(outer) => outer.find(at),
                    None => Err(not(String::from("an input of the graph"))),
                };
            };
            if node.is("Identity") && node.inputs.len() == 1 {
                at = node.inputs[0].text;
                continue;
            }
            if node.is("Constant") {
                return of_node(node).ok_or_else(|| not(String::from("a Constant of another kind than numbers")));
            }
            if node.is("ConstantOfShape") {
                return self.filled(name, node);
            }
            return Err(not(format!("the output of {}", node.title())));
        }
        Err(not(String::from("what Identity nodes pass on without end")))
    }

    /// The floating-point values of a constant, no more of them than `most`.
    ///
    /// # Errors
    /// No constant; no floating-point values; more of them.
    pub fn numbers(&self, name: &str, most: usize, elsewhere: &Elsewhere) -> Result<Numbers<'f>, ConstantError> {
        let check = |got: usize| match got > most {
            true => Err(ConstantError::TooMany { name: excerpt(name), got, most }),
            false => Ok(()),
        };
        match self.find(name)? {
            Constant::Tensor(tensor) => {
                check(tensor.count()?)?;
                Ok(tensor.numbers(self.file, elsewhere)?)
            }
            Constant::Floats(numbers) => {
                check(numbers.len())?;
                Ok(Numbers::of_floats(numbers))
            }
            Constant::Ints(_) => {
                Err(ConstantError::NotConstant { name: excerpt(name), got: String::from("whole numbers") })
            }
            Constant::Filled { count, number, precision, .. } => {
                check(count)?;
                Ok(Numbers::filled(count, number, precision))
            }
        }
    }

    /// The shape of a constant.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        Some(match self.find(name).ok()? {
            // (No layer has more axes, and a list of a million is not copied for each norm.)
            Constant::Tensor(tensor) if tensor.dims.len() > MOST_AXES => return None,
            Constant::Tensor(tensor) => tensor.dims.clone(),
            Constant::Floats(numbers) => vec![numbers.len() as i64],
            Constant::Ints(numbers) => vec![numbers.len() as i64],
            Constant::Filled { shape, .. } => shape,
        })
    }

    /// The whole numbers of a constant, such as a shape; none of others.
    pub fn whole_numbers(&self, name: &str) -> Option<Vec<i64>> {
        match self.find(name).ok()? {
            Constant::Tensor(tensor) => tensor.whole_numbers(self.file),
            Constant::Ints(numbers) => Some(numbers.to_vec()),
            Constant::Floats(_) | Constant::Filled { .. } => None,
        }
    }

    /// Tells whether a value is an initialiser or made of constants alone.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    fn filled(&self, name: &str, node: &'g Node<'f>) -> Result<Constant<'g, 'f>, ConstantError> {
        let not = |got: &str| ConstantError::NotConstant { name: excerpt(name), got: got.to_owned() };
        let Some(shape) = node.input(0) else { return Err(not("a ConstantOfShape without a shape")) };
        let lengths =
            self.shape_numbers(shape).ok_or_else(|| not("a ConstantOfShape whose shape is no constant list"))?;
        let count = values_of(&lengths).ok_or_else(|| not("a ConstantOfShape of a shape that cannot be"))?;
        let (number, precision) = match node.attribute("value").map(|attribute| &attribute.value) {
            Some(AttributeValue::Tensor(tensor)) => {
                let numbers = tensor.numbers(self.file, &|_, _, _| Err(String::from("not read here")))?;
                let first = numbers.iter().next().ok_or_else(|| not("a ConstantOfShape of no number"))?;
                (first, numbers.precision())
            }
            _ => (0.0, Precision::F32),
        };
        Ok(Constant::Filled { shape: lengths, count, number, precision })
    }

    /// A shape out of an initialiser or a Constant. (Never out of another ConstantOfShape: so this ends.)
    fn shape_numbers(&self, name: &str) -> Option<Vec<i64>> {
        let initializer = self.initializers.get(name).map(|tensor| Constant::Tensor(tensor));
        match initializer.or_else(|| of_node(self.makers.get(name)?)) {
            Some(Constant::Tensor(tensor)) => tensor.whole_numbers(self.file),
            Some(Constant::Ints(numbers)) => Some(numbers.to_vec()),
            Some(_) => None,
            None => self.outer?.shape_numbers(name),
        }
    }
}

/// What a Constant node gives, if that is numbers.
fn of_node<'g, 'f>(node: &'g Node<'f>) -> Option<Constant<'g, 'f>> {
    if !node.is("Constant") {
        return None;
    }
    node.attributes.iter().rev().find_map(|attribute| match (&attribute.value, attribute.name) {
        (AttributeValue::Tensor(tensor), "value") => Some(Constant::Tensor(tensor)),
        (AttributeValue::Floats(numbers), "value_floats") => Some(Constant::Floats(numbers)),
        (AttributeValue::Ints(numbers), "value_ints") => Some(Constant::Ints(numbers)),
        _ => None,
    })
}
