//! The layer alone, and the layer with ReLU.

use batchnorm_burn::{Activation, BatchNormConfig};
use burn::tensor::{Device, Tensor, activation::relu};

use crate::rounds::{Spread, agree, interleaved, milliseconds, random};

/// (N, C) and planes, small and large.
const SHAPES: [[usize; 4]; 6] =
    [[60, 100, 1, 1], [256, 1024, 1, 1], [32, 16, 14, 14], [32, 64, 28, 28], [32, 128, 28, 28], [32, 64, 56, 56]];

type Ours = batchnorm_burn::BatchNorm;
type Theirs = burn::nn::BatchNorm;

/// Forward and backward of one layer on each shape, and the ratio net of what the loss costs without a layer; then the
/// same with ReLU behind it, here in the same pass.
pub fn report(rounds: usize, device: &Device) {
    println!("layer alone, forward and backward (the loss alone is subtracted in the ratio, round by round)");
    table(rounds, device, |norm, x| norm.forward(x), |norm, x| norm.forward(x));
    println!("\nlayer and ReLU: here in one pass, in Burn's layer one after the other");
    table(rounds, device, |norm, x| norm.then(Activation::Relu).forward(x), |norm, x| relu(norm.forward(x)));
}

fn table(
    rounds: usize,
    device: &Device,
    forward: fn(&Ours, Tensor<4>) -> Tensor<4>,
    theirs_forward: fn(&Theirs, Tensor<4>) -> Tensor<4>,
) {
    println!("{:<18}{:<28}{:<28}{:<28}net ratio", "shape", "batchnorm", "Burn", "loss alone");
    for shape in SHAPES {
        let ours = BatchNormConfig::new(shape[1]).init(device);
        let theirs = burn::nn::BatchNormConfig::new(shape[1]).init(device);
        let (x, dy) = (random(shape, device), random(shape, device));
        checked(&ours, &theirs, &x, &dy);
        fused_checked(&ours, &x, &dy);
        let step = |forward: &dyn Fn(Tensor<4>) -> Tensor<4>| {
            let x = x.clone().require_grad();
            let mut dx = None;
            let time = milliseconds(|| {
                let gradients = (forward(x.clone()) * dy.clone()).sum().backward();
                dx = x.grad(&gradients);
            });
            assert!(dx.is_some());
            time
        };
        let [own, burns, none] = interleaved(
            rounds,
            [
                &mut || step(&|x| forward(&ours, x)),
                &mut || step(&|x| theirs_forward(&theirs, x)),
                // The graph without a layer: the input is all there is of it.
                &mut || step(&|x| x),
            ],
        );
        let net = own.iter().zip(&burns).zip(&none).map(|((own, burns), none)| (burns - none) / (own - none));
        println!(
            "{:<18}{:<28}{:<28}{:<28}{}",
            format!("{shape:?}"),
            Spread::of(own.iter().copied()),
            Spread::of(burns.iter().copied()),
            Spread::of(none.iter().copied()),
            Spread::of(net)
        );
    }
}

/// Ends the program unless both layers give the same output and gradients, by f32's rounding.
fn checked(ours: &Ours, theirs: &Theirs, x: &Tensor<4>, dy: &Tensor<4>) {
    let [input, same_input] = [x.clone().require_grad(), x.clone().require_grad()];
    let (y, same_y) = (ours.forward(input.clone()), theirs.forward(same_input.clone()));
    let gradients = (y.clone() * dy.clone()).sum().backward();
    let same_gradients = (same_y.clone() * dy.clone()).sum().backward();
    agree("y", y.inner(), same_y.inner(), 2e-6);
    agree("dx", input.grad(&gradients).unwrap(), same_input.grad(&same_gradients).unwrap(), 2e-6);
    for (name, ours, theirs) in [("dgamma", &ours.gamma, &theirs.gamma), ("dbeta", &ours.beta, &theirs.beta)] {
        agree(name, ours.val().grad(&gradients).unwrap(), theirs.val().grad(&same_gradients).unwrap(), 2e-5);
    }
}

/// Ends the program unless ReLU in one pass is ReLU after the layer. Not after Burn's: where its rounding puts a value
/// on the other side of 0, the gradients differ by more than rounding.
fn fused_checked(norm: &Ours, x: &Tensor<4>, dy: &Tensor<4>) {
    let [one, two] = [0, 1].map(|passes| {
        let input = x.clone().require_grad();
        let y = if passes == 0 {
            norm.then(Activation::Relu).forward(input.clone())
        } else {
            relu(norm.forward(input.clone()))
        };
        let gradients = (y.clone() * dy.clone()).sum().backward();
        (y.inner(), input.grad(&gradients).unwrap())
    });
    agree("y behind ReLU", one.0, two.0, 0.0);
    agree("dx behind ReLU", one.1, two.1, 0.0);
}
