//! The bare loops of the targets' shapes beside sweeps: milliseconds, medians.
//!
//! `cargo run --release -p batchnorm-bare-loops --example bare [-- THREADS [SAMPLESxCHANNELSxPLANE]]`

use std::time::Instant;

use batchnorm_bare_loops::{Bare, Buffers, InstructionSet, Order, Shape, second_thread, sweeps};

const SHAPES: [[usize; 3]; 8] = [
    [32, 64, 112 * 112],
    [32, 256, 56 * 56],
    [32, 512, 28 * 28],
    [32, 1024, 14 * 14],
    [32, 2048, 7 * 7],
    [256, 1024, 1],
    [128, 16, 28 * 28],
    [8, 576, 4],
];

fn main() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(processors);
    println!("{}", second_thread(threads).verdict());
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the first pool");
    println!(
        "{:>14} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  forms",
        "shape", "order", "set", "read", "copy", "stream", "train", "eval", "backward"
    );
    let only = std::env::args().nth(2);
    for [samples, channels, plane] in SHAPES {
        if only.as_ref().is_some_and(|only| *only != format!("{samples}x{channels}x{plane}")) {
            continue;
        }
        for order in [Order::Planes, Order::Rows] {
            for set in [InstructionSet::Avx512, InstructionSet::Avx2] {
                row(Shape { samples, channels, plane, order }, set, threads);
            }
        }
    }
}

fn row(shape: Shape, set: InstructionSet, threads: usize) {
    let Some(mut bare) = Bare::new(shape, set, threads) else { return };
    let mut state = 1u64;
    let mut array = |len: usize| -> Vec<f32> {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 + 0.5
        };
        (0..len).map(next).collect()
    };
    let (len, channels) = (shape.values(), shape.channels);
    let (x, dy, mut y, mut dx) = (array(len), array(len), array(len), array(len));
    let of_channels: Vec<Vec<f32>> = (0..6).map(|_| array(channels)).collect();
    let [gamma, beta, mean, variance, mut dgamma, mut dbeta]: [Vec<f32>; 6] = of_channels.try_into().expect("six");
    let mut b = Buffers {
        x: &x,
        dy: &dy,
        gamma: &gamma,
        beta: &beta,
        running_mean: &mean,
        running_variance: &variance,
        y: &mut y,
        dx: &mut dx,
        dgamma: &mut dgamma,
        dbeta: &mut dbeta,
    };
    bare.prepare(&mut b).expect("right answers");
    let mut times = [const { Vec::new() }; 6];
    for _ in 0..11 {
        for (number, times) in times.iter_mut().enumerate() {
            let mut call = || match number {
                0 => sweeps::read(b.x, threads),
                1 => sweeps::copy(b.x, b.y, threads),
                2 => sweeps::stream(b.x, b.y, threads),
                3 => bare.train(&mut b),
                4 => bare.eval(&mut b),
                _ => bare.backward(&mut b),
            };
            call();
            let start = Instant::now();
            call();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        format!("{:8.4}", times[times.len() / 2])
    });
    let name = format!("{}x{}x{}", shape.samples, shape.channels, shape.plane);
    println!(
        "{name:>14} {:>6} {:>7} {}  {}",
        format!("{:?}", shape.order),
        format!("{set:?}"),
        medians.join(" "),
        bare.forms().join(" ")
    );
}
