//! The computation graph as data: against the other readable forms, each local derivative and each node's gradient against
//! complex steps, and its order.

use crate::seeded;
use batchnorm_reference::graph::{Graph, GraphError, Join, Node, Operation};
use batchnorm_reference::random::Random;
use batchnorm_reference::{Real, compact, jacobian, rows, staged};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number with a step too small to touch its real part: f(a + ih) = f(a) + ih f'(a), without a difference that cancels
/// (Squire and Trapp 1998).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Complex(f64, f64);

const STEP: f64 = 1e-100;

impl Add for Complex {
    type Output = Complex;
    fn add(self, other: Complex) -> Complex {
        Complex(self.0 + other.0, self.1 + other.1)
    }
}
impl Sub for Complex {
    type Output = Complex;
    fn sub(self, other: Complex) -> Complex {
        Complex(self.0 - other.0, self.1 - other.1)
    }
}
impl Mul for Complex {
    type Output = Complex;
    fn mul(self, other: Complex) -> Complex {
        Complex(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }
}
impl Div for Complex {
    type Output = Complex;
    fn div(self, other: Complex) -> Complex {
        // Smith's way (1962): the real part is the quotient of the real parts, to the bit, where the step is nothing to them.
        let ratio = other.1 / other.0;
        let below = other.0 + other.1 * ratio;
        Complex((self.0 + self.1 * ratio) / below, (self.1 - self.0 * ratio) / below)
    }
}
impl Neg for Complex {
    type Output = Complex;
    fn neg(self) -> Complex {
        Complex(-self.0, -self.1)
    }
}
impl Real for Complex {
    fn constant(value: f64) -> Complex {
        Complex(value, 0.0)
    }
    fn sqrt(self) -> Complex {
        let radius = self.0.hypot(self.1);
        let real = ((radius + self.0) / 2.0).sqrt();
        Complex(real, self.1 / (2.0 * real))
    }
}

fn complex(values: &[f64]) -> Vec<Complex> {
    values.iter().map(|&value| Complex::constant(value)).collect()
}

/// What is put into a graph.
struct Case {
    form: Form,
    x: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    epsilon: f64,
    dy: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Batch,
    Evaluation,
    Row,
    Rms,
}

const FORMS: [Form; 4] = [Form::Batch, Form::Evaluation, Form::Row, Form::Rms];
const RUNNING: [f64; 2] = [0.75, 1.625];

impl Case {
    /// Sizes from 2 on, eps from 1e-12 to 1, means up to 10 deviations away, one in eight constant.
    fn new(form: Form, random: &mut Random) -> Case {
        let most = if random.below(4) == 0 { 200 } else { 12 };
        let n = 2 + random.below(most);
        let deviation = 10f64.powi(random.below(7) as i32 - 3);
        let mean = deviation * 10.0 * random.normal();
        let x = match random.below(8) {
            // A value whose sums are without rounding: its deviations from the mean are 0, not nearly 0.
            0 => vec![(mean * 8.0).round() / 8.0; n],
            _ => random.normals(n, mean, deviation),
        };
        let parameters = if matches!(form, Form::Batch | Form::Evaluation) { 1 } else { n };
        Case {
            form,
            x,
            gamma: random.normals(parameters, 0.5, 1.0),
            beta: random.normals(parameters, 0.0, 1.0),
            epsilon: 10f64.powf(-12.0 * random.uniform()),
            dy: random.normals(n, 0.2, 1.0),
        }
    }

    /// The graph over some numbers, made from those of the case.
    fn graph<R: Real>(&self) -> Graph<R> {
        let of = |values: &[f64]| -> Vec<R> { values.iter().map(|&value| R::constant(value)).collect() };
        let (x, gamma, beta, epsilon) = (of(&self.x), of(&self.gamma), of(&self.beta), R::constant(self.epsilon));
        let [mean, variance] = RUNNING.map(R::constant);
        match self.form {
            Form::Batch => Graph::batch(&x, gamma[0], beta[0], epsilon),
            Form::Evaluation => Graph::evaluation(&x, gamma[0], beta[0], mean, variance, epsilon),
            Form::Row => Graph::row(&x, &gamma, &beta, epsilon).expect("right lengths"),
            Form::Rms => Graph::rms_row(&x, &gamma, &beta, epsilon).expect("right lengths"),
        }
    }

