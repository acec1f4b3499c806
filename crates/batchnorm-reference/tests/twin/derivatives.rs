//! Each formula's derivative is the derivative of the formula: against differences in double-double arithmetic, which leave
//! fifteen digits.

use crate::seeded;
use batchnorm_reference::number::DoubleDouble as D;
use batchnorm_reference::{mixed, rows, second_order, tangent, weighted};

const EPSILON: f64 = 1e-5;

fn wide(value: f64) -> D {
    D::from(value)
}

fn widened(values: &[f64]) -> Vec<D> {
    values.iter().map(|&value| wide(value)).collect()
}

#[test]
fn tangent_is_the_derivative_of_the_mixed_formula() {
    let mut random = seeded(2102);
    for share in [0.0, 0.3, 1.0] {
        let (x, t) = (random.normals(7, 0.5, 2.0), random.normals(7, 0.2, 1.0));
        let statistics = mixed::Statistics { running: [0.2, 1.7].map(wide), share: wide(share) };
        let (gamma, of_gamma, of_beta) = (1.4, 0.6, -0.8);
        let moved = |step: f64| {
            let x: Vec<D> = x.iter().zip(&t).map(|(&x, &t)| wide(x) + wide(t) * wide(step)).collect();
            let [gamma, beta] = [(gamma, of_gamma), (0.3, of_beta)].map(|(at, by)| wide(at) + wide(by) * wide(step));
            mixed::forward(&x, gamma, beta, wide(EPSILON), statistics)
        };
        let direction = tangent::Direction { x: &widened(&t), gamma: wide(of_gamma), beta: wide(of_beta) };
        let got = tangent::tangent(&widened(&x), wide(gamma), wide(EPSILON), statistics, true, direction);
        let step = 1e-10;
        for ((high, low), got) in moved(step).into_iter().zip(moved(-step)).zip(got) {
            let slope = ((high - low) / wide(2.0 * step)).to_f64();
            assert!((slope - got.to_f64()).abs() < 1e-14, "{share}: {slope} {}", got.to_f64());
        }
    }
}

#[test]
fn second_order_is_the_derivative_of_the_mixed_backward_pass() {
    let mut random = seeded(2403);
    for (share, flows) in [(0.0, true), (0.3, true), (1.0, true), (1.0, false)] {
        let [x, dy, t] = [0.5, 0.1, 0.2].map(|mean| random.normals(7, mean, 1.5));
        let statistics = mixed::Statistics { running: [0.2, 1.7].map(wide), share: wide(share) };
        let (gamma, of_gamma) = (1.4, 0.6);
        let upstream = widened(&dy);
        let at = |step: f64| {
            let x: Vec<D> = x.iter().zip(&t).map(|(&x, &t)| wide(x) + wide(t) * wide(step)).collect();
            let gamma = wide(gamma) + wide(of_gamma) * wide(step);
            mixed::backward(&x, gamma, wide(EPSILON), statistics, flows, &upstream)
        };
        // Constants do not move with x: to them alone the differences are no witness.
        if !flows {
            continue;
        }
        let direction = tangent::Direction { x: &widened(&t), gamma: wide(of_gamma), beta: wide(0.0) };
        let got = second_order::backward_tangent(
            &widened(&x),
            wide(gamma),
            wide(EPSILON),
            statistics,
            flows,
            &upstream,
            direction,
        );
        let step = 1e-10;
        let (high, low) = (at(step), at(-step));
        let slope = |high: D, low: D| ((high - low) / wide(2.0 * step)).to_f64();
        for i in 0..x.len() {
            let slope = slope(high.dx[i], low.dx[i]);
            assert!((slope - got.dx[i].to_f64()).abs() < 1e-13, "{share}: {slope} {}", got.dx[i].to_f64());
        }
        assert!((slope(high.dgamma, low.dgamma) - got.dgamma.to_f64()).abs() < 1e-13);
        assert!(slope(high.dbeta, low.dbeta).abs() < 1e-13);
    }
}

