//! Checkpoints between conventions: names, estimators, weights and counts, each with what users of these frameworks ran
//! into (the number of the thread in their trackers is in the test's name).

use crate::support::Random;
use batchnorm::{
    Averaging, Axes, BatchNorm, Config, ConfigError, Convention, Conversion, Difference, Estimator, Guess,
    RunningStatistics, UpdateWeight, View,
};

fn assert_close(got: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= relative * expected.abs(), "{got:?}, expected {expected:?}");
    }
}

/// Running statistics of some batches of `n` values for 3 channels.
fn trained(config: Config, n: usize, batches: usize, seed: u64) -> RunningStatistics {
    let mut random = Random::new(seed);
    let mut layer = config.channels(3).build().expect("a layer");
    for _ in 0..batches {
        let x = random.normals(3 * n, 2.0, 1.5);
        layer.train(&View::new(&x, &[n, 3], Axes::NCHW).expect("rows of 3")).expect("a right call");
    }
    layer.running().expect("tracked").clone()
}

#[test]
fn a_converted_variance_is_what_the_other_estimator_would_have_become() {
    let mut worst = 0.0f64;
    for (n, batches) in [(2, 1), (2, 7), (5, 30), (32, 4), (1000, 3)] {
        for new in [0.1, 0.01, 0.5] {
            for (from, to) in [
                (Convention::PyTorch, Convention::Burn),
                (Convention::Burn, Convention::PyTorch),
                (Convention::PyTorch, Convention::Keras),
                (Convention::Flax, Convention::PyTorch),
            ] {
                let weight = UpdateWeight::of_new(new).expect("a weight");
                let run = |convention: Convention| trained(convention.config().averaging(weight), n, batches, 1300);
                let (ours, theirs) = (run(from), run(to));
                let conversion = Conversion::new(from, to).averaging(weight).values(n as u64).updates(batches as u64);
                let converted = conversion.statistics(ours.mean(), ours.variance(), None).expect("right");
                assert_eq!(converted.mean, theirs.mean());
                assert_close(&converted.variance, theirs.variance(), 1e-14);
                for (got, expected) in converted.variance.iter().zip(theirs.variance()) {
                    worst = worst.max((got / expected - 1.0).abs());
                }
            }
        }
    }
    println!("converted against simulated: {worst:.1e}");
}

#[test]
fn a_plain_mean_keeps_nothing_of_its_start() {
    let run = |estimator| trained(Config::pytorch().averaging(Averaging::Cumulative).estimator(estimator), 4, 6, 1301);
    let (sample, population) = (run(Estimator::Sample), run(Estimator::Population));
    let conversion = Conversion::new(Convention::PyTorch, Convention::Keras).averaging(Averaging::Cumulative).values(4);
    let converted = conversion.statistics(sample.mean(), sample.variance(), Some(6)).expect("right");
    assert_close(&converted.variance, population.variance(), 1e-14);
    let sentence = &converted.note(Difference::Momentum).expect("Keras has no plain mean").sentence;
    assert!(sentence.contains("plain mean"), "{sentence}");
}

#[test]
fn there_and_back_again() {
    let mut random = Random::new(1302);
    let mean = random.normals(7, 0.0, 3.0);
    let variance: Vec<f64> = (0..7).map(|_| 0.5 + random.uniform()).collect();
    // (Darknet's eps is elsewhere, and neither it nor Haiku has a share of a start in its variance.)
    let alike = |convention: &Convention| !matches!(convention, Convention::Darknet | Convention::Haiku);
    for from in Convention::ALL.into_iter().filter(alike) {
        for to in Convention::ALL.into_iter().filter(alike) {
            for updates in [None, Some(40), Some(1_000_000)] {
                let with = |conversion: Conversion| match updates {
                    Some(updates) => conversion.updates(updates).values(12),
                    None => conversion.values(12),
                };
                let weight = UpdateWeight::of_new(0.05).expect("a weight");
                let there = with(Conversion::new(from, to)).averaging(weight).epsilon(1e-4);
                let there = there.statistics(&mean, &variance, None).expect("right");
                let back = with(Conversion::new(to, from)).averaging(weight).epsilon(1e-4);
                let back = back.statistics(&there.mean, &there.variance, there.batches).expect("right");
                assert_eq!(back.mean, mean);
                assert_close(&back.variance, &variance, 1e-15);
                assert_eq!((there.config.epsilon, back.config.epsilon), (1e-4, 1e-4));
                assert_eq!(there.config.averaging, Averaging::from(weight));
                assert_eq!(there.config.estimator, to.estimator());
                if from == to {
                    assert_eq!(there.variance, variance);
                    let kept = [Difference::Epsilon, Difference::Momentum, Difference::Batches];
                    assert!(there.notes.iter().all(|note| kept.contains(&note.difference)), "{:?}", there.notes);
                }
            }
        }
    }
}

