//! Memory of any strides, read, and shared out between threads to be written.
//!
//! All other code works on slices that are handed out here. Three facts make that sound, with what this file, `machine::isa`,
//! `machine::x86` and `machine::prefetch` do with `unsafe`:
//! 1. A [`Readable`] or [`Writable`] is only made where every element of its geometry was checked to lie in the
//!    borrowed memory (or where `ndarray` guarantees it), so an offset computed from a channel below `channels` and
//!    an index below `count` is valid; both are asserted here. (Several channel axes that do not nest make no difference: a
//!    channel's offset is the sum of an index below the length of each of them times its stride, [`Geometry::channel_offset`];
//!    and slices at one distance from each other are those of channels asserted to be neighbours, [`Geometry::side_by_side`].)
//! 2. A `Writable`'s elements have distinct places, so cells of disjoint channels or indices are disjoint memory;
//!    [`Writable::for_each_cell`] gives each cell of a [`Grid`] out once.
//! 3. An `Isa` exists only for instruction sets that this machine was found to have.
#![allow(unsafe_code)]

use super::geometry::{Geometry, Runs};
use super::grid::{Grid, within};
use super::layout::{Arrangement, Layout};
use super::prefetch_distance::next_run_distance;
use super::transpose::transpose;
use crate::machine::prefetch::{elements_to_line, fence, prefetch};
use crate::threads::Crew;
use std::marker::PhantomData;
use std::ops::Range;

/// Borrowed memory to read, with the geometry that was checked against it.
#[derive(Debug, Clone)]
pub struct Readable<'a, T> {
    first: *const T,
    geometry: Geometry,
    /// The channels and logical indices that may be read: all, but of a cell.
    part: (Range<usize>, Range<usize>),
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: it stands for a `&[T]`.
unsafe impl<T: Sync> Send for Readable<'_, T> {}
// SAFETY: it stands for a `&[T]`.
unsafe impl<T: Sync> Sync for Readable<'_, T> {}

impl<'a, T: Copy> Readable<'a, T> {
    /// The layout must have been checked against the slice; checked again, so that this is sound alone.
    pub fn from_slice(data: &'a [T], offset: usize, layout: &Layout) -> Self {
        layout.check_bounds(offset, data.len()).expect("the caller has checked the bounds");
        // An empty view may have any offset; it is never read.
        Self::whole(data.as_ptr().wrapping_add(offset), layout.geometry())
    }

    fn whole(first: *const T, geometry: Geometry) -> Self {
        Readable { part: (0..geometry.channels, 0..geometry.count), first, geometry, borrow: PhantomData }
    }

    /// The memory of an `ndarray` array, which the layout must describe.
    #[cfg(feature = "ndarray")]
    pub fn from_array<D: ndarray::Dimension>(array: ndarray::ArrayView<'a, T, D>, layout: &Layout) -> Self {
        assert!(array.shape() == layout.shape && array.strides() == layout.strides);
        // ndarray guarantees that the elements its shape and strides reach from here live for 'a.
        Self::whole(array.as_ptr(), layout.geometry())
    }

