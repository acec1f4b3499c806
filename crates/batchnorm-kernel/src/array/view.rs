//! Views: any array with a channel axis, borrowed.

use super::error::ViewError;
use super::layout::{Arrangement, Axes, AxisRole, Layout, column_major, elements, row_major};
use super::memory::{Readable, Writable};
use crate::number::Number;
use std::ops::Range;

/// A borrowed array of any rank >= 2 and any strides, to be read.
///
/// ```
/// use batchnorm_kernel::{Axes, View};
/// let data = [0.0f32; 2 * 3 * 4 * 4];
/// let nchw = View::new(&data, &[2, 3, 4, 4], Axes::NCHW)?;
/// let nhwc = View::new(&data, &[2, 4, 4, 3], Axes::NHWC)?;
/// assert_eq!((nchw.channels(), nhwc.channels()), (3, 3));
/// # Ok::<(), batchnorm_kernel::ViewError>(())
/// ```
#[derive(Debug, Clone)]
pub struct View<'a, T> {
    layout: Layout,
    memory: Readable<'a, T>,
}

/// A borrowed array of any rank >= 2, to be written: a caller's output buffer. No element may share its place with
/// another; nor with one of an input of the same call, which the borrow checker sees to:
///
/// ```compile_fail,E0502
/// use batchnorm_kernel::{Axes, View, ViewMut};
/// let mut data = [1.0f32, 2.0, 3.0, 4.0];
/// let x = View::new(&data, &[4, 1], Axes::NCHW).unwrap();
/// let y = ViewMut::new(&mut data, &[4, 1], Axes::NCHW).unwrap(); // `data` is borrowed by `x`
/// assert_eq!(x.channels(), 1);
/// ```
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    layout: Layout,
    memory: Writable<'a, T>,
}

/// Checks that a dense buffer has exactly the shape's number of elements.
fn check_dense(shape: &[usize], got: usize) -> Result<(), ViewError> {
    let expected = elements(shape)?;
    if got != expected {
        return Err(ViewError::Length { shape: shape.to_vec(), expected, got });
    }
    Ok(())
}

impl<'a, T: Number> View<'a, T> {
    /// A dense array in row-major (C) order.
    ///
    /// # Errors
    /// Rank below 2, no such channel axis, no other axis, zero channels, a buffer of another length than the shape's product.
    pub fn new(data: &'a [T], shape: &[usize], axes: Axes) -> Result<Self, ViewError> {
        let layout = Layout::new(shape, row_major(shape), axes)?;
        check_dense(shape, data.len())?;
        Self::with_layout(data, 0, layout)
    }

