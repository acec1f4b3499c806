//! Which values of a sample are normalised together, and where their parameters are.

use crate::call_error::CallError;
use batchnorm_kernel::passes::{Arrangement, Layout, MIN_RUN};

/// Which values of a sample are normalised together, and which have a gamma and a beta of their own.
///
/// | | together | gamma and beta |
/// |---|---|---|
/// | [`Layer`](Self::Layer) | the last axes, for each index of the others | of each element of the last axes |
/// | [`Rms`](Self::Rms) | the same; the mean counts as 0 | the same |
/// | [`Group`](Self::Group) | a sample's channels of a group, at all positions | of each channel |
/// | [`Instance`](Self::Instance) | one channel of a sample, at all positions | of each channel |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Grouping {
    /// Layer norm (Ba, Kiros and Hinton 2016), over so many of the last axes: those of the array's shape, whatever its
    /// [`Axes`](crate::Axes) call them.
    Layer {
        /// How many axes, 1 or more.
        axes: usize,
    },
    /// Root mean square norm (Zhang and Sennrich 2019): layer norm without the mean. (Of `f64` whose squares are too small
    /// for an `f64`, below 1e-162, and with eps 0, the mean square counts as 0.)
    Rms {
        /// How many axes, 1 or more.
        axes: usize,
    },
    /// Group norm (Wu and He 2018): neighbouring channels in groups of one size. The [`Axes`](crate::Axes) say which
    /// axes are samples, channels and positions.
    Group {
        /// How many groups; a divisor of the channels.
        groups: usize,
    },
    /// Instance norm (Ulyanov, Vedaldi and Lempitsky 2016): each channel of each sample by itself.
    Instance,
}

/// An array's rows, and where their parameters are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowPlan {
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

impl RowPlan {
    pub fn new(grouping: Grouping, layout: &Layout) -> Result<RowPlan, CallError> {
        let shape = layout.shape.clone();
        match grouping {
            Grouping::Layer { axes } | Grouping::Rms { axes } => {
                let rank = shape.len();
                if axes > rank {
                    return Err(CallError::LastAxes { expected: axes, shape });
                }
                // Axes by their place in the logical order, for other arrays may name them in another one.
                let place = |axis: usize| layout.others.iter().position(|&other| other == axis).unwrap_or(rank - 1);
                let split = rank - axes;
                let (rows, values) = ((0..split).map(place).collect(), (split..rank).map(place).collect());
                Ok(RowPlan {
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
                Ok(RowPlan {
                    arrangement: Arrangement { rows, values, groups: Some(groups) },
                    rows: length(samples) * groups,
                    count: channels / groups * positions,
                    positions,
                    period: groups,
                    shape: vec![channels],
                    by_channels: positions >= MIN_RUN,
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
    pub fn with_channels_for_rows(&self) -> Arrangement {
        Arrangement { groups: Some(self.shape[0]), ..self.arrangement.clone() }
    }

    /// A value of each parameter, for each element of the rows.
    pub fn elements(&self, parameters: &[f64]) -> Vec<f64> {
        parameters.iter().flat_map(|&value| std::iter::repeat_n(value, self.positions)).collect()
    }

    /// Rewrites a length error in terms of the element shape.
    pub fn in_elements(&self, error: CallError) -> CallError {
        match error {
            CallError::Length { argument, expected, got } if self.arrangement.groups.is_none() => {
                CallError::ElementLength { argument, expected, got, shape: self.shape.clone() }
            }
            other => other,
        }
    }
}
