//! Coefficients of all channels, as the loops read them.

#![allow(clippy::needless_range_loop)]

use super::formulas::InOrder;
use crate::machine::vector::WIDTH;
use std::borrow::Cow;

/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const MIN_COEFFICIENTS: usize = 64;

/// The coefficients of all channels, each kind in a vector of its own.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<'c, const K: usize>([Cow<'c, [f64]>; K]);

impl<'c, const K: usize> Coefficients<'c, K> {
    /// From what each channel has.
    pub fn new<C: InOrder<K>>(channels: usize, of_channel: impl Fn(usize) -> C) -> Self {
        let mut all: [Vec<f64>; K] = std::array::from_fn(|_| vec![0.0; channels]);
        let vectors = all.each_mut().map(|vector| &mut vector[..channels]);
        for channel in 0..channels {
            let in_order = of_channel(channel).in_order();
            for kind in 0..K {
                vectors[kind][channel] = in_order[kind];
            }
        }
        Coefficients(all.map(Cow::Owned))
    }

    /// From vectors that somebody has.
    pub fn borrowed(vectors: [&'c [f64]; K]) -> Self {
        Coefficients(vectors.map(Cow::Borrowed))
    }

    /// Each as often as there are places in a plane, side by side.
    pub fn repeated(&self, plane: usize) -> Coefficients<'static, K> {
        let repeated = |vector: &Cow<[f64]>| {
            let values = vector.iter().flat_map(|&value| std::iter::repeat_n(value, plane));
            Cow::Owned(values.collect())
        };
        Coefficients(self.0.each_ref().map(repeated))
    }

    /// Those of one channel.
    pub fn of(&self, channel: usize) -> [f64; K] {
        std::array::from_fn(|kind| self.0[kind][channel])
    }

    /// All of them.
    pub fn vectors(&self) -> [&[f64]; K] {
        self.0.each_ref().map(|vector| &vector[..])
    }

    /// For loops over whole rows, whose first value at the beginning of a cache line is the one numbered `phase`.
    pub fn widened(&self, phase: usize) -> Widened<K> {
        let channels = self.0[0].len();
        let width = channels * MIN_COEFFICIENTS.div_ceil(channels);
        let mut first = [0; K];
        let vectors = std::array::from_fn(|kind| {
            let mut wide = Vec::with_capacity(width + 2 * WIDTH);
            // Unused ones in front, so many that the coefficient numbered `phase`, and each eighth from it on, begins a cache
            // line as the values do.
            first[kind] = (wide.as_ptr() as usize / size_of::<f64>() + phase).wrapping_neg() % WIDTH;
            wide.resize(first[kind], 0.0);
            let end = first[kind] + width + WIDTH;
            while wide.len() < end {
                wide.extend_from_slice(&self.0[kind][..channels.min(end - wide.len())]);
            }
            wide
        });
        Widened { vectors, first, width }
    }
}

/// Coefficients for loops over whole rows: repeated until they are wide enough, and then going on with their beginning for a
/// vector that reaches over the end of a row.
#[derive(Debug)]
pub(crate) struct Widened<const K: usize> {
    vectors: [Vec<f64>; K],
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
            vectors[k] = &self.vectors[k][self.first[k]..];
        }
        (vectors, self.width)
    }
}
