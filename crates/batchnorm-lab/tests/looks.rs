//! What is read off networks: against what it must be, and that it changes nothing.

#![allow(missing_docs)]

use std::ops::ControlFlow;

use batchnorm_lab::data::{Data, Parts};
use batchnorm_lab::digits;
use batchnorm_lab::look::Look;
use batchnorm_lab::network::{Convolving, NormKind, Placement, Recipe, Stage, Start};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::random::{Purpose, generator};
use batchnorm_lab::training::Training;
use batchnorm_lab::trial::{Task, Trial, perform};
use burn::module::Module;

const SEED: u64 = 3;

fn data() -> Data {
    Data::new("digits", digits::found(), Parts { examples: Some(700), ..Parts::default() }, true)
        .expect("it is in memory")
}

fn plan(data: &Data, change: impl FnOnce(&mut Plan)) -> Plan {
    let recipe = Recipe { hidden: vec![40, 30], ..Recipe::default() };
    let mut plan =
        Plan { seed: SEED, steps: 60, evaluate_every: Some(20), ..Plan::usual(recipe, &data.summary, 1, Some(32)) };
    plan.schedule = batchnorm_lab::schedule::Schedule::CONSTANT;
    change(&mut plan);
    plan.check(&data.summary).expect("in range");
    plan
}

fn trial(data: &Data, plan: &Plan, looks: &[&str]) -> Trial {
    let looks: Vec<Look> = looks.iter().map(|look| look.parse().expect("a look")).collect();
    let task = Task { plan, data, looks: &looks, source: None };
    match perform(&task, &mut |_| ControlFlow::Continue(())).expect("the digits are in memory") {
        ControlFlow::Continue(trial) => trial,
        ControlFlow::Break(()) => unreachable!("nobody stops it"),
    }
}

fn value(trial: &Trial, what: &str, layer: Option<&str>, step: usize) -> f64 {
    let found = trial.readings.iter().find(|of| of.what == what && of.layer.as_deref() == layer && of.step == step);
    found.unwrap_or_else(|| panic!("no {what} of {layer:?} at {step} in {:?}", trial.readings)).value
}

#[test]
fn looks_change_nothing() {
    println!("seed {SEED}");
    let data = data();
    let all = [
        "training",
        "recalibrated",
        "batch",
        "batch:30:sorted",
        "shift:noise=0.3:64",
        "percentiles",
        "gradients",
        "weights",
        "variances",
        "folded",
    ];
    for norm in [NormKind::None, NormKind::Batch, NormKind::Renorm, NormKind::Group, NormKind::Decorrelated] {
        let plan = plan(&data, |plan| (plan.network.norm, plan.network.groups, plan.network.dropout) = (norm, 5, 0.2));
        let (with, without) = (trial(&data, &plan, &all), trial(&data, &plan, &[]));
        let curve = |trial: &Trial| {
            let bits = |loss: Option<f64>| loss.map(f64::to_bits);
            trial
                .curve
                .iter()
                .map(|at| (at.step, bits(at.training_loss), bits(at.test_loss), at.accuracy))
                .collect::<Vec<_>>()
        };
        assert_eq!(curve(&with), curve(&without), "{norm:?}");
        assert!(!with.readings.is_empty() && without.readings.is_empty());
    }
}

#[test]
fn by_all_test_examples_as_one_batch_is_recalibrated_on_all_of_them() {
    println!("seed {SEED}");
    let data = data();
    let all = data.summary.test;
    let (batch, recalibrated) = (format!("batch:{all}"), format!("shift:none:{all}"));
    let trial = trial(&data, &plan(&data, |_| ()), &[&batch, &recalibrated, "training", "shift:none"]);
    let by_batch = value(&trial, &format!("accuracy, by batches of {all}"), None, 60);
    let again = value(&trial, &format!("accuracy, unshifted, recalibrated on {all}"), None, 60);
    assert!((by_batch - again).abs() <= 1.01 / all as f64, "{by_batch} {again}");
    assert_eq!(Some(value(&trial, "accuracy, unshifted", None, 60)), trial.accuracy);
    let on_training = value(&trial, "accuracy on the training set", None, 60);
    assert!((on_training * 700.0 - (on_training * 700.0).round()).abs() < 1e-9);
    let gap = value(&trial, "training less test accuracy", None, 60);
    assert!((on_training - gap - trial.accuracy.unwrap()).abs() < 1e-12);
}

