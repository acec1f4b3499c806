//! The layer alone.

use batchnorm_burn::BatchNormConfig;
use burn::tensor::{Device, Tensor};

use crate::rounds::{Spread, agree, interleaved, milliseconds, random};

/// (N, C) and planes, small and large.
const SHAPES: [[usize; 4]; 6] =
    [[60, 100, 1, 1], [256, 1024, 1, 1], [32, 16, 14, 14], [32, 64, 28, 28], [32, 128, 28, 28], [32, 64, 56, 56]];

/// Forward and backward of one layer on each shape, and the ratio net of what the loss costs without a layer.
pub fn report(rounds: usize, device: &Device) {
    println!("layer alone, forward and backward (the loss alone is subtracted in the ratio, round by round)");
    println!("{:<18}{:<28}{:<28}{:<28}net ratio", "shape", "batchnorm", "Burn", "loss alone");
    for shape in SHAPES {
        let ours = BatchNormConfig::new(shape[1]).init(device);
        let theirs = burn::nn::BatchNormConfig::new(shape[1]).init(device);
        let (x, dy) = (random(shape, device), random(shape, device));
        checked(&ours, &theirs, &x, &dy);
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
                &mut || step(&|x| ours.forward(x)),
                &mut || step(&|x| theirs.forward(x)),
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
fn checked(ours: &batchnorm_burn::BatchNorm, theirs: &burn::nn::BatchNorm, x: &Tensor<4>, dy: &Tensor<4>) {
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
