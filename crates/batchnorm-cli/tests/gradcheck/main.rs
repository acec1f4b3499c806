//! `batchnorm gradcheck`: our own layers, and somebody else's gradients, through files.

#[path = "../support/arrays.rs"]
mod arrays;
mod errors;
mod mistakes_are_named;
mod our_layers_are_right;
mod siblings_and_tables;
mod somebody;
#[path = "../support/mod.rs"]
mod support;

use arrays::Folder;
use batchnorm_reference::random::Random;
use serde_json::Value;
use support::{expect_documented, run, text};

fn gradcheck(folder: &Folder, arguments: &[&str]) -> std::process::Output {
    run(folder.0.path(), &[&["gradcheck"], arguments].concat())
}

fn json(folder: &Folder, arguments: &[&str]) -> (Value, i32) {
    let output = gradcheck(folder, &[arguments, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)));
    expect_documented(&value);
    (value, output.status.code().expect("it ended"))
}

/// Numbers around a mean, of deviation about 1: sums of four uniform ones.
fn values_around(random: &mut Random, count: usize, mean: f64) -> Vec<f64> {
    (0..count).map(|_| mean + (0..4).map(|_| random.uniform() - 0.5).sum::<f64>() * 1.7).collect()
}
