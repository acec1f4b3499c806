//! Activations and residuals in the same pass: against the same done in two passes, against the twin, and the same
//! bits everywhere.

use crate::support::Random;
use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::measure::ulp;
use crate::support::step::{Case, Pass, Places, Stepped, Stepping};
use crate::support::wide::{DoubleDouble, largest, widened};
use batchnorm::reference::{Real, compact};
use batchnorm::{
    Activation, Axes, Config, Element, GradientBuffers, Input, Normalizer, Parameters, Tier, View, ViewMut,
};

const SIZES: [Sizes; 7] = [
    Sizes { n: 1, c: 3, plane: 2 },
    Sizes { n: 4, c: 5, plane: 49 },
    Sizes { n: 3, c: 40, plane: 16 },
    Sizes { n: 64, c: 33, plane: 1 },
    Sizes { n: 7, c: 2, plane: 1031 },
    Sizes { n: 2, c: 1, plane: 70_000 },
    Sizes { n: 1100, c: 9, plane: 3 },
];

const fn pass(activation: Activation, adding: bool) -> Pass {
    Pass { training: true, activation, adding }
}

fn rule(activation: Activation) -> Normalizer {
    pass(activation, false).rule(Tier::best())
}

/// A case whose gamma reaches further down the more channels there are.
fn case<T: Stepping>(sizes: Sizes, random: &mut Random) -> Case<T> {
    let gamma = (0..sizes.c).map(|c| 0.7 - c as f64 * 0.3).collect();
    let beta = (0..sizes.c).map(|c| if c == 2 { -50.0 } else { 0.1 * c as f64 - 0.3 }).collect();
    Case { gamma, beta, ..Case::new(sizes, random) }
}

/// All arrays in one order.
fn step<T: Stepping>(case: &Case<T>, pass: Pass, order: Order, tier: Tier) -> Stepped<T> {
    case.step(pass, tier, &Places::arranged([order; 2], case.sizes))
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| value.to_f64().to_bits()).collect()
}

/// ReLU in one pass is ReLU after the plain layer, to the bit, forward and backward.
fn one_pass_is_two<T: Stepping>(random: &mut Random) {
    for sizes in SIZES {
        let case = case::<T>(sizes, random);
        let order = ORDERS[random.below(ORDERS.len())];
        let fused = step(&case, pass(Activation::Relu, false), order, Tier::best());
        let plain = pass(Activation::Identity, false);
        let z = step(&case, plain, order, Tier::best()).y;
        let open = |z: &T| z.to_f64() > 0.0;
        let zero = T::default();
        assert_eq!(bits(&fused.y), bits(&z.iter().map(|z| if open(z) { *z } else { zero }).collect::<Vec<T>>()));
        let dz = case.dy.iter().zip(&z).map(|(dy, z)| if open(z) { *dy } else { zero }).collect();
        let behind = Case { dy: dz, ..case };
        let expected = step(&behind, plain, order, Tier::best());
        assert_eq!(bits(&fused.dx), bits(&expected.dx), "{sizes:?} {order:?}");
        assert_eq!(bits(&fused.dgamma), bits(&expected.dgamma), "{sizes:?} {order:?}");
        assert_eq!(bits(&fused.dbeta), bits(&expected.dbeta), "{sizes:?} {order:?}");
    }
}

#[test]
fn relu_in_one_pass_is_relu_after_the_layer_to_the_bit() {
    let mut random = Random::new(300);
    one_pass_is_two::<f32>(&mut random);
    one_pass_is_two::<f64>(&mut random);
    #[cfg(feature = "half")]
    {
        one_pass_is_two::<half::f16>(&mut random);
        one_pass_is_two::<half::bf16>(&mut random);
    }
}

