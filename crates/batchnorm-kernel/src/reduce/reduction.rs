//! The reduction of a chunk to a value, and the scratch for it.

use super::chunk::{Chunk, Columns, LANES};
use super::tree::Merge;
use crate::machine::vector::WIDTH;

/// Reduces one chunk of `N` arrays to a value.
pub(crate) trait ChunkReduction<T, const N: usize>: Sync {
    type Value: Merge;
    /// Whether [`rows`](Self::rows) takes planes.
    const TAKES_PLANES: bool;

    /// One channel.
    fn run(&self, channel: usize, chunk: &Chunk<T, N>) -> Self::Value;

    /// Neighbouring channels in rows, with the same bits, appended to `out`: a value for each channel.
    fn rows(&self, chunk: [Columns<T>; N], tables: &mut Tables, out: &mut Vec<Self::Value>);
}

/// Reduces channels to a result, by way of their chunks.
pub(crate) trait Reduction<T, const N: usize>: Sync {
    type Result: Copy + Send;
    type Chunks: ChunkReduction<T, N>;
    type Careful: ChunkReduction<T, N, Value = Self::Result>;

    /// What is done first.
    fn chunks(&self) -> &Self::Chunks;
    /// The result, from the chunks' values joined; `None` where these do not tell it well enough.
    fn result(
        &self,
        channel: usize,
        count: usize,
        joined: <Self::Chunks as ChunkReduction<T, N>>::Value,
    ) -> Option<Self::Result>;
    /// What is done to a channel without a result.
    fn careful(&self) -> &Self::Careful;
}

/// The chunks' values joined are the result.
pub(crate) struct Joined<C>(pub C);

impl<T, C: ChunkReduction<T, N>, const N: usize> Reduction<T, N> for Joined<C> {
    type Result = C::Value;
    type Chunks = C;
    type Careful = C;

    fn chunks(&self) -> &C {
        &self.0
    }
    #[inline]
    fn result(&self, _: usize, _: usize, joined: C::Value) -> Option<C::Value> {
        Some(joined)
    }
    fn careful(&self) -> &C {
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
