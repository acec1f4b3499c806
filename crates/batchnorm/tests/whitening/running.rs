//! Running statistics: what becomes of them, what evaluation makes of them, and when they stay.

use super::rows::{assert_close, view};
use crate::support::Random;
use batchnorm::{
    Affine, Averaging, Axes, BatchComoments, Decorrelated, Estimator, RunningCovariance, UpdateWeight, View,
    WhiteningConfig,
};

/// Plain sums, for small arrays around 0.
fn covariance(x: &[f64], channels: usize, divisor: f64) -> Vec<f64> {
    let n = (x.len() / channels) as f64;
    let mean = |i: usize| x.iter().skip(i).step_by(channels).sum::<f64>() / n;
    let means: Vec<f64> = (0..channels).map(mean).collect();
    let element = |i: usize, j: usize| {
        x.chunks(channels).map(|row| (row[i] - means[i]) * (row[j] - means[j])).sum::<f64>() / divisor
    };
    (0..channels * channels).map(|at| element(at / channels, at % channels)).collect()
}

#[test]
fn running_statistics_follow_by_estimator_and_weight() {
    let mut random = Random::new(1211);
    for estimator in [Estimator::Sample, Estimator::Population] {
        let exponential = Averaging::from(UpdateWeight::of_old(0.7).expect("a weight"));
        for averaging in [exponential, Averaging::Cumulative] {
            let config = WhiteningConfig::new(3, 2).estimator(estimator).averaging(averaging);
            let mut layer = config.build().expect("a layer");
            let mut expected = [vec![1.0, 0.0, 0.0, 1.0], vec![1.0]];
            for number in 1..=4u32 {
                let n = 3 + 2 * number as usize;
                let x = random.normals(3 * n, 0.5, 2.0);
                layer.train(&view(&x, 3)).expect("a right call");
                let new = if averaging == Averaging::Cumulative { 1.0 / f64::from(number) } else { 1.0 - 0.7 };
                let divisor = if estimator == Estimator::Sample { n - 1 } else { n } as f64;
                let pick = |columns: &[usize]| -> Vec<f64> {
                    x.chunks(3).flat_map(|row| columns.iter().map(|&i| row[i])).collect()
                };
                for (own, columns) in expected.iter_mut().zip([&[0, 1][..], &[2]]) {
                    let batch = covariance(&pick(columns), columns.len(), divisor);
                    own.iter_mut().zip(batch).for_each(|(own, batch)| *own = (1.0 - new) * *own + new * batch);
                }
            }
            let running = layer.running().expect("tracked");
            assert_eq!((running.batches(), running.updates()), (4, &[4, 4][..]));
            assert_close(&running.covariances().concat(), &expected.concat());
            // What was stored is what is loaded, and evaluation is the same.
            let again =
                RunningCovariance::from_parts(running.mean(), &running.covariances().concat(), running.group(), 4);
            assert_eq!(again.as_ref(), Ok(running));
        }
    }
}

#[test]
fn evaluation_whitens_by_the_running_covariance() {
    let mut random = Random::new(1212);
    let mut layer = WhiteningConfig::new(2, 2).epsilon(0.0).affine(Affine::Neither).build().expect("a layer");
    let x = random.normals(400, 3.0, 2.0);
    // A matrix whose inverse root is known: [[2, 1], [1, 2]]^2 = [[5, 4], [4, 5]], and its inverse is a covariance.
    let inverse = [5.0 / 9.0, -4.0 / 9.0, -4.0 / 9.0, 5.0 / 9.0];
    layer.set_running(RunningCovariance::from_parts(&[1.0, -1.0], &inverse, 2, 1).expect("a covariance")).expect("two");
    let y = layer.eval(&view(&x, 2)).expect("a right call");
    let expected: Vec<f64> =
        x.chunks(2).map(|row| (row[0] - 1.0, row[1] + 1.0)).flat_map(|(a, b)| [2.0 * a + b, a + 2.0 * b]).collect();
    assert_close(y.y.data(), &expected);
    assert!(!y.saved.used_batch_statistics());
    let dy = random.normals(400, 0.0, 1.0);
    let gradients = layer.backward(&view(&x, 2), &view(&dy, 2), &y.saved).expect("a right call");
    let expected: Vec<f64> = dy.chunks(2).flat_map(|row| [2.0 * row[0] + row[1], row[0] + 2.0 * row[1]]).collect();
    assert_close(gradients.dx.data(), &expected);
    assert!(gradients.dgamma.is_none() && gradients.dbeta.is_none());
    // Evaluation changes nothing, and what it returns has nothing to commit.
    let before = layer.running().cloned();
    assert_eq!(layer.commit(&y.batch), Ok(vec![]));
    assert_eq!(layer.running().cloned(), before);
}

#[test]
fn comoments_of_parts_merge_to_those_of_the_whole() {
    let mut random = Random::new(1213);
    let layer = Decorrelated::new(5, 3).expect("a layer");
    for mean in [0.0, 1e6] {
        let x = random.normals(5 * 700, mean, 1.0);
        let batch = |data: &[f64]| layer.forward_train(&view(data, 5)).expect("a right call").batch;
        let parts = [0..5 * 2, 5 * 2..5 * 300, 5 * 300..5 * 700].map(|range| batch(&x[range]));
        let merged = parts[0].merge(&parts[1].merge(&parts[2]).expect("alike")).expect("alike");
        for (one, whole) in merged.groups().iter().zip(batch(&x).groups()) {
            assert_eq!(one.count(), whole.count());
            for (one, whole) in one.mean().iter().zip(whole.mean()) {
                assert!((one - whole).abs() <= 2e-16 * mean.max(1.0));
            }
            for (one, whole) in one.matrix().iter().zip(whole.matrix()) {
                assert!((one - whole).abs() <= 1e-14 * 700.0, "{one:?} {whole:?}");
            }
        }
    }
    let other = Decorrelated::new(4, 2).expect("a layer").forward_train(&view(&[0.5; 40], 4)).expect("right").batch;
    let ours = layer.forward_train(&view(&[0.5; 40], 5)).expect("right").batch;
    assert!(ours.merge(&other).is_err());
    assert!(ours.merge(&BatchComoments::from(Vec::new())).unwrap_err().to_string().contains("expected 2 groups"));
}

#[test]
fn nothing_is_learnt_until_committed() {
    let mut layer = Decorrelated::new(2, 2).expect("a layer");
    let x = Random::new(1214).normals(20, 1.0, 1.0);
    let start = layer.running().cloned();
    let first = layer.forward_train(&view(&x, 2)).expect("a right call");
    let again = layer.forward_train(&view(&x, 2)).expect("a right call");
    assert_eq!((first.y, layer.running().cloned()), (again.y, start));
    assert_eq!(layer.commit(&again.batch), Ok(vec![]));
    assert_eq!(layer.running().expect("tracked").batches(), 1);
}

#[test]
fn a_skipped_group_keeps_the_right_weight_in_a_cumulative_average() {
    let config = WhiteningConfig::new(2, 1).averaging(Averaging::Cumulative);
    let mut layer = config.build().expect("a layer");
    for (bad, value) in [(false, 1.0), (true, 3.0), (false, 5.0)] {
        let first = if bad { f64::NAN } else { value };
        let x = [first, value, value + 2.0, value + 2.0];
        layer.train(&View::new(&x, &[2, 2], Axes::NCHW).expect("an array")).expect("a right call");
    }
    let running = layer.running().expect("tracked");
    assert_eq!((running.updates(), running.mean()), (&[2, 3][..], &[4.0, 4.0][..]));
}