/// Against the twin in double-double arithmetic; the side of the kink is told from the output.
fn against_the_twin<T: Stepping>(bound: f64, random: &mut Random) {
    type D = DoubleDouble;
    for (number, sizes) in SIZES.into_iter().enumerate() {
        for activation in [Activation::Relu, Activation::LeakyRelu(0.2), Activation::Identity] {
            let adding = activation == Activation::Identity || number % 2 == 0;
            let case = case::<T>(sizes, random);
            let order = ORDERS[random.below(ORDERS.len())];
            let stepped = step(&case, pass(activation, adding), order, Tier::best());
            let Stepped { y, dx, dresidual, dgamma, dbeta, .. } = stepped;
            let slope = D::from(activation.slope());
            for c in 0..sizes.c {
                let of = |data: &[T]| crate::support::channel_of(data, sizes.c, sizes.plane, c);
                let (x, got_y, dy) = (widened(&of(&case.x)), of(&y), widened(&of(&case.dy)));
                let residual = widened(&of(&case.residual));
                let (gamma, beta, epsilon) = (D::from(case.gamma[c]), D::from(case.beta[c]), D::from(1e-5));
                let forward = compact::forward(&x, gamma, beta, epsilon);
                let mut dz = Vec::new();
                for (i, &z) in forward.y.iter().enumerate() {
                    let z = if adding { z + residual[i] } else { z };
                    let truth = if z.to_f64() > 0.0 { z } else { slope * z };
                    let error = (D::from(got_y[i].to_f64()) - truth).to_f64().abs();
                    // By the contract's measure; a sum is rounded in units of its parts.
                    let part = if adding { residual[i].to_f64().abs() } else { 0.0 };
                    let scale = truth.to_f64().abs().max(case.beta[c].abs()).max(part);
                    // A2 for f32, A8 for f64.
                    let most = if T::SQUARES_FIT { 2.0 * ulp::<T>(scale) } else { 1e-13 * scale };
                    assert!(error <= most, "y {sizes:?} {order:?} {activation:?}: {error:e}");
                    dz.push(if got_y[i].to_f64() > 0.0 { dy[i] } else { slope * dy[i] });
                }
                let backward = compact::backward(&x, gamma, epsilon, &dz);
                let inverse = (D::from(1.0) / (forward.variance + epsilon).sqrt()).to_f64();
                let most = largest(of(&case.dy).into_iter().map(T::to_f64));
                for (got, truth) in of(&dx).iter().zip(&backward.dx) {
                    let error = (D::from(got.to_f64()) - *truth).to_f64().abs();
                    let scale = case.gamma[c].abs() * inverse * most;
                    assert!(error <= bound * scale, "dx {sizes:?} {order:?} {activation:?}: {error:e} of {scale:e}");
                }
                let sums: f64 = dy.iter().map(|dy| dy.to_f64().abs()).sum();
                assert!((dbeta[c] - backward.dbeta.to_f64()).abs() <= bound * sums);
                let products: f64 = dy.iter().zip(&forward.normalized).map(|(&dy, &x)| (dy * x).to_f64().abs()).sum();
                assert!((dgamma[c] - backward.dgamma.to_f64()).abs() <= bound * products);
                if adding {
                    for (got, dz) in of(&dresidual).iter().zip(&dz) {
                        assert!((got.to_f64() - dz.to_f64()).abs() <= ulp::<T>(dz.to_f64().abs()));
                    }
                }
            }
        }
    }
}

#[test]
fn fused_passes_meet_the_contract() {
    let mut random = Random::new(301);
    against_the_twin::<f32>(1e-6, &mut random);
    against_the_twin::<f64>(1e-12, &mut random);
}

#[test]
fn fused_passes_give_the_same_bits_over_threads_tiers_and_layouts() {
    let mut random = Random::new(302);
    for sizes in SIZES {
        let case = case::<f32>(sizes, &mut random);
        for (activation, adding) in
            [(Activation::Relu, false), (Activation::LeakyRelu(0.1), false), (Activation::Relu, true)]
        {
            let run = |threads: usize, order: Order, tier: Tier| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| step(&case, pass(activation, adding), order, tier))
            };
            let first = run(1, Order::Nchw, Tier::Baseline);
            for order in ORDERS {
                for threads in [1, 2, 3, 8] {
                    assert!(
                        run(threads, order, Tier::best()).same_bits(&first),
                        "{sizes:?} {order:?} {threads} {activation:?}"
                    );
                }
                for tier in Tier::available() {
                    assert!(run(2, order, tier).same_bits(&first), "{sizes:?} {order:?} {tier:?} {activation:?}");
                }
            }
        }
    }
}

