//! Rows that are constant, empty, not finite, or at the ends of their type's range.

use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::{Case, Kind, places, steep};
use batchnorm::{Axes, ParameterDirection, SampleConfig, SampleNorm, View, ViewMut};

/// Alike to the bit: y = beta, dx = 0 by declaration, whatever the magnitude; of one value too.
#[test]
fn constant_rows_give_beta_and_no_gradient() {
    for value in [0.0f32, 1.0, 100.1, 1e7, 1e30, 3e38] {
        for (kind, sizes) in [
            (Kind::Layer(1), sizes(3, 2, 37)),
            (Kind::Group(2), sizes(3, 4, 9)),
            (Kind::Group(2), sizes(3, 4, 25)),
            (Kind::Instance, sizes(3, 4, 16)),
            (Kind::Layer(1), sizes(4, 3, 1)),
            (Kind::Group(4), sizes(4, 4, 1)),
        ] {
            let mut case = Case::<f32>::new(kind, sizes, 2.0, &mut Random::new(2207));
            let rows = kind.rows(sizes);
            for i in rows.places(1) {
                case.x[i] = value;
            }
            let got = case.step(kind.config(), [&places(kind, sizes)[0]; 2]);
            for i in rows.places(1) {
                let parameter = rows.parameter(i);
                assert_eq!(got.y[i], case.beta[parameter] as f32, "{kind:?} {value}");
                assert_eq!(got.dx[i], 0.0, "{kind:?} {value}");
                // Only the parameters move it: beta' is gamma here, and xhat is 0.
                assert_eq!(got.moved[i], case.gamma[parameter] as f32, "{kind:?} {value}");
            }
        }
    }
    // The derivative of the formula, for who wants it: by 1 / sqrt(eps).
    let steep = steep(SampleConfig::layer(1)).build(&[2]).expect("a layer");
    let x = View::new(&[4.0f32, 4.0], &[1, 2], Axes::NCHW).expect("a view");
    let (_, saved) = steep.forward(&x).expect("a right call");
    let dx = steep.backward(&x, &View::new(&[1.0f32, 0.0], &[1, 2], Axes::NCHW).expect("a view"), &saved);
    assert!((dx.expect("a right call").dx.data()[0] - 158.11).abs() < 0.01);
    // The RMS norms have nothing to go by where all is 0; one value of its own is its sign.
    for positions in [4, 64] {
        let x: Vec<f64> = (0..4 * positions).map(|i| if i < 2 * positions { 0.0 } else { 3.0 + i as f64 }).collect();
        let x = View::new(&x, &[1, 4, positions], Axes::NCHW).expect("a view");
        let grouped = SampleNorm::group_rms(2, 4).expect("a layer");
        let (y, saved) = grouped.forward(&x).expect("a right call");
        let dy = vec![1.0; 4 * positions];
        let dy = View::new(&dy, &[1, 4, positions], Axes::NCHW).expect("a view");
        let dx = grouped.backward(&x, &dy, &saved).expect("a right call").dx;
        for values in [y.data(), dx.data()] {
            assert!(values.iter().enumerate().all(|(i, &value)| (value == 0.0) == (i < 2 * positions)));
        }
    }
    let rms = SampleNorm::rms(&[1]).expect("a layer");
    let x = View::new(&[0.0f64, -7.0], &[2, 1], Axes::NCHW).expect("a view");
    let (y, saved) = rms.forward(&x).expect("a right call");
    assert!(y.data()[0] == 0.0 && (y.data()[1] + 1.0).abs() < 1e-6);
    let dx = rms.backward(&x, &x, &saved).expect("a right call").dx;
    assert!(dx.data()[0] == 0.0 && dx.data()[1].abs() < 1e-6);
}

