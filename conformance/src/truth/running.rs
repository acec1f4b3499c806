//! Running statistics: how they follow a batch, and their true values.

use super::number::{D, d};
use super::output::{Truth, Truths};

/// A running statistic after an update: (1 - weight) old + weight new.
pub fn moved(old: D, new: D, weight_of_new: f64) -> D {
    (d(1.0) - d(weight_of_new)) * old + d(weight_of_new) * new
}

/// Adds the running statistics after a pass. Errors of the mean are measured by the larger of itself and the standard
/// deviation, errors of the variance by itself.
pub fn insert_running(truths: &mut Truths, mean: Vec<D>, variance: Vec<D>) {
    let vector = |values: Vec<D>, scale: Vec<f64>| {
        let shape = vec![values.len()];
        Truth { shape: shape.clone(), values, alternative: None, scale_shape: shape, scale }
    };
    let of_mean = mean.iter().zip(&variance).map(|(m, v)| m.to_f64().abs().max(v.to_f64().sqrt())).collect();
    let of_variance = variance.iter().map(|v| v.to_f64()).collect();
    truths.insert("running_mean".to_string(), vector(mean, of_mean));
    truths.insert("running_variance".to_string(), vector(variance, of_variance));
}
