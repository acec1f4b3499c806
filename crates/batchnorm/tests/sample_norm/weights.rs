//! Weights and masks: what they are worth in other words, what is under a mask, policies and errors. Against the twin:
//! `accuracy`, `jvp` and `second_order`, whose cases have weights too.

use super::table::{table, varied};
use crate::support::Random;
use crate::support::layout::{Sizes, sizes};
use crate::support::samples::{Case, EPSILON, Kind, Outcome, places, view, view_mut};
use batchnorm::reference::Real;
use batchnorm::reference::number::{COMPLEX_STEP, Complex};
use batchnorm::{
    Activation, Axes, CallError, Element, EmptyBatch, Input, NonFinite, ParameterDirection, Policies, SampleConfig,
    SampleNorm, SingleValue, View, ViewMut, Weights,
};

const KINDS: [Kind; 6] =
    [Kind::Layer(1), Kind::Layer(2), Kind::Rms(2), Kind::Group(2), Kind::GroupRms(2), Kind::Instance];

/// All numbers of a step, arrays first.
fn numbers<T: Element>(outcome: &Outcome<T>) -> Vec<f64> {
    let Outcome { y, dx, moved, curved, dgamma, dbeta, curved_gamma } = outcome;
    let arrays = [y, dx, moved, curved].into_iter().flatten().map(|value| value.to_f64());
    arrays.chain([dgamma, dbeta, curved_gamma].into_iter().flatten().copied()).collect()
}

#[test]
fn weights_of_one_give_what_no_weights_give() {
    let mut random = Random::new(2280);
    let mut worst: f64 = 0.0;
    for (kind, sizes) in table() {
        for activation in [Activation::Identity, Activation::LeakyRelu(0.25)] {
            let plain = Case::<f64>::new(kind, sizes, 1.0, &mut random).behind(activation);
            let ones = Case { weights: Some(vec![1.0; plain.x.len()]), ..plain.clone() };
            let [plain, ones] = [plain, ones].map(|case| numbers(&case.dense()));
            let largest = plain.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
            let distance = plain.iter().zip(&ones).map(|(plain, ones)| (plain - ones).abs()).fold(0.0, f64::max);
            assert!(distance <= 1e-14 * largest, "{kind:?} {sizes:?}: {distance:e} of {largest:e}");
            worst = worst.max(distance / largest);
        }
    }
    println!("worst distance of weights of 1 from none: {worst:.1e}");
}

/// A value of weight 2 is the value twice: instance and group norm of positions that are there twice.
#[test]
fn a_weight_of_two_is_the_value_twice() {
    let mut random = Random::new(2281);
    for kind in [Kind::Instance, Kind::Group(2), Kind::GroupRms(2)] {
        for plane in [2, 5, 15, 16, 40] {
            let case = Case::<f64>::new(kind, sizes(3, 4, plane), 0.5, &mut random);
            let weighted = Case { weights: Some(vec![2.0; case.x.len()]), ..case.clone() }.dense();
            let doubled = |values: &[f64], factor: f64| -> Vec<f64> {
                values.iter().flat_map(|&value| [factor * value; 2]).collect()
            };
            let (x, dy) = (doubled(&case.x, 1.0), doubled(&case.dy, 0.5));
            let twice = Case { sizes: sizes(3, 4, 2 * plane), x, dy, ..case }.dense();
            let close = |one: f64, other: f64| assert!((one - other).abs() <= 1e-13, "{kind:?} {plane}: {one} {other}");
            for i in 0..weighted.y.len() {
                close(weighted.y[i], twice.y[2 * i]);
                close(weighted.dx[i], twice.dx[2 * i] + twice.dx[2 * i + 1]);
            }
            weighted.dgamma.iter().zip(&twice.dgamma).for_each(|(&one, &other)| close(one, other));
        }
    }
}