#[test]
fn every_difference_is_one_sentence() {
    let sentences = |conversion: Conversion, batches| -> Vec<String> {
        let converted = conversion.statistics(&[0.0], &[2.0], batches).expect("right");
        let all: Vec<String> = converted.notes.iter().map(ToString::to_string).collect();
        all.iter().for_each(|sentence| println!("{sentence}"));
        assert!(all.iter().all(|sentence| sentence.ends_with('.') && !sentence.contains(". ")));
        all
    };
    let keras = sentences(Conversion::new(Convention::PyTorch, Convention::Keras).values(32), Some(50));
    assert_eq!(
        keras,
        [
            "Names: PyTorch's weight is gamma, bias is beta, running_mean is moving_mean, running_var is moving_variance in Keras.",
            "Variance: PyTorch stores the sample, Keras the population variance; what 50 updates left of its start value 1, 5.2e-3, was taken out, the rest multiplied by (32 - 1) / 32, and it was put back.",
            "Momentum: PyTorch's 0.1 is the weight of the new value, Keras names that of the old one: 0.9, to be set, for Keras's default is 0.99.",
            "Epsilon: kept as trained, 1e-5; to be set, for Keras's default is 0.001.",
            "Count: num_batches_tracked, 50, was dropped: Keras keeps none.",
        ]
    );
    let unknown = sentences(Conversion::new(Convention::Flax, Convention::PyTorch), None);
    assert_eq!(
        unknown,
        [
            "Names: Flax's scale is weight, mean is running_mean, var is running_var in PyTorch.",
            "Variance: Flax stores the population, PyTorch the sample variance; it was left as it is, for the number n of values a channel in a batch, which makes the factor n / (n - 1), is not known.",
            "Momentum: Flax's 0.99 is the weight of the old value, PyTorch names that of the new one: 0.01, to be set, for PyTorch's default is 0.1.",
            "Count: num_batches_tracked was made up as 0, for Flax keeps none; it matters to momentum=None alone.",
        ]
    );
    let burn = sentences(Conversion::new(Convention::PyTorch, Convention::Burn).values(8), None);
    assert_eq!(burn.len(), 2);
    assert!(burn[1].contains("with what is left in it of its start value 1, for the number of updates is not known"));
    let onnx = sentences(Conversion::new(Convention::PyTorch, Convention::Onnx).values(8), Some(100_000_000));
    assert!(onnx[1].contains("nothing of its start value 1 is left in it"));
    assert!(onnx[2].contains("0.9, which is ONNX's default"));
    assert_eq!(sentences(Conversion::new(Convention::Keras, Convention::Keras), None), [""; 0]);
}

/// pytorch 15298: is momentum the weight of the new or of the old value?
#[test]
fn pytorch_15298_momentum_is_the_weight_of_the_new_value_there_and_of_the_old_elsewhere() {
    let weight = Convention::PyTorch.update_weight(0.1).expect("a weight");
    assert_eq!((weight.new_value(), weight.old_value()), (0.1, 0.9));
    assert_eq!(Convention::Onnx.momentum(weight), 0.9);
    assert_eq!(Convention::Burn.momentum(weight), 0.1);
    let weight = Convention::Keras.update_weight(0.99).expect("a weight");
    assert_eq!((weight.old_value(), Convention::Flax.momentum(weight)), (0.99, 0.99));
    for convention in Convention::ALL {
        let weight = convention.config().averaging.update_weight().expect("every preset has a weight");
        let number = convention.momentum(weight);
        assert_eq!(convention.update_weight(number), Ok(weight), "{convention}");
        assert!(matches!(convention.update_weight(1.5), Err(ConfigError::Weight { .. })));
    }
    // The same layer by either name follows its batches alike.
    let x = Random::new(1303).normals(40, 1.0, 1.0);
    let x = View::new(&x, &[40, 1], Axes::NCHW).expect("one channel");
    let running = |config: Config| {
        let mut layer = config.estimator(Estimator::Population).channels(1).build().expect("a layer");
        layer.train(&x).expect("a right call");
        layer.running().expect("tracked").clone()
    };
    let flax = Config::flax();
    let theirs =
        Conversion::new(Convention::Flax, Convention::PyTorch).statistics(&[0.0], &[1.0], None).expect("right");
    assert_eq!(running(flax), running(theirs.config));
}

