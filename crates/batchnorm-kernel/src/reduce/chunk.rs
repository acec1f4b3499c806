//! Sums over a chunk: in each of a fixed number of lanes in order, then the lanes pairwise.
//!
//! Value j of a chunk goes to lane j mod [`LANES`], whether the chunk lies side by side ([`SumRun`]: neighbouring values
//! are neighbouring lanes) or is a column of rows of all channels ([`SumRows`]: a row goes to one line of a table of
//! lanes, all channels at a time). So the bits are the same.
#![allow(clippy::needless_range_loop)]

use crate::array::prefetch_distance::PREFETCH_BYTES;
use crate::lanes::{eight, in_groups, load_all, load_last, load_pair};
use crate::machine::isa::Kernel;
use crate::machine::prefetch::prefetch;
use crate::machine::vector::{PAIR, Vector, WIDTH, splat_all};
use crate::number::Stored;

/// Independent running sums of a chunk: enough for additions that take four cycles not to wait for each other.
pub(crate) const LANES: usize = PAIR;
/// SumRows of one lane that are added while its sums are in registers. They are LANES rows apart: as many streams
/// through memory, each in order.
const ROWS_A_STEP: usize = 4;

/// The summands of `S` sums that `N` values at one place make with `K` constants of their channel.
pub(crate) trait Summands<const N: usize, const K: usize, const S: usize>: Copy {
    fn of<V: Vector>(self, constants: [V; K], values: [V; N]) -> [V; S];
}

/// A chunk of `N` arrays in logical order, in pieces that each lie side by side: all but the last are full groups of
/// [`LANES`] values.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'v, T, const N: usize> {
    pub pieces: &'v [[&'v [T]; N]],
    /// How many elements ahead to prefetch.
    pub distances: [isize; N],
}

impl<T: Copy, const N: usize> Chunk<'_, T, N> {
    pub fn len(self) -> usize {
        self.pieces.iter().map(|piece| piece[0].len()).sum()
    }

    /// The values of the first array.
    pub fn values(self) -> impl Iterator<Item = T> {
        self.pieces.iter().flat_map(|piece| piece[0].iter().copied())
    }
}

/// The sums of a chunk.
pub(crate) struct SumRun<'v, F, T, const N: usize, const K: usize> {
    pub summands: F,
    pub constants: [f64; K],
    pub chunk: Chunk<'v, T, N>,
}

impl<F, T, const N: usize, const K: usize, const S: usize> Kernel<[f64; S]> for SumRun<'_, F, T, N, K>
where
    F: Summands<N, K, S>,
    T: Stored,
{
    #[inline(always)]
    fn run<V: Vector>(self) -> [f64; S] {
        let SumRun { summands, constants, chunk: Chunk { pieces, distances } } = self;
        let constants = splat_all::<V, K>(constants);
        let mut even = [V::splat(0.0); S];
        let mut odd = even;
        for values in pieces {
            let whole = values[0].len() / LANES;
            let groups = in_groups(*values, 0, whole);
            for group in 0..whole {
                let [left, right] = load_pair::<V, T, N>(groups, group, distances);
                even = added(even, summands.of(constants, left));
                odd = added(odd, summands.of(constants, right));
            }
        }
        let values = pieces[pieces.len() - 1];
        let len = values[0].len();
        let at = len / LANES * LANES;
        if at + WIDTH <= len {
            even = added(even, summands.of(constants, load_all::<V, T, N>(values, at)));
            odd = added_first(odd, summands, constants, values, at + WIDTH);
        } else {
            even = added_first(even, summands, constants, values, at);
        }
        let mut sums = [0.0; S];
        for s in 0..S {
            sums[s] = fold(even[s].add(odd[s]));
        }
        sums
    }
}

#[inline(always)]
fn added<V: Vector, const S: usize>(sums: [V; S], summands: [V; S]) -> [V; S] {
    let mut all = sums;
    for s in 0..S {
        all[s] = sums[s].add(summands[s]);
    }
    all
}

