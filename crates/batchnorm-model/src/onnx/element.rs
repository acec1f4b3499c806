//! Element types, by ONNX's numbers.

use crate::numbers::Precision;

/// ONNX's number of an element type.
pub fn element_of(precision: Precision) -> i32 {
    match precision {
        Precision::F32 => 1,
        Precision::F16 => 10,
        Precision::F64 => 11,
        Precision::Bf16 => 16,
    }
}
