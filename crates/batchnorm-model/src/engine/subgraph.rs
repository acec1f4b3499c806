//! Parts of a model as models of their own: the nodes that lead from given values to wanted ones, and what these need.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::messages::put_value;
use super::written::Written;
use crate::wire::{Field, WireError, fields, put_bytes, put_message};

/// A model that parts are taken of. (Its messages are those of [`Written`], which are copied as they are.)
pub(super) struct Whole {
    bytes: Vec<u8>,
    /// In an order in which they can run.
    nodes: Vec<Node>,
    initializers: HashMap<String, Range<usize>>,
    inputs: HashMap<String, Input>,
    /// The names of all values.
    names: HashSet<String>,
    /// The version of the format, and those of the operators.
    versions: Vec<Range<usize>>,
}

struct Node {
    content: Range<usize>,
    takes: Vec<String>,
    makes: Vec<String>,
}

struct Input {
    whole: Range<usize>,
    element: Option<i32>,
}

/// A part of a model.
pub(super) struct Part {
    /// A model of its own.
    pub bytes: Vec<u8>,
    /// The given values that it needs, by their places among these.
    pub takes: Vec<usize>,
}

impl Whole {
    /// Finds the messages of a model.
    ///
    /// # Errors
    /// Bytes that are no model.
    pub fn of(written: &Written) -> Result<Whole, WireError> {
        let bytes = written.bytes.clone();
        let text = |range: Range<usize>| String::from_utf8_lossy(&bytes[range]).into_owned();
        let mut whole = Whole {
            bytes: Vec::new(),
            nodes: Vec::new(),
            initializers: HashMap::new(),
            inputs: HashMap::new(),
            names: HashSet::new(),
            versions: Vec::new(),
        };
        let mut steps = written.nodes.iter();
        let mut graph = 0..0;
        for field in fields(&bytes, 0..bytes.len()) {
            let field = field?;
            if field.number == 7 {
                graph = field.content;
            } else {
                whole.versions.push(field.whole);
            }
        }
        for field in fields(&bytes, graph) {
            let Field { number, content, whole: field, .. } = field?;
            let names = |number: u32| of_number(&bytes, content.clone(), number);
            match number {
                1 => {
                    let mut takes: Vec<String> = names(1)?.into_iter().map(&text).collect();
                    // What graphs within it take. (The statistics of a norm are given, whatever it took in the file.)
                    if let Some(step) = steps.next().filter(|step| step.norm.is_none()) {
                        takes.extend(step.takes.iter().cloned());
                    }
                    let makes = names(2)?.into_iter().map(&text).collect();
                    whole.nodes.push(Node { content, takes, makes });
                }
                5 => whole.initializers.extend(names(8)?.into_iter().next().map(|name| (text(name), field))),
                11 => {
                    let element = element_of(&bytes, content.clone())?;
                    let name = names(1)?.into_iter().next().map(&text).unwrap_or_default();
                    whole.inputs.insert(name, Input { whole: field, element });
                }
                _ => {}
            }
        }
        let made = whole.nodes.iter().flat_map(|node| &node.makes).filter(|name| !name.is_empty());
        let names = whole.inputs.keys().chain(whole.initializers.keys()).chain(made);
        whole.names = names.cloned().collect();
        whole.bytes = bytes;
        Ok(whole)
    }

    /// Bytes of the whole model.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The type that an input of the model has in the file, as ONNX's number.
    pub fn declared(&self, name: &str) -> Option<i32> {
        self.inputs.get(name)?.element
    }

    /// Tells whether there is a value of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The part that computes wanted values from given ones, which come with ONNX's number of their type.
    pub fn part(&self, given: &[(&str, i32)], wanted: &[&str]) -> Part {
        let is_given: HashMap<&str, usize> = given.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        let mut needed: HashSet<&str> = wanted.iter().copied().collect();
        let mut runs = vec![false; self.nodes.len()];
        for (node, runs) in self.nodes.iter().zip(&mut runs).rev() {
            let is_needed = |name: &String| needed.contains(name.as_str()) && !is_given.contains_key(name.as_str());
            if node.makes.iter().any(is_needed) {
                *runs = true;
                needed.extend(node.takes.iter().map(String::as_str));
            }
        }
        let mut graph = Vec::new();
        for (node, _) in self.nodes.iter().zip(&runs).filter(|(_, runs)| **runs) {
            if node.makes.iter().any(|name| is_given.contains_key(name.as_str())) {
                put_message(&mut graph, 1, |out| self.put_renamed(node, &is_given, out));
            } else {
                put_bytes(&mut graph, 1, &self.bytes[node.content.clone()]);
            }
        }
        put_bytes(&mut graph, 2, b"part");
        let kept = self.initializers.iter().filter(|(name, _)| needed.contains(name.as_str()));
        let mut kept: Vec<&Range<usize>> =
            kept.filter(|(name, _)| !is_given.contains_key(name.as_str())).map(|(_, range)| range).collect();
        kept.sort_unstable_by_key(|range| range.start);
        kept.into_iter().for_each(|range| graph.extend_from_slice(&self.bytes[range.clone()]));
        let mut takes = Vec::new();
        for (at, (name, element)) in given.iter().enumerate().filter(|(_, (name, _))| needed.contains(name)) {
            takes.push(at);
            match self.inputs.get(*name).filter(|input| input.element.is_some()) {
                Some(input) => graph.extend_from_slice(&self.bytes[input.whole.clone()]),
                None => put_message(&mut graph, 11, |out| put_value(name, Some(*element), None, out)),
            }
        }
        wanted.iter().for_each(|name| put_message(&mut graph, 12, |out| put_value(name, None, None, out)));
        let mut bytes = Vec::with_capacity(graph.len() + 100);
        self.versions.iter().for_each(|range| bytes.extend_from_slice(&self.bytes[range.clone()]));
        put_bytes(&mut bytes, 7, &graph);
        Part { bytes, takes }
    }

    /// A node that makes a given value beside a wanted one: what it makes of the given one has another name, for a value has one maker.
    fn put_renamed(&self, node: &Node, is_given: &HashMap<&str, usize>, out: &mut Vec<u8>) {
        let mut makes = node.makes.iter();
        for field in fields(&self.bytes, node.content.clone()).flatten() {
            match (field.number, makes.as_slice().first()) {
                (2, Some(name)) => {
                    makes.next();
                    let mut name = name.clone();
                    if is_given.contains_key(name.as_str()) {
                        while self.knows(&name) {
                            name.push('_');
                        }
                    }
                    put_bytes(out, 2, name.as_bytes());
                }
                _ => out.extend_from_slice(&self.bytes[field.whole]),
            }
        }
    }
}

/// The contents of a message's fields of a number.
fn of_number(bytes: &[u8], message: Range<usize>, number: u32) -> Result<Vec<Range<usize>>, WireError> {
    let mut contents = Vec::new();
    for field in fields(bytes, message) {
        let field = field?;
        if field.number == number {
            contents.push(field.content);
        }
    }
    Ok(contents)
}

/// The type of a value's elements: `type`, `tensor_type`, `elem_type`.
fn element_of(bytes: &[u8], value: Range<usize>) -> Result<Option<i32>, WireError> {
    let mut at = value;
    for number in [2, 1, 1] {
        match of_number(bytes, at, number)?.into_iter().next() {
            Some(content) => at = content,
            None => return Ok(None),
        }
    }
    crate::wire::varint(bytes, at).map(|(element, _)| Some(element as i32))
}
