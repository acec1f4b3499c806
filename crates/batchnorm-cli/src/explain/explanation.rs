//! The graph of a subject, forward and backward, checked against the layer; and what follows from it.

use super::figure::{DIGITS, digits_of};
use super::layer::{self, Outcome};
use super::subject::Subject;
use crate::failure::Failure;
use crate::layer_name::LayerName;
use batchnorm::reference::graph::{Graph, Node};

/// Values of a feature whose Jacobian is worked out.
const MOST_FOR_JACOBIAN: usize = 128;

/// All numbers that are shown.
pub struct Explanation {
    pub subject: Subject,
    /// As the graph's walk gives it: local derivatives, and what flows along edges.
    pub graph: Graph<f64>,
    /// The numbers shown for each node: the layer's where it has them, else the graph's.
    pub nodes: Vec<Shown>,
    /// Names of the numbers that are the layer's.
    pub of_layer: Vec<&'static str>,
    /// The layer's gradients of gamma and beta, summed over the values that share one.
    pub of_parameters: [Vec<f64>; 2],
    pub agreement: Agreement,
    pub directions: Directions,
    /// d y_i / d x_l, row by row, of few values.
    pub jacobian: Option<Vec<f64>>,
}

/// A node's numbers.
pub struct Shown {
    pub values: Vec<f64>,
    pub gradient: Vec<f64>,
    /// Significant digits of its values.
    pub digits: usize,
}

/// The distance of the graph from the layer's kernels, by the measure of docs/numerics.md.
pub struct Agreement {
    /// The quantities compared, each with its difference.
    pub differences: Vec<(&'static str, f64)>,
    /// The largest difference that rounding explains.
    pub bound: f64,
}

/// The gradient of x along the two directions that the norm does not let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Directions {
    /// sum dx_i.
    pub constant: f64,
    /// sum |dx_i|.
    pub constant_size: f64,
    /// sum dx_i xhat_i.
    pub stretch: f64,
    /// sum |dx_i xhat_i|.
    pub stretch_size: f64,
    /// r sum gamma_i dy_i xhat_i: the part of the upstream gradient along xhat.
    pub incoming: f64,
    /// eps / (v + eps): the share of that part that is left where mean and variance are functions of x.
    pub share_left: f64,
}

impl Explanation {
    /// Walks the graph, runs the layer and compares the two.
    ///
    /// # Errors
    /// Values for which the formula has none, and a graph that differs from the layer by more than rounding.
    pub fn new(subject: Subject) -> Result<Explanation, Failure> {
        let graph = walked(&subject)?;
        let nodes = graph.nodes().iter().map(|node| Shown {
            values: node.values.clone(),
            gradient: node.gradient.clone(),
            digits: DIGITS,
        });
        let mut nodes: Vec<Shown> = nodes.collect();
        let outcome = layer::run(&subject)?;
        let agreement = agreement(&subject, &graph, &outcome)?;
        let of_parameters = [&outcome.dgamma, &outcome.dbeta].map(Clone::clone);
        let of_layer = put_in(&subject, &graph, outcome, &mut nodes);
        digits(&graph, &mut nodes);
        let place = |name: &str| graph.find(name).unwrap_or_default();
        let (dx, xhat) = (&nodes[place("x")].gradient, &nodes[place("normalized")].values);
        let directions = Directions::new(&graph, dx, xhat, &subject.dy);
        let jacobian = (graph.count() <= MOST_FOR_JACOBIAN).then(|| graph.jacobian());
        Ok(Explanation { subject, nodes, of_layer, of_parameters, agreement, directions, jacobian, graph })
    }

    /// Whether the constant direction and that of xhat are lost; the stretch up to eps / (v + eps).
    pub fn loses(&self) -> [bool; 2] {
        let by_batch = self.subject.running.is_none();
        [by_batch && self.subject.layer != LayerName::Rms, by_batch]
    }
}

