//! Whole training steps of the models that the drop-in tests have.

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};

use crate::rounds::{Spread, agree, interleaved, milliseconds, random};

// Parts of the models that only the tests use are dead here.
#[allow(dead_code)]
mod theirs {
    pub mod mlp {
        use burn::nn::{BatchNorm, BatchNormConfig};
        include!("../../tests/models/mlp.rs");
    }
    pub mod cnn {
        use burn::nn::{BatchNorm, BatchNormConfig};
        include!("../../tests/models/cnn.rs");
    }
}

// Parts of the models that only the tests use are dead here.
#[allow(dead_code)]
mod ours {
    pub mod mlp {
        use batchnorm_burn::{BatchNorm, BatchNormConfig};
        include!("../../tests/models/mlp.rs");
    }
    pub mod cnn {
        use batchnorm_burn::{BatchNorm, BatchNormConfig};
        include!("../../tests/models/cnn.rs");
    }
}

/// A whole step of the perceptron and of the convolutional network.
pub fn report(rounds: usize, device: &Device) {
    println!("whole training step: forward, loss, backward, SGD");
    println!("{:<34}{:<28}{:<28}ratio", "model", "batchnorm", "Burn");
    let theirs = theirs::mlp::MlpConfig::new(burn::nn::BatchNormConfig::new(100)).init(device);
    let ours = ours::mlp::MlpConfig::new(batchnorm_burn::BatchNormConfig::new(100)).init(device);
    row("MLP 64-100-100-10, batch 60", rounds, [60, 1, 8, 8], theirs, ours, |m, x| m.forward(x), |m, x| m.forward(x));

    let theirs = theirs::cnn::CnnConfig::new(28).with_channels([1, 16, 32]).init(device);
    let ours = ours::cnn::CnnConfig::new(28).with_channels([1, 16, 32]).init(device);
    row(
        "CNN 1-16-32 of 28x28, batch 32",
        rounds,
        [32, 1, 28, 28],
        theirs,
        ours,
        |m, x| m.forward(x),
        |m, x| m.forward(x),
    );
}

type Forward<M> = fn(&M, Tensor<4>) -> Tensor<2>;

fn row<Theirs: Module, Ours: Module>(
    name: &str,
    rounds: usize,
    shape: [usize; 4],
    theirs: Theirs,
    ours: Ours,
    run_theirs: Forward<Theirs>,
    run_ours: Forward<Ours>,
) {
    let device = theirs.devices()[0].clone();
    // Equal weights, by the record.
    let record = theirs.clone().into_record().into_bytes().expect("a record in memory");
    let ours = ours.load_record(ModuleRecord::from_bytes(record).expect("a record just written"));
    let (x, target) = (random(shape, &device), random([shape[0], 10], &device));

    let (mut theirs, mut ours) = (Trainer::new(theirs, run_theirs), Trainer::new(ours, run_ours));
    agree("outputs before a step", ours.output(&x), theirs.output(&x), 2e-6);
    ours.step(&x, &target);
    theirs.step(&x, &target);
    agree("outputs after a step", ours.output(&x), theirs.output(&x), 2e-5);

    let [own, burns] = interleaved(
        rounds,
        [&mut || milliseconds(|| ours.step(&x, &target)), &mut || milliseconds(|| theirs.step(&x, &target))],
    );
    let ratio = own.iter().zip(&burns).map(|(own, burns)| burns / own);
    println!(
        "{name:<34}{:<28}{:<28}{}",
        Spread::of(own.iter().copied()),
        Spread::of(burns.iter().copied()),
        Spread::of(ratio)
    );
}

/// A model in training.
struct Trainer<M: Module> {
    /// Always there, but during a step.
    model: Option<M>,
    forward: Forward<M>,
    optimizer: burn::optim::ModuleOptimizer,
}

impl<M: Module> Trainer<M> {
    fn new(model: M, forward: Forward<M>) -> Self {
        Trainer { model: Some(model), forward, optimizer: SgdConfig::new().init() }
    }

    /// The output by the batch's statistics, so that conventions of the running ones do not matter.
    fn output(&self, x: &Tensor<4>) -> Tensor<2> {
        (self.forward)(self.model.as_ref().expect("between steps"), x.clone()).inner()
    }

    fn step(&mut self, x: &Tensor<4>, target: &Tensor<2>) {
        let model = self.model.take().expect("between steps");
        let loss = ((self.forward)(&model, x.clone()) - target.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        // A small rate: hundreds of steps on random values must not end in numbers that take longer.
        self.model = Some(self.optimizer.step(1e-4, model, gradients));
    }
}