#[test]
fn weights_start_at_their_norm_and_statistics_follow_but_not_through_dropout() {
    println!("seed {SEED}");
    let data = data();
    let looks = ["weights", "variances", "gradients"];
    let at_start = |plan: &mut Plan| plan.network.start = Some(Start::Gaussian(0.05));
    let gaussian = trial(&data, &plan(&data, at_start), &looks);
    let norm = value(&gaussian, "weight norm", Some("hidden.1"), 0);
    // 1,200 numbers of deviation .05; three standard errors are 6 %.
    assert!((norm / (0.05 * 1200f64.sqrt()) - 1.0).abs() < 0.06, "{norm}");
    let rate = value(&gaussian, "effective learning rate", Some("hidden.1"), 0);
    assert!((rate * norm * norm / 0.1 - 1.0).abs() < 1e-9, "{rate}");
    assert!(value(&gaussian, "gradient norm", Some("output"), 60) > 0.0);
    let ratio = |dropout: f64| {
        let plan = plan(&data, |plan| (plan.network.dropout, plan.steps, plan.learning_rate) = (dropout, 400, 0.01));
        value(&trial(&data, &plan, &looks), "running over real variance", Some("hidden.1"), 400)
    };
    // Half of the inputs dropped and the others doubled: E[x^2] is twice what it is without (Li et al. 2019).
    let (without, with) = (ratio(0.0), ratio(0.5));
    assert!((without - 1.0).abs() < 0.15 && with > 1.3, "{without} {with}");
}

#[test]
fn ghost_batches_are_batches_of_their_own() {
    println!("seed {SEED}");
    let data = data();
    let network = |ghost: Option<usize>| {
        let plan = plan(&data, |plan| plan.network.ghost = ghost);
        plan.start(&data.summary)
    };
    let (whole, ghost) = (network(None), network(Some(8)));
    let examples = data.train.read(&(0..24).collect::<Vec<_>>()).expect("it is in memory");
    let input = |places: std::ops::Range<usize>| {
        let part = examples.select(&places.collect::<Vec<_>>());
        burn::tensor::Tensor::<2>::from_data(
            burn::tensor::TensorData::new(part.values.clone(), [part.len(), 64]),
            &Training::device(),
        )
    };
    let scores = |network: &batchnorm_lab::network::Network, places| {
        let network = network.apart();
        network
            .forward_train(input(places), &mut generator(SEED, Purpose::Dropout(0)))
            .into_data()
            .iter::<f32>()
            .collect::<Vec<_>>()
    };
    let parts: Vec<f32> = [0..8, 8..16, 16..24].into_iter().flat_map(|places| scores(&whole, places)).collect();
    assert_eq!(scores(&ghost, 0..24), parts);
    assert_ne!(scores(&whole, 0..24), parts);
    // In use it goes by running statistics, as any batch norm.
    assert_eq!(
        ghost.valid().forward_eval(input(0..8)).scores.into_data(),
        whole.valid().forward_eval(input(0..8)).scores.into_data()
    );
}

#[test]
fn folded_norms_change_scores_by_rounding_and_no_class() {
    println!("seed {SEED}");
    let data = data();
    let read = |change: &dyn Fn(&mut Plan)| trial(&data, &plan(&data, change), &["folded"]);
    let convolutions = vec![Convolving { channels: 8, kernel: 3, pool: 2 }];
    let stages = vec![Stage { channels: 8, blocks: 1 }, Stage { channels: 12, blocks: 1 }];
    for (norm, stages) in [(NormKind::Batch, vec![]), (NormKind::Renorm, vec![]), (NormKind::Batch, stages)] {
        let folded = read(&|plan| {
            plan.network.norm = norm;
            plan.network.convolutions = convolutions.clone();
            plan.network.stages = stages.clone();
        });
        let of = |what: &str| value(&folded, what, None, 60);
        let change = of("the same over the largest score");
        assert!(change > 0.0 && change < 1e-5, "{change}: rounding, of layers that are not the same");
        assert!(of("largest change of a score by folding") > 0.0);
        assert_eq!(of("test examples put in another class by folding"), 0.0);
        assert_eq!(Some(of("accuracy, folded")), folded.accuracy);
        assert!(of("time of a pass folded over unfolded") > 0.0);
    }
    // No batch norm, or none right behind a linear map.
    assert!(read(&|plan| plan.network.norm = NormKind::None).readings.is_empty());
    assert!(read(&|plan| plan.network.placement = Placement::After).readings.is_empty());
}
