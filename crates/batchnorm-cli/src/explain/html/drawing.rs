//! The graph as SVG: boxes that lead to what is said of a node, and on every link the chosen value's number on its way
//! forward and its gradient on its way back.

use super::super::figure::DIGITS;
use super::super::words;
use super::layout::{Link, Point, Route, Size, layered};
use super::markup::escape;
use super::numbers::Numbers;
use batchnorm::reference::graph::{Join, Operation};
use std::fmt::Write;

/// Size of a link's label, if its two numbers have the usual digits.
const LABEL: Size = Size { width: 94.0, height: 31.0 };
/// Width of one more digit.
const DIGIT: f64 = 7.0;
const MARGIN: f64 = 6.0;

/// A box: the node's name in the graph, where it is one, its title and its second line.
struct Node {
    name: Option<&'static str>,
    title: String,
    formula: String,
}

/// A link: what its two numbers are, and the nodes it joins, where it is an edge of the graph.
struct Edge {
    link: Link,
    name: String,
    forward: String,
    backward: String,
    sum: bool,
}

/// The whole in its frame, with the layer before and the loss as ends.
pub fn svg(numbers: &Numbers) -> String {
    let (nodes, edges) = parts(numbers);
    let sizes: Vec<Size> = nodes.iter().map(size).collect();
    let links: Vec<Link> = edges.iter().map(|edge| edge.link).collect();
    let drawing = layered(&sizes, &links);
    let (width, height) = (drawing.size.width + 2.0 * MARGIN, drawing.size.height + 2.0 * MARGIN);
    let mut out = format!(
        "<div class=\"picture\" style=\"--drawn: {width:.0}\">\n<svg class=\"graph\" \
         viewBox=\"{} {} {width:.1} {height:.1}\" role=\"group\" aria-label=\"Computation graph\">\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n<g aria-hidden=\"true\">\n",
        -MARGIN, -MARGIN
    );
    for (edge, route) in edges.iter().zip(&drawing.links) {
        let name = escape(&edge.name);
        let _ = writeln!(
            out,
            "<path class=\"link\" data-link=\"{name}\" d=\"{}\" marker-end=\"url(#arrow)\"/>",
            path(route)
        );
    }
    for (edge, route) in edges.iter().zip(&drawing.links) {
        out += &label(numbers, edge, route.label);
    }
    out += "</g>\n";
    for ((node, size), middle) in nodes.iter().zip(&sizes).zip(&drawing.nodes) {
        out += &boxed(node, *size, *middle);
    }
    out + "</svg>\n</div>\n"
}

fn parts(numbers: &Numbers) -> (Vec<Node>, Vec<Edge>) {
    let graph = &numbers.explanation.graph;
    let end = |title: &str| Node { name: None, title: title.to_owned(), formula: String::new() };
    let mut nodes = vec![end("the layer before")];
    nodes.extend(graph.nodes().iter().map(|node| {
        let title = words::of(numbers.explanation, node.name).title;
        let symbol = plain(node.symbol);
        Node {
            name: Some(node.name),
            title: if title == node.symbol { title.to_owned() } else { format!("{title} {symbol}") },
            formula: match node.operation {
                Operation::Leaf => String::from("given"),
                _ => plain(node.formula),
            },
        }
    }));
    nodes.push(end("the loss L"));
    let label_of = |place: usize| {
        let more = numbers.explanation.nodes[place].digits.saturating_sub(DIGITS);
        Size { width: LABEL.width + DIGIT * more as f64, ..LABEL }
    };
    let mut edges: Vec<Edge> = graph
        .edges()
        .iter()
        .map(|edge| {
            let (from, to) = (graph.nodes()[edge.from].name, graph.nodes()[edge.to].name);
            Edge {
                link: Link { from: edge.from + 1, to: edge.to + 1, label: label_of(edge.from) },
                name: format!("{from}>{to}"),
                forward: format!("v {from} i"),
                backward: format!("f {from}>{to} i"),
                sum: edge.join == Join::OneToEach && graph.count() > 1,
            }
        })
        .collect();
    let end = |from: usize, to: usize, name: &str, node: &str| Edge {
        link: Link { from, to, label: label_of(graph.find(node).unwrap_or_default()) },
        name: name.to_owned(),
        forward: format!("v {node} i"),
        backward: format!("g {node} i"),
        sum: false,
    };
    edges.push(end(0, 1, ">x", "x"));
    edges.push(end(nodes.len() - 2, nodes.len() - 1, "y>", "y"));
    (nodes, edges)
}

/// A formula of the graph as plain text: `x\u{302}\u{1d62} = c\u{1d62} r`.
pub fn plain(formula: &str) -> String {
    [
        ("_i", "\u{1d62}"),
        ("xhat", "x\u{302}"),
        ("gamma", "\u{3b3}"),
        ("beta", "\u{3b2}"),
        ("eps", "\u{3b5}"),
        ("sqrt(", "\u{221a}("),
        ("^2", "\u{b2}"),
        ("sum ", "\u{3a3} "),
        ("-", "\u{2212}"),
    ]
    .iter()
    .fold(formula.to_owned(), |text, (word, sign)| text.replace(word, sign))
}

/// Wide enough for either line, by letters of common width.
fn size(node: &Node) -> Size {
    let letters = |text: &str| text.chars().filter(|c| !('\u{300}'..'\u{370}').contains(c)).count() as f64;
    let width = (letters(&node.title) * 8.0).max(letters(&node.formula) * 6.8) + 18.0;
    if node.name.is_none() { Size { width, height: 22.0 } } else { Size { width: width.max(74.0), height: 40.0 } }
}

fn boxed(node: &Node, Size { width, height }: Size, Point { x, y }: Point) -> String {
    let title = escape(&node.title);
    let Some(name) = node.name else {
        return format!("<text class=\"end\" x=\"{x:.1}\" y=\"{:.1}\">{title}</text>\n", y + 4.0);
    };
    format!(
        "<a class=\"node\" href=\"#node-{name}\" data-node=\"{name}\" aria-label=\"{title}, {formula}\">\
         <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"8\"/>\
         <text class=\"title\" x=\"{x:.1}\" y=\"{:.1}\">{title}</text>\
         <text class=\"formula\" x=\"{x:.1}\" y=\"{:.1}\">{formula}</text></a>\n",
        x - width / 2.0,
        y - height / 2.0,
        y - 3.0,
        y + 13.0,
        formula = escape(&node.formula),
    )
}

fn label(numbers: &Numbers, edge: &Edge, Point { x, y }: Point) -> String {
    let sum = if edge.sum { "\u{3a3} " } else { "" };
    format!(
        "<g class=\"label\" data-link=\"{}\"><text class=\"forward\" x=\"{x:.1}\" y=\"{:.1}\">\u{2193} {}</text>\
         <text class=\"backward\" x=\"{x:.1}\" y=\"{:.1}\">\u{2191} {sum}{}</text></g>\n",
        escape(&edge.name),
        y - 3.0,
        numbers.element("tspan", &edge.forward),
        y + 12.0,
        numbers.element("tspan", &edge.backward),
    )
}

/// Straight down at every point, smooth in between.
fn path(route: &Route) -> String {
    let mut out = String::new();
    for (at, point) in route.points.iter().enumerate() {
        let Point { x, y } = point;
        if at == 0 {
            let _ = write!(out, "M{x:.1} {y:.1}");
        } else {
            let before = route.points[at - 1];
            let middle = (before.y + y) / 2.0;
            let _ = write!(out, "C{:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}", before.x);
        }
    }
    out
}