/// Half of each row masked is the other half alone.
#[test]
fn a_mask_is_what_is_left() {
    let mut random = Random::new(2282);
    for (kind, config) in [(Kind::Layer(1), SampleConfig::layer(1)), (Kind::Rms(1), SampleConfig::rms(1))] {
        for left in [2, 7, 16, 33] {
            let all = Case::<f32>::new(kind, sizes(4, 3, 2 * left), 0.5, &mut random);
            let of =
                |values: &[f32]| -> Vec<f32> { values.chunks(2 * left).flat_map(|row| row[..left].to_vec()).collect() };
            let mask: Vec<bool> = (0..2 * left).map(|at| at < left).collect();
            let mask = Weights::mask(&mask, &[1, 1, 2 * left]).expect("a mask");
            let (x, part) = (view(&all.x, all.sizes), of(&all.x));
            let part = view(&part, sizes(4, 3, left));
            let norm = |length: usize| config.clone().build(&[length]).expect("a layer");
            let (y, saved) = norm(2 * left).forward(Input::weighted(&x, &mask)).expect("a right call");
            let (of_part, saved_part) = norm(left).forward(&part).expect("a right call");
            let dx = norm(2 * left).backward(Input::weighted(&x, &mask), &x, &saved).expect("a right call").dx;
            let dx_of_part = norm(left).backward(&part, &part, &saved_part).expect("a right call").dx;
            for (masked, alone) in [(y.data(), of_part.data()), (dx.data(), dx_of_part.data())] {
                let close = |(one, other): (&f32, &f32)| (one - other).abs() <= 2e-7 * other.abs().max(1e-3);
                assert!(of(masked).iter().zip(alone).all(close), "{kind:?} {left}");
                let behind = masked.chunks(2 * left).flat_map(|row| &row[left..]);
                assert!(behind.into_iter().all(|value| value.to_bits() == 0), "{kind:?} {left}");
            }
        }
    }
}

#[test]
fn what_is_masked_is_not_looked_at() {
    let mut random = Random::new(2283);
    for (turn, (kind, sizes)) in table().into_iter().enumerate() {
        let case = varied(Case::<f32>::new(kind, sizes, 0.5, &mut random), 2 * turn + 1, &mut random);
        let clean = case.dense().bits();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut spoiled = case.clone();
            let weights = case.each_weight();
            for i in (0..weights.len()).filter(|&i| weights[i] == 0.0) {
                (spoiled.x[i], spoiled.dy[i]) = (bad, bad);
            }
            assert!(spoiled.dense().bits() == clean, "{kind:?} {sizes:?} {bad}");
            // Also in other places, and where it is asked whether values are finite.
            let last = &places(kind, sizes)[3];
            let policies = Policies { non_finite: NonFinite::Error, ..kind.config().policies };
            let asked = kind.config().policies(policies);
            let [clean, spoiled] = [&case, &spoiled].map(|case| case.step(asked.clone(), [last; 2]).bits());
            assert!(clean == spoiled, "{kind:?} {sizes:?} {bad}");
        }
    }
}

/// Weights of every shape that can be repeated to the array's: the bits of those that are repeated by hand.
#[test]
fn weights_are_repeated() {
    let mut random = Random::new(2284);
    let [n, c, p] = [3, 4, 20];
    for kind in KINDS {
        let case = Case::<f64>::new(kind, sizes(n, c, p), 0.5, &mut random);
        let x = &view(&case.x, case.sizes);
        let dy = view(&case.dy, case.sizes);
        let config = kind.config();
        let policies = Policies { single_value: SingleValue::Population, ..config.policies };
        let rule = config.policies(policies).normalizer().expect("a rule");
        for whole in 0..8 {
            let shape = [(n, 1), (c, 2), (p, 4)].map(|(length, bit)| if whole & bit > 0 { length } else { 1 });
            let own: Vec<f64> = (0..shape.iter().product()).map(|_| random.below(4) as f64 / 2.0 + 0.5).collect();
            let at = |i: usize| {
                let place = [i / (c * p), i / p % c, i % p];
                place.iter().zip(shape).fold(0, |at, (&place, length)| at * length + place.min(length - 1))
            };
            let by_hand: Vec<f64> = (0..n * c * p).map(|i| own[at(i)]).collect();
            let pass = |values: &[f64], shape: &[usize]| {
                let weights = Weights::new(values, shape).expect("weights");
                let (mut y, mut dx) = (vec![7.0; n * c * p], vec![7.0; n * c * p]);
                let input = Input::weighted(x, &weights);
                let none = batchnorm::Parameters::<f64>::default();
                let saved = rule.forward(input, none, &mut view_mut(&mut y, case.sizes)).expect("a right call");
                let sums = saved.backward(input, &dy, &mut view_mut(&mut dx, case.sizes)).expect("a right call");
                (y, dx, sums)
            };
            assert!(pass(&own, &shape) == pass(&by_hand, &[n, c, p]), "{kind:?} {shape:?}");
        }
    }
}

