//! The computation graph as data against the kernels.

use crate::support::Random;
use crate::support::wide::largest;
use batchnorm::reference::Real;
use batchnorm::reference::graph::{Graph, Node};
use batchnorm::{Axes, Config, ConstantChannel, Parameters, Policies, RunningStatistics, SampleConfig, View, ViewMut};

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
    let mut random = Random::new(seed);
    FORMS.iter().flat_map(|&form| (0..each).map(|_| Case::new(form, &mut random)).collect::<Vec<_>>()).collect()
}

fn node<'g>(graph: &'g Graph<f64>, name: &str) -> &'g Node<f64> {
    graph.get(name).unwrap_or_else(|| panic!("no node {name}"))
}

/// By the measure of docs/numerics.md: dx against |gamma| r max|dy|, the parameters' against the sum of their terms.
fn agree(case: &Case, graph: &Graph<f64>, dx: &[f64], dgamma: &[f64], dbeta: &[f64], what: &str) -> f64 {
    let r = node(graph, "inverse").values[0];
    let scale = largest(&case.gamma) * r * largest(&case.dy);
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
fn it_agrees_with_the_kernels() {
    let derivative = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let mut worst = 0f64;
    for case in cases(602, 500) {
        let Case { form, x, gamma, beta, epsilon, dy } = &case;
        let (shape, parameters) = ([x.len(), 1], Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) });
        let mut dx = vec![0.0; x.len()];
        let mut y = vec![0.0; x.len()];
        let gradients = match form {
            Form::Batch | Form::Evaluation => {
                let rule = Config::pytorch().epsilon(*epsilon).policies(derivative).normalizer().expect("a rule");
                let view = View::new(x, &shape, Axes::NCHW).expect("a view");
                let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("a view");
                let saved = if *form == Form::Batch {
                    rule.train(&view, parameters, None, &mut out).expect("a pass").0
                } else {
                    let running = RunningStatistics::from_parts(&RUNNING[..1], &RUNNING[1..], 0).expect("statistics");
                    rule.eval(&view, parameters, Some(&running), &mut out).expect("a pass")
                };
                let dy = View::new(dy, &shape, Axes::NCHW).expect("a view");
                let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("a view");
                saved.backward(&view, &dy, &mut out).expect("a pass")
            }
            Form::Row | Form::Rms => {
                let config = if *form == Form::Row { SampleConfig::layer(1) } else { SampleConfig::rms(1) };
                let policies = Policies { constant_channel: ConstantChannel::Derivative, ..config.policies };
                let rule = config.epsilon(*epsilon).policies(policies).normalizer().expect("a rule");
                let shape = [1, x.len()];
                let view = View::new(x, &shape, Axes::NCHW).expect("a view");
                let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("a view");
                let saved = rule.forward(&view, parameters, &mut out).expect("a pass");
                let dy = View::new(dy, &shape, Axes::NCHW).expect("a view");
                let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("a view");
                saved.backward(&view, &dy, &mut out).expect("a pass")
            }
        };
        let graph = case.walked();
        let (of_layer, of_graph) = (&y, &node(&graph, "y").values);
        let centred = &node(&graph, "normalized").values;
        for (i, (layer, graph)) in of_layer.iter().zip(of_graph).enumerate() {
            let at = |values: &[f64]| if values.len() == 1 { values[0] } else { values[i] };
            let size = (at(gamma) * centred[i]).abs() + at(beta).abs() + at(gamma).abs();
            assert!((layer - graph).abs() <= 1e-12 * size, "y: {layer} for {graph}, {form:?}");
        }
        worst = worst.max(agree(&case, &graph, &dx, &gradients.dgamma, &gradients.dbeta, "kernel"));
    }
    println!("worst {worst:.1e}");
}
