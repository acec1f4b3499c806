//! How fast the layer's calls are beside a copy of the same bytes, in one interleaved run: medians in milliseconds.
//! `eval=` and `back=` are evaluation and backward in place, `train~` and `back~` those of the invertible form.
//!
//! `cargo run --release -p batchnorm --example throughput [-- ROUNDS [TYPE [SHAPE [RATIO]]]]` on an otherwise idle machine.
//! TYPE is f32, f64, f16 or bf16; SHAPE all, or one as 32x64x112x112; RATIO a channel's mean in standard deviations, as 30, or as
//! 30/16 where one channel in 16 has it.

use batchnorm::{Axes, Config, Element, Normalizer, Parameters, Tier, View, ViewMut};
use std::time::{Duration, Instant};

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
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let (numbers, shape, ratio) = (arguments.next(), arguments.next(), arguments.next().unwrap_or_default());
    let shape = shape.filter(|shape| shape != "all").map(|shape| {
        let mut sizes = shape.split('x').map(|size| size.parse().expect("a shape as 32x64x112x112"));
        std::array::from_fn(|_| sizes.next().expect("a shape of four sizes"))
    });
    let shapes = shape.as_ref().map_or(&SHAPES[..], std::slice::from_ref);
    let (ratio, every) = ratio.split_once('/').unwrap_or((&ratio, "1"));
    let (ratio, every) = (ratio.parse().unwrap_or(0.0), every.parse().expect("a number of channels"));
    let what = Data { rounds, shapes, ratio, every };
    match numbers.as_deref() {
        None | Some("f32") => measure::<f32>(&what, Some(invertible)),
        Some("f64") => measure::<f64>(&what, Some(invertible)),
        #[cfg(feature = "half")]
        Some("f16") => measure::<half::f16>(&what, None),
        #[cfg(feature = "half")]
        Some("bf16") => measure::<half::bf16>(&what, None),
        Some(other) => eprintln!("{other} is not a number type of this build: f32, f64, f16, bf16"),
    }
}

/// What is measured.
struct Data<'s> {
    rounds: usize,
    shapes: &'s [[usize; 4]],
    /// A channel's mean in standard deviations, and that of how many channels one has it; the others have a mean of 0.
    ratio: f64,
    every: usize,
}

/// Seconds of an invertible training over x and of its backward pass over dy.
type Invertible<T> = fn(&Normalizer, &mut [T], &mut [T], &[usize; 4], Axes) -> [Duration; 2];

fn invertible<T: Element<Param = T> + batchnorm::Parameter>(
    normalizer: &Normalizer,
    x: &mut [T],
    dy: &mut [T],
    shape: &[usize; 4],
    axes: Axes,
) -> [Duration; 2] {
    let mut over = ViewMut::new(x, shape, axes).expect("a dense array");
    let start = Instant::now();
    let (saved, _) = normalizer.train_invertible(&mut over, Parameters::<T>::default(), None).expect("shapes fit");
    let train = start.elapsed();
    let mut over_dy = ViewMut::new(dy, shape, axes).expect("a dense array");
    let start = Instant::now();
    saved.backward(&over.as_view(), &mut over_dy).expect("shapes fit");
    [train, start.elapsed()]
}

fn measure<T: Element>(&Data { rounds, shapes, ratio, every }: &Data, invertible: Option<Invertible<T>>) {
    println!(
        "{:>18} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "shape", "order", "tier", "copy", "train", "eval", "backward", "eval=", "back=", "train~", "back~"
    );
    for &[n, c, h, w] in shapes {
        let len = n * c * h * w;
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Uniform, of mean 0 and deviation 1.
            ((state >> 40) as f64 / (1 << 24) as f64 - 0.5) * 12f64.sqrt()
        };
        let dy: Vec<T> = (0..len).map(|_| T::from_f64(random())).collect();
        let (mut y, mut dx) = (vec![T::default(); len], vec![T::default(); len]);
        for (order, shape, axes) in [("nchw", [n, c, h, w], Axes::NCHW), ("nhwc", [n, h, w, c], Axes::NHWC)] {
            let channel = |at: usize| if order == "nchw" { at / (h * w) % c } else { at % c };
            let mean = |at: usize| if channel(at) % every == 0 { ratio } else { 0.0 };
            let x: Vec<T> = (0..len).map(|at| T::from_f64(mean(at) + random())).collect();
            let (mut own, mut own_dy) = (x.clone(), dy.clone());
            // Not the slowest: it is for processors that have no other.
            for tier in Tier::available().into_iter().filter(|&tier| tier == Tier::best() || tier != Tier::Baseline) {
                let normalizer = Config::pytorch().tier(tier).normalizer().expect("an available tier");
                let running = batchnorm::RunningStatistics::start(c).expect("channels");
                let none = Parameters::<T::Param>::default();
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
                    if let Some(invertible) = invertible {
                        own_dy.copy_from_slice(&dy);
                        let [train, backward] = invertible(&normalizer, &mut own, &mut own_dy, &shape, axes);
                        times[6].push(train);
                        times[7].push(backward);
                    }
                }
                let [copy, train, eval, backward, eval_own, back_own, train_inverse, back_inverse] =
                    times.map(|mut column| {
                        column.sort();
                        column.get(column.len() / 2).map_or(f64::NAN, |middle| middle.as_secs_f64() * 1e3)
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
fn copy<T: Copy + Send + Sync>(from: &[T], to: &mut [T]) {
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
