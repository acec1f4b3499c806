//! The readable twin of each layer on whole arrays, over any number type: forward, and the gradient in closed form.

use super::layer::{BATCH_SHARE, Layer};
use super::row::Row;
use super::setup::{Direction, Setup};
use batchnorm::reference::{Real, compact, mixed, rows, second_order, staged, tangent, weighted, whitening};

/// Gradients of whole arrays.
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    pub dx: Vec<R>,
    pub dgamma: Vec<R>,
    pub dbeta: Vec<R>,
}

impl<R: Real> Gradients<R> {
    pub fn zeros(values: usize, parameters: usize) -> Gradients<R> {
        let zeros = |count| vec![R::constant(0.0); count];
        Gradients { dx: zeros(values), dgamma: zeros(parameters), dbeta: zeros(parameters) }
    }
}

impl Setup {
    /// What a channel is normalised by: its running statistics and the batch's share beside them.
    fn statistics<R: Real>(&self, channel: usize) -> mixed::Statistics<R> {
        let running = [self.running_mean[channel], self.running_variance[channel]].map(R::constant);
        let share = match self.layer {
            Layer::Evaluation => 0.0,
            Layer::Mixed => BATCH_SHARE,
            _ => 1.0,
        };
        mixed::Statistics { running, share: R::constant(share) }
    }

    /// xhat of each value.
    pub fn normalized<R: Real>(&self, x: &[R]) -> Vec<R> {
        let (zero, one, epsilon) = (R::constant(0.0), R::constant(1.0), R::constant(self.epsilon));
        let mut normalized = vec![zero; x.len()];
        if self.layer == Layer::Whitening {
            for rows in self.rows.chunks(self.whitened) {
                let group: Vec<Vec<R>> = rows.iter().map(|row| row.of(x)).collect();
                let (ones, zeros) = (vec![one; rows.len()], vec![zero; rows.len()]);
                let forward = whitening::forward(&group, &ones, &zeros, epsilon);
                rows.iter().zip(forward.normalized).for_each(|(row, xhat)| row.put(xhat, &mut normalized));
            }
            return normalized;
        }
        for row in &self.rows {
            let x = row.of(x);
            let xhat = match self.layer {
                Layer::Rms => rows::rms_forward(&x, &vec![one; x.len()], &vec![zero; x.len()], epsilon).normalized,
                Layer::Evaluation => {
                    let [mean, variance] = self.statistics::<R>(row.channel).running;
                    compact::forward_eval(&x, one, zero, mean, variance, epsilon)
                }
                Layer::Mixed => mixed::forward(&x, one, zero, epsilon, self.statistics(row.channel)),
                Layer::Weighted => weighted::forward(&x, &row.of(&self.weights), one, zero, epsilon).normalized,
                _ => compact::forward(&x, one, zero, epsilon).normalized,
            };
            row.put(xhat, &mut normalized);
        }
        normalized
    }

    /// y = f(gamma xhat + beta + residual); f by its slopes.
    pub fn forward<R: Real>(&self, x: &[R], gamma: &[R], beta: &[R]) -> Vec<R> {
        let xhat = self.normalized(x);
        let y = |(place, xhat): (usize, R)| {
            let parameter = self.parameter(place);
            let z = gamma[parameter] * xhat + beta[parameter];
            let z = if self.layer == Layer::Residual { z + R::constant(self.residual[place]) } else { z };
            R::constant(self.slopes[place]) * z
        };
        xhat.into_iter().enumerate().map(y).collect()
    }

    /// The gradient in closed form.
    pub fn compact<R: Real>(&self, x: &[R], gamma: &[R]) -> Gradients<R> {
        self.gradients(x, gamma, |row, x, gamma, dz| {
            let epsilon = R::constant(self.epsilon);
            match self.layer {
                Layer::Evaluation => {
                    let [mean, variance] = self.statistics::<R>(row.channel).running;
                    compact::backward_eval(x, gamma, mean, variance, epsilon, dz)
                }
                Layer::Mixed => mixed::backward(x, gamma, epsilon, self.statistics(row.channel), true, dz),
                Layer::Weighted => weighted::backward(x, &row.of(&self.weights), gamma, epsilon, dz),
                _ => compact::backward(x, gamma, epsilon, dz),
            }
        })
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
        has_graph.then(|| {
            self.gradients(&self.x, &self.gamma, |_, x, gamma, dz| {
                staged::backward(&staged::forward(x, gamma, 0.0, self.epsilon), gamma, dz).gradients
            })
        })
    }

