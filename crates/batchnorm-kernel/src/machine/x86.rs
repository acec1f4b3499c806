//! The vectors of the tiers. A vector type is named by `Isa::run` alone, in code compiled with its features, which
//! this machine was found to have (fact 3): that is the SAFETY of every block here. Loads and stores go to arrays of
//! the length they move; what goes past the caches is fenced by the `Cell` that allowed it.
#![allow(unsafe_code)]

use super::vector::{Vector, WIDTH, few};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Avx512(__m512d);

#[derive(Clone, Copy)]
pub struct Avx2(__m256d, __m256d);

/// One vector of eight, or two of four, by the same operations.
macro_rules! vector {
    ($name:ident($($part:tt)+), $splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident,
     |$a:ident, $limit:ident, $yes:ident, $no:ident| $select:expr,
     $load:ident, $store:ident, $stream:ident, |$narrow:ident| $widen:expr, |$wide:ident| $round:expr) => {
        impl Vector for $name {
            #[inline(always)]
            fn splat(value: f64) -> Self {
                $name($(part!($part, unsafe { $splat(value) })),+)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                $name($(unsafe { $add(self.$part, other.$part) }),+)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                $name($(unsafe { $sub(self.$part, other.$part) }),+)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                $name($(unsafe { $mul(self.$part, other.$part) }),+)
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                $name($(unsafe { $mul_add(self.$part, factor.$part, addend.$part) }),+)
            }
            #[inline(always)]
            fn add_exact_product(self, a: Self, b: Self) -> Self {
                a.mul_add(b, self)
            }
            #[inline(always)]
            fn select_le(self, limit: Self, yes: Self, no: Self) -> Self {
                $name($({
                    let ($a, $limit, $yes, $no) = (self.$part, limit.$part, yes.$part, no.$part);
                    unsafe { $select }
                }),+)
            }
            #[inline(always)]
            fn from_f64(values: &[f64; WIDTH]) -> Self {
                let first = values.as_ptr();
                $name($(unsafe { $load(first.add($part * 4)) }),+)
            }
            #[inline(always)]
            fn from_few_f64(values: &[f64], first: usize) -> Self {
                Self::from_f64(&few(values, first))
            }
            #[inline(always)]
            fn to_f64(self, out: &mut [f64; WIDTH]) {
                let first = out.as_mut_ptr();
                $(unsafe { $store(first.add($part * 4), self.$part) };)+
            }
            #[inline(always)]
            fn put_f64(self, out: &mut [f64; WIDTH], streamed: bool) {
                if streamed && aligned(out) {
                    let first = out.as_mut_ptr();
                    $(unsafe { $stream(first.add($part * 4), self.$part) };)+
                } else {
                    self.to_f64(out);
                }
            }
            #[inline(always)]
            fn from_f32(values: &[f32; WIDTH]) -> Self {
                Self::widened(unsafe { _mm256_loadu_ps(values.as_ptr()) })
            }
            #[inline(always)]
            fn from_few_f32(values: &[f32], first: usize) -> Self {
                assert!(first <= WIDTH && values.len() <= WIDTH - first);
                // Lanes that the mask leaves out are not read: those are not sure to be ours.
                Self::widened(unsafe {
                    let from_first = _mm256_loadu_si256(MASKS.as_ptr().add(WIDTH - first).cast());
                    let to_last = _mm256_loadu_si256(MASKS.as_ptr().add(2 * WIDTH - first - values.len()).cast());
                    let mask = _mm256_and_si256(from_first, to_last);
                    _mm256_maskload_ps(values.as_ptr().wrapping_sub(first), mask)
                })
            }
            #[inline(always)]
            fn put_f32(self, out: &mut [f32; WIDTH], streamed: bool) {
                if streamed && aligned(out) {
                    unsafe { _mm256_stream_ps(out.as_mut_ptr(), self.rounded()) }
                } else {
                    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), self.rounded()) }
                }
            }
            #[cfg(feature = "half")]
            #[inline(always)]
            fn from_f16(bits: &[u16; WIDTH]) -> Self {
                Self::widened(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast())) })
            }
            #[cfg(feature = "half")]
            #[inline(always)]
            fn put_f16(self, bits: &mut [u16; WIDTH], streamed: bool) {
                const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
                put_halves(unsafe { _mm256_cvtps_ph::<NEAREST>(self.rounded()) }, bits, streamed);
            }
            #[cfg(feature = "half")]
            #[inline(always)]
            fn from_bf16(bits: &[u16; WIDTH]) -> Self {
                // The upper half of an f32.
                Self::widened(unsafe {
                    let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(bits.as_ptr().cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
                })
            }
            #[cfg(feature = "half")]
            #[inline(always)]
            fn put_bf16(self, bits: &mut [u16; WIDTH], streamed: bool) {
                let halves = unsafe {
                    let single = self.rounded();
                    let all = _mm256_castps_si256(single);
                    // To nearest, ties to even: just below half of the lower half is added, and the last bit kept.
                    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(all), _mm256_set1_epi32(1));
                    let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
                    let nearest = _mm256_srli_epi32::<16>(_mm256_add_epi32(all, half));
                    // NaN keeps its sign and the upper bits of its payload, and is quiet.
                    let quiet = _mm256_or_si256(_mm256_srli_epi32::<16>(all), _mm256_set1_epi32(0x40));
                    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(single, single));
                    let wide = _mm256_blendv_epi8(nearest, quiet, nan);
                    let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(wide, wide));
                    _mm256_castsi256_si128(packed)
                };
                put_halves(halves, bits, streamed);
            }
        }
        impl $name {
            #[inline(always)]
            fn widened($narrow: __m256) -> Self {
                unsafe { $widen }
            }
            #[inline(always)]
            fn rounded(self) -> __m256 {
                let $wide = self;
                unsafe { $round }
            }
        }
    };
}
/// Eight neighbours of these are a mask of the lanes from one on, or to one.
static MASKS: [i32; 3 * WIDTH] = {
    let mut masks = [0; 3 * WIDTH];
    let mut lane = WIDTH;
    while lane < 2 * WIDTH {
        masks[lane] = -1;
        lane += 1;
    }
    masks
};
/// Tells whether an array begins at a multiple of its size, as stores past the caches need it.
#[inline(always)]
fn aligned<T>(array: &[T; WIDTH]) -> bool {
    (array.as_ptr() as usize).is_multiple_of(size_of::<[T; WIDTH]>())
}
#[cfg(feature = "half")]
#[inline(always)]
fn put_halves(halves: __m128i, bits: &mut [u16; WIDTH], streamed: bool) {
    let to = bits.as_mut_ptr().cast();
    if streamed && aligned(bits) {
        unsafe { _mm_stream_si128(to, halves) }
    } else {
        unsafe { _mm_storeu_si128(to, halves) }
    }
}
macro_rules! part {
    ($part:tt, $value:expr) => {
        $value
    };
}
vector!(
    Avx512(0),
    _mm512_set1_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_fmadd_pd,
    |a, limit, yes, no| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, limit), no, yes),
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_stream_pd,
    |narrow| Avx512(_mm512_cvtps_pd(narrow)),
    |wide| _mm512_cvtpd_ps(wide.0)
);
vector!(
    Avx2(0 1), _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd,
    |a, limit, yes, no| _mm256_blendv_pd(no, yes, _mm256_cmp_pd::<_CMP_LE_OQ>(a, limit)),
    _mm256_loadu_pd, _mm256_storeu_pd, _mm256_stream_pd,
    |narrow| Avx2(
        _mm256_cvtps_pd(_mm256_castps256_ps128(narrow)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(narrow))
    ),
    |wide| _mm256_set_m128(_mm256_cvtpd_ps(wide.1), _mm256_cvtpd_ps(wide.0))
);
