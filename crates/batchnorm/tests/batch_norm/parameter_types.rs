//! Parameters of another type than the arrays: f32 or f64 with each of them, as torch takes f32 parameters with halves.

use crate::support::Random;
use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::step::{Case, PASSES, Pass, Stepping};
use batchnorm::{Axes, BatchNorm, Number, Parameter, Parameters, RunningStatistics, Tier, View};

const SIZES: Sizes = Sizes { n: 6, c: 9, plane: 35 };

/// y, dx (of a pass without residual), dgamma and dbeta as bits, with parameters of a type.
fn step<T: Stepping, P: Parameter>(
    case: &Case<T>,
    pass: Pass,
    order: Order,
    parameters: Parameters<P>,
) -> [Vec<u64>; 4] {
    let rule = pass.rule(Tier::best());
    let place = order.place(case.sizes);
    let (x, dy) = (place.filled(&case.x), place.filled(&case.dy));
    let (x, dy) = (place.view(&x), place.view(&dy));
    let (mut y, mut dx) = (place.blank::<T>(), place.blank::<T>());
    let mut out = place.view_mut(&mut y);
    let saved = if pass.training {
        rule.train(&x, parameters, None, &mut out).expect("a right call").0
    } else {
        rule.eval(&x, parameters, Some(&case.running), &mut out).expect("a right call")
    };
    let gradients = saved.backward(&x, &dy, &mut place.view_mut(&mut dx)).expect("a right call");
    let bits = |values: Vec<T>| values.into_iter().map(crate::support::place::bits).collect();
    let numbers = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
    [bits(place.taken(y)), bits(place.taken(dx)), numbers(gradients.dgamma), numbers(gradients.dbeta)]
}

/// f32 parameters count as what they are in f64, and f64 parameters are not narrowed on the way.
fn each_type_of_parameters<T: Stepping>(random: &mut Random) {
    let case = Case::<T>::new(SIZES, random);
    for pass in PASSES.into_iter().filter(|pass| !pass.adding) {
        for order in ORDERS {
            let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
            let widen = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
            let (gamma, beta) = (narrow(&case.gamma), narrow(&case.beta));
            let (wide_gamma, wide_beta) = (widen(&gamma), widen(&beta));
            for (scales, shifts) in [(true, true), (true, false), (false, true), (false, false)] {
                let by_f32 = Parameters { gamma: scales.then_some(&gamma[..]), beta: shifts.then_some(&beta[..]) };
                let by_f64 =
                    Parameters { gamma: scales.then_some(&wide_gamma[..]), beta: shifts.then_some(&wide_beta[..]) };
                assert_eq!(step(&case, pass, order, by_f32), step(&case, pass, order, by_f64), "{pass:?} {order:?}");
            }
            // Against the twin, which has those of f64 in full: narrowed ones would be off by more than a rounding.
            let places = crate::support::step::Places::arranged([order; 2], SIZES);
            case.check(pass, &case.step(pass, Tier::best(), &places), std::any::type_name::<T>());
        }
    }
}

#[test]
fn f32_and_f64_parameters_go_with_every_type_of_array() {
    let mut random = Random::new(620);
    each_type_of_parameters::<f32>(&mut random);
    each_type_of_parameters::<f64>(&mut random);
    #[cfg(feature = "half")]
    {
        each_type_of_parameters::<half::f16>(&mut random);
        each_type_of_parameters::<half::bf16>(&mut random);
    }
}

/// One layer, set up in two types, takes arrays of any; gradients come in the type that goes with the array.
fn layer_with<T: Stepping>(random: &mut Random) {
    let case = Case::<T>::new(Sizes { n: 8, c: 3, plane: 20 }, random);
    let (x, dy) =
        (View::new(&case.x, &[8, 3, 20], Axes::NCHW).unwrap(), View::new(&case.dy, &[8, 3, 20], Axes::NCHW).unwrap());
    let mut layer = BatchNorm::new(3).unwrap();
    layer.set_gamma(&[0.1f32, -2.0, 3.0]).unwrap();
    layer.set_beta(&[0.1f64, 0.2, -0.3]).unwrap();
    layer.set_running(RunningStatistics::from_parts(&[0.1f32; 3], &[1.0f32; 3], 4).unwrap()).unwrap();
    assert_eq!(layer.gamma().unwrap()[0], f64::from(0.1f32));
    assert_eq!(layer.beta().unwrap()[0], 0.1);
    assert_eq!(layer.running().unwrap().mean()[0], f64::from(0.1f32));
    let trained = layer.train(&x).unwrap();
    let gradients = layer.backward(&x, &dy, &trained.saved).unwrap();
    let exact = trained.saved.parameter_gradients(&x, &dy).unwrap();
    let rounded = |values: &[f64]| values.iter().map(|&value| T::Param::from_f64(value).to_f64()).collect::<Vec<_>>();
    let got = |values: Option<Vec<T::Param>>| values.unwrap().into_iter().map(Number::to_f64).collect::<Vec<_>>();
    assert_eq!(got(gradients.dgamma), rounded(&exact.dgamma));
    assert_eq!(got(gradients.dbeta), rounded(&exact.dbeta));
    // Halves have gradients and statistics that are no halves.
    assert_eq!(size_of::<T::Param>(), size_of::<T>().max(4));
    let mean = layer.running().unwrap().mean()[1];
    let (old, new) = (f64::from(0.1f32), trained.batch.channels()[1].mean());
    assert_eq!(mean, old + 0.1 * (new - old));
    assert_ne!(T::from_f64(mean).to_f64(), mean, "kept in f64");
}

#[test]
fn a_layer_keeps_f64_whatever_it_is_given() {
    let mut random = Random::new(621);
    layer_with::<f32>(&mut random);
    #[cfg(feature = "half")]
    {
        layer_with::<half::f16>(&mut random);
        layer_with::<half::bf16>(&mut random);
    }
}
