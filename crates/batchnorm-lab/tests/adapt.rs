//! Statistics of norms in networks that start from others, and those of averaged weights.

#![allow(missing_docs)]

use batchnorm_burn::norms;
use batchnorm_lab::averaging::{Average, Averaging, recalibrate};
use batchnorm_lab::data::{Data, Examples, Found, Parts, Set};
use batchnorm_lab::digits::{self, SHAPE};
use batchnorm_lab::network::{Affine, Freeze, Network, NormKind, Recipe, Statistics};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::schedule::Schedule;
use batchnorm_lab::training::{Batches, Score, Training, score};
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

/// The values of each parameter and running statistic, in the order of the data.
fn values(network: &Network) -> Vec<Vec<f64>> {
    struct Values(Vec<Vec<f64>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().iter::<f64>().collect());
        }
    }
    let mut values = Values(Vec::new());
    network.visit(&mut values);
    values.0
}

/// Sums of each example's values by weights `[inputs, units]`.
fn sums(values: &[f64], weights: &[f64], units: usize) -> Vec<f64> {
    let inputs = weights.len() / units;
    let of = |example: &[f64], unit: usize| {
        example.iter().zip(weights[unit..].iter().step_by(units)).map(|(x, w)| x * w).sum()
    };
    values.chunks(inputs).flat_map(|example| (0..units).map(move |unit| of(example, unit))).collect()
}

/// A training with an average, over some steps at one rate.
fn averaged(data: &Data, seed: u64, steps: usize, decay: f64) -> (Training, Network) {
    let plan = Plan {
        seed,
        steps,
        schedule: Schedule::CONSTANT,
        ..Plan::usual(recipe(NormKind::Batch), &data.summary, 12, Some(60))
    };
    let mut training = plan.training(plan.start(&data.summary), 0);
    let mut average = Average::new(Averaging::Exponential { decay }, training.network());
    let mut batches = Batches::new(data.train.len(), plan.batch_size, plan.seed);
    for step in 0..steps {
        let batch = plan.batch(data, batches.draw(), step).expect("they are in memory");
        training.step(&batch, plan.rate(step));
        average.take_in(training.network(), step + 1);
    }
    let network = average.network(training.network());
    (training, network)
}

#[test]
fn statistics_of_averaged_weights_are_those_of_the_data_behind_them() {
    const UNITS: usize = 24;
    let data = digits_as(|value| value);
    let (training, network) = averaged(&data, 1, 60, 0.95);
    let before = training.network().fingerprint();
    assert!(recalibrate(&network, &data, None).expect("finite values"));
    assert_eq!(training.network().fingerprint(), before, "the training's own network changed");
    // Each norm's statistics, in f64, from the weights alone: sample variances, as the layer keeps them; behind the first norm and
    // ReLU, by its new statistics, lies what the second one sees.
    let places: Vec<usize> = (0..data.train.len()).collect();
    let examples = data.train.read(&places).expect("they are in memory");
    let mut below: Vec<f64> = examples.values.into_iter().map(f64::from).collect();
    let of_network = values(&network);
    let norms = norms(&network);
    for (layer, norm) in norms.iter().enumerate() {
        // (Weights, gamma, beta, running mean, running variance of each hidden layer.)
        let [weights, gamma, beta, ..] = &of_network[5 * layer..] else { panic!("{} tensors", of_network.len()) };
        let found = sums(&below, weights, UNITS);
        let running = norm.running_statistics().expect("they are finite");
        let count = found.len() / UNITS;
        for unit in 0..UNITS {
            let of_unit = || found[unit..].iter().step_by(UNITS);
            let mean = of_unit().sum::<f64>() / count as f64;
            let variance = of_unit().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
            let off = (
                (running.mean()[unit] - mean).abs() / variance.sqrt(),
                (running.variance()[unit] / variance - 1.0).abs(),
            );
            assert!(off.0 < 1e-5 && off.1 < 1e-5, "layer {layer}, unit {unit}: {off:?}");
        }
        let normed = found.iter().enumerate().map(|(place, sum)| {
            let unit = place % UNITS;
            let root = (running.variance()[unit] + norm.epsilon).sqrt();
            ((sum - running.mean()[unit]) / root * gamma[unit] + beta[unit]).max(0.0)
        });
        below = normed.collect();
    }
}

#[test]
fn averaged_weights_score_as_the_last_ones_do_and_lose_less_by_statistics_of_their_own() {
    let data = digits_as(|value| value);
    let of = |network: &Network| score(network, &data.summary, &data.test).expect("they are in memory");
    let scores = [1, 2, 3, 4, 5].map(|seed| {
        let (training, network) = averaged(&data, seed, 150, 0.98);
        let kept = of(&network);
        recalibrate(&network, &data, None).expect("finite values");
        [of(training.network()), of(&network), kept]
    });
    println!("last, averaged, averaged by the training's statistics: {scores:?}");
    type Figure = fn(&Score) -> f64;
    let mean =
        |which: usize, of: Figure| scores.iter().map(|scores| of(&scores[which])).sum::<f64>() / scores.len() as f64;
    let (accuracy, loss): (Figure, Figure) = (|score| score.accuracy, |score| score.loss);
    let last = || scores.iter().map(|scores| scores[0].accuracy);
    let range = last().fold(0.0, f64::max) - last().fold(1.0, f64::min);
    assert!(mean(1, accuracy) >= mean(0, accuracy) - range, "{} {}", mean(1, accuracy), mean(0, accuracy));
    // (On digits, which are easy, the loss tells more than the accuracy.)
    assert!(mean(1, loss) < mean(2, loss), "{} {}", mean(1, loss), mean(2, loss));
}
