//! The policies for degenerate cases: one type, and the same words as of batch norm.

use crate::support::Random;
use batchnorm::{
    Axes, CallError, ConfigError, EmptyBatch, Grouping, NonFinite, Policies, SampleConfig, SampleNorm, SingleValue,
    View,
};

/// Every grouping, for 6 channels (or last elements), with a shape that leaves one value to normalise.
fn of_one_value() -> [(Grouping, usize, Vec<usize>); 8] {
    [
        (Grouping::Layer { axes: 1 }, 1, vec![4, 1]),
        (Grouping::Layer { axes: 2 }, 1, vec![4, 1, 1]),
        (Grouping::Rms { axes: 1 }, 1, vec![4, 1]),
        (Grouping::Group { groups: 6 }, 6, vec![4, 6]),
        (Grouping::Group { groups: 6 }, 6, vec![4, 6, 1, 1]),
        (Grouping::GroupRms { groups: 6 }, 6, vec![4, 6]),
        (Grouping::GroupRms { groups: 6 }, 6, vec![4, 6, 1, 1]),
        (Grouping::Instance, 6, vec![4, 6, 1]),
    ]
}

fn built(config: SampleConfig, elements: usize) -> SampleNorm {
    let axes = if let Grouping::Layer { axes } | Grouping::Rms { axes } = config.grouping { axes } else { 1 };
    let mut shape = vec![1; axes];
    shape[axes - 1] = elements;
    config.build(&shape).expect("a layer")
}

#[test]
fn one_value_is_refused_or_gives_beta() {
    let mut random = Random::new(2260);
    for (grouping, elements, shape) in of_one_value() {
        let x = random.normals(shape.iter().product(), 3.0, 1.0);
        let x = View::new(&x, &shape, Axes::NCHW).expect("a view");
        let default = SampleConfig::of(grouping).policies.single_value;
        let refuses = grouping == Grouping::Instance;
        assert_eq!(default, if refuses { SingleValue::Error } else { SingleValue::Population }, "{grouping:?}");
        for single_value in [SingleValue::Error, SingleValue::Population, SingleValue::SkipUpdate] {
            let config = SampleConfig::of(grouping);
            let policies = Policies { single_value, ..config.policies };
            let norm = built(config.affine(batchnorm::Affine::ScaleAndShift).policies(policies), elements);
            let is_rms = !grouping.is_centred();
            match norm.forward(&x) {
                Err(error) => {
                    println!("{error}");
                    assert!(single_value == SingleValue::Error && !is_rms, "{grouping:?} {single_value:?}: {error}");
                    assert_eq!(
                        error,
                        CallError::SingleTogether { together: grouping.together(), shape: shape.clone() }
                    );
                    assert!(error.to_string().contains("SingleValue::Population"));
                }
                Ok((y, saved)) => {
                    assert!(single_value != SingleValue::Error || is_rms, "{grouping:?} {single_value:?}");
                    let dx = norm.backward(&x, &x, &saved).expect("a right call").dx;
                    if is_rms {
                        assert!(y.data().iter().all(|y| (y.abs() - 1.0).abs() < 1e-3), "{grouping:?}");
                    } else {
                        assert!(y.data().iter().chain(dx.data()).all(|&value| value == 0.0), "{grouping:?}");
                    }
                }
            }
        }
        let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
        let error = SampleConfig::of(grouping).policies(policies).normalizer().expect_err("there are none");
        assert_eq!(error, ConfigError::NoRunningStatistics);
    }
}

#[test]
fn nothing_to_normalise_passes_or_is_refused() {
    for (grouping, elements, mut shape) in of_one_value() {
        shape[0] = 0;
        let x = View::<f32>::new(&[], &shape, Axes::NCHW).expect("an empty array");
        for empty_batch in [EmptyBatch::Pass, EmptyBatch::Error] {
            let config = SampleConfig::of(grouping);
            let policies = Policies { empty_batch, ..config.policies };
            let passed = built(config.policies(policies), elements).forward(&x);
            match passed {
                Ok((y, _)) => assert!(y.data().is_empty() && empty_batch == EmptyBatch::Pass),
                Err(error) => assert_eq!(error, CallError::EmptyBatch { shape: shape.clone() }),
            }
        }
    }
}

/// In an array of any strides, the sets that are not finite are refused by their numbers, and nothing is written.
#[test]
fn what_is_not_finite_is_refused_where_that_is_asked_for() {
    let mut random = Random::new(2261);
    for (grouping, elements, shape, together) in [
        (Grouping::Layer { axes: 1 }, 40, vec![5, 3, 40], 40),
        (Grouping::Layer { axes: 2 }, 40, vec![5, 1, 40], 40),
        (Grouping::Rms { axes: 1 }, 7, vec![5, 3, 7], 7),
        (Grouping::Group { groups: 2 }, 6, vec![5, 6, 3, 3], 27),
        (Grouping::Group { groups: 3 }, 6, vec![5, 6, 9, 9], 162),
        (Grouping::GroupRms { groups: 2 }, 6, vec![5, 6, 3, 3], 27),
        (Grouping::GroupRms { groups: 3 }, 6, vec![5, 6, 9, 9], 162),
        (Grouping::Instance, 6, vec![5, 6, 25], 25),
    ] {
        let values = random.normals_f32(shape.iter().product(), 0.0, 1.0);
        let config = SampleConfig::of(grouping);
        let policies = Policies { non_finite: NonFinite::Error, ..config.policies };
        let norm = built(config.clone().policies(policies), elements);
        let plain = built(config, elements);
        let clean = View::new(&values, &shape, Axes::NCHW).expect("a view");
        let [y, as_before] = [&norm, &plain].map(|norm| norm.forward(&clean).expect("finite").0);
        assert_eq!(y.data(), as_before.data(), "{grouping:?}");
        for bad in [f32::NAN, f32::INFINITY] {
            let mut spoiled = values.clone();
            let rows = [1, spoiled.len() / together - 1];
            rows.iter().for_each(|row| spoiled[row * together + 2] = bad);
            let x = View::new(&spoiled, &shape, Axes::NCHW).expect("a view");
            let error = norm.forward(&x).expect_err("not finite");
            println!("{error}");
            let expected = CallError::NonFiniteTogether { together: grouping.together(), rows: rows.to_vec() };
            assert_eq!(error, expected, "{grouping:?}");
            // The same array, the last axis first in memory.
            let (outer, last) = (spoiled.len() / shape[shape.len() - 1], shape[shape.len() - 1]);
            let turned: Vec<f32> = (0..spoiled.len()).map(|i| spoiled[i % outer * last + i / outer]).collect();
            let mut strides = vec![1isize; shape.len()];
            strides[shape.len() - 1] = outer as isize;
            for axis in (0..shape.len() - 2).rev() {
                strides[axis] = strides[axis + 1] * shape[axis + 1] as isize;
            }
            let x = View::with_strides(&turned, &shape, &strides, 0, Axes::NCHW).expect("a view");
            assert_eq!(norm.forward(&x).expect_err("not finite"), expected, "{grouping:?}");
        }
    }
}