#[test]
fn evaluation_takes_activations_and_residuals_too() {
    let mut random = Random::new(303);
    let case = case::<f32>(Sizes { n: 5, c: 4, plane: 50 }, &mut random);
    let running = batchnorm::RunningStatistics::from_parts(&[1.0, 2.0, 3.0, 4.0], &[0.5, 1.0, 2.0, 0.0], 1).unwrap();
    let parameters = Parameters { gamma: Some(&case.gamma[..]), beta: Some(&case.beta[..]) };
    fn view(data: &[f32]) -> View<'_, f32> {
        View::new(data, &[5, 4, 50], Axes::NCHW).unwrap()
    }
    let (x, residual, dy) = (view(&case.x), view(&case.residual), view(&case.dy));
    let mut y = [(); 3].map(|()| vec![0.0f32; 1000]);
    let [z, relu, added] = &mut y;
    fn out(data: &mut [f32]) -> ViewMut<'_, f32> {
        ViewMut::new(data, &[5, 4, 50], Axes::NCHW).unwrap()
    }
    let plain = rule(Activation::Identity);
    let fused = rule(Activation::Relu);
    let saved_plain = plain.eval(&x, parameters, Some(&running), &mut out(z)).unwrap();
    let saved = fused.eval(&x, parameters, Some(&running), &mut out(relu)).unwrap();
    let saved_adding = fused.eval(Input::adding(&x, &residual), parameters, Some(&running), &mut out(added)).unwrap();
    for i in 0..1000 {
        assert_eq!(relu[i], z[i].max(0.0));
        assert!((added[i] - (z[i] + case.residual[i]).max(0.0)).abs() <= 1e-6 * (1.0 + z[i].abs()));
    }
    let mask = |open: &[f32]| -> Vec<f32> {
        case.dy.iter().zip(open).map(|(dy, open)| if *open > 0.0 { *dy } else { 0.0 }).collect()
    };
    let (mut dx, mut expected, mut dresidual) = (vec![0.0f32; 1000], vec![0.0f32; 1000], vec![0.0f32; 1000]);
    let gradients = saved.backward(&x, &dy, &mut out(&mut dx)).unwrap();
    let masked = mask(relu);
    assert_eq!(gradients, saved_plain.backward(&x, &view(&masked), &mut out(&mut expected)).unwrap());
    assert_eq!(dx, expected);
    saved_adding
        .backward(
            Input::with_output(&x, &view(added)),
            &dy,
            GradientBuffers::with_residual(&mut out(&mut dx), &mut out(&mut dresidual)),
        )
        .unwrap();
    assert_eq!(dresidual, mask(added));
    saved_plain.backward(&x, &view(&dresidual), &mut out(&mut expected)).unwrap();
    assert_eq!(dx, expected);
}

/// The gradients of the residual alone, and of the parameters alone, against all in one call.
fn parts_are_the_whole<T: Stepping>(random: &mut Random) {
    for sizes in SIZES {
        let case = case::<T>(sizes, random);
        let order = ORDERS[random.below(ORDERS.len())];
        for activation in [Activation::Relu, Activation::LeakyRelu(0.2), Activation::Identity] {
            let rule = rule(activation);
            let whole = step(&case, pass(activation, true), order, Tier::best());

            let [x, residual, dy] = [&case.x, &case.residual, &case.dy].map(|array| order.arranged(array, sizes));
            let [mut y, mut dz, mut part] = [(); 3].map(|()| vec![T::from_f64(-77.25); x.len()]);
            let (x, residual, dy) = (order.view(&x, sizes), order.view(&residual, sizes), order.view(&dy, sizes));
            let parameters = Parameters { gamma: Some(&case.gamma[..]), beta: Some(&case.beta[..]) };
            let input = Input::adding(&x, &residual);
            let (saved, _) =
                rule.train(input, parameters, None, &mut order.view_mut(&mut y, sizes)).expect("a right call");
            assert_eq!(saved.activation(), activation);
            let y = order.view(&y, sizes);
            saved.residual_gradient(&y, &dy, &mut order.view_mut(&mut dz, sizes)).expect("a right call");
            assert_eq!(bits(&order.back(dz, sizes)), bits(&whole.dresidual), "{sizes:?} {order:?} {activation:?}");
            let sums = saved.parameter_gradients(Input::with_output(&x, &y), &dy).expect("a right call");
            assert_eq!([bits(&sums.dgamma), bits(&sums.dbeta)], [bits(&whole.dgamma), bits(&whole.dbeta)]);
            if activation == Activation::Identity {
                let alone = saved.without_residual();
                let all = alone.backward(&x, &dy, &mut order.view_mut(&mut part, sizes)).expect("a right call");
                assert_eq!(all, sums);
                assert_eq!(bits(&order.back(part, sizes)), bits(&whole.dx), "{sizes:?} {order:?}");
            }
        }
    }
}

#[test]
fn gradients_alone_are_those_of_the_whole() {
    let mut random = Random::new(304);
    parts_are_the_whole::<f32>(&mut random);
    parts_are_the_whole::<f64>(&mut random);
}

