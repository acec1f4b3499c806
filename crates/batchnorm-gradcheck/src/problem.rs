//! The problem whose gradients are judged: x, dy, parameters, and which values are normalised together.

use crate::array::{Axes, by_rows, check_weights, one_channel_axis, same_shape, weights_by_rows};
use crate::correction::Corrections;
use crate::error::ProblemError;
use crate::precision::{Held, Precision};
use batchnorm::{CallError, Element, Grouping, View, Weights};
use batchnorm_reference::whole::{Rows, Together};

/// The greatest number of values that are looked at: their arrays take half a gigabyte then.
pub const MAX_VALUES: usize = 1 << 24;

/// What gradients are to be judged by: x, dy, gamma, eps, and what is normalised together.
///
/// ```
/// use batchnorm_gradcheck::Problem;
/// use batchnorm::{Axes, View};
/// let x = View::new(&[1.0f64, 2.0, 6.0, 4.0], &[4, 1], Axes::NCHW)?;
/// let dy = View::new(&[0.3f64, -1.0, 0.5, 0.1], &[4, 1], Axes::NCHW)?;
/// let problem = Problem::batch_norm(&x, &dy, &[1.5], 1e-5)?;
/// assert_eq!(problem.shape(), [4, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) axes: Axes,
    pub(crate) kind: Kind,
    pub(crate) rows: Rows,
    /// Values of x, row after row, each in logical order; dy and the weights likewise.
    pub(crate) x: Vec<f64>,
    pub(crate) dy: Vec<f64>,
    pub(crate) weights: Option<Vec<f64>>,
    pub(crate) gamma: Vec<f64>,
    pub(crate) epsilon: f64,
    /// What batch renormalisation corrects each channel by.
    pub(crate) corrections: Option<Corrections>,
    /// Whether the input's type is narrower than f64, or its numbers are: gradients may have been computed in f32 then.
    pub(crate) narrow_input: bool,
    /// Whether x's numbers are those of f16 or bf16.
    pub(crate) half_input: bool,
}

