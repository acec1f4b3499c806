//! NHWC: tables of sums and coefficients beside the rows, which are swept in the order of memory, some rows at a time.

use std::ops::Range;

use crate::finish::{Finish, Kind};
use crate::planes::one;
use crate::vector::{self, InstructionSet, Loops, Vector, WIDTH};
use crate::{Arrays, Form, Shape, Split, threads};

/// Rows whose values are added up before they go to the table of sums.
const ROWS_A_SUM: usize = 8;
/// Rows that share the loads of coefficients.
const ROWS_A_MAP: usize = 4;
/// Columns in a cache line: threads share none.
const LINE: usize = 16;

/// Columns up to which short rows are taken together as one long one.
const LONG: usize = 512;

/// Floats of all tables.
pub fn table_len(channels: usize, threads: usize) -> usize {
    (2 * threads + 4) * channels.max(LONG).next_multiple_of(WIDTH)
}

/// How many rows make one long row, each with columns of its own: a power of two that divides them.
fn rows_a_long_one(rows: usize, channels: usize) -> usize {
    let most = (LONG / channels).max(1);
    1 << rows.trailing_zeros().min(most.ilog2())
}

/// The tables of a call, each of a whole number of vectors.
#[derive(Clone, Copy)]
struct Tables {
    /// Two for each thread, then four of coefficients.
    first: *mut f64,
    padded: usize,
    threads: usize,
}
// SAFETY: each thread has its own sums, and its own columns where it finishes them.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    /// The sums of a thread.
    fn sums(self, thread: usize) -> [*mut f64; 2] {
        [0, 1].map(|at| self.first.wrapping_add((2 * thread + at) * self.padded))
    }

    fn coefficients(self) -> [*mut f64; 4] {
        [0, 1, 2, 3].map(|at| self.first.wrapping_add((2 * self.threads + at) * self.padded))
    }

    /// Finishes channels whose sums are those of so many threads together, and of so many columns in each, `channels` apart.
    unsafe fn finish(self, finish: &Finish, own: Range<usize>, threads: usize, channels: usize, repeats: usize) {
        let all = self.coefficients();
        // SAFETY: the caller's promise: no other thread has these channels, and the tables have their columns.
        unsafe {
            for (at, sums) in self.sums(0).into_iter().enumerate() {
                for other in 1..threads {
                    (0..channels * repeats).for_each(|column| *sums.add(column) += *self.sums(other)[at].add(column));
                }
                for repeat in 1..repeats {
                    (0..channels).for_each(|channel| *sums.add(channel) += *sums.add(repeat * channels + channel));
                }
            }
            let [first, second] = self.sums(0);
            for channel in own.clone() {
                let values = finish.coefficients(channel, [*first.add(channel), *second.add(channel)]);
                all.into_iter().zip(values).for_each(|(table, value)| *table.add(channel) = value);
            }
            for table in all {
                for repeat in 1..repeats {
                    table.add(repeat * channels + own.start).copy_from_nonoverlapping(table.add(own.start), own.len());
                }
            }
        }
    }
}

