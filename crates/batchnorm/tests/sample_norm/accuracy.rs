//! Accuracy against the twin, at every mean and in every type.

use super::table::{table, varied};
use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::{Case, Kind, Worst};
use batchnorm::Element;

/// Of the norms alone, and with something beside each of them.
fn worst<T: Element>(mean: f64, random: &mut Random) -> [Worst; 2] {
    let (mut worst, mut of_varied) = (Worst::default(), Worst::default());
    // Each mean takes other ones.
    for (turn, (kind, sizes)) in table().into_iter().enumerate() {
        let case = Case::<T>::new(kind, sizes, mean, random);
        worst.join(case.errors(&case.dense()));
        let case = varied(case, turn + mean.to_bits().count_ones() as usize, random);
        of_varied.join(case.errors(&case.dense()));
    }
    println!("{} at mean/std {mean:e}: {worst:?}, varied: {of_varied:?}", std::any::type_name::<T>());
    [worst, of_varied]
}

#[test]
fn f64_errors_do_not_grow_with_the_mean() {
    let mut random = Random::new(2200);
    for mean in [0.0, 3.0, 1e4, 1e6] {
        let [plain, varied] = worst::<f64>(mean, &mut random);
        for (Worst { y, dx, dgamma, dbeta, .. }, is_varied) in [(plain, false), (varied, true)] {
            // Masks leave gammas with one value, whose xhat may be near 0: its error is that of the contract.
            let few = if is_varied { 1.0 + mean } else { 1.0 };
            for (what, error, bound) in [("y", y, 1.0), ("dx", dx, 1.0), ("dgamma", dgamma, few), ("dbeta", dbeta, 1.0)]
            {
                assert!(error <= 1e-13 * bound, "{what} at mean {mean}: {error:e}");
            }
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
        let plain = Case::<f64>::new(kind, sizes, 100.0, &mut random);
        for case in [plain.clone(), varied(plain, 3, &mut random)] {
            let errors = case.errors(&case.dense());
            println!("{kind:?} {sizes:?}: {errors:?}");
            let Worst { y, dx, dgamma, dbeta, .. } = errors;
            assert!([y, dx, dgamma, dbeta].into_iter().all(|error| error <= 1e-13), "{kind:?}: {errors:?}");
        }
    }
}

#[test]
fn f32_output_is_within_two_ulp_and_gradients_within_a_millionth() {
    let mut random = Random::new(2201);
    for mean in [0.0, 1e2, 1e4, 1e6] {
        for Worst { y_ulps, dx, dgamma, dbeta, .. } in worst::<f32>(mean, &mut random) {
            assert!(y_ulps <= 2.0, "y at mean {mean}: {y_ulps} ulp");
            if mean <= 1e4 {
                assert!(dx <= 1e-6 && dgamma <= 1e-6 && dbeta <= 1e-6, "mean {mean}: {dx:e} {dgamma:e} {dbeta:e}");
            }
        }
    }
}

#[cfg(feature = "half")]
#[test]
fn halves_are_within_an_ulp_of_the_correctly_rounded_value() {
    let mut random = Random::new(2202);
    for mean in [0.0, 30.0] {
        // Half a unit of rounding, and one more.
        let (f16, bf16) = (worst::<half::f16>(mean, &mut random), worst::<half::bf16>(mean, &mut random));
        for Worst { y_ulps, .. } in f16.into_iter().chain(bf16) {
            assert!(y_ulps <= 1.5, "mean {mean}: {y_ulps}");
        }
    }
}
