//! The layer alone, pass by pass: in training without a backward pass, with one, and in evaluation. Of few values a channel
//! the work around the arithmetic decides.

use batchnorm_burn::BatchNormConfig;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::rounds::{Spread, interleaved, milliseconds, random};

/// Features, and planes; an axis of length 1 at the end is left out.
const SHAPES: [[usize; 4]; 10] = [
    [2, 1024, 1, 1],
    [8, 1024, 1, 1],
    [32, 1024, 1, 1],
    [128, 1024, 1, 1],
    [60, 100, 1, 1],
    [2, 512, 2, 2],
    [8, 576, 2, 2],
    [8, 64, 16, 16],
    [32, 16, 14, 14],
    [32, 64, 28, 28],
];

/// Calls a round: so that a round takes about a millisecond or more.
fn calls(shape: [usize; 4]) -> usize {
    (400_000 / shape.iter().product::<usize>()).clamp(1, 100)
}

/// Both layers on each shape, pass by pass.
pub fn report(rounds: usize, device: &Device) {
    println!(
        "layer alone, pass by pass, microseconds a call; ratio: Burn's time divided by ours, above 1 where we are faster"
    );
    println!("{:<20}{:<14}{:<28}{:<28}ratio", "shape", "pass", "batchnorm", "Burn");
    for shape in SHAPES {
        if shape[2..] == [1, 1] {
            of_shape::<2>(rounds, device, [shape[0], shape[1]], calls(shape));
        } else {
            of_shape::<4>(rounds, device, shape, calls(shape));
        }
    }
}

/// The name of a pass, and a call of it: of our layer, and of Burn's.
type Pass<'p> = (&'p str, &'p dyn Fn(), &'p dyn Fn());

fn of_shape<const D: usize>(rounds: usize, device: &Device, shape: [usize; D], calls: usize) {
    let ours = BatchNormConfig::new(shape[1]).init(device);
    let theirs = burn::nn::BatchNormConfig::new(shape[1]).init(device);
    let (x, dy) = (random(shape, device), random(shape, device));
    let (plain, our_use, their_use) = (x.clone().inner(), ours.valid(), theirs.valid());
    let backward = |forward: &dyn Fn(Tensor<D>) -> Tensor<D>| {
        let x = x.clone().require_grad();
        let gradients = (forward(x.clone()) * dy.clone()).sum().backward();
        assert!(x.grad(&gradients).is_some());
    };
    let repeated = |work: &dyn Fn()| milliseconds(|| (0..calls).for_each(|_| work())) * 1e3 / calls as f64;
    let passes: [Pass; 3] = [
        ("training", &|| drop(ours.forward(x.clone())), &|| drop(theirs.forward(x.clone()))),
        ("backward too", &|| backward(&|x| ours.forward(x)), &|| backward(&|x| theirs.forward(x))),
        ("evaluation", &|| drop(our_use.forward(plain.clone())), &|| drop(their_use.forward(plain.clone()))),
    ];
    for (name, one, other) in passes {
        let [own, burns] = interleaved(rounds, [&mut || repeated(one), &mut || repeated(other)]);
        let ratio = Spread::of(own.iter().zip(&burns).map(|(own, burns)| burns / own));
        let [own, burns] = [own, burns].map(Spread::of);
        println!("{:<20}{name:<14}{own:<28}{burns:<28}{ratio}", format!("{shape:?}"));
    }
}
