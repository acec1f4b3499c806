//! Sums over a chunk: in each of a fixed number of lanes in order, then the lanes pairwise.
//!
//! Value j of a chunk goes to lane j mod [`LANES`], whether the chunk lies in runs ([`SumRun`]: neighbouring values are
//! neighbouring lanes) or is a column of rows of all channels ([`SumRows`]: a row goes to one line of a table of lanes, all
//! channels at a time). So the bits are the same.
#![allow(clippy::needless_range_loop)]

use crate::array::memory::Readable;
use crate::lanes::{eight, in_groups, load_all, load_pair};
use crate::machine::isa::Kernel;
use crate::machine::vector::{PAIR, Vector, WIDTH, splat_all};
use crate::number::Stored;
use std::ops::Range;

/// Independent running sums of a chunk: enough for additions that take four cycles not to wait for each other.
pub(crate) const LANES: usize = PAIR;
/// Rows of one lane, of all arrays together, that are added while its sums are in registers. They are LANES rows apart: as many
/// streams through memory, each in order, for the processor to see what comes; and no more of them than a first-level cache has
/// ways, for where rows are a power of two apart they compete for one set. (With 8 rows of each of two arrays, and asking for
/// lines ahead, which go to that set too, the backward pass of 256 x 1024 values took 1.7 times as long on a Zen 3.)
pub(crate) const ROWS_A_STEP: usize = 8;

/// Rows that are added up vector by vector, if there are no more.
pub(crate) const LOW_ROWS: usize = 8;

/// What `N` values at one place add to `S` sums, with `K` constants of their channel.
pub(crate) trait Summands<const N: usize, const K: usize, const S: usize>: Copy {
    /// Whether values of 0 add nothing, whatever the (finite) constants.
    const ZEROS_ADD_NOTHING: bool;

    /// The sums with what the values add.
    fn add<V: Vector>(self, constants: [V; K], values: [V; N], sums: [V; S]) -> [V; S];
}

/// The values of one channel at a chunk's places, in logical order.
#[derive(Clone)]
pub(crate) enum Chunk<'v, T, const N: usize> {
    /// Side by side.
    Slice([&'v [T]; N]),
    /// In runs, of the same lengths in all arrays.
    Runs {
        arrays: [&'v Readable<'v, T>; N],
        channel: usize,
        part: Range<usize>,
        /// How many elements ahead to prefetch.
        distances: [isize; N],
    },
}

impl<'v, T: Copy, const N: usize> Chunk<'v, T, N> {
    pub fn len(&self) -> usize {
        match self {
            Chunk::Slice(values) => values[0].len(),
            Chunk::Runs { part, .. } => part.len(),
        }
    }

    /// The values of one of the arrays.
    pub fn values(&self, array: usize) -> impl Iterator<Item = T> + '_ {
        let (slice, pieces) = match self {
            Chunk::Slice(values) => (values[array], None),
            Chunk::Runs { arrays, channel, part, .. } => (&[][..], Some(arrays[array].pieces(*channel, part.clone()))),
        };
        slice.iter().copied().chain(pieces.into_iter().flatten().flatten().copied())
    }

    /// The first value of the first array.
    pub fn first(&self) -> T {
        self.values(0).next().expect("no chunk is empty")
    }
}

/// The sums of a chunk.
pub(crate) struct SumRun<'c, 'v, F, T, const N: usize, const K: usize> {
    pub summands: F,
    pub constants: [f64; K],
    pub chunk: &'c Chunk<'v, T, N>,
}

