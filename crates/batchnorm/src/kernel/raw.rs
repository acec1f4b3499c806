//! The one file with `unsafe`: memory of any strides, shared out between threads, and code compiled per instruction
//! set.
//!
//! Everything else in this crate works on slices that are handed out here. Three facts make that sound:
//! 1. A [`Readable`] or [`Writable`] is only made where every element of its geometry was checked to lie in the
//!    borrowed memory (or where `ndarray` guarantees it), so an offset computed from a channel below `channels` and
//!    an index below `count` is valid; both are asserted here.
//! 2. A `Writable`'s elements have distinct places, so cells of disjoint channels or indices are disjoint memory;
//!    [`Writable::for_each_cell`] gives each cell of a [`Grid`] out once.
//! 3. An [`Isa`] exists only for instruction sets that this machine was found to have.
#![allow(unsafe_code)]

use crate::element::Element;
use crate::layout::{Geometry, Layout};
use crate::parallel;
use std::marker::PhantomData;
use std::ops::Range;

/// An instruction set the kernels are compiled for. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What every processor of the target has (x86-64: SSE2).
    Baseline,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, VL, DQ and BW.
    Avx512,
}

impl Tier {
    /// All tiers this machine can run, slowest first.
    pub fn available() -> Vec<Tier> {
        [Tier::Baseline, Tier::Avx2, Tier::Avx512].into_iter().filter(|tier| tier.is_supported()).collect()
    }

    /// The fastest tier this machine can run.
    pub fn best() -> Tier {
        *Tier::available().last().expect("the baseline always runs")
    }

    /// Whether this machine can run the tier.
    pub fn is_supported(self) -> bool {
        match self {
            Tier::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// A tier that was found to run here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Isa(Tier);

impl Isa {
    pub fn new(tier: Tier) -> Option<Isa> {
        tier.is_supported().then_some(Isa(tier))
    }

    pub fn tier(self) -> Tier {
        self.0
    }

    /// Runs a kernel compiled for this tier.
    #[inline(always)]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn avx2<K: Kernel>(kernel: K) -> K::Output {
                kernel.run()
            }
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
            fn avx512<K: Kernel>(kernel: K) -> K::Output {
                kernel.run()
            }
            match self.0 {
                Tier::Baseline => {}
                // SAFETY: an `Isa` of this tier exists only where the features were detected.
                Tier::Avx2 => return unsafe { avx2(kernel) },
                // SAFETY: as above.
                Tier::Avx512 => return unsafe { avx512(kernel) },
            }
        }
        kernel.run()
    }
}

/// One straight-line loop over slices. `run` and all it calls must be `#[inline(always)]`, so that it is compiled
/// with the features of the tier that runs it.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

/// Borrowed memory to read, with the geometry that was checked against it.
#[derive(Debug, Clone)]
pub(crate) struct Readable<'a, T> {
    first: *const T,
    geometry: Geometry,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: it stands for a `&[T]`.
unsafe impl<T: Sync> Send for Readable<'_, T> {}
// SAFETY: it stands for a `&[T]`.
unsafe impl<T: Sync> Sync for Readable<'_, T> {}

impl<'a, T: Element> Readable<'a, T> {
    /// The layout must have been checked against the slice; checked again, so that this is sound alone.
    pub fn from_slice(data: &'a [T], offset: usize, layout: &Layout) -> Self {
        layout.check_bounds(offset, data.len()).expect("the caller has checked the bounds");
        // An empty view may have any offset; it is never read.
        let first = data.as_ptr().wrapping_add(offset);
        Readable { first, geometry: layout.geometry(), borrow: PhantomData }
    }

    #[cfg(feature = "ndarray")]
    pub fn from_array<D: ndarray::Dimension>(array: ndarray::ArrayView<'a, T, D>, layout: &Layout) -> Self {
        assert!(array.shape() == layout.shape && array.strides() == layout.strides);
        // ndarray guarantees that the elements its shape and strides reach from here live for 'a.
        Readable { first: array.as_ptr(), geometry: layout.geometry(), borrow: PhantomData }
    }

    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The values from a logical index on, as far as they lie side by side. The innermost stride must be 1.
    #[inline]
    pub fn run(&self, channel: usize, index: usize) -> &[T] {
        let geometry = &self.geometry;
        assert!(channel < geometry.channels && index < geometry.count && geometry.inner().1 == 1);
        let (offset, left) = geometry.locate(channel, index);
        // SAFETY: the elements `index..index + left` of the channel exist (fact 1) and are adjacent (stride 1).
        unsafe { std::slice::from_raw_parts(self.first.offset(offset), left) }
    }

