//! The data that the page's script starts from, as JSON.

use super::super::explanation::Explanation;
use super::super::json::{join, operation};
use serde_json::{Value, json};

/// In a form that may stand inside a `script` element: no `<`, which could end it.
pub fn text(explanation: &Explanation) -> String {
    data(explanation).to_string().replace('<', "\\u003c")
}

fn data(explanation: &Explanation) -> Value {
    let Explanation { subject, graph, nodes, .. } = explanation;
    let of_node = |(node, shown): (&batchnorm::reference::graph::Node<f64>, &super::super::explanation::Shown)| {
        json!({
            "name": node.name,
            "operation": operation(node.operation),
            "each": node.each,
            "digits": shown.digits,
            // The layer's, where it has them: what is shown until a setting is moved.
            "values": shown.values,
            "gradient": shown.gradient,
        })
    };
    let edges = graph
        .edges()
        .iter()
        .map(|edge| json!({"from": edge.from, "to": edge.to, "operand": edge.operand, "join": join(edge.join)}));
    json!({
        "count": graph.count(),
        "nodes": graph.nodes().iter().zip(nodes).map(of_node).collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "dy": subject.dy,
        "parameters": subject.parameters,
        "ranges": ranges(explanation),
    })
}

/// The ranges of the sliders.
fn ranges(explanation: &Explanation) -> Value {
    let subject = &explanation.subject;
    let value = |name: &str| explanation.graph.get(name).map_or(0.0, |node| node.values[0]);
    let v = value("variance").max(value("mean_square"));
    let around = |values: &[f64], least: f64| {
        let most = values.iter().fold(least, |most, value| most.max(2.0 * value.abs()));
        json!([-most, most])
    };
    let (low, high) =
        subject.x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    let room = if high > low { high - low } else { low.abs().max(1.0) };
    json!({
        // Powers of ten.
        "epsilon": [-12.0, v.max(0.1).log10().ceil() + 2.0],
        "gamma": around(&subject.gamma, 3.0),
        "beta": around(&subject.beta, 3.0),
        "x": [low - room, high + room],
    })
}
