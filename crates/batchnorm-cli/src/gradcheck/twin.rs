//! The readable twin of each layer on whole arrays, over any number type: forward, and the gradient in closed form.

use super::layer::{BATCH_SHARE, Layer};
use super::setup::{Direction, Setup};
use batchnorm_reference::mixed::Statistics;
use batchnorm_reference::whole::{self, By, Gradients, Norm};
use batchnorm_reference::{Real, staged};

impl Setup {
    /// Calls a function with the twin without its activation.
    fn with_norm<R: Real, T>(&self, call: impl FnOnce(Norm<R>) -> T) -> T {
        let constants = |values: &[f64]| values.iter().map(|&value| R::constant(value)).collect::<Vec<R>>();
        let (mean, variance) = (constants(&self.running_mean), constants(&self.running_variance));
        let mixed = |(&mean, &variance)| Statistics { running: [mean, variance], share: R::constant(BATCH_SHARE) };
        let statistics: Vec<Statistics<R>> = mean.iter().zip(&variance).map(mixed).collect();
        let by = match self.layer {
            Layer::Evaluation => By::Constants(&mean, &variance),
            Layer::Mixed => By::Mixed(&statistics, true),
            Layer::Weighted => By::Weights(&self.weights),
            Layer::Rms => By::MeanSquare,
            Layer::Whitening => By::Covariance(self.whitened),
            _ => By::Row,
        };
        call(Norm { rows: &self.rows, by, epsilon: R::constant(self.epsilon) })
    }

    /// xhat of each value.
    pub fn normalized<R: Real>(&self, x: &[R]) -> Vec<R> {
        self.with_norm(|norm| norm.normalized(x))
    }

    /// y = f(gamma xhat + beta + residual); f by its slopes.
    pub fn forward<R: Real>(&self, x: &[R], gamma: &[R], beta: &[R]) -> Vec<R> {
        let mut y = self.with_norm(|norm| norm.forward(x, gamma, beta));
        for (place, y) in y.iter_mut().enumerate() {
            let z = if self.layer == Layer::Residual { *y + R::constant(self.residual[place]) } else { *y };
            *y = R::constant(self.slopes[place]) * z;
        }
        y
    }

    /// The gradient in closed form.
    pub fn compact<R: Real>(&self, x: &[R], gamma: &[R]) -> Gradients<R> {
        let dz: Vec<R> = self.upstream().into_iter().map(R::constant).collect();
        self.with_norm(|norm| norm.backward(x, gamma, &dz))
    }

    /// The gradient node by node; of layers that have a graph.
    pub fn staged(&self) -> Option<Gradients<f64>> {
        let has_graph = matches!(
            self.layer,
            Layer::Batch
                | Layer::Relu
                | Layer::LeakyRelu
                | Layer::Residual
                | Layer::Ghost
                | Layer::Invertible
                | Layer::Instance
        );
        let of_row = |_: usize, _: &[usize], x: &[f64], gamma: f64, dz: &[f64]| {
            staged::backward(&staged::forward(x, gamma, 0.0, self.epsilon), gamma, dz).gradients
        };
        has_graph.then(|| self.with_norm(|norm| norm.backward_by(&self.x, &self.gamma, &self.upstream(), of_row)))
    }

    /// The derivative of the gradient along a direction, line by line, of layers that have one in closed form.
    pub fn second_order(&self, direction: &Direction) -> Option<Gradients<f64>> {
        // beta's movement plays no part in second derivatives.
        let Direction { x, gamma, .. } = direction;
        let direction = whole::Direction { x, gamma };
        self.with_norm(|norm| norm.second_order(&self.x, &self.gamma, &self.upstream(), direction))
    }
}
