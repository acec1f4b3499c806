//! The reproducibility contract, R1 to R3: the same bits over threads, instruction sets and layouts.

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::step::{Case, PASSES, Places, Stepped};
use crate::support::training::{Arranged, train};
use crate::support::{Random, pool};
use batchnorm::{Axes, AxisRole, Config, Element, Parameters, Policies, RunningStatistics, SingleValue, Tier, View};

const THREADS: [usize; 7] = [1, 2, 3, 4, 5, 8, 16];

/// FNV-1a over numbers.
fn hash(numbers: impl IntoIterator<Item = f64>) -> String {
    let hash = numbers.into_iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, value| {
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        bits.to_le_bytes().iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    });
    format!("{hash:016x}")
}

/// Runs one size over threads, layouts and tiers; the bits must all be alike. Returns how many were compared.
fn same_bits<T: Element>(sizes: Sizes, make: impl Fn(f64) -> T, random: &mut Random) -> usize {
    let len = sizes.n * sizes.c * sizes.plane;
    let mut array = |mean: &dyn Fn(usize) -> f64| -> Vec<T> {
        (0..len).map(|at| make(mean(at / sizes.plane % sizes.c) + random.normal())).collect()
    };
    // Means of channels whose plain sums tell the variance, do not tell it, and are at the limit between.
    let x = array(&|c| [0.3, 100.0, 4.0][c % 3]);
    let dy = array(&|_| 0.2);
    let gamma: Vec<f64> = (0..sizes.c).map(|c| 0.3 - c as f64 / 7.0).collect();
    let beta: Vec<f64> = (0..sizes.c).map(|c| c as f64 / 3.0).collect();
    // Large cases take seconds each: threads that cut differently, once for each layout.
    let large = len > 3_000_000;
    let threads: &[usize] = match len {
        3_000_001.. => &[3, 16],
        200_000.. => &[2, 5, 16],
        _ => &THREADS,
    };
    let mut runs: Vec<(usize, Tier)> = threads.iter().map(|&threads| (threads, Tier::best())).collect();
    if !large {
        runs.extend(Tier::available().into_iter().map(|tier| (2, tier)));
    }
    let mut of_all: Option<Stepped<T>> = None;
    for order in ORDERS {
        let arranged = Arranged::new(order, sizes, &x, &dy);
        let run = |(threads, tier): (usize, Tier)| {
            let policies = Policies { single_value: SingleValue::Population, ..Policies::default() };
            let rule = Config::pytorch().policies(policies).tier(tier).normalizer().expect("an available tier");
            pool(threads).install(|| arranged.train(&rule, &gamma, &beta))
        };
        let first = run((1, Tier::Baseline));
        for &run_on in &runs {
            assert!(run(run_on).same_bits(&first), "{sizes:?} {order:?}, (threads, tier) {run_on:?}");
        }
        let logical = arranged.back(first);
        assert!(of_all.get_or_insert_with(|| logical.clone()).same_bits(&logical), "{sizes:?} {order:?}");
    }
    ORDERS.len() * (1 + runs.len())
}

#[test]
fn r1_r2_r3_same_bits_over_threads_tiers_and_layouts_in_f32() {
    println!("tiers here: {:?} (no others are tested)", Tier::available());
    let mut random = Random::new(101);
    let mut compared = 0;
    for c in [1, 3, 4, 27, 33, 64, 251] {
        for plane in [1, 2, 7 * 7, 13 * 17, 56 * 56] {
            for n in [1, 2, 5, 32] {
                compared += same_bits(Sizes { n, c, plane }, |value| value as f32, &mut random);
            }
        }
    }
    println!("R1-R3 f32: {compared} runs, one result for each of 140 sizes");
}

#[test]
fn r1_r2_r3_same_bits_over_threads_tiers_and_layouts_in_f64() {
    let mut random = Random::new(102);
    for (c, plane, n) in [(1, 3136, 32), (3, 221, 32), (33, 49, 5), (4, 1, 1024), (251, 2, 7), (27, 1, 3000)] {
        same_bits(Sizes { n, c, plane }, |value| value, &mut random);
    }
}