    fn walked(&self) -> Graph<f64> {
        let mut graph = self.graph();
        graph.backward(&self.dy).expect("right lengths");
        graph
    }
}

fn cases(seed: u64, each: usize) -> Vec<Case> {
    let mut random = seeded(seed);
    FORMS.iter().flat_map(|&form| (0..each).map(|_| Case::new(form, &mut random)).collect::<Vec<_>>()).collect()
}

fn node<'g>(graph: &'g Graph<f64>, name: &str) -> &'g Node<f64> {
    graph.get(name).unwrap_or_else(|| panic!("no node {name}"))
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |largest, value| if value.is_nan() { value } else { largest.max(value.abs()) })
}

/// By the measure of docs/numerics.md: dx against |gamma| r max|dy|, the parameters' against the sum of their terms.
fn agree(case: &Case, graph: &Graph<f64>, dx: &[f64], dgamma: &[f64], dbeta: &[f64], what: &str) -> f64 {
    let r = node(graph, "inverse").values[0];
    let scale = largest(case.gamma.iter().copied()) * r * largest(case.dy.iter().copied());
    let xhat = &node(graph, "normalized").values;
    let difference = |got: &[f64], expected: &[f64]| {
        assert_eq!(got.len(), expected.len(), "{what}");
        largest(got.iter().zip(expected).map(|(got, expected)| got - expected))
    };
    let mut errors = vec![difference(&node(graph, "x").gradient, dx) / scale];
    let products: Vec<f64> = case.dy.iter().zip(xhat).map(|(dy, xhat)| (dy * xhat).abs()).collect();
    for (name, expected) in [("gamma", dgamma), ("beta", dbeta)] {
        let got = &node(graph, name).gradient;
        assert_eq!(got.len(), expected.len(), "{what}");
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let scale = match (case.gamma.len(), name) {
                (1, "gamma") => products.iter().sum(),
                (1, _) => case.dy.iter().map(|dy| dy.abs()).sum(),
                // One term alone: xhat_i is as good as numbers of size 1 are, however near 0 it is itself.
                _ => case.dy[i].abs() * xhat[i].abs().max(1.0),
            };
            errors.push(if got == expected { 0.0 } else { (got - expected).abs() / scale });
        }
    }
    let error = largest(errors);
    assert!(error <= 1e-12, "{what}, {:?} of {} values: {error:e}", case.form, case.x.len());
    error
}

#[test]
fn it_agrees_with_the_other_readable_forms() {
    let mut worst = 0f64;
    for case in cases(601, 500) {
        let Case { form, x, gamma, beta, epsilon, dy } = &case;
        let (gamma, beta, epsilon) = (&gamma[..], &beta[..], *epsilon);
        let graph = case.walked();
        let y = &node(&graph, "y").values;
        let (other_y, dx, dgamma, dbeta) = match form {
            Form::Batch => {
                let nodes = staged::forward(x, gamma[0], beta[0], epsilon);
                let back = staged::backward(&nodes, gamma[0], dy);
                // Forward to the bit, node by node; backward to rounding, of what each gradient is made of.
                let expected: [(&str, &[f64], &[f64]); 9] = [
                    ("mean", &[nodes.mean], &[back.mean]),
                    ("centered", &nodes.centered, &back.centered),
                    ("squared", &nodes.squared, &back.squared),
                    ("variance", &[nodes.variance], &[back.variance]),
                    ("deviation", &[nodes.deviation], &[back.deviation]),
                    ("inverse", &[nodes.inverse], &[back.inverse]),
                    ("normalized", &nodes.normalized, &back.normalized),
                    ("scaled", &nodes.scaled, &back.scaled),
                    ("y", &nodes.y, dy),
                ];
                let sizes = sizes_of_terms(&graph);
                for (name, values, gradient) in expected {
                    let place = graph.find(name).expect("a node of that name");
                    let node = &graph.nodes()[place];
                    assert_eq!(node.values, values, "{name}");
                    for ((got, expected), size) in node.gradient.iter().zip(gradient).zip(&sizes[place]) {
                        assert!(
                            (got - expected).abs() <= 1e-13 * size,
                            "{name}: {got} for {expected}, of terms {size}"
                        );
                    }
                    assert_eq!(node.gradient.len(), gradient.len());
                }
                let staged = back.gradients;
                worst = worst.max(agree(&case, &graph, &staged.dx, &[staged.dgamma], &[staged.dbeta], "staged"));
                let forward = compact::forward(x, gamma[0], beta[0], epsilon);
                let compact = compact::backward(x, gamma[0], epsilon, dy);
                (forward.y, compact.dx, vec![compact.dgamma], vec![compact.dbeta])
            }
            Form::Evaluation => {
                let [mean, variance] = RUNNING;
                let y = compact::forward_eval(x, gamma[0], beta[0], mean, variance, epsilon);
                let back = compact::backward_eval(x, gamma[0], mean, variance, epsilon, dy);
                (y, back.dx, vec![back.dgamma], vec![back.dbeta])
            }
            Form::Row => {
                let (forward, back) = (rows::forward(x, gamma, beta, epsilon), rows::backward(x, gamma, epsilon, dy));
                (forward.y, back.dx, back.dgamma, back.dbeta)
            }
            Form::Rms => {
                let (forward, back) =
                    (rows::rms_forward(x, gamma, beta, epsilon), rows::rms_backward(x, gamma, epsilon, dy));
                (forward.y, back.dx, back.dgamma, back.dbeta)
            }
        };
        assert_eq!(y, &other_y, "{form:?}");
        worst = worst.max(agree(&case, &graph, &dx, &dgamma, &dbeta, "closed form"));
    }
    println!("worst {worst:.1e}");
}

