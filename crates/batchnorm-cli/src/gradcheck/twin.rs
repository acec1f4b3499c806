//! The readable twin of each layer on whole arrays, over any number type: forward, and the gradient in closed form.

use super::Layer;
use super::setup::{SHARE, Setup};
use batchnorm::reference::{Real, compact, mixed, rows, second_order, staged, tangent, weighted, whitening};

/// Values that are normalised together, by their number in C order.
#[derive(Debug, Clone)]
pub struct Row {
    pub values: Vec<usize>,
    /// Its channel; of layer and RMS norm its number.
    pub channel: usize,
}

/// Gradients of whole arrays.
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    pub dx: Vec<R>,
    pub dgamma: Vec<R>,
    pub dbeta: Vec<R>,
}

impl Setup {
    fn channel(&self, at: usize) -> usize {
        at / self.shape[self.channel_axis + 1..].iter().product::<usize>() % self.shape[self.channel_axis]
    }

    /// The sample: the index along the first axis that is not the channels'.
    fn sample(&self, at: usize) -> usize {
        let axis = usize::from(self.channel_axis == 0);
        at / self.shape[axis + 1..].iter().product::<usize>() % self.shape[axis]
    }

    /// The number of a value's gamma and beta.
    pub fn parameter(&self, at: usize) -> usize {
        match self.layer {
            Layer::Norm | Layer::Rms => at % self.shape[1..].iter().product::<usize>(),
            _ => self.channel(at),
        }
    }

    /// What `rows` holds, by shape and layer.
    pub fn arranged(&self) -> Vec<Row> {
        let channels = self.shape[self.channel_axis];
        let samples = self.shape[usize::from(self.channel_axis == 0)];
        let of = |at: usize| match self.layer {
            Layer::Norm | Layer::Rms => at / self.shape[1..].iter().product::<usize>(),
            Layer::Group => self.sample(at) * self.groups + self.channel(at) / (channels / self.groups),
            Layer::Instance => self.sample(at) * channels + self.channel(at),
            Layer::Ghost => self.sample(at) / self.ghost * channels + self.channel(at),
            _ => self.channel(at),
        };
        let mut all: Vec<Row> = Vec::new();
        all.resize_with(self.shape[0].max(samples) * channels.max(self.groups), || Row { values: vec![], channel: 0 });
        for at in 0..self.x.len() {
            let row = of(at);
            all[row].channel = if matches!(self.layer, Layer::Norm | Layer::Rms) { row } else { self.channel(at) };
            all[row].values.push(at);
        }
        // Positions in their order within each sample: groups go channel by channel.
        all.retain(|row| !row.values.is_empty());
        all
    }

    /// The statistics of a channel.
    fn statistics<R: Real>(&self, channel: usize) -> mixed::Statistics<R> {
        let running = [self.running_mean[channel], self.running_variance[channel]].map(R::constant);
        let share = match self.layer {
            Layer::Evaluation => 0.0,
            Layer::Mixed => SHARE,
            _ => 1.0,
        };
        mixed::Statistics { running, share: R::constant(share) }
    }

    /// xhat of each value.
    pub fn normalized<R: Real>(&self, x: &[R]) -> Vec<R> {
        let (zero, one, epsilon) = (R::constant(0.0), R::constant(1.0), R::constant(self.epsilon));
        let mut all = vec![zero; x.len()];
        let rows = &self.rows;
        if self.layer == Layer::Whitening {
            for rows in rows.chunks(self.together) {
                let of = |row: &Row| row.values.iter().map(|&at| x[at]).collect::<Vec<R>>();
                let group: Vec<Vec<R>> = rows.iter().map(of).collect();
                let (ones, zeros) = (vec![one; rows.len()], vec![zero; rows.len()]);
                let forward = whitening::forward(&group, &ones, &zeros, epsilon);
                for (row, values) in rows.iter().zip(forward.normalized) {
                    row.values.iter().zip(values).for_each(|(&at, value)| all[at] = value);
                }
            }
            return all;
        }
        for row in rows {
            let own: Vec<R> = row.values.iter().map(|&at| x[at]).collect();
            let xhat = match self.layer {
                Layer::Rms => {
                    rows::rms_forward(&own, &vec![one; own.len()], &vec![zero; own.len()], epsilon).normalized
                }
                Layer::Evaluation => {
                    let [mean, variance] = self.statistics::<R>(row.channel).running;
                    compact::forward_eval(&own, one, zero, mean, variance, epsilon)
                }
                Layer::Mixed => mixed::forward(&own, one, zero, epsilon, self.statistics(row.channel)),
                Layer::Weighted => {
                    let weights: Vec<f64> = row.values.iter().map(|&at| self.weights[at]).collect();
                    weighted::forward(&own, &weights, one, zero, epsilon).normalized
                }
                _ => compact::forward(&own, one, zero, epsilon).normalized,
            };
            row.values.iter().zip(xhat).for_each(|(&at, value)| all[at] = value);
        }
        all
    }

    /// y = f(gamma xhat + beta + residual); f by its slopes.
    pub fn forward<R: Real>(&self, x: &[R], gamma: &[R], beta: &[R]) -> Vec<R> {
        let xhat = self.normalized(x);
        let y = |(at, xhat): (usize, R)| {
            let own = self.parameter(at);
            let z = gamma[own] * xhat + beta[own];
            let z = if self.layer == Layer::Residual { z + R::constant(self.residual[at]) } else { z };
            R::constant(self.slopes[at]) * z
        };
        xhat.into_iter().enumerate().map(y).collect()
    }

