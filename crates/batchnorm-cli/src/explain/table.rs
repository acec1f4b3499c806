//! The graph as a table for a terminal.

use super::explanation::{Directions, Explanation};
use super::figure::{DIGITS, figure};
use super::selection::unit;
use crate::text::one_line;
use batchnorm::reference::graph::{Join, Operation};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// Values of one cell: all of few, else the first ones and the last.
const SHOWN: usize = 4;

/// The whole, with a line of what it is in front and the checks behind.
pub fn text(explanation: &Explanation) -> String {
    format!("{}{}\n{}", heading(explanation), nodes(explanation), checks(explanation))
}

fn heading(explanation: &Explanation) -> String {
    let subject = &explanation.subject;
    let statistics = if subject.running.is_some() { ", by running statistics" } else { "" };
    format!(
        "{}: {}, {} values{statistics}\ndy: {}\n",
        subject.layer_words(),
        subject.words(),
        subject.x.len(),
        subject.gradient_words()
    )
}

fn nodes(explanation: &Explanation) -> Table {
    let graph = &explanation.graph;
    let mut table = Table::new();
    // As wide as the terminal, where there is one.
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["node", "formula", "value", "local derivative", "gradient", "used by"]);
    for (place, node) in graph.nodes().iter().enumerate() {
        let shown = &explanation.nodes[place];
        let formula = if node.operation == Operation::Leaf { String::from("given") } else { node.formula.to_owned() };
        let locals: Vec<String> = graph
            .inputs(place)
            .map(|edge| {
                let by = graph.nodes()[edge.from].name;
                let numbers = few(&edge.local, DIGITS);
                if edge.formula == numbers {
                    format!("by {by}: {numbers}")
                } else {
                    format!("by {by}: {} = {numbers}", edge.formula)
                }
            })
            .collect();
        let uses: Vec<String> = graph
            .uses(place)
            .map(|edge| {
                let sum = if edge.join == Join::OneToEach && graph.count() > 1 { " (summed up)" } else { "" };
                format!("{}{sum}", graph.nodes()[edge.to].name)
            })
            .collect();
        let symbol = if node.symbol == node.name { String::new() } else { format!(" {}", node.symbol) };
        table.add_row([
            format!("{}{symbol}", node.name),
            formula,
            few(&shown.values, shown.digits),
            locals.join("\n"),
            few(&shown.gradient, DIGITS),
            if uses.is_empty() { String::from("the loss") } else { uses.join("\n") },
        ]);
    }
    table
}

/// Few numbers, or the first three, dots and the last, with how many there are.
fn few(values: &[f64], digits: usize) -> String {
    let text = |values: &[f64]| values.iter().map(|&value| figure(value, digits)).collect::<Vec<_>>().join(", ");
    match values {
        _ if values.len() <= SHOWN => text(values),
        [.., last] => {
            format!("{}, .., {} ({})", text(&values[..SHOWN - 1]), figure(*last, digits), values.len())
        }
        [] => String::new(),
    }
}

fn checks(explanation: &Explanation) -> String {
    let show = |value: f64| figure(value, DIGITS);
    let short = |value: f64| figure(value, 2);
    let mut lines = Vec::new();
    let agreement = &explanation.agreement;
    let differences: Vec<String> =
        agreement.differences.iter().map(|(what, difference)| format!("{what} {}", short(*difference))).collect();
    let asked = if explanation.subject.is_constant() { ", asked for the formula's derivative," } else { "" };
    lines.push(format!(
        "The layer{asked} agrees with the graph within {}: {}.",
        short(agreement.bound),
        differences.join(", ")
    ));
    if explanation.subject.positions > 1 {
        let [dgamma, dbeta] = explanation.of_parameters.each_ref().map(|values| few(values, DIGITS));
        lines.push(format!("Summed over the positions of each channel: dgamma {dgamma}; dbeta {dbeta}."));
    }
    let Directions { constant, constant_size, stretch, stretch_size, incoming, share_left } = explanation.directions;
    let [loses_constant, loses_stretch] = explanation.loses();
    let sizes = |size: f64| format!("of terms of {} together", show(size));
    lines.push(match loses_constant {
        true => format!(
            "sum dx = {} ({}): 0 but for rounding, since a shift of all x changes nothing.",
            show(constant),
            sizes(constant_size)
        ),
        false => format!("sum dx = {} ({}): need not vanish here.", show(constant), sizes(constant_size)),
    });
    lines.push(match loses_stretch {
        true => format!(
            "sum dx xhat = {} ({}): of r sum gamma dy xhat = {} the share eps / (v + eps) = {} is left, since a stretch of \
             all x changes nothing but for eps.",
            show(stretch),
            sizes(stretch_size),
            show(incoming),
            show(share_left)
        ),
        false => format!(
            "sum dx xhat = {} ({}): need not vanish, mean and variance are constants.",
            show(stretch),
            sizes(stretch_size)
        ),
    });
    if explanation.subject.is_constant() {
        lines.push(format!(
            "All values of the {} are alike: dx is the formula's derivative; by default the layer declares it 0 there.",
            unit(explanation.subject.layer)
        ));
    }
    lines.iter().map(|line| one_line(line) + "\n").collect()
}
