//! The measures of numerics.md, section 0, for a layer on its arrays.

use super::layer::{BATCH_SHARE, Layer};
use super::setup::Setup;
use batchnorm::reference::whitening;

/// Divisors of errors and losses of accuracy, of each value of x and of each parameter.
pub struct Scales {
    /// Divisors of errors of dx.
    pub dx: Vec<f64>,
    /// Divisors of errors of dx if gamma were 1.
    pub unit_dx: Vec<f64>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    /// sqrt(variance + eps) of each value's row: a step of x by so much changes y by about gamma.
    pub length: Vec<f64>,
    /// The factor by which each value's row is less accurate than f64: 1 + mean/deviation (of batch renormalisation with the
    /// running mean, if that is larger); where the statistics are not the batch's own, times the largest xhat; for whitening
    /// the square of the condition number.
    pub loss: Vec<f64>,
    /// For each parameter, the largest loss of its values.
    pub parameter_loss: Vec<f64>,
}

/// The least xhat in dgamma's divisor: of constant values all of xhat is rounding.
const LEAST_XHAT: f64 = 0.01;

impl Scales {
    pub fn new(setup: &Setup) -> Scales {
        let values = setup.x.len();
        let (mut length, mut loss) = (vec![1.0; values], vec![1.0; values]);
        let (mut dx, mut unit_dx) = (vec![0.0; values], vec![0.0; values]);
        let dz = setup.upstream();
        let rows = setup.rows.all();
        for (row, places) in rows.iter().enumerate() {
            let measure = Measure::new(setup, row, &dz);
            for &place in places {
                loss[place] = measure.loss;
                // In evaluation y is linear in x: a long step rounds least. A step must not vanish beside x.
                let least = if setup.layer == Layer::Evaluation { 1e-2 } else { 1e-9 };
                length[place] = measure.deviation.max(least * setup.x[place].abs());
                (dx[place], unit_dx[place]) = (measure.dx, measure.unit_dx);
            }
        }
        if setup.layer == Layer::Whitening {
            for group in rows.chunks(setup.whitened) {
                measure_whitened(setup, group, &dz, [&mut dx, &mut unit_dx, &mut loss]);
            }
        }
        let xhat = setup.normalized(&setup.x);
        let parameters = setup.gamma.len();
        let (mut dgamma, mut dbeta) = (vec![0.0; parameters], vec![0.0; parameters]);
        let mut parameter_loss = vec![1.0f64; parameters];
        for place in 0..values {
            let parameter = setup.rows.parameter(place);
            dgamma[parameter] += dz[place].abs() * xhat[place].abs().max(LEAST_XHAT);
            dbeta[parameter] += dz[place].abs();
            parameter_loss[parameter] = parameter_loss[parameter].max(loss[place]);
        }
        Scales { dx, unit_dx, dgamma, dbeta, length, loss, parameter_loss }
    }
}

/// The measures that all values of a row share.
struct Measure {
    /// sqrt(variance + eps).
    deviation: f64,
    dx: f64,
    unit_dx: f64,
    loss: f64,
}

impl Measure {
    fn new(setup: &Setup, row: usize, dz: &[f64]) -> Measure {
        let places = setup.counting(row);
        let largest =
            |value: &dyn Fn(usize) -> f64| places.iter().fold(0.0f64, |most, &place| most.max(value(place).abs()));
        let Statistics { batch_mean, mean, variance } = Statistics::new(setup, setup.rows.channel(row), &places);
        let deviation = (variance + setup.epsilon).sqrt();
        let r = setup.corrections.as_ref().map_or(1.0, |corrections| corrections[row].r);
        let unit_dx = r * largest(&|place| dz[place]) / deviation;
        let dx = largest(&|place| setup.gamma[setup.rows.parameter(place)]) * unit_dx;
        // What is corrected is centred by the running mean first.
        let corrected_towards = if setup.corrections.is_some() { setup.running_mean[row].abs() } else { 0.0 };
        let far = mean.abs().max(batch_mean.abs()).max(corrected_towards) / deviation;
        let largest_xhat = largest(&|place| setup.x[place] - mean) / deviation;
        let mixed = if setup.layer == Layer::Mixed { largest_xhat } else { 0.0 };
        // The invertible form gets x back from y, by a bound of its own.
        let inverted = match setup.layer {
            Layer::Invertible => (setup.beta[row] / setup.gamma[row]).abs(),
            _ => 0.0,
        };
        // The twin adds up in the order of the values: its rounding grows with their number.
        let sums = (setup.x.len() as f64 / 1e4).sqrt().max(1.0);
        let loss = ((1.0 + far) * (1.0 + mixed)).max(1.0 + 20.0 * inverted) * sums;
        Measure { deviation, dx, unit_dx, loss }
    }
}

