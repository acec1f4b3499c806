//! The graph around what is changed: numbers put where they were, nodes taken out, names handed on.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::edit::Edits;
use crate::numbers::Precision;
use crate::onnx::{
    AttributeValue, Graph, Model, NewAttribute, NewLength, NewNode, NewTensor, NewValue, NewValues, Node, Tensor, User,
    Uses,
};
use crate::wire::{WireError, put_bytes};

/// Fields of messages: of a graph its nodes, initialisers and inputs; of a node its inputs and outputs.
const NODE: u32 = 1;
const INITIALIZER: u32 = 5;
const INPUT: u32 = 11;
const NODE_INPUT: u32 = 1;
const NODE_OUTPUT: u32 = 2;
const ATTRIBUTE: u32 = 5;
/// Before this version of the format initialisers had to be among the inputs.
const INITIALIZERS_ALONE: i64 = 4;
/// Nodes that only make or hand on constants: without a user they go too.
const MAKERS: &[&str] = &["Constant", "ConstantOfShape", "Identity"];

/// Changes of a graph that belong together.
pub(crate) struct Wiring<'w, 'f> {
    model: &'w Model<'f>,
    uses: &'w Uses<'f>,
    file: &'f [u8],
    edits: Edits,
    names: HashSet<String>,
    /// The last number behind each name that was asked for: thousands of norms may share one vector.
    numbers: HashMap<String, u32>,
    removed: HashSet<usize>,
    /// Inputs of nodes that no longer take what they took.
    unused: HashSet<(usize, usize)>,
    /// What a value is called now.
    renamed: HashMap<&'f str, &'f str>,
    /// Values that nodes in the place of others take.
    taken: HashSet<&'f str>,
    /// Nodes whose own names of inputs were changed already.
    new_inputs: BTreeMap<(usize, usize), String>,
    new_outputs: HashMap<usize, String>,
}

impl<'w, 'f> Wiring<'w, 'f> {
    pub fn new(model: &'w Model<'f>, uses: &'w Uses<'f>, file: &'f [u8]) -> Wiring<'w, 'f> {
        let graph = &model.graph;
        let mut names = HashSet::new();
        collect_names(graph, &mut names);
        Wiring {
            model,
            uses,
            file,
            edits: Edits::default(),
            names,
            numbers: HashMap::new(),
            removed: HashSet::new(),
            unused: HashSet::new(),
            renamed: HashMap::new(),
            taken: HashSet::new(),
            new_inputs: BTreeMap::new(),
            new_outputs: HashMap::new(),
        }
    }

    fn graph(&self) -> &'w Graph<'f> {
        &self.model.graph
    }

    fn node(&self, place: usize) -> &'w Node<'f> {
        &self.model.graph.nodes[place]
    }

    /// A name that nothing has.
    fn name(&mut self, like: &str) -> String {
        let mut name = like.to_owned();
        let number = self.numbers.entry(name.clone()).or_insert(1);
        while !self.names.insert(name.clone()) {
            *number += 1;
            name = format!("{like}_{number}");
        }
        name
    }

    /// Takes a node out.
    pub fn remove(&mut self, place: usize) {
        self.edits.remove(self.node(place).whole.clone());
        self.removed.insert(place);
    }

    /// Whoever takes or makes the one value takes or makes the other.
    pub fn rename(&mut self, from: &'f str, to: &'f str) {
        self.renamed.insert(from, to);
    }

    /// Puts two nodes in the place of one, each with a constant as its second input.
    pub fn replace_by_two(&mut self, place: usize, first: (&str, String), second: (&str, String)) {
        let node = self.node(place);
        let (input, output) = (node.input(0).unwrap_or_default(), node.output(0).unwrap_or_default());
        let between = self.name(&format!("{output}_scaled"));
        let ends = [self.final_name(input).to_owned(), between, self.final_name(output).to_owned()];
        let mut bytes = Vec::new();
        for (at, (operator, constant)) in [first, second].into_iter().enumerate() {
            let name = self.name(&format!("{}_{}", node.known_as(), operator.to_lowercase()));
            let new = NewNode {
                operator: operator.to_owned(),
                name,
                inputs: vec![ends[at].clone(), constant],
                outputs: vec![ends[at + 1].clone()],
                ..NewNode::default()
            };
            put_bytes(&mut bytes, NODE, &new.to_bytes());
        }
        self.edits.replace(node.whole.clone(), bytes);
        self.removed.insert(place);
        self.taken.insert(input);
    }

