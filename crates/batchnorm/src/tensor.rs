//! Dense arrays that calls return.

use crate::call_error::CallError;
use batchnorm_kernel::passes::Layout;
use batchnorm_kernel::{Element, ViewMut};

/// A dense array in row-major (C) order, as calls return it: the shape of the input it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Element> Tensor<T> {
    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, last axis fastest.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, last axis fastest, given away.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// The tensor as an `ndarray` array, without copying.
    #[cfg(feature = "ndarray")]
    pub fn into_array(self) -> ndarray::ArrayD<T> {
        ndarray::ArrayD::from_shape_vec(self.shape, self.data).expect("a tensor's data has its shape's length")
    }

    /// A new array of the given array's shape, filled by `write`.
    pub(crate) fn filled<R>(
        like: &Layout,
        write: impl FnOnce(&mut ViewMut<T>) -> Result<R, CallError>,
    ) -> Result<(Self, R), CallError> {
        let (len, shape) = (like.len(), like.shape.clone());
        // An input with strides of 0 may ask for more output than there is memory, where `vec!` aborts. So the memory
        // is reserved once to find out, and given back: `vec!` gets its zeros from the system without touching them.
        if Vec::<T>::new().try_reserve_exact(len).is_err() {
            let (what, bytes) = ("its output", len.saturating_mul(size_of::<T>()));
            return Err(CallError::Memory { argument: "x", what, bytes, shape });
        }
        let mut data = vec![T::default(); len];
        let mut view = ViewMut::with_layout(&mut data, 0, like.dense()).expect("a dense layout fits its own buffer");
        let result = write(&mut view)?;
        Ok((Tensor { shape, data }, result))
    }
}