impl<F, T, const N: usize, const K: usize, const S: usize> Kernel<[f64; S]> for SumRun<'_, '_, F, T, N, K>
where
    F: Summands<N, K, S>,
    T: Stored,
{
    #[inline(always)]
    fn run<V: Vector>(self) -> [f64; S] {
        let SumRun { summands, constants, chunk } = self;
        let constants = splat_all::<V, K>(constants);
        let mut lanes = Lanes { summands, constants, sums: [[V::splat(0.0); S]; 2], at: 0 };
        // One piece, or those of the runs: one loop for both, for it is long.
        let mut pieces = match chunk {
            Chunk::Slice(_) => None,
            Chunk::Runs { arrays, channel, part, .. } => Some(arrays.map(|array| array.pieces(*channel, part.clone()))),
        };
        while lanes.at < chunk.len() {
            let (mut values, mut ahead): ([&[T]; N], _) = ([&[]; N], [0; N]);
            if let Chunk::Slice(slices) = chunk {
                values = *slices;
            }
            if let (Some(pieces), Chunk::Runs { distances, .. }) = (&mut pieces, chunk) {
                for n in 0..N {
                    values[n] = pieces[n].next().expect("all arrays have as many values");
                }
                ahead = *distances;
            }
            lanes.add(values, ahead);
        }
        let [current, other] = lanes.sums;
        let mut sums = [0.0; S];
        for s in 0..S {
            // (The two summands in either order: the same bits.)
            sums[s] = fold(current[s].add(other[s]));
        }
        sums
    }
}

/// The running sums of a chunk, of two vectors that take turns.
struct Lanes<F, V, const K: usize, const S: usize> {
    summands: F,
    constants: [V; K],
    /// Those of the vector that the next value belongs to, and those of the other one.
    sums: [[V; S]; 2],
    /// Values so far.
    at: usize,
}

impl<F, V: Vector, const K: usize, const S: usize> Lanes<F, V, K, S> {
    /// Adds values that lie side by side.
    #[inline(always)]
    fn add<T: Stored, const N: usize>(&mut self, values: [&[T]; N], distances: [isize; N])
    where
        F: Summands<N, K, S>,
    {
        let len = values[0].len();
        let lane = self.at % WIDTH;
        // The rest of a vector that an earlier piece has begun.
        let head = if lane > 0 { (WIDTH - lane).min(len) } else { 0 };
        if head > 0 {
            self.add_few(values, 0..head, lane);
        }
        let pairs = (len - head) / PAIR;
        let groups = in_groups(values, head, pairs);
        let [mut current, mut other] = self.sums;
        for pair in 0..pairs {
            let [left, right] = load_pair::<V, T, N>(groups, pair, distances);
            current = self.summands.add(self.constants, left, current);
            other = self.summands.add(self.constants, right, other);
        }
        let mut tail = head + pairs * PAIR;
        if tail + WIDTH <= len {
            current = self.summands.add(self.constants, load_all::<V, T, N>(values, tail), current);
            (current, other) = (other, current);
            tail += WIDTH;
        }
        self.sums = [current, other];
        if tail < len {
            self.add_few(values, tail..len, 0);
        }
        self.at += len;
    }

    /// Adds fewer values than a vector has, from lane `lane` on.
    #[inline(always)]
    fn add_few<T: Stored, const N: usize>(&mut self, values: [&[T]; N], range: Range<usize>, lane: usize)
    where
        F: Summands<N, K, S>,
    {
        let mut loaded = [V::splat(0.0); N];
        for n in 0..N {
            loaded[n] = T::load_few(&values[n][range.clone()], lane);
        }
        let [current, other] = self.sums;
        let mut added = self.summands.add(self.constants, loaded, current);
        if !F::ZEROS_ADD_NOTHING {
            for s in 0..S {
                added[s] = added[s].lanes_or(lane, range.len(), current[s]);
            }
        }
        // A vector that is full gives way to the other one.
        self.sums = if lane + range.len() == WIDTH { [other, added] } else { [added, other] };
    }
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
    /// Columns a row; at least the width of a vector.
    pub pitch: usize,
    /// The first column, and how many there are.
    pub left: usize,
    pub width: usize,
    /// Columns of a channel, side by side: the places of its plane, a divisor of [`LANES`]. 1, where a row is of one place.
    pub plane: usize,
}