    /// A dense array in column-major (Fortran, MATLAB) order.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn column_major(data: &'a [T], shape: &[usize], axes: Axes) -> Result<Self, ViewError> {
        let layout = Layout::new(shape, column_major(shape), axes)?;
        check_dense(shape, data.len())?;
        Self::with_layout(data, 0, layout)
    }

    /// An array of any strides (in elements, negative and zero allowed) whose first logical element is
    /// `data[offset]`.
    ///
    /// # Errors
    /// As [`View::new`], and if an element lies outside the buffer.
    pub fn with_strides(
        data: &'a [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
        axes: Axes,
    ) -> Result<Self, ViewError> {
        Self::with_layout(data, offset, Layout::new(shape, strides.to_vec(), axes)?)
    }

    fn with_layout(data: &'a [T], offset: usize, layout: Layout) -> Result<Self, ViewError> {
        layout.check_bounds(offset, data.len())?;
        Ok(View { memory: Readable::from_slice(data, offset, &layout), layout })
    }

    /// The view of an `ndarray` array of any strides, without copying.
    ///
    /// # Errors
    /// Rank below 2, no such channel axis, no other axis, zero channels.
    #[cfg(feature = "ndarray")]
    pub fn of<D: ndarray::Dimension>(array: ndarray::ArrayView<'a, T, D>, axes: Axes) -> Result<Self, ViewError> {
        let layout = Layout::new(array.shape(), array.strides().to_vec(), axes)?;
        Ok(View { memory: Readable::from_array(array, &layout), layout })
    }

    /// An array that is laid out so.
    #[doc(hidden)]
    pub fn from_memory(memory: Readable<'a, T>, layout: Layout) -> Self {
        assert!(*memory.geometry() == layout.geometry());
        View { layout, memory }
    }

    /// Where its elements lie.
    #[doc(hidden)]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its elements.
    #[doc(hidden)]
    pub fn memory(&self) -> &Readable<'a, T> {
        &self.memory
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.layout.channels()
    }

    /// Length of the first sample axis; 1 where there is none.
    pub fn samples(&self) -> usize {
        if self.layout.samples == 0 { 1 } else { self.shape()[self.layout.others[0]] }
    }

    /// Some of the samples.
    #[doc(hidden)]
    pub fn of_samples(&self, range: Range<usize>) -> View<'a, T> {
        if self.layout.samples == 0 {
            return self.clone();
        }
        let (layout, memory) = self.memory.narrowed(&self.layout, self.layout.others[0], range);
        View { layout, memory }
    }

    /// Values a channel: the product of all other axes.
    pub fn count(&self) -> usize {
        self.memory.geometry().count
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The channel axis, counted from the front; the first one listed where there are several.
    pub fn channel_axis(&self) -> usize {
        self.layout.channel_axes[0]
    }

    /// The channel axes, counted from the front, in the order in which they number the channels: the last one fastest.
    pub fn channel_axes(&self) -> &[usize] {
        &self.layout.channel_axes
    }

    /// What each axis means, in the order of the shape. (In which order several channel axes count, [`channel_axes`](Self::channel_axes) says.)
    pub fn roles(&self) -> Vec<AxisRole> {
        let Layout { channel_axes, others, samples, .. } = &self.layout;
        let mut roles = vec![AxisRole::Space; self.shape().len()];
        channel_axes.iter().for_each(|&axis| roles[axis] = AxisRole::Channel);
        others[..*samples].iter().for_each(|&axis| roles[axis] = AxisRole::Sample);
        roles
    }

    /// The values in row-major (C) order of the shape, wherever they lie in memory.
    ///
    /// ```
    /// use batchnorm_kernel::{Axes, View};
    /// let columns = [1.0f32, 3.0, 2.0, 4.0]; // of the table 1 2 / 3 4
    /// assert_eq!(View::column_major(&columns, &[2, 2], Axes::NCHW)?.to_vec(), [1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), batchnorm_kernel::ViewError>(())
    /// ```
    pub fn to_vec(&self) -> Vec<T> {
        if self.layout.is_empty() {
            return Vec::new();
        }
        // All axes number the values of one row, in the order of the shape.
        let values = (0..self.shape().len()).map(|axis| self.layout.place(axis)).collect();
        let arrangement = Arrangement { rows: Vec::new(), values, groups: None };
        let len = self.layout.len();
        let mut all = vec![T::default(); len];
        for part in self.memory.rearranged(&self.layout, &arrangement, 0) {
            part.gather_block(0..1, 0..len, &mut all, len);
        }
        all
    }
}

impl<'a, T: Number> ViewMut<'a, T> {
    /// A dense buffer in row-major (C) order.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn new(data: &'a mut [T], shape: &[usize], axes: Axes) -> Result<Self, ViewError> {
        let layout = Layout::new(shape, row_major(shape), axes)?;
        check_dense(shape, data.len())?;
        Self::with_layout(data, 0, layout)
    }

    /// A buffer of any strides whose first logical element is `data[offset]`.
    ///
    /// # Errors
    /// As [`View::with_strides`], and if elements may share a place.
    pub fn with_strides(
        data: &'a mut [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
        axes: Axes,
    ) -> Result<Self, ViewError> {
        Self::with_layout(data, offset, Layout::new(shape, strides.to_vec(), axes)?)
    }

    /// Some of the samples.
    #[doc(hidden)]
    pub fn of_samples(&mut self, range: Range<usize>) -> ViewMut<'_, T> {
        if self.layout.samples == 0 {
            return self.reborrow();
        }
        let (layout, memory) = self.memory.narrowed(&self.layout, self.layout.others[0], range);
        ViewMut { layout, memory }
    }

    /// Where its elements lie.
    #[doc(hidden)]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its elements.
    #[doc(hidden)]
    pub fn memory(&mut self) -> &mut Writable<'a, T> {
        &mut self.memory
    }

    /// The same array, for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut { layout: self.layout.clone(), memory: self.memory.reborrow() }
    }

    /// The same array, to be read.
    pub fn as_view(&self) -> View<'_, T> {
        View { memory: self.memory.as_readable(), layout: self.layout.clone() }
    }

    #[doc(hidden)]
    pub fn with_layout(data: &'a mut [T], offset: usize, layout: Layout) -> Result<Self, ViewError> {
        layout.check_bounds(offset, data.len())?;
        layout.check_distinct()?;
        Ok(ViewMut { memory: Writable::from_slice(data, offset, &layout), layout })
    }

    /// The view of a mutable `ndarray` array of any strides.
    ///
    /// # Errors
    /// As [`View::of`].
    #[cfg(feature = "ndarray")]
    pub fn of<D: ndarray::Dimension>(array: ndarray::ArrayViewMut<'a, T, D>, axes: Axes) -> Result<Self, ViewError> {
        let layout = Layout::new(array.shape(), array.strides().to_vec(), axes)?;
        layout.check_distinct()?;
        Ok(ViewMut { memory: Writable::from_array(array, &layout), layout })
    }
}
