//! Eight `f64` at once, in the operations of an instruction set.

/// An instruction set that the loops are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F and VL, too.
    Avx512,
}

impl InstructionSet {
    /// Whether this machine has it.
    pub fn is_supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            avx2 && (self == InstructionSet::Avx2 || avx512())
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The widest that this machine has.
    pub fn best() -> Option<InstructionSet> {
        [InstructionSet::Avx512, InstructionSet::Avx2].into_iter().find(|set| set.is_supported())
    }
}

/// Values a vector.
pub const WIDTH: usize = 8;

/// Eight `f64`. Every function is unsafe for the same reasons: the instruction set must be there, and what is loaded and stored
/// must be the caller's.
pub trait Vector: Copy {
    unsafe fn splat(value: f64) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// The first `len` of eight, 0 in the others, which are not read.
    unsafe fn load_first(from: *const f32, len: usize) -> Self;
    unsafe fn load_wide(from: *const f64) -> Self;
    unsafe fn store_wide(self, to: *mut f64);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// self * factor + addend, rounded once.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, len: usize);
    /// Past the caches, to a multiple of 32 bytes.
    unsafe fn stream(self, to: *mut f32);
    /// The eight added up.
    #[inline(always)]
    unsafe fn total(self) -> f64 {
        let mut all = [0.0; WIDTH];
        // SAFETY: eight places.
        unsafe { self.store_wide(all.as_mut_ptr()) };
        all.iter().sum()
    }
}

/// Asks for a line of memory. Any place will do, even none of ours.
#[inline(always)]
pub fn prefetch(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, which reads nothing that could be seen and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Loops that are compiled for an instruction set; `run` and what it calls are `inline(always)`.
pub trait Loops {
    /// # Safety
    /// The instruction set of `V` is there; and what the implementation says.
    unsafe fn run<V: Vector>(self);
}

/// Runs loops compiled for an instruction set.
///
/// # Safety
/// The machine has it; and what the loops say.
pub unsafe fn run(set: InstructionSet, loops: impl Loops) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(loops: impl Loops) {
            // SAFETY: the caller's promise.
            unsafe { loops.run::<x86::Avx2>() }
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
        unsafe fn avx512(loops: impl Loops) {
            // SAFETY: the caller's promise.
            unsafe { loops.run::<x86::Avx512>() }
        }
        // SAFETY: the caller's promise.
        unsafe {
            match set {
                InstructionSet::Avx2 => avx2(loops),
                InstructionSet::Avx512 => avx512(loops),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = loops;
        unreachable!("{set:?} is not supported here, and `Bare::new` said so");
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_op_in_unsafe_fn)] // Every line is one; the trait says what its callers promise.
mod x86 {
    use super::{Vector, WIDTH};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512d);

    impl Vector for Avx512 {
        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            Avx512(_mm512_set1_pd(value))
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(_mm512_cvtps_pd(_mm256_loadu_ps(from)))
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, len: usize) -> Self {
            Avx512(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(first(len), from)))
        }
        #[inline(always)]
        unsafe fn load_wide(from: *const f64) -> Self {
            Avx512(_mm512_loadu_pd(from))
        }
        #[inline(always)]
        unsafe fn store_wide(self, to: *mut f64) {
            _mm512_storeu_pd(to, self.0);
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx512(_mm512_add_pd(self.0, other.0))
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Avx512(_mm512_sub_pd(self.0, other.0))
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            Avx512(_mm512_fmadd_pd(self.0, factor.0, addend.0))
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm256_storeu_ps(to, _mm512_cvtpd_ps(self.0));
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, len: usize) {
            _mm256_mask_storeu_ps(to, first(len), _mm512_cvtpd_ps(self.0));
        }
        #[inline(always)]
        unsafe fn stream(self, to: *mut f32) {
            _mm256_stream_ps(to, _mm512_cvtpd_ps(self.0));
        }
    }

    /// A mask of the first `len` lanes.
    #[inline(always)]
    fn first(len: usize) -> __mmask8 {
        ((1u32 << len) - 1) as __mmask8
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256d, __m256d);

    impl Avx2 {
        #[inline(always)]
        unsafe fn widened(narrow: __m256) -> Self {
            Avx2(_mm256_cvtps_pd(_mm256_castps256_ps128(narrow)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(narrow)))
        }
        #[inline(always)]
        unsafe fn rounded(self) -> __m256 {
            _mm256_set_m128(_mm256_cvtpd_ps(self.1), _mm256_cvtpd_ps(self.0))
        }
    }

    /// Eight of these, from place 8 - len on, are a mask of the first `len` lanes.
    static MASKS: [i32; 2 * WIDTH] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn mask(len: usize) -> __m256i {
        _mm256_loadu_si256(MASKS.as_ptr().add(WIDTH - len).cast())
    }

    impl Vector for Avx2 {
        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            Avx2(_mm256_set1_pd(value), _mm256_set1_pd(value))
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // (Two conversions from memory are cheaper than one load, a shuffle and two conversions.)
            Avx2(_mm256_cvtps_pd(_mm_loadu_ps(from)), _mm256_cvtps_pd(_mm_loadu_ps(from.add(4))))
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, len: usize) -> Self {
            Self::widened(_mm256_maskload_ps(from, mask(len)))
        }
        #[inline(always)]
        unsafe fn load_wide(from: *const f64) -> Self {
            Avx2(_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4)))
        }
        #[inline(always)]
        unsafe fn store_wide(self, to: *mut f64) {
            _mm256_storeu_pd(to, self.0);
            _mm256_storeu_pd(to.add(4), self.1);
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx2(_mm256_add_pd(self.0, other.0), _mm256_add_pd(self.1, other.1))
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Avx2(_mm256_sub_pd(self.0, other.0), _mm256_sub_pd(self.1, other.1))
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            Avx2(_mm256_fmadd_pd(self.0, factor.0, addend.0), _mm256_fmadd_pd(self.1, factor.1, addend.1))
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm256_storeu_ps(to, self.rounded());
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, len: usize) {
            _mm256_maskstore_ps(to, mask(len), self.rounded());
        }
        #[inline(always)]
        unsafe fn stream(self, to: *mut f32) {
            _mm256_stream_ps(to, self.rounded());
        }
    }
}
