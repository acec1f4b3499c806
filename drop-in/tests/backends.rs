//! On a backend that the extension does not know, the layer computes by tensor operations: the same values, statistics that
//! follow, replicas too. Needs the feature `ndarray`.

#![cfg(feature = "ndarray")]

use batchnorm_burn::{Arithmetic, norms};
use batchnorm_drop_in::{Batch, Net, Stack, samples};
use burn::data::dataloader::batcher::Batcher;
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};

#[allow(deprecated)] // Burn's, which it will remove
fn other() -> Device {
    Device::ndarray()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn near(one: &[f32], other: &[f32]) {
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= 2e-4 * other.abs().max(1.0), "{one} {other}");
    }
}

fn batch(seed: u64, device: &Device) -> Batch {
    Stack.batch(samples(seed, 24), device)
}

#[test]
fn training_evaluation_replicas_and_records_are_those_of_flex() {
    let (flex, other) = (Device::flex().autodiff(), other().autodiff());
    let ours = Net::new(5, &flex);
    let theirs = Net::new(5, &other).load_record(ours.clone().into_record());
    assert_eq!(ours.first.arithmetic(), Arithmetic::Contract);
    assert_eq!(theirs.first.arithmetic(), Arithmetic::TensorOperations);
    let trained = |mut net: Net, device: &Device| {
        let mut optimizer = SgdConfig::new().init();
        for step in 0..3 {
            let (loss, _) = net.loss(&batch(step, device), true);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = optimizer.step(0.05, net, gradients);
            // Replicas of a step.
            for seed in [40 + step, 50 + step] {
                let replica = net.clone().fork(device);
                replica.loss(&batch(seed, device), true);
            }
        }
        net
    };
    let (ours, theirs) = (trained(ours, &flex), trained(theirs, &other));
    for (one, other) in norms(&ours).iter().zip(&norms(&theirs)) {
        near(&floats(one.running_mean.value()), &floats(other.running_mean.value()));
        near(&floats(one.running_var.value()), &floats(other.running_var.value()));
    }
    let scores =
        |net: &Net, device: &Device| floats(net.valid().forward(batch(9, &device.clone().inner()).inputs, false));
    near(&scores(&ours, &flex), &scores(&theirs, &other));
    // Over to the other backend, and back.
    let moved = ours.clone().fork(&other);
    near(&scores(&moved, &other), &scores(&ours, &flex));
}