/// A row that is all masked, one with a single value, one with one value of weight 2, one that is alike, and one as usual.
fn degenerate(kind: Kind, plane: usize) -> Case<f64> {
    let Sizes { n, c, .. } = sizes(5, 4, plane);
    let mut case = Case::<f64>::new(kind, sizes(n, c, plane), 1.0, &mut Random::new(2285));
    let rows = kind.rows(case.sizes);
    let mut weights = vec![1.0; case.x.len()];
    for row in 0..3 {
        rows.places(row).into_iter().for_each(|i| weights[i] = 0.0);
    }
    weights[rows.places(1)[1]] = 1.0;
    weights[rows.places(2)[2]] = 2.0;
    rows.places(3).into_iter().for_each(|i| case.x[i] = 100.1);
    weights[rows.places(3)[0]] = 0.5;
    case.weights = Some(weights);
    case
}

#[test]
fn rows_with_nothing_or_little_that_counts() {
    for kind in KINDS {
        for plane in [7, 30] {
            let case = degenerate(kind, plane);
            let (rows, weights) = (kind.rows(case.sizes), case.each_weight());
            let got = case.step(kind.config(), [&places(kind, case.sizes)[0]; 2]);
            for row in 0..rows.count() {
                for i in rows.places(row) {
                    let (beta, all) =
                        (case.beta[rows.parameter(i)], [got.y[i], got.dx[i], got.moved[i], got.curved[i]]);
                    assert!(all.iter().all(|value| value.is_finite()), "{kind:?} {row}");
                    if weights[i] == 0.0 {
                        assert_eq!(all, [0.0; 4], "{kind:?} {row}");
                    } else if row < 4 && kind.centred() {
                        assert_eq!(all, [beta, 0.0, case.gamma[rows.parameter(i)], 0.0], "{kind:?} {row}");
                    }
                }
            }
            let all = got.dgamma.iter().chain(&got.dbeta).chain(&got.curved_gamma);
            assert!(all.into_iter().all(|value| value.is_finite()), "{kind:?}");
            // The other rows know nothing of them.
            let mut others = case.clone();
            others.weights = Some(vec![1.0; case.x.len()]);
            let others = others.step(kind.config(), [&places(kind, case.sizes)[0]; 2]);
            let last = rows.places(4);
            assert!(last.iter().all(|&i| got.y[i] == others.y[i] && got.dx[i] == others.dx[i]), "{kind:?}");
        }
    }
}

/// The error of a forward pass that is refused; y is as it was.
fn refused(norm: &SampleNorm, input: Input<f64>, shape: &[usize]) -> CallError {
    let mut y = vec![7.0; shape.iter().product()];
    let mut out = ViewMut::new(&mut y, shape, Axes::NCHW).expect("an array");
    let error = norm.forward_into(input, &mut out).expect_err("it is refused");
    assert!(y.iter().all(|&y| y == 7.0), "{error}");
    error
}