/// For each value of each node the sum of the sizes of all terms its gradient is made of: the same walk, without signs.
fn sizes_of_terms(graph: &Graph<f64>) -> Vec<Vec<f64>> {
    let count = graph.count();
    let mut sizes: Vec<Vec<f64>> = graph.nodes().iter().map(|node| vec![0.0; node.values.len()]).collect();
    let last = sizes.len() - 1;
    sizes[last] = graph.nodes()[last].gradient.iter().map(|dy| dy.abs()).collect();
    for edge in graph.edges().iter().rev() {
        let above = sizes[edge.to].clone();
        for i in 0..if edge.join == Join::EachToOne { count } else { above.len() } {
            let from = if edge.join == Join::OneToEach { 0 } else { i };
            let to = if edge.join == Join::EachToOne { 0 } else { i };
            let local = if edge.join == Join::EachToOne { edge.local[0] } else { edge.local_at(i) };
            sizes[edge.from][from] += (above[to] * local).abs();
        }
    }
    sizes
}

#[test]
fn each_local_derivative_is_a_complex_step_of_that_node_alone() {
    let mut checked = 0;
    for case in cases(603, 60) {
        let graph = case.graph::<f64>();
        for edge in graph.edges() {
            let to = &graph.nodes()[edge.to];
            let operands: Vec<Vec<Complex>> =
                graph.inputs(edge.to).map(|edge| complex(&graph.nodes()[edge.from].values)).collect();
            for i in 0..operands[edge.operand].len() {
                let mut moved = operands.clone();
                moved[edge.operand][i].1 = STEP;
                let moved: Vec<&[Complex]> = moved.iter().map(|values| &values[..]).collect();
                let slopes: Vec<f64> = to.operation.value(&moved).iter().map(|value| value.1 / STEP).collect();
                let expected: Vec<f64> = match edge.join {
                    Join::EachToOne => vec![edge.local_at(i)],
                    Join::OneToEach => (0..slopes.len()).map(|k| edge.local_at(k)).collect(),
                    Join::EachToEach => {
                        (0..slopes.len()).map(|k| if k == i { edge.local_at(k) } else { 0.0 }).collect()
                    }
                };
                assert_eq!(slopes.len(), expected.len());
                for (slope, expected) in slopes.iter().zip(&expected) {
                    let error = (slope - expected).abs();
                    assert!(error <= 1e-14 * expected.abs(), "{} of {}: {slope} for {expected}", edge.formula, to.name);
                }
                checked += slopes.len();
            }
        }
    }
    assert!(checked > 50_000, "{checked}");
}

#[test]
fn each_nodes_gradient_is_what_moving_it_does_to_the_loss() {
    for case in cases(604, 40) {
        let graph = case.walked();
        let sizes = sizes_of_terms(&graph);
        let complex_graph = case.graph::<Complex>();
        for (node, sizes) in graph.nodes().iter().zip(&sizes) {
            for i in 0..node.values.len() {
                let mut values = complex(&node.values);
                values[i].1 = STEP;
                let moved = complex_graph.with(node.name, &values).expect("the node's own number of values");
                let y = &moved.get("y").expect("the last node").values;
                let slope: f64 = y.iter().zip(&case.dy).map(|(y, dy)| y.1 / STEP * dy).sum();
                let error = (slope - node.gradient[i]).abs();
                assert!(error <= 1e-13 * sizes[i], "{}, {:?}: {slope} for {}", node.name, case.form, node.gradient[i]);
            }
        }
    }
}