    /// Takes off a node what it gives besides its first output, which nothing uses.
    pub fn drop_other_outputs(&mut self, place: usize) {
        let others = self.node(place).outputs.iter().skip(1);
        others.for_each(|output| self.edits.remove(output.whole.clone()));
    }

    /// Puts an attribute in the place of one of its name, if a node has that.
    pub fn put_attribute(&mut self, place: usize, name: &str, value: NewAttribute) {
        self.drop_attribute(place, name);
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, ATTRIBUTE, &value.to_bytes(name));
        self.edits.append(self.node(place).content.clone(), &bytes);
    }

    /// Takes an attribute off a node.
    pub fn drop_attribute(&mut self, place: usize, name: &str) {
        let attributes = self.node(place).attributes.iter().filter(|attribute| attribute.name == name);
        attributes.for_each(|attribute| self.edits.remove(attribute.whole.clone()));
    }

    /// Puts a constant in the place of an input of a node: into its tensor, if it is this input's alone, else into a new one.
    pub fn put_constant(&mut self, place: usize, input: usize, tensor: NewTensor) -> Result<(), WireError> {
        let values = match tensor.values {
            NewValues::Floats(precision, values) => NewValues::Bytes(precision, precision.bytes_of(values.into_iter())),
            values => values,
        };
        let values = match values {
            NewValues::Bytes(precision, bytes) => match self.own_tensor(place, input, &tensor.shape, precision) {
                Some(own) => return own.put_values(self.file, bytes, &mut self.edits),
                None => NewValues::Bytes(precision, bytes),
            },
            values => values,
        };
        let name = self.add_tensor(NewTensor { values, ..tensor });
        self.take_instead(place, input, name);
        Ok(())
    }

    /// Lets an input of a node take a tensor that was added, by its name.
    pub fn take_instead(&mut self, place: usize, input: usize, name: String) {
        self.unused.insert((place, input));
        self.new_inputs.insert((place, input), name);
    }

    /// Takes an input off a node, behind which it has no other one.
    pub fn drop_input(&mut self, place: usize, input: usize) {
        if let Some(text) = self.node(place).inputs.get(input) {
            self.edits.remove(text.whole.clone());
            self.unused.insert((place, input));
        }
    }

    /// The tensor of a constant that nothing but this input takes.
    fn own_tensor(&self, place: usize, input: usize, shape: &[usize], precision: Precision) -> Option<&'w Tensor<'f>> {
        let name = self.node(place).input(input)?;
        let [User::Node { .. }] = self.uses.users(name) else { return None };
        let tensor = match self.uses.maker(name) {
            None => self.graph().initializers.iter().find(|tensor| tensor.name == name)?,
            Some(maker) if self.node(maker).is("Constant") => match &self.node(maker).attribute("value")?.value {
                AttributeValue::Tensor(tensor) => tensor,
                _ => return None,
            },
            Some(_) => return None,
        };
        let same = tensor.dims.iter().map(|&length| length as usize).eq(shape.iter().copied());
        (same && tensor.precision() == Some(precision)).then_some(tensor)
    }

    /// Adds a tensor to the graph; its name, which is as near as can be to the one that it has.
    pub fn add_tensor(&mut self, mut tensor: NewTensor) -> String {
        let name = self.name(&tensor.name);
        tensor.name.clone_from(&name);
        self.put_value(tensor);
        name
    }

    /// Adds a tensor under the name that it has: that of a value whose maker is taken out.
    pub fn put_value(&mut self, tensor: NewTensor) {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, INITIALIZER, &tensor.to_bytes());
        if self.model.ir_version < INITIALIZERS_ALONE
            && let NewValues::Bytes(precision, _) | NewValues::Floats(precision, _) = tensor.values
        {
            let shape = tensor.shape.iter().map(|&length| NewLength::Fixed(length as i64)).collect();
            let value = NewValue { name: tensor.name.clone(), precision, shape: Some(shape) };
            put_bytes(&mut bytes, INPUT, &value.to_bytes());
        }
        self.edits.append(self.graph().content.clone(), &bytes);
    }

    /// Puts a node behind another one, which takes its output and gives it under its name.
    pub fn put_behind(&mut self, place: usize, node: impl FnOnce(String, String) -> NewNode) {
        let output = self.node(place).output(0).unwrap_or_default();
        let inner = self.name(&format!("{output}_product"));
        let outer = self.final_name(output).to_owned();
        self.new_outputs.insert(place, inner.clone());
        let mut bytes = Vec::new();
        let mut new = node(inner, outer);
        new.name = self.name(&new.name);
        put_bytes(&mut bytes, NODE, &new.to_bytes());
        self.edits.insert_behind(self.node(place).whole.clone(), &bytes);
    }

    fn final_name(&self, name: &'f str) -> &'f str {
        let mut name = name;
        // (Each rename is of another value, so this ends.)
        for _ in 0..=self.renamed.len() {
            match self.renamed.get(name) {
                Some(next) => name = next,
                None => break,
            }
        }
        name
    }

    /// Writes names where they have changed, and takes out what nothing uses any more.
    pub fn finish(mut self) -> Edits {
        for (place, node) in self.graph().nodes.iter().enumerate() {
            if self.removed.contains(&place) {
                continue;
            }
            for (at, text) in node.inputs.iter().enumerate() {
                let new = match self.new_inputs.get(&(place, at)) {
                    Some(name) => name.as_str(),
                    None if self.unused.contains(&(place, at)) => continue,
                    None => self.final_name(text.text),
                };
                if new != text.text {
                    self.edits.replace(text.whole.clone(), field(NODE_INPUT, new));
                }
            }
            for (_, name) in self.new_inputs.range((place, node.inputs.len())..(place + 1, 0)) {
                self.edits.append(node.content.clone(), &field(NODE_INPUT, name));
            }
            for (at, text) in node.outputs.iter().enumerate() {
                let new = match self.new_outputs.get(&place) {
                    Some(name) if at == 0 => name.as_str(),
                    _ => self.final_name(text.text),
                };
                if new != text.text {
                    self.edits.replace(text.whole.clone(), field(NODE_OUTPUT, new));
                }
            }
        }
        self.take_out_unused();
        self.edits
    }

    /// What nodes that are gone took alone: initialisers, and nodes that make constants.
    fn take_out_unused(&mut self) {
        let graph = self.graph();
        let mut names: Vec<&'f str> = Vec::new();
        let of_node = |node: &Node<'f>| -> Vec<&'f str> {
            node.inputs.iter().map(|input| input.text).filter(|name| !name.is_empty()).collect()
        };
        self.removed.iter().for_each(|&place| names.extend(of_node(&graph.nodes[place])));
        names.extend(self.unused.iter().filter_map(|&(place, input)| graph.nodes[place].input(input)));
        // (Not the values that go on under another name.)
        let renamed = self.renamed.iter().flat_map(|(from, to)| [*from, *to]);
        let mut seen: HashSet<&str> = renamed.chain(self.taken.iter().copied()).collect();
        while let Some(name) = names.pop() {
            let is_gone = |user: &User| match user {
                User::Node { node, input } => {
                    let (node, input) = (*node as usize, *input as usize);
                    self.removed.contains(&node) || self.unused.contains(&(node, input))
                }
                User::Output | User::Inner => false,
            };
            if seen.contains(name) || !self.uses.users(name).iter().all(is_gone) {
                continue;
            }
            seen.insert(name);
            match self.uses.maker(name) {
                Some(maker) if !self.removed.contains(&maker) && graph.nodes[maker].is_one_of(MAKERS) => {
                    names.extend(of_node(&graph.nodes[maker]));
                    self.remove(maker);
                }
                Some(_) => {}
                None => {
                    let tensors = graph.initializers.iter().filter(|tensor| tensor.name == name);
                    let tensors: Vec<&Tensor> = tensors.collect();
                    if tensors.is_empty() {
                        continue;
                    }
                    tensors.into_iter().for_each(|tensor| self.edits.remove(tensor.whole.clone()));
                    let inputs = graph.inputs.iter().filter(|input| input.name == name);
                    inputs.for_each(|input| self.edits.remove(input.whole.clone()));
                }
            }
        }
    }
}

/// A field of text, with its tag.
fn field(number: u32, text: &str) -> Vec<u8> {
    let mut field = Vec::new();
    put_bytes(&mut field, number, text.as_bytes());
    field
}

/// All names of a graph and of those within it: a new one is to be none of them.
pub(crate) fn collect_names(graph: &Graph, names: &mut HashSet<String>) {
    for node in &graph.nodes {
        names.insert(node.name.to_owned());
        names.extend(node.inputs.iter().chain(&node.outputs).map(|text| text.text.to_owned()));
        node.graphs().for_each(|(_, inner)| collect_names(inner, names));
    }
    names.extend(graph.initializers.iter().map(|tensor| tensor.name.to_owned()));
    names.extend(graph.inputs.iter().chain(&graph.outputs).map(|value| value.name.to_owned()));
}
