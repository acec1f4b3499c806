//! The values of an array that are normalised together, by its shape alone: no number is read for it.

use super::options::Arguments;
use crate::failure::Failure;
use crate::layer_name::LayerName;

/// Values that a feature or row may have.
pub const MOST_OF_ONE: usize = 1 << 16;

/// One feature, or one row, of an array.
pub struct Selection {
    layer: LayerName,
    shape: Vec<usize>,
    pub channel_axis: usize,
    groups: usize,
    /// The number of the channel or row.
    pub number: usize,
    /// Number of channels or rows.
    pub total: usize,
    /// Values of one.
    pub count: usize,
}

/// The word for values that are normalised together.
pub fn unit(layer: LayerName) -> &'static str {
    if layer == LayerName::Batch { "feature" } else { "row" }
}

impl Selection {
    /// Selects and checks; errors call the array `input`.
    pub fn new(input: &str, shape: &[usize], arguments: &Arguments) -> Result<Selection, Failure> {
        let wrong = |message: String| Err(Failure::input(format!("{input}: {message}")));
        let layer = arguments.layer;
        if shape.len() < 2 {
            return wrong(format!(
                "expected at least two axes, samples and channels, got shape {shape:?}; reshape it, as with x[:, None]"
            ));
        }
        let rank = shape.len() as isize;
        let axis = arguments.channel_axis.unwrap_or(1);
        if !(-rank..rank).contains(&axis) {
            let range = format!("{} to {}", -rank, rank - 1);
            return Err(Failure::usage(format!("--channel-axis: expected {range} (shape {shape:?}), got {axis}")));
        }
        let channel_axis = axis.rem_euclid(rank) as usize;
        let channels = shape[channel_axis];
        let values: usize = shape.iter().product();
        let groups = match (layer, arguments.groups) {
            (LayerName::Group, Some(groups)) => groups.get(),
            _ => channels.max(1),
        };
        if !channels.is_multiple_of(groups) {
            return wrong(format!(
                "expected a number of channels that {groups} groups divide evenly, got {channels} (shape {shape:?})"
            ));
        }
        let total = match layer {
            LayerName::Batch => channels,
            LayerName::Norm | LayerName::Rms => shape[0],
            LayerName::Group | LayerName::Instance => shape[sample_axis(channel_axis)] * groups,
        };
        let count = values.checked_div(total).unwrap_or(0);
        // What the layers themselves refuse by default.
        let alone = match layer {
            LayerName::Batch => arguments.running_mean.is_some(),
            LayerName::Instance => false,
            LayerName::Norm | LayerName::Rms | LayerName::Group => true,
        };
        let what = unit(layer);
        if count < if alone { 1 } else { 2 } {
            let least = if alone { "1 value" } else { "2 values" };
            return Err(Failure::refused(format!(
                "{input}: expected at least {least} a {what} to normalise by, got {count} (shape {shape:?}); \
                 give more, or is it another axis or --layer that is meant?"
            )));
        }
        if count > MOST_OF_ONE {
            return wrong(format!(
                "expected at most {MOST_OF_ONE} values a {what}, got {count} (shape {shape:?}); save a part of the array"
            ));
        }
        let (flag, number) = match layer {
            LayerName::Batch => ("--channel", arguments.channel.unwrap_or(0)),
            _ => ("--row", arguments.row.unwrap_or(0)),
        };
        if number >= total {
            return Err(Failure::usage(format!("{flag}: expected 0 to {} (shape {shape:?}), got {number}", total - 1)));
        }
        Ok(Selection { layer, shape: shape.to_vec(), channel_axis, groups, number, total, count })
    }

    /// The index of each value in the array, in the order in which the layer takes them.
    pub fn places(&self) -> Vec<Vec<usize>> {
        let rank = self.shape.len();
        let others: Vec<usize> = (0..rank).filter(|&axis| axis != self.channel_axis).collect();
        let mut first = vec![0; rank];
        let mut lengths = self.shape.clone();
        // Axes along which the values lie, the last one fastest; where they begin, and how far they go.
        let axes: Vec<usize> = match self.layer {
            LayerName::Batch => {
                first[self.channel_axis] = self.number;
                others
            }
            LayerName::Norm | LayerName::Rms => {
                first[0] = self.number;
                (1..rank).collect()
            }
            LayerName::Group | LayerName::Instance => {
                let each = self.shape[self.channel_axis] / self.groups;
                first[sample_axis(self.channel_axis)] = self.number / self.groups;
                first[self.channel_axis] = self.number % self.groups * each;
                lengths[self.channel_axis] = each;
                [&[self.channel_axis], &others[1..]].concat()
            }
        };
        let place = |mut index: usize| {
            let mut place = first.clone();
            for &axis in axes.iter().rev() {
                place[axis] += index % lengths[axis];
                index /= lengths[axis];
            }
            place
        };
        (0..self.count).map(place).collect()
    }

    /// The number of a value's gamma and beta, by its index in the array and its place i in the row.
    pub fn parameter(&self, place: &[usize], i: usize) -> usize {
        match self.layer {
            LayerName::Norm | LayerName::Rms => i,
            LayerName::Batch | LayerName::Group | LayerName::Instance => place[self.channel_axis],
        }
    }

    /// The shape of gamma, and the word for what each value belongs to.
    pub fn parameters(&self) -> (&[usize], &'static str) {
        match self.layer {
            LayerName::Norm | LayerName::Rms => (&self.shape[1..], "element of a row"),
            LayerName::Batch | LayerName::Group | LayerName::Instance => {
                (&self.shape[self.channel_axis..=self.channel_axis], "channel")
            }
        }
    }

    /// Values of one position that follow each other in a channel.
    pub fn positions(&self) -> usize {
        match self.layer {
            LayerName::Group | LayerName::Instance => self.count / (self.shape[self.channel_axis] / self.groups),
            LayerName::Batch | LayerName::Norm | LayerName::Rms => 1,
        }
    }

    /// The place in the array's C order.
    pub fn offset(&self, place: &[usize]) -> usize {
        place.iter().zip(&self.shape).fold(0, |offset, (&index, &length)| offset * length + index)
    }
}

/// The first axis that is not the channels'.
fn sample_axis(channel_axis: usize) -> usize {
    usize::from(channel_axis == 0)
}