    /// The rows of all channels in a range of logical indices, as one slice. Needs dense rows.
    #[inline]
    pub fn rows(&self, range: Range<usize>) -> &[T] {
        let geometry = &self.geometry;
        assert!(geometry.is_dense_rows() && range.start < range.end && range.end <= geometry.count);
        let (offset, _) = geometry.locate(0, range.start);
        // SAFETY: all elements of these rows exist (fact 1) and dense rows follow each other without gaps.
        unsafe { std::slice::from_raw_parts(self.first.offset(offset), range.len() * geometry.channels) }
    }

    /// Values of one channel in logical order, as a slice: in place where they lie side by side, else copied to
    /// `scratch`.
    #[inline]
    pub fn chunk<'s>(&'s self, channel: usize, range: Range<usize>, scratch: &'s mut [T]) -> &'s [T] {
        if self.geometry.inner().1 == 1 {
            let run = self.run(channel, range.start);
            if run.len() >= range.len() {
                return &run[..range.len()];
            }
        }
        let len = range.len();
        self.gather(channel, range, &mut scratch[..len]);
        &scratch[..len]
    }

    /// Copies values of one channel, in logical order.
    pub fn gather(&self, channel: usize, range: Range<usize>, into: &mut [T]) {
        let geometry = &self.geometry;
        assert!(channel < geometry.channels && range.end <= geometry.count && into.len() == range.len());
        let stride = geometry.inner().1;
        let mut done = 0;
        while done < into.len() {
            let (offset, left) = geometry.locate(channel, range.start + done);
            let len = left.min(into.len() - done);
            let part = &mut into[done..done + len];
            // SAFETY: the `len` elements from here on, `stride` apart, exist (fact 1).
            unsafe {
                let source = self.first.offset(offset);
                if stride == 1 {
                    part.copy_from_slice(std::slice::from_raw_parts(source, len));
                } else {
                    for (at, value) in part.iter_mut().enumerate() {
                        *value = *source.offset(at as isize * stride);
                    }
                }
            }
            done += len;
        }
    }

    /// Copies a block of channels, channel `c` of the block to `tile[c * pitch ..]`, each in logical order.
    pub fn gather_block(&self, channels: Range<usize>, range: Range<usize>, tile: &mut [T], pitch: usize) {
        let geometry = &self.geometry;
        assert!(channels.end <= geometry.channels && range.end <= geometry.count && range.len() <= pitch);
        assert!(tile.len() >= channels.len() * pitch);
        if !geometry.is_dense_rows() || channels.len() == 1 {
            for (row, channel) in channels.enumerate() {
                self.gather(channel, range.clone(), &mut tile[row * pitch..row * pitch + range.len()]);
            }
            return;
        }
        // A transposition, in squares: each line of memory is read once and each line of the tile written once.
        const SIDE: usize = 16;
        for start in range.clone().step_by(SIDE) {
            let height = SIDE.min(range.end - start);
            let rows = self.rows(start..start + height);
            for left in channels.clone().step_by(SIDE) {
                let width = SIDE.min(channels.end - left);
                let corner = (left - channels.start) * pitch + start - range.start;
                if (height, width) == (SIDE, SIDE) {
                    // The same loops with lengths the compiler knows.
                    transpose::<T>(rows, geometry.channels, left, SIDE, SIDE, tile, corner, pitch);
                } else {
                    transpose::<T>(rows, geometry.channels, left, height, width, tile, corner, pitch);
                }
            }
        }
    }
}

#[allow(clippy::too_many_arguments)] // two corners and their pitches
#[inline(always)]
fn transpose<T: Copy>(
    rows: &[T],
    row_pitch: usize,
    left: usize,
    height: usize,
    width: usize,
    tile: &mut [T],
    corner: usize,
    pitch: usize,
) {
    for column in 0..width {
        let line = &mut tile[corner + column * pitch..][..height];
        for (row, value) in line.iter_mut().enumerate() {
            *value = rows[row * row_pitch + left + column];
        }
    }
}

/// How an output is cut into cells: blocks of channels times ranges of logical indices. Cells are numbered with the
/// channel block fastest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub channels: usize,
    pub block: usize,
    pub count: usize,
    pub range: usize,
}

impl Grid {
    pub fn cells(&self) -> usize {
        self.channels.div_ceil(self.block) * self.count.div_ceil(self.range)
    }

    pub fn cell(&self, number: usize) -> (Range<usize>, Range<usize>) {
        let blocks = self.channels.div_ceil(self.block);
        let (channel, start) = (number % blocks * self.block, number / blocks * self.range);
        (channel..(channel + self.block).min(self.channels), start..(start + self.range).min(self.count))
    }
}

