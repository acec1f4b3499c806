//! A network of two norms, and what its running statistics are to be.

#![allow(dead_code, missing_docs)]

use batchnorm::{BatchMoments, Moments};
use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, activation::relu};

use super::{Source, bits, by_channel, floats};

#[derive(Module, Debug)]
pub struct Net {
    pub first: BatchNorm,
    pub linear: Linear,
    pub second: BatchNorm,
}

impl Net {
    pub fn new(device: &Device) -> Net {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        Net { first: norm(3), linear: LinearConfig::new(3, 4).init(device), second: norm(4) }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.linear.forward(self.first.forward(x))))
    }
}

pub fn device() -> Device {
    Device::default().autodiff()
}

pub fn batches(seed: u64, sizes: &[usize]) -> Vec<Tensor<2>> {
    let mut source = Source::new(seed);
    sizes.iter().enumerate().map(|(i, &n)| source.tensor::<2>(&[n, 3], &device()) * (i + 1) as f64 + i as f64).collect()
}

pub fn state(norm: &BatchNorm) -> [Vec<u32>; 2] {
    [bits(norm.running_mean.value()), bits(norm.running_var.value())]
}

pub fn states(net: &Net) -> [[Vec<u32>; 2]; 2] {
    [state(&net.first), state(&net.second)]
}

/// What a layer of the same options has, after one update with the moments of these.
pub fn updated_by(norm: &BatchNorm, batches: &[BatchMoments]) -> [Vec<u32>; 2] {
    let alone = norm.valid();
    let pooled = batches[1..].iter().fold(batches[0].clone(), |pooled, batch| pooled.merge(batch).unwrap());
    alone.commit(&pooled).unwrap();
    state(&alone)
}

pub fn moments(x: &Tensor<2>) -> BatchMoments {
    let (shape, values) = (x.dims(), floats(x.clone()));
    by_channel(&values, &shape).iter().map(|values| Moments::of(values)).collect::<Vec<_>>().into()
}

/// A step as burn-train's strategy for several devices makes it: a clone for each, forked on a worker's thread, trained,
/// dropped. `order` tells who is waited for when.
pub fn step_on_replicas(net: &Net, inputs: &[Tensor<2>], order: &[usize]) {
    let between = net.clone();
    let replicas: Vec<Net> = inputs.iter().map(|_| between.clone()).collect();
    let mut waiting: Vec<Option<(Net, Tensor<2>)>> =
        replicas.into_iter().zip(inputs.iter().cloned()).map(Some).collect();
    for &number in order {
        let (replica, x) = waiting[number].take().unwrap();
        let worker = std::thread::spawn(move || {
            let replica = replica.fork(&device());
            let gradients = replica.forward(x).square().mean().backward();
            drop(GradientsParams::from_grads(gradients, &replica));
        });
        worker.join().unwrap();
    }
}
