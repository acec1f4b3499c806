//! The invertible form: its own error bound, channel by channel, and what it shares with the ordinary form to the bit.

mod bound;

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::{Random, channel_of};
use batchnorm::reference::{compact, invertible};
use batchnorm::{
    Activation, Axes, BatchNorm, CallError, Config, ConstantChannel, Element, NonFinite, Parameters, Policies,
    RunningStatistics, SingleValue, Tier, View, ViewMut,
};
use bound::{Case, Channel, EPSILON, Fill, Step, Truth, Type, bits, channel, rule, rule_with};

fn dense<T: Element>(data: &[T], sizes: Sizes) -> View<'_, T> {
    View::new(data, &[sizes.n, sizes.c, sizes.plane], Axes::NCHW).unwrap()
}

fn dense_mut<T: Element>(data: &mut [T], sizes: Sizes) -> ViewMut<'_, T> {
    ViewMut::new(data, &[sizes.n, sizes.c, sizes.plane], Axes::NCHW).unwrap()
}

/// Harmless and cruel ones for both types.
fn channels() -> Vec<Channel> {
    use Fill::{Constant, Normal, With};
    vec![
        channel(1.0, 0.0, Normal(0.0), false),
        channel(-0.7, 0.3, Normal(1e4), false),
        channel(2.5, -40.0, Normal(-3.0), false),
        // At the limit: 2 |beta| / |gamma| + 1 is 1023 and 1025.
        channel(1.0, 511.0, Normal(0.0), false),
        channel(-1.0, 512.0, Normal(0.0), true),
        channel(1e-3, -0.5, Normal(5.0), false),
        channel(1e-3, 0.6, Normal(5.0), true),
        channel(1e-6, 0.0, Normal(0.0), false),
        channel(-1e-6, 1.0, Normal(0.0), true),
        channel(0.0, 0.0, Normal(0.0), true),
        channel(0.0, -2.0, Normal(7.0), true),
        channel(1e-30, 1e-30, Normal(0.0), false),
        channel(1e30, -1e30, Normal(0.0), false),
        channel(3.0, 1e6, Normal(0.0), true),
        // Alike: xhat is 0 whatever gamma and beta are.
        channel(1.0, 0.25, Constant(100.1), false),
        channel(0.0, 1e7, Constant(-3.0), false),
        // An outlier: the bound is relative to xhat.
        channel(0.5, 0.1, With(1e8), false),
        // Not finite: its gradient is NaN anyhow.
        channel(0.5, 0.1, With(f64::NAN), false),
        channel(0.5, 0.1, With(f64::INFINITY), false),
        channel(0.0, 0.1, With(f64::NEG_INFINITY), true),
        channel(0.9, -0.2, Normal(2.0), false),
    ]
}

/// At the ends of a type's range.
fn ends<T: Type>() -> Vec<Channel> {
    use Fill::Normal;
    let largest = if T::EPS > 1e-10 { f64::from(f32::MAX) } else { f64::MAX };
    let tiny = |many: f64, kept| channel(many * T::SMALLEST, 0.0, Normal(0.0), kept);
    vec![
        // The smallest number's share of gamma is at most 1024 eps; in f64, 1 / gamma is infinite there.
        tiny((1.0 / T::EPS) / 1000.0, T::EPS < 1e-10),
        tiny((1.0 / T::EPS) / 1100.0, true),
        tiny(1e4 / T::EPS, false),
        tiny(3.0, true),
        channel(largest / 1e12, 0.0, Normal(0.0), false),
        channel(largest, 0.0, Normal(0.0), true),
        channel(largest / 1e3, largest / 2.0, Normal(0.0), true),
        channel(f64::NAN, 0.0, Normal(0.0), true),
        channel(1.0, f64::NAN, Normal(0.0), true),
        channel(1.0, f64::INFINITY, Normal(0.0), true),
    ]
}