/// The mean and variance that a row is normalised by, and its own mean.
struct Statistics {
    batch_mean: f64,
    mean: f64,
    variance: f64,
}

impl Statistics {
    fn new(setup: &Setup, channel: usize, places: &[usize]) -> Statistics {
        let weight = |place: usize| if setup.layer == Layer::Weighted { setup.weights[place] } else { 1.0 };
        let total: f64 = places.iter().map(|&place| weight(place)).sum();
        let batch_mean = places.iter().map(|&place| weight(place) * setup.x[place]).sum::<f64>() / total;
        let variance_about = |center: f64| {
            let squares = places
                .iter()
                .map(|&place| weight(place) * (setup.x[place] - center) * (setup.x[place] - center))
                .sum::<f64>();
            squares / total
        };
        let (mean, variance) = match setup.layer {
            Layer::Evaluation => (setup.running_mean[channel], setup.running_variance[channel]),
            Layer::Mixed => {
                let mix = |running: f64, batch: f64| running + BATCH_SHARE * (batch - running);
                let variance = variance_about(batch_mean);
                (mix(setup.running_mean[channel], batch_mean), mix(setup.running_variance[channel], variance))
            }
            layer if layer.is_root_mean_square() => (0.0, variance_about(0.0)),
            _ => (batch_mean, variance_about(batch_mean)),
        };
        Statistics { batch_mean, mean, variance }
    }
}

/// The measures of channels that are whitened together, a row each: dx's is sum_j |W_ij| max|gamma dy|, the loss goes by
/// the condition number.
fn measure_whitened(setup: &Setup, group: &[Vec<usize>], dz: &[f64], [dx, unit_dx, loss]: [&mut [f64]; 3]) {
    let x: Vec<Vec<f64>> = group.iter().map(|places| places.iter().map(|&place| setup.x[place]).collect()).collect();
    let ones = vec![1.0; group.len()];
    let pass = whitening::forward(&x, &ones, &ones, setup.epsilon);
    let largest =
        |value: &dyn Fn(usize) -> f64| group.iter().flatten().fold(0.0f64, |most, &place| most.max(value(place).abs()));
    let largest_dxhat = largest(&|place| setup.gamma[setup.rows.parameter(place)] * dz[place]);
    let largest_dz = largest(&|place| dz[place]);
    let size = |matrix: &[Vec<f64>]| matrix.iter().flatten().map(|value| value * value).sum::<f64>().sqrt();
    let condition = (size(&pass.covariance) + setup.epsilon) * size(&pass.whitening).powi(2);
    // Not finite where the covariance has no inverse root: no digit is right then.
    let lost = if condition.is_finite() { condition * condition } else { f64::INFINITY };
    // Mixing spreads the loss of one channel over the group.
    let lost = group.iter().flatten().fold(lost, |most, &place| most.max(loss[place]));
    for (places, weights) in group.iter().zip(&pass.whitening) {
        let size = weights.iter().map(|w| w.abs()).sum::<f64>();
        for &place in places {
            (dx[place], unit_dx[place], loss[place]) = (size * largest_dxhat, size * largest_dz, lost);
        }
    }
}