    /// Where the elements lie.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The same elements in parts, with rows for channels ([`Layout::parts`]). The layout must be this array's.
    pub fn rearranged(&self, layout: &Layout, arrangement: &Arrangement, joined: usize) -> Vec<Readable<'_, T>> {
        assert!(layout.geometry() == self.geometry && self.part == (0..self.geometry.channels, 0..self.geometry.count));
        let (offsets, geometry) = layout.parts(arrangement, joined);
        // Elements of the parts are elements of this array (fact 1).
        let part = |offset| Self::whole(self.first.wrapping_offset(offset), geometry.clone());
        offsets.into_iter().map(part).collect()
    }

    /// The same elements as [`Geometry::planes_as_rows`].
    pub(crate) fn planes_as_rows(&self) -> Option<Readable<'_, T>> {
        assert!(self.part == (0..self.geometry.channels, 0..self.geometry.count));
        // The elements are this array's, at other numbers (fact 1).
        Some(Self::whole(self.first, self.geometry.planes_as_rows()?))
    }

    /// Some of an axis, of the array that `layout` is of.
    pub fn narrowed(&self, layout: &Layout, axis: usize, range: Range<usize>) -> (Layout, Readable<'a, T>) {
        assert!(layout.geometry() == self.geometry && range.end <= layout.shape[axis]);
        let (narrow, offset) = layout.narrowed(axis, range);
        // The elements of the narrower array are some of this one's (fact 1).
        let memory = Self::whole(self.first.wrapping_offset(offset), narrow.geometry());
        (narrow, memory)
    }

    /// `len` values from a logical index on of each of some neighbouring channels, side by side. The innermost stride must be 1.
    #[inline]
    pub fn runs(&self, channels: Range<usize>, index: usize, len: usize) -> Segments<'_, T> {
        assert!(within(&self.part, &channels, &(index..index + len)));
        let (offset, stride) = (self.geometry.side_by_side(&channels, index, len), self.geometry.channel_stride);
        // The elements `index..index + len` of each channel exist (fact 1) and are adjacent, and the channels are neighbours, as was
        // asserted.
        let next = self.first.wrapping_offset(offset + self.geometry.channel_offset(channels.start));
        Segments { next, stride, len, left: channels.len(), borrow: PhantomData }
    }

    /// The values of one channel in a range of logical indices, piece after piece. The innermost stride must be 1.
    #[inline(always)]
    pub fn pieces(&self, channel: usize, range: Range<usize>) -> Pieces<'_, T> {
        assert!(self.part.0.contains(&channel) && within(&self.part, &self.part.0, &range));
        assert!(self.geometry.inner().1 == 1);
        let runs = self.geometry.runs(range);
        let first = self.first.wrapping_offset(self.geometry.channel_offset(channel));
        Pieces { first, runs, borrow: PhantomData }
    }

    /// The rows of all channels in a range of logical indices, as one slice. Needs dense rows.
    #[inline]
    pub fn rows(&self, range: Range<usize>) -> &[T] {
        let geometry = &self.geometry;
        assert!(geometry.is_dense_rows() && !range.is_empty() && within(&self.part, &(0..geometry.channels), &range));
        let (offset, _) = geometry.locate(range.start);
        // SAFETY: all elements of these rows exist (fact 1) and dense rows follow each other without gaps.
        unsafe { std::slice::from_raw_parts(self.first.offset(offset), range.len() * geometry.channels) }
    }

    /// Prefetches values of one channel that come in runs.
    pub fn prefetch(&self, channel: usize, range: Range<usize>) {
        let first = self.first.wrapping_offset(self.geometry.channel_offset(channel));
        for (offset, len) in self.geometry.runs(range) {
            prefetch(first.wrapping_offset(offset), len);
        }
    }

    /// Copies a block of channels, channel `c` of the block to `tile[c * pitch ..]`, each in logical order.
    pub fn gather_block(&self, channels: Range<usize>, range: Range<usize>, tile: &mut [T], pitch: usize) {
        let geometry = &self.geometry;
        assert!(within(&self.part, &channels, &range) && range.len() <= pitch);
        assert!(tile.len() >= channels.len() * pitch);
        if !geometry.is_dense_rows() || channels.len() == 1 || self.part.0 != (0..geometry.channels) {
            // Run after run, all channels of each: where channels are neighbours, memory is read in order.
            let (stride, distance, mut done) = (geometry.inner().1, next_run_distance(geometry, size_of::<T>()), 0);
            for (offset, len) in geometry.runs(range) {
                for (row, channel) in channels.clone().enumerate() {
                    let into = &mut tile[row * pitch + done..][..len];
                    // SAFETY: the `len` elements from here on, `stride` apart, exist (fact 1).
                    unsafe {
                        let source = self.first.offset(offset + geometry.channel_offset(channel));
                        if stride == 1 {
                            prefetch(source.wrapping_offset(distance), len);
                            into.copy_from_slice(std::slice::from_raw_parts(source, len));
                        } else {
                            for (at, value) in into.iter_mut().enumerate() {
                                *value = *source.offset(at as isize * stride);
                            }
                        }
                    }
                }
                done += len;
            }
            return;
        }
        // A transposition, in squares: each line of memory is read once and each line of the tile written once.
        const SQUARE: usize = 16;
        for start in range.clone().step_by(SQUARE) {
            let height = SQUARE.min(range.end - start);
            let rows = self.rows(start..start + height);
            for left in channels.clone().step_by(SQUARE) {
                let width = SQUARE.min(channels.end - left);
                let corner = (left - channels.start) * pitch + start - range.start;
                if (height, width) == (SQUARE, SQUARE) {
                    // A whole square: loops of lengths that the compiler knows.
                    transpose::<T>(rows, geometry.channels, left, SQUARE, SQUARE, tile, corner, pitch);
                } else {
                    transpose::<T>(rows, geometry.channels, left, height, width, tile, corner, pitch);
                }
            }
        }
    }
}

