//! The precision that numbers are held to, found from the numbers themselves.

use batchnorm::Element;

/// 2^-24, the smallest number of `f16`.
const SMALLEST_HALF: f64 = 1.0 / 16_777_216.0;

/// To how many digits numbers are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// 8 bits: `bf16`.
    Bfloat,
    /// 11 bits: `f16`.
    Half,
    /// 24 bits: `f32`.
    Single,
    /// 53 bits: `f64`.
    Double,
}

impl Precision {
    /// Bits of a number's fraction, the first one with it.
    pub fn bits(self) -> u32 {
        match self {
            Precision::Bfloat => 8,
            Precision::Half => 11,
            Precision::Single => 24,
            Precision::Double => 53,
        }
    }

    /// The precision of a number type.
    pub(crate) fn of_type<T: Element>() -> Precision {
        let holds = |power: i32| T::from_f64(1.0 + 0.5f64.powi(power)).to_f64() != 1.0;
        match size_of::<T>() {
            8 => Precision::Double,
            4 => Precision::Single,
            _ if holds(10) => Precision::Half,
            _ => Precision::Bfloat,
        }
    }

    /// The unit roundoff u: the largest relative error of rounding once.
    pub fn unit(self) -> f64 {
        0.5f64.powi(self.bits() as i32)
    }

    /// The absolute error that small numbers may have: the smallest normal number, below which some processors go to 0; for
    /// `f16`, which has few, half of the smallest number of all.
    fn smallest(self) -> f64 {
        match self {
            Precision::Half => SMALLEST_HALF / 2.0,
            Precision::Bfloat | Precision::Single => f64::from(f32::MIN_POSITIVE),
            Precision::Double => f64::MIN_POSITIVE,
        }
    }
}

/// The precision that some numbers are held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Held {
    pub precision: Precision,
    /// The absolute error that small ones among them may have.
    pub smallest: f64,
}

impl Held {
    /// Numbers of a precision, with its error of small ones.
    pub fn by(precision: Precision) -> Held {
        Held { precision, smallest: precision.smallest() }
    }

    /// The narrowest of the four precisions that holds all these numbers, up to that of their type. Numbers may be short by
    /// chance, as small integers are: the halves' have all of their bits, and there are 16 of them at least, not counting
    /// 0, with 8 different fractions. Fewer will do where they are known to come from halves, and two of `f16`.
    pub fn of(values: &[f64], of_type: Precision, from_halves: bool) -> Held {
        let (mut bits, mut count, mut lattice, mut largest) = (0, 0, f64::INFINITY, 0.0f64);
        let mut different: Vec<u64> = Vec::new();
        for value in values.iter().filter(|value| **value != 0.0 && value.is_finite()) {
            let (fraction, bits_of_value) = (fraction(*value), significant_bits(*value));
            // The value of its last bit: of all numbers that is at least the distance of the smallest ones.
            let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
            lattice = lattice.min(2f64.powi(exponent + 1 - bits_of_value as i32));
            (bits, count, largest) = (bits.max(bits_of_value), count + 1, largest.max(value.abs()));
            if different.len() < 8 && !different.contains(&fraction) {
                different.push(fraction);
            }
        }
        let enough = from_halves || count >= 16 && different.len() == 8;
        let narrow = match bits {
            7..=8 if enough => Precision::Bfloat,
            10..=11 if enough || different.len() > 1 => Precision::Half,
            // (The smallest numbers of f16 have fewer bits.)
            0..=11 if count >= 16 && lattice == SMALLEST_HALF => Precision::Half,
            0..=24 => Precision::Single,
            _ => Precision::Double,
        };
        let held = Held::by(narrow.min(of_type));
        // f16 may have been multiplied by a power of two, as for a scaled loss, and its smallest numbers with it.
        let scaled = held.precision == Precision::Half && (lattice < SMALLEST_HALF || largest > 65504.0);
        if scaled { Held { smallest: lattice / 2.0, ..held } } else { held }
    }
}

/// The bits of a number behind its first one.
fn fraction(value: f64) -> u64 {
    value.to_bits() & ((1 << 52) - 1)
}

/// The number of bits of a number, from the first to the last that is 1.
pub(crate) fn significant_bits(value: f64) -> u32 {
    53 - fraction(value).trailing_zeros().min(52)
}
