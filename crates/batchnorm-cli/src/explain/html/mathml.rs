//! Formulas as MathML, which browsers draw by themselves.

use super::super::formula::Formula;
use super::numbers::Numbers;
use batchnorm::reference::graph::{Graph, Join};

/// Terms of a sum that are written out with numbers: all of few, else the first ones and the last.
const TERMS: usize = 4;

/// A formula around what is in it.
pub fn math(content: &str) -> String {
    format!("<math displaystyle=\"true\"><mrow>{content}</mrow></math>")
}

/// `left = right`.
pub fn equation(parts: &[String]) -> String {
    parts.join("<mo>=</mo>")
}

/// A symbol of the graph's formulas: `xhat`, `gamma`, `x`, with the index i or without.
pub fn symbol(symbol: &str, indexed: bool) -> String {
    let letter = match symbol {
        "xhat" => String::from("<mover accent=\"true\"><mi>x</mi><mo>^</mo></mover>"),
        "gamma" => String::from("<mi>\u{3b3}</mi>"),
        "beta" => String::from("<mi>\u{3b2}</mi>"),
        "eps" => String::from("<mi>\u{3b5}</mi>"),
        other => format!("<mi>{other}</mi>"),
    };
    if indexed { format!("<msub><mrow>{letter}</mrow><mi>i</mi></msub>") } else { letter }
}

/// dL / d of a symbol.
pub fn gradient(of: &str, indexed: bool) -> String {
    derivative("<mi>L</mi>", &symbol(of, indexed))
}

/// d of one by d of another.
pub fn derivative(of: &str, by: &str) -> String {
    format!("<mfrac><mrow><mo>\u{2202}</mo>{of}</mrow><mrow><mo>\u{2202}</mo>{by}</mrow></mfrac>")
}

/// A node's gradient as a formula: what comes back along each edge that leaves it, summed up.
pub fn backward(graph: &Graph<f64>, place: usize) -> Formula {
    let terms = graph.uses(place).map(|edge| {
        let to = &graph.nodes()[edge.to];
        let above = Formula::Gradient { symbol: to.symbol.to_owned(), indexed: to.each };
        let local = Formula::parse(edge.formula).unwrap_or_else(|| Formula::Number(edge.formula.to_owned()));
        match (edge.join, above.times(local)) {
            (Join::OneToEach, Formula::Negative(inner)) => Formula::Negative(Box::new(Formula::Sum(inner))),
            (Join::OneToEach, inner) => Formula::Sum(Box::new(inner)),
            (_, term) => term,
        }
    });
    Formula::total(terms.collect())
}

/// The place where a formula stands, which decides what must be in brackets.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Within {
    Sum,
    Product,
    Power,
}

/// A formula with the names in it.
pub fn names(formula: &Formula) -> String {
    written(formula, Within::Sum, &|name| match name {
        Formula::Name { symbol: of, indexed } => symbol(of, *indexed),
        Formula::Gradient { symbol: of, indexed } => gradient(of, *indexed),
        _ => String::new(),
    })
}

fn bracketed(text: String, needed: bool) -> String {
    if needed { format!("<mrow><mo>(</mo>{text}<mo>)</mo></mrow>") } else { format!("<mrow>{text}</mrow>") }
}

