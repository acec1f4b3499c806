//! Calls that write over one of their inputs: the bits of the ordinary calls, for every type, layout, tier and number of
//! threads, and nothing beside the array is touched.

use crate::support::Random;
use crate::support::layout::{ORDERS, Order, Sizes};
use batchnorm::{
    Activation, Axes, BatchNorm, Config, Element, Input, MissingRunning, NonFinite, Normalizer, Parameters, Policies,
    RunningStatistics, SingleValue, Tier, View, ViewMut,
};

/// Around vectors, runs, chunks and tasks, with few and many channels.
const SIZES: [Sizes; 15] = [
    Sizes { n: 1, c: 1, plane: 1 },
    Sizes { n: 1, c: 3, plane: 7 },
    Sizes { n: 2, c: 3, plane: 8 },
    Sizes { n: 3, c: 5, plane: 15 },
    Sizes { n: 3, c: 5, plane: 17 },
    Sizes { n: 4, c: 40, plane: 16 },
    Sizes { n: 2, c: 70, plane: 33 },
    Sizes { n: 5, c: 2, plane: 1023 },
    Sizes { n: 3, c: 4, plane: 1025 },
    Sizes { n: 1, c: 2, plane: 1024 },
    Sizes { n: 64, c: 33, plane: 1 },
    Sizes { n: 1025, c: 9, plane: 1 },
    Sizes { n: 7, c: 129, plane: 2 },
    Sizes { n: 2, c: 1, plane: 70_000 },
    Sizes { n: 300, c: 300, plane: 1 },
];
const ACTIVATIONS: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.1)];

fn rule(activation: Activation, tier: Tier) -> Normalizer {
    let policies = Policies {
        single_value: SingleValue::Population,
        missing_running: MissingRunning::BatchStatistics,
        ..Policies::default()
    };
    Config::pytorch().policies(policies).activation(activation).tier(tier).normalizer().expect("a right configuration")
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    values.iter().map(|value| bits(value.to_f64())).collect()
}

/// An array in some order whose gaps are poisoned; what a call leaves must have the same gaps.
struct Poisoned<T> {
    buffer: Vec<T>,
    gaps: Vec<bool>,
}

const POISON: f64 = -77.0;

impl<T: Element> Poisoned<T> {
    fn new(order: Order, data: &[T], sizes: Sizes) -> Self {
        let mut buffer = order.arranged(data, sizes);
        let taken = order.arranged(&vec![T::from_f64(1.0); data.len()], sizes);
        let gaps: Vec<bool> = taken.iter().map(|taken| taken.to_f64() == 0.0).collect();
        buffer.iter_mut().zip(&gaps).filter(|(_, gap)| **gap).for_each(|(value, _)| *value = T::from_f64(POISON));
        Poisoned { buffer, gaps }
    }

    fn back(self, order: Order, sizes: Sizes) -> Vec<T> {
        let untouched = |(value, gap): (&T, &bool)| !gap || value.to_f64() == POISON;
        assert!(self.buffer.iter().zip(&self.gaps).all(untouched), "a gap was written: {order:?} {sizes:?}");
        order.back(self.buffer, sizes)
    }
}

struct Case<T> {
    sizes: Sizes,
    x: Vec<T>,
    other: Vec<T>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    running: RunningStatistics,
}

impl<T: Element> Case<T> {
    fn new(sizes: Sizes, make: impl Fn(f64) -> T, random: &mut Random) -> Self {
        let len = sizes.n * sizes.c * sizes.plane;
        let mut array = |mean: f64| (0..len).map(|_| make(mean + random.normal())).collect();
        let (x, other) = (array(3.0), array(0.2));
        let gamma = (0..sizes.c).map(|c| 0.7 - c as f64 * 0.3).collect();
        let beta = (0..sizes.c).map(|c| if c == 2 { -50.0 } else { 0.1 * c as f64 - 0.3 }).collect();
        let means = random.normals(sizes.c, 3.0, 1.0);
        let variances: Vec<f64> = (0..sizes.c).map(|_| random.uniform()).collect();
        let running = RunningStatistics::from_parts(&means, &variances, 1).expect("right statistics");
        Case { sizes, x, other, gamma, beta, running }
    }