    /// The upstream gradient behind the activation.
    pub fn upstream(&self) -> Vec<f64> {
        self.dy.iter().zip(&self.slopes).map(|(dy, slope)| dy * slope).collect()
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
                Layer::Weighted => {
                    let weights: Vec<f64> = row.values.iter().map(|&at| self.weights[at]).collect();
                    weighted::backward(x, &weights, gamma, epsilon, dz)
                }
                _ => compact::backward(x, gamma, epsilon, dz),
            }
        })
    }

    /// The gradient node by node; of layers that have a graph.
    pub fn staged(&self) -> Option<Gradients<f64>> {
        let one_gamma = matches!(
            self.layer,
            Layer::Batch
                | Layer::Relu
                | Layer::LeakyRelu
                | Layer::Residual
                | Layer::Ghost
                | Layer::Invertible
                | Layer::Instance
        );
        one_gamma.then(|| {
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
        let (zero, epsilon) = (R::constant(0.0), R::constant(self.epsilon));
        let dz: Vec<R> = self.upstream().into_iter().map(R::constant).collect();
        let mut all =
            Gradients { dx: vec![zero; x.len()], dgamma: vec![zero; gamma.len()], dbeta: vec![zero; gamma.len()] };
        let rows = &self.rows;
        if self.layer == Layer::Whitening {
            for (number, rows) in rows.chunks(self.together).enumerate() {
                let of = |values: &[R]| -> Vec<Vec<R>> {
                    rows.iter().map(|row| row.values.iter().map(|&at| values[at]).collect()).collect()
                };
                let first = number * self.together;
                let own = whitening::backward(&of(x), &gamma[first..first + rows.len()], epsilon, &of(&dz));
                for (at, row) in rows.iter().enumerate() {
                    row.values.iter().zip(&own.dx[at]).for_each(|(&at, &value)| all.dx[at] = value);
                    (all.dgamma[first + at], all.dbeta[first + at]) = (own.dgamma[at], own.dbeta[at]);
                }
            }
            return all;
        }
        for row in rows {
            let of = |values: &[R]| row.values.iter().map(|&at| values[at]).collect::<Vec<R>>();
            let (x, dz) = (of(x), of(&dz));
            if matches!(self.layer, Layer::Norm | Layer::Group | Layer::Rms) {
                let own: Vec<R> = row.values.iter().map(|&at| gamma[self.parameter(at)]).collect();
                let backward = if self.layer == Layer::Rms { rows::rms_backward } else { rows::backward };
                let gradients = backward(&x, &own, epsilon, &dz);
                for (i, &at) in row.values.iter().enumerate() {
                    let own = self.parameter(at);
                    all.dx[at] = gradients.dx[i];
                    all.dgamma[own] = all.dgamma[own] + gradients.dgamma[i];
                    all.dbeta[own] = all.dbeta[own] + gradients.dbeta[i];
                }
                continue;
            }
            let gradients = of_row(row, &x, gamma[row.channel], &dz);
            row.values.iter().zip(gradients.dx).for_each(|(&at, value)| all.dx[at] = value);
            all.dgamma[row.channel] = all.dgamma[row.channel] + gradients.dgamma;
            all.dbeta[row.channel] = all.dbeta[row.channel] + gradients.dbeta;
        }
        all
    }

    /// The derivative of the gradient along (x', gamma'), line by line, of layers that have one in closed form.
    pub fn second_order(&self, [x_t, gamma_t]: [&[f64]; 2]) -> Option<Gradients<f64>> {
        if matches!(self.layer, Layer::Weighted | Layer::Whitening) {
            return None;
        }
        let dz = self.upstream();
        let (values, parameters) = (self.x.len(), self.gamma.len());
        let mut all = Gradients { dx: vec![0.0; values], dgamma: vec![0.0; parameters], dbeta: vec![0.0; parameters] };
        for row in &self.rows {
            let of = |all: &[f64]| row.values.iter().map(|&at| all[at]).collect::<Vec<f64>>();
            let own = |all: &[f64]| row.values.iter().map(|&at| all[self.parameter(at)]).collect::<Vec<f64>>();
            if matches!(self.layer, Layer::Norm | Layer::Group | Layer::Rms | Layer::Instance) {
                let along: [&[f64]; 2] = [&of(x_t), &own(gamma_t)];
                let centred = self.layer != Layer::Rms;
                let moved = second_order::row_backward_tangent(
                    &of(&self.x),
                    &own(&self.gamma),
                    self.epsilon,
                    &of(&dz),
                    centred,
                    along,
                );
                for (i, &at) in row.values.iter().enumerate() {
                    all.dx[at] = moved.dx[i];
                    all.dgamma[self.parameter(at)] += moved.dgamma[i];
                }
                continue;
            }
            let channel = row.channel;
            let direction = tangent::Direction { x: &of(x_t), gamma: gamma_t[channel], beta: 0.0 };
            let (statistics, gamma) = (self.statistics(channel), self.gamma[channel]);
            let moved = second_order::backward_tangent(
                &of(&self.x),
                gamma,
                self.epsilon,
                statistics,
                true,
                &of(&dz),
                direction,
            );
            row.values.iter().zip(moved.dx).for_each(|(&at, value)| all.dx[at] = value);
            all.dgamma[channel] += moved.dgamma;
        }
        Some(all)
    }
}
