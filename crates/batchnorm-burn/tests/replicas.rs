//! Clones that train and are dropped, as the replicas of a training on several devices: what they have seen goes to the
//! value that they were cloned from.

#![allow(missing_docs)]

mod support;

use batchnorm::Team;
use batchnorm_burn::{BatchNormConfig, Decorrelated, DecorrelatedConfig, Participant, Recalibration};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use support::bits;
use support::net::{Net, batches, device, moments, state, states, step_on_replicas, updated_by};

#[test]
fn replicas_of_a_step_are_one_batch_in_any_order() {
    let net = Net::new(&device());
    net.forward(batches(1, &[16]).remove(0));
    let inputs = batches(2, &[8, 5, 12]);
    let expected = updated_by(&net.first, &inputs.iter().map(moments).collect::<Vec<_>>());
    let mut seen: Option<[[Vec<u32>; 2]; 2]> = None;
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        // A model of its own in the same state.
        let net = net.clone().unfreeze();
        step_on_replicas(&net, &inputs, &order);
        assert_eq!(states(&net)[0], expected, "the first layer sees the data: one big batch");
        assert_eq!(seen.get_or_insert_with(|| states(&net)), &states(&net), "{order:?}");
    }
    // The big batch itself: each value is rounded to `f32` once, so that the two may differ by a unit in the last place.
    let whole = net.clone().no_grad();
    whole.first.forward(Tensor::cat(inputs, 0));
    near(&state(&whole.first), &expected);
}

fn near(one: &[Vec<u32>; 2], other: &[Vec<u32>; 2]) {
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    pairs.for_each(|(one, other)| assert!(one.abs_diff(*other) <= 1, "{one} {other}"));
}

/// To the last bit of the pooled moments, which `f32` would hide.
#[test]
fn the_pool_does_not_depend_on_the_order_of_return() {
    let net = Net::new(&device());
    let norms = batchnorm_burn::norms(&net);
    norms.hold();
    let inputs = batches(6, &[8, 5, 12, 3, 9, 31, 2]);
    let mut first: Option<Vec<[u64; 5]>> = None;
    for shift in 0..7 {
        // Every replica comes back first once, and the others in another order each time.
        let order: Vec<usize> = (0..7).map(|turn| (shift + turn * (shift % 3 + 1)) % 7).collect();
        step_on_replicas(&net, &inputs, &order);
        let [pooled] = &net.first.held_moments()[..] else { panic!("one batch") };
        let bits: Vec<[u64; 5]> = pooled.channels().iter().map(|m| m.to_parts().map(f64::to_bits)).collect();
        assert_eq!(pooled.channels()[0].count(), 70);
        assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{order:?}");
        norms.discard_held();
    }
}

#[test]
fn a_step_of_the_origin_ends_the_batch() {
    let net = Net::new(&device());
    let inputs = batches(3, &[8, 5, 12, 9]);
    for pair in inputs.chunks(2) {
        let expected = updated_by(&net.first, &pair.iter().map(moments).collect::<Vec<_>>());
        step_on_replicas(&net, pair, &[0, 1]);
        assert_eq!(state(&net.first), expected);
        let own = batches(4, &[7]).remove(0);
        let expected = updated_by(&net.first, &[moments(&own)]);
        net.forward(own);
        assert_eq!(state(&net.first), expected);
    }
    // Without a step between them the two pairs are one batch; a clone that is only looked at is no step.
    let net = Net::new(&device());
    let expected = updated_by(&net.first, &inputs.iter().map(moments).collect::<Vec<_>>());
    step_on_replicas(&net, &inputs[..2], &[0, 1]);
    assert!(net.clone().valid().first.running_statistics().is_ok());
    step_on_replicas(&net, &inputs[2..], &[1, 0]);
    assert_eq!(state(&net.first), expected);
}

#[test]
fn several_batches_of_one_replica_and_clones_of_clones() {
    let net = Net::new(&device());
    let inputs = batches(5, &[8, 5, 12, 9]);
    let expected = updated_by(&net.first, &inputs.iter().map(moments).collect::<Vec<_>>());
    {
        let replica = net.clone();
        let inner = replica.clone();
        inputs[..2].iter().for_each(|x| drop(replica.forward(x.clone())));
        let innermost = inner.clone();
        drop(inner);
        innermost.forward(inputs[2].clone());
        innermost.forward(inputs[3].clone());
        assert_eq!(states(&net), states(&Net::new(&device())), "nothing before they are dropped");
        drop(replica);
        drop(innermost);
    }
    near(&state(&net.first), &expected);
}

#[test]
fn records_and_statistics_set_by_hand_between_replicas() {
    let net = Net::new(&device());
    let inputs = batches(40, &[8, 6, 7]);
    step_on_replicas(&net, &inputs[..1], &[0]);
    let bytes = net.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let loaded = Net::new(&device()).load_record(record);
    assert_eq!(states(&loaded), states(&net), "the record has what was given");
    // Statistics set by hand are those that the next batch goes into.
    let set = batchnorm::RunningStatistics::from_parts(&[5.0f64; 3], &[2.0; 3], 0).unwrap();
    net.first.set_running_statistics(&set).unwrap();
    let expected = updated_by(&net.first, &[moments(&inputs[1])]);
    step_on_replicas(&net, &inputs[1..2], &[0]);
    assert_eq!(state(&net.first), expected);
    net.first.running_mean.update(support::vector(&[-1.0; 3], &device()));
    let expected = updated_by(&net.first, &[moments(&inputs[2])]);
    step_on_replicas(&net, &inputs[2..], &[0]);
    assert_eq!(state(&net.first), expected);
}