#[test]
fn policies_decide() {
    let values: Vec<f64> = (0..40).map(|i| f64::from(i * i % 17)).collect();
    for (config, elements, shape) in [
        (SampleConfig::layer(1), 10, vec![2, 2, 10]),
        (SampleConfig::rms(1), 10, vec![2, 2, 10]),
        (SampleConfig::group(1), 2, vec![4, 2, 5]),
        (SampleConfig::group_rms(1), 2, vec![4, 2, 5]),
        (SampleConfig::instance(), 2, vec![2, 2, 10]),
        (SampleConfig::instance(), 1, vec![4, 1, 10]),
    ] {
        let (grouping, together) = (config.grouping, config.grouping.together());
        let x = View::new(&values, &shape, Axes::NCHW).expect("a view");
        let with = |policies: Policies| config.clone().policies(policies).build(&[elements]).expect("a layer");
        // Of the third row nothing counts, or 0.75 in two values.
        let none: Vec<f64> = (0..40).map(|i| if i / 10 == 2 { 0.0 } else { 1.0 }).collect();
        let little: Vec<f64> = none.iter().enumerate().map(|(i, &w)| if i / 2 == 11 { 0.375 } else { w }).collect();
        let [none, little] = [none, little].map(|weights| (weights, shape.clone()));
        let [none, little] = [&none, &little].map(|(values, shape)| Weights::new(values, shape).expect("weights"));
        let strict = Policies { empty_batch: EmptyBatch::Error, single_value: SingleValue::Error, ..config.policies };
        let error = refused(&with(strict), Input::weighted(&x, &none), &shape);
        assert_eq!(error, CallError::AllMaskedTogether { together, row: 2 });
        let pass = Policies { empty_batch: EmptyBatch::Pass, ..strict };
        let y = with(pass).forward(Input::weighted(&x, &none)).expect("it passes").0;
        assert_eq!(y.data()[20..30], [0.0; 10]);
        assert!(y.data()[..10].iter().any(|&y| y != 0.0));
        if grouping.is_centred() {
            let error = refused(&with(strict), Input::weighted(&x, &little), &shape);
            assert_eq!(error, CallError::SingleWeightedTogether { together, row: 2, count: 2, weight: 0.75 });
        } else {
            with(strict).forward(Input::weighted(&x, &little)).expect("it needs no spread");
        }
        for single_value in [SingleValue::Population, SingleValue::SkipUpdate] {
            let y = with(Policies { single_value, ..strict }).forward(Input::weighted(&x, &little)).expect("it passes");
            assert!(y.0.data()[22..24].iter().any(|&y| y != 0.0));
        }
        // What is not finite is refused where it counts.
        let mut spoiled = values.clone();
        (spoiled[25], spoiled[35]) = (f64::NAN, f64::INFINITY);
        let spoiled = View::new(&spoiled, &shape, Axes::NCHW).expect("a view");
        let finite = Policies { non_finite: NonFinite::Error, ..config.policies };
        let error = refused(&with(finite), Input::weighted(&spoiled, &none), &shape);
        assert_eq!(error, CallError::NonFiniteTogether { together, rows: vec![3] });
        let y = with(config.policies).forward(Input::weighted(&spoiled, &none)).expect("NaN is no error").0;
        assert!(y.data()[30..].iter().all(|y| y.is_nan()) && y.data()[..30].iter().all(|y| y.is_finite()));
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_nothing_is_written() {
    let shape = [2, 4, 3];
    let values: Vec<f64> = (0..24).map(|i| f64::from(i * i % 17)).collect();
    let x = View::new(&values, &shape, Axes::NCHW).expect("a view");
    let ones = Weights::mask(&[true; 24], &shape).expect("a mask");
    let other = Weights::mask(&[true; 12], &[1, 3, 4]).expect("a mask");
    for norm in [SampleNorm::layer(&[3]), SampleNorm::group(2, 4), SampleNorm::group_rms(2, 4), SampleNorm::instance(4)]
    {
        let norm = norm.expect("a layer");
        for residual in [Input::adding(&x, &x), Input::with_output(&x, &x)] {
            assert_eq!(refused(&norm, residual, &shape), CallError::NoResidual);
        }
        let error = refused(&norm, Input::weighted(&x, &other), &shape);
        assert_eq!(error, CallError::WeightsShape { expected: shape.to_vec(), got: vec![1, 3, 4] });
        let plain = norm.forward(&x).expect("a right call").1;
        let weighted = norm.forward(Input::weighted(&x, &ones)).expect("a right call").1;
        let none = ParameterDirection::default();
        for (saved, input, wanted) in [
            (&plain, Input::weighted(&x, &ones), "takes `&x`"),
            (&weighted, Input::from(&x), "takes `Input::weighted(&x, &weights)`"),
            (&weighted, Input::weighted(&x, &other), "weights: expected the input's shape"),
            (&plain, Input::with_output(&x, &x), "take no residual"),
        ] {
            let mut out = vec![7.0; 24];
            let mut view = ViewMut::new(&mut out, &shape, Axes::NCHW).expect("an array");
            let errors = [
                saved.backward(input, &x, &mut view).map(drop),
                saved.jvp(input, &x, none, &mut view),
                saved.hvp(input, &x, &x, none, &mut view).map(drop),
            ];
            for error in errors {
                let error = error.expect_err("another kind of input").to_string();
                assert!(error.contains(wanted), "{error}");
            }
            assert_eq!(out, [7.0; 24]);
        }
    }
}

/// Of nothing comes nothing, with weights too.
#[test]
fn empty_arrays_pass_with_empty_weights() {
    let norm = SampleNorm::layer(&[3]).expect("a layer");
    let x = View::<f32>::new(&[], &[0, 3], Axes::NCHW).expect("an empty array");
    let weights = Weights::new(&[], &[0, 3]).expect("no weights");
    let (y, saved) = norm.forward(Input::weighted(&x, &weights)).expect("a right call");
    assert!(y.data().is_empty());
    let gradients = norm.backward(Input::weighted(&x, &weights), &x, &saved).expect("a right call");
    assert_eq!(gradients.dgamma, Some(vec![0.0; 3]));
    norm.backward(&x, &x, &saved).expect_err("without the weights");
}

/// dx by a complex step of each value through the formula, with weights, activations and neither.
#[test]
fn the_gradient_is_that_of_a_complex_step() {
    let mut random = Random::new(2286);
    for kind in KINDS {
        for plane in [3, 17] {
            let plain = Case::<f64>::new(kind, sizes(2, 4, plane), 0.7, &mut random);
            let cases = (0..4).map(|turn| varied(plain.clone(), turn, &mut random)).collect::<Vec<_>>();
            for case in [plain].iter().chain(&cases) {
                let got = case.dense();
                let (rows, weights, dz) = (kind.rows(case.sizes), case.each_weight(), case.dz(&got.y));
                let twin = case.twin::<Complex>(&rows, &weights);
                assert_eq!(EPSILON, twin.epsilon.re);
                let of = |values: &[f64]| values.iter().map(|&value| Complex::constant(value)).collect::<Vec<_>>();
                let (gamma, beta) = (of(&case.gamma), of(&case.beta));
                let most = dz.iter().fold(0.0, |most: f64, dz| most.max(dz.abs()));
                for i in 0..case.x.len() {
                    let mut x = of(&case.x);
                    x[i].im = COMPLEX_STEP;
                    let z = twin.forward(&x, &gamma, &beta);
                    let dx: f64 = z.iter().zip(&dz).map(|(z, dz)| z.im / COMPLEX_STEP * dz).sum();
                    let row = (0..rows.count()).find(|&row| rows.places(row).contains(&i)).expect("a row");
                    let values =
                        rows.gather(row, &case.x).into_iter().map(batchnorm::reference::number::DoubleDouble::from);
                    let inverse = kind.inverse(&values.collect::<Vec<_>>(), &rows.gather(row, &weights));
                    let error = (got.dx[i] - dx).abs();
                    assert!(error <= 1e-13 * (1.0 + inverse) * most, "{kind:?} {plane} {i}: {error:e}");
                }
            }
        }
    }
}
