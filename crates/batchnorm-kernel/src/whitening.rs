//! Sums of products between the channels of a group, and channels mixed by a matrix: what decorrelated batch norm needs
//! of the elements.
//!
//! In pseudo-code, for a group of d channels of n values, each about its own center:
//!
//! ```text
//! products:  leaf k is the d x d table of sum r_i s_j over the values k*CHUNK_VALUES .. (k+1)*CHUNK_VALUES; value j of a chunk goes to
//!            lane j mod 16, lanes are added pairwise; leaves are merged in the tree of `tree.rs`
//! mix:       out_i = shift_i + (.. ((M_i0 r_0) + M_i1 r_1) + ..), one value at a time
//! ```
//!
//! Every chunk is copied to a scratch of `f64` first: with d sums or products for each value, the copy costs little, and
//! layouts make no difference to the loops.

#![allow(clippy::needless_range_loop)]

use crate::array::grid::Grid;
use crate::array::memory::{Readable, Writable};
use crate::machine::Machine;
use crate::machine::isa::Kernel;
use crate::machine::vector::{Vector, WIDTH};
use crate::number::Stored;
use crate::reduce::tree::{Merge, Tree};
use std::ops::Range;

/// Values a leaf. The chunks of sixteen channels stay in the first-level cache.
pub const CHUNK_VALUES: usize = 256;
/// From one row of a scratch to the next: not a power of two, for the sake of the caches.
const ROW_PITCH: usize = CHUNK_VALUES + 16;
/// Rows are filled up with zeros to a multiple of this.
const STEP_VALUES: usize = 4 * WIDTH;

/// An array, about a center of each channel.
#[derive(Debug, Clone, Copy)]
pub struct Centered<'a, T> {
    /// The values.
    pub array: &'a Readable<'a, T>,
    /// Taken off every value of a channel: the high part of a mean, then the low part.
    pub centers: &'a [[f64; 2]],
}

impl<T: Stored> Centered<'_, T> {
    /// One chunk of some channels, a row of `rows` each.
    fn load(&self, channels: Range<usize>, range: Range<usize>, tile: &mut [T], rows: &mut [f64]) {
        self.array.gather_block(channels.clone(), range.clone(), tile, ROW_PITCH);
        for (row, channel) in channels.enumerate() {
            let [center, center_low] = self.centers[channel];
            let (values, into) = (&tile[row * ROW_PITCH..][..range.len()], &mut rows[row * ROW_PITCH..][..ROW_PITCH]);
            into[range.len()..].fill(0.0);
            for (into, value) in into.iter_mut().zip(values) {
                *into = (value.to_f64() - center) - center_low;
            }
        }
    }
}

/// A sum, as the tree joins it.
#[derive(Debug, Clone, Copy)]
struct Sum(f64);

impl Merge for Sum {
    fn merge(self, right: Sum) -> Sum {
        Sum(self.0 + right.0)
    }
}

/// Scratch of one thread.
struct Scratch<T> {
    tile: Vec<T>,
    rows: Vec<f64>,
    others: Vec<f64>,
    tree: Tree<Sum>,
}

/// Sums of products of the rows of each group of `group` channels (the last group has what is left):
/// - of an array with itself, the lower triangle row by row, d(d+1)/2 sums;
/// - of an array with `other`, d rows of d+1 sums, the last one being that of the array's row alone.
///
/// Nothing for arrays without values.
pub(crate) fn products<T: Stored>(
    machine: &Machine,
    array: Centered<T>,
    other: Option<Centered<T>>,
    group: usize,
) -> Vec<Vec<f64>> {
    let (channels, count) = (array.array.geometry().channels, array.array.geometry().count);
    let (groups, leaves) = (channels.div_ceil(group), count.div_ceil(CHUNK_VALUES));
    if leaves == 0 {
        return Vec::new();
    }
    let crew = machine.crew(channels.saturating_mul(count));
    // Aligned blocks of 2^k leaves are subtrees, so any such cut gives the same bits: enough parts for all threads.
    let wanted = (4 * crew.count()).div_ceil(groups);
    let each = leaves.div_ceil(wanted).next_power_of_two();
    let parts = leaves.div_ceil(each);
    let scratch = || Scratch {
        tile: vec![T::default(); group * ROW_PITCH],
        rows: vec![0.0; group * ROW_PITCH],
        others: if other.is_some() { vec![0.0; (group + 1) * ROW_PITCH] } else { Vec::new() },
        tree: Tree::new(),
    };
    let sums = crew.map(groups * parts, scratch, |own, task| {
        let Scratch { tile, rows, others, tree } = own;
        let first = task / parts * group;
        let block = first..(first + group).min(channels);
        let (size, leaf) = (block.len(), task % parts * each);
        if other.is_some() {
            // A row of ones behind the other array's: its products are the sums.
            others[size * ROW_PITCH..][..ROW_PITCH].fill(1.0);
        }
        for leaf in leaf..(leaf + each).min(leaves) {
            let range = leaf * CHUNK_VALUES..((leaf + 1) * CHUNK_VALUES).min(count);
            array.load(block.clone(), range.clone(), tile, rows);
            let mut out = tree.leaf();
            let len = range.len().next_multiple_of(STEP_VALUES);
            match &other {
                None => {
                    machine.isa.run(Dots { left: rows, right: rows, rows: size, columns: None, len, out: &mut out })
                }
                Some(other) => {
                    other.load(block.clone(), range, tile, others);
                    let columns = Some(size + 1);
                    machine.isa.run(Dots { left: rows, right: others, rows: size, columns, len, out: &mut out });
                }
            }
            tree.push(out);
        }
        tree.finish().expect("at least one leaf")
    });
    let mut sums = sums.into_iter();
    let joined = |_| {
        let mut tree = Tree::new();
        sums.by_ref().take(parts).for_each(|part| tree.push(part));
        tree.finish().expect("at least one part").into_iter().map(|Sum(sum)| sum).collect()
    };
    (0..groups).map(joined).collect()
}

