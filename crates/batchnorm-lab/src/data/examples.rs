//! Examples in memory: the numbers that a network sees, and the class of each.

use serde::{Deserialize, Serialize};

/// The shape of an example: channels of rows and columns. A row of a table has its features as channels of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Colours of a picture, or features.
    pub channels: usize,
    /// Rows of a picture.
    pub rows: usize,
    /// Columns of a picture.
    pub columns: usize,
}

impl Shape {
    /// The shape of a row of a table.
    pub fn features(features: usize) -> Shape {
        Shape { channels: features, rows: 1, columns: 1 }
    }

    /// Values of a channel.
    pub fn plane(self) -> usize {
        self.rows * self.columns
    }

    /// Values of an example.
    pub fn values(self) -> usize {
        self.channels * self.plane()
    }

    /// Tells whether a convolution has anything to slide over.
    pub fn is_picture(self) -> bool {
        self.plane() > 1
    }
}

/// `3x32x32`, or `30 features`.
impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_picture() {
            true => write!(f, "{}x{}x{}", self.channels, self.rows, self.columns),
            false => write!(f, "{} features", self.channels),
        }
    }
}

/// Examples with their classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Examples {
    /// All values, example after example, each channel after channel, row after row. Those of pictures are in 0..=1.
    pub values: Vec<f32>,
    /// The class of each example.
    pub classes: Vec<u8>,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Values of each; 0 where there is none.
    pub fn width(&self) -> usize {
        self.values.len().checked_div(self.len()).unwrap_or(0)
    }

    /// The examples at these places, in this order.
    ///
    /// # Panics
    /// If there is no example at one of the places.
    pub fn select(&self, places: &[usize]) -> Examples {
        let width = self.width();
        Examples {
            values: places.iter().flat_map(|at| &self.values[at * width..][..width]).copied().collect(),
            classes: places.iter().map(|&at| self.classes[at]).collect(),
        }
    }
}
