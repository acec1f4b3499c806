//! The graph as JSON: every value of every node and edge.

use super::explanation::{Agreement, Directions, Explanation};
use crate::text;
use batchnorm::reference::graph::{Join, Operation};
use serde_json::{Map, Value, json};

/// The whole.
pub fn text(explanation: &Explanation) -> String {
    format!("{:#}\n", whole(explanation))
}

fn whole(explanation: &Explanation) -> Value {
    let Explanation { subject, agreement, directions, jacobian, .. } = explanation;
    let Agreement { differences, bound } = agreement;
    let differences: Map<String, Value> =
        differences.iter().map(|(what, difference)| (what.to_string(), json!(difference))).collect();
    let n = subject.x.len();
    json!({
        "command": "explain",
        "version": env!("CARGO_PKG_VERSION"),
        "layer": crate::layer_name::name(subject.layer),
        "mode": if subject.running.is_some() { "eval" } else { "train" },
        "input": subject.input.as_ref().map(|path| text::path(path)),
        "upstream": subject.gradient.as_ref().map(|path| text::path(path)),
        "shape": subject.shape,
        "channel_axis": subject.channel_axis,
        "groups": subject.groups,
        "number": subject.number,
        "of": subject.total,
        "name": subject.name,
        "count": n,
        "places": subject.places,
        "parameters": subject.parameters,
        "epsilon": subject.epsilon,
        "nodes": nodes(explanation),
        "edges": edges(explanation),
        "of_layer": explanation.of_layer,
        "parameter_gradients": {"gamma": explanation.of_parameters[0], "beta": explanation.of_parameters[1]},
        "agreement": {"differences": differences, "bound": bound},
        "directions": of_directions(directions, explanation.loses()),
        "constant_input": explanation.subject.is_constant(),
        "jacobian": jacobian.as_ref().map(|rows| rows.chunks(n).map(<[f64]>::to_vec).collect::<Vec<_>>()),
    })
}

fn nodes(explanation: &Explanation) -> Vec<Value> {
    let graph = &explanation.graph;
    let node =
        |(place, (node, shown)): (usize, (&batchnorm::reference::graph::Node<f64>, &super::explanation::Shown))| {
            let uses: Vec<&str> = graph.uses(place).map(|edge| graph.nodes()[edge.to].name).collect();
            json!({
                "name": node.name,
                "symbol": node.symbol,
                "formula": (node.operation != Operation::Leaf).then_some(node.formula),
                "operation": operation(node.operation),
                "each": node.each,
                "values": shown.values,
                "gradient": shown.gradient,
                "used_by": uses,
            })
        };
    graph.nodes().iter().zip(&explanation.nodes).enumerate().map(node).collect()
}

fn edges(explanation: &Explanation) -> Vec<Value> {
    let graph = &explanation.graph;
    let edge = |edge: &batchnorm::reference::graph::Edge<f64>| {
        json!({
            "from": graph.nodes()[edge.from].name,
            "to": graph.nodes()[edge.to].name,
            "join": join(edge.join),
            "local_derivative": {"formula": edge.formula, "values": edge.local},
            "gradient": edge.gradient,
        })
    };
    graph.edges().iter().map(edge).collect()
}

/// The sums along the two lost directions, as the page's script takes them too.
///
/// `expected` is what a sum is but for rounding, where the direction is lost.
pub fn of_directions(directions: &Directions, [constant, stretch]: [bool; 2]) -> Value {
    json!({
        "constant": {
            "sum": directions.constant,
            "size": directions.constant_size,
            "expected": constant.then_some(0.0),
        },
        "stretch": {
            "sum": directions.stretch,
            "size": directions.stretch_size,
            "expected": stretch.then_some(directions.incoming * directions.share_left),
            "comes_in": directions.incoming,
            "share_left": stretch.then_some(directions.share_left),
        },
    })
}

/// A word for what a node does.
pub fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Leaf => "leaf",
        Operation::Mean => "mean",
        Operation::Subtract => "subtract",
        Operation::Square => "square",
        Operation::RootOfSum => "root_of_sum",
        Operation::Reciprocal => "reciprocal",
        Operation::Multiply => "multiply",
        Operation::Add => "add",
    }
}

/// A word for how values meet.
pub fn join(join: Join) -> &'static str {
    match join {
        Join::EachToEach => "each_to_each",
        Join::OneToEach => "one_to_each",
        Join::EachToOne => "each_to_one",
    }
}
