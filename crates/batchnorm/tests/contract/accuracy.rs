//! The accuracy contract, A1 to A8, A10 and A11. Each test prints the figure it measured:
//! `cargo test --release -p batchnorm --test contract accuracy:: -- --nocapture`.

mod kinds;

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::measure::{Worst, ulp};
use crate::support::training::{errors, rule, train};
use crate::support::wide::largest;
use crate::support::{Random, channel_of};
#[cfg(feature = "half")]
use batchnorm::Element;
use batchnorm::reference::number::Dual;
use batchnorm::{Axes, BatchNorm, Config, Moments, RunningStatistics, View};

/// 32 samples of 56x56, as the contract has it, in three channels.
const CONTRACT: Sizes = Sizes { n: 32, c: 3, plane: 56 * 56 };

#[test]
fn a1_a2_a7_training_and_gradients_in_f32_at_every_mean_and_layout() {
    let mut random = Random::new(1);
    for mean in [0.0, 1e2, 1e4, 1e6] {
        let x = random.normals_f32(CONTRACT.n * CONTRACT.c * CONTRACT.plane, mean, 1.0);
        let dy = random.normals_f32(x.len(), 0.0, 1.0);
        for (gamma, beta) in [([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), ([-0.3, 17.0, 1e-3], [11.0, -1e4, 0.2])] {
            for order in ORDERS {
                let worst = errors(order, CONTRACT, &x, &dy, &gamma, &beta, 1e-5);
                println!("A1 A2 A7 f32 mean/std {mean:>7} {order:?} beta {beta:?}: {worst}");
                assert!(worst.mean <= 1e-7 && worst.variance <= 1e-7, "A1: {worst:?}");
                assert!(worst.y_ulps <= 2.0, "A2: {worst:?}");
                assert!(worst.dx <= 1e-6 && worst.dgamma <= 1e-6 && worst.dbeta <= 1e-6, "A7: {worst:?}");
            }
        }
    }
}

#[test]
fn a2_training_output_is_nearly_always_correctly_rounded() {
    let mut random = Random::new(2);
    let x = random.normals_f32(CONTRACT.n * CONTRACT.c * CONTRACT.plane, 1e4, 1.0);
    let worst = errors(Order::Nchw, CONTRACT, &x, &x, &[1.0, -2.5, 0.7], &[0.0, 0.1, -3.0], 1e-5);
    println!("A2: worst {:.4} ulp (0.5 is correct rounding)", worst.y_ulps);
    assert!(worst.y_ulps <= 0.51);
}

#[test]
fn a3_evaluation_at_large_running_means() {
    let mut random = Random::new(3);
    for mean in [0.0, 1e4, 1e6] {
        let x = random.normals_f32(2 * 3 * 5000, mean, 1.0);
        let view = View::new(&x, &[2, 3, 5000], Axes::NCHW).unwrap();
        let mut layer = BatchNorm::new(3).unwrap();
        let (gamma, beta) = ([1.0, -0.4, 30.0], [0.0, 5.0, 1e3]);
        let (running_mean, running_variance) = ([mean, mean + 0.37, mean - 2.0], [1.0, 0.5, 3.0]);
        layer.set_gamma(&gamma).unwrap();
        layer.set_beta(&beta).unwrap();
        layer.set_running(RunningStatistics::from_parts(&running_mean, &running_variance, 1).unwrap()).unwrap();
        let y = layer.eval(&view).unwrap().y;
        let mut worst = Worst::default();
        for (i, (&x, &y)) in x.iter().zip(y.data()).enumerate() {
            let c = i / 5000 % 3;
            use crate::support::wide::DoubleDouble as D;
            let truth = batchnorm::reference::compact::forward_eval(
                &[D::from(f64::from(x))],
                gamma[c].into(),
                beta[c].into(),
                running_mean[c].into(),
                running_variance[c].into(),
                D::from(1e-5),
            )[0];
            let error = (D::from(f64::from(y)) - truth).to_f64().abs();
            let scale = truth.to_f64().abs().max(beta[c].abs());
            worst.join(Worst { y_ulps: error / ulp::<f32>(scale), ..Worst::default() });
        }
        println!("A3 running mean {mean:>7}: {:.4} ulp", worst.y_ulps);
        assert!(worst.y_ulps <= 2.0);
    }
}

#[test]
fn a4_constant_channels_have_variance_0_and_give_beta_to_the_bit() {
    let constants = [1.0, 100.1, 1e7, 16777217.0, 1e8, 1e-30, 1e30, 3e38, -100.1, 0.1];
    let beta: Vec<f64> = (0..constants.len()).map(|i| [0.0, 0.1, -7.3, 1e20][i % 4]).collect();
    let gamma = vec![-3.7; constants.len()];
    for (n, plane) in [(1, 2), (2, 1), (3, 7), (5, 49), (1, 1024), (7, 1025), (2, 33333)] {
        let sizes = Sizes { n, c: constants.len(), plane };
        for epsilon in [1e-5, 0.0] {
            for order in ORDERS {
                let values = (0..n * sizes.c * plane).map(|i| constants[i / plane % sizes.c]);
                let check = |moments: &[Moments], y: Vec<f64>, mean_of: &dyn Fn(f64) -> f64| {
                    for (c, moments) in moments.iter().enumerate() {
                        assert_eq!(moments.m2(), 0.0, "{:e} {sizes:?} {order:?}", constants[c]);
                        assert_eq!(moments.mean(), mean_of(constants[c]));
                    }
                    for (i, y) in y.iter().enumerate() {
                        assert_eq!(*y, beta[i / plane % sizes.c], "{sizes:?} {order:?}");
                    }
                };
                let x: Vec<f32> = values.clone().map(|value| value as f32).collect();
                let rounded: Vec<f64> = beta.iter().map(|&beta| f64::from(beta as f32)).collect();
                let outcome = train(&rule(epsilon), order, sizes, &x, &x, &gamma, &rounded);
                for (i, y) in outcome.y.iter().enumerate() {
                    assert_eq!(y.to_bits(), (beta[i / plane % sizes.c] as f32).to_bits());
                }
                assert!(outcome.moments.iter().all(|moments| moments.m2() == 0.0));

                let x: Vec<f64> = values.collect();
                let outcome = train(&rule(epsilon), order, sizes, &x, &x, &gamma, &beta);
                check(&outcome.moments, outcome.y, &|value| value);
            }
        }
    }
    println!("A4: 10 constants, 7 sizes, 4 layouts, f32 and f64: exact");
}

#[test]
fn a4_constant_f64_channels_up_to_the_largest_number() {
    for value in [1e-300, 1e154, 1e200, 1e308, f64::MAX, f64::MIN] {
        let moments = Moments::of(&vec![value; 5000]);
        assert_eq!((moments.mean(), moments.m2()), (value, 0.0));
    }
}

#[test]
fn a5_sixty_million_values_a_channel() {
    let mut random = Random::new(5);
    let values: Vec<f32> = (0..60_000_000).map(|_| random.uniform() as f32).collect();
    // f64 sums of f32 values, each exact to 53 bits: truth to about 1e-13 here, in two passes.
    let sum = |of: &dyn Fn(f64) -> f64| {
        values.chunks(10_000).map(|chunk| chunk.iter().map(|&v| of(f64::from(v))).sum::<f64>()).sum::<f64>()
    };
    let n = values.len() as f64;
    let mean = sum(&|v| v) / n;
    let variance = sum(&|v| (v - mean) * (v - mean)) / n;
    for (shape, axes) in [([1, 1, 60_000_000], Axes::NCHW), ([60_000_000, 1, 1], Axes::NHWC)] {
        let view = View::new(&values, &shape, axes).unwrap();
        let moments = rule(1e-5).moments(&view).channels()[0];
        let mean_error = (moments.mean() - mean).abs() / variance.sqrt();
        let variance_error = (moments.population_variance() / variance - 1.0).abs();
        println!("A5 {shape:?}: mean {mean_error:.1e}, variance {variance_error:.1e}");
        assert!(mean_error <= 1e-7 && variance_error <= 1e-7);
    }
}

#[test]
fn a6_huge_and_tiny_deviations_still_normalise() {
    let mut random = Random::new(6);
    let sizes = Sizes { n: 4, c: 1, plane: 5000 };
    for deviation in [1e-19, 1.0, 1e19, 1e25, 1e30, 1e37] {
        let x = random.normals_f32(20_000, 0.0, deviation);
        for order in ORDERS {
            let y = train(&rule(0.0), order, sizes, &x, &x, &[1.0], &[0.0]).y;
            let got = Moments::of(&y).population_variance().sqrt();
            assert!((got - 1.0).abs() <= 1e-5, "std {deviation:e}: y has std {got}");
        }
        let worst = errors(Order::Nchw, sizes, &x, &x, &[1.0], &[0.0], 0.0);
        println!("A6 std {deviation:.0e}: y {:.3} ulp, dx {:.1e}", worst.y_ulps, worst.dx);
        assert!(worst.y_ulps <= 2.0 && worst.dx <= 1e-6);
    }
}

#[test]
fn a8_f64_on_500_random_shapes() {
    let mut random = Random::new(8);
    let mut worst_of_all = Worst::default();
    for case in 0..500 {
        let sizes = match case % 5 {
            0 => Sizes { n: 2 + random.below(5), c: 1 + random.below(9), plane: 1 + random.below(7) },
            1 => Sizes { n: 1 + random.below(3), c: 1 + random.below(4), plane: 2 + random.below(3000) },
            2 => Sizes { n: 2 + random.below(3000), c: 1 + random.below(5), plane: 1 },
            3 => Sizes { n: 1 + random.below(40), c: 1 + random.below(33), plane: 2 + random.below(60) },
            _ => Sizes { n: 2, c: 1 + random.below(3), plane: 1 },
        };
        let len = sizes.n * sizes.c * sizes.plane;
        let ratio = [0.0, 1.0, 1e2, 1e4, 1e6][random.below(5)];
        let deviation = [1e-6, 1e-2, 1.0, 1e3, 1e9][random.below(5)];
        let epsilon = [1e-5, 1e-12, 1e-3, 0.0, 1.0][random.below(5)];
        let mut x = random.normals(len, ratio * deviation, deviation);
        if case % 3 == 0 {
            // An outlier as the first value of every channel: the worst shift there is.
            let size = [1e3, 1e6, -1e8][random.below(3)];
            for c in 0..sizes.c {
                x[c * sizes.plane] += size * deviation;
            }
        }
        let dy = random.normals(len, 0.3, 1.0);
        let gamma = random.normals(sizes.c, 0.5, 1.0);
        let beta = random.normals(sizes.c, 0.0, 2.0);
        let order = ORDERS[random.below(ORDERS.len())];
        let worst = errors(order, sizes, &x, &dy, &gamma, &beta, epsilon);
        // mean/std of the channels as they came out, outliers included: the contract's own measure.
        let ratio = (0..sizes.c)
            .map(|c| Moments::of(&channel_of(&x, sizes.c, sizes.plane, c)))
            .map(|moments| moments.mean().abs() / (moments.population_variance() + epsilon).sqrt())
            .fold(0.0, f64::max);
        let bound = 1e-13 * (1.0 + ratio);
        for (name, error) in [
            ("mean", worst.mean),
            ("variance", worst.variance),
            ("y", worst.y),
            ("dx", worst.dx),
            ("dgamma", worst.dgamma),
            ("dbeta", worst.dbeta),
        ] {
            assert!(error <= bound, "case {case} {sizes:?} {order:?}: {name} {error:e} > {bound:e}");
        }
        worst_of_all.join(worst);
    }
    println!("A8, worst of 500 shapes, mean/std up to 1e6: {worst_of_all}");
}

#[test]
fn f64_at_the_ends_of_its_range() {
    // Deviations that f64 cannot square: with eps > 0 the derivative is that of the formula, not 0, and only values
    // that are all alike count as constant.
    let x = [0.0, 1e-170, 3e-170, 5e-170];
    let dy = [1.0, 0.0, 0.0, -0.5];
    let sizes = Sizes { n: 4, c: 1, plane: 1 };
    let rule = Config::pytorch().normalizer().unwrap(); // the default: no gradient for constant channels
    let got = train(&rule, Order::Nchw, sizes, &x, &dy, &[1.0], &[0.0]);
    assert!(!got.moments[0].is_constant());
    for (dx, dy) in got.dx.iter().zip(dy) {
        assert!((dx - (dy - 0.125) / 1e-5f64.sqrt()).abs() < 1e-10);
    }
    let alike = Moments::of(&[1e-170; 3000]).merge(Moments::of(&[2e-170; 3000]));
    assert!(!alike.is_constant() && Moments::of(&[1e-170; 3000]).is_constant());

    // Gradient sums whose terms overflow or underflow before they are normalised; eps 0.
    let mut random = Random::new(81);
    for (size, upstream) in [(1e150, 1e160), (1e-150, 1e-180), (1e-100, 1e190), (1e100, 1e-190)] {
        let (x, dy) = (random.normals(500, 0.0, size), random.normals(500, 0.0, upstream));
        let worst = errors(Order::Nchw, Sizes { n: 500, c: 1, plane: 1 }, &x, &dy, &[1.0], &[0.0], 0.0);
        println!("f64 x {size:e}, dy {upstream:e}: {worst}");
        assert!(worst.dx <= 1e-13 && worst.dgamma <= 1e-13 && worst.y <= 1e-13);
    }
}

#[test]
fn a8_gradients_against_dual_numbers_which_know_no_closed_form() {
    let mut random = Random::new(80);
    let mut worst = [0.0f64; 3];
    for case in 0..300 {
        let n = 2 + random.below(30);
        let epsilon = [1e-5, 1e-8, 1e-3][case % 3];
        let (mean, deviation) = (5.0 * random.normal(), 0.2 + random.uniform());
        let (x, dy) = (random.normals(n, mean, deviation), random.normals(n, 0.2, 1.0));
        let (gamma, beta) = (random.normal(), random.normal());
        // d sum(y dy) by x_0 .. x_n-1, gamma, beta.
        let derivative = |variable: usize| {
            let dual = |value: f64, number: usize| Dual(value, f64::from(u8::from(number == variable)));
            let inputs: Vec<Dual<f64>> = x.iter().enumerate().map(|(i, &x)| dual(x, i)).collect();
            let (gamma, beta) = (dual(gamma, n), dual(beta, n + 1));
            let y = batchnorm::reference::staged::forward(&inputs, gamma, beta, Dual(epsilon, 0.0)).y;
            y.iter().zip(&dy).map(|(y, dy)| y.1 * dy).sum::<f64>()
        };
        let sizes = Sizes { n, c: 1, plane: 1 };
        let got = train(&rule(epsilon), Order::Nchw, sizes, &x, &dy, &[gamma], &[beta]);
        let moments = got.moments[0];
        let inverse = batchnorm::inverse_deviation(moments.population_variance(), epsilon);
        let max_dy = largest(&dy);
        for (i, dx) in got.dx.iter().enumerate() {
            worst[0] = worst[0].max((dx - derivative(i)).abs() / (gamma.abs() * inverse * max_dy));
        }
        let products: f64 = x.iter().zip(&dy).map(|(x, dy)| ((x - moments.mean()) * inverse * dy).abs()).sum();
        worst[1] = worst[1].max((got.dgamma[0] - derivative(n)).abs() / products);
        worst[2] = worst[2].max((got.dbeta[0] - derivative(n + 1)).abs() / dy.iter().map(|dy| dy.abs()).sum::<f64>());
    }
    println!("A8 against dual numbers: dx {:.1e}, dgamma {:.1e}, dbeta {:.1e}", worst[0], worst[1], worst[2]);
    assert!(worst.iter().all(|&error| error <= 1e-13));
}

#[cfg(feature = "half")]
fn a10<T: Element>(name: &str, make: impl Fn(f64) -> T, random: &mut Random) {
    let mut worst = [0.0f64; 2];
    for (sizes, mean) in [(Sizes { n: 32, c: 3, plane: 196 }, 0.0), (Sizes { n: 500, c: 9, plane: 1 }, 30.0)] {
        let len = sizes.n * sizes.c * sizes.plane;
        let x: Vec<T> = (0..len).map(|_| make(mean + random.normal())).collect();
        let dy: Vec<T> = (0..len).map(|_| make(random.normal())).collect();
        let (gamma, beta) = (random.normals(sizes.c, 1.0, 1.0), random.normals(sizes.c, 0.0, 1.0));
        for order in ORDERS {
            let got = errors(order, sizes, &x, &dy, &gamma, &beta, 1e-5);
            // Half a unit is correct rounding; the statistics are those of f64.
            assert!(got.y_ulps <= 0.502 && got.variance <= 1e-13 && got.mean <= 1e-13, "{name} {order:?}: {got}");
            assert!(got.dgamma <= 1e-12 && got.dbeta <= 1e-12, "{name} {order:?}: {got}");
            worst = [worst[0].max(got.y_ulps), worst[1].max(got.dx)];
        }
    }
    println!("A10 {name}: y {:.4} ulp (0.5 is correct rounding), dx {:.1e}", worst[0], worst[1]);
}

#[cfg(feature = "half")]
#[test]
fn a10_half_precision_is_rounded_once_from_f64_statistics() {
    let mut random = Random::new(10);
    a10("f16", half::f16::from_f64, &mut random);
    a10("bf16", half::bf16::from_f64, &mut random);
}

#[cfg(feature = "half")]
#[test]
fn a10_three_thousand_bf16_steps_do_not_stall() {
    // torch's running mean in bf16 stops at 6.7 of 10.
    let mut layer = BatchNorm::new(1).unwrap();
    let x: Vec<half::bf16> = (0..64).map(|i| half::bf16::from_f64(if i % 2 == 0 { 9.0 } else { 11.0 })).collect();
    let view = View::new(&x, &[64, 1], Axes::NCHW).unwrap();
    for _ in 0..3000 {
        layer.train(&view).unwrap();
    }
    assert!((layer.running().unwrap().mean()[0] - 10.0).abs() < 1e-12);
}

#[test]
fn a11_a_bad_value_stays_in_its_channel() {
    let mut random = Random::new(11);
    for sizes in [Sizes { n: 4, c: 5, plane: 49 }, Sizes { n: 64, c: 5, plane: 1 }, Sizes { n: 2, c: 5, plane: 2000 }] {
        let clean = random.normals_f32(sizes.n * sizes.c * sizes.plane, 3.0, 2.0);
        let dy = random.normals_f32(clean.len(), 0.0, 1.0);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, sizes.plane - 1, (sizes.n - 1) * sizes.c * sizes.plane] {
                let mut dirty = clean.clone();
                dirty[place + 2 * sizes.plane] = bad; // channel 2
                for order in ORDERS {
                    let (gamma, beta) = ([1.0; 5], [0.5; 5]);
                    let right = train(&rule(1e-5), order, sizes, &clean, &dy, &gamma, &beta);
                    let got = train(&rule(1e-5), order, sizes, &dirty, &dy, &gamma, &beta);
                    for i in 0..clean.len() {
                        if i / sizes.plane % 5 == 2 {
                            assert!(got.y[i].is_nan() && got.dx[i].is_nan());
                        } else {
                            assert_eq!(got.y[i].to_bits(), right.y[i].to_bits());
                            assert_eq!(got.dx[i].to_bits(), right.dx[i].to_bits());
                        }
                    }
                }
                let mut layer = Config::pytorch().channels(5).build().unwrap();
                let before = layer.running().unwrap().clone();
                let view = View::new(&dirty, &[sizes.n, 5, sizes.plane], Axes::NCHW).unwrap();
                let trained = layer.train(&view).unwrap();
                assert_eq!(trained.batch.non_finite(), [2]);
                let after = layer.running().unwrap();
                assert_eq!((after.mean()[2], after.variance()[2]), (before.mean()[2], before.variance()[2]));
                assert!(after.mean().iter().chain(after.variance()).all(|value| value.is_finite()));
                assert!(after.mean()[1] != before.mean()[1]);
            }
        }
    }
}
