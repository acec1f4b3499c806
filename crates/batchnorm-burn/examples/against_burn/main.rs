//! This module against Burn's own: the layer alone, pass by pass, then forward and backward net of the loss, and whole training steps of
//! the two models of `tests/models`.
//!
//! `cargo run --release -p batchnorm-burn --example against_burn [rounds]` (40 rounds unless told)
//!
//! The layers compared run in interleaved rounds, each in another order, on the same values; first it is checked that
//! the answers agree. Figures are medians, with the quartiles in brackets.

mod layer;
mod passes;
mod rounds;
mod step;

use batchnorm_burn::{Arithmetic, BatchNormConfig};
use burn::tensor::Device;

fn main() {
    let rounds = match std::env::args().nth(1).map(|argument| argument.parse()) {
        None => 40,
        Some(Ok(rounds)) if rounds > 0 => rounds,
        Some(_) => {
            eprintln!("against_burn: rounds: expected a number above 0; or leave it out for 40");
            std::process::exit(2);
        }
    };
    let device = Device::default().autodiff();
    assert_eq!(BatchNormConfig::new(1).init(&device).arithmetic(), Arithmetic::Contract);
    device.seed(rounds::SEED);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{threads} cores, {rounds} rounds, seed {}; milliseconds: median (quartiles)\n", rounds::SEED);
    passes::report(rounds, &device);
    println!();
    layer::report(rounds, &device);
    println!();
    step::report(rounds, &device);
}
