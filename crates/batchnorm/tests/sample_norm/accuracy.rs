//! Accuracy against the twin, at every mean and in every type.

use super::table::table;
use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::{Case, Kind, Worst};
use batchnorm::Element;

fn worst<T: Element>(mean: f64, random: &mut Random) -> Worst {
    let mut worst = Worst::default();
    for (kind, sizes) in table() {
        let case = Case::<T>::new(kind, sizes, mean, random);
        let errors = case.errors(&case.dense());
        worst.join(errors);
    }
    println!("{} at mean/std {mean:e}: {worst:?}", std::any::type_name::<T>());
    worst
}

#[test]
fn f64_errors_do_not_grow_with_the_mean() {
    let mut random = Random::new(2200);
    for mean in [0.0, 3.0, 1e4, 1e6] {
        let Worst { y, dx, dgamma, dbeta, .. } = worst::<f64>(mean, &mut random);
        for (what, error) in [("y", y), ("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)] {
            assert!(error <= 1e-13, "{what} at mean {mean}: {error:e}");
        }
    }
}

/// Sums over rows in several blocks, and in several parts of each.
#[test]
fn errors_do_not_grow_with_the_number_of_rows() {
    let mut random = Random::new(2212);
    for (kind, sizes) in [
        (Kind::Layer(1), sizes(30_000, 1, 5)),
        (Kind::Group(2), sizes(8_000, 4, 4)),
        (Kind::Group(2), sizes(2_000, 4, 16)),
    ] {
        let case = Case::<f64>::new(kind, sizes, 100.0, &mut random);
        let errors = case.errors(&case.dense());
        println!("{kind:?} {sizes:?}: {errors:?}");
        let Worst { y, dx, dgamma, dbeta, .. } = errors;
        assert!([y, dx, dgamma, dbeta].into_iter().all(|error| error <= 1e-13), "{kind:?}: {errors:?}");
    }
}

#[test]
fn f32_output_is_within_two_ulp_and_gradients_within_a_millionth() {
    let mut random = Random::new(2201);
    for mean in [0.0, 1e2, 1e4, 1e6] {
        let Worst { y_ulps, dx, dgamma, dbeta, .. } = worst::<f32>(mean, &mut random);
        assert!(y_ulps <= 2.0, "y at mean {mean}: {y_ulps} ulp");
        if mean <= 1e4 {
            assert!(dx <= 1e-6 && dgamma <= 1e-6 && dbeta <= 1e-6, "mean {mean}: {dx:e} {dgamma:e} {dbeta:e}");
        }
    }
}

#[cfg(feature = "half")]
#[test]
fn halves_are_within_an_ulp_of_the_correctly_rounded_value() {
    let mut random = Random::new(2202);
    for mean in [0.0, 30.0] {
        // Half a unit of rounding, and one more.
        let f16 = worst::<half::f16>(mean, &mut random).y_ulps;
        let bf16 = worst::<half::bf16>(mean, &mut random).y_ulps;
        assert!(f16 <= 1.5 && bf16 <= 1.5, "mean {mean}: {f16} {bf16}");
    }
}
