//! Coefficients of all channels, as the loops read them.

#![allow(clippy::needless_range_loop)]

use super::formulas::InOrder;
use crate::machine::vector::WIDTH;

/// Coefficient vectors are repeated until they are at least this wide: narrower rows are taken several at a time.
const MIN_COEFFICIENTS: usize = 64;

/// The coefficients of all channels, each kind in a vector of its own.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<const K: usize>([Vec<f64>; K]);

impl<const K: usize> Coefficients<K> {
    /// From what each channel has.
    pub fn new<C: InOrder<K>>(channels: usize, of_channel: impl Fn(usize) -> C) -> Self {
        let mut all: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(channels));
        for channel in 0..channels {
            for (vector, value) in all.iter_mut().zip(of_channel(channel).in_order()) {
                vector.push(value);
            }
        }
        Coefficients(all)
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
    pub fn widened(self, phase: usize) -> Widened<K> {
        let channels = self.0[0].len();
        let width = channels * MIN_COEFFICIENTS.div_ceil(channels);
        let first = [0; K];
        let mut all = Widened { vectors: self.0, first, width };
        for (vector, first) in all.vectors.iter_mut().zip(&mut all.first) {
            let mut wide = Vec::with_capacity(width + 2 * WIDTH);
            // Unused ones in front, so many that the coefficient numbered `phase`, and each eighth from it on, begins a cache
            // line as the values do.
            *first = (wide.as_ptr() as usize / size_of::<f64>() + phase).wrapping_neg() % WIDTH;
            wide.resize(*first, 0.0);
            wide.extend(vector.iter().cycle().take(width + WIDTH));
            *vector = wide;
        }
        all
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
