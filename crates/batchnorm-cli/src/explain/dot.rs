//! The graph for Graphviz: forward values in blue, what flows back in orange.

use super::explanation::Explanation;
use super::figure::{DIGITS, figure};
use super::words;
use batchnorm::reference::graph::{Join, Operation};
use std::fmt::Write;

/// Values on an edge: all of few, else the first ones.
const SHOWN: usize = 3;

/// The whole.
pub fn graph(explanation: &Explanation) -> String {
    let (subject, graph) = (&explanation.subject, &explanation.graph);
    let title = format!("{}: {}", subject.layer_words(), subject.words());
    let mut out = format!(
        "digraph norm {{\n  label=\"{}\\nblue: forward; orange: gradient of the loss, backward; in a node \
         the sum of what comes back\";\n  labelloc=t;\n  \
         fontname=\"sans-serif\";\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", \
         fontsize=10];\n",
        escape(&title)
    );
    for (place, node) in graph.nodes().iter().enumerate() {
        let shape = if node.operation == Operation::Leaf { ", shape=ellipse" } else { "" };
        let formula = if node.operation == Operation::Leaf { "given" } else { node.formula };
        let title = words::of(explanation, node.name).title;
        let back = few(&explanation.nodes[place].gradient, DIGITS);
        let _ = writeln!(
            out,
            "  {} [label=<{}<br/>{}<br/><font color=\"#b23c00\" point-size=\"10\">{back}</font>>{shape}];",
            node.name,
            escape_html(title),
            escape_html(formula)
        );
        if graph.uses(place).count() == 0 {
            let shown = &explanation.nodes[place];
            let label = label(&shown.values, shown.digits, &shown.gradient, "", "");
            let _ =
                writeln!(out, "  loss [label=\"loss L\", shape=plaintext];\n  {} -> loss [label={label}];", node.name);
        }
    }
    for edge in graph.edges() {
        let (from, to) = (&graph.nodes()[edge.from], &graph.nodes()[edge.to]);
        let shown = &explanation.nodes[edge.from];
        let sum = if edge.join == Join::OneToEach { "sum " } else { "" };
        let label = label(&shown.values, shown.digits, &edge.gradient, edge.formula, sum);
        let _ = writeln!(out, "  {} -> {} [label={label}];", from.name, to.name);
    }
    out + "}\n"
}

/// Value, local derivative, and what flows back, as one of Graphviz's HTML labels.
fn label(values: &[f64], digits: usize, gradient: &[f64], local: &str, sum: &str) -> String {
    let local = if local.is_empty() { String::new() } else { format!("<br/>slope {}", escape_html(local)) };
    format!(
        "<<font color=\"#0a55c4\">{}</font>{local}<br/><font color=\"#b23c00\">{sum}{}</font>>",
        few(values, digits),
        few(gradient, DIGITS)
    )
}

/// The first of some numbers, with how many there are.
fn few(values: &[f64], digits: usize) -> String {
    let shown: Vec<String> = values.iter().take(SHOWN).map(|&value| figure(value, digits)).collect();
    let more = if values.len() > SHOWN { format!(", .. ({})", values.len()) } else { String::new() };
    shown.join(", ") + &more
}

/// Inside a quoted string of DOT, in which Graphviz resolves HTML's entities too. Control characters would end lines, and
/// there is nothing to write them by.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