/// Slices of one length, at equal distances.
#[derive(Debug, Clone)]
pub struct Segments<'a, T> {
    next: *const T,
    stride: isize,
    len: usize,
    /// How many there are yet.
    left: usize,
    borrow: PhantomData<&'a [T]>,
}

impl<'a, T> Segments<'a, T> {
    /// The parts of a slice, without what is left at its end.
    pub fn of(slice: &'a [T], len: usize) -> Self {
        let left = slice.len() / len;
        Segments { next: slice.as_ptr(), stride: len as isize, len, left, borrow: PhantomData }
    }
}

impl<'a, T> Iterator for Segments<'a, T> {
    type Item = &'a [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [T]> {
        self.left = self.left.checked_sub(1)?;
        let first = self.next;
        self.next = first.wrapping_offset(self.stride);
        // SAFETY: whoever makes these has checked that all of them exist.
        Some(unsafe { std::slice::from_raw_parts(first, self.len) })
    }
}

/// Slices to write, likewise; no two of them overlap.
#[derive(Debug)]
pub struct SegmentsMut<'a, T> {
    next: *mut T,
    stride: isize,
    len: usize,
    /// How many there are yet.
    left: usize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T> SegmentsMut<'a, T> {
    /// One slice.
    pub fn one(slice: &'a mut [T]) -> Self {
        SegmentsMut { len: slice.len(), next: slice.as_mut_ptr(), stride: 0, left: 1, borrow: PhantomData }
    }
}

impl<'a, T> Iterator for SegmentsMut<'a, T> {
    type Item = &'a mut [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a mut [T]> {
        self.left = self.left.checked_sub(1)?;
        let first = self.next;
        self.next = first.wrapping_offset(self.stride);
        // SAFETY: whoever makes these has checked that all of them exist and are its own, and each is given out once.
        Some(unsafe { std::slice::from_raw_parts_mut(first, self.len) })
    }
}

/// Values of a channel in logical order, in pieces that lie side by side.
#[derive(Debug, Clone)]
pub struct Pieces<'a, T> {
    /// The channel's first value.
    first: *const T,
    runs: Runs<'a>,
    borrow: PhantomData<&'a [T]>,
}

impl<'a, T> Iterator for Pieces<'a, T> {
    type Item = &'a [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [T]> {
        let (offset, len) = self.runs.next()?;
        // SAFETY: the elements of the channel in the range exist (fact 1), and those of a run are adjacent, as was asserted.
        Some(unsafe { std::slice::from_raw_parts(self.first.offset(offset), len) })
    }
}