const ACTIVATIONS: [Activation; 4] =
    [Activation::Identity, Activation::LeakyRelu(0.01), Activation::LeakyRelu(0.5), Activation::LeakyRelu(2.0)];

fn cruel<T: Type>(random: &mut Random) {
    for activation in ACTIVATIONS {
        for (n, plane) in [(2, 1), (5, 13), (3, 700), (40, 1), (2, 2000)] {
            let used = Case::<T>::new(n, plane, channels(), random).within_the_bound(activation);
            println!("{} {activation:?} {n}x{plane}: {used:.3} of the bound", std::any::type_name::<T>());
        }
    }
    // Numbers at the ends leave room for one slope only.
    Case::<T>::new(5, 13, ends::<T>(), random).within_the_bound(Activation::Identity);
    Case::<T>::new(5, 13, ends::<T>(), random).within_the_bound(Activation::LeakyRelu(1.0));
}

#[test]
fn cruel_channels_keep_the_bound() {
    let mut random = Random::new(500);
    cruel::<f32>(&mut random);
    cruel::<f64>(&mut random);
}

#[test]
fn slopes_that_lose_the_negative_side_keep_the_input() {
    let mut random = Random::new(501);
    let one = |kept| vec![channel(1.0, 0.1, Fill::Normal(0.0), kept)];
    // Tiny: z * slope is not told from 0. Huge: it overflows.
    for (slope, kept) in [(1e-40, false), (1e-43, true), (1e-320, true), (1e30, false), (1e38, true), (1e308, true)] {
        Case::<f32>::new(5, 13, one(kept), &mut random).within_the_bound(Activation::LeakyRelu(slope));
    }
    for (slope, kept) in [(1e-300, false), (1e-315, true), (5e-324, true), (1e290, false), (1e308, true)] {
        Case::<f64>::new(5, 13, one(kept), &mut random).within_the_bound(Activation::LeakyRelu(slope));
    }
}

fn random_channels<T: Type>(random: &mut Random) -> f64 {
    let mut worst: f64 = 0.0;
    for _ in 0..150 {
        let count = 1 + random.below(12);
        let channels: Vec<Channel> = (0..count)
            .map(|_| {
                let mut signed = |from: f64, to: f64| {
                    let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
                    sign * 10f64.powf(from + (to - from) * random.uniform())
                };
                let (gamma, beta): (f64, f64) = (signed(-8.0, 3.0), signed(-8.0, 3.0));
                let kept = T::EPS * (2.0 * beta.abs() / gamma.abs() + 1.0) > 1024.0 * T::EPS;
                channel(gamma, beta, Fill::Normal(signed(-3.0, 3.0)), kept)
            })
            .collect();
        let activation = ACTIVATIONS[random.below(4)];
        let (n, plane) = (2 + random.below(9), 1 + random.below(150));
        worst = worst.max(Case::<T>::new(n, plane, channels, random).within_the_bound(activation));
    }
    worst
}

#[test]
fn random_channels_keep_the_bound() {
    let mut random = Random::new(502);
    println!("f32: {:.3} of the bound", random_channels::<f32>(&mut random));
    println!("f64: {:.3} of the bound", random_channels::<f64>(&mut random));
}

