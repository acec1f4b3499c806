//! From a slice to the bytes `np.save` writes.

use std::io::{self, Write};

use super::array::{BLOCK_BYTES, element_count, shown};
use super::defect::{Defect, NpyError};
use super::header;
use super::number::Number;

/// Writes `values`, in C order, as an array of `shape`, to `out`: little endian, version 1.0 of the
/// format, or 2.0 when the header is too long for it.
///
/// Streams through one block of 64 KiB; the array is not copied.
///
/// # Errors
/// What `out` says, or [`io::ErrorKind::InvalidInput`] around an [`NpyError`] with [`Defect::Count`] if
/// the product of `shape` is not the length of `values`; nothing is written then.
///
/// ```
/// use batchnorm_io::npy;
///
/// let mut out = Vec::new();
/// npy::write(&mut out, &[3], &[1.0f32, 2.0, 3.0])?;
/// assert_eq!(out.len(), 128 + 3 * 4);
///
/// let error = npy::write(&mut out, &[2, 3], &[1.0f32]).unwrap_err();
/// assert!(error.to_string().contains("`values` has 1 numbers, but `shape` (2, 3) wants 6"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write<T: Number>(out: &mut (impl Write + ?Sized), shape: &[usize], values: &[T]) -> io::Result<()> {
    let header = header_for(shape, values)
        .map_err(|defect| io::Error::new(io::ErrorKind::InvalidInput, NpyError::from(defect)))?;
    out.write_all(&header)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES.min(size_of_val(values)));
    for part in values.chunks(BLOCK_BYTES / T::TYPE.size()) {
        block.clear();
        T::append_bytes(&mut block, part);
        out.write_all(&block)?;
    }
    Ok(())
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// [`Defect::Count`] if the product of `shape` is not the length of `values`.
///
/// ```
/// use batchnorm_io::npy;
///
/// let bytes = npy::encode(&[], &[2.5f64])?; // a single number, rank 0
/// assert_eq!(&bytes[128..], 2.5f64.to_le_bytes());
/// # Ok::<(), npy::NpyError>(())
/// ```
pub fn encode<T: Number>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, NpyError> {
    let mut bytes = header_for(shape, values)?;
    bytes.reserve_exact(size_of_val(values));
    T::append_bytes(&mut bytes, values);
    Ok(bytes)
}

pub(crate) fn header_for<T: Number>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, Defect> {
    let expected = element_count(shape, T::TYPE.size());
    if expected != Some(values.len()) {
        return Err(Defect::Count { shape: shown(shape), expected, found: values.len() });
    }
    header::encode(T::TYPE, shape)
}