fn written(formula: &Formula, within: Within, name: &dyn Fn(&Formula) -> String) -> String {
    let of = |formula: &Formula, within: Within| written(formula, within, name);
    match formula {
        Formula::Number(text) => format!("<mn>{text}</mn>"),
        Formula::Name { .. } | Formula::Gradient { .. } => name(formula),
        Formula::Sum(inner) => {
            format!("<mrow><munder><mo>\u{2211}</mo><mi>i</mi></munder>{}</mrow>", of(inner, Within::Product))
        }
        Formula::Root(inner) => format!("<msqrt>{}</msqrt>", of(inner, Within::Sum)),
        Formula::Square(inner) => format!("<msup>{}<mn>2</mn></msup>", of(inner, Within::Power)),
        Formula::Negative(inner) => {
            bracketed(format!("<mo form=\"prefix\">\u{2212}</mo>{}", of(inner, Within::Product)), within > Within::Sum)
        }
        Formula::Product(left, right) => {
            let gradients = matches!(**left, Formula::Gradient { .. });
            let sign = if gradients { "<mo>\u{22c5}</mo>" } else { "<mspace width=\"0.17em\"/>" };
            let text = format!("{}{sign}{}", of(left, Within::Product), of(right, Within::Product));
            bracketed(text, within == Within::Power)
        }
        Formula::Quotient(left, right) => format!("<mfrac>{}{}</mfrac>", of(left, Within::Sum), of(right, Within::Sum)),
        Formula::Plus(left, right) => {
            bracketed(format!("{}<mo>+</mo>{}", of(left, Within::Sum), of(right, Within::Sum)), within > Within::Sum)
        }
        Formula::Minus(left, right) => bracketed(
            format!("{}<mo>\u{2212}</mo>{}", of(left, Within::Sum), of(right, Within::Product)),
            within > Within::Sum,
        ),
    }
}

/// The formula's numbers put in, at the chosen value.
pub fn with_numbers(formula: &Formula, numbers: &Numbers) -> String {
    put_in(formula, numbers, "i", false)
}

/// `guarded` where a negative number needs brackets; `element` for the index i.
fn put_in(formula: &Formula, numbers: &Numbers, element: &str, guarded: bool) -> String {
    let of = |formula: &Formula, guarded: bool| put_in(formula, numbers, element, guarded);
    let graph = &numbers.explanation.graph;
    let node = |symbol: &str| graph.nodes().iter().find(|node| node.symbol == symbol).map_or("", |node| node.name);
    match formula {
        Formula::Number(text) => format!("<mn>{text}</mn>"),
        Formula::Name { symbol, .. } if symbol == "n" => format!("<mn>{}</mn>", graph.count()),
        Formula::Name { symbol, .. } => numbers.math(&format!("v {} {element}", node(symbol)), guarded),
        Formula::Gradient { symbol, .. } => numbers.math(&format!("g {} {element}", node(symbol)), guarded),
        Formula::Sum(inner) => {
            let count = graph.count();
            let shown: Vec<usize> = if count <= TERMS { (0..count).collect() } else { vec![0, 1, count - 1] };
            let terms = shown.iter().enumerate().map(|(at, place)| {
                let gap = if at == 2 && count > TERMS { "<mo>+</mo><mo>\u{22ef}</mo>" } else { "" };
                let sign = if at > 0 { "<mo>+</mo>" } else { "" };
                format!("{gap}{sign}{}", put_in(inner, numbers, &place.to_string(), at > 0))
            });
            bracketed(terms.collect(), count > 1)
        }
        Formula::Root(inner) => format!("<msqrt><mrow>{}</mrow></msqrt>", of(inner, false)),
        Formula::Square(inner) => format!("<msup>{}<mn>2</mn></msup>", of(inner, true)),
        Formula::Negative(inner) => format!("<mrow><mo form=\"prefix\">\u{2212}</mo>{}</mrow>", of(inner, true)),
        Formula::Product(left, right) => {
            format!("<mrow>{}<mo>\u{22c5}</mo>{}</mrow>", of(left, guarded), of(right, true))
        }
        Formula::Quotient(left, right) => {
            format!("<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>", of(left, false), of(right, false))
        }
        Formula::Plus(left, right) => format!("<mrow>{}<mo>+</mo>{}</mrow>", of(left, guarded), of(right, true)),
        Formula::Minus(left, right) => {
            format!("<mrow>{}<mo>\u{2212}</mo>{}</mrow>", of(left, guarded), of(right, true))
        }
    }
}