/// xhat itself, beside that of the ordinary form: with an upstream gradient of one 1 it is dgamma.
fn normalised_input<T: Type>(random: &mut Random) {
    let mut worst: f64 = 0.0;
    for activation in ACTIVATIONS {
        let finite = |channel: &Channel| !channel.kept && !matches!(channel.fill, Fill::With(v) if !v.is_finite());
        let mut case = Case::<T>::new(6, 4, channels().into_iter().filter(finite).collect(), random);
        for place in 0..24 {
            let c = case.sizes.c;
            let one = |i: usize| f64::from(u8::from(i / (4 * c) * 4 + i % 4 == place));
            case.dy = (0..24 * c).map(|i| T::of(one(i))).collect();
            let own = case.invertible(&rule(activation), [Order::Nchw; 2]);
            let ordinary = case.ordinary(&rule(activation));
            for (c, &channel) in case.channels.iter().enumerate() {
                let of = |data: &[T]| channel_of(data, case.sizes.c, 4, c);
                let slope = if of(&own.y)[place].to_f64() > 0.0 { 1.0 } else { activation.slope() };
                let error = (own.parameters.dgamma[c] - ordinary.parameters.dgamma[c]).abs() / slope;
                if matches!(channel.fill, Fill::Constant(_)) {
                    assert_eq!(error, 0.0, "{channel:?}");
                    continue;
                }
                let bound = Truth::new(&of(&case.x), &of(&own.y), &of(&case.dy), channel, activation).bound[place];
                assert!(error <= bound, "{channel:?}: {error:e} of {bound:e}");
                worst = worst.max(error / bound);
            }
        }
    }
    println!("{}: xhat uses {worst:.3} of its bound", std::any::type_name::<T>());
    assert!(worst > 0.05, "a bound that nothing comes near");
}

#[test]
fn the_normalised_input_keeps_its_bound() {
    let mut random = Random::new(503);
    normalised_input::<f32>(&mut random);
    normalised_input::<f64>(&mut random);
}

#[test]
fn the_loops_are_the_twin() {
    let mut random = Random::new(504);
    let channels = vec![channel(-0.7, 0.3, Fill::Normal(2.0), false), channel(3.0, -1.0, Fill::Normal(0.0), false)];
    let case = Case::<f64>::new(7, 31, channels, &mut random);
    for activation in ACTIVATIONS {
        let step = case.invertible(&rule(activation), [Order::Nchw; 2]);
        for (c, &Channel { gamma, beta, .. }) in case.channels.iter().enumerate() {
            let of = |data: &[f64]| channel_of(data, 2, 31, c);
            let (slope, y, dy) = (activation.slope(), of(&step.y), of(&case.dy));
            let z: Vec<f64> = y.iter().map(|&y| if y > 0.0 { y } else { y / slope }).collect();
            let dz: Vec<f64> = y.iter().zip(dy).map(|(&y, dy)| if y > 0.0 { dy } else { slope * dy }).collect();
            let inverse = compact::forward(&of(&case.x), gamma, beta, EPSILON).inverse_deviation;
            let twin = invertible::backward(&z, gamma, beta, inverse, &dz);
            assert!((twin.dgamma - step.parameters.dgamma[c]).abs() < 1e-11 * (1.0 + twin.dgamma.abs()));
            assert!((twin.dbeta - step.parameters.dbeta[c]).abs() < 1e-11 * (1.0 + twin.dbeta.abs()));
            let close = |(twin, dx): (&f64, &f64)| (twin - dx).abs() < 1e-12 * (1.0 + twin.abs());
            assert!(twin.dx.iter().zip(&of(&step.dx)).all(close), "{activation:?}");
            // And the twin is the ordinary twin, up to rounding.
            let ordinary = compact::backward(&of(&case.x), gamma, EPSILON, &dz);
            assert!(ordinary.dx.iter().zip(&twin.dx).all(close), "{activation:?}");
        }
    }
}

#[test]
fn the_same_bits_over_threads_tiers_and_layouts() {
    let mut random = Random::new(505);
    for (n, plane) in [(5, 13), (1030, 1), (3, 1500), (2, 16), (9, 400)] {
        let case = Case::<f32>::new(n, plane, channels(), &mut random);
        let wide = Case::<f64>::new(n, plane, channels(), &mut random);
        for activation in [Activation::Identity, Activation::LeakyRelu(0.1)] {
            let run = |threads: usize, orders: [Order; 2], tier: Tier| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
                let rule = rule_with(activation, tier, policies);
                pool.install(|| (hashed(&case.invertible(&rule, orders)), hashed(&wide.invertible(&rule, orders))))
            };
            let first = run(1, [Order::Nchw; 2], Tier::Baseline);
            for order in ORDERS {
                for (j, threads) in [1, 2, 3, 8].into_iter().enumerate() {
                    let orders = [order, order.beside(j)];
                    assert!(run(threads, orders, Tier::best()) == first, "{n}x{plane} {orders:?} {threads} threads");
                }
                for tier in Tier::available() {
                    assert!(run(2, [order; 2], tier) == first, "{n}x{plane} {order:?} {tier:?}");
                }
            }
        }
    }
}

