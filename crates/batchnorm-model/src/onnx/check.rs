//! Whether a graph can run at all: every value made once, before it is used, and none in a circle.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

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
    if let Err(place) = in_order(waits, &waiting) {
        return Err(GraphError::Circle { node: graph.nodes[place].title() });
    }
    graph.nodes.iter().flat_map(Node::graphs).try_for_each(|(_, inner)| check(inner, Some(&names)))
}

/// The places of nodes in an order in which they can run, the first ones first: how many each waits for, and who waits for it. Otherwise
/// the place of one in a circle, or behind one.
fn in_order(mut waits: Vec<usize>, waiting: &[Vec<usize>]) -> Result<Vec<usize>, usize> {
    // (By place where several can run, so that a file's own order stays if it is one.)
    let ready = (0..waits.len()).filter(|&place| waits[place] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = ready.map(Reverse).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(place)) = ready.pop() {
        order.push(place);
        for &next in &waiting[place] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    match waits.iter().position(|&waits| waits > 0) {
        Some(place) => Err(place),
        None => Ok(order),
    }
}

/// The places of a graph's nodes in an order in which they can run, and for each node the values that it takes, those that graphs within
/// it take too. The graph was checked.
#[cfg(feature = "engine")]
pub(crate) fn order<'f>(graph: &Graph<'f>) -> (Vec<usize>, Vec<Vec<&'f str>>) {
    let outputs = |(place, node): (usize, &Node<'f>)| {
        node.outputs.iter().map(move |output| (output.text, place)).collect::<Vec<_>>()
    };
    let makers: HashMap<&str, usize> = graph.nodes.iter().enumerate().flat_map(outputs).collect();
    let (mut waits, mut waiting) = (vec![0; graph.nodes.len()], vec![Vec::new(); graph.nodes.len()]);
    let mut all = Vec::with_capacity(graph.nodes.len());
    for (place, node) in graph.nodes.iter().enumerate() {
        let mut taken = Vec::new();
        taken_by(node, &mut taken);
        let taken: Vec<&str> = taken.into_iter().map(|(name, _)| name).collect();
        for &maker in taken.iter().filter_map(|name| makers.get(name)) {
            waits[place] += 1;
            waiting[maker].push(place);
        }
        all.push(taken);
    }
    (in_order(waits, &waiting).unwrap_or_default(), all)
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
