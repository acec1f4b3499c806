//! S6 of the contract: beyond the caller's arrays a call takes memory by the channel and a fixed scratch a thread, never a
//! copy of the input; and what a training step keeps in the forms that work in place. Counted by the allocator.

#[path = "support/stack.rs"]
mod stack;
mod support;

use batchnorm::{
    Activation, Config, Element, GradientBuffers, Input, Normalizer, Parameter, ParameterDirection, Parameters,
    Policies, RunningStatistics, SingleValue,
};
use peak_alloc::PeakAlloc;
use stack::{FORMS, Form, Stack};
use std::sync::Mutex;
use support::Random;
use support::layout::{ORDERS, Order, Sizes};
use support::samples::{Case as SampleCase, Kind, places};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
/// One test at a time, for there is one count.
static ALONE: Mutex<()> = Mutex::new(());

const THREADS: usize = 3;
/// A thread's scratch: blocks of 32 channels of two arrays of f64, a chunk of each.
const SCRATCH: usize = 600 << 10;
/// A channel's statistics, coefficients, and in each thread its lanes and its tree.
const CHANNEL: usize = 1 << 10;

/// Long runs, short ones, the shortest, rows, one channel, rows of few channels.
const SIZES: [Sizes; 7] = [
    Sizes { n: 4, c: 16, plane: 25_000 },
    Sizes { n: 128, c: 256, plane: 49 },
    Sizes { n: 800, c: 128, plane: 16 },
    Sizes { n: 6_000, c: 256, plane: 1 },
    Sizes { n: 700, c: 600, plane: 4 },
    Sizes { n: 1, c: 1, plane: 1_600_000 },
    Sizes { n: 16, c: 3, plane: 33_333 },
];

