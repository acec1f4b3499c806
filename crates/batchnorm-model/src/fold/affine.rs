//! A norm as a multiplication and an addition for each channel.

use batchnorm::scale_and_shift;

use crate::parameters::Parameters;

/// A norm, by its vectors: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub epsilon: f64,
    /// y = scale x + shift.
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

impl Affine {
    pub fn of(parameters: &Parameters, epsilon: f64) -> Affine {
        let channels = parameters.channels();
        let or = |numbers: &Option<crate::numbers::Numbers>, none: f64| match numbers {
            Some(numbers) => numbers.to_vec(),
            None => vec![none; channels],
        };
        let (gamma, beta) = (or(&parameters.gamma, 1.0), or(&parameters.beta, 0.0));
        Affine::of_vectors(gamma, beta, parameters.mean.to_vec(), parameters.variance.to_vec(), epsilon)
    }

    /// What only multiplies and adds.
    pub fn of_scale_and_shift(scale: Vec<f64>, shift: Vec<f64>) -> Affine {
        let channels = scale.len();
        Affine::of_vectors(scale, shift, vec![0.0; channels], vec![1.0; channels], 0.0)
    }

    fn of_vectors(gamma: Vec<f64>, beta: Vec<f64>, mean: Vec<f64>, variance: Vec<f64>, epsilon: f64) -> Affine {
        let of = |at: usize| scale_and_shift(gamma[at], beta[at], mean[at], variance[at], epsilon);
        let (scale, shift) = (0..gamma.len()).map(of).unzip();
        Affine { gamma, beta, mean, variance, epsilon, scale, shift }
    }

    pub fn channels(&self) -> usize {
        self.gamma.len()
    }
}