#[test]
fn what_is_held_is_the_origins_to_decide() {
    let net = Net::new(&device());
    let inputs = batches(50, &[8, 6, 9]);
    let before = states(&net);
    let norms = batchnorm_burn::norms(&net);
    norms.hold();
    step_on_replicas(&net, &inputs[..2], &[1, 0]);
    assert_eq!((net.first.held_batches(), states(&net)), (Some(1), before.clone()), "one batch, held");
    assert_eq!(norms.discard_held(), 1);
    step_on_replicas(&net, &inputs[..2], &[0, 1]);
    net.forward(inputs[2].clone());
    assert_eq!(net.first.held_batches(), Some(2));
    let alone = net.first.valid();
    alone.release();
    alone.commit(&moments(&inputs[0]).merge(&moments(&inputs[1])).unwrap()).unwrap();
    alone.commit(&moments(&inputs[2])).unwrap();
    norms.commit_held().unwrap();
    assert_eq!(state(&net.first), state(&alone));
    norms.release();
    // Of two replicas, one comes back before the layer begins to hold, and one behind.
    let (net, expected) = (Net::new(&device()), Net::new(&device()).first.valid());
    let (first, second) = (net.clone(), net.clone());
    first.forward(inputs[0].clone());
    second.forward(inputs[1].clone());
    drop(first);
    let norms = batchnorm_burn::norms(&net);
    norms.hold();
    drop(second);
    norms.commit_held().unwrap();
    norms.release();
    for x in &inputs[..2] {
        expected.commit(&moments(x)).unwrap();
    }
    assert_eq!(state(&net.first), state(&expected));
    // A clone that holds by itself, and is dropped undecided, gives nothing.
    let (before, clone) = (states(&net), net.clone());
    batchnorm_burn::norms(&clone).hold();
    clone.forward(inputs[0].clone());
    drop(clone);
    assert_eq!(states(&net), before);
}

#[test]
fn participants_give_their_parts() {
    let device = device();
    let norm = BatchNormConfig::new(3).init(&device);
    let inputs = batches(60, &[8, 5]);
    let expected = updated_by(&norm, &inputs.iter().map(moments).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for (member, x) in Team::of(2, std::time::Duration::from_secs(60)).into_iter().zip(&inputs) {
            let mut replica = norm.clone().fork(&device);
            replica.participant = Some(Participant::new(member));
            scope.spawn(move || {
                let trained = replica.try_forward_train(x.clone()).unwrap();
                assert_eq!(trained.batch.channels()[0].count(), 13);
            });
        }
    });
    assert_eq!(state(&norm), expected);
    // Where the origin is one of them, it has taken in the whole batch already.
    let mut norm = BatchNormConfig::new(3).init(&device);
    let mut members = Team::of(2, std::time::Duration::from_secs(60)).into_iter();
    let mut replica = norm.clone().fork(&device);
    norm.participant = members.next().map(Participant::new);
    replica.participant = members.next().map(Participant::new);
    std::thread::scope(|scope| {
        scope.spawn(|| norm.forward(inputs[0].clone()));
        let x = inputs[1].clone();
        scope.spawn(move || drop(replica.forward(x)));
    });
    assert_eq!(state(&norm), expected);
}

#[test]
fn a_nan_in_one_replica_leaves_the_channel_out() {
    let norm = BatchNormConfig::new(3).init(&device());
    let x = batches(70, &[8]).remove(0);
    let spoiled = x.clone().slice_fill([0..1, 1..2], f32::NAN);
    let before = state(&norm);
    for input in [x, spoiled] {
        let replica = norm.clone();
        replica.forward(input);
        drop(replica);
    }
    let after = state(&norm);
    assert_eq!(after[0][1], before[0][1]);
    assert_ne!(after[0][0], before[0][0]);
}

#[test]
fn decorrelated_replicas_train_too() {
    let layer: Decorrelated = DecorrelatedConfig::new(3, 2).init(&device());
    let inputs = batches(80, &[9, 7]);
    let state = |layer: &Decorrelated| [bits(layer.running_mean.value()), bits(layer.running_covariance.value())];
    let mut results = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let layer = layer.clone().no_grad();
        let replicas: Vec<Decorrelated> = inputs.iter().map(|_| layer.clone().fork(&device())).collect();
        replicas.iter().zip(&inputs).for_each(|(replica, x)| drop(replica.forward(x.clone())));
        let mut replicas: Vec<Option<Decorrelated>> = replicas.into_iter().map(Some).collect();
        order.iter().for_each(|&number| drop(replicas[number].take()));
        results.push(state(&layer));
    }
    assert_eq!(results[0], results[1]);
    let whole = layer.clone().no_grad();
    whole.forward(Tensor::cat(inputs, 0));
    let (one, other) = (&results[0], state(&whole));
    for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
        assert!((f32::from_bits(*one) - f32::from_bits(*other)).abs() < 1e-5, "{one} {other}");
    }
}

#[test]
fn recalibration_through_replicas() {
    let inputs: Vec<Tensor<2>> = batches(90, &[8, 6]).into_iter().map(Tensor::without_autodiff).collect();
    for by in [Recalibration::one_pass(), Recalibration::layer_by_layer()] {
        let net = Net::new(&Device::default());
        let alone = net.clone().no_grad();
        let one = by.clone().run(&alone, || inputs.clone(), |net, x| drop(net.forward(x))).unwrap();
        let other = by.run(&net, || inputs.clone(), |net, x| drop(net.clone().forward(x))).unwrap();
        assert_eq!(states(&net), states(&alone));
        let paths = |done: &batchnorm_burn::Recalibrated| -> Vec<(String, u64)> {
            done.layers.iter().map(|layer| (layer.path.clone(), layer.seen.batches())).collect()
        };
        assert_eq!(paths(&one), paths(&other));
    }
}