fn walked(subject: &Subject) -> Result<Graph<f64>, Failure> {
    let Subject { layer, running, x, dy, gamma, beta, epsilon, .. } = subject;
    let graph = match (layer, running) {
        (LayerName::Batch, None) => Ok(Graph::batch(x, gamma[0], beta[0], *epsilon)),
        (LayerName::Batch, Some([mean, variance])) => {
            Ok(Graph::evaluation(x, gamma[0], beta[0], *mean, *variance, *epsilon))
        }
        (LayerName::Rms, _) => Graph::rms_row(x, gamma, beta, *epsilon),
        _ => Graph::row(x, gamma, beta, *epsilon),
    };
    let mut graph = graph.map_err(Failure::input)?;
    let words = subject.words();
    // The mean of equal values may be rounded. The variance of what that leaves is rounding too: it counts as 0.
    let nothing = subject.is_constant() && subject.epsilon == 0.0;
    if nothing || graph.get("inverse").is_some_and(|inverse| inverse.values[0].is_infinite()) {
        return Err(Failure::refused(format!(
            "{words}: expected a variance + eps above 0, got 0, and 1 / sqrt(0) has no value (the layer declares y = beta \
             and dx = 0 there); give --epsilon above 0"
        )));
    }
    let not_finite = |node: &&Node<f64>| node.values.iter().any(|value| !value.is_finite());
    if let Some(node) = graph.nodes().iter().find(not_finite) {
        let mend = match node.name {
            "scaled" => "give a smaller --gamma",
            "y" => "give a smaller --gamma or --beta",
            _ => "divide the input",
        };
        return Err(Failure::refused(format!(
            "{words}: expected numbers that a float64 holds at every node, but `{}` overflows; {mend}",
            node.name
        )));
    }
    graph.backward(dy).map_err(Failure::input)?;
    let not_finite = |node: &&Node<f64>| node.gradient.iter().any(|value| !value.is_finite());
    match graph.nodes().iter().find(not_finite) {
        None => Ok(graph),
        Some(node) => Err(Failure::refused(format!(
            "{words}: expected gradients that a float64 holds, but that of `{}` overflows; divide the upstream gradient or \
             gamma, or give a larger --epsilon",
            node.name
        ))),
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The value for i, of one for all or of one for each.
fn at(values: &[f64], i: usize) -> f64 {
    if values.len() == 1 { values[0] } else { values[i] }
}

/// Sums over the values that share a parameter, in the order of the parameters' first use.
fn by_parameter(subject: &Subject, of_values: &[f64]) -> Vec<f64> {
    if of_values.len() == 1 {
        return of_values.to_vec();
    }
    of_values.chunks(subject.positions).map(|values| values.iter().sum()).collect()
}

fn agreement(subject: &Subject, graph: &Graph<f64>, outcome: &Outcome) -> Result<Agreement, Failure> {
    let Subject { x, dy, gamma, beta, .. } = subject;
    let node = |name: &str| graph.get(name).map_or(&[][..], |node| &node.values);
    let gradient = |name: &str| graph.get(name).map_or(&[][..], |node| &node.gradient);
    let (r, xhat) = (at(node("inverse"), 0), node("normalized"));
    let difference =
        |got: &[f64], expected: &[f64]| largest(got.iter().zip(expected).map(|(got, expected)| got - expected));
    // No difference stays 0, even beside a size of 0.
    let share = |difference: f64, size: f64| if difference == 0.0 { 0.0 } else { difference / size };
    let mut differences = Vec::new();
    if let (Some([mean, variance]), None) = (outcome.statistics, subject.running) {
        differences.push(("mean", share(difference(&[mean], node("mean")), 1.0 / r)));
        differences.push(("variance", share(difference(&[variance], node("variance")), 1.0 / (r * r))));
    }
    let y = (0..x.len()).map(|i| {
        let size = at(gamma, i).abs() * xhat[i].abs().max(1.0) + at(beta, i).abs();
        share((outcome.y[i] - node("y")[i]).abs(), size)
    });
    differences.push(("y", largest(y)));
    let scale = largest(gamma.iter().copied()) * r * largest(dy.iter().copied());
    differences.push(("dx", share(difference(&outcome.dx, gradient("x")), scale)));
    let terms: Vec<f64> = dy.iter().zip(xhat).map(|(dy, xhat)| dy.abs() * xhat.abs().max(1.0)).collect();
    for (what, got, name) in [("dgamma", &outcome.dgamma, "gamma"), ("dbeta", &outcome.dbeta, "beta")] {
        let of_graph = by_parameter(subject, gradient(name));
        let sizes: Vec<f64> = match gamma.len() {
            1 => vec![terms.iter().sum()],
            _ => by_parameter(subject, &terms),
        };
        let shares =
            got.iter().zip(&of_graph).zip(&sizes).map(|((got, graph), size)| share((got - graph).abs(), *size));
        differences.push((what, largest(shares)));
    }
    // The walk adds plainly and rounds the mean to the mean's own size: in deviations that grows with mean/deviation. A
    // difference in the digits that are shown is never excused.
    let size = largest(x.iter().copied()).max(largest(node("mean").iter().copied()));
    let bound = ((1e-12 + x.len() as f64 * f64::EPSILON) * (1.0 + size * r)).min(1e-6);
    match differences.iter().find(|(_, difference)| difference.is_nan() || *difference > bound) {
        None => Ok(Agreement { differences, bound }),
        Some((what, difference)) => Err(Failure::refused(format!(
            "{}: expected the graph's {what} to be the layer's within {bound:.1e}, got a difference of {difference:.1e}: the \
             values differ by too little beside their size for plain sums in float64, which the layer does without; subtract \
             from the input what all values have in common",
            subject.words()
        ))),
    }
}

/// Puts the layer's numbers in place of the graph's, where it has them; returns their names.
fn put_in(subject: &Subject, graph: &Graph<f64>, outcome: Outcome, nodes: &mut [Shown]) -> Vec<&'static str> {
    let Outcome { statistics, y, dx, dgamma, dbeta } = outcome;
    let mut replaced = Vec::new();
    let mut put = |called: &'static str, name: &str, part: fn(&mut Shown) -> &mut Vec<f64>, values: Vec<f64>| {
        if let Some(place) = graph.find(name) {
            *part(&mut nodes[place]) = values;
            replaced.push(called);
        }
    };
    if let Some([mean, variance]) = statistics {
        put("mean", "mean", |shown| &mut shown.values, vec![mean]);
        put("variance", "variance", |shown| &mut shown.values, vec![variance]);
    }
    put("y", "y", |shown| &mut shown.values, y);
    put("dx", "x", |shown| &mut shown.gradient, dx);
    // Where several values share a parameter the layer has the sum alone, but the graph the part of each value.
    if subject.positions == 1 {
        put("dgamma", "gamma", |shown| &mut shown.gradient, dgamma);
        put("dbeta", "beta", |shown| &mut shown.gradient, dbeta);
    }
    replaced
}