/// With what an incomplete last vector adds: computed in all lanes, added in those that there are.
#[inline(always)]
fn added_first<F, V, T, const N: usize, const K: usize, const S: usize>(
    sums: [V; S],
    summands: F,
    constants: [V; K],
    values: [&[T]; N],
    at: usize,
) -> [V; S]
where
    F: Summands<N, K, S>,
    V: Vector,
    T: Stored,
{
    let left = values[0].len() - at;
    if left == 0 {
        return sums;
    }
    let mut all = summands.of(constants, load_last::<V, T, N>(values, at));
    let numbers = V::from_f64(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    for s in 0..S {
        all[s] = sums[s].add(numbers.select_le(V::splat(left as f64 - 1.0), all[s], V::splat(0.0)));
    }
    all
}

/// Lanes added pairwise, halves onto each other; the first time as whole vectors.
#[inline(always)]
pub(crate) fn fold<V: Vector>(vector: V) -> f64 {
    let mut lanes = [0.0; WIDTH];
    vector.to_f64(&mut lanes);
    let four: [f64; 4] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Neighbouring channels in rows of all channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'v, T> {
    /// Whole rows.
    pub rows: &'v [T],
    /// Channels a row; at least the width of a vector.
    pub pitch: usize,
    /// The first channel, and how many there are.
    pub left: usize,
    pub width: usize,
}

impl<'v, T: Stored> Columns<'v, T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.pitch
    }

    /// One channel's values.
    pub fn column(&self, channel: usize) -> impl Iterator<Item = T> + 'v {
        self.rows[self.left + channel..].iter().step_by(self.pitch).copied()
    }

    /// Number of vectors that the columns take. Where they do not fill the last one, it begins earlier and has some columns
    /// a second time, in places of its own.
    pub fn vectors(&self) -> usize {
        self.width.div_ceil(WIDTH)
    }

    /// The first channel of a vector. (It may lie left of the first column where there are few.)
    #[inline(always)]
    pub fn channel(&self, vector: usize) -> usize {
        (self.left + vector * WIDTH).min(self.left + self.width - WIDTH.min(self.left + self.width))
    }

    /// The place of a column's sums in a line of a table.
    pub fn place(&self, column: usize) -> usize {
        let vector = column / WIDTH;
        vector * WIDTH + (self.left + column - self.channel(vector))
    }
}

/// The sums of each column of a chunk of rows. A table has a line of vectors for each lane; the sums are left in the
/// first line, each at its [place](Columns::place). The constants are in the same order.
pub(crate) struct SumRows<'v, F, T, const N: usize, const K: usize, const S: usize> {
    pub summands: F,
    pub constants: [&'v [f64]; K],
    pub columns: [Columns<'v, T>; N],
    pub tables: [&'v mut [f64]; S],
}

impl<F, T, const N: usize, const K: usize, const S: usize> Kernel<()> for SumRows<'_, F, T, N, K, S>
where
    F: Summands<N, K, S>,
    T: Stored,
{
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let line = self.columns[0].vectors() * WIDTH;
        let rows = self.columns[0].len();
        self.tables.iter_mut().for_each(|table| table[..LANES * line].fill(0.0));
        let mut row = 0;
        while row + LANES * ROWS_A_STEP <= rows {
            for lane in 0..LANES {
                self.add::<V, ROWS_A_STEP>(lane, row + lane);
            }
            row += LANES * ROWS_A_STEP;
        }
        for row in row..rows {
            self.add::<V, 1>(row % LANES, row);
        }
        for table in self.tables {
            let mut half = LANES / 2;
            while half > 0 {
                let (low, high) = table[..2 * half * line].split_at_mut(half * line);
                for (low, high) in low.as_chunks_mut::<WIDTH>().0.iter_mut().zip(high.as_chunks::<WIDTH>().0) {
                    V::from_f64(low).add(V::from_f64(high)).to_f64(low);
                }
                half /= 2;
            }
        }
    }
}

impl<F, T, const N: usize, const K: usize, const S: usize> SumRows<'_, F, T, N, K, S>
where
    F: Summands<N, K, S>,
    T: Stored,
{
    /// Adds `R` rows, LANES apart, to one lane.
    #[inline(always)]
    fn add<V: Vector, const R: usize>(&mut self, lane: usize, first: usize) {
        let (summands, columns) = (self.summands, self.columns);
        let (pitch, vectors) = (columns[0].pitch, columns[0].vectors());
        let line = lane * vectors;
        for vector in 0..vectors {
            let channel = columns[0].channel(vector);
            let at = (line + vector) * WIDTH;
            let constants = load_all::<V, f64, K>(self.constants, vector * WIDTH);
            let mut sums = [V::splat(0.0); S];
            for s in 0..S {
                sums[s] = V::from_f64(eight(&self.tables[s][at..]));
            }
            for r in 0..R {
                let mut values = [V::splat(0.0); N];
                for n in 0..N {
                    let value = eight(&columns[n].rows[(first + r * LANES) * pitch + channel..]);
                    prefetch(value.as_ptr().wrapping_byte_add(PREFETCH_BYTES), WIDTH);
                    values[n] = T::load(value);
                }
                sums = added(sums, summands.of(constants, values));
            }
            for s in 0..S {
                sums[s].to_f64(self.tables[s][at..].first_chunk_mut().expect("a table has its lines"));
            }
        }
    }
}
