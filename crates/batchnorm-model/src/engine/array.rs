//! Values as engines take and give them.

/// Numbers in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Their shape.
    pub shape: Vec<usize>,
    /// The numbers.
    pub numbers: Numbers,
}

/// The numbers of an array, by their type.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Floating point; all that models have is made of these.
    F32(Vec<f32>),
    /// Whole numbers, and truth values; those of 64 bits too.
    I32(Vec<i32>),
    /// Small ones.
    I8(Vec<i8>),
    /// Small ones without a sign.
    U8(Vec<u8>),
}

impl Array {
    /// Floating-point numbers of a shape.
    pub fn floats(shape: Vec<usize>, numbers: Vec<f32>) -> Array {
        Array { shape, numbers: Numbers::F32(numbers) }
    }

    /// Its numbers, if they are of floating point.
    pub fn as_floats(&self) -> Option<&[f32]> {
        match &self.numbers {
            Numbers::F32(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => 4 * numbers.len(),
            Numbers::I32(numbers) => 4 * numbers.len(),
            Numbers::I8(numbers) => numbers.len(),
            Numbers::U8(numbers) => numbers.len(),
        }
    }
}
