//! Rows: the values that a layer normalises together, by their places in an array in C order.

use super::layer::Layer;

/// The places of values that are normalised together, in ascending order.
#[derive(Debug, Clone)]
pub struct Row {
    pub places: Vec<usize>,
    /// The channel that its first value is of; of layer and RMS norm the number of the row.
    pub channel: usize,
}

impl Row {
    /// This row's part of an array.
    pub fn of<T: Copy>(&self, array: &[T]) -> Vec<T> {
        self.places.iter().map(|&place| array[place]).collect()
    }

    /// Writes this row's part of an array.
    pub fn put<T>(&self, values: impl IntoIterator<Item = T>, array: &mut [T]) {
        self.places.iter().zip(values).for_each(|(&place, value)| array[place] = value);
    }
}

/// Lengths of the axes, and which of them holds the channels.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    pub shape: &'a [usize],
    pub channel_axis: usize,
}

impl Grid<'_> {
    /// The index of a place along one axis.
    fn along(&self, axis: usize, place: usize) -> usize {
        place / self.shape[axis + 1..].iter().product::<usize>() % self.shape[axis]
    }

    pub fn channel(&self, place: usize) -> usize {
        self.along(self.channel_axis, place)
    }

    /// The axis of the samples: the first one that is not the channels'.
    fn sample_axis(&self) -> usize {
        usize::from(self.channel_axis == 0)
    }

    fn sample(&self, place: usize) -> usize {
        self.along(self.sample_axis(), place)
    }

    pub fn samples(&self) -> usize {
        self.shape[self.sample_axis()]
    }

    /// The number of values that share the first index: those that layer and RMS norm normalise together.
    fn after_first_axis(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// The number of a value's gamma and beta.
    pub fn parameter(&self, layer: Layer, place: usize) -> usize {
        if layer.has_element_parameters() { place % self.after_first_axis() } else { self.channel(place) }
    }

    /// The index of a place along each axis.
    pub fn index(&self, place: usize) -> Vec<usize> {
        (0..self.shape.len()).map(|axis| self.along(axis, place)).collect()
    }

    /// The rows of a layer, of group norm with so many `groups`, of ghost batches of so many samples.
    pub fn rows(&self, layer: Layer, groups: usize, ghost: usize) -> Vec<Row> {
        let channels = self.shape[self.channel_axis];
        let number = |place: usize| match layer {
            Layer::Norm | Layer::Rms => place / self.after_first_axis(),
            Layer::Group => self.sample(place) * groups + self.channel(place) / (channels / groups),
            Layer::Instance => self.sample(place) * channels + self.channel(place),
            Layer::Ghost => self.sample(place) / ghost * channels + self.channel(place),
            _ => self.channel(place),
        };
        let most = self.shape[0].max(self.samples()) * channels.max(groups);
        let mut rows = vec![Row { places: Vec::new(), channel: 0 }; most];
        for place in 0..self.shape.iter().product() {
            let row = number(place);
            rows[row].channel = if layer.has_element_parameters() { row } else { self.channel(place) };
            rows[row].places.push(place);
        }
        rows.retain(|row| !row.places.is_empty());
        rows
    }
}
