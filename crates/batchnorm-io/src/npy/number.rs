//! The three kinds of number this crate reads and writes.

use std::fmt;

use half::f16;

/// What kind of number a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// IEEE 754 half precision, NumPy's `float16`, `f2` in a file.
    F16,
    /// IEEE 754 single precision, NumPy's `float32`, `f4` in a file.
    F32,
    /// IEEE 754 double precision, NumPy's `float64`, `f8` in a file.
    F64,
}

impl NumberType {
    /// The bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// NumPy's name of the type.
impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        })
    }
}

/// The numbers of an array, in the type the file holds them in, bit for bit (NaN payloads too).
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Half precision.
    F16(Vec<f16>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Numbers {
    /// The type of the numbers.
    pub fn number_type(&self) -> NumberType {
        match self {
            Self::F16(_) => NumberType::F16,
            Self::F32(_) => NumberType::F32,
            Self::F64(_) => NumberType::F64,
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there is no number at all: some axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in double precision. Nothing is lost: every half and single is a double.
    ///
    /// ```
    /// use batchnorm_io::npy::Numbers;
    ///
    /// assert_eq!(Numbers::F32(vec![0.1]).to_f64(), [0.10000000149011612]);
    /// ```
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F16(values) => values.iter().map(|x| x.to_f64()).collect(),
            Self::F32(values) => values.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(values) => values.clone(),
        }
    }
}

/// A Rust type that `.npy` files hold: [`half::f16`], [`f32`] or [`f64`]. No other type can have it.
pub trait Number: Copy + layout::Layout {
    /// The type as a value.
    const TYPE: NumberType;
}

pub(super) mod layout {
    /// How a number lies in a file. Public in name only, which seals [`Number`](super::Number).
    pub trait Layout: Sized {
        /// Appends the numbers that `bytes`, a whole number of them, hold in little endian.
        fn append_little(values: &mut Vec<Self>, bytes: &[u8]);
        /// The same in big endian.
        fn append_big(values: &mut Vec<Self>, bytes: &[u8]);
        /// Appends the bytes of `values` in little endian.
        fn append_bytes(bytes: &mut Vec<u8>, values: &[Self]);
        /// The type that can be any of the three.
        fn wrap(values: Vec<Self>) -> super::Numbers;
    }
}

macro_rules! number {
    ($float:ty, $variant:ident) => {
        impl Number for $float {
            const TYPE: NumberType = NumberType::$variant;
        }

        impl layout::Layout for $float {
            fn append_little(values: &mut Vec<Self>, bytes: &[u8]) {
                let (numbers, _) = bytes.as_chunks();
                values.extend(numbers.iter().map(|&b| <$float>::from_le_bytes(b)));
            }

            fn append_big(values: &mut Vec<Self>, bytes: &[u8]) {
                let (numbers, _) = bytes.as_chunks();
                values.extend(numbers.iter().map(|&b| <$float>::from_be_bytes(b)));
            }

            fn append_bytes(bytes: &mut Vec<u8>, values: &[Self]) {
                bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            }

            fn wrap(values: Vec<Self>) -> Numbers {
                Numbers::$variant(values)
            }
        }
    };
}

number!(f16, F16);
number!(f32, F32);
number!(f64, F64);
