//! A labelled set that is read by place, from disk or from memory.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::error::DataError;
use super::examples::{Examples, Shape};

/// Where the values of examples come from.
pub(super) trait Source: Send {
    /// Appends the values of the example at a place of the source. Those of pictures are in 0..=1.
    fn read(&mut self, place: usize, into: &mut Vec<f32>) -> Result<(), DataError>;
}

/// A labelled set. Its labels are in memory; its values are read when they are asked for.
pub struct Set {
    shape: Shape,
    /// The class of each example of this set.
    classes: Vec<u8>,
    /// The place of each in the source.
    places: Vec<u32>,
    source: std::sync::Arc<Mutex<dyn Source>>,
}

impl Set {
    pub(super) fn new(shape: Shape, classes: Vec<u8>, source: impl Source + 'static) -> Set {
        let places = (0..classes.len() as u32).collect();
        Set { shape, classes, places, source: std::sync::Arc::new(Mutex::new(source)) }
    }

    /// A set of examples in memory.
    pub fn in_memory(shape: Shape, examples: Examples) -> Set {
        let classes = examples.classes.clone();
        Set::new(shape, classes, examples)
    }

    /// The shape of each example.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The class of each example.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// The part of the set at these places, in this order. It reads from where this set does.
    ///
    /// # Panics
    /// If there is no example at one of the places.
    pub fn part(&self, places: &[usize]) -> Set {
        Set {
            shape: self.shape,
            classes: places.iter().map(|&at| self.classes[at]).collect(),
            places: places.iter().map(|&at| self.places[at]).collect(),
            source: std::sync::Arc::clone(&self.source),
        }
    }

    /// The examples of these classes, of which the first is class 0 now.
    pub(super) fn of_classes(&self, kept: &[u8]) -> Set {
        let place = |class: &u8| kept.iter().position(|kept| kept == class);
        let places: Vec<usize> = (0..self.len()).filter(|&at| place(&self.classes[at]).is_some()).collect();
        let part = self.part(&places);
        Set { classes: part.classes.iter().filter_map(|class| place(class).map(|place| place as u8)).collect(), ..part }
    }

    /// Reads the examples at these places, in this order.
    ///
    /// # Errors
    /// A file that cannot be read any more, or was changed since it was looked at.
    ///
    /// # Panics
    /// If there is no example at one of the places.
    pub fn read(&self, places: &[usize]) -> Result<Examples, DataError> {
        let mut examples =
            Examples { values: Vec::with_capacity(places.len() * self.shape.values()), classes: Vec::new() };
        // (A panic while it was locked leaves a source as it was: it is read only.)
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        for &at in places {
            source.read(self.places[at] as usize, &mut examples.values)?;
            examples.classes.push(self.classes[at]);
        }
        Ok(examples)
    }

    /// The set in portions of at most `size` examples, in its order.
    pub fn portions(&self, size: usize) -> impl Iterator<Item = Result<Examples, DataError>> {
        let places: Vec<usize> = (0..self.len()).collect();
        let starts = (0..self.len()).step_by(size.max(1));
        starts.map(move |start| self.read(&places[start..places.len().min(start + size)]))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("shape", &self.shape).field("examples", &self.len()).finish_non_exhaustive()
    }
}

impl Source for Examples {
    fn read(&mut self, place: usize, into: &mut Vec<f32>) -> Result<(), DataError> {
        let width = self.width();
        into.extend(&self.values[place * width..][..width]);
        Ok(())
    }
}
