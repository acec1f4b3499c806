//! A norm as a multiplication and an addition for each channel.

use batchnorm::scale_and_shift;

use crate::parameters::Parameters;

/// A norm, by its vectors: y = gamma (x - mean) / sqrt(variance + epsilon) + beta. (Nothing that follows from these: all norms of a model
/// are in memory at once, as f64.)
#[derive(Debug, Clone)]
pub(super) struct Affine {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub epsilon: f64,
}

impl Affine {
    pub fn of(parameters: &Parameters, epsilon: f64) -> Affine {
        let channels = parameters.channels();
        let or = |numbers: &Option<crate::numbers::Numbers>, none: f64| match numbers {
            Some(numbers) => numbers.to_vec(),
            None => vec![none; channels],
        };
        let (gamma, beta) = (or(&parameters.gamma, 1.0), or(&parameters.beta, 0.0));
        Affine { gamma, beta, mean: parameters.mean.to_vec(), variance: parameters.variance.to_vec(), epsilon }
    }

    /// What only multiplies and adds.
    pub fn of_scale_and_shift(scale: Vec<f64>, shift: Vec<f64>) -> Affine {
        let channels = scale.len();
        Affine { gamma: scale, beta: shift, mean: vec![0.0; channels], variance: vec![1.0; channels], epsilon: 0.0 }
    }

    /// Of a channel y = scale x + shift.
    pub fn scale_and_shift(&self, channel: usize) -> (f64, f64) {
        scale_and_shift(
            self.gamma[channel],
            self.beta[channel],
            self.mean[channel],
            self.variance[channel],
            self.epsilon,
        )
    }

    /// The scales of all channels, and the shifts.
    pub fn scales_and_shifts(&self) -> (Vec<f64>, Vec<f64>) {
        (0..self.channels()).map(|channel| self.scale_and_shift(channel)).unzip()
    }

    pub fn channels(&self) -> usize {
        self.gamma.len()
    }
}