#[cfg(feature = "half")]
#[test]
fn r1_r2_r3_same_bits_over_threads_tiers_and_layouts_in_f16_and_bf16() {
    let mut random = Random::new(107);
    for (c, plane, n) in [(1, 3136, 32), (3, 221, 32), (33, 49, 5), (4, 1, 1024), (251, 2, 7), (27, 1, 3000)] {
        same_bits(Sizes { n, c, plane }, half::f16::from_f64, &mut random);
        same_bits(Sizes { n, c, plane }, half::bf16::from_f64, &mut random);
    }
}

#[test]
fn the_bits_are_those_that_were_recorded() {
    // On another machine, another day, without threads or ndarray: a step of training must hash to this.
    let sizes = Sizes { n: 5, c: 6, plane: 1500 };
    let x: Vec<f32> = (0..45_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 65_536.0).collect();
    let dy: Vec<f32> = x.iter().rev().map(|x| x - 100.0).collect();
    let rule = Config::pytorch().normalizer().unwrap();
    let Stepped { y, dx, dgamma, dbeta, moments, .. } =
        train(&rule, Order::Nchw, sizes, &x, &dy, &[0.5, 1.0, -2.0, 3.0, 0.1, 7.0], &[0.25; 6]);
    let statistics = moments.iter().flat_map(|m| [m.mean(), m.m2(), m.population_variance()]);
    let arrays = y.iter().chain(&dx).map(|value| f64::from(*value));
    assert_eq!(hash(arrays.chain(statistics).chain(dgamma).chain(dbeta)), "bc5b69c8edfeb321");
}

#[test]
fn the_bits_of_an_array_worth_threads_are_those_that_were_recorded() {
    let sizes = Sizes { n: 3, c: 4, plane: 8000 };
    let mut random = Random::new(108);
    let mut case = Case::<f32>::new(sizes, &mut random);
    // No logarithm or cosine, of which every system has its own.
    for array in [&mut case.x, &mut case.residual, &mut case.dy] {
        array.iter_mut().for_each(|value| *value = (8.0 * random.uniform() - 3.0) as f32);
    }
    println!("the global pool has {} threads", rayon::current_num_threads());
    let got = case.step(PASSES[0], Tier::best(), &Places::arranged([Order::Nchw; 2], sizes));
    let arrays = got.y.iter().chain(&got.dx).chain(&got.dresidual).map(|value| f64::from(*value));
    let moments = got.moments.iter().flat_map(|m| [m.mean(), m.population_variance()]);
    let hash = hash(arrays.chain(got.dgamma).chain(got.dbeta).chain(moments));
    assert_eq!(hash, "f6b2388d7e0de534");
}

#[test]
fn a_process_told_its_number_of_threads_gives_the_same_bits() {
    for threads in ["1", "3"] {
        let output = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["those_that_were_recorded", "--nocapture", "--test-threads=1"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .expect("a child process");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("2 passed"), "{said}");
        assert!(said.contains(&format!("the global pool has {threads} threads")), "{said}");
    }
}

