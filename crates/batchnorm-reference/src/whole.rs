//! Whole arrays: which values are normalised together, and the forward and backward passes row by row.
//!
//! An array is a slice in row-major (C) order with a shape and the roles of its axes. [`Rows`] says which of its values are
//! a row, [`Norm`] by what they are normalised; the arithmetic is that of the other modules, over any number type.
//!
//! ```
//! use batchnorm_reference::whole::{By, Norm, Role, Rows, Together};
//! // Two samples of two channels: batch norm looks down the columns, layer norm along the lines.
//! let x = [1.0f64, 2.0, 3.0, 6.0];
//! let rows = |together| Rows::new(&[2, 2], &[Role::Sample, Role::Channel], together);
//! let (channels, samples) = (rows(Together::Channel), rows(Together::LastAxes(1)));
//! let batch = Norm { rows: &channels, by: By::Row, epsilon: 0.0 };
//! let layer = Norm { rows: &samples, by: By::Row, epsilon: 0.0 };
//! assert_eq!(batch.normalized(&x), [-1.0, -1.0, 1.0, 1.0]);
//! assert_eq!(layer.normalized(&x), [-1.0, 1.0, -1.0, 1.0]);
//! assert_eq!(batch.backward(&x, &[1.0, 1.0], &[1.0, 0.0, 0.0, 0.0]).dbeta, [1.0, 0.0]);
//! ```

mod arrangement;

pub use arrangement::{Role, Rows, Together, repeated, transposed};

use crate::compact::Gradients as OfFeature;
use crate::mixed::Statistics;
use crate::{Real, compact, mixed, rows, second_order, tangent, weighted, whitening};

/// What rows are normalised by.
#[derive(Debug, Clone, Copy)]
pub enum By<'a, R> {
    /// Mean and variance of the row.
    Row,
    /// Constants: the mean and the variance of each channel.
    Constants(&'a [R], &'a [R]),
    /// Statistics of each channel that are in part the row's; and whether they flow, or count as constants.
    Mixed(&'a [Statistics<R>], bool),
    /// Mean and variance of the row, by the weight of each value of the array.
    Weights(&'a [f64]),
    /// Mean square of the row: RMS norm.
    MeanSquare,
    /// Mean square of the row, by the weight of each value of the array.
    WeightedMeanSquare(&'a [f64]),
    /// Covariance of so many neighbouring channels: decorrelated batch norm.
    Covariance(usize),
}

/// A norm of whole arrays.
///
/// Constants and statistics are those of channels: rows are [`Together::Channel`], [`Together::Ghost`] or
/// [`Together::Instance`] then, and [`Together::Channel`] by a covariance. All passes panic otherwise, and unless every array has
/// a value for each element of the shape and every vector one for each of its channels or [parameters](Rows::parameters).
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a, R> {
    /// What is normalised together.
    pub rows: &'a Rows,
    /// By what.
    pub by: By<'a, R>,
    /// eps, added to the variance, the mean square or the diagonal of the covariance.
    pub epsilon: R,
}

/// Gradients of whole arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients<R> {
    /// Of the input, in its order.
    pub dx: Vec<R>,
    /// Of each scale: summed over all values that it belongs to.
    pub dgamma: Vec<R>,
    /// Of each shift.
    pub dbeta: Vec<R>,
}

/// A way to go from (x, gamma), and how fast. (beta' plays no part in second derivatives.)
#[derive(Debug, Clone, Copy)]
pub struct Direction<'a, R> {
    /// x', of each value.
    pub x: &'a [R],
    /// gamma', of each scale.
    pub gamma: &'a [R],
}

impl<R: Real> Gradients<R> {
    fn zeros(values: usize, parameters: usize) -> Gradients<R> {
        let zeros = |len: usize| vec![R::constant(0.0); len];
        Gradients { dx: zeros(values), dgamma: zeros(parameters), dbeta: zeros(parameters) }
    }

    fn add(&mut self, parameter: usize, dgamma: R, dbeta: R) {
        self.dgamma[parameter] = self.dgamma[parameter] + dgamma;
        self.dbeta[parameter] = self.dbeta[parameter] + dbeta;
    }
}

fn scatter<R: Copy>(places: &[usize], values: &[R], into: &mut [R]) {
    places.iter().zip(values).for_each(|(&place, &value)| into[place] = value);
}

fn gather<T: Copy>(places: &[usize], values: &[T]) -> Vec<T> {
    places.iter().map(|&place| values[place]).collect()
}

