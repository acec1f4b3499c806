//! Arrays as cases hold them: numbers in a buffer, and where in it the elements lie.

use batchnorm_io::npy::Numbers;
use half::{bf16, f16};

use crate::case::Element;
use crate::recipe::Recipe;

/// An input: a buffer, and the array in it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The buffer, in order of memory.
    pub numbers: Numbers,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Elements from one to the next along each axis; none for a dense array in C order.
    pub strides: Option<Vec<isize>>,
    /// Where the first element lies.
    pub offset: usize,
    /// What made the buffer, where it is not stored.
    pub recipe: Option<Recipe>,
}

impl Input {
    /// A dense array in C order.
    pub fn dense(numbers: Numbers, shape: &[usize]) -> Input {
        Input { numbers, shape: shape.to_vec(), strides: None, offset: 0, recipe: None }
    }

    /// Where in the buffer each element lies, in C order.
    pub fn places(&self) -> Vec<usize> {
        let Some(strides) = &self.strides else { return (0..self.numbers.len()).collect() };
        let mut places = vec![self.offset as isize];
        for (&length, &stride) in self.shape.iter().zip(strides) {
            places = places.iter().flat_map(|&place| (0..length).map(move |i| place + i as isize * stride)).collect();
        }
        places.into_iter().map(|place| place as usize).collect()
    }

    /// The elements, in C order, exactly.
    pub fn to_f64(&self) -> Vec<f64> {
        let all = self.numbers.to_f64();
        if self.strides.is_none() { all } else { self.places().into_iter().map(|place| all[place]).collect() }
    }
}

impl Element {
    /// The value nearest to it that the type has.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Element::F64 => value,
            Element::F32 => f64::from(value as f32),
            Element::F16 => f16::from_f64(value).to_f64(),
            Element::Bf16 => bf16::from_f64(value).to_f64(),
        }
    }

    /// Values that the type has, as they are stored. Every NaN is the same one: which one arithmetic gives is the
    /// compiler's choice.
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

    /// Bits behind the point of a number in 1..2, and the exponent of the smallest normal number.
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

/// The value, if it is NaN with the usual bits.
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

/// Each element's sample and channel, in C order.
pub fn coordinates(shape: &[usize], roles: &[crate::case::Role]) -> Vec<Coordinates> {
    use crate::case::Role;
    let mut all = vec![Coordinates::default()];
    for (&length, role) in shape.iter().zip(roles) {
        let next = |at: &Coordinates, i: usize| match role {
            Role::Sample => Coordinates { sample: at.sample * length + i, ..*at },
            Role::Channel => Coordinates { channel: i, ..*at },
            Role::Space => *at,
        };
        all = all.iter().flat_map(|at| (0..length).map(move |i| next(at, i))).collect();
    }
    all
}

/// Where an element is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coordinates {
    /// Through all sample axes.
    pub sample: usize,
    /// On the channel axis.
    pub channel: usize,
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

#[test]
fn elements_of_a_strided_array_come_in_order() {
    // Columns of a 2 x 3 buffer, the last one first.
    let numbers = Numbers::F64(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    let input = Input { numbers, shape: vec![3, 2], strides: Some(vec![-1, 3]), offset: 2, recipe: None };
    assert_eq!(input.to_f64(), [2.0, 12.0, 1.0, 11.0, 0.0, 10.0]);
}
