//! Coefficients of all channels, as the loops read them.

#![allow(clippy::needless_range_loop)]

use super::formulas::InOrder;
use crate::kept::{Room, Vectors};
use crate::machine::vector::WIDTH;
use std::ops::Range;

/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const MIN_COEFFICIENTS: usize = 64;

/// The coefficients of all channels, each kind in a vector of its own.
#[derive(Debug)]
pub(crate) enum Coefficients<'c, const K: usize> {
    /// Vectors that somebody has.
    Borrowed([&'c [f64]; K]),
    /// Vectors of our own.
    Own(Vectors<K>),
}

impl<'c, const K: usize> Coefficients<'c, K> {
    /// From what each channel has.
    pub fn new<C: InOrder<K>>(channels: usize, of_channel: impl Fn(usize) -> C) -> Self {
        let mut all = Vectors::of(channels);
        let vectors = all.each_mut();
        for channel in 0..channels {
            let in_order = of_channel(channel).in_order();
            for kind in 0..K {
                vectors[kind][channel] = in_order[kind];
            }
        }
        Coefficients::Own(all)
    }

    /// Of some neighbouring channels, from what was reduced of each.
    pub fn reduced<R: Copy, C: InOrder<K>>(
        of: Range<usize>,
        reduced: &[R],
        of_channel: impl Fn(usize, R) -> C,
    ) -> Self {
        Self::new(of.len(), |channel| of_channel(of.start + channel, reduced[channel]))
    }

    /// Those of one channel.
    #[inline]
    pub fn of(&self, channel: usize) -> [f64; K] {
        self.vectors().map(|vector| vector[channel])
    }

    /// All of them.
    #[inline]
    pub fn vectors(&self) -> [&[f64]; K] {
        match self {
            Coefficients::Borrowed(vectors) => *vectors,
            Coefficients::Own(vectors) => vectors.each(),
        }
    }

    /// For loops over whole rows, each as often as there are places in a plane, side by side. The first value at the beginning of
    /// a cache line is the one numbered `phase`.
    pub fn widened(&self, plane: usize, phase: usize) -> Widened<K> {
        let all = self.vectors();
        let row = all[0].len() * plane;
        let width = row * MIN_COEFFICIENTS.div_ceil(row);
        let mut room = Room::of(K * (width + 3 * WIDTH));
        let mut first = [0; K];
        // Unused ones in front of each vector, so many that the coefficient numbered `phase`, and each eighth from it on, begins
        // a cache line as the values do.
        let line = room.as_ptr() as usize / size_of::<f64>();
        for kind in 0..K {
            let free = kind * (width + 3 * WIDTH);
            first[kind] = free + (line + free + phase).wrapping_neg() % WIDTH;
            let wide = &mut room[first[kind]..][..width + WIDTH];
            let (beginning, repeats) = wide.split_at_mut(row);
            match plane {
                1 => beginning.copy_from_slice(all[kind]),
                2 => repeat::<2>(all[kind], beginning),
                4 => repeat::<4>(all[kind], beginning),
                8 => repeat::<8>(all[kind], beginning),
                _ => beginning.chunks_exact_mut(plane).zip(all[kind]).for_each(|(places, &value)| places.fill(value)),
            }
            for repeat in repeats.chunks_mut(row) {
                repeat.copy_from_slice(&beginning[..repeat.len()]);
            }
        }
        Widened { room, first, width }
    }
}

/// Each value `P` times. (With a number that the compiler knows, a store each.)
fn repeat<const P: usize>(values: &[f64], out: &mut [f64]) {
    out.as_chunks_mut::<P>().0.iter_mut().zip(values).for_each(|(places, &value)| *places = [value; P]);
}

/// Coefficients for loops over whole rows: repeated until they are wide enough, and then going on with their beginning for a
/// vector that reaches over the end of a row.
#[derive(Debug)]
pub(crate) struct Widened<const K: usize> {
    room: Room,
    /// Where each vector begins.
    first: [usize; K],
    /// The number of coefficients after which they begin again.
    width: usize,
}

impl<const K: usize> Widened<K> {
    /// The vectors, and the number of coefficients after which they begin again.
    #[inline(always)]
    pub fn vectors(&self) -> ([&[f64]; K], usize) {
        let mut vectors: [&[f64]; K] = [&[]; K];
        for k in 0..K {
            vectors[k] = &self.room[self.first[k]..][..self.width + WIDTH];
        }
        (vectors, self.width)
    }
}
