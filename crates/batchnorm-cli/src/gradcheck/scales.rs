//! The measures of numerics.md, section 0, for a layer on its arrays.

use super::layer::{BATCH_SHARE, Layer};
use super::row::Row;
use super::setup::Setup;
use batchnorm::reference::whitening;

/// By what errors are measured, of each value of x and of each parameter.
pub struct Scales {
    pub dx: Vec<f64>,
    /// dx's for gamma 1.
    pub unit: Vec<f64>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    /// sqrt(variance + eps) of each value's row: how far x goes until y is another.
    pub length: Vec<f64>,
    /// What the input takes off the accuracy of f64, of each value's row: 1 + mean/deviation; where the statistics are not the
    /// batch's own, times the largest xhat; for whitening the square of the condition number.
    pub loss: Vec<f64>,
    /// The largest of a parameter's values.
    pub loss_of_parameters: Vec<f64>,
}

/// An xhat that is smaller counts as this in dgamma's measure: of constant values all of it is rounding.
const LEAST_XHAT: f64 = 0.01;

impl Scales {
    pub fn new(setup: &Setup) -> Scales {
        let values = setup.x.len();
        let (mut length, mut loss) = (vec![1.0; values], vec![1.0; values]);
        // Running sums of the twin.
        let of_sums = (values as f64 / 1e4).sqrt().max(1.0);
        let (mut dx, mut unit) = (vec![0.0; values], vec![0.0; values]);
        let dz = setup.upstream();
        let rows = &setup.rows;
        for row in rows {
            let counting = || setup.counting(row);
            let weight = |at: usize| if setup.layer == Layer::Weighted { setup.weights[at] } else { 1.0 };
            let total: f64 = counting().map(weight).sum();
            let mean = counting().map(|at| weight(at) * setup.x[at]).sum::<f64>() / total;
            let about = |center: f64| {
                counting().map(|at| weight(at) * (setup.x[at] - center) * (setup.x[at] - center)).sum::<f64>() / total
            };
            let (center, variance) = match setup.layer {
                Layer::Evaluation => (setup.running_mean[row.channel], setup.running_variance[row.channel]),
                Layer::Mixed => {
                    let mix = |running: f64, batch: f64| running + BATCH_SHARE * (batch - running);
                    (mix(setup.running_mean[row.channel], mean), mix(setup.running_variance[row.channel], about(mean)))
                }
                Layer::Rms => (0.0, about(0.0)),
                _ => (mean, about(mean)),
            };
            let deviation = (variance + setup.epsilon).sqrt();
            let largest = |of: &dyn Fn(usize) -> f64| counting().fold(0.0f64, |most, at| most.max(of(at).abs()));
            let own_unit = largest(&|at| dz[at]) / deviation;
            let scale = largest(&|at| setup.gamma[setup.parameter(at)]) * own_unit;
            let spread = center.abs().max(mean.abs()) / deviation;
            // The invertible form loses by its own bound.
            let own = row.places.first().map_or(0, |&at| setup.parameter(at));
            let largest_xhat = largest(&|at| setup.x[at] - center) / deviation;
            let mixed = if setup.layer == Layer::Mixed { largest_xhat } else { 0.0 };
            let inverted =
                if setup.layer == Layer::Invertible { (setup.beta[own] / setup.gamma[own]).abs() } else { 0.0 };
            let lost = ((1.0 + spread) * (1.0 + mixed)).max(1.0 + 20.0 * inverted) * of_sums;
            for &at in &row.places {
                loss[at] = lost;
                // In evaluation y is linear in x: a long step rounds least. Any step must be one at the size of x.
                let least = if setup.layer == Layer::Evaluation { 1e-2 } else { 1e-9 };
                length[at] = deviation.max(least * setup.x[at].abs());
                (dx[at], unit[at]) = (scale, own_unit);
            }
        }
        if setup.layer == Layer::Whitening {
            whiten(setup, rows, &dz, [&mut dx, &mut unit, &mut loss]);
        }
        let xhat = setup.normalized(&setup.x);
        let parameters = setup.gamma.len();
        let (mut dgamma, mut dbeta) = (vec![0.0; parameters], vec![0.0; parameters]);
        let mut loss_of_parameters = vec![1.0f64; parameters];
        for at in 0..values {
            let own = setup.parameter(at);
            dgamma[own] += dz[at].abs() * xhat[at].abs().max(LEAST_XHAT);
            dbeta[own] += dz[at].abs();
            loss_of_parameters[own] = loss_of_parameters[own].max(loss[at]);
        }
        Scales { dx, unit, dgamma, dbeta, length, loss, loss_of_parameters }
    }
}

/// The measure of whitening, sum_j |W_ij| max|gamma dy|, and its condition number.
fn whiten(setup: &Setup, rows: &[Row], dz: &[f64], [dx, unit, loss]: [&mut [f64]; 3]) {
    for rows in rows.chunks(setup.whitened) {
        let group: Vec<Vec<f64>> = rows.iter().map(|row| row.places.iter().map(|&at| setup.x[at]).collect()).collect();
        let ones = vec![1.0; rows.len()];
        let pass = whitening::forward(&group, &ones, &ones, setup.epsilon);
        let largest = |of: &dyn Fn(usize, f64) -> f64| {
            let all = rows.iter().flat_map(|row| row.places.iter().map(|&at| of(row.channel, dz[at]).abs()));
            all.fold(0.0, f64::max)
        };
        let [most, most_of_unit] = [largest(&|channel, dz| setup.gamma[channel] * dz), largest(&|_, dz| dz)];
        let size = |matrix: &[Vec<f64>]| matrix.iter().flatten().map(|value| value * value).sum::<f64>().sqrt();
        let condition = (size(&pass.covariance) + setup.epsilon) * size(&pass.whitening).powi(2);
        // (No root at all: nothing is left.)
        let lost = if condition.is_finite() { condition * condition } else { f64::INFINITY };
        // What one channel loses all of them do.
        let lost = rows.iter().flat_map(|row| &row.places).fold(lost, |most, &at| most.max(loss[at]));
        for (row, weights) in rows.iter().zip(&pass.whitening) {
            let size = weights.iter().map(|w| w.abs()).sum::<f64>();
            for &at in &row.places {
                (dx[at], unit[at], loss[at]) = (size * most, size * most_of_unit, lost);
            }
        }
    }
}