/// A call.
///
/// # Safety
/// The arrays are of the shape, the tables of [`table_len`], nobody else uses the output, and the machine has the instruction set.
pub unsafe fn run(shape: &Shape, set: InstructionSet, form: Form, arrays: Arrays, finish: &Finish, tables: &mut [f64]) {
    let &Shape { channels, .. } = shape;
    let repeats = if form.split == Split::Rows { rows_a_long_one(shape.count(), channels) } else { 1 };
    let (rows, width) = (shape.count() / repeats, channels * repeats);
    let back = finish.kind == Kind::Backward;
    let padded = width.next_multiple_of(WIDTH);
    let tables = Tables { first: tables.as_mut_ptr(), padded, threads: form.threads };
    // Streams need whole vectors at multiples of their size.
    let streamed = form.streamed && width.is_multiple_of(WIDTH) && (arrays.out as usize).is_multiple_of(32);
    let sum = |thread: usize, rows: Range<usize>, columns: Range<usize>| {
        let sums = tables.sums(thread);
        // SAFETY: the caller's promise; each thread has its own tables of sums, or its own columns of them.
        unsafe { vector::run(set, Sums { arrays, back, ahead: form.ahead, width, rows, columns, sums }) }
    };
    let map = |rows: Range<usize>, columns: Range<usize>| {
        let coefficients = tables.coefficients();
        // SAFETY: the caller's promise; each thread has its own rows or columns of the output.
        unsafe {
            vector::run(set, Map { arrays, back, ahead: form.ahead, streamed, width, rows, columns, coefficients })
        }
    };
    match form.split {
        Split::Columns(at_once) => threads::each(form.threads, |thread| {
            let own = threads::part(channels, LINE, thread, form.threads);
            let mut start = own.start;
            while start < own.end {
                let columns = start..own.end.min(start.saturating_add(at_once));
                if finish.kind != Kind::Eval {
                    // (All use the first tables, each its own columns of them.)
                    sum(0, 0..rows, columns.clone());
                }
                // SAFETY: own columns.
                unsafe { tables.finish(finish, columns.clone(), 1, channels, 1) };
                map(0..rows, columns.clone());
                start = columns.end;
            }
        }),
        _ => {
            if finish.kind != Kind::Eval {
                threads::each(form.threads, |thread| {
                    sum(thread, threads::part(rows, ROWS_A_SUM, thread, form.threads), 0..width);
                });
            }
            // SAFETY: the other threads have ended.
            unsafe { tables.finish(finish, 0..channels, form.threads, channels, repeats) };
            threads::each(form.threads, |thread| {
                map(threads::part(rows, ROWS_A_SUM, thread, form.threads), 0..width);
            });
        }
    }
}

/// Sums of some rows and columns, into tables that begin at column 0.
struct Sums {
    arrays: Arrays,
    back: bool,
    ahead: bool,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    sums: [*mut f64; 2],
}

impl Loops for Sums {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            for table in self.sums {
                let columns = self.columns.clone();
                std::slice::from_raw_parts_mut(table.add(columns.start), columns.len()).fill(0.0);
            }
            match (self.back, self.ahead) {
                (false, false) => self.all::<V, false, false>(),
                (false, true) => self.all::<V, false, true>(),
                (true, false) => self.all::<V, true, false>(),
                (true, true) => self.all::<V, true, true>(),
            }
        }
    }
}

impl Sums {
    #[inline(always)]
    unsafe fn all<V: Vector, const BACK: bool, const AHEAD: bool>(&self) {
        let mut row = self.rows.start;
        // SAFETY: the caller's promise.
        unsafe {
            while row + ROWS_A_SUM <= self.rows.end {
                self.some::<V, BACK, AHEAD, ROWS_A_SUM>(row);
                row += ROWS_A_SUM;
            }
            while row < self.rows.end {
                self.some::<V, BACK, AHEAD, 1>(row);
                row += 1;
            }
        }
    }

    /// Some rows, every other one in a chain of its own.
    #[inline(always)]
    unsafe fn some<V: Vector, const BACK: bool, const AHEAD: bool, const ROWS: usize>(&self, row: usize) {
        let Range { start, end } = self.columns;
        let (x, dy) = (self.arrays.x.wrapping_add(row * self.width), self.arrays.dy.wrapping_add(row * self.width));
        let [table_first, table_second] = self.sums;
        let ahead = ahead(ROWS * self.width);
        let mut at = start;
        // SAFETY: the caller's promise: places in the array, and tables padded to whole vectors. (What the last vector adds to the
        // padding is 0.)
        unsafe {
            while at < end {
                let whole = at + WIDTH <= end;
                let here = WIDTH.min(end - at);
                let mut first = [V::load_wide(table_first.add(at)), V::splat(0.0)];
                let mut second = [V::load_wide(table_second.add(at)), V::splat(0.0)];
                for r in 0..ROWS {
                    let place = r * self.width + at;
                    if AHEAD {
                        prefetch_line(x, place, ahead as isize);
                    }
                    if AHEAD && BACK {
                        prefetch_line(dy, place, ahead as isize);
                    }
                    let vx = if whole { V::load(x.add(place)) } else { V::load_first(x.add(place), here) };
                    let a = match BACK {
                        true if whole => V::load(dy.add(place)),
                        true => V::load_first(dy.add(place), here),
                        false => vx,
                    };
                    first[r % 2] = first[r % 2].add(a);
                    second[r % 2] = a.mul_add(vx, second[r % 2]);
                }
                first[0].add(first[1]).store_wide(table_first.add(at));
                second[0].add(second[1]).store_wide(table_second.add(at));
                at += WIDTH;
            }
        }
    }
}

