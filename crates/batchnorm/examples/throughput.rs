//! How fast the layer's calls are beside a copy of the same bytes, in one interleaved run: medians in milliseconds.
//! `eval=` and `back=` are evaluation and backward in place, `train~` and `back~` those of the invertible form.
//!
//! `cargo run --release -p batchnorm --example throughput [-- ROUNDS]` on an otherwise idle machine.

use batchnorm::{Axes, Config, Parameters, Tier, View, ViewMut};
use std::time::Instant;

const SHAPES: [[usize; 4]; 7] = [
    [32, 64, 112, 112],
    [32, 256, 56, 56],
    [32, 512, 28, 28],
    [32, 1024, 14, 14],
    [32, 2048, 7, 7],
    [256, 1024, 1, 1],
    [128, 100, 1, 1],
];

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    println!(
        "{:>18} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "shape", "order", "tier", "copy", "train", "eval", "backward", "eval=", "back=", "train~", "back~"
    );
    for [n, c, h, w] in SHAPES {
        let len = n * c * h * w;
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let x: Vec<f32> = (0..len).map(|_| random()).collect();
        let dy: Vec<f32> = (0..len).map(|_| random()).collect();
        let (mut y, mut dx) = (vec![0.0f32; len], vec![0.0f32; len]);
        let (mut own, mut own_dy) = (x.clone(), dy.clone());
        for (order, shape, axes) in [("nchw", [n, c, h, w], Axes::NCHW), ("nhwc", [n, h, w, c], Axes::NHWC)] {
            for tier in Tier::available() {
                let normalizer = Config::pytorch().tier(tier).normalizer().expect("an available tier");
                let running = batchnorm::RunningStatistics::start(c).expect("channels");
                let none = Parameters::<f32>::default();
                let view = View::new(&x, &shape, axes).expect("a dense array");
                let view_dy = View::new(&dy, &shape, axes).expect("a dense array");
                let mut times = [const { Vec::new() }; 8];
                for _ in 0..rounds {
                    let start = Instant::now();
                    copy(&x, &mut y);
                    times[0].push(start.elapsed());
                    let mut out = ViewMut::new(&mut y, &shape, axes).expect("a dense array");
                    let start = Instant::now();
                    let (saved, _) = normalizer.train(&view, none, None, &mut out).expect("shapes fit");
                    times[1].push(start.elapsed());
                    let start = Instant::now();
                    normalizer.eval(&view, none, Some(&running), &mut out).expect("shapes fit");
                    times[2].push(start.elapsed());
                    let mut out = ViewMut::new(&mut dx, &shape, axes).expect("a dense array");
                    let start = Instant::now();
                    saved.backward(&view, &view_dy, &mut out).expect("shapes fit");
                    times[3].push(start.elapsed());
                    own_dy.copy_from_slice(&dy);
                    let mut over = ViewMut::new(&mut own_dy, &shape, axes).expect("a dense array");
                    let start = Instant::now();
                    saved.backward_in_place(&view, &mut over).expect("shapes fit");
                    times[5].push(start.elapsed());
                    own.copy_from_slice(&x);
                    let mut over = ViewMut::new(&mut own, &shape, axes).expect("a dense array");
                    let start = Instant::now();
                    normalizer.eval_in_place(&mut over, None, none, Some(&running)).expect("shapes fit");
                    times[4].push(start.elapsed());
                    let start = Instant::now();
                    let (saved, _) = normalizer.train_invertible(&mut over, none, None).expect("shapes fit");
                    times[6].push(start.elapsed());
                    own_dy.copy_from_slice(&dy);
                    let mut over_dy = ViewMut::new(&mut own_dy, &shape, axes).expect("a dense array");
                    let start = Instant::now();
                    saved.backward(&over.as_view(), &mut over_dy).expect("shapes fit");
                    times[7].push(start.elapsed());
                }
                let [copy, train, eval, backward, eval_own, back_own, train_inverse, back_inverse] =
                    times.map(|mut column| {
                        column.sort();
                        column[column.len() / 2].as_secs_f64() * 1e3
                    });
                println!(
                    "{:>18} {order:>5} {:>9} {copy:8.3} {train:8.3} {eval:8.3} {backward:8.3} \
                     {eval_own:8.3} {back_own:8.3} {train_inverse:8.3} {back_inverse:8.3}",
                    format!("{n}x{c}x{h}x{w}"),
                    format!("{tier:?}")
                );
            }
        }
    }
}

/// A copy over all threads where that pays.
fn copy(from: &[f32], to: &mut [f32]) {
    if from.len() < 1 << 16 {
        return to.copy_from_slice(from);
    }
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16)).for_each(|(to, from)| to.copy_from_slice(from));
    }
    #[cfg(not(feature = "rayon"))]
    to.copy_from_slice(from);
}