fn hashed<T: Type>(step: &Step<T>) -> (Vec<u64>, Vec<u64>, Vec<u64>, Vec<usize>) {
    let parameters = [&step.parameters.dgamma[..], &step.parameters.dbeta[..]].concat();
    (bits(&step.y), bits(&step.dx), bits(&parameters), step.kept.clone())
}

#[test]
fn one_value_a_channel_by_its_policy() {
    let mut random = Random::new(506);
    let cruel: Vec<Channel> = channels().into_iter().map(|c| Channel { fill: Fill::Normal(3.0), ..c }).collect();
    let case = Case::<f32>::new(1, 1, cruel, &mut random);
    let c = case.sizes.c;
    let of = |single_value| {
        rule_with(Activation::LeakyRelu(0.1), Tier::best(), Policies { single_value, ..Policies::default() })
    };
    for policy in [SingleValue::Population, SingleValue::SkipUpdate] {
        let step = case.invertible(&of(policy), [Order::Nchw; 2]);
        assert!(step.kept.is_empty(), "all are constant");
        assert_eq!(bits(&step.dx), bits(&case.ordinary(&of(policy)).dx));
        assert!(step.dx.iter().all(|&dx| dx == 0.0));
    }
    // By the running statistics: every channel keeps its one value, and all is the ordinary form's.
    let running = RunningStatistics::from_parts(&vec![1.0; c], &vec![2.0; c], 1).unwrap();
    let rule = of(SingleValue::UseRunning);
    let (y, saved) = case.forward(&rule, Order::Nchw, Some(&running));
    let y = Order::Nchw.back(y, case.sizes);
    assert_eq!(saved.kept_channels().len(), c);
    let [gamma, beta] = case.parameters();
    let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
    let (mut expected, mut dx, mut own) = (case.x.clone(), case.x.clone(), case.dy.clone());
    let x = dense(&case.x, case.sizes);
    let (plain, _) = rule.train(&x, parameters, Some(&running), &mut dense_mut(&mut expected, case.sizes)).unwrap();
    assert_eq!(bits(&y), bits(&expected));
    let dy = dense(&case.dy, case.sizes);
    let ordinary = plain.backward(&x, &dy, &mut dense_mut(&mut dx, case.sizes)).unwrap();
    let view = dense(&y, case.sizes);
    let gradients = saved.backward(&view, &mut dense_mut(&mut own, case.sizes)).unwrap();
    assert_eq!((bits(&own), gradients), (bits(&dx), ordinary));
}

#[test]
fn the_layer_steps_as_in_the_ordinary_form() {
    let mut random = Random::new(507);
    let case = Case::<f32>::new(6, 9, channels(), &mut random);
    let [gamma, beta] = case.parameters();
    let mut ordinary = Config::pytorch().activation(Activation::LeakyRelu(0.2)).build().unwrap();
    ordinary.set_gamma(&gamma).unwrap();
    ordinary.set_beta(&beta).unwrap();
    let mut own = ordinary.clone();
    let trained = ordinary.train(&dense(&case.x, case.sizes)).unwrap();
    let mut values = case.x.clone();
    let (saved, batch) = own.train_invertible(&mut dense_mut(&mut values, case.sizes)).unwrap();
    assert_eq!(bits(&values), bits(trained.y.data()));
    assert_eq!(batch.non_finite(), trained.batch.non_finite());
    assert_eq!(own.running(), ordinary.running());
    assert_eq!(saved.channels(), own.channels().unwrap());
    // What was saved is the forward pass's, even if the layer has other parameters since.
    let gradients = |layer: &BatchNorm| {
        let mut dy = case.dy.clone();
        let y = dense(&values, case.sizes);
        let of = layer.backward_invertible(&y, &mut dense_mut(&mut dy, case.sizes), &saved).unwrap();
        (bits(&dy), bits(&of.dgamma), bits(&of.dbeta))
    };
    let before = gradients(&own);
    own.set_gamma(&vec![9.0; gamma.len()]).unwrap();
    assert_eq!(before, gradients(&own));
}

