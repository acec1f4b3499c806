//! The readable twin of each layer on whole arrays, over any number type: forward, and the gradient in closed form.

use super::layer::{BATCH_SHARE, Layer};
use super::setup::{Direction, Setup};
use batchnorm_reference::mixed::Statistics;
use batchnorm_reference::renormalized::Correction;
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
            Layer::Rms | Layer::GroupRms => By::MeanSquare,
            Layer::Whitening => By::Covariance(self.whitened),
            _ => By::Row,
        };
        call(Norm { rows: &self.rows, by, epsilon: R::constant(self.epsilon) })
    }

    /// xhat of each value, or what batch renormalisation makes of it.
    pub fn normalized<R: Real>(&self, x: &[R]) -> Vec<R> {
        let (ones, zeros) = (vec![R::constant(1.0); self.gamma.len()], vec![R::constant(0.0); self.gamma.len()]);
        let (gamma, beta) = (self.scaled_by_r(&ones), self.shifted_by_d(&ones, &zeros));
        self.with_norm(|norm| norm.forward(x, &gamma, &beta))
    }

    /// gamma r, with which batch norm does what batch renormalisation does.
    fn scaled_by_r<R: Real>(&self, gamma: &[R]) -> Vec<R> {
        let Some(corrections) = &self.corrections else { return gamma.to_vec() };
        gamma.iter().zip(corrections).map(|(&gamma, correction)| gamma * R::constant(correction.r)).collect()
    }

    /// beta + gamma d.
    fn shifted_by_d<R: Real>(&self, gamma: &[R], beta: &[R]) -> Vec<R> {
        let Some(corrections) = &self.corrections else { return beta.to_vec() };
        let shifted =
            |((&beta, &gamma), correction): ((&R, &R), &Correction<f64>)| beta + gamma * R::constant(correction.d);
        beta.iter().zip(gamma).zip(corrections).map(shifted).collect()
    }

    /// The gradients by those of batch norm with these parameters: dgamma = sum(dy (r xhat + d)).
    fn corrected<R: Real>(&self, mut gradients: Gradients<R>) -> Gradients<R> {
        for (channel, correction) in self.corrections.iter().flatten().enumerate() {
            let (r, d) = (R::constant(correction.r), R::constant(correction.d));
            gradients.dgamma[channel] = r * gradients.dgamma[channel] + d * gradients.dbeta[channel];
        }
        gradients
    }

    /// y = f(gamma xhat + beta + residual); f by its slopes.
    pub fn forward<R: Real>(&self, x: &[R], gamma: &[R], beta: &[R]) -> Vec<R> {
        let (gamma, beta) = (self.scaled_by_r(gamma), self.shifted_by_d(gamma, beta));
        let mut y = self.with_norm(|norm| norm.forward(x, &gamma, &beta));
        for (place, y) in y.iter_mut().enumerate() {
            let z = if self.layer == Layer::Residual { *y + R::constant(self.residual[place]) } else { *y };
            *y = R::constant(self.slopes[place]) * z;
        }
        y
    }

    /// The gradient in closed form.
    pub fn compact<R: Real>(&self, x: &[R], gamma: &[R]) -> Gradients<R> {
        let dz: Vec<R> = self.upstream().into_iter().map(R::constant).collect();
        let gamma = self.scaled_by_r(gamma);
        self.corrected(self.with_norm(|norm| norm.backward(x, &gamma, &dz)))
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
                | Layer::Renormalized
        );
        let of_row = |_: usize, _: &[usize], x: &[f64], gamma: f64, dz: &[f64]| {
            staged::backward(&staged::forward(x, gamma, 0.0, self.epsilon), gamma, dz).gradients
        };
        let gamma = self.scaled_by_r(&self.gamma);
        let graph = || self.with_norm(|norm| norm.backward_by(&self.x, &gamma, &self.upstream(), of_row));
        has_graph.then(|| self.corrected(graph()))
    }

    /// The derivative of the gradient along a direction, line by line, of layers that have one in closed form.
    pub fn second_order(&self, direction: &Direction) -> Option<Gradients<f64>> {
        // beta's movement plays no part in second derivatives.
        let Direction { x, gamma, .. } = direction;
        let (own, along) = (self.scaled_by_r(&self.gamma), self.scaled_by_r(gamma));
        let direction = whole::Direction { x, gamma: &along };
        let derivative = self.with_norm(|norm| norm.second_order(&self.x, &own, &self.upstream(), direction));
        derivative.map(|gradients| self.corrected(gradients))
    }
}
