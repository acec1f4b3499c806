//! Optimisers against their formulas in plain f64, and what they keep, taken up by another one.

#![allow(missing_docs)]

use batchnorm_lab::data::{Examples, Shape};
use batchnorm_lab::network::{Network, NormKind, Recipe};
use batchnorm_lab::optimizer::{Kept, Optimizer, Rule, Settings, WeightDecay};
use batchnorm_lab::training::Training;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

const INPUT: Shape = Shape { channels: 3, rows: 1, columns: 1 };
const STEPS: usize = 6;
const RATE: f64 = 0.1;

fn network(norm: NormKind) -> Network {
    Recipe { hidden: vec![4], norm, ..Recipe::default() }.start(INPUT, 2, 3, &Training::device())
}

/// Each trained parameter: is it gamma or beta, its values, its gradient.
struct Parameters<'p> {
    gradients: &'p GradientsParams,
    all: Vec<(bool, Vec<f64>, Vec<f64>)>,
    path: Vec<String>,
}

impl ModuleVisitor for Parameters<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let values = |tensor: Tensor<D>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
        let of_norm = self.path.last().is_some_and(|name| ["gamma", "beta"].contains(&name.as_str()));
        self.all.push((of_norm, values(param.val()), values(gradient)));
    }
}

fn gradients(network: &Network) -> GradientsParams {
    let values = (0..24).map(|at| ((at * 7 % 11) as f32 - 5.0) / 3.0).collect();
    let examples = Examples { values, classes: vec![0, 1, 0, 1, 1, 0, 0, 1] };
    let training = Training::new(network.apart(), settings(Rule::PLAIN), 1, 0);
    let scores = network.forward_train(
        training.input(&examples),
        &mut batchnorm_lab::random::generator(1, batchnorm_lab::random::Purpose::Dropout(0)),
    );
    let device = Training::device();
    let classes = Tensor::from_data(burn::tensor::TensorData::from([0i64, 1, 0, 1, 1, 0, 0, 1]), &device);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(scores, classes);
    GradientsParams::from_grads(loss.backward(), network)
}

fn settings(rule: Rule) -> Settings {
    Settings { rule, decay: WeightDecay::default(), clip: None }
}

fn parameters(network: &Network, gradients: &GradientsParams) -> Vec<(bool, Vec<f64>, Vec<f64>)> {
    let mut found = Parameters { gradients, all: vec![], path: vec![] };
    network.visit(&mut found);
    found.all
}

/// The rule's formula for one number: its value, gradient, what is kept of it (two numbers), the step from 1 on, the penalty.
fn formula(rule: Rule, w: f64, g: f64, kept: &mut [f64; 2], step: i32, penalty: f64) -> f64 {
    let l2 = g + penalty * w;
    let adam = |g: f64, [b1, b2]: [f64; 2], kept: &mut [f64; 2]| {
        kept[0] = b1 * kept[0] + (1.0 - b1) * g;
        kept[1] = b2 * kept[1] + (1.0 - b2) * g * g;
        (kept[0] / (1.0 - b1.powi(step))) / ((kept[1] / (1.0 - b2.powi(step))).sqrt() + 1e-8)
    };
    match rule {
        Rule::Sgd { momentum, nesterov } => {
            kept[0] = momentum * kept[0] + l2;
            w - RATE * if nesterov { l2 + momentum * kept[0] } else { kept[0] }
        }
        Rule::Adam { betas } => w - RATE * adam(l2, betas, kept),
        Rule::AdamW { betas } => w - RATE * (adam(g, betas, kept) + penalty * w),
    }
}

