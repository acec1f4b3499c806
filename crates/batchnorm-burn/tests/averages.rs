//! Averages without their start, plain means of all batches, batch renormalisation: against the core, in records, clones and
//! replicas, and what they leave alone in layers that have none of it.

#![allow(missing_docs)]

mod support;

use std::thread;
use std::time::Duration;

use batchnorm::{
    Averaged, Averaging, Config, NormalizeBy, Parameters, Renormalization, RunningStatistics, Switches, Team,
    UpdateWeight,
};
use batchnorm_burn::{BatchNorm, BatchNormConfig, Participant, RunningAverage, RunningVariance};
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor, TensorData};
use support::net::{device, moments, state};
use support::{Source, bits, floats};

const AVERAGES: [RunningAverage; 3] =
    [RunningAverage::Exponential, RunningAverage::Debiased, RunningAverage::Cumulative];

/// The same average in the core.
fn averaging(average: RunningAverage) -> Averaging {
    let weight = UpdateWeight::of_new(0.1).unwrap();
    match average {
        RunningAverage::Exponential => weight.into(),
        RunningAverage::Debiased => Averaging::Debiased(weight),
        RunningAverage::Cumulative => Averaging::Cumulative,
    }
}

fn batches(seed: u64, number: usize) -> Vec<Tensor<2>> {
    let mut source = Source::new(seed);
    (0..number).map(|at| source.tensor::<2>(&[3 + at % 4, 3], &device()) * 2.0 + at as f64).collect()
}

/// Every step starts from what is stored, in `f32`, and is rounded once.
#[test]
fn each_step_is_the_core_s_rounded_once() {
    for average in AVERAGES {
        for averaged in [Averaged::Variance, Averaged::Deviation] {
            let config = BatchNormConfig::new(3).with_averaging(average).with_averaged(averaged);
            let norm = config.init(&device());
            let options = Config::pytorch().averaging(averaging(average)).averaged(averaged);
            let mut expected = RunningStatistics::start(3).unwrap();
            for x in batches(4501, 12) {
                expected.update(&moments(&x), &options).unwrap();
                norm.forward_train(x);
                let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
                let (mean, variance) = (narrow(expected.mean()), narrow(expected.variance()));
                assert_eq!(floats(norm.running_mean.value()), mean, "{average:?} {averaged:?}");
                assert_eq!(floats(norm.running_var.value()), variance, "{average:?} {averaged:?}");
                let counted = norm.running_statistics().unwrap().updates().to_vec();
                let counts = average != RunningAverage::Exponential;
                assert_eq!(counted, if counts { expected.updates().to_vec() } else { vec![0; 3] });
                expected = RunningStatistics::from_parts(&mean, &variance, expected.batches())
                    .and_then(|stored| stored.with_updates(expected.updates()))
                    .unwrap();
            }
        }
    }
}

#[test]
fn evaluation_by_a_debiased_average_is_right_from_the_first_batch_on() {
    let config = BatchNormConfig::new(3).with_averaging(RunningAverage::Debiased);
    let norm = config.with_running_variance(RunningVariance::Population).init(&device());
    let x = batches(4502, 1).remove(0);
    let trained = floats(norm.forward_train(x.clone()));
    let evaluated = floats(norm.forward_eval(x));
    assert!(trained.iter().zip(evaluated).all(|(one, other)| (one - other).abs() < 1e-5));
}

/// Names of the vectors that a record has.
fn names(norm: &BatchNorm) -> Vec<String> {
    struct Names(Vec<String>);
    impl ModuleVisitor for Names {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_string());
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {}
    }
    let mut names = Names(Vec::new());
    norm.visit(&mut names);
    names.0
}

