//! Values of `onnxruntime`, of all its types of numbers, as those that engines here take and give.

use std::borrow::Cow;

use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef};

use super::array::{Array, Numbers};
use crate::excerpt::beginning;

/// The types of numbers that are handled, with ONNX's number of each.
const ELEMENTS: [(TensorElementType, i32); 11] = [
    (TensorElementType::Float32, 1),
    (TensorElementType::Uint8, 2),
    (TensorElementType::Int8, 3),
    (TensorElementType::Uint16, 4),
    (TensorElementType::Int16, 5),
    (TensorElementType::Int32, 6),
    (TensorElementType::Int64, 7),
    (TensorElementType::Bool, 9),
    (TensorElementType::Float64, 11),
    (TensorElementType::Uint32, 12),
    (TensorElementType::Uint64, 13),
];

pub(super) fn of_number(number: i32) -> Option<TensorElementType> {
    ELEMENTS.iter().find(|(_, known)| *known == number).map(|(element, _)| *element)
}

/// ONNX's number of a type; 0, which stands for none, of those that are not handled.
pub(super) fn number_of(element: TensorElementType) -> i32 {
    ELEMENTS.iter().find(|(known, _)| *known == element).map_or(0, |(_, number)| *number)
}

/// The type of numbers of which nothing else is known. (Whole numbers in graphs are lengths and places, of 64 bits.)
pub(super) fn default_of(numbers: &Numbers) -> TensorElementType {
    match numbers {
        Numbers::F32(_) => TensorElementType::Float32,
        Numbers::I32(_) => TensorElementType::Int64,
        Numbers::I8(_) => TensorElementType::Int8,
        Numbers::U8(_) => TensorElementType::Uint8,
    }
}

/// An array as a value of a type.
///
/// # Errors
/// Numbers that this type is none for.
pub(super) fn value_of<'v>(array: Cow<'v, Array>, element: TensorElementType) -> Result<SessionInputValue<'v>, String> {
    // Numbers of the same type are not copied: they are lent, or their room is given away.
    macro_rules! same {
        ($($kind:ident, $element:ident;)*) => {
            match array {
                Cow::Borrowed(Array { shape, numbers }) => match (numbers, element) {
                    $((Numbers::$kind(numbers), TensorElementType::$element) => {
                        let value = TensorRef::from_array_view((shape.as_slice(), numbers.as_slice()));
                        return value.map(SessionInputValue::from).map_err(beginning);
                    })*
                    (numbers, _) => (Cow::Borrowed(shape.as_slice()), Cow::Borrowed(numbers)),
                },
                Cow::Owned(Array { shape, numbers }) => match (numbers, element) {
                    $((Numbers::$kind(numbers), TensorElementType::$element) => {
                        return Tensor::from_array((shape, numbers)).map(SessionInputValue::from).map_err(beginning);
                    })*
                    (numbers, _) => (Cow::Owned(shape), Cow::Owned(numbers)),
                },
            }
        };
    }
    let (shape, numbers): (Cow<[usize]>, Cow<Numbers>) = same! { F32, Float32; I32, Int32; I8, Int8; U8, Uint8; };
    let Numbers::I32(numbers) = &*numbers else {
        return Err(format!("expected a value of {element}, got numbers of another type"));
    };
    macro_rules! converted {
        ($($element:ident, $of:expr;)*) => {
            match element {
                $(TensorElementType::$element => {
                    let numbers: Vec<_> = numbers.iter().map($of).collect();
                    Tensor::from_array((&*shape, numbers)).map(SessionInputValue::from).map_err(beginning)
                })*
                _ => Err(format!("expected a value of {element}, got whole numbers")),
            }
        };
    }
    converted! {
        Int64, |&number| i64::from(number);
        Bool, |&number| number != 0;
        Int8, |&number| number as i8;
        Uint8, |&number| number as u8;
        Int16, |&number| number as i16;
        Uint16, |&number| number as u16;
        Uint32, |&number| number as u32;
        Uint64, |&number| number as u64;
    }
}

/// A value as an array, with its type. Whole numbers beyond 32 bits become the last ones within them, as in `rten`.
///
/// # Errors
/// What is no tensor of numbers.
pub(super) fn array_of(value: &DynValue) -> Result<(Array, TensorElementType), String> {
    let element = value.dtype().tensor_type().ok_or("it is no tensor, which is not handled")?;
    macro_rules! array {
        ($($element:ident, $type:ty, $kind:ident, $of:expr;)*) => {
            match element {
                $(TensorElementType::$element => {
                    let (shape, numbers) = value.try_extract_tensor::<$type>().map_err(beginning)?;
                    let shape = shape.iter().map(|&length| length.max(0) as usize).collect();
                    Array { shape, numbers: Numbers::$kind($of(numbers)) }
                })*
                other => return Err(format!("it is a tensor of {other}, which is not handled")),
            }
        };
    }
    let array = array! {
        Float32, f32, F32, <[f32]>::to_vec;
        Float64, f64, F32, |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect();
        Int8, i8, I8, <[i8]>::to_vec;
        Uint8, u8, U8, <[u8]>::to_vec;
        Int32, i32, I32, <[i32]>::to_vec;
        Int64, i64, I32, |numbers: &[i64]| within(numbers);
        Uint32, u32, I32, |numbers: &[u32]| within(numbers);
        Uint64, u64, I32, |numbers: &[u64]| within(numbers);
        Int16, i16, I32, |numbers: &[i16]| within(numbers);
        Uint16, u16, I32, |numbers: &[u16]| within(numbers);
        Bool, bool, I32, |numbers: &[bool]| numbers.iter().map(|&number| i32::from(number)).collect();
    };
    Ok((array, element))
}

/// Whole numbers in 32 bits.
fn within<T: Copy + Into<i128>>(numbers: &[T]) -> Vec<i32> {
    let of = |&number: &T| number.into().clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    numbers.iter().map(of).collect()
}