#[test]
fn with_eps_0_nothing_is_divided_by_0() {
    for config in [SampleConfig::layer(1), SampleConfig::rms(1), SampleConfig::group(1), SampleConfig::group_rms(1)] {
        let norm = steep(config.epsilon(0.0)).build(&[4]).expect("a layer");
        let x = View::new(&[0.0f32, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0], &[2, 4], Axes::NCHW).expect("a view");
        let (y, saved) = norm.forward(&x).expect("a right call");
        assert_eq!(y.data(), [0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0]);
        assert_eq!(norm.backward(&x, &x, &saved).expect("a right call").dx.data(), [0.0; 8]);
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let mut random = Random::new(2208);
    for bad in [f32::NAN, f32::INFINITY] {
        for (kind, sizes) in [
            (Kind::Layer(1), sizes(5, 3, 40)),
            (Kind::Rms(2), sizes(5, 3, 40)),
            (Kind::Group(3), sizes(5, 6, 9)),
            (Kind::Group(3), sizes(5, 6, 40)),
            (Kind::GroupRms(3), sizes(5, 6, 9)),
            (Kind::GroupRms(3), sizes(5, 6, 40)),
            (Kind::Instance, sizes(5, 6, 40)),
            (Kind::Layer(1), sizes(7, 5, 2000)),
        ] {
            let case = Case::<f32>::new(kind, sizes, 2.0, &mut random);
            let rows = kind.rows(sizes);
            let mut spoiled = case.clone();
            spoiled.x[rows.places(2)[3]] = bad;
            for place in places(kind, sizes) {
                let [clean, got] = [&case, &spoiled].map(|case| case.step(kind.config(), [&place; 2]));
                for number in 0..rows.count() {
                    for i in rows.places(number) {
                        if number == 2 {
                            let all = [got.y[i], got.dx[i], got.moved[i], got.curved[i]];
                            assert!(all.iter().all(|value| value.is_nan()), "{kind:?}: {all:?}");
                        } else {
                            let both = [&clean, &got]
                                .map(|all| [all.y[i], all.dx[i], all.moved[i], all.curved[i]].map(f32::to_bits));
                            assert_eq!(both[0], both[1], "{kind:?}, row {number}");
                        }
                    }
                }
            }
        }
    }
}

/// std from 1e-30 to 1e37 in f32: the output has std 1.
#[test]
fn very_large_values_are_no_trouble() {
    let mut random = Random::new(2209);
    for (kind, sizes) in [
        (Kind::Layer(1), sizes(2, 1, 900)),
        (Kind::Rms(1), sizes(2, 1, 900)),
        (Kind::Group(1), sizes(2, 3, 300)),
        (Kind::GroupRms(1), sizes(2, 3, 300)),
        (Kind::GroupRms(1), sizes(2, 100, 9)),
    ] {
        for deviation in [1e19, 1e30, 1e37] {
            let mut case = Case::<f32>::new(kind, sizes, 0.0, &mut random);
            case.x = random.normals_f32(case.x.len(), 0.0, deviation);
            let plain = Case { gamma: vec![1.0; case.gamma.len()], beta: vec![0.0; case.beta.len()], ..case };
            let y = plain.dense().y;
            let rows = kind.rows(sizes);
            for row in 0..rows.count() {
                let y = rows.gather(row, &y);
                let square: f64 = y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>() / y.len() as f64;
                assert!((square.sqrt() - 1.0).abs() < 1e-5, "{kind:?} {deviation}: {square}");
            }
        }
    }
    // f64 whose variance overflows is told by NaN, not by zeros.
    let x = View::new(&[1e200f64, -1e200], &[1, 2], Axes::NCHW).expect("a view");
    for norm in [SampleNorm::layer(&[2]), SampleNorm::rms(&[2]), SampleNorm::group(1, 2), SampleNorm::group_rms(1, 2)] {
        let y = norm.expect("a layer").forward(&x).expect("a right call").0;
        assert!(y.data().iter().all(|y| y.is_nan()));
    }
}

#[test]
fn of_nothing_comes_nothing() {
    for (norm, shape) in [
        (SampleNorm::layer(&[3]), vec![0, 3]),
        (SampleNorm::rms(&[3]), vec![2, 0, 3]),
        (SampleNorm::group(3, 3), vec![0, 3, 4]),
        (SampleNorm::group_rms(3, 3), vec![0, 3, 4]),
        (SampleNorm::instance(3), vec![2, 3, 0]),
    ] {
        let norm = norm.expect("a layer");
        let x = View::<f32>::new(&[], &shape, Axes::Channel(if shape.len() == 3 && shape[1] == 0 { 2 } else { 1 }));
        let x = x.expect("an empty array");
        let (y, saved) = norm.forward(&x).expect("a right call");
        assert_eq!((y.shape(), y.data().len()), (&shape[..], 0));
        let (mut dx, mut moved) = ([0.0f32; 0], [0.0f32; 0]);
        let axes = Axes::Channel(x.channel_axis() as isize);
        let mut dx = ViewMut::new(&mut dx, &shape, axes).expect("an empty array");
        let gradients = norm.backward_into(&x, &x, &saved, &mut dx).expect("a right call");
        assert_eq!((gradients.dgamma, gradients.dbeta), (vec![0.0; 3], vec![0.0; 3]));
        let mut moved = ViewMut::new(&mut moved, &shape, axes).expect("an empty array");
        saved.jvp(&x, &x, ParameterDirection::default(), &mut moved).expect("a right call");
    }
}