/// The statistics that normalise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
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
        Self::new(x, dy, gamma, epsilon, Kind::Batch, Together::Channel, None)
    }

    /// Batch norm in evaluation: mean and variance are constants, one of each for each channel.
    ///
    /// ```
    /// use batchnorm_gradcheck::{Problem, Verdict};
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
        Self::check_running(mean, variance, x.channels())?;
        let kind = Kind::Constants { mean: mean.to_vec(), variance: variance.to_vec() };
        Self::new(x, dy, gamma, epsilon, kind, Together::Channel, None)
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
        check_weights(weights, &Axes::of(x))?;
        Self::new(x, dy, gamma, epsilon, Kind::Batch, Together::Channel, Some(weights))
    }

    /// Layer, group, instance, RMS or grouped RMS norm. gamma has a value for each element of the last axes (layer, RMS norm) or for
    /// each channel.
    ///
    /// ```
    /// use batchnorm_gradcheck::Problem;
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
        one_channel_axis("x", x)?;
        let together = together(grouping, &Axes::of(x))?;
        let kind = if grouping.is_centred() { Kind::Sample } else { Kind::RootMeanSquare };
        Self::new(x, dy, gamma, epsilon, kind, together, None)
    }

    /// Errors unless these are running statistics of so many channels.
    pub(crate) fn check_running(mean: &[f64], variance: &[f64], channels: usize) -> Result<(), ProblemError> {
        for (argument, values) in [("mean", mean), ("variance", variance)] {
            check_vector(argument, values, channels)?;
        }
        match variance.iter().enumerate().find(|(_, variance)| **variance < 0.0) {
            None => Ok(()),
            Some((channel, &got)) => {
                let (argument, expected) = ("variance", "variances >= 0");
                Err(ProblemError::Number { argument, expected, index: vec![channel], got })
            }
        }
    }

    fn new<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
        kind: Kind,
        together: Together,
        weights: Option<&Weights<T>>,
    ) -> Result<Problem, ProblemError> {
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let (expected, index) = ("a finite number >= 0", Vec::new());
            return Err(ProblemError::Number { argument: "epsilon", expected, index, got: epsilon });
        }
        one_channel_axis("x", x)?;
        one_channel_axis("dy", dy)?;
        let axes = Axes::of(x);
        same_shape("dy", &axes, &Axes::of(dy))?;
        let (values, shape) = (axes.len(), axes.shape.clone());
        if values > MAX_VALUES {
            return Err(ProblemError::TooLarge { shape, values, limit: MAX_VALUES });
        }
        if values == 0 {
            return Err(ProblemError::Empty { shape });
        }
        let rows = Rows::new(&axes.shape, &axes.roles, together);
        check_vector("gamma", gamma, rows.parameters())?;
        let needed = if matches!(kind, Kind::Constants { .. } | Kind::RootMeanSquare) { 1 } else { 2 };
        if rows.values() < needed {
            let axis = matches!(together, Together::Channel).then(|| axes.channel_axis());
            return Err(ProblemError::SingleValue { shape, axis });
        }
        let (x_values, dy_values) = (by_rows(x, &axes, &rows), by_rows(dy, &axes, &rows));
        let of_x = Held::of(&x_values, Precision::of_type::<T>(), false).precision;
        let of_dy = Held::of(&dy_values, Precision::of_type::<U>(), false).precision;
        let problem = Problem {
            x: x_values,
            dy: dy_values,
            weights: weights.map(|weights| weights_by_rows(weights, &axes, &rows)),
            axes,
            kind,
            rows,
            gamma: gamma.to_vec(),
            epsilon,
            corrections: None,
            narrow_input: size_of::<T>() < 8 || of_x.max(of_dy) < Precision::Double,
            half_input: of_x < Precision::Single,
        };
        problem.check_finite()?;
        problem.check_counting()?;
        Ok(problem)
    }

    /// Whether a value has a weight, by its place in x.
    fn counts(&self, place: usize) -> bool {
        self.weights.as_ref().is_none_or(|weights| weights[place] > 0.0)
    }

    /// Errors where a value that counts is NaN or infinite.
    fn check_finite(&self) -> Result<(), ProblemError> {
        for (argument, values) in [("x", &self.x), ("dy", &self.dy)] {
            let wrong = values.iter().enumerate().find(|&(place, value)| !value.is_finite() && self.counts(place));
            if let Some((place, &got)) = wrong {
                let index = self.index(place / self.rows.values(), place % self.rows.values());
                return Err(ProblemError::Number { argument, expected: "finite values", index, got });
            }
        }
        Ok(())
    }

    /// Errors where fewer than two values of a channel count (one of weight 2 is two that are alike).
    fn check_counting(&self) -> Result<(), ProblemError> {
        let Some(weights) = &self.weights else { return Ok(()) };
        let is_single = |row: &[f64]| row.iter().filter(|&&w| w > 0.0).count() < 2 && row.iter().sum::<f64>() <= 1.0;
        match weights.chunks(self.rows.values()).position(is_single) {
            Some(channel) => Err(ProblemError::SingleCounting { channel }),
            None => Ok(()),
        }
    }

    /// The shape of x, dy and dx.
    pub fn shape(&self) -> &[usize] {
        self.rows.shape()
    }

    /// How many values dgamma and dbeta have.
    pub fn parameters(&self) -> usize {
        self.rows.parameters()
    }

    /// The index in the array of the `i`-th value of a row.
    pub(crate) fn index(&self, row: usize, i: usize) -> Vec<usize> {
        self.rows.index(self.rows.places(row)[i])
    }

    /// Samples and positions of a channel: how batch norm's values a channel come about.
    pub(crate) fn samples_and_positions(&self) -> [usize; 2] {
        [self.rows.samples(), self.rows.positions()]
    }

    /// The first parameter of a row.
    pub(crate) fn first_parameter(&self, row: usize) -> usize {
        match self.rows.together() {
            Together::LastAxes(_) => 0,
            _ => self.rows.channel(row),
        }
    }

    /// The number of values that have one parameter.
    pub(crate) fn values_a_parameter(&self) -> usize {
        self.axes.len() / self.rows.parameters()
    }

    /// Whether dx has a term in mean(dy).
    pub(crate) fn is_centred(&self) -> bool {
        matches!(self.kind, Kind::Batch | Kind::Sample)
    }

    /// Whether dx has a term in mean(dy xhat).
    pub(crate) fn is_scaled(&self) -> bool {
        !matches!(self.kind, Kind::Constants { .. })
    }

    /// Whether values that are normalised together have several gammas.
    pub(crate) fn gamma_varies(&self) -> bool {
        self.rows.sharing() < self.rows.values() && self.gamma.iter().any(|gamma| *gamma != self.gamma[0])
    }

    /// The name of a row, for messages.
    pub(crate) fn row_name(&self) -> &'static str {
        match self.kind {
            Kind::Batch | Kind::Constants { .. } => "channel",
            Kind::Sample | Kind::RootMeanSquare => "row",
        }
    }
}

/// The values that a grouping normalises together.
fn together(grouping: Grouping, axes: &Axes) -> Result<Together, CallError> {
    let shape = axes.shape.clone();
    let channels = shape[axes.channel_axis()];
    match grouping {
        Grouping::Layer { axes } | Grouping::Rms { axes } if axes > shape.len() => {
            Err(CallError::LastAxes { expected: axes, shape })
        }
        Grouping::Layer { axes } | Grouping::Rms { axes } => Ok(Together::LastAxes(axes)),
        Grouping::Group { groups } | Grouping::GroupRms { groups } if !channels.is_multiple_of(groups) => {
            Err(CallError::Groups { groups, channels, shape, axes: vec![axes.channel_axis()] })
        }
        Grouping::Group { groups } | Grouping::GroupRms { groups } => Ok(Together::Groups(groups)),
        Grouping::Instance => Ok(Together::Instance),
    }
}

/// Errors unless a vector has so many finite values.
fn check_vector(argument: &'static str, values: &[f64], expected: usize) -> Result<(), ProblemError> {
    if values.len() != expected {
        return Err(ProblemError::Length { argument, expected, got: values.len(), hint: String::new() });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((i, &got)) => Err(ProblemError::Number { argument, expected: "finite values", index: vec![i], got }),
        None => Ok(()),
    }
}