#[test]
fn what_is_stored_as_zero_has_the_gradient_of_zero() {
    // The threshold of each type is the last positive number that is stored as 0.
    fn last<T: Stepping>() {
        let (limit, up) = (T::ROUNDS_TO_ZERO, f64::from_bits(T::ROUNDS_TO_ZERO.to_bits() + 1));
        assert_eq!(T::from_f64(limit).to_f64(), 0.0, "{}", std::any::type_name::<T>());
        assert!(T::from_f64(up).to_f64() > 0.0, "{}", std::any::type_name::<T>());
    }
    last::<f32>();
    last::<f64>();
    #[cfg(feature = "half")]
    {
        last::<half::f16>();
        last::<half::bf16>();
    }
}

#[test]
fn infinities_nan_and_minus_zero() {
    let rule = rule(Activation::Relu);
    let running = batchnorm::RunningStatistics::start(1).unwrap();
    let x = [f32::NEG_INFINITY, -1.0, -0.0, 0.0, f32::INFINITY, f32::NAN, 2.0, -2.0];
    let mut y = [7.0f32; 8];
    let mut out = ViewMut::new(&mut y, &[8, 1], Axes::NCHW).unwrap();
    let view = View::new(&x, &[8, 1], Axes::NCHW).unwrap();
    rule.eval(&view, Parameters::<f32>::default(), Some(&running), &mut out).unwrap();
    assert_eq!(y[..4].iter().map(|y| y.to_bits()).collect::<Vec<_>>(), [0; 4]);
    assert!(y[4].is_infinite() && y[5].is_nan() && y[6] > 1.9 && y[7] == 0.0);
}

#[test]
fn the_wrong_backward_pass_and_a_bad_slope_are_errors() {
    for slope in [-0.1, f64::NAN, f64::INFINITY] {
        let error = Config::pytorch().activation(Activation::LeakyRelu(slope)).normalizer().unwrap_err().to_string();
        assert!(error.contains("slope") && error.contains(">= 0"), "{error}");
    }
    let rule = rule(Activation::Relu);
    let x = [1.0f32, 2.0, 3.0, 4.0];
    let view = View::new(&x, &[4, 1], Axes::NCHW).unwrap();
    let none = Parameters::<f32>::default();
    let mut buffers = [[7.0f32; 4]; 3];
    let [y, dx, dresidual] = &mut buffers;
    fn out(data: &mut [f32]) -> ViewMut<'_, f32> {
        ViewMut::new(data, &[4, 1], Axes::NCHW).unwrap()
    }
    let other = [0.0f32; 2];
    let short = View::new(&other, &[2, 1], Axes::NCHW).unwrap();
    let error = rule.train(Input::adding(&view, &short), none, None, &mut out(&mut y[..])).unwrap_err().to_string();
    assert!(error.starts_with("residual: "), "{error}");
    let (plain, _) = rule.train(&view, none, None, &mut out(&mut y[..])).unwrap();
    let (adding, _) = rule.train(Input::adding(&view, &view), none, None, &mut out(&mut y[..])).unwrap();
    let error = adding.backward(&view, &view, &mut out(&mut dx[..])).unwrap_err().to_string();
    assert!(error.contains("with a residual") && error.contains("Input::with_output"), "{error}");
    let (dx, dresidual) = (&mut out(&mut dx[..]), &mut out(&mut dresidual[..]));
    let error = plain
        .backward(Input::with_output(&view, &view), &view, GradientBuffers::with_residual(dx, dresidual))
        .unwrap_err()
        .to_string();
    assert!(error.contains("without a residual"), "{error}");
    assert!(
        adding
            .backward(Input::with_output(&view, &short), &view, GradientBuffers::with_residual(dx, dresidual))
            .is_err()
    );
    let error = plain.residual_gradient(&view, &view, dresidual).unwrap_err().to_string();
    assert!(error.contains("without a residual"), "{error}");
    let error = adding.residual_gradient(&view, &short, dresidual).unwrap_err().to_string();
    assert!(error.starts_with("dy: "), "{error}");
    assert!(adding.residual_gradient(&short, &short, dresidual).is_err());
    assert!(plain.parameter_gradients(Input::with_output(&view, &view), &view).is_err());
    let error = adding.parameter_gradients(Input::with_output(&view, &short), &view).unwrap_err().to_string();
    assert!(error.starts_with("y: "), "{error}");
    assert!(buffers[1..].iter().flatten().all(|&value| value == 7.0), "untouched");
}
