//! What somebody's gradients are gradients of: an input, an upstream gradient, parameters, and what is normalised together.

use super::error::ProblemError;
use super::rounding::{Held, Precision};
use crate::element::Element;
use crate::layout::{Arrangement, Layout};
use crate::rule::same_shape;
use crate::sample_norm::Grouping;
use crate::sample_rule::Frame;
use crate::view::View;
use crate::weights::Weights;

/// The greatest number of values that are looked at: their arrays take half a gigabyte then.
pub const MAX_VALUES: usize = 1 << 24;

/// What gradients are to be judged by: x, dy, gamma, eps, and what is normalised together.
///
/// ```
/// use batchnorm::gradcheck::Problem;
/// use batchnorm::{Axes, View};
/// let x = View::new(&[1.0f64, 2.0, 6.0, 4.0], &[4, 1], Axes::NCHW)?;
/// let dy = View::new(&[0.3f64, -1.0, 0.5, 0.1], &[4, 1], Axes::NCHW)?;
/// let problem = Problem::batch_norm(&x, &dy, &[1.5], 1e-5)?;
/// assert_eq!(problem.shape(), [4, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) layout: Layout,
    pub(super) kind: Kind,
    pub(super) frame: Frame,
    /// Row after row, each in logical order.
    pub(super) x: Vec<f64>,
    pub(super) dy: Vec<f64>,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) gamma: Vec<f64>,
    pub(super) epsilon: f64,
    /// Whether the input's type is narrower than f64, or its numbers are: gradients may have been computed in f32 then.
    pub(super) narrow_input: bool,
    /// Whether the input's numbers are those of f16 or bf16.
    pub(super) half_input: bool,
}

/// By what is normalised.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Each channel by its own mean and variance.
    Batch,
    /// Each channel by these means and variances, which are constants.
    Constants { mean: Vec<f64>, variance: Vec<f64> },
    /// Each row by its own mean and variance; parameters are those of its elements.
    Sample,
    /// Each row by its mean square.
    RootMeanSquare,
}

