//! The values of a tensor, as numbers.

use std::borrow::Cow;

use thiserror::Error;

use super::element::element_of;
use super::message::{Tensor, Values};
use crate::excerpt::{beginning_of, excerpt};
use crate::numbers::{Numbers, Precision};
use crate::wire::{self, WireError};

/// The number of i64 among ONNX's element types.
const I64: i32 = 7;
/// Whole numbers of a shape, at most.
const LONGEST_SHAPE: usize = 64;

/// A tensor whose values cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// An element type other than those of floating point.
    #[error("{name}: expected floating-point values (f32, f64, f16 or bf16), got element type {element}")]
    Element {
        /// The tensor.
        name: String,
        /// The number of its element type.
        element: i32,
    },
    /// A shape with a length below 0, or of more values than there can be.
    #[error("{name}: expected a shape of lengths >= 0 that memory has room for, got {dims}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        dims: String,
    },
    /// Another number of values than the shape has.
    #[error("{name}: expected {expected} values, for its shape is {dims}, got {got}")]
    Count {
        /// The tensor.
        name: String,
        /// Its shape.
        dims: String,
        /// Values of the shape.
        expected: usize,
        /// Values that are there; of bytes that are no whole number of them, so many as there are whole.
        got: usize,
    },
    /// Values that stand in the field of another element type.
    #[error("{name}: its values stand in field {field}, which is not that of element type {element}")]
    Field {
        /// The tensor.
        name: String,
        /// The number of its element type.
        element: i32,
        /// The number of the field.
        field: u32,
    },
    /// Numbers that are none of protobuf.
    #[error("{name}: {error}")]
    Wire {
        /// The tensor.
        name: String,
        /// What is wrong.
        error: WireError,
    },
    /// Values in another file, which could not be read.
    #[error("{name}: its values are in another file: {why}")]
    External {
        /// The tensor.
        name: String,
        /// Why they cannot be read.
        why: String,
    },
}

/// Gives the bytes of tensors whose values are in other files: by location, offset and length, if these are said.
pub type Elsewhere<'e> = dyn Fn(&str, u64, Option<u64>) -> Result<Vec<u8>, String> + 'e;

/// The number of values of a shape, if there is such a shape.
pub(crate) fn values_of(dims: &[i64]) -> Option<usize> {
    dims.iter().try_fold(1usize, |count, &length| count.checked_mul(usize::try_from(length).ok()?))
}

impl<'f> Tensor<'f> {
    /// Number of its values.
    ///
    /// # Errors
    /// A length below 0; more values than memory has room for.
    pub fn count(&self) -> Result<usize, TensorError> {
        let count = values_of(&self.dims).filter(|count| *count <= isize::MAX as usize / 8);
        count.ok_or_else(|| TensorError::Shape { name: excerpt(self.name), dims: beginning_of(&self.dims) })
    }

    /// Its element type, if it is one of floating point.
    pub fn precision(&self) -> Option<Precision> {
        let all = [Precision::F32, Precision::F64, Precision::F16, Precision::Bf16];
        all.into_iter().find(|&precision| element_of(precision) == self.element)
    }

    /// The file that its values are in, if they are in another one and it is named.
    pub fn location(&self) -> Option<&'f str> {
        self.external("location")
    }

    /// An entry of what is said of values in another file.
    fn external(&self, key: &str) -> Option<&'f str> {
        let Values::External(entries) = &self.values else { return None };
        entries.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Its floating-point values.
    ///
    /// # Errors
    /// Another element type; another number of values than the shape has; values in another file that cannot be read.
    pub fn numbers(&self, file: &'f [u8], elsewhere: &Elsewhere) -> Result<Numbers<'f>, TensorError> {
        let name = || excerpt(self.name);
        let expected = self.count()?;
        let precision = self.precision().ok_or_else(|| TensorError::Element { name: name(), element: self.element })?;
        let wrong = |got: usize| TensorError::Count { name: name(), dims: beginning_of(&self.dims), expected, got };
        let of_bytes = |bytes: Cow<'f, [u8]>| {
            let got = bytes.len() / precision.size();
            Numbers::of_bytes(bytes, precision).ok_or_else(|| wrong(got))
        };
        let numbers = match &self.values {
            Values::Raw(bytes) => of_bytes(Cow::Borrowed(*bytes))?,
            Values::External(_) => of_bytes(Cow::Owned(self.bytes_elsewhere(expected * precision.size(), elsewhere)?))?,
            Values::Fields(field, pieces) => {
                let of_type = match precision {
                    Precision::F32 => 4,
                    Precision::F64 => 10,
                    Precision::F16 | Precision::Bf16 => 5,
                };
                if *field != of_type {
                    return Err(TensorError::Field { name: name(), element: self.element, field: *field });
                }
                match precision.size() {
                    2 => Numbers::of_varints(file, pieces.clone(), precision)
                        .map_err(|error| TensorError::Wire { name: name(), error })?,
                    size => {
                        let got = pieces.iter().map(|piece| piece.len() / size).sum();
                        Numbers::of_pieces(file, pieces.clone(), precision).ok_or_else(|| wrong(got))?
                    }
                }
            }
        };
        if numbers.len() == expected { Ok(numbers) } else { Err(wrong(numbers.len())) }
    }

    /// So many bytes of values that are in another file.
    ///
    /// # Errors
    /// Another length that is said; a file that is not named, or cannot be read.
    pub(crate) fn bytes_elsewhere(&self, bytes: usize, elsewhere: &Elsewhere) -> Result<Vec<u8>, TensorError> {
        let external = |why: String| TensorError::External { name: excerpt(self.name), why };
        let number = |key: &str| match self.external(key).map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(external(format!("its {key} is no whole number"))),
        };
        let (offset, length) = (number("offset")?, number("length")?);
        let bytes = bytes as u64;
        if let Some(length) = length.filter(|length: &u64| *length != bytes) {
            return Err(external(format!("{length} bytes are said, and its shape has {bytes}")));
        }
        let location = self.external("location").ok_or_else(|| external(String::from("none is named")))?;
        elsewhere(location, offset.unwrap_or(0), Some(bytes)).map_err(external)
    }

    /// Its whole numbers, if it has some (i64) and they are in this file; no more of them than a shape has.
    pub(super) fn whole_numbers(&self, file: &[u8]) -> Option<Vec<i64>> {
        let count = self.count().ok().filter(|count| *count <= LONGEST_SHAPE && self.element == I64)?;
        let numbers: Vec<i64> = match &self.values {
            Values::Raw(bytes) if bytes.len() == 8 * count => {
                bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
            }
            Values::Fields(7, pieces) => {
                let mut numbers = Vec::new();
                for piece in pieces {
                    let mut left = piece.clone();
                    while !left.is_empty() && numbers.len() <= count {
                        let (number, next) = wire::varint(file, left.clone()).ok()?;
                        numbers.push(number as i64);
                        left.start = next;
                    }
                }
                numbers
            }
            _ => return None,
        };
        (numbers.len() == count).then_some(numbers)
    }
}