/// vision 8250: models shipped with PyTorch's momentum set to 0.99, which was meant as Keras' weight of the old value.
#[test]
fn vision_8250_a_weight_of_0_99_for_the_new_value_is_pointed_out() {
    let shipped = UpdateWeight::of_new(0.99).expect("a weight");
    for to in Convention::ALL {
        let conversion = Conversion::new(Convention::PyTorch, to).averaging(shipped);
        let converted = conversion.statistics(&[0.0], &[1.0], None).expect("right");
        let sentence = &converted.note(Difference::Momentum).expect("pointed out").sentence;
        println!("{sentence}");
        assert!(sentence.contains("0.99") && sentence.contains("UpdateWeight::of_old(0.99)"));
        // It is kept all the same: what was trained is what counts.
        assert_eq!(converted.config.averaging.update_weight(), Some(shipped));
    }
}

/// pytorch 19902: the running variance is the sample variance, although batches are normalised by the population's.
#[test]
fn pytorch_19902_the_running_variance_is_the_sample_variance() {
    let x = [1.0, 2.0, 4.0, 9.0]; // M2 = 38
    let x = View::new(&x, &[4, 1], Axes::NCHW).expect("one channel");
    let all = UpdateWeight::of_new(1.0).expect("a weight");
    for (convention, expected) in [(Convention::PyTorch, 38.0 / 3.0), (Convention::Keras, 38.0 / 4.0)] {
        let mut layer = convention.config().averaging(all).channels(1).build().expect("a layer");
        let trained = layer.train(&x).expect("a right call");
        assert_eq!(trained.batch.channels()[0].population_variance(), 9.5);
        assert_eq!(layer.running().expect("tracked").variance(), [expected]);
    }
}

/// mlx 3817: a framework that changes from the population to the sample variance, and files from before.
#[test]
fn mlx_3817_old_files_by_the_population_variance_become_the_sample_variance() {
    assert_eq!(Estimator::Population.factor_to(Estimator::Sample, 4), Ok(4.0 / 3.0));
    assert_eq!(Estimator::Sample.factor_to(Estimator::Population, 4), Ok(0.75));
    assert_eq!(Estimator::Sample.factor_to(Estimator::Sample, 0), Ok(1.0));
    let error = Estimator::Population.factor_to(Estimator::Sample, 1).unwrap_err();
    assert_eq!(error, ConfigError::FewValues { argument: "values", got: 1 });
    println!("{error}");
}

/// tt-metal 55438: a kernel stored the population variance where PyTorch's was compared with; small batches show it.
#[test]
fn tt_metal_55438_the_estimators_differ_by_half_for_batches_of_two() {
    let one = Conversion::new(Convention::PyTorch, Convention::Onnx).values(2).updates(u64::MAX);
    assert_eq!(one.statistics(&[0.0], &[3.0], None).expect("right").variance, [1.5]);
    let back = Conversion::new(Convention::Onnx, Convention::PyTorch).values(2).updates(u64::MAX);
    assert_eq!(back.statistics(&[0.0], &[1.5], None).expect("right").variance, [3.0]);
}