impl Problem {
    /// Batch norm in training: mean and variance are those of each channel of x.
    ///
    /// # Errors
    /// Arrays or parameters that do not fit each other, NaN or infinity among them, fewer than two values a channel, more
    /// than [`MAX_VALUES`] values, eps not finite or negative.
    pub fn batch_norm<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
    ) -> Result<Problem, ProblemError> {
        Self::new(x, dy, gamma, epsilon, Kind::Batch, Frame::of_channels_alone(&x.layout), None)
    }

    /// Batch norm in evaluation: mean and variance are constants, one of each for each channel.
    ///
    /// ```
    /// use batchnorm::gradcheck::{Problem, Verdict};
    /// use batchnorm::{Axes, View};
    /// let (x, dy) = ([1.0f64, 2.0, 6.0], [0.3f64, -1.0, 0.5]);
    /// let [x, dy] = [&x, &dy].map(|values| View::new(values, &[3, 1], Axes::NCHW).unwrap());
    /// let problem = Problem::evaluation(&x, &dy, &[3.0], 0.0, &[1.0], &[4.0])?;
    /// let dx = [0.3, -1.0, 0.5].map(|dy| 1.5 * dy); // gamma / sqrt(variance + eps) * dy
    /// let found = problem.given().dx(&View::new(&dx, &[3, 1], Axes::NCHW)?)?.diagnose()?;
    /// assert_eq!(found.dx.unwrap().verdict, Verdict::Right);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`batch_norm`](Self::batch_norm) (one value a channel is enough here), and a variance below 0.
    pub fn evaluation<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
        mean: &[f64],
        variance: &[f64],
    ) -> Result<Problem, ProblemError> {
        for (argument, values) in [("mean", mean), ("variance", variance)] {
            check_vector(argument, values, x.channels())?;
        }
        if let Some((at, &got)) = variance.iter().enumerate().find(|(_, variance)| **variance < 0.0) {
            return Err(ProblemError::Number {
                argument: "variance",
                expected: "variances >= 0",
                index: vec![at],
                got,
            });
        }
        let kind = Kind::Constants { mean: mean.to_vec(), variance: variance.to_vec() };
        Self::new(x, dy, gamma, epsilon, kind, Frame::of_channels_alone(&x.layout), None)
    }

    /// Batch norm in training where values have weights or are masked ([`Weights`]). What is masked may be anything.
    ///
    /// # Errors
    /// As [`batch_norm`](Self::batch_norm), by the values that count.
    pub fn weighted<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
        weights: &Weights<T>,
    ) -> Result<Problem, ProblemError> {
        let frame = Frame::of_channels_alone(&x.layout);
        let weights = arranged(&weights.view_over(&x.layout)?, &frame);
        Self::new(x, dy, gamma, epsilon, Kind::Batch, frame, Some(weights))
    }

    /// Layer, group, instance or RMS norm. gamma has a value for each element of the last axes (layer, RMS norm) or for
    /// each channel.
    ///
    /// ```
    /// use batchnorm::gradcheck::Problem;
    /// use batchnorm::{Axes, Grouping, View};
    /// let (x, dy) = ([1.0f64, 2.0, 6.0, 0.0, 4.0, 3.0], [0.3f64, -1.0, 0.5, 0.2, 0.1, 0.9]);
    /// let [x, dy] = [&x, &dy].map(|values| View::new(values, &[2, 3], Axes::NCHW).unwrap());
    /// let layer_norm = Problem::sample_norm(Grouping::Layer { axes: 1 }, &x, &dy, &[1.0, 2.0, 0.5], 1e-5)?;
    /// // dbeta is the sum over the samples; here it is their mean.
    /// let found = layer_norm.given().dbeta(&[0.25, -0.45, 0.7])?.diagnose()?;
    /// assert_eq!(found.dbeta.unwrap().verdict.mistakes()[0].name, "mean instead of sum");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`batch_norm`](Self::batch_norm), of rows for channels, and a grouping that does not fit the shape.
    pub fn sample_norm<T: Element, U: Element>(
        grouping: Grouping,
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
    ) -> Result<Problem, ProblemError> {
        let frame = Frame::new(grouping, &x.layout)?;
        let kind = if matches!(grouping, Grouping::Rms { .. }) { Kind::RootMeanSquare } else { Kind::Sample };
        Self::new(x, dy, gamma, epsilon, kind, frame, None)
    }

    fn new<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
        kind: Kind,
        frame: Frame,
        weights: Option<Vec<f64>>,
    ) -> Result<Problem, ProblemError> {
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let (expected, index) = ("a finite number >= 0", Vec::new());
            return Err(ProblemError::Number { argument: "epsilon", expected, index, got: epsilon });
        }
        same_shape("dy", &x.layout, &dy.layout)?;
        let (values, shape) = (x.layout.len(), x.shape().to_vec());
        if values > MAX_VALUES {
            return Err(ProblemError::TooLarge { shape, values, limit: MAX_VALUES });
        }
        if values == 0 {
            return Err(ProblemError::Empty { shape });
        }
        check_vector("gamma", gamma, frame.parameters())?;
        let needed = if matches!(kind, Kind::Constants { .. } | Kind::RootMeanSquare) { 1 } else { 2 };
        if frame.count < needed {
            return Err(ProblemError::SingleValue { shape, axis: x.channel_axis() });
        }
        let (x_values, dy_values) = (arranged(x, &frame), arranged(dy, &frame));
        let of_x = Held::of(&x_values, Precision::of_type::<T>(), false).precision;
        let of_dy = Held::of(&dy_values, Precision::of_type::<U>(), false).precision;
        let problem = Problem {
            x: x_values,
            dy: dy_values,
            layout: x.layout.clone(),
            kind,
            frame,
            weights,
            gamma: gamma.to_vec(),
            epsilon,
            narrow_input: size_of::<T>() < 8 || of_x.max(of_dy) < Precision::Double,
            half_input: of_x < Precision::Single,
        };
        problem.check_finite()?;
        problem.check_counting()?;
        Ok(problem)
    }

    fn counts(&self, at: usize) -> bool {
        self.weights.as_ref().is_none_or(|weights| weights[at] > 0.0)
    }

    fn check_finite(&self) -> Result<(), ProblemError> {
        for (argument, values) in [("x", &self.x), ("dy", &self.dy)] {
            let wrong = values.iter().enumerate().find(|&(at, value)| !value.is_finite() && self.counts(at));
            if let Some((at, &got)) = wrong {
                let index = self.index(at / self.frame.count, at % self.frame.count);
                return Err(ProblemError::Number { argument, expected: "finite values", index, got });
            }
        }
        Ok(())
    }

    fn check_counting(&self) -> Result<(), ProblemError> {
        let Some(weights) = &self.weights else { return Ok(()) };
        match weights.chunks(self.frame.count).position(|row| row.iter().filter(|&&w| w > 0.0).count() < 2) {
            Some(channel) => Err(ProblemError::SingleCounting { channel }),
            None => Ok(()),
        }
    }

    /// The shape of x, dy and dx.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// How many values dgamma and dbeta have.
    pub fn parameters(&self) -> usize {
        self.frame.parameters()
    }

    /// Where the `i`-th value of a row stands in the array.
    pub(super) fn index(&self, row: usize, i: usize) -> Vec<usize> {
        let mut index = vec![0; self.layout.shape.len()];
        let axis_of = |logical: usize| *self.layout.others.get(logical).unwrap_or(&self.layout.channel_axis);
        let Arrangement { rows, values, groups } = &self.frame.arrangement;
        let unravel = |axes: &[usize], mut at: usize, index: &mut Vec<usize>| {
            for &logical in axes.iter().rev() {
                let axis = axis_of(logical);
                let length = self.layout.shape[axis];
                index[axis] = at % length;
                at /= length;
            }
            at
        };
        let Some(groups) = *groups else {
            unravel(rows, row, &mut index);
            unravel(values, i, &mut index);
            return index;
        };
        let group = row % groups;
        unravel(rows, row / groups, &mut index);
        let channel = unravel(values, i, &mut index);
        index[self.layout.channel_axis] = group * (self.layout.channels() / groups) + channel;
        index
    }

    /// Samples and positions of a channel: how batch norm's values a channel come about.
    pub(super) fn samples_and_positions(&self) -> [usize; 2] {
        let (samples, positions) = self.layout.others.split_at(self.layout.samples);
        [samples, positions].map(|axes| axes.iter().map(|&axis| self.layout.shape[axis]).product())
    }
}

/// The values row after row.
pub(super) fn arranged<T: Element>(view: &View<T>, frame: &Frame) -> Vec<f64> {
    if view.layout.is_empty() {
        return Vec::new();
    }
    let joined = Layout::joined([&view.layout], &frame.arrangement);
    let parts = view.memory.rearranged(&view.layout, &frame.arrangement, joined);
    let mut all = Vec::with_capacity(view.layout.len());
    let mut row = vec![T::default(); frame.count];
    for part in &parts {
        for channel in 0..part.geometry().channels {
            part.gather_block(channel..channel + 1, 0..frame.count, &mut row, frame.count);
            all.extend(row.iter().map(|value| value.to_f64()));
        }
    }
    all
}

fn check_vector(argument: &'static str, values: &[f64], expected: usize) -> Result<(), ProblemError> {
    if values.len() != expected {
        return Err(ProblemError::Length { argument, expected, got: values.len(), hint: String::new() });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((at, &got)) => Err(ProblemError::Number { argument, expected: "finite values", index: vec![at], got }),
        None => Ok(()),
    }
}
