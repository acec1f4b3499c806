//! Recalibration of a whole model: what each layer then has, what stays, and what is told.

#![allow(missing_docs)]

mod support;

use batchnorm::{Moments, UpdateWeight};
use batchnorm_burn::{BatchNorm, BatchNormConfig, NormalizeBy, Recalibration, RecalibrationError, Switches};
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::relu};
use support::{Source, bits, by_channel, floats};

#[derive(Module, Debug)]
struct Net {
    first: BatchNorm,
    dropout: Dropout,
    linear: Linear,
    second: BatchNorm,
}

impl Net {
    fn new(device: &Device) -> Net {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        Net {
            first: norm(3),
            dropout: DropoutConfig::new(0.5).init(),
            linear: LinearConfig::new(3, 4).init(device),
            second: norm(4),
        }
    }

    fn inner(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear.forward(relu(self.dropout.forward(self.first.forward(x))))
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.inner(x))
    }
}

fn step(net: &Net, x: Tensor<2>) {
    net.forward(x);
}

/// Batches whose means differ, one of them of a single sample, on a device without autodiff.
fn data(sizes: &[usize]) -> Vec<Tensor<2>> {
    let mut source = Source::new(4001);
    let device = Device::default();
    sizes.iter().enumerate().map(|(i, &n)| source.tensor::<2>(&[n, 3], &device) + i as f64).collect()
}

fn whole(batches: &[Tensor<2>]) -> Tensor<2> {
    Tensor::cat(batches.to_vec(), 0)
}

fn near(norm: &BatchNorm, values: &Tensor<2>) {
    let running = norm.running_statistics().unwrap();
    let shape = values.dims();
    for (channel, values) in by_channel(&floats(values.clone()), &shape).iter().enumerate() {
        let moments = Moments::of(values);
        let variance = moments.sample_variance().unwrap();
        assert!((running.mean()[channel] - moments.mean()).abs() < 1e-6 * variance.sqrt().max(moments.mean().abs()));
        assert!((running.variance()[channel] / variance - 1.0).abs() < 1e-6, "{}", norm.name);
    }
}