/// Borrowed memory to write, with the geometry that was checked against it.
#[derive(Debug)]
pub(crate) struct Writable<'a, T> {
    first: *mut T,
    geometry: Geometry,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`.
unsafe impl<T: Send> Send for Writable<'_, T> {}
// SAFETY: it stands for a `&mut [T]`; through a shared reference only its geometry can be seen.
unsafe impl<T: Send + Sync> Sync for Writable<'_, T> {}

impl<'a, T: Element> Writable<'a, T> {
    /// The layout must have been checked against the slice; checked again, so that this is sound alone.
    pub fn from_slice(data: &'a mut [T], offset: usize, layout: &Layout) -> Self {
        layout.check_bounds(offset, data.len()).expect("the caller has checked the bounds");
        layout.check_distinct().expect("the caller has checked the strides");
        let first = data.as_mut_ptr().wrapping_add(offset);
        Writable { first, geometry: layout.geometry(), borrow: PhantomData }
    }

    #[cfg(feature = "ndarray")]
    pub fn from_array<D: ndarray::Dimension>(mut array: ndarray::ArrayViewMut<'a, T, D>, layout: &Layout) -> Self {
        assert!(array.shape() == layout.shape && array.strides() == layout.strides);
        layout.check_distinct().expect("the caller has checked the strides");
        Writable { first: array.as_mut_ptr(), geometry: layout.geometry(), borrow: PhantomData }
    }

    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Runs `task(scratch, channels, range, cell)` for each cell of the grid, spread over threads; the results in
    /// the order of the cells.
    pub fn for_each_cell<S, R: Send>(
        &mut self,
        grid: Grid,
        threads: usize,
        scratch: impl Fn() -> S + Sync + Send,
        task: impl Fn(&mut S, Range<usize>, Range<usize>, &mut Cell<T>) -> R + Sync + Send,
    ) -> Vec<R> {
        assert!(grid.channels <= self.geometry.channels && grid.count <= self.geometry.count);
        let memory = Shared(self.first);
        let geometry = &self.geometry;
        parallel::map(grid.cells(), threads, scratch, |own, number| {
            let (channels, range) = grid.cell(number);
            // Cells of different numbers are disjoint (fact 2), and each number comes once.
            let first = memory.pointer();
            let mut cell = Cell { first, geometry, channels: channels.clone(), range: range.clone() };
            task(own, channels, range, &mut cell)
        })
    }
}

/// A pointer that tasks on other threads may hold; they write disjoint cells through it.
struct Shared<T>(*mut T);

// SAFETY: `for_each_cell` gives disjoint cells to the tasks.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn pointer(&self) -> *mut T {
        self.0
    }
}

/// The exclusive right to write some channels in a range of logical indices.
#[derive(Debug)]
pub(crate) struct Cell<'g, T> {
    first: *mut T,
    geometry: &'g Geometry,
    channels: Range<usize>,
    range: Range<usize>,
}

impl<T: Element> Cell<'_, T> {
    /// As [`Readable::run`], cut at the end of the cell.
    #[inline]
    pub fn run(&mut self, channel: usize, index: usize) -> &mut [T] {
        assert!(self.channels.contains(&channel) && self.range.contains(&index) && self.geometry.inner().1 == 1);
        let (offset, left) = self.geometry.locate(channel, index);
        let len = left.min(self.range.end - index);
        // SAFETY: these elements exist (fact 1), are adjacent (stride 1) and belong to this cell alone (fact 2).
        unsafe { std::slice::from_raw_parts_mut(self.first.offset(offset), len) }
    }

    /// The cell's rows of all channels, as one slice. Needs dense rows and a cell of all channels.
    #[inline]
    pub fn rows(&mut self) -> &mut [T] {
        let geometry = self.geometry;
        assert!(geometry.is_dense_rows() && self.channels == (0..geometry.channels) && !self.range.is_empty());
        let (offset, _) = geometry.locate(0, self.range.start);
        // SAFETY: as in `Readable::rows`, and the rows belong to this cell alone (fact 2).
        unsafe { std::slice::from_raw_parts_mut(self.first.offset(offset), self.range.len() * geometry.channels) }
    }

    /// Copies values to one channel, in logical order.
    pub fn scatter(&mut self, channel: usize, range: Range<usize>, from: &[T]) {
        assert!(self.channels.contains(&channel) && from.len() == range.len());
        assert!(self.range.start <= range.start && range.end <= self.range.end);
        let stride = self.geometry.inner().1;
        let mut done = 0;
        while done < from.len() {
            let (offset, left) = self.geometry.locate(channel, range.start + done);
            let len = left.min(from.len() - done);
            for (at, &value) in from[done..done + len].iter().enumerate() {
                // SAFETY: the element exists (fact 1) and belongs to this cell alone (fact 2).
                unsafe { *self.first.offset(offset + at as isize * stride) = value };
            }
            done += len;
        }
    }
}