#[test]
fn a_failed_call_changes_neither_layer_nor_array() {
    let values = [1.0f32, f32::NAN, 3.0, 4.0, 5.0, 7.0];
    let refuse = |layer: &mut BatchNorm, shape: &[usize]| {
        let mut own = values;
        let running = layer.running().cloned();
        let used = &mut own[..shape.iter().product()];
        let error = layer.train_invertible(&mut ViewMut::new(used, shape, Axes::NCHW).unwrap()).unwrap_err();
        assert_eq!((bits(&own), layer.running()), (bits(&values), running.as_ref()), "untouched");
        error
    };
    for activation in [Activation::Relu, Activation::LeakyRelu(0.0)] {
        let mut layer = Config::pytorch().channels(3).activation(activation).build().unwrap();
        let error = refuse(&mut layer, &[2, 3]);
        assert!(matches!(error, CallError::NotInvertible { .. }));
        let error = error.to_string();
        assert!(error.starts_with("activation: ") && error.contains("use LeakyRelu(0.01)"), "{error}");
        assert!(error.contains(&format!("got {activation:?}")), "{error}");
    }
    let mut layer = BatchNorm::new(3).unwrap();
    assert!(refuse(&mut layer, &[3, 2]).to_string().starts_with("x: expected 3 channels, got 2"));
    assert!(refuse(&mut layer, &[1, 3]).to_string().contains("at least 2 values a channel, got 1"));
    let strict = Policies { non_finite: NonFinite::Error, ..Policies::default() };
    let mut strict = Config::pytorch().channels(3).policies(strict).build().unwrap();
    assert!(refuse(&mut strict, &[2, 3]).to_string().contains("the first is channel 1"));

    let mut own = values;
    let (saved, _) = layer.train_invertible(&mut ViewMut::new(&mut own, &[2, 3], Axes::NCHW).unwrap()).unwrap();
    let mut dy = [7.0f32; 6];
    let mut backward = |y: &[f32], y_shape: &[usize], shape: &[usize]| {
        let y = View::new(y, y_shape, Axes::NCHW).unwrap();
        let len = shape.iter().product();
        let mut view = ViewMut::new(&mut dy[..len], shape, Axes::NCHW).unwrap();
        let error = saved.backward(&y, &mut view).unwrap_err().to_string();
        assert_eq!(dy, [7.0; 6], "untouched");
        error
    };
    assert!(backward(&own, &[2, 3], &[3, 2]).starts_with("dy: "));
    assert!(backward(&own, &[3, 2], &[3, 2]).starts_with("y: expected 3 channels, got 2"));
    let error = backward(&own[..3], &[1, 3], &[1, 3]);
    assert!(error.starts_with("y: the saved forward pass had 2 values a channel, got 1"), "{error}");
}

#[test]
fn a_scale_that_has_lost_digits_keeps_the_input() {
    let mut random = Random::new(507);
    for (gamma, kept) in [(1e-200, true), (1e-170, true), (1e-160, true), (1e-150, false)] {
        let mut case = Case::<f64>::new(8, 8, vec![channel(gamma, 0.0, Fill::Normal(0.0), kept)], &mut random);
        case.x.iter_mut().for_each(|x| *x *= 1e150);
        case.within_the_bound(Activation::Identity);
    }
}
