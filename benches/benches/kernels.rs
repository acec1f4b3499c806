//! `cargo bench` in `benches/`: the calls by layout, type, instruction set, threads and fusion. Each checks its answers
//! against the readable twin before it is timed; outputs are allocated beforehand. Throughput counts the bytes of one
//! array: divide by it what a copy moves to compare (`layout/copy`).

use std::fmt::Debug;
use std::time::Duration;

use batchnorm::{
    Activation, Config, Element, GradientBuffers, Input, Normalizer, Parameters, RunningStatistics, Saved, Tier, View,
    ViewMut,
};
use batchnorm_benches::{Data, EPSILON, Fusion, Order, agree, one_rounding};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use half::{bf16, f16};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Samples, channels, plane.
type Shape = (usize, usize, usize);
const LARGE: Shape = (32, 64, 56 * 56);
const SHAPES: [(&str, Shape); 6] = [
    ("32x64x56x56", LARGE),
    ("32x1024x14x14", (32, 1024, 14 * 14)),
    ("32x512x7x7", (32, 512, 7 * 7)),
    ("256x1024", (256, 1024, 1)),
    ("128x100", (128, 100, 1)),
    ("4x1x512x512", (4, 1, 512 * 512)),
];

struct Case<T> {
    data: Data<T>,
    fusion: Fusion,
    normalizer: Normalizer,
    y: Vec<T>,
    dx: Vec<T>,
    dresidual: Vec<T>,
}

impl<T: Element + Debug> Case<T> {
    /// A case whose answers have been found to be right.
    fn checked((samples, channels, plane): Shape, order: Order, tier: Tier, fusion: Fusion) -> Case<T> {
        let data = Data::new(samples, channels, plane, order);
        let activation = if fusion == Fusion::Nothing { Activation::Identity } else { Activation::Relu };
        let normalizer =
            Config::pytorch().epsilon(EPSILON).tier(tier).activation(activation).normalizer().expect("a tier there is");
        // Poison: what is not written shows.
        let poison = vec![T::from_f64(f64::NAN); data.x.len()];
        let (y, dx, dresidual) = (poison.clone(), poison.clone(), poison);
        let mut case = Case { data, fusion, normalizer, y, dx, dresidual };
        let right = case.data.answers(fusion);
        let saved = case.train();
        let (dgamma, dbeta) = case.backward(&saved);
        let bound = one_rounding::<T>();
        agree("y", &case.y, &right.y, bound);
        // Where the mask is read from a rounded output, one that vanishes in rounding has no gradient.
        agree("dx", &case.dx, &right.dx, bound);
        if fusion == Fusion::AddRelu {
            agree("dresidual", &case.dresidual, &right.dresidual, bound);
        }
        // Sums of f64, which no type of the array rounds.
        agree("dgamma", &dgamma, &right.dgamma, 1e-9);
        agree("dbeta", &dbeta, &right.dbeta, 1e-9);
        case.y.fill(T::from_f64(f64::NAN));
        case.eval(&running(channels));
        agree("y of eval", &case.y, &case.data.evaluated(fusion, MEAN, VARIANCE), bound);
        case
    }

    fn train(&mut self) -> Saved {
        let Data { shape, axes, ref x, ref residual, ref gamma, ref beta, .. } = self.data;
        let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
        let (x, residual) = (View::new(x, &shape, axes).unwrap(), View::new(residual, &shape, axes).unwrap());
        let mut y = ViewMut::new(&mut self.y, &shape, axes).unwrap();
        let input = if self.fusion == Fusion::AddRelu { Input::adding(&x, &residual) } else { Input::from(&x) };
        self.normalizer.train(input, parameters, None, &mut y).expect("shapes fit").0
    }

    fn eval(&mut self, running: &RunningStatistics) {
        let Data { shape, axes, ref x, ref residual, ref gamma, ref beta, .. } = self.data;
        let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
        let (x, residual) = (View::new(x, &shape, axes).unwrap(), View::new(residual, &shape, axes).unwrap());
        let mut y = ViewMut::new(&mut self.y, &shape, axes).unwrap();
        let input = if self.fusion == Fusion::AddRelu { Input::adding(&x, &residual) } else { Input::from(&x) };
        self.normalizer.eval(input, parameters, Some(running), &mut y).expect("shapes fit");
    }

    fn backward(&mut self, saved: &Saved) -> (Vec<f64>, Vec<f64>) {
        let Data { shape, axes, ref x, ref dy, .. } = self.data;
        let (x, dy) = (View::new(x, &shape, axes).unwrap(), View::new(dy, &shape, axes).unwrap());
        let mut dx = ViewMut::new(&mut self.dx, &shape, axes).unwrap();
        let gradients = if self.fusion == Fusion::AddRelu {
            let y = View::new(&self.y, &shape, axes).unwrap();
            let mut dresidual = ViewMut::new(&mut self.dresidual, &shape, axes).unwrap();
            saved.backward(Input::with_output(&x, &y), &dy, GradientBuffers::with_residual(&mut dx, &mut dresidual))
        } else {
            saved.backward(&x, &dy, &mut dx)
        }
        .expect("shapes fit");
        (gradients.dgamma, gradients.dbeta)
    }