#[test]
fn its_jacobian_is_the_closed_form() {
    for case in cases(605, 40).iter().filter(|case| case.x.len() < 30) {
        let n = case.x.len();
        let graph = case.walked();
        let rows = graph.jacobian();
        assert_eq!(rows.len(), n * n);
        let scale = largest(case.gamma.iter().copied()) * node(&graph, "inverse").values[0];
        if case.form == Form::Batch {
            let closed = jacobian::jacobian(&case.x, case.gamma[0], case.epsilon);
            assert!(largest(rows.iter().zip(&closed).map(|(a, b)| a - b)) <= 1e-13 * scale);
        }
        // Whatever the form: dy times the rows is dx.
        let dx = &node(&graph, "x").gradient;
        for (l, dx) in dx.iter().enumerate() {
            let by_rows: f64 = case.dy.iter().enumerate().map(|(i, dy)| dy * rows[i * n + l]).sum();
            assert!((by_rows - dx).abs() <= 1e-12 * scale * n as f64, "{:?}: {by_rows} for {dx}", case.form);
        }
    }
}

#[test]
fn it_is_in_order_and_what_is_used_twice_shows() {
    for case in cases(606, 3) {
        let graph = case.walked();
        let place = |name: &str| graph.find(name).expect("a node of that name");
        for (at, edge) in graph.edges().iter().enumerate() {
            assert!(edge.from < edge.to && edge.to < graph.nodes().len());
            assert!(at == 0 || graph.edges()[at - 1].to <= edge.to);
            let (from, to) = (&graph.nodes()[edge.from], &graph.nodes()[edge.to]);
            let join = match (from.each, to.each) {
                (true, false) => Join::EachToOne,
                (false, true) => Join::OneToEach,
                _ => Join::EachToEach,
            };
            assert_eq!(edge.join, join);
            assert_eq!(edge.gradient.len(), from.values.len());
            assert_eq!(from.values.len(), if from.each { graph.count() } else { 1 });
        }
        for (at, node) in graph.nodes().iter().enumerate() {
            assert_eq!(node.operation == Operation::Leaf, graph.inputs(at).count() == 0, "{}", node.name);
            assert_eq!(graph.uses(at).count() == 0, node.name == "y");
            assert_eq!(node.gradient.len(), node.values.len());
        }
        let uses =
            |name: &str| -> Vec<&str> { graph.uses(place(name)).map(|edge| graph.nodes()[edge.to].name).collect() };
        match case.form {
            Form::Batch | Form::Row => {
                assert_eq!(uses("x"), ["mean", "centered"]);
                assert_eq!(uses("centered"), ["squared", "normalized"]);
            }
            Form::Evaluation => {
                assert_eq!(uses("x"), ["centered"]);
                assert_eq!(uses("centered"), ["normalized"]);
                assert_eq!(node(&graph, "variance").operation, Operation::Leaf);
            }
            Form::Rms => {
                assert_eq!(uses("x"), ["squared", "normalized"]);
                assert!(graph.find("mean").is_none() && graph.find("variance").is_none());
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused_and_change_nothing() {
    let mut graph = Graph::batch(&[1.0, 2.0, 4.0], 1.0, 0.0, 1e-5);
    graph.backward(&[1.0, 0.0, 0.5]).unwrap();
    let before = graph.clone();
    let error = graph.backward(&[1.0, 0.0]).unwrap_err();
    assert_eq!(error.to_string(), "dy: expected 3 values, one for each element of [3], got 2");
    assert_eq!(graph, before);
    assert!(graph.with("median", &[1.0]).is_none() && graph.with("mean", &[1.0, 2.0]).is_none());
    let ones = [1.0; 3];
    for (gamma, beta, argument) in [(&ones[..2], &ones[..], "gamma"), (&ones, &ones[..1], "beta")] {
        let errors = [Graph::row(&ones, gamma, beta, 1e-5), Graph::rms_row(&ones, gamma, beta, 1e-5)];
        for error in errors.map(Result::unwrap_err) {
            assert!(matches!(error, GraphError::ElementLength { argument: named, .. } if named == argument), "{error}");
        }
    }
    // One value, and none.
    assert_eq!(Graph::batch(&[3.0], 1.0, 0.5, 1e-5).get("y").unwrap().values, [0.5]);
    assert!(Graph::batch(&[], 1.0, 0.5, 1e-5).get("y").unwrap().values.is_empty());
    for operation in [Operation::Leaf, Operation::Mean, Operation::Subtract, Operation::Square, Operation::Multiply] {
        assert!(operation.value::<f64>(&[]).is_empty() && operation.derivative::<f64>(3, &[], &[]).len() <= 1);
    }
}
