//! The reduction of a chunk to a value, and the scratch for it.

use super::chunk::{Chunk, Columns, LANES};
use super::tree::Merge;
use crate::machine::vector::WIDTH;

/// Reduces one chunk of `N` arrays to a value.
pub(crate) trait ChunkReduction<T, const N: usize>: Sync {
    type Value: Merge;
    /// Whether [`rows`](Self::rows) takes planes.
    fn takes_planes(&self) -> bool;

    /// One channel.
    fn run(&self, channel: usize, chunk: &Chunk<T, N>) -> Self::Value;

    /// Neighbouring channels in rows, with the same bits, appended to `out`: a value for each channel.
    fn rows(&self, chunk: [Columns<T>; N], tables: &mut Tables, out: &mut Vec<Self::Value>);
}

/// Reduces channels to a result, by way of their chunks.
pub(crate) trait Reduction<T, const N: usize>: Sync {
    type Value: Merge;
    type Result: Merge;

    /// What is done first.
    fn chunks(&self) -> &dyn ChunkReduction<T, N, Value = Self::Value>;
    /// The result, from the chunks' values joined; `None` where these do not tell it well enough.
    fn result(&self, channel: usize, count: usize, joined: Self::Value) -> Option<Self::Result>;
    /// The results of neighbouring channels from `first` on, up to the first one without: all, nearly always.
    fn results(&self, first: usize, count: usize, joined: &[Self::Value]) -> Vec<Self::Result> {
        let mut told = Vec::with_capacity(joined.len());
        for (at, &joined) in joined.iter().enumerate() {
            let Some(value) = self.result(first + at, count, joined) else { break };
            told.push(value);
        }
        told
    }
    /// What is done to a channel without a result.
    fn careful(&self) -> &dyn ChunkReduction<T, N, Value = Self::Result>;
}

/// The chunks' values joined are the result.
pub(crate) struct Joined<C>(pub C);

impl<T, C: ChunkReduction<T, N>, const N: usize> Reduction<T, N> for Joined<C> {
    type Value = C::Value;
    type Result = C::Value;

    fn chunks(&self) -> &dyn ChunkReduction<T, N, Value = C::Value> {
        &self.0
    }
    #[inline(always)]
    fn result(&self, _: usize, _: usize, joined: C::Value) -> Option<C::Value> {
        Some(joined)
    }
    fn careful(&self) -> &dyn ChunkReduction<T, N, Value = C::Value> {
        &self.0
    }
}

/// Scratch for the lanes of a block of channels, and for vectors of constants.
#[derive(Default)]
pub(crate) struct Tables {
    first: Vec<f64>,
    second: Vec<f64>,
    constants: Vec<f64>,
}

impl Tables {
    /// Two tables of the lanes that so many rows come to, and room for constants, for so many vectors of columns.
    pub fn of(&mut self, vectors: usize, rows: usize, constants: usize) -> ([&mut [f64]; 2], &mut [f64]) {
        let line = vectors * WIDTH;
        let room = |vector: &mut Vec<f64>, len: usize| vector.resize(vector.len().max(len), 0.0);
        let lanes = rows.min(LANES);
        room(&mut self.first, lanes * line);
        room(&mut self.second, lanes * line);
        room(&mut self.constants, constants * line);
        ([&mut self.first, &mut self.second], &mut self.constants[..constants * line])
    }
}
