//! All numbers as tables: what the graph shows, for who does not see it.

use super::super::selection::unit;
use super::super::words;
use super::drawing::plain;
use super::markup::{escape, table};
use super::numbers::Numbers;
use batchnorm::reference::graph::{Join, Node};

/// One number each; forward; backward; and the edges for the chosen value.
pub fn all(numbers: &Numbers) -> String {
    let graph = &numbers.explanation.graph;
    let nodes = || graph.nodes().iter();
    let named = |node: &Node<f64>| {
        let title = words::of(numbers.explanation, node.name).title;
        let symbol = plain(node.symbol);
        escape(&if title == node.symbol { title.to_owned() } else { format!("{title} {symbol}") })
    };
    let single: Vec<Vec<String>> = nodes()
        .filter(|node| !node.each)
        .map(|node| {
            let cell = |kind: &str| numbers.span(&format!("{kind} {} 0", node.name));
            vec![named(node), cell("v"), cell("g")]
        })
        .collect();
    let of = unit(numbers.explanation.subject.layer);
    let mut out =
        table(&format!("One number for the whole {of}"), &["node", "value", "gradient"].map(str::to_owned), &single);
    for (kind, caption, head) in
        [("v", "Forward: a number for each value", ""), ("g", "Backward: the gradient of each", "\u{2202}L/\u{2202}")]
    {
        let mut columns = vec![String::from("i")];
        columns.extend(
            nodes().filter(|node| node.each).map(|node| escape(&format!("{head}{}\u{1d62}", plain(node.symbol)))),
        );
        let row = |i: usize| {
            let mut cells = vec![(i + 1).to_string()];
            cells.extend(
                nodes().filter(|node| node.each).map(|node| numbers.span(&format!("{kind} {} {i}", node.name))),
            );
            cells
        };
        out += &table(caption, &columns, &(0..graph.count()).map(row).collect::<Vec<_>>());
    }
    out + &edges(numbers)
}

fn edges(numbers: &Numbers) -> String {
    let graph = &numbers.explanation.graph;
    let row = |edge: &batchnorm::reference::graph::Edge<f64>| {
        let (from, to) = (&graph.nodes()[edge.from], &graph.nodes()[edge.to]);
        let title = |node: &Node<f64>| escape(words::of(numbers.explanation, node.name).title);
        let name = format!("{}>{}", from.name, to.name);
        let how = match edge.join {
            Join::EachToEach => "",
            Join::OneToEach => ", summed up",
            Join::EachToOne => ", the same for each",
        };
        vec![
            format!("{} to {}", title(from), title(to)),
            numbers.span(&format!("v {} i", from.name)),
            format!("{} = {}", escape(&plain(edge.formula)), numbers.span(&format!("l {name} i"))),
            format!("{}{how}", numbers.span(&format!("f {name} i"))),
        ]
    };
    table(
        "The edges, for the chosen value",
        &["edge", "value", "local derivative", "flows back"].map(str::to_owned),
        &graph.edges().iter().map(row).collect::<Vec<_>>(),
    )
}

/// The Jacobian of few values.
pub fn jacobian(numbers: &Numbers) -> String {
    let count = numbers.explanation.graph.count();
    let mut columns = vec![String::from("by")];
    columns.extend((1..=count).map(|l| format!("x<sub>{l}</sub>")));
    let row = |i: usize| {
        let mut cells = vec![format!("y<sub>{}</sub>", i + 1)];
        cells.extend((0..count).map(|l| numbers.span(&format!("j {i} {l}"))));
        cells
    };
    table("Each y by each x", &columns, &(0..count).map(row).collect::<Vec<_>>())
}