    fn parameters(&self) -> Parameters<'_, f64> {
        Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }

    /// y of the ordinary call and of the one in place; x in one order, the residual in another.
    fn evaluations(&self, rule: &Normalizer, orders: [Order; 2], adding: bool, tracked: bool) -> [Vec<u64>; 2] {
        let (sizes, [order, second]) = (self.sizes, orders);
        let running = tracked.then_some(&self.running);
        let (x, residual) = (order.arranged(&self.x, sizes), second.arranged(&self.other, sizes));
        let mut y = x.clone();
        let mut own = Poisoned::new(order, &self.x, sizes);
        let (x, residual) = (order.view(&x, sizes), second.view(&residual, sizes));
        let input = if adding { Input::adding(&x, &residual) } else { Input::from(&x) };
        rule.eval(input, self.parameters(), running, &mut order.view_mut(&mut y, sizes)).expect("a right call");
        let residual = adding.then_some(&residual);
        let mut view = order.view_mut(&mut own.buffer, sizes);
        rule.eval_in_place(&mut view, residual, self.parameters(), running).expect("a right call");
        [bits(&order.back(y, sizes)), bits(&own.back(order, sizes))]
    }

    /// dx and the parameters' gradients of the ordinary call and of the one in place.
    fn gradients(&self, rule: &Normalizer, orders: [Order; 2], trained: bool) -> [(Vec<u64>, Vec<u64>); 2] {
        let (sizes, [order, second]) = (self.sizes, orders);
        let (x, dy) = (order.arranged(&self.x, sizes), second.arranged(&self.other, sizes));
        let (mut y, mut dx) = (x.clone(), dy.clone());
        let mut own = Poisoned::new(second, &self.other, sizes);
        let (x, dy) = (order.view(&x, sizes), second.view(&dy, sizes));
        let mut y = order.view_mut(&mut y, sizes);
        let saved = if trained {
            rule.train(&x, self.parameters(), None, &mut y).expect("a right call").0
        } else {
            rule.eval(&x, self.parameters(), Some(&self.running), &mut y).expect("a right call")
        };
        let one = saved.backward(&x, &dy, &mut second.view_mut(&mut dx, sizes)).expect("a right call");
        let other = saved.backward_in_place(&x, &mut second.view_mut(&mut own.buffer, sizes)).expect("a right call");
        let parameters = [one, other].map(|all| bits(&[all.dgamma, all.dbeta].concat()));
        let [one, other] = parameters;
        [(bits(&second.back(dx, sizes)), one), (bits(&own.back(second, sizes)), other)]
    }
}

fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(run)
}

fn same_bits<T: Element>(make: impl Fn(f64) -> T + Copy, random: &mut Random) {
    let mut compared = 0;
    for (number, sizes) in SIZES.into_iter().enumerate() {
        let case = Case::new(sizes, make, random);
        for (i, order) in ORDERS.into_iter().enumerate() {
            // Each pair of orders comes up for some size.
            let orders = [order, order.beside(number)];
            for (round, activation) in ACTIVATIONS.into_iter().enumerate() {
                let tiers = Tier::available();
                for (threads, tier) in [(1, Tier::best()), (3, Tier::best()), (2, tiers[(i + round) % tiers.len()])] {
                    let rule = rule(activation, tier);
                    on_threads(threads, || {
                        for flag in [false, true] {
                            for tracked in [false, true] {
                                let [one, other] = case.evaluations(&rule, orders, flag, tracked);
                                assert!(one == other, "y {sizes:?} {orders:?} {activation:?} {tier:?} adding {flag}");
                            }
                            let [one, other] = case.gradients(&rule, orders, flag);
                            assert!(one == other, "dx {sizes:?} {orders:?} {activation:?} {tier:?} trained {flag}");
                        }
                    });
                    compared += 6;
                }
            }
        }
    }
    println!("{}: {compared} calls in place with the ordinary bits", std::any::type_name::<T>());
}

#[test]
fn in_place_is_the_ordinary_call_to_the_bit() {
    let mut random = Random::new(400);
    same_bits(|value| value as f32, &mut random);
    same_bits(|value| value, &mut random);
    #[cfg(feature = "half")]
    {
        same_bits(half::f16::from_f64, &mut random);
        same_bits(half::bf16::from_f64, &mut random);
    }
}

#[test]
fn nan_infinity_and_minus_zero_go_the_same_way() {
    let x = [f32::NEG_INFINITY, -1.0, -0.0, 0.0, f32::INFINITY, f32::NAN, 2.0, -2.0, 5.0];
    let running = RunningStatistics::start(1).unwrap();
    for activation in ACTIVATIONS {
        let rule = rule(activation, Tier::best());
        for shape in [[9, 1], [3, 3]] {
            let running = if shape[1] == 1 { running.clone() } else { RunningStatistics::start(3).unwrap() };
            let (mut y, mut own) = (x, x);
            let none = Parameters::<f32>::default();
            let view = View::new(&x, &shape, Axes::NCHW).unwrap();
            let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).unwrap();
            let saved = rule.eval(&view, none, Some(&running), &mut out).unwrap();
            let mut over = ViewMut::new(&mut own, &shape, Axes::NCHW).unwrap();
            rule.eval_in_place(&mut over, None, none, Some(&running)).unwrap();
            assert_eq!(bits(&y), bits(&own), "{activation:?}");
            let (mut dx, mut dy) = (x, x);
            saved.backward(&view, &view, &mut ViewMut::new(&mut dx, &shape, Axes::NCHW).unwrap()).unwrap();
            saved.backward_in_place(&view, &mut ViewMut::new(&mut dy, &shape, Axes::NCHW).unwrap()).unwrap();
            assert_eq!(bits(&dx), bits(&dy), "{activation:?}");
        }
    }
}