/// How far ahead of some rows values are asked for: the next such rows, and at least two pages.
#[inline(always)]
fn ahead(values: usize) -> usize {
    2048usize.div_ceil(values) * values
}

/// Asks for a line some values ahead, once a line: several rows at a time are more streams than a processor sees by itself.
#[inline(always)]
fn prefetch_line(first: *const f32, place: usize, ahead: isize) {
    if place.is_multiple_of(LINE) {
        vector::prefetch(first.wrapping_offset(place as isize + ahead));
    }
}

/// The map of some rows and columns.
struct Map {
    arrays: Arrays,
    back: bool,
    ahead: bool,
    streamed: bool,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    coefficients: [*mut f64; 4],
}

impl Loops for Map {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.back, self.streamed) {
                (false, false) => self.asking::<V, false, false>(),
                (false, true) => self.asking::<V, false, true>(),
                (true, false) => self.asking::<V, true, false>(),
                (true, true) => self.asking::<V, true, true>(),
            }
            if self.streamed {
                crate::sweeps::fence();
            }
        }
    }
}

impl Map {
    #[inline(always)]
    unsafe fn asking<V: Vector, const BACK: bool, const STREAM: bool>(&self) {
        // SAFETY: the caller's promise.
        unsafe { if self.ahead { self.all::<V, BACK, STREAM, true>() } else { self.all::<V, BACK, STREAM, false>() } }
    }

    #[inline(always)]
    unsafe fn all<V: Vector, const BACK: bool, const STREAM: bool, const AHEAD: bool>(&self) {
        // From the end, which was read last and is still in the caches.
        let mut end = self.rows.end;
        // SAFETY: the caller's promise.
        unsafe {
            while end >= self.rows.start + ROWS_A_MAP {
                end -= ROWS_A_MAP;
                self.some::<V, BACK, STREAM, AHEAD, ROWS_A_MAP>(end);
            }
            while end > self.rows.start {
                end -= 1;
                self.some::<V, BACK, STREAM, AHEAD, 1>(end);
            }
        }
    }

    #[inline(always)]
    unsafe fn some<V: Vector, const BACK: bool, const STREAM: bool, const AHEAD: bool, const ROWS: usize>(
        &self,
        row: usize,
    ) {
        let Range { start, end } = self.columns;
        let first = row * self.width;
        let (x, dy) = (self.arrays.x.wrapping_add(first), self.arrays.dy.wrapping_add(first));
        let out = self.arrays.out.wrapping_add(first);
        let [mean, k1, k2, k3] = self.coefficients;
        let ahead = ahead(ROWS * self.width);
        let mut at = start;
        // SAFETY: the caller's promise: places in the arrays, and tables padded to whole vectors.
        unsafe {
            while at < end {
                let whole = at + WIDTH <= end;
                let here = WIDTH.min(end - at);
                let (mean, k1, k2) = (V::load_wide(mean.add(at)), V::load_wide(k1.add(at)), V::load_wide(k2.add(at)));
                let k3 = if BACK { V::load_wide(k3.add(at)) } else { k2 };
                for r in 0..ROWS {
                    let place = r * self.width + at;
                    if AHEAD {
                        prefetch_line(x, place, -(ahead as isize));
                    }
                    if AHEAD && BACK {
                        prefetch_line(dy, place, -(ahead as isize));
                    }
                    let vx = if whole { V::load(x.add(place)) } else { V::load_first(x.add(place), here) };
                    let vdy = match BACK {
                        true if whole => V::load(dy.add(place)),
                        true => V::load_first(dy.add(place), here),
                        false => vx,
                    };
                    let y = one::<V, BACK>(vx, vdy, mean, k1, k2, k3);
                    if STREAM {
                        y.stream(out.add(place));
                    } else if whole {
                        y.store(out.add(place));
                    } else {
                        y.store_first(out.add(place), here);
                    }
                }
                at += WIDTH;
            }
        }
    }
}