/// pytorch 12528: files with a `num_batches_tracked` too many, or without one.
#[test]
fn pytorch_12528_num_batches_tracked_may_be_there_or_not() {
    let keys = ["weight", "bias", "running_mean", "running_var"];
    assert_eq!(Convention::guess(keys).and_then(Guess::one), Ok(Convention::PyTorch));
    let counted = Convention::guess(keys.into_iter().chain(["num_batches_tracked"]));
    assert_eq!(counted.and_then(Guess::one), Ok(Convention::PyTorch));
    let convert = |from, to, batches| Conversion::new(from, to).statistics(&[0.0], &[1.0], batches).expect("right");
    let same = convert(Convention::PyTorch, Convention::PyTorch, Some(7));
    assert_eq!((same.batches, same.notes.len()), (Some(7), 0));
    let absent = convert(Convention::PyTorch, Convention::PyTorch, None);
    assert_eq!(absent.batches, None);
    assert!(absent.note(Difference::Batches).expect("said").sentence.contains("absent, which is fine"));
    let dropped = convert(Convention::PyTorch, Convention::Burn, Some(7));
    assert_eq!(dropped.batches, None);
    assert!(dropped.note(Difference::Batches).expect("said").sentence.contains("dropped"));
    let made_up = convert(Convention::Burn, Convention::PyTorch, None);
    assert_eq!(made_up.batches, Some(0));
    assert!(made_up.note(Difference::Batches).expect("said").sentence.contains("made up as 0"));
    // A count that somebody made up is not taken for the number of updates.
    let old = Conversion::new(Convention::PyTorch, Convention::Keras).values(2);
    assert_eq!(old.statistics(&[0.0], &[0.5], Some(0)).expect("right").variance, [0.25]);
    assert_eq!(old.statistics(&[0.0], &[1.0], Some(0)).expect("the start").variance, [1.0]);
    let counted = Conversion::new(Convention::Burn, Convention::PyTorch).updates(12);
    assert_eq!(counted.statistics(&[0.0], &[1.0], None).expect("right").batches, Some(12));
}

/// burn 2642: a layer with PyTorch's numbers gave other results, for eps and variance meant other things.
#[test]
fn burn_2642_a_layer_from_pytorch_evaluates_as_it_did() {
    let ours = trained(Config::pytorch(), 16, 12, 1304);
    // Without a conversion the evaluation is the same: it asks for no estimator.
    let conversion = Conversion::new(Convention::PyTorch, Convention::Burn).values(16);
    let converted = conversion.statistics(ours.mean(), ours.variance(), Some(12)).expect("right");
    let mut theirs: BatchNorm = converted.config.clone().build().expect("a layer");
    theirs.set_running(converted.running().expect("right")).expect("three");
    assert_eq!((theirs.config().epsilon, theirs.config().estimator), (1e-5, Estimator::Population));
    // And after more of the same batches it is what Burn's own would have become.
    let population = trained(Config::burn(), 16, 12, 1304);
    assert_close(theirs.running().expect("tracked").variance(), population.variance(), 1e-14);
}

#[test]
fn statistics_that_nobody_trained_are_errors_that_name_them() {
    let conversion = Conversion::new(Convention::PyTorch, Convention::Keras).values(8);
    let fails = |conversion: &Conversion, mean: &[f64], variance: &[f64], batches, says: &[&str]| {
        let message = conversion.statistics(mean, variance, batches).unwrap_err().to_string();
        println!("{message}");
        assert!(says.iter().all(|part| message.contains(part)), "{message} lacks one of {says:?}");
    };
    fails(&conversion, &[], &[], None, &["channels", "0"]);
    fails(&conversion, &[0.0, 1.0], &[1.0], None, &["running_variance", "2", "1"]);
    fails(&conversion, &[0.0, f64::NAN], &[1.0, 1.0], None, &["running_mean[1]", "NaN"]);
    fails(&conversion, &[0.0, 0.0], &[1.0, -0.5], None, &["running_variance[1]", "-0.5"]);
    fails(&conversion, &[0.0], &[f64::INFINITY], None, &["running_variance[0]", "inf"]);
    fails(&conversion.clone().values(1), &[0.0], &[1.0], None, &["values", "2", "1"]);
    fails(&conversion.clone().epsilon(-1.0), &[0.0], &[1.0], None, &["epsilon", "-1"]);
    fails(&conversion.clone().updates(2), &[0.0], &[0.5], None, &["running_variance[0]", "8.1", "2 updates", "0.5"]);
    // A hair below, by a rounding to f32, is none.
    let variance = f64::from((0.9f64 * 0.9) as f32) - 1e-8;
    let converted = conversion.statistics(&[0.0], &[variance], Some(2)).expect("rounded");
    assert!((converted.variance[0] - 0.81).abs() < 1e-7);
}