/// Borrowed memory to write, with the geometry that was checked against it.
#[derive(Debug)]
pub struct Writable<'a, T> {
    first: *mut T,
    geometry: Geometry,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`.
unsafe impl<T: Send> Send for Writable<'_, T> {}
// SAFETY: it stands for a `&mut [T]`: a shared reference reads, writing takes the exclusive one.
unsafe impl<T: Send + Sync> Sync for Writable<'_, T> {}

impl<'a, T: Copy + Send> Writable<'a, T> {
    /// The layout must have been checked against the slice; checked again, so that this is sound alone.
    pub fn from_slice(data: &'a mut [T], offset: usize, layout: &Layout) -> Self {
        layout.check_bounds(offset, data.len()).expect("the caller has checked the bounds");
        layout.check_distinct().expect("the caller has checked the strides");
        let first = data.as_mut_ptr().wrapping_add(offset);
        Writable { first, geometry: layout.geometry(), borrow: PhantomData }
    }

    /// The memory of an `ndarray` array, which the layout must describe.
    #[cfg(feature = "ndarray")]
    pub fn from_array<D: ndarray::Dimension>(mut array: ndarray::ArrayViewMut<'a, T, D>, layout: &Layout) -> Self {
        assert!(array.shape() == layout.shape && array.strides() == layout.strides);
        layout.check_distinct().expect("the caller has checked the strides");
        Writable { first: array.as_mut_ptr(), geometry: layout.geometry(), borrow: PhantomData }
    }

    /// Where the elements lie.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The same memory, for a shorter time.
    pub fn reborrow(&mut self) -> Writable<'_, T> {
        Writable { first: self.first, geometry: self.geometry.clone(), borrow: PhantomData }
    }

    /// As [`Readable::rearranged`].
    pub fn rearranged(&mut self, layout: &Layout, arrangement: &Arrangement, joined: usize) -> Vec<Writable<'_, T>> {
        assert!(layout.geometry() == self.geometry);
        let (offsets, geometry) = layout.parts(arrangement, joined);
        // Parts have each element once, so they are disjoint memory (fact 2).
        let part = |offset| {
            let first = self.first.wrapping_offset(offset);
            Writable { first, geometry: geometry.clone(), borrow: PhantomData }
        };
        offsets.into_iter().map(part).collect()
    }

    /// As [`Readable::planes_as_rows`].
    pub(crate) fn planes_as_rows(&mut self) -> Option<Writable<'_, T>> {
        // The elements are this array's, each at one other number (facts 1 and 2).
        Some(Writable { first: self.first, geometry: self.geometry.planes_as_rows()?, borrow: PhantomData })
    }

    /// As [`Readable::narrowed`], for a shorter time.
    pub fn narrowed(&mut self, layout: &Layout, axis: usize, range: Range<usize>) -> (Layout, Writable<'_, T>) {
        assert!(layout.geometry() == self.geometry && range.end <= layout.shape[axis]);
        let (narrow, offset) = layout.narrowed(axis, range);
        // The elements of the narrower array are some of this one's, each at its own place (facts 1 and 2).
        let first = self.first.wrapping_offset(offset);
        let memory = Writable { first, geometry: narrow.geometry(), borrow: PhantomData };
        (narrow, memory)
    }

    /// Number of elements before the first cache line, counted from the first element.
    pub fn elements_to_line(&self) -> usize {
        elements_to_line(self.first)
    }

    /// The same memory, to be read as long as it is not written.
    pub fn as_readable(&self) -> Readable<'_, T> {
        Readable::whole(self.first, self.geometry.clone())
    }

    /// Runs `task(scratch, channels, range, cells)` for each cell of the grid in some arrays, spread over threads; the
    /// results in the order of the cells.
    pub(crate) fn for_each_cell<S, R: Send, const O: usize>(
        arrays: &mut [&mut Writable<T>; O],
        grid: Grid,
        crew: Crew,
        scratch: impl Fn() -> S + Sync,
        task: impl Fn(&mut S, Range<usize>, Range<usize>, &mut [Cell<T>; O]) -> R + Sync,
    ) -> Vec<R> {
        let fits = |geometry: &Geometry| grid.channels <= geometry.channels && grid.count <= geometry.count;
        assert!(arrays.iter().all(|array| fits(&array.geometry)));
        let memories = arrays.each_ref().map(|array| (Shared(array.first), &array.geometry));
        crew.map(grid.cells(), scratch, |own, number| {
            let part = grid.cell(number);
            // Cells of different numbers are disjoint (fact 2), and each number comes once.
            let mut cells = memories.each_ref().map(|(memory, geometry)| Cell {
                first: memory.pointer(),
                geometry,
                part: part.clone(),
                streamed: false,
            });
            task(own, part.0, part.1, &mut cells)
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
pub struct Cell<'g, T> {
    first: *mut T,
    geometry: &'g Geometry,
    part: (Range<usize>, Range<usize>),
    /// Streamed values may still be on their way to memory.
    streamed: bool,
}

impl<T> Drop for Cell<'_, T> {
    /// Waits until what was streamed is where others see it, also where a task ends by a panic.
    fn drop(&mut self) {
        if self.streamed {
            fence();
        }
    }
}

impl<'g, T: Copy> Cell<'g, T> {
    /// Geometry of the whole array.
    pub fn geometry(&self) -> &'g Geometry {
        self.geometry
    }

    /// The same elements, to be read as long as they are not written.
    pub fn as_readable(&self) -> Readable<'_, T> {
        Readable { first: self.first, geometry: self.geometry.clone(), part: self.part.clone(), borrow: PhantomData }
    }

    /// From here on, what is written may have been put past the caches: a fence follows before others see it (`drop`).
    pub fn stream(&mut self) {
        self.streamed = true;
    }

    /// As [`Readable::runs`], within the cell.
    #[inline]
    pub fn runs(&mut self, channels: Range<usize>, index: usize, len: usize) -> SegmentsMut<'_, T> {
        assert!(within(&self.part, &channels, &(index..index + len)));
        let (offset, stride) = (self.geometry.side_by_side(&channels, index, len), self.geometry.channel_stride);
        // These elements exist (fact 1), are adjacent, as was asserted, and belong to this cell alone (fact 2), each
        // channel's to its own segment; the channels are neighbours, as was asserted.
        let next = self.first.wrapping_offset(offset + self.geometry.channel_offset(channels.start));
        SegmentsMut { next, stride, len, left: channels.len(), borrow: PhantomData }
    }

    /// The cell's rows of all channels, as one slice. Needs dense rows and a cell of all channels.
    #[inline]
    pub fn rows(&mut self) -> &mut [T] {
        let geometry = self.geometry;
        let (channels, range) = &self.part;
        assert!(geometry.is_dense_rows() && *channels == (0..geometry.channels) && !range.is_empty());
        let (offset, _) = geometry.locate(range.start);
        // SAFETY: as in `Readable::rows`, and the rows belong to this cell alone (fact 2).
        unsafe { std::slice::from_raw_parts_mut(self.first.offset(offset), range.len() * geometry.channels) }
    }

    /// Copies values to one channel, in logical order.
    pub fn scatter(&mut self, channel: usize, range: Range<usize>, from: &[T]) {
        assert!(self.part.0.contains(&channel) && within(&self.part, &self.part.0, &range));
        assert!(from.len() == range.len());
        let (stride, mut from) = (self.geometry.inner().1, from.iter());
        let channel_offset = self.geometry.channel_offset(channel);
        for (offset, len) in self.geometry.runs(range) {
            let first = channel_offset + offset;
            for (at, &value) in from.by_ref().take(len).enumerate() {
                // SAFETY: the element exists (fact 1) and belongs to this cell alone (fact 2).
                unsafe { *self.first.offset(first + at as isize * stride) = value };
            }
        }
    }
}