    /// Row by row: layers with one gamma for a row by `of_row`, the others by the twin of rows.
    fn gradients<R: Real>(
        &self,
        x: &[R],
        gamma: &[R],
        of_row: impl Fn(&Row, &[R], R, &[R]) -> compact::Gradients<R>,
    ) -> Gradients<R> {
        let dz: Vec<R> = self.upstream().into_iter().map(R::constant).collect();
        if self.layer == Layer::Whitening {
            return self.whitening_gradients(x, gamma, &dz);
        }
        let epsilon = R::constant(self.epsilon);
        let mut whole = Gradients::zeros(x.len(), gamma.len());
        for row in &self.rows {
            let (x, dz) = (row.of(x), row.of(&dz));
            if matches!(self.layer, Layer::Norm | Layer::Group | Layer::Rms) {
                let gamma: Vec<R> = row.places.iter().map(|&place| gamma[self.parameter(place)]).collect();
                let backward = if self.layer == Layer::Rms { rows::rms_backward } else { rows::backward };
                let gradients = backward(&x, &gamma, epsilon, &dz);
                for (i, &place) in row.places.iter().enumerate() {
                    let parameter = self.parameter(place);
                    whole.dgamma[parameter] = whole.dgamma[parameter] + gradients.dgamma[i];
                    whole.dbeta[parameter] = whole.dbeta[parameter] + gradients.dbeta[i];
                }
                row.put(gradients.dx, &mut whole.dx);
                continue;
            }
            let gradients = of_row(row, &x, gamma[row.channel], &dz);
            row.put(gradients.dx, &mut whole.dx);
            whole.dgamma[row.channel] = whole.dgamma[row.channel] + gradients.dgamma;
            whole.dbeta[row.channel] = whole.dbeta[row.channel] + gradients.dbeta;
        }
        whole
    }

    /// Group by group of channels that are whitened together.
    fn whitening_gradients<R: Real>(&self, x: &[R], gamma: &[R], dz: &[R]) -> Gradients<R> {
        let mut whole = Gradients::zeros(x.len(), gamma.len());
        for (number, rows) in self.rows.chunks(self.whitened).enumerate() {
            let group = |array: &[R]| -> Vec<Vec<R>> { rows.iter().map(|row| row.of(array)).collect() };
            let channels = number * self.whitened..number * self.whitened + rows.len();
            let epsilon = R::constant(self.epsilon);
            let gradients = whitening::backward(&group(x), &gamma[channels.clone()], epsilon, &group(dz));
            rows.iter().zip(gradients.dx).for_each(|(row, dx)| row.put(dx, &mut whole.dx));
            whole.dgamma[channels.clone()].copy_from_slice(&gradients.dgamma);
            whole.dbeta[channels].copy_from_slice(&gradients.dbeta);
        }
        whole
    }

    /// The derivative of the gradient along a direction, line by line, of layers that have one in closed form.
    pub fn second_order(&self, direction: &Direction) -> Option<Gradients<f64>> {
        if matches!(self.layer, Layer::Weighted | Layer::Whitening) {
            return None;
        }
        let dz = self.upstream();
        let mut whole = Gradients::zeros(self.x.len(), self.gamma.len());
        for row in &self.rows {
            let (x, dz, x_t) = (row.of(&self.x), row.of(&dz), row.of(&direction.x));
            if matches!(self.layer, Layer::Norm | Layer::Group | Layer::Rms | Layer::Instance) {
                let of_values = |parameters: &[f64]| -> Vec<f64> {
                    row.places.iter().map(|&place| parameters[self.parameter(place)]).collect()
                };
                let (gamma, centred) = (of_values(&self.gamma), self.layer != Layer::Rms);
                let along: [&[f64]; 2] = [&x_t, &of_values(&direction.gamma)];
                let moved = second_order::row_backward_tangent(&x, &gamma, self.epsilon, &dz, centred, along);
                for (&place, dgamma) in row.places.iter().zip(moved.dgamma) {
                    whole.dgamma[self.parameter(place)] += dgamma;
                }
                row.put(moved.dx, &mut whole.dx);
                continue;
            }
            let channel = row.channel;
            let along = tangent::Direction { x: &x_t, gamma: direction.gamma[channel], beta: 0.0 };
            let (statistics, gamma) = (self.statistics(channel), self.gamma[channel]);
            let moved = second_order::backward_tangent(&x, gamma, self.epsilon, statistics, true, &dz, along);
            row.put(moved.dx, &mut whole.dx);
            whole.dgamma[channel] += moved.dgamma;
        }
        Some(whole)
    }
}
