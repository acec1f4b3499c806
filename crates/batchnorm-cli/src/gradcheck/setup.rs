//! A layer, and the arrays that its gradients are checked on.

use super::layer::Layer;
use batchnorm_reference::random::Random;
use batchnorm_reference::renormalized::Correction;
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
    /// r and d of each channel, which are held whatever x becomes; of batch renormalisation.
    pub corrections: Option<Vec<Correction<f64>>>,
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

    /// r and d of each channel without limits.
    pub fn unlimited_corrections(&self) -> Vec<Correction<f64>> {
        let of_channel = |(channel, places): (usize, &Vec<usize>)| {
            let x: Vec<f64> = places.iter().map(|&place| self.x[place]).collect();
            let running = [self.running_mean[channel], self.running_variance[channel]];
            Correction::of(&x, self.epsilon, running, [f64::INFINITY; 2])
        };
        self.rows.all().iter().enumerate().map(of_channel).collect()
    }

    /// The upstream gradient behind the activation.
    pub fn upstream(&self) -> Vec<f64> {
        self.dy.iter().zip(&self.slopes).map(|(dy, slope)| dy * slope).collect()
    }
}
