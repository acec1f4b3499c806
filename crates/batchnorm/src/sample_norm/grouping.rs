//! Groupings: the values of a sample that are normalised together, and the places of their parameters.

use crate::call_error::CallError;
use batchnorm_kernel::passes::{Arrangement, Layout, MIN_RUN, Readable, Writable};
use batchnorm_kernel::{Element, View, ViewMut};

/// The values of a sample that are normalised together, and those that have a gamma and a beta of their own.
///
/// | | together | gamma and beta |
/// |---|---|---|
/// | [`Layer`](Self::Layer) | the last axes, for each index of the others | of each element of the last axes |
/// | [`Rms`](Self::Rms) | the same; the mean counts as 0 | the same |
/// | [`Group`](Self::Group) | a sample's channels of a group, at all positions | of each channel |
/// | [`GroupRms`](Self::GroupRms) | the same; the mean counts as 0 | the same |
/// | [`Instance`](Self::Instance) | one channel of a sample, at all positions | of each channel |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Grouping {
    /// Layer norm (Ba, Kiros and Hinton 2016), over so many of the last axes: those of the array's shape, whatever its
    /// [`Axes`](crate::Axes) call them.
    Layer {
        /// Number of axes, 1 or more.
        axes: usize,
    },
    /// Root mean square norm (Zhang and Sennrich 2019): layer norm without the mean. (Of `f64` whose squares are too
    /// small for an `f64`, below 1e-162, and with eps 0, the mean square counts as 0.)
    Rms {
        /// Number of axes, 1 or more.
        axes: usize,
    },
    /// Group norm (Wu and He 2018): neighbouring channels in groups of one size. The [`Axes`](crate::Axes) say which
    /// axes are samples, channels and positions. With several channel axes a group is made of whole axes and an equal part of one.
    Group {
        /// Number of groups; a divisor of the channels.
        groups: usize,
    },
    /// Grouped root mean square norm: group norm without the mean, as in Mamba-2 (Dao and Gu 2024), whose norm in front of
    /// the output projection has a group for each device.
    GroupRms {
        /// Number of groups; a divisor of the channels.
        groups: usize,
    },
    /// Instance norm (Ulyanov, Vedaldi and Lempitsky 2016): each channel of each sample by itself.
    Instance,
}

impl Grouping {
    /// What is normalised together, in words.
    pub fn together(self) -> &'static str {
        match self {
            Grouping::Layer { .. } | Grouping::Rms { .. } => "the last axes",
            Grouping::Group { .. } | Grouping::GroupRms { .. } => "a sample's channels of a group, at all positions",
            Grouping::Instance => "a sample's channel, at all positions",
        }
    }

    /// Whether the mean is taken off: by all but the two RMS norms, which divide by the root mean square alone.
    pub fn is_centred(self) -> bool {
        !matches!(self, Grouping::Rms { .. } | Grouping::GroupRms { .. })
    }
}

/// An array's rows (what is normalised together), and the places of their parameters.
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
    /// The axes for each element of which gamma and beta have one value.
    pub shape: Vec<usize>,
    /// True if a channel has positions enough for the kernels of batch norm.
    pub by_channels: bool,
}

impl RowPlan {
    /// The rows of an array of this layout.
    ///
    /// # Errors
    /// Too few axes; groups that do not divide the channels evenly, or hold parts of several axes.
    pub fn new(grouping: Grouping, layout: &Layout) -> Result<RowPlan, CallError> {
        let shape = layout.shape.clone();
        match grouping {
            Grouping::Layer { axes } | Grouping::Rms { axes } => {
                let rank = shape.len();
                if axes > rank {
                    return Err(CallError::LastAxes { expected: axes, shape });
                }
                // Axes by their place in the logical order, for the other arrays of a call may have them in another
                // order of their own.
                let place = |axis: usize| layout.place(axis);
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
            Grouping::Group { .. } | Grouping::GroupRms { .. } | Grouping::Instance => {
                let channels = layout.channels();
                let groups = match grouping {
                    Grouping::Group { groups } | Grouping::GroupRms { groups } => groups,
                    _ => channels,
                };
                if !channels.is_multiple_of(groups) {
                    return Err(CallError::Groups { groups, channels, shape, axes: layout.channel_axes.clone() });
                }
                if !layout.has_groups(groups) {
                    return Err(CallError::StraddlingGroups {
                        groups,
                        channels,
                        shape,
                        axes: layout.channel_axes.clone(),
                    });
                }
                let length = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
                let (samples, spaces) = layout.others.split_at(layout.samples);
                let positions = length(spaces);
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

    /// Number of values that gamma and beta have each.
    pub fn parameters(&self) -> usize {
        self.shape.iter().product()
    }

    /// The row and the channel of the `number`-th channel, counted through all samples.
    pub fn row_and_channel(&self, number: usize) -> (usize, usize) {
        let (channels, groups) = (self.shape[0], self.period);
        let channel = number % channels;
        (number / channels * groups + channel / (channels / groups), channel)
    }

    /// The channel of an element of a row.
    pub fn channel_of(&self, row: usize, element: usize) -> usize {
        row % self.period * (self.shape[0] / self.period) + element / self.positions
    }

    /// The channels of a row, counted through all samples.
    pub fn channels_of(&self, row: usize) -> std::ops::Range<usize> {
        let per_row = self.shape[0] / self.period;
        row * per_row..(row + 1) * per_row
    }

    /// The arrangement in which each channel of each sample is a row.
    pub fn with_channels_for_rows(&self) -> Arrangement {
        Arrangement { groups: Some(self.shape[0]), ..self.arrangement.clone() }
    }

    /// The parameters repeated to one value for each element of a row.
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

/// The arrays of a call in parts, as the loops take them: those that are read, and the one that is written.
pub(crate) type Parts<'a, T, const N: usize> = (Vec<[Readable<'a, T>; N]>, Vec<Writable<'a, T>>);

/// Cuts arrays of one shape into parts in which rows stand for channels: as few parts as the strides of all of them
/// allow.
pub(crate) fn in_parts<'a, T: Element, const N: usize>(
    arrays: [&'a View<T>; N],
    out: &'a mut ViewMut<T>,
    arrangement: &Arrangement,
) -> Parts<'a, T, N> {
    let (parts, outs) = all_in_parts(&arrays.map(|array| (array.layout(), array.memory())), out, arrangement);
    let of_part = |part: Vec<_>| part.try_into().unwrap_or_else(|_| unreachable!("as many as there are arrays"));
    (parts.into_iter().map(of_part).collect(), outs)
}

/// The same of any number of arrays, with how each lies.
pub(crate) fn all_in_parts<'a, T: Element>(
    arrays: &[(&Layout, &'a Readable<T>)],
    out: &'a mut ViewMut<T>,
    arrangement: &Arrangement,
) -> (Vec<Vec<Readable<'a, T>>>, Vec<Writable<'a, T>>) {
    let layout = out.layout().clone();
    let joined = Layout::joined(arrays.iter().map(|array| array.0).chain([&layout]), arrangement);
    let outs = out.memory().rearranged(&layout, arrangement, joined);
    let of =
        |&(layout, memory): &(&Layout, &'a Readable<T>)| memory.rearranged(layout, arrangement, joined).into_iter();
    let mut parts: Vec<_> = arrays.iter().map(of).collect();
    let next = |_: &_| parts.iter_mut().map(|parts| parts.next().expect("all arrays have as many parts")).collect();
    (outs.iter().map(next).collect(), outs)
}
