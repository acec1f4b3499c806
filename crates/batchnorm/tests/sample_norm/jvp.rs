//! The directional derivative: the transpose of the backward pass, and what differences say.

use super::table::{table, varied};
use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::{Case, EPSILON, Kind, places, steep};
use crate::support::wide::{DoubleDouble, wide, widened};
use batchnorm::reference::rows;

#[test]
fn the_directional_derivative_is_the_transpose_of_the_backward_pass() {
    let mut random = Random::new(2205);
    let mut worst: f64 = 0.0;
    for (times, mean) in [0.0, 3.0, 1e4, 1e6].into_iter().enumerate() {
        let plain = |(kind, sizes)| (Case::<f64>::new(kind, sizes, mean, &mut random), kind, sizes);
        let plain: Vec<_> = table().into_iter().map(plain).collect();
        let with = |(turn, (case, kind, sizes)): (usize, &(Case<f64>, _, _))| {
            (varied(case.clone(), turn + times, &mut random), *kind, *sizes)
        };
        let with: Vec<_> = plain.iter().enumerate().map(with).collect();
        for (case, kind, sizes) in plain.into_iter().chain(with) {
            // Upstream is dy; the direction is dy too, and the parameters go along one another.
            let got = case.dense();
            let products = |one: &[f64], other: &[f64]| -> [f64; 2] {
                let terms = || one.iter().zip(other).map(|(one, other)| one * other);
                [terms().sum(), terms().map(f64::abs).sum()]
            };
            let upstream = random.normals(case.x.len(), 0.2, 1.0);
            let place = &places(kind, sizes)[0];
            let other = Case { dy: upstream, ..case.clone() };
            let back = other.step(steep(kind.config()).epsilon(EPSILON), [place; 2]);
            let forwards = products(&other.dy, &got.moved);
            let backwards =
                [products(&back.dx, &case.dy), products(&back.dgamma, &case.beta), products(&back.dbeta, &case.gamma)];
            let total: f64 = backwards.iter().map(|[sum, _]| sum).sum();
            let scale: f64 = forwards[1] + backwards.iter().map(|[_, scale]| scale).sum::<f64>();
            // (Masks may leave nothing.)
            let distance = (forwards[0] - total).abs() / scale.max(f64::MIN_POSITIVE);
            assert!(distance <= 1e-12, "{kind:?} {sizes:?}, mean {mean}: {distance:e}");
            worst = worst.max(distance);
        }
    }
    println!("worst distance between JVP and VJP: {worst:.1e}");
}

/// The twin against differences in double-double arithmetic, which leave fifteen digits; and y' against the same.
#[test]
fn the_twin_differentiates_its_formula_and_the_layer_moves_like_it() {
    let mut random = Random::new(2206);
    type Forward = fn(&[DoubleDouble], &[DoubleDouble], &[DoubleDouble], DoubleDouble) -> rows::Forward<DoubleDouble>;
    type Backward =
        fn(&[DoubleDouble], &[DoubleDouble], DoubleDouble, &[DoubleDouble]) -> rows::Gradients<DoubleDouble>;
    let kinds: [(Kind, Forward, Backward); 2] =
        [(Kind::Layer(1), rows::forward, rows::backward), (Kind::Rms(1), rows::rms_forward, rows::rms_backward)];
    for (kind, forward, backward) in kinds {
        let case = Case::<f64>::new(kind, sizes(1, 1, 9), 0.7, &mut random);
        let at = |step: f64, of_x: &dyn Fn(usize) -> f64, of_parameters: f64| {
            let moved = |from: &[f64], by: &dyn Fn(usize) -> f64| -> Vec<DoubleDouble> {
                (0..9).map(|i| wide(from[i]) + wide(by(i)) * wide(step)).collect()
            };
            let gamma = moved(&case.gamma, &|i| of_parameters * case.beta[i]);
            let beta = moved(&case.beta, &|i| of_parameters * case.gamma[i]);
            forward(&moved(&case.x, of_x), &gamma, &beta, wide(EPSILON)).y
        };
        let step = 1e-10;
        let slopes = |of_x: &dyn Fn(usize) -> f64, of_parameters: f64| -> Vec<DoubleDouble> {
            let (high, low) = (at(step, of_x, of_parameters), at(-step, of_x, of_parameters));
            high.into_iter().zip(low).map(|(high, low)| (high - low) / wide(2.0 * step)).collect()
        };
        let truth = backward(&widened(&case.x), &widened(&case.gamma), wide(EPSILON), &widened(&case.dy));
        for i in 0..9 {
            let unit = slopes(&|at| if at == i { 1.0 } else { 0.0 }, 0.0);
            let dx = unit.iter().zip(&case.dy).fold(wide(0.0), |sum, (&slope, &dy)| sum + slope * wide(dy));
            assert!((dx - truth.dx[i]).to_f64().abs() < 1e-14, "{kind:?}");
        }
        let moved = case.dense().moved;
        for (got, slope) in moved.into_iter().zip(slopes(&|at| case.dy[at], 1.0)) {
            assert!((got - slope.to_f64()).abs() < 1e-14, "{kind:?}: {got} {}", slope.to_f64());
        }
    }
}
