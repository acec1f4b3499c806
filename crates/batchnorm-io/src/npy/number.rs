//! The kinds of number this crate reads: floats, which it writes too, and whole numbers.

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
    /// Whole numbers, which are read and never written.
    Whole(WholeType),
}

/// How whole numbers lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WholeType {
    /// A byte that is 0 or not, NumPy's `bool`.
    Bool,
    /// NumPy's `int8`, `int16`, `int32`, `int64`, of so many bytes.
    Signed(u8),
    /// NumPy's `uint8`, `uint16`, `uint32`, `uint64`.
    Unsigned(u8),
}

impl WholeType {
    /// The number that the bytes in little endian hold; `None` of one that an `i64` does not hold.
    pub(super) fn number(self, bytes: &[u8]) -> Option<i64> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(wide);
        let unused = 64 - 8 * bytes.len() as u32;
        match self {
            WholeType::Bool => Some(i64::from(unsigned != 0)),
            // The sign is the highest bit there is.
            WholeType::Signed(_) => Some(((unsigned << unused) as i64) >> unused),
            WholeType::Unsigned(_) => i64::try_from(unsigned).ok(),
        }
    }
}

impl NumberType {
    /// The bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Whole(WholeType::Bool) => 1,
            Self::Whole(WholeType::Signed(bytes) | WholeType::Unsigned(bytes)) => bytes.into(),
        }
    }

    /// Whether the numbers are floats.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::Whole(_))
    }
}

/// NumPy's name of the type.
impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F16 => f.write_str("float16"),
            Self::F32 => f.write_str("float32"),
            Self::F64 => f.write_str("float64"),
            Self::Whole(WholeType::Bool) => f.write_str("bool"),
            Self::Whole(WholeType::Signed(bytes)) => write!(f, "int{}", 8 * bytes),
            Self::Whole(WholeType::Unsigned(bytes)) => write!(f, "uint{}", 8 * bytes),
        }
    }
}

/// The numbers of an array: floats in the type the file holds them in, bit for bit (NaN payloads too).
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Half precision.
    F16(Vec<f16>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Whole numbers, and how the file holds them.
    Whole(WholeType, Vec<i64>),
}

impl Numbers {
    /// The type of the numbers.
    pub fn number_type(&self) -> NumberType {
        match self {
            Self::F16(_) => NumberType::F16,
            Self::F32(_) => NumberType::F32,
            Self::F64(_) => NumberType::F64,
            Self::Whole(whole, _) => NumberType::Whole(*whole),
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Whole(_, values) => values.len(),
        }
    }

    /// Whether there is no number at all: some axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in double precision. Nothing is lost, for every half and single is a double, but of whole numbers beyond 2^53.
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
            Self::Whole(_, values) => values.iter().map(|&value| value as f64).collect(),
        }
    }
}

/// A Rust type that `.npy` files are written of: [`half::f16`], [`f32`] or [`f64`]. No other type can have it.
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