impl<'v, T: Stored> Columns<'v, T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.pitch
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.width / self.plane
    }

    /// Rows before a lane comes again.
    fn lanes(&self) -> usize {
        LANES / self.plane
    }

    /// Whether the lanes of a vector of columns are added up while they are at hand: so few rows that each of them has its
    /// own, and that those of a vector are in the first-level cache together, however far apart they are.
    fn is_low(&self) -> bool {
        self.len() <= self.lanes().min(LOW_ROWS)
    }

    /// Lines that [`SumRows`] takes of a table.
    pub fn lines(&self) -> usize {
        if self.is_low() { 1 } else { self.len().min(self.lanes()) }
    }

    /// One column's values.
    pub fn column(&self, column: usize) -> impl Iterator<Item = T> + 'v {
        self.rows[self.left + column..].iter().step_by(self.pitch).copied()
    }

    /// Number of vectors that the columns take. Where they do not fill the last one, it begins earlier and has some columns
    /// a second time, in places of its own.
    pub fn vectors(&self) -> usize {
        self.width.div_ceil(WIDTH)
    }

    /// The first column of a vector. (It may lie left of the first column where there are few.)
    #[inline(always)]
    pub fn column_of(&self, vector: usize) -> usize {
        (self.left + vector * WIDTH).min(self.left + self.width - WIDTH.min(self.left + self.width))
    }

    /// A constant of each channel, in the order of the vectors of a line.
    pub fn in_line(&self, constants: &[f64], line: &mut [f64]) {
        for (vector, out) in line.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let column = self.column_of(vector);
            match self.plane {
                1 => out.copy_from_slice(&constants[column..][..WIDTH]),
                // (A power of two.)
                plane => *out = std::array::from_fn(|lane| constants[(column + lane) >> plane.trailing_zeros()]),
            }
        }
    }

    /// The first value of each channel, in the order of the vectors of a line.
    pub fn first_values_in_line(&self, line: &mut [f64]) {
        for (vector, out) in line.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let column = self.column_of(vector);
            *out = match self.plane {
                1 => std::array::from_fn(|lane| self.rows[column + lane].to_f64()),
                plane => std::array::from_fn(|lane| self.rows[(column + lane) & !(plane - 1)].to_f64()),
            };
        }
    }

    /// The place of a column's sums in a line of a table.
    pub fn place(&self, column: usize) -> usize {
        let vector = column / WIDTH;
        vector * WIDTH + (self.left + column - self.column_of(vector))
    }

    /// Something of each channel, appended to `out`: of its sums in some lines that [`SumRows`] has left.
    #[inline(always)]
    pub fn each_channel<V, const L: usize>(&self, lines: [&[f64]; L], out: &mut Vec<V>, of: impl Fn([f64; L]) -> V) {
        // A channel's places are its last lanes, which are added pairwise too.
        match self.plane {
            1 => self.each_channel_of_plane(lines, out, |[one]: [f64; 1]| one, of),
            2 => self.each_channel_of_plane(lines, out, |[a, b]: [f64; 2]| a + b, of),
            4 => self.each_channel_of_plane(lines, out, |[a, b, c, d]: [f64; 4]| (a + c) + (b + d), of),
            8 => {
                let sum = |[a, b, c, d, e, f, g, h]: [f64; 8]| ((a + e) + (c + g)) + ((b + f) + (d + h));
                self.each_channel_of_plane(lines, out, sum, of);
            }
            _ => unreachable!("planes are of 1, 2, 4 or 8 values"),
        }
    }

    /// The same for planes of `P` values: a part of a vector, so that they stand side by side.
    #[inline(always)]
    fn each_channel_of_plane<V, const P: usize, const L: usize>(
        &self,
        lines: [&[f64]; L],
        out: &mut Vec<V>,
        sum: impl Fn([f64; P]) -> f64,
        of: impl Fn([f64; L]) -> V,
    ) {
        // Those of whole vectors stand in order.
        let (channels, whole) = (self.channels(), self.width / WIDTH * WIDTH / P);
        let planes = lines.map(|line| line.as_chunks::<P>().0);
        let ordered = planes.map(|planes| &planes[..whole]);
        out.reserve(channels);
        out.extend((0..whole).map(|channel| of(ordered.map(|planes| sum(planes[channel])))));
        out.extend((whole..channels).map(|channel| of(planes.map(|planes| sum(planes[self.place(channel * P) / P])))));
    }
}

