//! Ghost batches: each group is a batch of its own, the running statistics are those of the whole.

use crate::support::layout::{ORDERS, Sizes};
use crate::support::{Random, pool};
use batchnorm::{
    Activation, Axes, BatchNorm, CallError, Config, Policies, RunningStatistics, SingleValue, Switches, View, ViewMut,
};
use std::num::NonZeroUsize;

fn of(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).expect("not 0")
}

fn layer(activation: Activation, single_value: SingleValue) -> BatchNorm {
    let policies = Policies { single_value, ..Policies::default() };
    let mut layer = Config::pytorch().channels(3).activation(activation).policies(policies).build().expect("a layer");
    layer.set_gamma(&[0.5, -1.5, 2.0]).expect("three");
    layer.set_beta(&[0.25, 0.0, -1.0]).expect("three");
    layer
}

#[test]
fn every_group_has_the_bits_of_a_batch_of_its_own_and_the_last_one_may_be_ragged() {
    let mut random = Random::new(1300);
    for (samples, size, plane) in [(12, 4, 5), (13, 4, 5), (7, 16, 1), (33, 16, 40), (6, 2, 1), (33, 16, 1)] {
        for activation in [Activation::Identity, Activation::Relu] {
            let sizes = Sizes { n: samples, c: 3, plane };
            let sample = 3 * plane;
            let (x, dy) = (random.normals(samples * sample, 3.0, 2.0), random.normals(samples * sample, 0.0, 1.0));
            let view = |data| View::new(data, &[samples, 3, plane], Axes::NCHW).expect("an array");
            // A last group of one value a channel is normalised by the running statistics.
            let mut layer = layer(activation, SingleValue::UseRunning);
            let before = layer.clone();
            let trained = layer.train_ghost(&view(&x), of(size)).expect("a right call");
            let gradients = layer.backward_ghost(&view(&x), &view(&dy), &trained.saved).expect("a right call");
            let mut sums = [vec![0.0; 3], vec![0.0; 3]];
            for start in (0..samples).step_by(size) {
                let end = samples.min(start + size);
                let at = start * sample..end * sample;
                let group = |data: &'static [f64]| View::new(data, &[end - start, 3, plane], Axes::NCHW).expect("one");
                let leak = |data: &[f64]| &*data.to_vec().leak();
                let (x, dy) = (group(leak(&x[at.clone()])), group(leak(&dy[at.clone()])));
                let alone = before.forward_train(&x).expect("a right call");
                assert_eq!(alone.y.data(), &trained.y.data()[at.clone()]);
                let of_group = before.backward(&x, &dy, &alone.saved).expect("a right call");
                assert_eq!(of_group.dx.data(), &gradients.dx.data()[at]);
                for (sums, own) in sums.iter_mut().zip([of_group.dgamma, of_group.dbeta]) {
                    sums.iter_mut().zip(own.expect("trained")).for_each(|(sum, own)| *sum += own);
                }
            }
            assert_eq!([gradients.dgamma, gradients.dbeta], sums.map(Some));
            // Pooled: as by the whole batch, but for the last bits.
            let mut whole = before.clone();
            whole.train(&view(&x)).expect("a right call");
            let (got, expected) = (layer.running().expect("tracked"), whole.running().expect("tracked"));
            assert_eq!((got.batches(), got.updates()), (1, expected.updates()));
            let pairs = got.mean().iter().zip(expected.mean()).chain(got.variance().iter().zip(expected.variance()));
            pairs.for_each(|(got, expected)| assert!((got / expected - 1.0).abs() < 1e-14, "{sizes:?}"));
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_layout() {
    let mut random = Random::new(1301);
    let sizes = Sizes { n: 11, c: 3, plane: 3000 };
    let len = 11 * 3 * 3000;
    let (x, dy) = (random.normals_f32(len, 1.0, 1.0), random.normals_f32(len, 0.0, 1.0));
    let rule = Config::pytorch().normalizer().expect("a rule");
    let mut first = None;
    for order in ORDERS {
        for threads in [1, 2, 3] {
            let (x, dy) = (order.arranged(&x, sizes), order.arranged(&dy, sizes));
            let (mut y, mut dx) = (order.blank(sizes), order.blank(sizes));
            let none = batchnorm::Parameters::<f32>::default();
            let gradients = pool(threads).install(|| {
                let (x, dy) = (order.view(&x, sizes), order.view(&dy, sizes));
                let mut out = order.view_mut(&mut y, sizes);
                let (saved, batch) = rule.train_ghost(&x, of(4), none, None, &mut out).expect("a right call");
                (saved.backward(&x, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right call"), batch)
            });
            // (Channels first: the samples are another axis of the view, and the same ones.)
            let got = (order.back(y, sizes), order.back(dx, sizes), gradients);
            assert!(*first.get_or_insert_with(|| got.clone()) == got, "{order:?}, {threads} threads");
        }
    }
}

#[test]
fn a_last_group_of_one_value_goes_by_the_policy_and_an_error_leaves_everything() {
    let x: Vec<f64> = (0..15).map(|i| f64::from(i * i)).collect();
    let view = View::new(&x, &[5, 3], Axes::NCHW).expect("an array");
    let mut strict = layer(Activation::Identity, SingleValue::Error);
    let error = strict.train_ghost(&view, of(2)).unwrap_err();
    assert!(matches!(error, CallError::SingleValue { ref shape, .. } if *shape == [1, 3]), "{error}");
    assert_eq!(strict.running().expect("tracked").batches(), 0);
    let mut y = vec![7.0; 15];
    let mut out = ViewMut::new(&mut y, &[5, 3], Axes::NCHW).expect("an array");
    let rule = Config::pytorch().normalizer().expect("a rule");
    let none = batchnorm::Parameters::<f64>::default();
    rule.train_ghost(&view, of(2), none, None, &mut out).unwrap_err();
    assert_eq!(y, [7.0; 15], "nothing is written");
    let mut population = layer(Activation::Identity, SingleValue::Population);
    let trained = population.train_ghost(&view, of(2)).expect("by the policy");
    assert_eq!(trained.y.data()[12..], [0.25, 0.0, -1.0]);
    assert_eq!(trained.batch.channels()[0].count(), 5);

    let four = View::new(&x[..12], &[4, 3], Axes::NCHW).expect("an array");
    let trained = strict.train_ghost(&four, of(2)).expect("a right call");
    let error = strict.backward_ghost(&view, &view, &trained.saved).unwrap_err();
    assert_eq!(error, CallError::OtherBatch { argument: "x", expected: 4, got: 5 });
    let error = trained.saved.parameter_gradients(&view, &view).unwrap_err();
    assert_eq!(error, CallError::OtherBatch { argument: "x", expected: 4, got: 5 });
    // An array without a sample axis is one sample, not as many as it has rows.
    use batchnorm::AxisRole::{Channel, Space};
    let picture = View::new(&x[..12], &[3, 2, 2], Axes::Roles(&[Channel, Space, Space])).expect("an array");
    let alone = strict.clone().train_ghost(&picture, of(1)).expect("a right call");
    assert_eq!((picture.samples(), alone.saved.groups().len()), (1, 1));
    assert_eq!(alone.y, strict.forward_train(&picture).expect("a right call").y);
    strict.pin(Some(Switches::frozen()));
    assert!(matches!(strict.train_ghost(&four, of(2)), Err(CallError::Pinned { call: "train_ghost", .. })));

    // Of no samples there are no groups.
    let empty = View::new(&x[..0], &[0, 3], Axes::NCHW).expect("an array");
    let mut layer = layer(Activation::Identity, SingleValue::Error);
    let running = RunningStatistics::from_parts(&[1.0; 3], &[2.0; 3], 4).expect("statistics");
    layer.set_running(running.clone()).expect("three");
    let trained = layer.train_ghost(&empty, of(2)).expect("passes");
    let gradients = layer.backward_ghost(&empty, &empty, &trained.saved).expect("zeros");
    assert_eq!((gradients.dgamma, layer.running()), (Some(vec![0.0; 3]), Some(&running)));
}
