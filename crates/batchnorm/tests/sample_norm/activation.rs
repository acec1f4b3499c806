//! A fused activation: the bits of the norm and the activation one after the other, and what may not be one.

use super::table::table;
use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::place::bits;
use crate::support::samples::{Case, Kind, Outcome, places};
use batchnorm::{Activation, Axes, ConfigError, Element, SampleConfig, View};

fn all_bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|&value| bits(value)).collect()
}

/// Fused, and by hand: the activation of y, and dy times its derivative for dy.
fn fused_and_by_hand<T: Element>(case: &Case<T>, activation: Activation) -> [Outcome<T>; 2] {
    let plain = case.dense();
    let slope = activation.slope();
    let on_side = |of: &[T]| -> Vec<T> {
        // (Of a rectifier +0.)
        let negative = |value: f64| if slope == 0.0 { 0.0 } else { slope * value };
        let side =
            |(&y, &value): (&T, &T)| if y.to_f64() > 0.0 { value } else { T::from_f64(negative(value.to_f64())) };
        plain.y.iter().zip(of).map(side).collect()
    };
    let by_hand = Case { dy: on_side(&case.dy), ..case.clone() }.dense();
    let (y, moved) = (on_side(&plain.y), on_side(&plain.moved));
    [case.clone().behind(activation).dense(), Outcome { y, moved, ..by_hand }]
}

/// Slopes of 0, 1 and 1/4 are exact in what is stored, so that rounding once gives what rounding twice gives.
fn is_composed<T: Element>(random: &mut Random) {
    for (kind, sizes) in table() {
        let case = Case::<T>::new(kind, sizes, 0.3, random);
        for activation in [Activation::Relu, Activation::LeakyRelu(0.25), Activation::LeakyRelu(1.0)] {
            let [fused, by_hand] = fused_and_by_hand(&case, activation);
            let what = format!("{kind:?} {sizes:?} {activation:?}");
            assert_eq!(all_bits(&fused.y), all_bits(&by_hand.y), "y, {what}");
            assert_eq!(all_bits(&fused.moved), all_bits(&by_hand.moved), "y', {what}");
            assert_eq!(all_bits(&fused.dx), all_bits(&by_hand.dx), "dx, {what}");
            assert_eq!(all_bits(&fused.curved), all_bits(&by_hand.curved), "dx', {what}");
            assert_eq!(all_bits(&fused.dgamma), all_bits(&by_hand.dgamma), "dgamma, {what}");
            assert_eq!(all_bits(&fused.dbeta), all_bits(&by_hand.dbeta), "dbeta, {what}");
            assert_eq!(all_bits(&fused.curved_gamma), all_bits(&by_hand.curved_gamma), "dgamma', {what}");
        }
    }
}

#[test]
fn it_is_the_norm_and_then_the_activation_to_the_bit() {
    let mut random = Random::new(2270);
    is_composed::<f32>(&mut random);
    is_composed::<f64>(&mut random);
}

/// Where z is 0, or so small that it is stored as 0, the derivative is that of the negative side.
#[test]
fn the_kink_is_where_the_output_is_0() {
    for kind in [Kind::Layer(2), Kind::Group(2), Kind::GroupRms(2), Kind::Instance] {
        for plane in [4, 40] {
            let mut case = Case::<f32>::new(kind, sizes(2, 4, plane), 0.0, &mut Random::new(2271));
            // gamma 0, and outputs of which f32 keeps nothing.
            for (at, (gamma, beta)) in case.gamma.iter_mut().zip(&mut case.beta).enumerate() {
                (*gamma, *beta) = [(0.0, 0.0), (1e-50, 0.0), (0.0, 1e-50), (0.5, 0.1)][at % 4];
            }
            let got = case.clone().behind(Activation::Relu).dense();
            let rows = kind.rows(case.sizes);
            for i in (0..case.x.len()).filter(|&i| rows.parameter(i) % 4 < 3) {
                assert_eq!((got.y[i], got.moved[i]), (0.0, 0.0), "{kind:?}, {plane}");
            }
            for (parameter, (dgamma, dbeta)) in got.dgamma.iter().zip(&got.dbeta).enumerate() {
                assert!(parameter % 4 == 3 || (*dgamma, *dbeta) == (0.0, 0.0), "{kind:?}, {plane}");
            }
            assert!(got.dbeta.iter().any(|&dbeta| dbeta != 0.0), "{kind:?}, {plane}");
            // A leaky one passes half of dy back there.
            let leaky = case.clone().behind(Activation::LeakyRelu(0.5)).dense();
            let of_first = (0..case.x.len()).filter(|&i| rows.parameter(i) == 0);
            let half: f64 = of_first.map(|i| 0.5 * f64::from(case.dy[i])).sum();
            assert!((leaky.dbeta[0] - half).abs() <= 1e-13 * case.x.len() as f64, "{kind:?}, {plane}");
        }
    }
}

/// NaN in a row stays NaN behind a rectifier, and in its row; a constant row is f(beta), with a gradient of 0 by x.
#[test]
fn rows_without_spread_and_rows_with_nan() {
    for (kind, plane) in [(Kind::Layer(2), 9), (Kind::Group(2), 9), (Kind::Group(2), 30), (Kind::Instance, 30)] {
        for activation in [Activation::Relu, Activation::LeakyRelu(0.25)] {
            let mut case = Case::<f32>::new(kind, sizes(3, 4, plane), 1.0, &mut Random::new(2272)).behind(activation);
            let rows = kind.rows(case.sizes);
            rows.places(0).into_iter().for_each(|i| case.x[i] = 100.1);
            case.x[rows.places(2)[1]] = f32::NAN;
            let got = case.step(kind.config(), [&places(kind, case.sizes)[0]; 2]);
            for i in rows.places(0) {
                let beta = case.beta[rows.parameter(i)] as f32;
                let f = if beta > 0.0 { beta } else { (activation.slope() * case.beta[rows.parameter(i)]) as f32 };
                assert_eq!((got.y[i], got.dx[i], got.curved[i]), (f, 0.0, 0.0), "{kind:?}");
            }
            for i in rows.places(2) {
                assert!(got.y[i].is_nan() && got.dx[i].is_nan() && got.moved[i].is_nan(), "{kind:?}");
            }
            assert!(rows.places(1).into_iter().all(|i| got.y[i].is_finite() && got.dx[i].is_finite()), "{kind:?}");
        }
    }
}

#[test]
fn a_slope_that_is_none_is_refused() {
    for slope in [-0.1, f64::NAN, f64::INFINITY] {
        let error = SampleConfig::layer(1).activation(Activation::LeakyRelu(slope)).build(&[3]).expect_err("no slope");
        assert!(matches!(error, ConfigError::Slope { .. }), "{error}");
    }
    let norm = SampleConfig::layer(1).activation(Activation::Relu).build(&[3]).expect("a layer");
    assert_eq!(norm.config().activation, Activation::Relu);
    // Of nothing comes nothing.
    let empty = View::<f32>::new(&[], &[0, 3], Axes::NCHW).expect("an empty array");
    let (_, saved) = norm.forward(&empty).expect("a right call");
    assert_eq!(norm.backward(&empty, &empty, &saved).expect("a right call").dbeta, Some(vec![0.0; 3]));
}