#[test]
fn second_order_is_the_derivative_of_a_row_s_backward_pass() {
    let mut random = seeded(2501);
    for centred in [true, false] {
        let [x, t, dy, gamma, gamma_t] = [0.5, 0.2, 0.1, 1.0, 0.3].map(|mean| random.normals(7, mean, 1.0));
        let at = |step: f64| {
            let along = |from: &[f64], by: &[f64]| -> Vec<D> {
                from.iter().zip(by).map(|(&from, &by)| D::from(from) + D::from(by) * D::from(step)).collect()
            };
            let backward = if centred { rows::backward } else { rows::rms_backward };
            backward(&along(&x, &t), &along(&gamma, &gamma_t), D::from(EPSILON), &widened(&dy))
        };
        let (t, gamma_t) = (widened(&t), widened(&gamma_t));
        let (x, gamma, dy) = (widened(&x), widened(&gamma), widened(&dy));
        let got =
            second_order::row_backward_tangent(&x, &gamma, D::from(EPSILON), &dy, centred, [&t[..], &gamma_t[..]]);
        let step = 1e-10;
        let (high, low) = (at(step), at(-step));
        for i in 0..7 {
            for (high, low, got) in [(high.dx[i], low.dx[i], got.dx[i]), (high.dgamma[i], low.dgamma[i], got.dgamma[i])]
            {
                let slope = ((high - low) / D::from(2.0 * step)).to_f64();
                assert!((slope - got.to_f64()).abs() < 1e-13, "{centred}: {slope} {}", got.to_f64());
            }
        }
    }
}

#[test]
fn mixed_gradients_are_the_derivative_of_the_formula() {
    let mut random = seeded(1101);
    for share in [0.0, 0.3, 1.0] {
        let (x, dy) = (random.normals(7, 0.5, 2.0), random.normals(7, 0.0, 1.0));
        let statistics = mixed::Statistics { running: [0.2, 1.7].map(wide), share: wide(share) };
        let loss = |x: &[D], gamma: f64| {
            let y = mixed::forward(x, wide(gamma), wide(0.3), wide(EPSILON), statistics);
            y.iter().zip(&dy).fold(wide(0.0), |sum, (&y, &dy)| sum + y * wide(dy))
        };
        let got = mixed::backward(&widened(&x), wide(1.4), wide(EPSILON), statistics, true, &widened(&dy));
        let step = 1e-10;
        for i in 0..x.len() {
            let moved = |by: f64| {
                let mut x = widened(&x);
                x[i] = x[i] + wide(by);
                loss(&x, 1.4)
            };
            let slope = ((moved(step) - moved(-step)) / wide(2.0 * step)).to_f64();
            assert!((slope - got.dx[i].to_f64()).abs() < 1e-14, "{share}: {slope} {}", got.dx[i].to_f64());
        }
    }
}

#[test]
fn weighted_gradients_are_the_derivative_of_the_formula() {
    let mut random = seeded(1201);
    let (x, dy, w) = (random.normals(7, 0.5, 2.0), random.normals(7, 0.0, 1.0), [1.0, 0.0, 2.5, 0.25, 1.0, 3.0, 1.0]);
    let loss = |x: &[D]| {
        let y = weighted::forward(x, &w, wide(1.4), wide(0.3), wide(EPSILON)).y;
        y.iter().zip(&dy).fold(wide(0.0), |sum, (&y, &dy)| sum + y * wide(dy))
    };
    let got = weighted::backward(&widened(&x), &w, wide(1.4), wide(EPSILON), &widened(&dy));
    for i in 0..x.len() {
        let moved = |by: f64| {
            let mut x = widened(&x);
            x[i] = x[i] + wide(by);
            loss(&x)
        };
        let slope = ((moved(1e-10) - moved(-1e-10)) / wide(2e-10)).to_f64();
        assert!((slope - got.dx[i].to_f64()).abs() < 1e-14, "{slope} {}", got.dx[i].to_f64());
    }
}