#[test]
fn the_count_is_saved_and_a_layer_without_one_has_the_record_that_it_had() {
    let plain = BatchNormConfig::new(3).init(&device());
    assert_eq!(names(&plain), ["gamma", "beta", "training", "running_mean", "running_var"]);
    let stored = serde_json::to_string(&BatchNormConfig::new(3)).unwrap();
    assert_eq!(stored, r#"{"num_features":3,"epsilon":0.00001,"momentum":0.1}"#);
    for renormalization in [None, Some(Renormalization::new(3.0, 5.0).unwrap().warm_up(2, 9, 6).unwrap())] {
        for average in AVERAGES {
            let config = BatchNormConfig::new(3).with_averaging(average).with_renormalization(renormalization);
            let again: BatchNormConfig = serde_json::from_str(&config.to_string()).unwrap();
            assert_eq!(again, config);
            let through = config.init(&device());
            let mut resumed = config.init(&device());
            for x in batches(4503, 12) {
                let [one, other] = [&through, &resumed].map(|norm| bits(norm.forward_train(x.clone())));
                assert_eq!(one, other);
                let bytes = resumed.clone().unfreeze().into_record().into_bytes().unwrap();
                resumed = config.init(&device()).load_record(ModuleRecord::from_bytes(bytes).unwrap());
            }
            assert_eq!(state(&through), state(&resumed), "{average:?}");
            assert_eq!(through.running_statistics().unwrap(), resumed.running_statistics().unwrap());
        }
    }
}

#[test]
fn clones_forks_and_replicas_count_too() {
    let config = BatchNormConfig::new(3).with_averaging(RunningAverage::Debiased);
    let norm = config.init(&device());
    let inputs = batches(4504, 5);
    norm.forward_train(inputs[0].clone());
    let copies = [norm.clone().unfreeze(), norm.clone().fork(&device()).unfreeze(), norm.valid(), norm.clone().train()];
    for copy in &copies {
        assert_eq!(copy.running_statistics().unwrap(), norm.running_statistics().unwrap());
    }
    // A model of its own counts for itself.
    copies[0].forward_train(inputs[1].clone());
    assert_eq!(copies[0].running_statistics().unwrap().updates(), [2; 3]);
    assert_eq!(norm.running_statistics().unwrap().updates(), [1; 3]);
    // What replicas have seen is one update.
    let pooled = moments(&inputs[2]).merge(&moments(&inputs[3])).unwrap();
    let alone = norm.valid();
    alone.commit(&pooled).unwrap();
    for x in &inputs[2..4] {
        let (replica, x) = (norm.clone(), x.clone());
        thread::spawn(move || drop(replica.fork(&device()).forward(x))).join().unwrap();
    }
    assert_eq!(norm.running_statistics().unwrap().updates(), [2; 3]);
    assert_eq!(norm.running_statistics().unwrap(), alone.running_statistics().unwrap());
    // A channel that was skipped has its first batch later.
    let mut values = floats(inputs[4].clone());
    values[1] = f32::NAN;
    let rows = values.len() / 3;
    let bad = Tensor::<2>::from_data(TensorData::new(values, [rows, 3]), &device());
    norm.forward_train(bad);
    assert_eq!(norm.running_statistics().unwrap().updates(), [3, 2, 3]);
    // Installed statistics bring their own count.
    norm.set_running_statistics(&RunningStatistics::start(3).unwrap()).unwrap();
    norm.forward_train(inputs[0].clone());
    assert_eq!(norm.running_statistics().unwrap().updates(), [1; 3]);
}

/// y, dx, dgamma and dbeta.
fn step(norm: &BatchNorm, x: &Tensor<2>, dy: &Tensor<2>) -> [Vec<u32>; 4] {
    let x = x.clone().require_grad();
    let y = norm.forward_train(x.clone());
    let gradients = (y.clone() * dy.clone()).sum().backward();
    let of = |param: &Param<Tensor<1>>| bits(param.grad(&gradients).unwrap());
    [bits(y), bits(x.grad(&gradients).unwrap()), of(&norm.gamma), of(&norm.beta)]
}

#[test]
fn renormalisation_is_the_core_s_and_batch_norm_where_its_limits_are_closed() {
    let mut source = Source::new(4505);
    let dy: Tensor<2> = source.tensor(&[4, 3], &device());
    let limits = |r_max, d_max| Renormalization::new(r_max, d_max).unwrap();
    for ghost in [None, Some(2)] {
        let config = BatchNormConfig::new(3).with_ghost(ghost);
        let plain = config.init(&device());
        let closed = config.clone().with_renormalization(limits(1.0, 0.0)).init(&device());
        let open = config.with_renormalization(limits(2.0, 0.5)).init(&device());
        let rule = Config::pytorch().renormalization(limits(2.0, 0.5)).normalizer().unwrap();
        for at in 0..6 {
            let x: Tensor<2> = source.tensor::<2>(&[4, 3], &device()) * 3.0 + f64::from(at);
            assert_eq!(step(&plain, &x, &dy), step(&closed, &x, &dy));
            assert_eq!(state(&plain), state(&closed));
            let running = open.running_statistics().unwrap();
            let (values, upstream) = (floats(x.clone()), floats(dy.clone()));
            let view = |data| batchnorm::View::new(data, &[4, 3], batchnorm::Axes::NCHW).unwrap();
            let [mut y, mut dx] = [[0.0f32; 12]; 2];
            let (x_view, dy_view) = (view(&values), view(&upstream));
            let out = &mut batchnorm::ViewMut::new(&mut y, &[4, 3], batchnorm::Axes::NCHW).unwrap();
            let into = &mut batchnorm::ViewMut::new(&mut dx, &[4, 3], batchnorm::Axes::NCHW).unwrap();
            let none = Parameters::<f32>::default();
            let of = match ghost {
                None => {
                    let (saved, _) = rule.train(&x_view, none, Some(&running), out).unwrap();
                    saved.backward(&x_view, &dy_view, into).unwrap()
                }
                Some(_) => {
                    let two = std::num::NonZeroUsize::new(2).unwrap();
                    let (saved, _) = rule.train_ghost(&x_view, two, none, Some(&running), out).unwrap();
                    saved.backward(&x_view, &dy_view, into).unwrap()
                }
            };
            let narrow = |values: &[f64]| values.iter().map(|&value| (value as f32).to_bits()).collect::<Vec<u32>>();
            let [got_y, got_dx, dgamma, dbeta] = step(&open, &x, &dy);
            assert_eq!([got_y, got_dx], [y, dx].map(|values| values.map(f32::to_bits).to_vec()));
            assert_eq!([dgamma, dbeta], [narrow(&of.dgamma), narrow(&of.dbeta)]);
        }
    }
}

/// A mix and renormalisation by participants are those of the one large batch.
#[test]
fn participants_renormalise_and_mix_as_one_batch() {
    let whole: Tensor<2> = Source::new(4506).tensor::<2>(&[8, 3], &Device::default()) * 2.0 + 1.0;
    let config = BatchNormConfig::new(3);
    let renormalized = config.clone().with_renormalization(Renormalization::new(1.5, 0.3).unwrap());
    let mix = NormalizeBy::Mix(UpdateWeight::of_new(0.3).unwrap());
    let mix = Switches { normalize_by: mix, ..Switches::train() };
    for (config, switches) in [(config, mix), (renormalized, Switches::train())] {
        let alone = config.init(&Device::default());
        let expected = floats(alone.try_forward_by(whole.clone(), switches).unwrap().output);
        let team = Team::of(2, Duration::from_secs(60));
        let parts: Vec<Vec<f32>> = thread::scope(|scope| {
            let threads: Vec<_> = team
                .into_iter()
                .zip([0..3, 3..8])
                .map(|(member, rows)| {
                    let (mut norm, x) = (config.init(&Device::default()), whole.clone().slice([rows, 0..3]));
                    norm.participant = Some(Participant::new(member));
                    scope.spawn(move || floats(norm.try_forward_by(x, switches).unwrap().output))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let close = parts.concat().iter().zip(&expected).all(|(got, expected)| (got - expected).abs() < 1e-6);
        assert!(close, "{switches:?}");
    }
}

#[test]
fn a_count_that_is_missing_is_told_and_made_by_the_methods() {
    let x = batches(4507, 1).remove(0);
    let norm = BatchNormConfig::new(3).init(&device());
    let by_field = BatchNorm { averaging: RunningAverage::Cumulative, ..norm.clone().unfreeze() };
    let error = by_field.try_forward_train(x.clone()).map(drop).unwrap_err().to_string();
    assert!(error.contains("updates: expected the updates of each channel"), "{error}");
    assert_eq!(state(&by_field), state(&norm));
    let limits = Renormalization::new(3.0, 5.0).unwrap();
    for norm in [norm.clone().averaging_by(RunningAverage::Debiased, 0), norm.clone().renormalizing(limits)] {
        norm.forward_train(x.clone());
        assert_eq!(norm.running_statistics().unwrap().updates(), [1; 3]);
    }
}

/// What a layer has learned is not lost to the first batch of another average.
#[test]
fn another_average_goes_on_from_what_is_there() {
    let x = batches(4508, 2);
    let trained = BatchNormConfig::new(3).init(&device());
    for _ in 0..50 {
        trained.forward_train(x[0].clone());
    }
    let before = floats(trained.running_mean.value());
    let batch: Vec<f64> = moments(&x[1]).channels().iter().map(|channel| channel.mean()).collect();
    // Debiased behind 50 updates or an unknown number: a batch weighs about its 0.1; behind none it is all there is.
    for (updates, share) in [(u64::MAX, 0.1), (49, 0.1 / (1.0 - 0.9f64.powi(50))), (0, 1.0)] {
        let norm = trained.clone().train().averaging_by(RunningAverage::Debiased, updates);
        norm.forward_train(x[1].clone());
        let after = floats(norm.running_mean.value());
        for ((before, after), batch) in before.iter().zip(&after).zip(&batch) {
            let expected = f64::from(*before) * (1.0 - share) + batch * share;
            assert!((f64::from(*after) - expected).abs() < 1e-5, "{updates}: {after} {expected}");
        }
    }
    // A plain mean of 50 batches and one more.
    let norm = trained.clone().train().averaging_by(RunningAverage::Cumulative, 50);
    norm.forward_train(x[1].clone());
    for ((before, after), batch) in before.iter().zip(floats(norm.running_mean.value())).zip(&batch) {
        assert!((f64::from(after) - (f64::from(*before) * 50.0 + batch) / 51.0).abs() < 1e-5);
    }
}
