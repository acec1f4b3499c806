//! Forward and backward through autodiff, this module against Burn's own, interleaved.
//!
//! `cargo run --release -p batchnorm-burn --example against_burn`

use std::time::Instant;

use batchnorm_burn::BatchNormConfig;
use burn::tensor::{Device, Distribution, Tensor};

/// Milliseconds of the fastest and the middle of some calls.
fn timed(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

fn main() {
    let device = Device::default().autodiff();
    for shape in [[60, 100, 1, 1], [256, 1024, 1, 1], [32, 16, 14, 14], [32, 64, 28, 28]] {
        let ours = BatchNormConfig::new(shape[1]).init(&device);
        let theirs = burn::nn::BatchNormConfig::new(shape[1]).init(&device);
        let x = Tensor::<4>::random(shape, Distribution::Default, &device);
        let dy = Tensor::<4>::random(shape, Distribution::Default, &device);
        let step = |forward: &dyn Fn(Tensor<4>) -> Tensor<4>| {
            let x = x.clone().require_grad();
            let start = Instant::now();
            let y = forward(x.clone());
            let gradients = (y * dy.clone()).sum().backward();
            let milliseconds = start.elapsed().as_secs_f64() * 1e3;
            assert!(x.grad(&gradients).is_some());
            milliseconds
        };
        let (mut own, mut burns, mut none) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..200 {
            own.push(step(&|x| ours.forward(x)));
            burns.push(step(&|x| theirs.forward(x)));
            none.push(step(&|x| x * 2.0));
        }
        println!(
            "{shape:?}: (fastest, middle) ms: ours {:.3?}, Burn's {:.3?}, the loss alone {:.3?}",
            timed(&mut own),
            timed(&mut burns),
            timed(&mut none)
        );
    }
}
