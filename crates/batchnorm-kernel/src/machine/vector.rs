//! Eight `f64` at once: what the loops compute with, so that they mean the same on every instruction set and do not
//! hang on what a compiler vectorises by itself. The instruction sets' own are in `x86`.

#![allow(clippy::needless_range_loop)]

#[cfg(feature = "half")]
use half::{bf16, f16};

/// Values a vector.
pub const WIDTH: usize = 8;
/// Values of two vectors, which the loops along a run take at a time.
pub const PAIR: usize = 2 * WIDTH;

/// Eight `f64`, and how they are got from and put to the number types of arrays.
///
/// What is put with `streamed` may go past the caches where the place is aligned to the bytes that are put; others see
/// it after a fence only.
pub trait Vector: Copy {
    fn splat(value: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// self * factor + addend, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// self + a * b, of a product that is exact in `f64`: fused or not, the bits are the same.
    fn add_exact_product(self, a: Self, b: Self) -> Self;
    /// In each lane `yes` where `self <= limit`, `no` where not, or where either is NaN.
    fn select_le(self, limit: Self, yes: Self, no: Self) -> Self;
    /// The `len` lanes from `first` on, those of `others` elsewhere.
    #[inline(always)]
    fn lanes_or(self, first: usize, len: usize, others: Self) -> Self {
        let numbers = Self::from_f64(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let from_first = numbers.select_le(Self::splat(first as f64 - 1.0), others, self);
        numbers.select_le(Self::splat((first + len) as f64 - 1.0), from_first, others)
    }
    fn from_f64(values: &[f64; WIDTH]) -> Self;
    /// Fewer than eight values, in the lanes from `first` on; 0 in the others.
    fn from_few_f64(values: &[f64], first: usize) -> Self;
    fn to_f64(self, out: &mut [f64; WIDTH]);
    fn put_f64(self, out: &mut [f64; WIDTH], streamed: bool);
    fn from_f32(values: &[f32; WIDTH]) -> Self;
    /// As [`from_few_f64`](Self::from_few_f64).
    fn from_few_f32(values: &[f32], first: usize) -> Self;
    fn put_f32(self, out: &mut [f32; WIDTH], streamed: bool);
    /// From the bits of IEEE binary16.
    #[cfg(feature = "half")]
    fn from_f16(bits: &[u16; WIDTH]) -> Self;
    /// Rounded to `f32`, then to binary16.
    #[cfg(feature = "half")]
    fn put_f16(self, bits: &mut [u16; WIDTH], streamed: bool);
    /// From the bits of bfloat16.
    #[cfg(feature = "half")]
    fn from_bf16(bits: &[u16; WIDTH]) -> Self;
    /// Rounded to `f32`, then to bfloat16.
    #[cfg(feature = "half")]
    fn put_bf16(self, bits: &mut [u16; WIDTH], streamed: bool);
}

/// Fewer than eight values in the places from `first` on, the default value in the others.
///
/// # Panics
/// If they do not fit.
#[inline(always)]
pub fn few<T: Copy + Default>(values: &[T], first: usize) -> [T; WIDTH] {
    let mut all = [T::default(); WIDTH];
    all[first..first + values.len()].copy_from_slice(values);
    all
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

/// 0 where the weight is 0.
#[inline(always)]
pub fn counted<V: Vector>(weight: V, value: V) -> V {
    let zero = V::splat(0.0);
    weight.select_le(zero, zero, value)
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
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane].mul_add(factor.0[lane], addend.0[lane])))
    }
    #[inline(always)]
    fn add_exact_product(self, a: Self, b: Self) -> Self {
        // Without a library's call for each.
        self.add(a.mul(b))
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
    fn from_few_f64(values: &[f64], first: usize) -> Self {
        Plain(few(values, first))
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
    fn from_few_f32(values: &[f32], first: usize) -> Self {
        Plain(few(values, first).map(f64::from))
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