#[test]
fn each_array_of_a_call_may_lie_in_an_order_of_its_own() {
    let mut random = Random::new(106);
    for sizes in [Sizes { n: 6, c: 5, plane: 49 }, Sizes { n: 300, c: 7, plane: 1 }, Sizes { n: 3, c: 4, plane: 9000 }]
    {
        let len = sizes.n * sizes.c * sizes.plane;
        let (x, dy) = (random.normals_f32(len, 10.0, 1.0), random.normals_f32(len, 0.0, 1.0));
        let rule = Config::pytorch().normalizer().unwrap();
        let running = RunningStatistics::start(sizes.c).unwrap();
        let none = Parameters::<f32>::default();
        let mut results = Vec::new();
        for order in ORDERS {
            let [other, third] = [order.beside(1), order.beside(2)];
            let (x, dy) = (order.arranged(&x, sizes), other.arranged(&dy, sizes));
            let (x, dy) = (order.view(&x, sizes), other.view(&dy, sizes));
            let (mut y, mut dx, mut evaluated) = (third.blank(sizes), third.blank(sizes), other.blank(sizes));
            let (saved, batch) = rule.train(&x, none, None, &mut third.view_mut(&mut y, sizes)).unwrap();
            let gradients = saved.backward(&x, &dy, &mut third.view_mut(&mut dx, sizes)).unwrap();
            let constant = rule.eval(&x, none, Some(&running), &mut other.view_mut(&mut evaluated, sizes)).unwrap();
            let mut dx_eval = order.blank(sizes);
            let gradients_eval = constant.backward(&x, &dy, &mut order.view_mut(&mut dx_eval, sizes)).unwrap();
            let arrays =
                [third.back(y, sizes), third.back(dx, sizes), other.back(evaluated, sizes), order.back(dx_eval, sizes)];
            results.push((arrays, batch, gradients, gradients_eval));
        }
        assert!(results.iter().all(|result| *result == results[0]), "{sizes:?}");
    }
}

#[test]
fn the_tree_cut_at_every_block_edge_gives_the_same_bits() {
    // Around lanes, chunks and subtrees of one channel, on pools that cut it differently.
    let mut random = Random::new(103);
    let data = random.normals_f32(300_000, 5.0, 1.0);
    let edges = [31, 32, 33, 1023, 1024, 1025, 2047, 2049, 65_535, 65_536, 65_537, 131_073, 262_143, 299_999];
    for len in edges {
        let moments = |threads| pool(threads).install(|| batchnorm::Moments::of(&data[..len]));
        let first = moments(1);
        for threads in THREADS {
            let got = moments(threads);
            assert_eq!((got.mean().to_bits(), got.m2().to_bits()), (first.mean().to_bits(), first.m2().to_bits()));
        }
    }
}

#[test]
fn splitting_the_other_axes_differently_changes_nothing() {
    let mut random = Random::new(104);
    let data = random.normals_f32(6 * 5 * 4 * 7 * 3, 1.0, 1.0);
    let rule = Config::pytorch().normalizer().unwrap();
    let of = |shape: &[usize]| rule.moments(&View::new(&data, shape, Axes::NCHW).unwrap());
    assert_eq!(of(&[6, 5, 84]), of(&[6, 5, 4, 7, 3]));
    assert_eq!(of(&[6, 5, 84]), of(&[6, 5, 1, 28, 3, 1]));
}

#[test]
fn matlab_order_by_roles_equals_the_transposed_array() {
    // (rows, columns, channels, batch), columns of memory first, as MATLAB keeps it.
    let (rows, columns, channels, batch) = (7, 5, 3, 4);
    let mut random = Random::new(105);
    let matlab = random.normals(rows * columns * channels * batch, 10.0, 2.0);
    let nchw: Vec<f64> = (0..matlab.len())
        .map(|i| {
            let (b, c, r, k) =
                (i / (columns * rows * channels), i / (columns * rows) % channels, i / columns % rows, i % columns);
            matlab[r + rows * (k + columns * (c + channels * b))]
        })
        .collect();
    let rule = Config::pytorch().normalizer().unwrap();
    let roles = [AxisRole::Space, AxisRole::Space, AxisRole::Channel, AxisRole::Sample];
    assert_eq!(Axes::MATLAB, Axes::Roles(&roles));
    let shape = [rows, columns, channels, batch];
    let by_roles = rule.moments(&View::column_major(&matlab, &shape, Axes::MATLAB).unwrap());
    let by_axis = rule.moments(&View::new(&nchw, &[batch, channels, rows, columns], Axes::NCHW).unwrap());
    assert_eq!(by_roles, by_axis);
}
