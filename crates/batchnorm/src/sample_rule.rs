//! Norms that do not look at the batch, without state: which values go together, and the forward pass.
//!
//! What is normalised together is a *row*. There are two ways, and the sizes alone say which, so that the bits do not
//! depend on the layout:
//!
//! - groups with [`RUN`] positions or more: the kernels of batch norm, with each channel of each sample for a channel;
//!   what these give is put together for each row here, in a fixed order;
//! - all others: `kernel/rows.rs`, where each element of a row has parameters of its own.

use crate::affine::inverse_deviation;
use crate::config::Activation;
use crate::element::{Element, Parameter};
use crate::error::CallError;
use crate::kernel::pointwise::Coefficients;
use crate::kernel::raw::Isa;
use crate::kernel::reduce::RUN;
use crate::kernel::row_formulas::{Elements, RowNumbers};
use crate::layout::{Arrangement, Layout};
use crate::moments::Moments;
use crate::rule::{Parameters, Widened, mean_or_nan, same_shape, shifted};
use crate::sample_norm::Grouping;
use crate::sample_saved::SampleSaved;
use crate::view::{View, ViewMut};

/// Grouping, eps and instruction set, checked: the formula without state, for frameworks that keep parameters
/// themselves. [`SampleNorm`](crate::SampleNorm) keeps parameters around this.
///
/// ```
/// use batchnorm::{Axes, Parameters, SampleConfig, View, ViewMut};
/// let rule = SampleConfig::group(2).rule()?;
/// let x = [1.0f32, 3.0, 10.0, 30.0]; // a sample of 4 channels
/// let x = View::new(&x, &[1, 4], Axes::NCHW)?;
/// let mut y = [0.0f32; 4];
/// let parameters = Parameters { gamma: Some(&[1.0f32, 1.0, 1.0, 2.0]), beta: None };
/// let saved = rule.forward(&x, parameters, &mut ViewMut::new(&mut y, &[1, 4], Axes::NCHW)?)?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[3] - 2.0).abs() < 1e-4);
/// assert_eq!(saved.rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SampleRule {
    pub(crate) grouping: Grouping,
    pub(crate) epsilon: f64,
    pub(crate) declared_zero: bool,
    pub(crate) isa: Isa,
}

/// An array's rows, and where their parameters are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub arrangement: Arrangement,
    pub rows: usize,
    /// Values a row.
    pub count: usize,
    /// Neighbouring values of a row that share gamma and beta.
    pub positions: usize,
    /// Rows after which the parameters begin again.
    pub period: usize,
    /// What gamma and beta have one value for each element of.
    pub shape: Vec<usize>,
    /// Whether a channel's positions are enough for the kernels of batch norm.
    pub by_channels: bool,
}

impl Frame {
    pub fn new(grouping: Grouping, layout: &Layout) -> Result<Frame, CallError> {
        let shape = layout.shape.clone();
        match grouping {
            Grouping::Layer { axes } | Grouping::Rms { axes } => {
                let rank = shape.len();
                if axes > rank {
                    return Err(CallError::LastAxes { expected: axes, shape });
                }
                // Axes by their place in the logical order, for other arrays may name them in another one.
                let of = |axis: usize| layout.others.iter().position(|&other| other == axis).unwrap_or(rank - 1);
                let split = rank - axes;
                let (rows, values) = ((0..split).map(of).collect(), (split..rank).map(of).collect());
                Ok(Frame {
                    arrangement: Arrangement { rows, values, groups: None },
                    rows: shape[..split].iter().product(),
                    count: shape[split..].iter().product(),
                    positions: 1,
                    period: 1,
                    shape: shape[split..].to_vec(),
                    by_channels: false,
                })
            }
            Grouping::Group { .. } | Grouping::Instance => {
                let channels = layout.channels();
                let groups = if let Grouping::Group { groups } = grouping { groups } else { channels };
                if !channels.is_multiple_of(groups) {
                    return Err(CallError::Groups { groups, channels, shape, axis: layout.channel_axis });
                }
                let length = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
                let (samples, spaces) = layout.others.split_at(layout.samples);
                let positions = length(spaces);
                if grouping == Grouping::Instance && positions == 1 {
                    return Err(CallError::SinglePosition { shape });
                }
                let (rows, values) = ((0..layout.samples).collect(), (layout.samples..layout.others.len()).collect());
                Ok(Frame {
                    arrangement: Arrangement { rows, values, groups: Some(groups) },
                    rows: length(samples) * groups,
                    count: channels / groups * positions,
                    positions,
                    period: groups,
                    shape: vec![channels],
                    by_channels: positions >= RUN,
                })
            }
        }
    }

    pub fn parameters(&self) -> usize {
        self.shape.iter().product()
    }

    /// The row of a channel of a sample, numbered through all samples, and the channel.
    pub fn row_and_channel(&self, number: usize) -> (usize, usize) {
        let (channels, groups) = (self.shape[0], self.period);
        let channel = number % channels;
        (number / channels * groups + channel / (channels / groups), channel)
    }

    /// The channels of a row, of all samples.
    pub fn channels_of(&self, row: usize) -> std::ops::Range<usize> {
        let each = self.shape[0] / self.period;
        row * each..(row + 1) * each
    }

    /// The arrangement with channels of samples for rows.
    pub fn of_channels(&self) -> Arrangement {
        Arrangement { groups: Some(self.shape[0]), ..self.arrangement.clone() }
    }

    /// A value of each parameter, for each element of the rows.
    pub fn elements(&self, parameters: &[f64]) -> Vec<f64> {
        parameters.iter().flat_map(|&value| std::iter::repeat_n(value, self.positions)).collect()
    }