impl<R: Real> Norm<'_, R> {
    /// xhat of each value; 0 where the weight is 0.
    pub fn normalized(&self, x: &[R]) -> Vec<R> {
        self.check();
        let (zero, one, epsilon) = (R::constant(0.0), R::constant(1.0), self.epsilon);
        let mut normalized = vec![zero; x.len()];
        if let By::Covariance(channels) = self.by {
            for group in self.rows.all().chunks(channels) {
                let of_group: Vec<Vec<R>> = group.iter().map(|places| gather(places, x)).collect();
                let (ones, zeros) = (vec![one; group.len()], vec![zero; group.len()]);
                let xhat = whitening::forward(&of_group, &ones, &zeros, epsilon).normalized;
                group.iter().zip(xhat).for_each(|(places, xhat)| scatter(places, &xhat, &mut normalized));
            }
            return normalized;
        }
        for row in 0..self.rows.count() {
            let (places, channel) = (self.rows.places(row), self.rows.channel(row));
            let x = gather(&places, x);
            let xhat = match self.by {
                By::Row => compact::forward(&x, one, zero, epsilon).normalized,
                By::Constants(mean, variance) => {
                    compact::forward_eval(&x, one, zero, mean[channel], variance[channel], epsilon)
                }
                By::Mixed(statistics, _) => mixed::forward(&x, one, zero, epsilon, statistics[channel]),
                By::Weights(weights) => weighted::forward(&x, &gather(&places, weights), one, zero, epsilon).normalized,
                By::WeightedMeanSquare(weights) => {
                    let (ones, zeros) = (vec![one; x.len()], vec![zero; x.len()]);
                    rows::weighted_rms_forward(&x, &gather(&places, weights), &ones, &zeros, epsilon).normalized
                }
                By::MeanSquare | By::Covariance(_) => {
                    rows::rms_forward(&x, &vec![one; x.len()], &vec![zero; x.len()], epsilon).normalized
                }
            };
            scatter(&places, &xhat, &mut normalized);
        }
        normalized
    }

    /// y = gamma xhat + beta; 0 where the weight is 0.
    pub fn forward(&self, x: &[R], gamma: &[R], beta: &[R]) -> Vec<R> {
        let counts = |place: usize| match self.by {
            By::Weights(weights) | By::WeightedMeanSquare(weights) => weights[place] != 0.0,
            _ => true,
        };
        let y = |(place, xhat): (usize, R)| {
            let own = self.rows.parameter(place);
            if counts(place) { gamma[own] * xhat + beta[own] } else { R::constant(0.0) }
        };
        self.normalized(x).into_iter().enumerate().map(y).collect()
    }

    /// The gradients in closed form.
    pub fn backward(&self, x: &[R], gamma: &[R], dy: &[R]) -> Gradients<R> {
        self.check();
        if let By::Covariance(channels) = self.by {
            return self.backward_of_covariance(channels, x, gamma, dy);
        }
        if !self.has_gamma_of_row() {
            return self.backward_by_elements(x, gamma, dy);
        }
        self.backward_by(x, gamma, dy, |row, places, x, gamma, dy| {
            let (channel, epsilon) = (self.rows.channel(row), self.epsilon);
            match self.by {
                By::Constants(mean, variance) => {
                    compact::backward_eval(x, gamma, mean[channel], variance[channel], epsilon, dy)
                }
                By::Mixed(statistics, flows) => mixed::backward(x, gamma, epsilon, statistics[channel], flows, dy),
                By::Weights(weights) => weighted::backward(x, &gather(places, weights), gamma, epsilon, dy),
                _ => compact::backward(x, gamma, epsilon, dy),
            }
        })
    }

    /// The gradients by a backward pass of one's own, of rows with one gamma each: `of_row` gets a row's number, its places,
    /// x, gamma and dy.
    ///
    /// ```
    /// use batchnorm_reference::staged;
    /// use batchnorm_reference::whole::{By, Norm, Role, Rows, Together};
    /// let rows = Rows::new(&[3, 1], &[Role::Sample, Role::Channel], Together::Channel);
    /// let norm = Norm { rows: &rows, by: By::Row, epsilon: 1e-5 };
    /// let node_by_node = norm.backward_by(&[1.0f64, 2.0, 6.0], &[2.0], &[1.0, 0.0, 0.0], |_, _, x, gamma, dy| {
    ///     staged::backward(&staged::forward(x, gamma, 0.0, 1e-5), gamma, dy).gradients
    /// });
    /// let closed = norm.backward(&[1.0, 2.0, 6.0], &[2.0], &[1.0, 0.0, 0.0]);
    /// assert!((node_by_node.dx[0] - closed.dx[0]).abs() < 1e-15);
    /// ```
    pub fn backward_by(
        &self,
        x: &[R],
        gamma: &[R],
        dy: &[R],
        of_row: impl Fn(usize, &[usize], &[R], R, &[R]) -> OfFeature<R>,
    ) -> Gradients<R> {
        let mut whole = Gradients::zeros(x.len(), self.rows.parameters());
        for row in 0..self.rows.count() {
            let (places, channel) = (self.rows.places(row), self.rows.channel(row));
            let own = of_row(row, &places, &gather(&places, x), gamma[channel], &gather(&places, dy));
            scatter(&places, &own.dx, &mut whole.dx);
            whole.add(channel, own.dgamma, own.dbeta);
        }
        whole
    }

    /// Of rows whose values have gammas of their own.
    fn backward_by_elements(&self, x: &[R], gamma: &[R], dy: &[R]) -> Gradients<R> {
        let mut whole = Gradients::zeros(x.len(), self.rows.parameters());
        for places in self.rows.all() {
            let parameters: Vec<usize> = places.iter().map(|&place| self.rows.parameter(place)).collect();
            let (x, gamma, dy) = (gather(&places, x), gather(&parameters, gamma), gather(&places, dy));
            let weights = |weights: &[f64]| gather(&places, weights);
            let own = match self.by {
                By::MeanSquare => rows::rms_backward(&x, &gamma, self.epsilon, &dy),
                By::Weights(all) => rows::weighted_backward(&x, &weights(all), &gamma, self.epsilon, &dy),
                By::WeightedMeanSquare(all) => {
                    rows::weighted_rms_backward(&x, &weights(all), &gamma, self.epsilon, &dy)
                }
                _ => rows::backward(&x, &gamma, self.epsilon, &dy),
            };
            scatter(&places, &own.dx, &mut whole.dx);
            for (i, &parameter) in parameters.iter().enumerate() {
                whole.add(parameter, own.dgamma[i], own.dbeta[i]);
            }
        }
        whole
    }

    fn backward_of_covariance(&self, channels: usize, x: &[R], gamma: &[R], dy: &[R]) -> Gradients<R> {
        let mut whole = Gradients::zeros(x.len(), self.rows.parameters());
        for (number, group) in self.rows.all().chunks(channels).enumerate() {
            let of_group = |values: &[R]| group.iter().map(|places| gather(places, values)).collect::<Vec<Vec<R>>>();
            let first = number * channels;
            let gamma = &gamma[first..first + group.len()];
            let own = whitening::backward(&of_group(x), gamma, self.epsilon, &of_group(dy));
            for (i, places) in group.iter().enumerate() {
                scatter(places, &own.dx[i], &mut whole.dx);
                whole.add(first + i, own.dgamma[i], own.dbeta[i]);
            }
        }
        whole
    }

    /// The derivative of [`backward`](Self::backward) along (x', gamma'), dy held: second derivatives. `None` by weights and by
    /// a covariance, of which there is no closed form here.
    pub fn second_order(&self, x: &[R], gamma: &[R], dy: &[R], direction: Direction<R>) -> Option<Gradients<R>> {
        self.check();
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let mut whole = Gradients::zeros(x.len(), self.rows.parameters());
        for row in 0..self.rows.count() {
            let (places, channel) = (self.rows.places(row), self.rows.channel(row));
            let [x, x_t, dy] = [x, direction.x, dy].map(|values| gather(&places, values));
            let (statistics, flows) = match self.by {
                By::Weights(_) | By::WeightedMeanSquare(_) | By::Covariance(_) => return None,
                By::Row | By::MeanSquare => (Statistics { running: [zero, one], share: one }, true),
                By::Constants(mean, variance) => {
                    (Statistics { running: [mean[channel], variance[channel]], share: zero }, true)
                }
                By::Mixed(statistics, flows) => (statistics[channel], flows),
            };
            let of_row = self.rows.together() == Together::Instance && matches!(self.by, By::Row);
            if self.has_gamma_of_row() && !of_row {
                let along = tangent::Direction { x: &x_t, gamma: direction.gamma[channel], beta: zero };
                let own =
                    second_order::backward_tangent(&x, gamma[channel], self.epsilon, statistics, flows, &dy, along);
                scatter(&places, &own.dx, &mut whole.dx);
                whole.add(channel, own.dgamma, zero);
                continue;
            }
            let parameters: Vec<usize> = places.iter().map(|&place| self.rows.parameter(place)).collect();
            let [gamma, gamma_t] = [gamma, direction.gamma].map(|values| gather(&parameters, values));
            let centred = !matches!(self.by, By::MeanSquare);
            let own = second_order::row_backward_tangent(&x, &gamma, self.epsilon, &dy, centred, [&x_t, &gamma_t]);
            scatter(&places, &own.dx, &mut whole.dx);
            parameters.iter().zip(&own.dgamma).for_each(|(&parameter, &dgamma)| whole.add(parameter, dgamma, zero));
        }
        Some(whole)
    }

    fn check(&self) {
        let of_channels = matches!(self.rows.together(), Together::Channel | Together::Ghost(_) | Together::Instance);
        let fits = match self.by {
            By::Row | By::MeanSquare | By::Weights(_) | By::WeightedMeanSquare(_) => true,
            By::Constants(..) | By::Mixed(..) => of_channels,
            By::Covariance(_) => self.rows.together() == Together::Channel,
        };
        assert!(fits, "what rows are normalised by does not belong to {:?}", self.rows.together());
    }

    /// Whether the values of a row have one gamma, by the formulas of one feature.
    fn has_gamma_of_row(&self) -> bool {
        let one = matches!(self.rows.together(), Together::Channel | Together::Ghost(_) | Together::Instance);
        one && !matches!(self.by, By::MeanSquare | By::WeightedMeanSquare(_))
    }
}
