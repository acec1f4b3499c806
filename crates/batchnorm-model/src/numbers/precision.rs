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
    pub fn bytes_of(self, numbers: impl ExactSizeIterator<Item = f64>) -> Vec<u8> {
        match self {
            Precision::F64 => put(numbers, f64::to_le_bytes),
            Precision::F32 => put(numbers, |number| (number as f32).to_le_bytes()),
            Precision::F16 => put(numbers, |number| f16::from_f64(number).to_le_bytes()),
            Precision::Bf16 => put(numbers, |number| bf16::from_f64(number).to_le_bytes()),
        }
    }

    /// Whether all of some little-endian numbers are finite.
    #[cfg(feature = "read")]
    pub(crate) fn are_finite(self, bytes: &[u8]) -> bool {
        fn all<const N: usize>(bytes: &[u8], is_finite: impl Fn([u8; N]) -> bool) -> bool {
            // (To the end, for that is eight at once.)
            bytes.as_chunks::<N>().0.iter().fold(true, |all, number| all & is_finite(*number))
        }
        match self {
            Precision::F64 => all(bytes, |bytes| f64::from_le_bytes(bytes).is_finite()),
            Precision::F32 => all(bytes, |bytes| f32::from_le_bytes(bytes).is_finite()),
            Precision::F16 => all(bytes, |bytes| f16::from_le_bytes(bytes).is_finite()),
            Precision::Bf16 => all(bytes, |bytes| bf16::from_le_bytes(bytes).is_finite()),
        }
    }

    /// The number at a place of little-endian numbers; 0 beyond their end.
    #[cfg(feature = "read")]
    pub(crate) fn number(self, bytes: &[u8], at: usize) -> f64 {
        fn of<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            bytes.as_chunks::<N>().0.get(at).copied().unwrap_or([0; N])
        }
        match self {
            Precision::F64 => f64::from_le_bytes(of(bytes, at)),
            Precision::F32 => f64::from(f32::from_le_bytes(of(bytes, at))),
            half => half.of_bits(u16::from_le_bytes(of(bytes, at))),
        }
    }
}

/// A loop for each type, in which nothing asks for the type.
fn put<const N: usize>(numbers: impl ExactSizeIterator<Item = f64>, bytes_of: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * N];
    bytes.as_chunks_mut::<N>().0.iter_mut().zip(numbers).for_each(|(bytes, number)| *bytes = bytes_of(number));
    bytes
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