/// Sums of products of rows; the rows end in zeros.
struct Dots<'s> {
    left: &'s [f64],
    right: &'s [f64],
    rows: usize,
    /// `None` for the lower triangle.
    columns: Option<usize>,
    len: usize,
    out: &'s mut Vec<Sum>,
}

/// Columns that are taken together.
const COLUMNS_A_STEP: usize = 4;

impl Kernel<()> for Dots<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Dots { left, right, rows, columns, len, out } = self;
        for i in 0..rows {
            let row = &left[i * ROW_PITCH..][..len];
            let columns = columns.unwrap_or(i + 1);
            let mut j = 0;
            while j + COLUMNS_A_STEP <= columns {
                dots::<V, COLUMNS_A_STEP>(row, &right[j * ROW_PITCH..], out);
                j += COLUMNS_A_STEP;
            }
            while j < columns {
                dots::<V, 1>(row, &right[j * ROW_PITCH..], out);
                j += 1;
            }
        }
    }
}

/// A row times some others, sixteen lanes each.
#[inline(always)]
fn dots<V: Vector, const M: usize>(row: &[f64], others: &[f64], out: &mut Vec<Sum>) {
    let mut sums = [[V::splat(0.0); 2]; M];
    let row = row.as_chunks::<WIDTH>().0;
    let mut columns: [&[[f64; WIDTH]]; M] = [&[]; M];
    for m in 0..M {
        columns[m] = &others[m * ROW_PITCH..].as_chunks().0[..row.len()];
    }
    for pair in 0..row.len() / 2 {
        for half in 0..2 {
            let values = V::from_f64(&row[2 * pair + half]);
            for m in 0..M {
                sums[m][half] = sums[m][half].add(values.mul(V::from_f64(&columns[m][2 * pair + half])));
            }
        }
    }
    for m in 0..M {
        let mut lanes = [0.0; WIDTH];
        sums[m][0].add(sums[m][1]).to_f64(&mut lanes);
        for half in [4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        out.push(Sum(lanes[0]));
    }
}

/// `out_i = shift_i + sum_j M_ij r_j` for the rows r of all inputs' channels in the same group, input after input; a
/// matrix of d rows for each group.
pub(crate) fn mix<T: Stored>(
    machine: &Machine,
    inputs: &[Centered<T>],
    matrices: &[Vec<f64>],
    shift: &[f64],
    group: usize,
    out: &mut Writable<T>,
) {
    let (channels, count) = (out.geometry().channels, out.geometry().count);
    let grid = Grid { channels, block: group, count, range: CHUNK_VALUES };
    let crew = machine.crew(channels.saturating_mul(count));
    let scratch = || {
        (vec![T::default(); group * ROW_PITCH], vec![0.0; inputs.len() * group * ROW_PITCH], vec![0.0; CHUNK_VALUES])
    };
    Writable::for_each_cell(&mut [out], grid, crew, scratch, |(tile, rows, line), block, range, [cell]| {
        // (The last group may be a smaller one.)
        let size = block.len();
        for (input, rows) in inputs.iter().zip(rows.chunks_exact_mut(size * ROW_PITCH)) {
            input.load(block.clone(), range.clone(), tile, rows);
        }
        let columns = inputs.len() * size;
        let matrix = matrices[block.start / group].chunks_exact(columns);
        for (channel, weights) in block.zip(matrix) {
            let line = &mut line[..range.len().next_multiple_of(STEP_VALUES)];
            machine.isa.run(Mix { rows: &rows[..columns * ROW_PITCH], weights, shift: shift[channel], line });
            let rounded = &mut tile[..range.len()];
            rounded.iter_mut().zip(&*line).for_each(|(out, &value)| *out = T::from_f64(value));
            cell.scatter(channel, range.clone(), rounded);
        }
    });
}

/// One channel of a mix.
struct Mix<'s> {
    rows: &'s [f64],
    weights: &'s [f64],
    shift: f64,
    line: &'s mut [f64],
}

impl Kernel<()> for Mix<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Mix { rows, weights, shift, line } = self;
        let shift = V::splat(shift);
        let line = line.as_chunks_mut::<WIDTH>().0;
        for start in (0..line.len()).step_by(STEP_VALUES / WIDTH) {
            let mut sums = [V::splat(0.0); STEP_VALUES / WIDTH];
            for (row, weight) in rows.chunks_exact(ROW_PITCH).zip(weights) {
                let (row, weight) = (&row.as_chunks::<WIDTH>().0[start..][..STEP_VALUES / WIDTH], V::splat(*weight));
                for k in 0..STEP_VALUES / WIDTH {
                    sums[k] = sums[k].add(weight.mul(V::from_f64(&row[k])));
                }
            }
            for k in 0..STEP_VALUES / WIDTH {
                sums[k].add(shift).to_f64(&mut line[start + k]);
            }
        }
    }
}