/// Gives nodes that are subtracted or added as many digits as it takes to see the effect.
fn digits(graph: &Graph<f64>, nodes: &mut [Shown]) {
    for group in [&["x", "mean"][..], &["scaled", "beta", "y"]] {
        let places: Vec<usize> = group.iter().filter_map(|name| graph.find(name)).collect();
        let digits = places.iter().map(|&place| digits_of(&nodes[place].values)).max().unwrap_or(DIGITS);
        places.iter().for_each(|&place| nodes[place].digits = digits);
    }
}

impl Directions {
    /// Adds in the order of the values, as the page's script does.
    pub fn new(graph: &Graph<f64>, dx: &[f64], xhat: &[f64], dy: &[f64]) -> Directions {
        let value = |name: &str| graph.get(name).map_or(&[][..], |node| &node.values);
        let sum = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |sum, value| sum + value);
        let products = || dx.iter().zip(xhat).map(|(dx, xhat)| dx * xhat);
        let (r, gamma, epsilon) = (at(value("inverse"), 0), value("gamma"), at(value("epsilon"), 0));
        let v = at(if value("variance").is_empty() { value("mean_square") } else { value("variance") }, 0);
        Directions {
            constant: sum(&mut dx.iter().copied()),
            constant_size: sum(&mut dx.iter().map(|dx| dx.abs())),
            stretch: sum(&mut products()),
            stretch_size: sum(&mut products().map(f64::abs)),
            incoming: r * sum(&mut (0..dy.len()).map(|i| at(gamma, i) * dy[i] * xhat[i])),
            share_left: epsilon / (v + epsilon),
        }
    }
}