#[test]
fn empty_arrays_pass() {
    let mut nothing: [f32; 0] = [];
    let mut layer = BatchNorm::new(3).unwrap();
    let mut x = ViewMut::new(&mut nothing, &[0, 3], Axes::NCHW).unwrap();
    layer.eval_in_place(&mut x, None).unwrap();
    let (saved, _) = layer.train_invertible(&mut x).unwrap();
    let empty: [f32; 0] = [];
    let y = View::new(&empty, &[0, 3], Axes::NCHW).unwrap();
    let gradients = layer.backward_invertible(&y, &mut x, &saved).unwrap();
    assert_eq!((gradients.dgamma, gradients.dbeta), (vec![0.0; 3], vec![0.0; 3]));
}

/// What a failed call says; x is as it was, to the bit.
fn refused(layer: &BatchNorm, values: &[f32], shape: &[usize], residual: Option<&View<f32>>) -> String {
    let mut own = values.to_vec();
    let mut x = ViewMut::new(&mut own, shape, Axes::NCHW).unwrap();
    let error = layer.eval_in_place(&mut x, residual).unwrap_err().to_string();
    assert_eq!(bits(&own), bits(values), "untouched");
    error
}

#[test]
fn a_failed_call_in_place_writes_nothing() {
    let values = [1.0f32, f32::NAN, 3.0, 4.0, 5.0, 7.0];
    let layer = BatchNorm::new(3).unwrap();
    let error = refused(&layer, &values, &[3, 2], None);
    assert!(error.starts_with("x: expected 3 channels, got 2"), "{error}");
    let other = View::new(&values, &[3, 2], Axes::NCHW).unwrap();
    let error = refused(&layer, &values, &[2, 3], Some(&other));
    assert!(error.starts_with("residual: "), "{error}");

    let of = |policies: Policies| {
        Config::pytorch().channels(3).track_running_statistics(false).policies(policies).build().unwrap()
    };
    let error = refused(&of(Policies::default()), &values, &[2, 3], None);
    assert!(error.starts_with("running statistics: "), "{error}");
    let by_batch = Policies { missing_running: MissingRunning::BatchStatistics, ..Policies::default() };
    let error = refused(&of(by_batch), &values[..3], &[1, 3], None);
    assert!(error.contains("at least 2 values a channel, got 1"), "{error}");
    let error = refused(&of(Policies { non_finite: NonFinite::Error, ..by_batch }), &values, &[2, 3], None);
    assert!(error.contains("1 channel(s), the first is channel 1"), "{error}");

    // The backward pass.
    let mut layer = BatchNorm::new(3).unwrap();
    let x = View::new(&values, &[2, 3], Axes::NCHW).unwrap();
    let saved = layer.train(&x).unwrap().saved;
    let before = [7.0f32; 6];
    let mut dy = before;
    let mut wrong = ViewMut::new(&mut dy, &[3, 2], Axes::NCHW).unwrap();
    let error = layer.backward_in_place(&x, &mut wrong, &saved).unwrap_err().to_string();
    assert!(error.starts_with("dy: "), "{error}");
    let short = View::new(&values[..3], &[1, 3], Axes::NCHW).unwrap();
    let mut wrong = ViewMut::new(&mut dy[..3], &[1, 3], Axes::NCHW).unwrap();
    let error = layer.backward_in_place(&short, &mut wrong, &saved).unwrap_err().to_string();
    assert!(error.starts_with("x: the saved forward pass had 2 values a channel, got 1"), "{error}");
    let adding = layer.train(Input::adding(&x, &x)).unwrap().saved;
    let mut right = ViewMut::new(&mut dy, &[2, 3], Axes::NCHW).unwrap();
    let error = layer.backward_in_place(&x, &mut right, &adding).unwrap_err().to_string();
    assert!(error.contains("with a residual"), "{error}");
    assert_eq!(dy, before, "untouched");
}