#[test]
fn every_rule_follows_its_formula() {
    let rules = [
        Rule::PLAIN,
        Rule::Sgd { momentum: 0.9, nesterov: false },
        Rule::Sgd { momentum: 0.9, nesterov: true },
        Rule::Adam { betas: Rule::BETAS },
        Rule::AdamW { betas: Rule::BETAS },
    ];
    for rule in rules {
        for decay in [(0.0, false), (0.01, false), (0.01, true)] {
            for clip in [None, Some(0.05)] {
                let decay = WeightDecay { penalty: decay.0, of_norms: decay.1 };
                let mut optimizer = Optimizer::new(Settings { rule, decay, clip });
                let mut network = network(NormKind::Batch);
                let mut kept: Vec<Vec<[f64; 2]>> = vec![];
                for step in 1..=STEPS {
                    let gradients = gradients(&network);
                    let before = parameters(&network, &gradients);
                    assert_eq!(before.len(), 5, "weights, gamma, beta, weights, bias");
                    kept.resize(before.len(), vec![]);
                    let norm = before.iter().flat_map(|(_, _, g)| g).map(|g| g * g).sum::<f64>().sqrt();
                    let factor = clip.map_or(1.0, |clip: f64| (clip / norm).min(1.0));
                    assert!(clip.is_none() || factor < 1.0, "nothing is clipped");
                    // (Read again, for the step takes them.)
                    let again = self::gradients(&network);
                    network = optimizer.step(RATE, network, again);
                    let after = parameters(&network, &gradients);
                    for ((at, (of_norm, w, g)), (_, new, _)) in before.iter().enumerate().zip(&after) {
                        kept[at].resize(w.len(), [0.0; 2]);
                        let penalty = if *of_norm && !decay.of_norms { 0.0 } else { decay.penalty };
                        for (place, kept) in kept[at].iter_mut().enumerate() {
                            let expected = formula(rule, w[place], factor * g[place], kept, step as i32, penalty);
                            // f32 rounds each step; Adam divides by roots of what may be next to nothing.
                            let bound = 1e-5 * (1.0 + expected.abs());
                            assert!(
                                (new[place] - expected).abs() < bound || g[place].abs() < 1e-6,
                                "{rule:?} {decay:?} {clip:?}, step {step}, parameter {at}: {} for {expected}",
                                new[place]
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_kept_is_taken_up_whole_or_not_at_all() {
    for rule in [
        Rule::Sgd { momentum: 0.5, nesterov: true },
        Rule::Adam { betas: Rule::BETAS },
        Rule::AdamW { betas: Rule::BETAS },
    ] {
        for norm in [NormKind::Batch, NormKind::Layer, NormKind::Decorrelated, NormKind::None] {
            let mut first = Optimizer::new(settings(rule));
            let mut network = network(norm);
            for _ in 0..3 {
                let gradients = gradients(&network);
                network = first.step(RATE, network, gradients);
            }
            let kept = first.kept();
            let mut second = Optimizer::new(settings(rule));
            assert!(second.take_up(&network, 3, kept.clone()), "{rule:?} {norm:?}");
            assert_eq!(second.kept(), kept);
            let next = |optimizer: &mut Optimizer| {
                let copy = network.apart();
                let gradients = gradients(&copy);
                optimizer.step(RATE, copy, gradients).fingerprint()
            };
            assert_eq!(next(&mut first), next(&mut second), "{rule:?} {norm:?}");
            // Of another number of steps, or another shape.
            if matches!(rule, Rule::Adam { .. } | Rule::AdamW { .. }) {
                assert!(!Optimizer::new(settings(rule)).take_up(&network, 4, kept.clone()));
            }
            let mut flat = kept.clone();
            for kept in flat.values_mut() {
                if let Kept::Tensor(shape, _) = kept {
                    shape.insert(0, 1);
                }
            }
            assert!(!Optimizer::new(settings(rule)).take_up(&network, 3, flat));
            // Less, more, or of another parameter.
            for (at, name) in kept.keys().enumerate() {
                let mut less = kept.clone();
                let one = less.remove(name).unwrap();
                let mut third = Optimizer::new(settings(rule));
                assert!(!third.take_up(&network, 3, less.clone()), "{rule:?} {norm:?}: without {name} ({at})");
                assert!(third.kept().is_empty());
                less.insert(format!("other.{name}"), one);
                assert!(!third.take_up(&network, 3, less), "{rule:?} {norm:?}: other.{name}");
            }
            assert!(!Optimizer::new(settings(Rule::PLAIN)).take_up(&network, 3, kept), "plain descent keeps nothing");
        }
    }
}
