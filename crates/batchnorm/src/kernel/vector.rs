//! Eight `f64` at once: what the loops compute with, so that they mean the same on every instruction set and do not
//! hang on what a compiler vectorises by itself. The instruction sets' own are in `raw`.

#![allow(clippy::needless_range_loop)]

use super::raw::ask;
use crate::element::Element;
#[cfg(feature = "half")]
use half::{bf16, f16};

/// Values a vector.
pub const WIDTH: usize = 8;
/// Values of two vectors, which the loops along a run take at a time.
pub const PAIR: usize = 2 * WIDTH;

/// Eight `f64`, and how they are got from and put to the number types of arrays.
///
/// What is put with `past` may go past the caches where the place is aligned to the bytes that are put; others see
/// it after a fence only.
pub trait Vector: Copy {
    fn splat(value: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// In each lane `yes` where `self <= limit`, `no` where not, or where either is NaN.
    fn select_le(self, limit: Self, yes: Self, no: Self) -> Self;
    fn from_f64(values: &[f64; WIDTH]) -> Self;
    fn to_f64(self, out: &mut [f64; WIDTH]);
    fn put_f64(self, out: &mut [f64; WIDTH], past: bool);
    fn from_f32(values: &[f32; WIDTH]) -> Self;
    fn put_f32(self, out: &mut [f32; WIDTH], past: bool);
    /// From the bits of IEEE binary16.
    #[cfg(feature = "half")]
    fn from_f16(bits: &[u16; WIDTH]) -> Self;
    /// Rounded to `f32`, then to binary16.
    #[cfg(feature = "half")]
    fn put_f16(self, bits: &mut [u16; WIDTH], past: bool);
    /// From the bits of bfloat16.
    #[cfg(feature = "half")]
    fn from_bf16(bits: &[u16; WIDTH]) -> Self;
    /// Rounded to `f32`, then to bfloat16.
    #[cfg(feature = "half")]
    fn put_bf16(self, bits: &mut [u16; WIDTH], past: bool);
}

/// The same number in all lanes of a vector, for each of some numbers.
///
/// (Here and in the loops no closure handles vectors: what is not inlined for certain is compiled without the
/// instruction set.)
#[inline(always)]
pub fn splat_all<V: Vector, const K: usize>(values: [f64; K]) -> [V; K] {
    let mut all = [V::splat(0.0); K];
    for k in 0..K {
        all[k] = V::splat(values[k]);
    }
    all
}

/// The first eight values from a place on in each of some arrays.
#[inline(always)]
pub fn load_all<V: Vector, T: Element, const N: usize>(arrays: [&[T]; N], at: usize) -> [V; N] {
    let mut all = [V::splat(0.0); N];
    for n in 0..N {
        all[n] = T::load(eight(&arrays[n][at..]));
    }
    all
}

/// The two vectors of a pair in each of some arrays; memory is asked for what lies `ahead` of it.
#[inline(always)]
pub fn load_pair<V: Vector, T: Element, const N: usize>(
    arrays: [&[[T; PAIR]]; N],
    pair: usize,
    ahead: [isize; N],
) -> [[V; N]; 2] {
    let mut both = [[V::splat(0.0); N]; 2];
    for n in 0..N {
        let values = &arrays[n][pair];
        ask(values.as_ptr().wrapping_offset(ahead[n]), PAIR);
        both[0][n] = T::load(eight(values));
        both[1][n] = T::load(eight(&values[WIDTH..]));
    }
    both
}

/// `count` groups of `W` values from a place on in each of some arrays.
#[inline(always)]
pub fn in_groups<T, const N: usize, const W: usize>(arrays: [&[T]; N], at: usize, count: usize) -> [&[[T; W]]; N] {
    let mut all: [&[[T; W]]; N] = [&[]; N];
    for n in 0..N {
        all[n] = &arrays[n][at..].as_chunks().0[..count];
    }
    all
}

/// The values from a place on where fewer than eight are left, at least one: the other lanes hold anything.
#[inline(always)]
pub fn load_last<V: Vector, T: Element, const N: usize>(arrays: [&[T]; N], at: usize) -> [V; N] {
    let mut all = [V::splat(0.0); N];
    for n in 0..N {
        let left = &arrays[n][at..];
        let mut padded = [left[0]; WIDTH];
        padded[..left.len()].copy_from_slice(left);
        all[n] = T::load(&padded);
    }
    all
}

#[inline(always)]
pub fn eight<T>(values: &[T]) -> &[T; WIDTH] {
    values.first_chunk::<WIDTH>().expect("there are eight values")
}

/// Without instructions of its own: every processor.
#[derive(Clone, Copy)]
pub struct Plain([f64; WIDTH]);

impl Plain {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Plain(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Vector for Plain {
    #[inline(always)]
    fn splat(value: f64) -> Self {
        Plain([value; WIDTH])
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    fn select_le(self, limit: Self, yes: Self, no: Self) -> Self {
        Plain(std::array::from_fn(|lane| if self.0[lane] <= limit.0[lane] { yes.0[lane] } else { no.0[lane] }))
    }
    #[inline(always)]
    fn from_f64(values: &[f64; WIDTH]) -> Self {
        Plain(*values)
    }
    #[inline(always)]
    fn to_f64(self, out: &mut [f64; WIDTH]) {
        *out = self.0;
    }
    #[inline(always)]
    fn from_f32(values: &[f32; WIDTH]) -> Self {
        Plain(values.map(f64::from))
    }
    #[inline(always)]
    fn put_f64(self, out: &mut [f64; WIDTH], _: bool) {
        self.to_f64(out);
    }
    #[inline(always)]
    fn put_f32(self, out: &mut [f32; WIDTH], _: bool) {
        *out = self.0.map(|value| value as f32);
    }
    #[cfg(feature = "half")]
    #[inline(always)]
    fn from_f16(bits: &[u16; WIDTH]) -> Self {
        Plain(bits.map(|bits| f16::from_bits(bits).to_f64()))
    }
    #[cfg(feature = "half")]
    #[inline(always)]
    fn put_f16(self, bits: &mut [u16; WIDTH], _: bool) {
        *bits = self.0.map(|value| f16::from_f32(value as f32).to_bits());
    }
    #[cfg(feature = "half")]
    #[inline(always)]
    fn from_bf16(bits: &[u16; WIDTH]) -> Self {
        Plain(bits.map(|bits| bf16::from_bits(bits).to_f64()))
    }
    #[cfg(feature = "half")]
    #[inline(always)]
    fn put_bf16(self, bits: &mut [u16; WIDTH], _: bool) {
        *bits = self.0.map(|value| bf16::from_f32(value as f32).to_bits());
    }
}
