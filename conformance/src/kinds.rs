//! The number types of arrays, and what the axes of an array are.

use batchnorm_io::npy::Numbers;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// The number type of the arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// IEEE double precision.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single. Stored as `float32` whose values are exact in it.
    Bf16,
}

/// The meaning of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Samples of the batch.
    Sample,
    /// Channels (features).
    Channel,
    /// Height, width, time.
    Space,
}

impl Element {
    /// Whether statistics are computed in this type itself, so that rounding hides nothing.
    pub fn is_wide(self) -> bool {
        self == Element::F64
    }

    /// The value nearest to it that the type has.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Element::F64 => value,
            Element::F32 => f64::from(value as f32),
            Element::F16 => f16::from_f64(value).to_f64(),
            Element::Bf16 => bf16::from_f64(value).to_f64(),
        }
    }

    /// Stores values that the type has. Every NaN gets the same bits, for which bits arithmetic gives it is the compiler's
    /// choice.
    pub fn numbers(self, values: &[f64]) -> Numbers {
        let single = |value: f64| if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value as f32 };
        let half = |value: f64| if value.is_nan() { f16::from_bits(0x7e00) } else { f16::from_f64(value) };
        match self {
            Element::F64 => Numbers::F64(values.iter().map(|&value| one_nan(value)).collect()),
            Element::F32 | Element::Bf16 => Numbers::F32(values.iter().map(|&value| single(value)).collect()),
            Element::F16 => Numbers::F16(values.iter().map(|&value| half(value)).collect()),
        }
    }

    /// The type that an input of this name has where arrays have this one: parameters and statistics are never narrower
    /// than f32.
    pub fn of_input(self, name: &str) -> Element {
        match (name, self) {
            ("gamma" | "beta" | "running_mean" | "running_variance", Element::F16 | Element::Bf16) => Element::F32,
            _ => self,
        }
    }

    /// Number of fraction bits, and the exponent of the smallest normal number.
    fn digits(self) -> (i32, i32) {
        match self {
            Element::F64 => (52, -1022),
            Element::F32 => (23, -126),
            Element::F16 => (10, -14),
            Element::Bf16 => (7, -126),
        }
    }

    /// The distance between neighbours of the type at a magnitude; never below that of its smallest numbers.
    pub fn ulp(self, magnitude: f64) -> f64 {
        if !magnitude.is_finite() {
            return f64::INFINITY;
        }
        let (bits, smallest) = self.digits();
        // (Zero and subnormal f64 have the exponent bits 0, which is below every type's smallest.)
        let exponent = ((magnitude.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(smallest);
        power_of_two(exponent - bits)
    }
}

/// The value; NaN with the usual bits.
fn one_nan(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}

/// 2^exponent, subnormal numbers included.
fn power_of_two(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074))
    }
}

#[test]
fn an_ulp_is_the_distance_to_the_next_number() {
    for value in [1.0f32, 1.9999, 3e38, 1e-30, f32::MIN_POSITIVE, 1e-40, 0.0] {
        let next = f64::from(f32::from_bits(value.to_bits() + 1)) - f64::from(value);
        assert_eq!(Element::F32.ulp(f64::from(value)), next, "{value:e}");
    }
    for value in [1.0f64, 1e308, 1e-300, 3e-310, 0.0] {
        assert_eq!(Element::F64.ulp(value), f64::from_bits(value.to_bits() + 1) - value, "{value:e}");
    }
    assert_eq!(Element::F16.ulp(1.0), 2f64.powi(-10));
    assert_eq!(Element::F16.ulp(0.0), 2f64.powi(-24));
    assert_eq!(Element::Bf16.ulp(1.0), 2f64.powi(-7));
}
