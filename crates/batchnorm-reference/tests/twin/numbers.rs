//! Numbers that carry a derivative give the derivative, and double-double arithmetic has thirty digits.

use crate::seeded;
use batchnorm_reference::number::{
    Complex, DoubleDouble, Dual, central_difference, complex_step, directional_derivative,
};
use batchnorm_reference::{Real, compact, staged};

#[test]
fn complex_step_dual_numbers_and_differences_agree_with_the_closed_form() {
    let mut random = seeded(620);
    for case in 0..100 {
        let n = 2 + random.below(30);
        let epsilon = [1e-5, 1e-3, 1e-8, 1.0][case % 4];
        let (x, dy) = (random.normals(n, 2.0, 0.7), random.normals(n, 0.2, 1.0));
        let (gamma, direction) = (0.3 + random.uniform(), random.normals(n, 0.0, 1.0));
        let right = compact::backward(&x, gamma, epsilon, &dy);
        let forward = compact::forward(&x, gamma, 0.0, epsilon);
        let scale = gamma * forward.inverse_deviation * dy.iter().fold(0.0f64, |most, dy| most.max(dy.abs()));
        fn y<R: Real>(x: &[R], gamma: f64, epsilon: f64) -> Vec<R> {
            staged::forward(x, R::constant(gamma), R::constant(0.0), R::constant(epsilon)).y
        }
        for i in 0..n {
            let by_complex = complex_step(&x, i, |x| {
                let terms = y(x, gamma, epsilon).into_iter().zip(&dy).map(|(y, &dy)| y * Complex::constant(dy));
                terms.fold(Complex::default(), |sum, term| sum + term)
            });
            assert!((by_complex - right.dx[i]).abs() <= 1e-13 * scale * 10.0, "case {case}");
            let weigh = |one: &Vec<f64>, other: &Vec<f64>| (0..n).map(|i| dy[i] * (one[i] - other[i])).sum();
            let length = 1.0 / forward.inverse_deviation;
            let by_difference = central_difference(&mut x.clone(), i, length, |x| y(x, gamma, epsilon), weigh);
            assert!(
                (by_difference - right.dx[i]).abs() <= 1e-9 * scale,
                "case {case}: {:e}",
                by_difference - right.dx[i]
            );
        }
        let moved = directional_derivative(&x, &direction, |x: &[Dual<f64>]| y(x, gamma, epsilon));
        let [one, other] = [(&moved, &dy), (&right.dx, &direction)]
            .map(|(one, other)| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>());
        assert!((one - other).abs() <= 1e-12 * scale * n as f64, "case {case}");
    }
}

#[test]
fn complex_numbers_compute_as_they_should() {
    let c = |re, im| Complex { re, im };
    assert_eq!(c(1.0, 2.0) * c(3.0, -1.0), c(5.0, 5.0));
    assert_eq!(c(5.0, 5.0) / c(4.0, 2.0), c(1.5, 0.5));
    assert_eq!(c(5.0, 5.0) / c(2.0, 4.0), c(1.5, -0.5));
    assert_eq!(c(3.0, 4.0).sqrt(), c(2.0, 1.0));
    assert_eq!(c(3.0, -4.0).sqrt(), c(2.0, -1.0));
    assert_eq!(c(-4.0, 0.0).sqrt(), c(0.0, 2.0));
    assert_eq!(c(0.0, 0.0).sqrt(), c(0.0, 0.0));
}

#[test]
fn double_double_knows_thirty_digits() {
    // sqrt(2)^2 - 2 and 1/3*3 - 1, and a sum that f64 loses.
    let two = DoubleDouble::from(2.0);
    assert!((two.sqrt() * two.sqrt() - two).to_f64().abs() < 1e-31);
    let third = DoubleDouble::from(1.0) / DoubleDouble::from(3.0);
    assert!((third * DoubleDouble::from(3.0) - DoubleDouble::from(1.0)).to_f64().abs() < 1e-31);
    let sum = DoubleDouble::from(1e16) + DoubleDouble::from(1e-10) - DoubleDouble::from(1e16);
    assert_eq!(sum.to_f64(), 1e-10);
}
