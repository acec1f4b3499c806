//! The chunk sums of `reduce` for channels that lie side by side in rows (NHWC, N x C): `W` channels at once.
//!
//! Each channel has the lanes it would have had alone, and value j of the chunk goes to lane j mod LANES as ever, so
//! the bits are the same. The lanes of a block are a table in the first-level cache; each row is added to one line of
//! it, all channels at a time.
#![allow(clippy::needless_range_loop)] // loops over a fixed width, in the form the compiler vectorises

use super::raw::Kernel;
use super::reduce::LANES;
use crate::element::Element;

/// Up to `W` neighbouring channels in rows of all channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'v, T> {
    /// Whole rows.
    pub rows: &'v [T],
    /// Channels a row.
    pub pitch: usize,
    /// The block's first channel, and how many there are.
    pub left: usize,
    pub width: usize,
}

impl<'v, T: Element> Columns<'v, T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.pitch
    }

    /// One channel's values.
    pub fn column(&self, channel: usize) -> impl Iterator<Item = T> + 'v {
        self.rows[self.left + channel..].iter().step_by(self.pitch).copied()
    }

    /// A row's values of the block; what a narrow block lacks is 0.
    #[inline(always)]
    pub fn row<const W: usize>(&self, row: usize) -> [T; W] {
        let start = row * self.pitch + self.left;
        let part = &self.rows[start..start + self.width];
        match part.first_chunk::<W>() {
            Some(whole) => *whole,
            None => {
                let mut padded = [T::default(); W];
                padded[..part.len()].copy_from_slice(part);
                padded
            }
        }
    }
}

type Table<const W: usize> = [[f64; W]; LANES];

/// Lanes added pairwise, halves onto each other, as for a single channel.
#[inline(always)]
fn fold<const W: usize>(table: &mut Table<W>) -> [f64; W] {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = table.split_at_mut(half);
        for lane in 0..half {
            for w in 0..W {
                low[lane][w] += high[lane][w];
            }
        }
        half /= 2;
    }
    table[0]
}

/// Sums of each channel's values.
pub(crate) struct SumColumns<'v, T, const W: usize>(pub Columns<'v, T>);

impl<T: Element, const W: usize> Kernel for SumColumns<'_, T, W> {
    type Output = [f64; W];
    #[inline(always)]
    fn run(self) -> [f64; W] {
        let mut sums = [[0.0; W]; LANES];
        for row in 0..self.0.len() {
            let (x, sum) = (self.0.row::<W>(row), &mut sums[row % LANES]);
            for w in 0..W {
                sum[w] += x[w].to_f64();
            }
        }
        fold(&mut sums)
    }
}

/// Sums of (v - shift) and of its square, of each channel.
pub(crate) struct ShiftedColumns<'v, T, const W: usize> {
    pub columns: Columns<'v, T>,
    pub shift: [T; W],
}

impl<T: Element, const W: usize> Kernel for ShiftedColumns<'_, T, W> {
    type Output = ([f64; W], [f64; W]);
    #[inline(always)]
    fn run(self) -> ([f64; W], [f64; W]) {
        let shift = self.shift.map(|shift| shift.to_f64());
        let (mut sums, mut squares) = ([[0.0; W]; LANES], [[0.0; W]; LANES]);
        for row in 0..self.columns.len() {
            let x = self.columns.row::<W>(row);
            let (sum, square) = (&mut sums[row % LANES], &mut squares[row % LANES]);
            for w in 0..W {
                let d = x[w].to_f64() - shift[w];
                sum[w] += d;
                square[w] += d * d;
            }
        }
        (fold(&mut sums), fold(&mut squares))
    }
}

/// Sums of dy and of dy * xhat, of each channel.
pub(crate) struct ProductColumns<'v, T, const W: usize> {
    pub x: Columns<'v, T>,
    pub dy: Columns<'v, T>,
    pub mean: [f64; W],
    pub rest: [f64; W],
    pub inverse: [f64; W],
}

impl<T: Element, const W: usize> Kernel for ProductColumns<'_, T, W> {
    type Output = ([f64; W], [f64; W]);
    #[inline(always)]
    fn run(self) -> ([f64; W], [f64; W]) {
        let (mut sums, mut products) = ([[0.0; W]; LANES], [[0.0; W]; LANES]);
        for row in 0..self.x.len() {
            let (x, dy) = (self.x.row::<W>(row), self.dy.row::<W>(row));
            let (sum, product) = (&mut sums[row % LANES], &mut products[row % LANES]);
            for w in 0..W {
                let dy = dy[w].to_f64();
                sum[w] += dy;
                product[w] += dy * (((x[w].to_f64() - self.mean[w]) - self.rest[w]) * self.inverse[w]);
            }
        }
        (fold(&mut sums), fold(&mut products))
    }
}
