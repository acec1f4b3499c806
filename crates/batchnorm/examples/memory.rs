//! What a training step of a deep stack keeps in memory, by the form of its batch norm layers.
//!
//! `cargo run --release -p batchnorm --example memory [-- LAYERS]`

#[path = "../tests/support/stack.rs"]
mod stack;

use peak_alloc::PeakAlloc;
use stack::{FORMS, Stack};
use std::time::Instant;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SHAPE: [usize; 4] = [16, 64, 56, 56];

fn main() {
    let depth: usize = std::env::args().nth(1).and_then(|depth| depth.parse().ok()).unwrap_or(20);
    let stack = Stack::new(depth, SHAPE);
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let input: Vec<f32> = (0..SHAPE.iter().product()).map(|_| random()).collect();
    let array = size_of_val(&input[..]) as f64;
    println!("{depth} layers on {SHAPE:?}: one array is {:.1} MB", array / 1e6);
    println!("{:>16} {:>9} {:>7} {:>9} {:>22}", "form", "peak MB", "arrays", "ms", "gradients differ by");
    let mut first: Option<Vec<f64>> = None;
    for form in FORMS {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        let gradients = stack.step(&input, form);
        let time = start.elapsed().as_secs_f64() * 1e3;
        let peak = (MEMORY.peak_usage() - before) as f64;
        let first = first.get_or_insert_with(|| gradients.clone());
        let largest = first.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        let error = gradients.iter().zip(&*first).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
        let (form, relative) = (format!("{form:?}"), error / largest);
        println!("{form:>16} {:9.1} {:7.1} {time:9.1} {relative:22.1e}", peak / 1e6, peak / array);
    }
}
