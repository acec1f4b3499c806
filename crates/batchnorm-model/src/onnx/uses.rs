//! Who makes a value of a graph, and who uses it.

use std::collections::HashMap;

use super::message::{Function, Graph, Node};

/// The makers and users of a graph's values.
#[derive(Debug, Clone, Default)]
pub struct Uses<'f> {
    /// A number for each name.
    names: HashMap<&'f str, u32>,
    /// By a name's number: the node that makes the value.
    makers: Vec<Option<u32>>,
    /// By a name's number: where its users begin among all of them. (One list for all takes a quarter of the room of many.)
    starts: Vec<u32>,
    users: Vec<User>,
}

/// Something that uses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// A node, at one of its inputs.
    Node {
        /// The node's place in the graph.
        node: u32,
        /// The place among its inputs.
        input: u32,
    },
    /// The graph gives it.
    Output,
    /// A graph within a node.
    Inner,
}

impl<'f> Uses<'f> {
    /// Those of a graph.
    pub fn of(graph: &Graph<'f>) -> Uses<'f> {
        Uses::of_nodes(&graph.nodes, graph.outputs.iter().map(|output| output.name), true)
    }

    /// Those of a graph, but for what graphs within its nodes use.
    pub fn of_own_nodes(graph: &Graph<'f>) -> Uses<'f> {
        Uses::of_nodes(&graph.nodes, graph.outputs.iter().map(|output| output.name), false)
    }

    /// Those of a function.
    pub fn of_function(function: &Function<'f>) -> Uses<'f> {
        Uses::of_nodes(&function.graph.nodes, function.outputs.iter().copied(), false)
    }

    fn of_nodes(nodes: &[Node<'f>], outputs: impl Iterator<Item = &'f str>, with_inner: bool) -> Uses<'f> {
        let mut uses = Uses::default();
        let mut all = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|output| !output.text.is_empty()) {
                let number = uses.number(output.text);
                uses.makers[number as usize] = Some(place as u32);
            }
            for (input, text) in node.inputs.iter().enumerate().filter(|(_, text)| !text.text.is_empty()) {
                all.push((uses.number(text.text), User::Node { node: place as u32, input: input as u32 }));
            }
            if with_inner {
                uses.inner(node, &mut all);
            }
        }
        for output in outputs {
            all.push((uses.number(output), User::Output));
        }
        // In place, and by all of it: the users of a value stay in the order of the nodes.
        all.sort_unstable();
        uses.starts = vec![0; uses.makers.len() + 1];
        for (number, _) in &all {
            uses.starts[*number as usize + 1] += 1;
        }
        for at in 1..uses.starts.len() {
            uses.starts[at] += uses.starts[at - 1];
        }
        uses.users = all.into_iter().map(|(_, user)| user).collect();
        uses
    }

    fn number(&mut self, name: &'f str) -> u32 {
        let next = self.makers.len() as u32;
        let number = *self.names.entry(name).or_insert(next);
        if number == next {
            self.makers.push(None);
        }
        number
    }

    /// The values that graphs within a node take from outside: any name that they use, for one that they make themselves hides
    /// another one.
    fn inner(&mut self, node: &Node<'f>, all: &mut Vec<(u32, User)>) {
        for (_, graph) in node.graphs() {
            let outputs = graph.outputs.iter().map(|output| output.name);
            let inputs = graph.nodes.iter().flat_map(|node| node.inputs.iter().map(|input| input.text));
            for name in inputs.chain(outputs) {
                all.push((self.number(name), User::Inner));
            }
            graph.nodes.iter().for_each(|node| self.inner(node, all));
        }
    }

    /// The place of the node that makes a value.
    pub fn maker(&self, value: &str) -> Option<usize> {
        self.makers[*self.names.get(value)? as usize].map(|place| place as usize)
    }

    /// Who uses a value.
    pub fn users(&self, value: &str) -> &[User] {
        let Some(&number) = self.names.get(value) else { return &[] };
        let [start, end] = [0, 1].map(|after| self.starts[number as usize + after] as usize);
        &self.users[start..end]
    }
}
