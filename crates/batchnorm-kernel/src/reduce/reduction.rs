//! The reduction of a chunk to a value, and the scratch for it.

use super::chunk::{Chunk, Columns};
use super::tree::Merge;
use crate::kept::Room;
use crate::machine::vector::WIDTH;
use crate::number::Stored;

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
    /// The results of neighbouring channels from `first` on, up to the first one without: all, nearly always. Where it is not
    /// all, the values come back too.
    fn results(&self, first: usize, count: usize, joined: Vec<Self::Value>) -> (Vec<Self::Result>, Vec<Self::Value>) {
        let mut told = Vec::with_capacity(joined.len());
        for (at, &joined) in joined.iter().enumerate() {
            let Some(value) = self.result(first + at, count, joined) else { break };
            told.push(value);
        }
        (told, joined)
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
    fn results(&self, _: usize, _: usize, joined: Vec<C::Value>) -> (Vec<C::Value>, Vec<C::Value>) {
        (joined, Vec::new())
    }
    fn careful(&self) -> &dyn ChunkReduction<T, N, Value = C::Value> {
        &self.0
    }
}

/// Scratch for the lanes of a block of channels, and for vectors of constants.
#[derive(Default)]
pub(crate) struct Tables {
    lanes: [Room; 2],
    constants: Room,
}

impl Tables {
    /// Two tables for the lanes of some columns, and room for so many constants of them.
    pub fn of<T: Stored>(&mut self, columns: &Columns<T>, constants: usize) -> ([&mut [f64]; 2], &mut [f64]) {
        let line = columns.vectors() * WIDTH;
        let lanes = columns.lines() * line;
        (
            self.lanes.each_mut().map(|room| room.at_least(lanes)),
            &mut self.constants.at_least(constants * line)[..constants * line],
        )
    }
}