/// The sums of each column of a chunk of rows, value j of a channel in lane j mod [`LANES`]: of planes each row has some of them
/// side by side. A table has a line of vectors for each row of lanes; the sums are left in the
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
        if self.columns[0].is_low() {
            return self.low::<V>();
        }
        let line = self.columns[0].vectors() * WIDTH;
        let (rows, lanes) = (self.columns[0].len(), self.columns[0].lanes());
        // Rows of one lane while its sums are in registers; at the end, what is left of it.
        let step = (ROWS_A_STEP / N).max(1);
        let whole = rows - rows % (lanes * step);
        let steps = (0..whole).step_by(lanes * step).flat_map(|row| (row..row + lanes).map(|first| (first, step)));
        let rest = (whole..rows).take(lanes).map(|first| (first, (rows - first).div_ceil(lanes)));
        for first in steps.chain(rest) {
            self.add::<V>(first);
        }
        for table in self.tables {
            // Lanes that no row has come to are 0.
            let mut used = rows.min(lanes);
            let mut half = lanes / 2;
            while half > 0 {
                let (low, high) = table[..used * line].split_at_mut(half.min(used) * line);
                let pairs = low[..high.len()].as_chunks_mut::<WIDTH>().0.iter_mut().zip(high.as_chunks::<WIDTH>().0);
                for (low, high) in pairs {
                    V::from_f64(low).add(V::from_f64(high)).to_f64(low);
                }
                used = used.min(half);
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
    /// Adds some rows from `first` on, as far apart as there are lanes, to their lane.
    #[inline(always)]
    fn add<V: Vector>(&mut self, (first, rows): (usize, usize)) {
        let (summands, columns, lanes) = (self.summands, self.columns, self.columns[0].lanes());
        let lane = first % lanes;
        let (pitch, vectors) = (columns[0].pitch, columns[0].vectors());
        let line = lane * vectors;
        for vector in 0..vectors {
            let column = columns[0].column_of(vector);
            let at = (line + vector) * WIDTH;
            let constants = load_all::<V, f64, K>(self.constants, vector * WIDTH);
            let mut sums = [V::splat(0.0); S];
            // The first row of a lane finds the sums of an earlier chunk.
            if first >= lanes {
                for s in 0..S {
                    sums[s] = V::from_f64(eight(&self.tables[s][at..]));
                }
            }
            for r in 0..rows {
                let mut values = [V::splat(0.0); N];
                for n in 0..N {
                    values[n] = T::load(eight(&columns[n].rows[(first + r * lanes) * pitch + column..]));
                }
                sums = summands.add(constants, values, sums);
            }
            for s in 0..S {
                sums[s].to_f64(self.tables[s][at..].first_chunk_mut().expect("a table has its lines"));
            }
        }
    }

    /// Few rows, of which each is a lane: the lanes are added up as those of a table.
    #[inline(always)]
    fn low<V: Vector>(self) {
        let SumRows { summands, columns, constants, tables } = self;
        let (pitch, rows) = (columns[0].pitch, columns[0].len());
        for vector in 0..columns[0].vectors() {
            let column = columns[0].column_of(vector);
            let constants = load_all::<V, f64, K>(constants, vector * WIDTH);
            let mut lanes = [[V::splat(0.0); S]; LOW_ROWS];
            for row in 0..LOW_ROWS {
                if row < rows {
                    let mut values = [V::splat(0.0); N];
                    for n in 0..N {
                        values[n] = T::load(eight(&columns[n].rows[row * pitch + column..]));
                    }
                    lanes[row] = summands.add(constants, values, lanes[row]);
                }
            }
            // (Lanes that no row has come to are 0, and adding those changes nothing but -0, which a result is not.)
            let mut half = LOW_ROWS / 2;
            while half > 0 {
                for lane in 0..half {
                    for s in 0..S {
                        lanes[lane][s] = lanes[lane][s].add(lanes[lane + half][s]);
                    }
                }
                half /= 2;
            }
            for s in 0..S {
                lanes[0][s].to_f64(tables[s][vector * WIDTH..].first_chunk_mut().expect("a table has its lines"));
            }
        }
    }
}
