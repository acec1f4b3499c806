//! A layer, and the arrays that its gradients are checked on.

use super::layer::Layer;
use batchnorm_reference::random::Random;
use batchnorm_reference::whole::Rows;

/// Arrays in C order, and how the layer is set.
#[derive(Debug, Clone)]
pub struct Setup {
    pub layer: Layer,
    pub channel_axis: usize,
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub epsilon: f64,
    pub running_mean: Vec<f64>,
    pub running_variance: Vec<f64>,
    pub weights: Vec<f64>,
    pub residual: Vec<f64>,
    /// Samples of a ghost batch.
    pub ghost: usize,
    /// Channels that are whitened together.
    pub whitened: usize,
    /// Derivative of the activation at each value; 0 where the value is masked.
    pub slopes: Vec<f64>,
    /// Values at the kink of the activation, or near it: they get no gradient and are not compared.
    pub kinks: Vec<bool>,
    /// The generator behind the arrays, from which values to differentiate and directions are drawn.
    pub random: Random,
    /// What is normalised together; the values of each row in C order.
    pub rows: Rows,
}

/// A direction along which x and the parameters move.
#[derive(Debug, Clone)]
pub struct Direction {
    pub x: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

impl Setup {
    /// Whether a value counts, that is, is not masked.
    pub fn counts(&self, place: usize) -> bool {
        self.layer != Layer::Weighted || self.weights[place] > 0.0
    }

    /// The places of a row whose values count.
    pub fn counting(&self, row: usize) -> Vec<usize> {
        self.rows.places(row).into_iter().filter(|&place| self.counts(place)).collect()
    }

    /// The upstream gradient behind the activation.
    pub fn upstream(&self) -> Vec<f64> {
        self.dy.iter().zip(&self.slopes).map(|(dy, slope)| dy * slope).collect()
    }
}