/// The most that a call holds at a time beyond what there was before it.
fn peak<R>(call: impl FnOnce() -> R) -> (R, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = call();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

struct Checked {
    sizes: Sizes,
    bytes: usize,
    worst: usize,
}

impl Checked {
    fn call<R>(&mut self, what: &str, orders: [Order; 2], call: impl FnOnce() -> R) -> R {
        let (result, extra) = peak(call);
        let most = THREADS * (SCRATCH + self.sizes.c * CHANNEL);
        assert!(extra <= most, "{what} {:?} {orders:?}: {extra} bytes, {most} are allowed", self.sizes);
        assert!(extra < self.bytes / 2, "{what} {:?} {orders:?}: {extra} bytes of {}", self.sizes, self.bytes);
        self.worst = self.worst.max(extra);
        result
    }
}

fn rule(activation: Activation) -> Normalizer {
    let policies = Policies { single_value: SingleValue::Population, ..Policies::default() };
    Config::pytorch().policies(policies).activation(activation).normalizer().expect("a right configuration")
}

struct Arrays<T> {
    sizes: Sizes,
    orders: [Order; 2],
    x: Vec<T>,
    dy: Vec<T>,
    out: Vec<T>,
    second: Vec<T>,
}

impl<T: Element> Arrays<T> {
    /// x and its like in one order, dy and what is written in another.
    fn new(sizes: Sizes, orders: [Order; 2], make: impl Fn(f64) -> T) -> Self {
        let len = sizes.n * sizes.c * sizes.plane;
        // Anything that is not constant.
        let value = |i: usize| f64::from((i as u32).wrapping_mul(2_654_435_761) >> 22) / 1024.0;
        let data: Vec<T> = (0..len).map(|i| make(value(i))).collect();
        let [x, dy] = orders.map(|order| order.arranged(&data, sizes));
        let (out, second) = (dy.clone(), dy.clone());
        Arrays { sizes, orders, x, dy, out, second }
    }

    fn ordinary(&mut self, checked: &mut Checked) {
        let Arrays { sizes, orders, .. } = *self;
        let [order, other] = orders;
        let none = Parameters::<f32>::default();
        let running = RunningStatistics::start(sizes.c).expect("channels");
        let (x, dy) = (order.view(&self.x, sizes), other.view(&self.dy, sizes));
        let (mut out, mut second) = (other.view_mut(&mut self.out, sizes), other.view_mut(&mut self.second, sizes));
        let plain = rule(Activation::Identity);
        let (saved, _) = checked.call("train", orders, || plain.train(&x, none, None, &mut out)).expect("right");
        checked.call("eval", orders, || plain.eval(&x, none, Some(&running), &mut out)).expect("right");
        checked.call("backward", orders, || saved.backward(&x, &dy, &mut out)).expect("right");
        checked.call("parameters", orders, || saved.parameter_gradients(&x, &dy)).expect("right");
        let relu = rule(Activation::Relu);
        let input = Input::adding(&x, &dy);
        let (saved, _) = checked.call("adding", orders, || relu.train(input, none, None, &mut out)).expect("right");
        let backward =
            || saved.backward(Input::with_output(&x, &dy), &dy, GradientBuffers::with_residual(&mut out, &mut second));
        checked.call("backward adding", orders, backward).expect("right");
        let (saved, _) = relu.train(&x, none, None, &mut out).expect("right");
        checked.call("backward in place", orders, || saved.backward_in_place(&x, &mut out)).expect("right");
        let eval = || relu.eval_in_place(&mut out, Some(&x), none, Some(&running));
        checked.call("eval in place", orders, eval).expect("right");
    }

    fn invertible(&mut self, checked: &mut Checked)
    where
        T: Parameter,
    {
        let Arrays { sizes, orders, .. } = *self;
        let [order, other] = orders;
        let none = Parameters::<f32>::default();
        let leaky = rule(Activation::LeakyRelu(0.1));
        let mut x = order.view_mut(&mut self.x, sizes);
        let train = || leaky.train_invertible(&mut x, none, None);
        let (saved, _) = checked.call("train invertible", orders, train).expect("right");
        assert!(saved.kept_channels().is_empty());
        let (y, mut dy) = (order.view(&self.x, sizes), other.view_mut(&mut self.dy, sizes));
        checked.call("backward invertible", orders, || saved.backward(&y, &mut dy)).expect("right");
    }
}

/// Over all sizes and pairs of orders.
fn every_call<T: Element>(make: impl Fn(f64) -> T + Copy, also: impl Fn(&mut Arrays<T>, &mut Checked)) {
    for sizes in SIZES {
        let mut checked = Checked { sizes, bytes: sizes.n * sizes.c * sizes.plane * size_of::<T>(), worst: 0 };
        for order in ORDERS {
            for orders in [[order; 2], [order, order.beside(1)]] {
                let mut arrays = Arrays::new(sizes, orders, make);
                arrays.ordinary(&mut checked);
                also(&mut arrays, &mut checked);
            }
        }
        let (worst, bytes) = (checked.worst as f64 / 1e3, checked.bytes as f64 / 1e3);
        println!("{} {sizes:?}: at most {worst:.0} kB beside arrays of {bytes:.0} kB", std::any::type_name::<T>());
    }
}

#[test]
fn s6_no_call_copies_its_input() {
    let _alone = ALONE.lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    pool.install(|| {
        every_call(|value| value as f32, |arrays, checked| arrays.invertible(checked));
        every_call(|value| value, |arrays, checked| arrays.invertible(checked));
        #[cfg(feature = "half")]
        {
            every_call(half::f16::from_f64, |_, _| ());
            every_call(half::bf16::from_f64, |_, _| ());
        }
    });
}

/// By the row, by the element that has parameters, where groups have large planes by the channel of each sample, and a
/// fixed scratch a thread.
#[test]
fn norms_that_do_not_look_at_the_batch_copy_nothing() {
    let _alone = ALONE.lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    for (kind, n, c, plane) in [
        (Kind::Layer(1), 64, 32, 768),
        (Kind::Rms(1), 100_000, 1, 17),
        (Kind::Layer(2), 300, 3, 1500),
        (Kind::Group(8), 32, 64, 784),
        (Kind::Group(4), 3000, 64, 9),
        (Kind::Instance, 32, 64, 784),
    ] {
        let sizes = Sizes { n, c, plane };
        let case = SampleCase::<f32>::new(kind, sizes, 1.0, &mut Random::new(602));
        let rule = kind.config().normalizer().expect("a rule");
        let [gamma, beta] = [&case.gamma[..], &case.beta[..]];
        let (bytes, rows) = (n * c * plane * size_of::<f32>(), kind.rows(sizes).count());
        let elements = kind.rows(sizes).parameters() * if kind == Kind::Group(4) { plane } else { 1 };
        let channels = if kind.by_shape() || plane < 16 { 0 } else { n * c };
        // A total of each block and parameter; numbers and moments of a row; coefficients and sums of a channel.
        let most = THREADS * SCRATCH + 400 * elements + 160 * rows + 200 * channels;
        for place in places(kind, sizes) {
            let [x, dy] = [&case.x, &case.dy].map(|data| place.filled(data));
            let (x, dy, mut out) = (place.view(&x), place.view(&dy), place.blank::<f32>());
            let mut out = place.view_mut(&mut out);
            pool.install(|| {
                let parameters = Parameters { gamma: Some(gamma), beta: Some(beta) };
                let (saved, forward) = peak(|| rule.forward(&x, parameters, &mut out).expect("a right call"));
                let (_, backward) = peak(|| saved.backward(&x, &dy, &mut out).expect("a right call"));
                let direction = ParameterDirection { gamma: Some(gamma), beta: Some(beta) };
                let (_, jvp) = peak(|| saved.jvp(&x, &dy, direction, &mut out).expect("a right call"));
                println!("{kind:?} {sizes:?}: {forward} {backward} {jvp} of {most} allowed, beside arrays of {bytes}");
                for extra in [forward, backward, jvp] {
                    assert!(extra <= most, "{kind:?} {sizes:?} {place:?}: {extra} bytes, {most} are allowed");
                    assert!(kind == Kind::Rms(1) || extra < bytes / 2, "{kind:?} {sizes:?}: {extra} of {bytes}");
                }
            });
        }
    }
}

#[test]
fn a_training_step_keeps_half_as_much_in_the_invertible_form() {
    let _alone = ALONE.lock();
    let (depth, shape) = (20, [8, 16, 64, 64]);
    let stack = Stack::new(depth, shape);
    let input = Random::new(601).normals_f32(shape.iter().product(), 0.0, 1.0);
    let array = size_of_val(&input[..]) as f64;
    let mut gradients = Vec::new();
    let arrays = FORMS.map(|form| {
        let (all, bytes) = peak(|| stack.step(&input, form));
        println!("{form:?}: {:.2} arrays of {:.1} MB", bytes as f64 / array, array / 1e6);
        gradients.push(all);
        bytes as f64 / array
    });
    // Each layer's input and output, and dx; the same without dx; each layer's output, and dx. Beside them what the calls
    // take.
    for (form, (got, expected)) in FORMS.iter().zip(arrays.into_iter().zip([2 * depth + 1, 2 * depth, depth + 1])) {
        let expected = expected as f64;
        assert!((expected - 0.1..expected + 1.5).contains(&got), "{form:?}: {got:.2} arrays, not {expected}");
    }
    let [ordinary, in_place, invertible] = &gradients[..] else { panic!("three forms") };
    assert_eq!(ordinary, in_place, "the same bits");
    let largest = ordinary.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    for (a, b) in ordinary.iter().zip(invertible) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b} of {largest}: {:?}", Form::Invertible);
    }
}
