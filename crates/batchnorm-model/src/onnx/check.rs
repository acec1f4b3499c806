//! Whether a graph can run at all: every value made once, before it is used, and none in a circle.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use super::message::{Graph, Model, Node};
use crate::excerpt::excerpt;

/// A graph that cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A name that two nodes, two initialisers or two inputs give to their values.
    #[error("{name}: expected one value of this name, got two")]
    Twice {
        /// The name.
        name: String,
    },
    /// An output, or an input of a node, that nothing makes.
    #[error("{name}: expected a value that something makes, as {user} takes it, got none of this name")]
    Unknown {
        /// The name.
        name: String,
        /// What takes it.
        user: String,
    },
    /// Nodes that wait for each other.
    #[error("{node}: expected nodes in an order in which they can run, got a circle")]
    Circle {
        /// A node of the circle, or behind one.
        node: String,
    },
}

impl Model<'_> {
    /// Checks that its graph and the graphs within it can run.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), GraphError> {
        check(&self.graph, None)
    }
}

/// The names of a graph's values, and those of the graphs around it.
struct Names<'c, 'f> {
    there: HashSet<&'f str>,
    makers: HashMap<&'f str, usize>,
    around: Option<&'c Names<'c, 'f>>,
}

impl Names<'_, '_> {
    fn has(&self, name: &str) -> bool {
        self.there.contains(name)
            || self.makers.contains_key(name)
            || self.around.is_some_and(|around| around.has(name))
    }
}

/// Checks a graph, whose nodes may also use values of the graphs around it.
fn check<'f>(graph: &Graph<'f>, around: Option<&Names<'_, 'f>>) -> Result<(), GraphError> {
    let twice = |name: &str| Err(GraphError::Twice { name: excerpt(name) });
    let mut there: HashSet<&str> = HashSet::new();
    for input in &graph.inputs {
        if !there.insert(input.name) {
            return twice(input.name);
        }
    }
    // (An initialiser may be listed among the inputs too, as old files do.)
    let mut initializers = HashSet::new();
    for name in graph.initializers.iter().map(|tensor| tensor.name).chain(graph.sparse_initializers.iter().copied()) {
        if !initializers.insert(name) {
            return twice(name);
        }
    }
    there.extend(initializers);
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (place, node) in graph.nodes.iter().enumerate() {
        for output in node.outputs.iter().map(|output| output.text).filter(|name| !name.is_empty()) {
            if there.contains(output) || makers.insert(output, place).is_some() {
                return twice(output);
            }
        }
    }
    let names = Names { there, makers, around };
    let unknown = |name: &str, user: String| Err(GraphError::Unknown { name: excerpt(name), user });
    // How many nodes each node waits for, and who waits for it.
    let mut waits: Vec<usize> = vec![0; graph.nodes.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (place, node) in graph.nodes.iter().enumerate() {
        let mut taken = Vec::new();
        taken_by(node, &mut taken);
        for (name, own) in taken {
            match names.makers.get(name) {
                Some(&maker) => {
                    waits[place] += 1;
                    waiting[maker].push(place);
                }
                // (What graphs within it use is looked for where these are checked.)
                None if !own || names.has(name) => {}
                None => return unknown(name, node.title()),
            }
        }
    }
    for output in &graph.outputs {
        if !names.has(output.name) {
            return unknown(output.name, String::from("the graph's output"));
        }
    }
    let mut ready: Vec<usize> = (0..graph.nodes.len()).filter(|&place| waits[place] == 0).collect();
    let mut left = graph.nodes.len();
    while let Some(place) = ready.pop() {
        left -= 1;
        for &next in &waiting[place] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(next);
            }
        }
    }
    if left > 0 {
        let node = graph.nodes.iter().zip(&waits).find(|(_, waits)| **waits > 0);
        return Err(GraphError::Circle { node: node.map_or_else(String::new, |(node, _)| node.title()) });
    }
    graph.nodes.iter().flat_map(Node::graphs).try_for_each(|(_, inner)| check(inner, Some(&names)))
}

/// The values that a node takes, its own inputs and what graphs within it use; whether each is an input of its own.
fn taken_by<'f>(node: &Node<'f>, taken: &mut Vec<(&'f str, bool)>) {
    let inputs = node.inputs.iter().map(|input| input.text).filter(|name| !name.is_empty());
    taken.extend(inputs.map(|name| (name, true)));
    for (_, graph) in node.graphs() {
        let own: HashSet<&str> =
            graph.nodes.iter().flat_map(|node| node.outputs.iter().map(|output| output.text)).collect();
        let mut inner = Vec::new();
        graph.nodes.iter().for_each(|node| taken_by(node, &mut inner));
        inner.extend(graph.outputs.iter().map(|output| (output.name, true)));
        taken.extend(inner.into_iter().filter(|(name, _)| !own.contains(name)).map(|(name, _)| (name, false)));
    }
}
