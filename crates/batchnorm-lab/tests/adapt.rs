//! Statistics of norms in networks that start from others, and those of averaged weights.

#![allow(missing_docs)]

use batchnorm_burn::norms;
use batchnorm_lab::averaging::{Average, Averaging, recalibrate};
use batchnorm_lab::data::{Data, Examples, Found, Parts, Set};
use batchnorm_lab::digits::{self, SHAPE};
use batchnorm_lab::network::{Affine, Freeze, Network, NormKind, Recipe, Statistics};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::training::{Batches, Training};
use batchnorm_lab::transfer::{Head, Transfer};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The digits, each value changed.
fn digits_as(change: impl Fn(f32) -> f32) -> Data {
    let Found { kind, classes, train, test } = digits::found();
    let changed = |set: Set| {
        let places: Vec<usize> = (0..set.len()).collect();
        let Examples { mut values, classes } = set.read(&places).expect("they are in memory");
        values.iter_mut().for_each(|value| *value = change(*value));
        Set::in_memory(SHAPE, Examples { values, classes })
    };
    let found = Found { kind, classes, train: changed(train), test: test.map(changed) };
    Data::new("digits", found, Parts::default(), false).expect("they are in memory")
}

fn recipe(norm: NormKind) -> Recipe {
    Recipe { hidden: vec![24, 24], norm, groups: 4, ..Recipe::default() }
}

fn trained(plan: &Plan, data: &Data, start: Network, steps: usize) -> Training {
    let mut training = plan.training(start, 0);
    let mut batches = Batches::new(data.train.len(), plan.batch_size, plan.seed);
    for step in 0..steps {
        let batch = plan.batch(data, batches.draw(), step).expect("they are in memory");
        assert!(training.step(&batch, plan.rate(step)).is_finite());
    }
    training
}

/// Running mean, running variance of each channel of each norm.
fn statistics(network: &Network) -> Vec<(f64, f64)> {
    let of_norm = |norm: &batchnorm_burn::Norm| {
        let running = norm.running_statistics().expect("they are finite");
        running.mean().iter().copied().zip(running.variance().iter().copied()).collect::<Vec<_>>()
    };
    norms(network).iter().flat_map(of_norm).collect()
}

/// The largest difference of means in standard deviations, and the largest factor between variances.
fn apart(a: &[(f64, f64)], b: &[(f64, f64)]) -> (f64, f64) {
    let pairs = a.iter().zip(b).filter(|(a, b)| a.1.max(b.1) > 1e-4);
    pairs.fold((0.0, 1.0), |(mean, factor): (f64, f64), (a, b)| {
        let of_variances = a.1 / b.1;
        (mean.max((a.0 - b.0).abs() / b.1.sqrt()), factor.max(of_variances.max(of_variances.recip())))
    })
}

#[test]
fn adapting_statistics_become_those_of_the_new_data_and_frozen_ones_stay() {
    for norm in [NormKind::Batch, NormKind::Renorm] {
        let (old, new) = (digits_as(|value| value), digits_as(|value| 0.3 * value + 1.5));
        let plan = Plan { steps: 300, ..Plan::usual(recipe(norm), &old.summary, 12, Some(100)) };
        let source = trained(&plan, &old, plan.start(&old.summary), 300).network().apart();
        let before = statistics(&source);
        for kept in [Statistics::Adapting, Statistics::Frozen] {
            let freeze = Freeze { layers: vec!["body".into()], statistics: kept, affine: Affine::Frozen };
            let transfer = Some(Transfer { from: String::new(), head: Head::New, freeze });
            let plan = Plan { transfer, ..plan.clone() };
            let start = plan.start_from(&new.summary, source.apart()).expect("the same shapes");
            let network = trained(&plan, &new, start, 200).network().apart();
            let after = statistics(&network);
            if kept == Statistics::Frozen {
                assert_eq!(before, after, "{norm:?}");
                continue;
            }
            // What a pass over all of the new data says.
            let exact = network.apart();
            assert!(recalibrate(&exact, &new, None).expect("finite values"));
            let (was, is) = (apart(&before, &statistics(&exact)), apart(&after, &statistics(&exact)));
            println!("{norm:?}: before {was:?}, after {is:?}");
            assert!(was.0 > 1.0 && was.1 > 4.0, "{norm:?}: the data are not new: {was:?}");
            // (A running average of some ten batches of 100: six standard errors of a mean, and of a variance of heavier tails.)
            assert!(is.0 < 0.1 && is.1 < 1.3, "{norm:?}: {is:?}");
        }
    }
}

/// The weights of the first layer, `[inputs, units]`.
fn first_weights(network: &Network) -> Vec<f64> {
    struct First(Option<Vec<f64>>);
    impl ModuleVisitor for First {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.get_or_insert_with(|| param.val().into_data().iter::<f64>().collect());
        }
    }
    let mut first = First(None);
    network.visit(&mut first);
    first.0.expect("a network has weights")
}

#[test]
fn statistics_of_averaged_weights_are_those_of_the_data_behind_them() {
    let data = digits_as(|value| value);
    let plan = Plan { steps: 60, ..Plan::usual(recipe(NormKind::Batch), &data.summary, 12, Some(60)) };
    let mut training = plan.training(plan.start(&data.summary), 0);
    let mut average = Average::new(Averaging::Exponential { decay: 0.95 }, training.network());
    let mut batches = Batches::new(data.train.len(), plan.batch_size, plan.seed);
    for step in 0..60 {
        let batch = plan.batch(&data, batches.draw(), step).expect("they are in memory");
        training.step(&batch, plan.rate(step));
        average.take_in(training.network(), step + 1);
    }
    let before = training.network().fingerprint();
    let network = average.network(training.network());
    assert!(recalibrate(&network, &data, None).expect("finite values"));
    assert_eq!(training.network().fingerprint(), before, "the training's own network changed");
    // The first norm's statistics, in f64, from the weights alone: sample variances, as the layer keeps them.
    let weights = first_weights(&network);
    let places: Vec<usize> = (0..data.train.len()).collect();
    let examples = data.train.read(&places).expect("they are in memory");
    for (unit, (mean, variance)) in statistics(&network).into_iter().take(24).enumerate() {
        let sums: Vec<f64> = examples
            .values
            .chunks(64)
            .map(|example| example.iter().enumerate().map(|(at, &x)| f64::from(x) * weights[at * 24 + unit]).sum())
            .collect();
        let expected = sums.iter().sum::<f64>() / sums.len() as f64;
        let squares: f64 = sums.iter().map(|sum| (sum - expected).powi(2)).sum();
        let spread = squares / (sums.len() - 1) as f64;
        assert!((mean - expected).abs() < 1e-5 * spread.sqrt().max(1e-3), "unit {unit}: {mean} {expected}");
        assert!((variance / spread - 1.0).abs() < 1e-5, "unit {unit}: {variance} {spread}");
    }
}
