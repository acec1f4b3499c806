//! Element types of floating point, and numbers as their bytes.

use half::{bf16, f16};

/// An element type of floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE 754 single.
    F32,
    /// IEEE 754 double.
    F64,
    /// IEEE 754 half: nothing above 65,504, and below 6.1e-5 with fewer digits.
    F16,
    /// Brain float: an f32 with 8 significant bits.
    Bf16,
}

impl Precision {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Precision::F64 => 8,
            Precision::F32 => 4,
            Precision::F16 | Precision::Bf16 => 2,
        }
    }

    #[cfg(feature = "read")]
    pub(super) fn of_bits(self, bits: u16) -> f64 {
        if self == Precision::Bf16 { bf16::from_bits(bits).to_f64() } else { f16::from_bits(bits).to_f64() }
    }

    /// Numbers as little-endian bytes, each rounded to nearest.
    pub fn bytes_of(self, numbers: impl Iterator<Item = f64>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(numbers.size_hint().0 * self.size());
        for number in numbers {
            match self {
                Precision::F64 => bytes.extend_from_slice(&number.to_le_bytes()),
                Precision::F32 => bytes.extend_from_slice(&(number as f32).to_le_bytes()),
                Precision::F16 => bytes.extend_from_slice(&f16::from_f64(number).to_le_bytes()),
                Precision::Bf16 => bytes.extend_from_slice(&bf16::from_f64(number).to_le_bytes()),
            }
        }
        bytes
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
        })
    }
}
