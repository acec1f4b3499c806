//! What a map takes: arrays, or the output itself.

use super::loops::MapLoops;
use crate::array::geometry::Geometry;
use crate::array::memory::Readable;
use crate::array::prefetch_distance::PREFETCH_BYTES;
use crate::machine::Machine;

/// An input of a map.
#[derive(Debug)]
pub(crate) enum Source<'a, T> {
    /// An array that is only read.
    Array(&'a Readable<'a, T>),
    /// The first output, as it was before.
    Own,
}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

impl<'a, T: Copy> Source<'a, T> {
    pub fn geometry(self, out: &'a Geometry) -> &'a Geometry {
        match self {
            Source::Array(array) => array.geometry(),
            Source::Own => out,
        }
    }

    /// The array to read, where `own` is the output.
    pub fn or(self, own: &'a Readable<'a, T>) -> &'a Readable<'a, T> {
        match self {
            Source::Array(array) => array,
            Source::Own => own,
        }
    }
}

/// A map: a formula over inputs, of values of the same places.
pub(crate) struct Map<'a, T, const N: usize, const K: usize, const O: usize> {
    pub machine: &'a Machine,
    pub formula: &'a dyn MapLoops<T, N, K, O>,
    pub arrays: [Source<'a, T>; N],
}

impl<T, const N: usize, const K: usize, const O: usize> Clone for Map<'_, T, N, K, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, const N: usize, const K: usize, const O: usize> Copy for Map<'_, T, N, K, O> {}

impl<T, const N: usize, const K: usize, const O: usize> Map<'_, T, N, K, O> {
    /// How many elements ahead to prefetch.
    pub fn ahead(&self) -> [isize; N] {
        [(PREFETCH_BYTES / size_of::<T>()) as isize; N]
    }

    /// How many elements ahead to prefetch, with `own` for what is copied of the output.
    pub fn distances(&self, distances: [isize; N], own: isize) -> [isize; N] {
        std::array::from_fn(|n| if let Source::Own = self.arrays[n] { own } else { distances[n] })
    }

    /// True where the output is an input as well.
    pub fn is_own(&self) -> bool {
        self.arrays.iter().any(|array| matches!(array, Source::Own))
    }
}