#[test]
fn layer_by_layer_each_layer_has_the_statistics_of_what_it_sees_in_use() {
    // A device that trains: dropout must stay off all the same.
    let net = Net::new(&Device::default().autodiff());
    let batches = data(&[16, 14, 2, 1]);
    let done = Recalibration::layer_by_layer().run(&net, || batches.clone(), step).unwrap();
    near(&net.first, &whole(&batches));
    // The inputs of the second layer in the deployed model.
    near(&net.second, &net.valid().inner(whole(&batches)));
    assert_eq!(done.layers[0].seen.batches(), 4);
    assert_eq!(done.layers.iter().map(|layer| layer.path.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert!(done.layers[0].seen.standard_errors()[0].is_some_and(|errors| errors.mean > 0.0));
    assert!(done.to_string().contains("second: 4 batches"), "{done}");

    done.roll_back(&net).unwrap();
    assert_eq!(bits(net.second.running_var.value()), bits(Tensor::<1>::ones([4], &Device::default())));
}

/// Batches of 16, 14 and 2: torch's `update_bn` weighs them equally, and leaves out the spread between their means.
#[test]
fn in_one_pass_each_layer_has_the_statistics_of_what_it_sees_in_training() {
    let net = Net::new(&Device::default());
    let batches = data(&[16, 14, 2]);
    Recalibration::one_pass().run(&net, || batches.clone(), step).unwrap();
    near(&net.first, &whole(&batches));
    // The inputs of the second layer: the first one goes by each batch.
    let fresh = Net { linear: net.linear.clone(), second: net.second.clone(), ..Net::new(&Device::default()) };
    let by_batch = Switches { normalize_by: NormalizeBy::Batch, ..Switches::evaluate() };
    let inner = |x: Tensor<2>| {
        let x = fresh.first.try_forward_by(x, by_batch).unwrap().output;
        fresh.linear.forward(relu(x))
    };
    near(&net.second, &whole(&batches.into_iter().map(inner).collect::<Vec<_>>()));
}

#[test]
fn only_the_chosen_layers_change_and_a_frozen_one_stays() {
    let mut net = Net::new(&Device::default().autodiff());
    net.first = net.first.pin(Some(Switches::frozen()));
    let before = (bits(net.first.running_mean.value()), bits(net.linear.weight.val()), bits(net.second.gamma.val()));
    Recalibration::one_pass().only(|path| path == "second").run(&net, || data(&[8, 8]), step).unwrap();
    let after = (bits(net.first.running_mean.value()), bits(net.linear.weight.val()), bits(net.second.gamma.val()));
    assert_eq!(before, after);
    assert_ne!(floats(net.second.running_mean.value()), [0.0; 4]);
    assert_eq!(net.first.pinned, Some(Switches::frozen()));
    // A layer that is pinned is recalibrated when it is named.
    Recalibration::one_pass().run(&net, || data(&[8, 8]), step).unwrap();
    near(&net.first, &whole(&data(&[8, 8])));
}

#[test]
fn ghosts_participants_pins_and_held_batches_have_no_part_in_it() {
    let mut net = Net::new(&Device::default());
    net.first.ghost = Some(2);
    net.second.ghost = Some(3);
    // A team whose other member never comes.
    let team = batchnorm::Team::of(2, std::time::Duration::from_secs(3600));
    let mut team = team.into_iter();
    net.first.participant = team.next().map(batchnorm_burn::Participant::new);
    net.second = net.second.pin(Some(Switches::test_time(UpdateWeight::of_new(0.5).unwrap())));
    net.first.hold();
    net.second.hold();
    net.second.try_forward_train(Tensor::<2>::ones([4, 4], &Device::default()) * 100.0).unwrap();
    let batches = data(&[7, 2]);
    for by in [Recalibration::one_pass(), Recalibration::layer_by_layer()] {
        by.run(&net, || batches.clone(), step).unwrap();
        near(&net.first, &whole(&batches));
    }
    assert_eq!((net.first.held_batches(), net.second.held_batches()), (Some(0), Some(0)), "what was held is dropped");
}

#[test]
fn worse_is_said_and_rolled_back() {
    let net = Net::new(&Device::default());
    let target = data(&[32]);
    let good = |net: &Net| -floats((net.first.forward(target[0].clone()).mean_dim(0)).abs().sum())[0] as f64;
    Recalibration::one_pass().run(&net, || target.clone(), step).unwrap();
    let before = net.first.running_statistics().unwrap();
    // Data of another kind.
    let others = || target.iter().map(|x| x.clone() * 3.0 + 50.0);
    let done = Recalibration::layer_by_layer().measured(&net, others, step, good).unwrap();
    let measured = done.measured.unwrap();
    assert!(measured.became_worse() && measured.after < measured.before, "{measured:?}");
    assert!(done.to_string().contains("WORSE than before"), "{done}");
    done.roll_back(&net).unwrap();
    assert_eq!(net.first.running_statistics().unwrap(), before);
    let again = Recalibration::layer_by_layer().measured(&net, || target.clone(), step, good).unwrap();
    assert!(!again.measured.unwrap().became_worse());
}

#[test]
fn a_mix_of_source_and_target_statistics() {
    let net = Net::new(&Device::default());
    let batches = data(&[8, 4]);
    let weight = UpdateWeight::of_new(0.25).unwrap();
    let by = Recalibration::one_pass().mixing(weight).only(|path| path == "first");
    by.run(&net, || batches.clone(), step).unwrap();
    let values = by_channel(&floats(whole(&batches)), &[12, 3]);
    let running = net.first.running_statistics().unwrap();
    for (channel, values) in values.iter().enumerate() {
        let moments = Moments::of(values);
        assert!((running.mean()[channel] - 0.25 * moments.mean()).abs() < 1e-6);
        let variance = 0.75 + 0.25 * moments.sample_variance().unwrap();
        assert!((running.variance()[channel] / variance - 1.0).abs() < 1e-6);
    }
}

#[test]
fn what_cannot_be_done_is_named_and_changes_nothing() {
    let net = Net::new(&Device::default());
    let by = Recalibration::layer_by_layer;
    let error = by().only(|path| path == "third").run(&net, || data(&[8]), step).unwrap_err();
    assert_eq!(error, RecalibrationError::NoLayers { in_model: 2 });
    let error = by().run(&net, || data(&[]), step).unwrap_err();
    assert_eq!(error, RecalibrationError::Unseen { layer: "first".into(), channel: 0 });
    let error = by().run(&net, || data(&[8]), |net, x| drop(net.first.forward(x))).unwrap_err();
    assert_eq!(error, RecalibrationError::Unseen { layer: "second".into(), channel: 0 });
    // NaN in every batch of a channel.
    let nan = || data(&[8]).into_iter().map(|x| x / 0.0 * 0.0);
    let error = by().run(&net, nan, step).unwrap_err();
    assert_eq!(error, RecalibrationError::Unseen { layer: "first".into(), channel: 0 });
    let panics = || Recalibration::one_pass().run(&net, || data(&[8, 1]), step);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err(), "one value a channel");
    assert_eq!(floats(net.first.running_mean.value()), [0.0; 3]);
    assert_eq!(floats(net.second.running_var.value()), [1.0; 4]);
    let error = by().run(&net, || data(&[1]), step).unwrap_err();
    assert_eq!(error, RecalibrationError::Single { layer: "first".into(), channel: 0 });
    let done = by().run(&net, || data(&[8]), step).unwrap();
    let now = net.first.running_statistics().unwrap();
    let device = Device::default();
    let other = Net { second: BatchNormConfig::new(5).init(&device), first: net.first.clone(), ..Net::new(&device) };
    assert!(done.roll_back(&other).is_err(), "another number of channels");
    assert_eq!(other.first.running_statistics().unwrap(), now, "all or none");
    assert_eq!(done.roll_back(&net.first), Err(RecalibrationError::Gone { path: "first".into() }));
}

/// The fields are not in the order of the forward pass, and one layer is used twice.
#[derive(Module, Debug)]
struct Unordered {
    last: BatchNorm,
    blocks: Vec<Option<BatchNorm>>,
}

#[test]
fn the_order_is_that_in_which_layers_first_see_a_batch() {
    let device = Device::default();
    let norm = || BatchNormConfig::new(3).init(&device);
    let net = Unordered { last: norm(), blocks: vec![Some(norm()), None, Some(norm())] };
    let block = |net: &Unordered, number: usize, x| net.blocks[number].as_ref().unwrap().forward(x);
    let forward = |net: &Unordered, x: Tensor<2>| {
        let x = block(net, 2, x);
        let x = block(net, 0, x * 3.0 + 1.0);
        block(net, 2, net.last.forward(x.powi_scalar(3)))
    };
    let batches = data(&[16, 9]);
    for by in [Recalibration::one_pass(), Recalibration::layer_by_layer()] {
        let done = by.run(&net, || batches.clone(), |net, x| drop(forward(net, x))).unwrap();
        let paths: Vec<&str> = done.layers.iter().map(|layer| layer.path.as_str()).collect();
        assert_eq!(paths, ["blocks.2", "blocks.0", "last"]);
        assert_eq!(done.layers[0].seen.batches(), 4, "used twice");
    }
    // What `last` has is right for the statistics of the two before it.
    let inner = |x| block(&net, 0, block(&net, 2, x) * 3.0 + 1.0).powi_scalar(3);
    near(&net.last, &inner(whole(&batches)));
}