    /// What is wrong with a length, by the elements that have one value each.
    pub fn of_elements(&self, error: CallError) -> CallError {
        match error {
            CallError::Length { argument, expected, got } if self.arrangement.groups.is_none() => {
                CallError::ElementLength { argument, expected, got, shape: self.shape.clone() }
            }
            other => other,
        }
    }
}

impl SampleRule {
    /// The forward pass, into `y`; what it computes is at [`SampleNorm`](crate::SampleNorm). Absent parameters count as 1
    /// and 0. The lengths of gamma and beta are the product of the last axes (last axis fastest), or the channels.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit, groups that do not divide the channels, instance norm of one position. `y` is
    /// untouched then.
    pub fn forward<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<SampleSaved, CallError> {
        let frame = Frame::new(self.grouping, &x.layout)?;
        same_shape("y", &x.layout, &y.layout)?;
        let widened = parameters.widened(frame.parameters()).map_err(|error| frame.of_elements(error))?;
        let moments = if x.layout.is_empty() {
            Vec::new()
        } else if frame.by_channels {
            self.channels_forward(&frame, x, &widened, y)
        } else {
            self.rows_forward(&frame, x, &widened, y)
        };
        let numbers = moments.iter().map(|moments| {
            let [mean, inverse, lag] = self.numbers(moments);
            [mean, if self.declared_zero && self.is_still(moments) { 0.0 } else { inverse }, lag]
        });
        Ok(SampleSaved {
            isa: self.isa.tier(),
            centred: self.is_centred(),
            input: x.layout.logical_shape(),
            numbers: numbers.collect(),
            gamma: widened.gamma,
            frame,
        })
    }

    fn is_centred(&self) -> bool {
        !matches!(self.grouping, Grouping::Rms { .. })
    }

    /// Whether there is nothing to normalise by.
    fn is_still(&self, moments: &Moments) -> bool {
        moments.is_constant() && (self.is_centred() || moments.mean() == 0.0)
    }

    /// What gives xhat; NaN where the row is not finite, so that all of its output is.
    fn numbers(&self, moments: &Moments) -> RowNumbers {
        if self.is_centred() {
            let (mean, rest) = mean_or_nan(moments);
            let inverse = inverse_deviation(moments.population_variance(), self.epsilon);
            return [mean, inverse, rest * inverse];
        }
        let (mean, rest) = moments.mean_pair();
        let mean = mean + rest;
        let square = mean * mean + moments.population_variance();
        let inverse = if square.is_finite() { inverse_deviation(square, self.epsilon) } else { f64::NAN };
        [0.0, inverse, 0.0]
    }

    fn rows_forward<T: Element>(
        &self,
        frame: &Frame,
        x: &View<T>,
        Widened { gamma, beta }: &Widened,
        y: &mut ViewMut<T>,
    ) -> Vec<Moments> {
        let joined = Layout::joined([&x.layout, &y.layout], &frame.arrangement);
        let parts = x.memory.rearranged(&x.layout, &frame.arrangement, joined);
        let outs = y.memory.rearranged(&y.layout, &frame.arrangement, joined);
        let (gamma, beta) = (frame.elements(gamma), frame.elements(beta));
        let elements = Elements { vectors: [&gamma, &beta], period: frame.period };
        let mut all = Vec::with_capacity(frame.rows);
        for (x, mut y) in parts.iter().zip(outs) {
            let of = |_, moments: Moments| self.numbers(&moments);
            all.extend(T::normalize_rows(self.isa, all.len(), x, &mut y, elements, &of));
        }
        all
    }

    fn channels_forward<T: Element>(
        &self,
        frame: &Frame,
        x: &View<T>,
        Widened { gamma, beta }: &Widened,
        y: &mut ViewMut<T>,
    ) -> Vec<Moments> {
        let arrangement = frame.of_channels();
        let joined = Layout::joined([&x.layout, &y.layout], &arrangement);
        let parts = x.memory.rearranged(&x.layout, &arrangement, joined);
        let outs = y.memory.rearranged(&y.layout, &arrangement, joined);
        let coefficients = |moments: &Moments, channel: usize| {
            let (mean, rest) = mean_or_nan(moments);
            let scale = gamma[channel] * inverse_deviation(moments.population_variance(), self.epsilon);
            [mean, scale, shifted(beta[channel], rest, scale)]
        };
        if frame.count == frame.positions {
            // A row is a channel: at once.
            let mut all = Vec::with_capacity(frame.rows);
            for (x, mut y) in parts.iter().zip(outs) {
                let first = all.len();
                let of = |at, moments: Moments| coefficients(&moments, frame.row_and_channel(first + at).1);
                all.extend(T::train(self.isa, Activation::Identity, x, None, &mut y, &of));
            }
            return all;
        }
        let all: Vec<Moments> = parts.iter().flat_map(|x| T::moments(self.isa, x)).collect();
        let rows = 0..frame.rows;
        let moments: Vec<Moments> = rows.map(|row| joint(&all[frame.channels_of(row)], &Moments::merge)).collect();
        let each = all.len() / parts.len();
        for (part, (x, mut y)) in parts.iter().zip(outs).enumerate() {
            let of = Coefficients::new(each, |at| {
                let (row, channel) = frame.row_and_channel(part * each + at);
                coefficients(&moments[row], channel)
            });
            T::normalize(self.isa, Activation::Identity, x, None, &mut y, of);
        }
        moments
    }
}

/// Neighbours joined pairwise, halves onto each other; of at least one.
pub(crate) fn joint<V: Copy>(values: &[V], join: &impl Fn(V, V) -> V) -> V {
    match *values {
        [one] => one,
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            join(joint(left, join), joint(right, join))
        }
    }
}
