//! Details of each node: what it is, its formula with the numbers put in, local derivatives, and what comes back.

use super::super::formula::Formula;
use super::super::words::{self, Words};
use super::mathml::{self, backward, derivative, equation, gradient, math, names, symbol, with_numbers};
use super::numbers::Numbers;
use batchnorm::reference::graph::{Edge, Join, Node, Operation};

/// All nodes, one section each.
pub fn sections(numbers: &Numbers) -> String {
    let nodes = numbers.explanation.graph.nodes();
    nodes.iter().enumerate().map(|(place, node)| section(numbers, place, node)).collect()
}

fn section(numbers: &Numbers, place: usize, node: &Node<f64>) -> String {
    let Words { title, says, why } = words::of(numbers.explanation, node.name);
    let graph = &numbers.explanation.graph;
    let locals: String = graph.inputs(place).map(|edge| local(numbers, edge, node)).collect();
    let locals = if locals.is_empty() { locals } else { format!("<dt>Local derivative</dt>\n{locals}") };
    format!(
        "<section class=\"detail\" id=\"node-{name}\" data-node=\"{name}\" aria-labelledby=\"title-{name}\">\n\
         <h3 id=\"title-{name}\" tabindex=\"-1\">{title} {symbol}</h3>\n<p>{says}</p>\n<dl>\n\
         <dt>Forward</dt>\n<dd>{forward}</dd>\n{locals}<dt>Backward</dt>\n<dd>{back}</dd>\n</dl>\n<p class=\"why\">{why}</p>\n\
         </section>\n",
        name = node.name,
        symbol = math(&symbol(node.symbol, node.each)),
        forward = forward(numbers, node),
        back = back(numbers, place, node),
    )
}

fn value(numbers: &Numbers, node: &Node<f64>) -> String {
    numbers.math(&format!("v {} i", node.name), false)
}

fn forward(numbers: &Numbers, node: &Node<f64>) -> String {
    let own = symbol(node.symbol, node.each);
    match Formula::right_side(node.formula) {
        Some(formula) if node.operation != Operation::Leaf => {
            let with = with_numbers(&formula, numbers);
            format!(
                "{}</dd>\n<dd>{}",
                math(&equation(&[own, names(&formula)])),
                math(&format!("<mo>=</mo>{}", equation(&[with, value(numbers, node)])))
            )
        }
        _ => math(&equation(&[own, value(numbers, node)])),
    }
}

fn local(numbers: &Numbers, edge: &Edge<f64>, node: &Node<f64>) -> String {
    let from = &numbers.explanation.graph.nodes()[edge.from];
    let formula = Formula::parse(edge.formula).unwrap_or_else(|| Formula::Number(edge.formula.to_owned()));
    let by = derivative(&symbol(node.symbol, node.each), &symbol(from.symbol, from.each));
    let mut parts = vec![by, names(&formula)];
    // 1 and -1 say it all.
    let plain = matches!(&formula, Formula::Number(_))
        || matches!(&formula, Formula::Negative(inner) if matches!(**inner, Formula::Number(_)));
    if !plain {
        parts.push(numbers.math(&format!("l {}>{} i", from.name, node.name), false));
    }
    let note = match edge.join {
        Join::OneToEach if numbers.explanation.graph.count() > 1 => {
            " <span class=\"note\">one for all: summed up backward</span>"
        }
        Join::EachToOne => " <span class=\"note\">the same for each</span>",
        _ => "",
    };
    format!("<dd>{}{note}</dd>\n", math(&equation(&parts)))
}

fn back(numbers: &Numbers, place: usize, node: &Node<f64>) -> String {
    let own = gradient(node.symbol, node.each);
    let value = numbers.math(&format!("g {} i", node.name), false);
    if numbers.explanation.graph.uses(place).count() == 0 {
        let dy = "<msub><mi>dy</mi><mi>i</mi></msub>".to_owned();
        return math(&equation(&[own, dy, value]));
    }
    let formula = backward(&numbers.explanation.graph, place);
    let with = mathml::with_numbers(&formula, numbers);
    // A gradient that is passed on as it is has no sum to show.
    let lines = if let Formula::Gradient { .. } = formula { value } else { equation(&[with, value]) };
    format!("{}</dd>\n<dd>{}", math(&equation(&[own, names(&formula)])), math(&format!("<mo>=</mo>{lines}")))
}