    /// The three calls, under names that end in theirs.
    fn time(&mut self, group: &mut BenchmarkGroup<WallTime>, name: &str, pool: Option<&ThreadPool>) {
        let running = running(self.data.gamma.len());
        group.throughput(Throughput::Bytes(self.data.bytes()));
        let saved = self.train();
        // Backward before eval: it reads the training output's mask.
        group.bench_function(format!("{name}/train"), |bencher| bencher.iter(|| on(pool, || self.train())));
        group.bench_function(format!("{name}/backward"), |bencher| bencher.iter(|| on(pool, || self.backward(&saved))));
        group.bench_function(format!("{name}/eval"), |bencher| bencher.iter(|| on(pool, || self.eval(&running))));
    }
}

const MEAN: f64 = 0.75;
const VARIANCE: f64 = 2.5;

/// The same constants for every channel: they all cost the same.
fn running(channels: usize) -> RunningStatistics {
    RunningStatistics::from_parts(&vec![MEAN; channels], &vec![VARIANCE; channels], 1).expect("finite")
}

/// On a pool, or on the caller's own.
fn on<R: Send>(pool: Option<&ThreadPool>, call: impl FnOnce() -> R + Send) -> R {
    match pool {
        Some(pool) => pool.install(call),
        None => call(),
    }
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

const ORDERS: [(&str, Order); 2] = [("nchw", Order::Nchw), ("nhwc", Order::Nhwc)];

fn layout(criterion: &mut Criterion) {
    let mut group = group(criterion, "layout");
    for (name, shape) in SHAPES {
        for (order_name, order) in ORDERS {
            if shape.2 == 1 && order == Order::Nhwc {
                continue; // the same memory
            }
            Case::<f32>::checked(shape, order, Tier::best(), Fusion::Nothing).time(
                &mut group,
                &format!("{name}/{order_name}"),
                None,
            );
        }
        let (from, mut to) = (vec![1.0f32; shape.0 * shape.1 * shape.2], vec![0.0f32; shape.0 * shape.1 * shape.2]);
        group.throughput(Throughput::Bytes(size_of_val(&from[..]) as u64));
        group.bench_function(format!("{name}/copy"), |bencher| bencher.iter(|| copy(&from, &mut to)));
    }
}

/// A plain copy over the pool, where that pays.
fn copy(from: &[f32], to: &mut [f32]) {
    const BLOCK: usize = 1 << 16;
    if from.len() <= BLOCK {
        return to.copy_from_slice(from);
    }
    to.par_chunks_mut(BLOCK).zip(from.par_chunks(BLOCK)).for_each(|(to, from)| to.copy_from_slice(from));
}

fn types(criterion: &mut Criterion) {
    let mut group = group(criterion, "type");
    fn one<T: Element + Debug>(group: &mut BenchmarkGroup<WallTime>, name: &str) {
        for (order_name, order) in ORDERS {
            Case::<T>::checked(LARGE, order, Tier::best(), Fusion::Nothing).time(
                group,
                &format!("{name}/{order_name}"),
                None,
            );
        }
    }
    one::<f64>(&mut group, "f64");
    one::<f32>(&mut group, "f32");
    one::<f16>(&mut group, "f16");
    one::<bf16>(&mut group, "bf16");
}

fn tier(criterion: &mut Criterion) {
    let mut group = group(criterion, "tier");
    for tier in Tier::available() {
        for (order_name, order) in ORDERS {
            Case::<f32>::checked(LARGE, order, tier, Fusion::Nothing).time(
                &mut group,
                &format!("{tier:?}/{order_name}"),
                None,
            );
        }
    }
}

fn threads(criterion: &mut Criterion) {
    let mut group = group(criterion, "threads");
    // Powers of two, and all there are.
    let all = rayon::current_num_threads();
    let mut counts: Vec<usize> = (0..).map(|power| 1 << power).take_while(|&count| count < all).collect();
    counts.push(all);
    for count in counts {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("threads");
        for (order_name, order) in ORDERS {
            Case::<f32>::checked(LARGE, order, Tier::best(), Fusion::Nothing).time(
                &mut group,
                &format!("{count}/{order_name}"),
                Some(&pool),
            );
        }
    }
}

fn fusion(criterion: &mut Criterion) {
    let mut group = group(criterion, "fusion");
    for (name, fusion) in [("bn", Fusion::Nothing), ("bn+relu", Fusion::Relu), ("bn+add+relu", Fusion::AddRelu)] {
        for (order_name, order) in ORDERS {
            Case::<f32>::checked(LARGE, order, Tier::best(), fusion).time(
                &mut group,
                &format!("{name}/{order_name}"),
                None,
            );
        }
    }
}

criterion_group!(benches, layout, types, tier, threads, fusion);
criterion_main!(benches);
