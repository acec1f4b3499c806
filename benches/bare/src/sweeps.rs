//! How long memory takes: a read sweep, a copy, a copy past the caches; and the floor of a call, put together from them.

use crate::threads;

/// Below this, another thread's help costs more than it brings.
const WORTH_THREADS: usize = 256 << 10;
/// Bytes a line, at which the threads' parts are cut.
const LINE: usize = 64;

/// What must cross memory in a call: arrays that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Arrays that are read, counted as often as that happens.
    pub reads: usize,
    /// Arrays that are written.
    pub writes: usize,
}

impl Traffic {
    /// A forward pass by a batch's own moments: in planes a channel is still in a cache when it is mapped, in rows all is read
    /// twice (but the residual).
    pub fn train(rows: bool, residual: bool) -> Traffic {
        Traffic { reads: 1 + usize::from(rows) + usize::from(residual), writes: 1 }
    }

    /// A forward pass by running statistics.
    pub fn eval(residual: bool) -> Traffic {
        Traffic { reads: 1 + usize::from(residual), writes: 1 }
    }

    /// A backward pass: in rows its inputs are read twice. With a residual it also reads y and writes the residual's gradient.
    pub fn backward(rows: bool, residual: bool) -> Traffic {
        let arrays = 2 + usize::from(residual);
        Traffic { reads: if rows { 2 * arrays } else { arrays }, writes: 1 + usize::from(residual) }
    }

    /// The floor, from the times of a read sweep and a copy of one such array. A write is what a copy takes beyond a read.
    pub fn floor(self, read: f64, copy: f64) -> f64 {
        self.reads as f64 * read + self.writes as f64 * (copy - read).max(0.0)
    }
}

/// Reads an array, on as many threads.
pub fn read<T: Copy + Sync>(x: &[T], threads: usize) {
    let (first, bytes) = (Place(x.as_ptr() as *mut u8), size_of_val(x));
    parts(bytes, threads, |from, len| {
        // SAFETY: a part of the array.
        unsafe { read_bytes(first.at(from), len) }
    });
}

/// Copies an array, on as many threads.
///
/// # Panics
/// If the lengths differ.
pub fn copy<T: Copy + Sync + Send>(x: &[T], y: &mut [T], threads: usize) {
    copy_with(x, y, threads, |from, to, len| {
        // SAFETY: as many bytes of either, which do not overlap: one is borrowed mutably.
        unsafe { std::ptr::copy_nonoverlapping(from, to, len) }
    });
}

/// Copies an array past the caches, on as many threads; where the processor has no such stores, as [`copy`].
///
/// # Panics
/// If the lengths differ.
pub fn stream<T: Copy + Sync + Send>(x: &[T], y: &mut [T], threads: usize) {
    copy_with(x, y, threads, |from, to, len| {
        // SAFETY: as in `copy`.
        unsafe { stream_bytes(from, to, len) }
    });
}

fn copy_with<T: Copy>(x: &[T], y: &mut [T], threads: usize, copy: impl Fn(*const u8, *mut u8, usize) + Sync) {
    assert_eq!(x.len(), y.len(), "expected arrays of one length");
    let (from, to) = (Place(x.as_ptr() as *mut u8), Place(y.as_mut_ptr().cast()));
    parts(size_of_val(x), threads, |first, len| {
        copy(from.at(first), to.at(first), len);
    });
}

/// Where an array begins.
#[derive(Clone, Copy)]
struct Place(*mut u8);
// SAFETY: threads take disjoint parts.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    fn at(self, bytes: usize) -> *mut u8 {
        self.0.wrapping_add(bytes)
    }
}

fn parts(bytes: usize, threads: usize, part: impl Fn(usize, usize) + Sync) {
    let threads = if bytes < WORTH_THREADS { 1 } else { threads };
    threads::each(threads, |thread| {
        let range = threads::part(bytes, LINE, thread, threads);
        part(range.start, range.len());
    });
}

/// Loads every byte, by an instruction, so that nobody leaves it out.
unsafe fn read_bytes(from: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the caller's promise, and that of the feature.
        unsafe {
            match () {
                () if is_x86_feature_detected!("avx512f") => x86::read_512(from, len),
                () if is_x86_feature_detected!("avx") => x86::read_256(from, len),
                () => x86::read_128(from, len),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let word = size_of::<u64>();
        for at in (0..len / word * word).step_by(word) {
            // SAFETY: within the array; `MaybeUninit` may be any bits.
            unsafe {
                let place = from.add(at).cast::<std::mem::MaybeUninit<[u8; 8]>>();
                std::hint::black_box(place.read_volatile());
            }
        }
    }
}

unsafe fn stream_bytes(from: *const u8, to: *mut u8, len: usize) {
    let head = (to as usize).wrapping_neg() % LINE;
    // SAFETY: the caller's promise; the body begins at a line and ends within the array.
    unsafe {
        let head = head.min(len);
        std::ptr::copy_nonoverlapping(from, to, head);
        let body = (len - head) / LINE * LINE;
        #[cfg(target_arch = "x86_64")]
        match () {
            () if is_x86_feature_detected!("avx512f") => x86::stream_512(from.add(head), to.add(head), body),
            () if is_x86_feature_detected!("avx") => x86::stream_256(from.add(head), to.add(head), body),
            () => x86::stream_128(from.add(head), to.add(head), body),
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::ptr::copy_nonoverlapping(from.add(head), to.add(head), body);
        std::ptr::copy_nonoverlapping(from.add(head + body), to.add(head + body), len - head - body);
    }
    fence();
}

/// Stores past the caches before whatever follows.
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::LINE;
    use std::arch::asm;

    macro_rules! sweeps {
        ($read:ident, $stream:ident, $feature:literal, $class:ident, $load:literal, $store:literal, $bytes:literal) => {
            #[target_feature(enable = $feature)]
            pub unsafe fn $read(from: *const u8, len: usize) {
                let mut at = 0;
                while at + LINE <= len {
                    for part in (0..LINE).step_by($bytes) {
                        // SAFETY: within the array, by the caller's promise; the value is forgotten.
                        unsafe {
                            asm!(concat!($load, " {0}, [{1}]"), out($class) _, in(reg) from.add(at + part),
                                options(nostack, preserves_flags));
                        }
                    }
                    at += LINE;
                }
            }
            /// Whole lines to the beginning of a line.
            #[target_feature(enable = $feature)]
            pub unsafe fn $stream(from: *const u8, to: *mut u8, len: usize) {
                let mut at = 0;
                while at < len {
                    for part in (0..LINE).step_by($bytes) {
                        // SAFETY: within the arrays, by the caller's promise.
                        unsafe {
                            asm!(concat!($load, " {0}, [{1}]"), concat!($store, " [{2}], {0}"), out($class) _,
                                in(reg) from.add(at + part), in(reg) to.add(at + part),
                                options(nostack, preserves_flags));
                        }
                    }
                    at += LINE;
                }
            }
        };
    }
    sweeps!(read_512, stream_512, "avx512f", zmm_reg, "vmovups", "vmovntps", 64);
    sweeps!(read_256, stream_256, "avx", ymm_reg, "vmovups", "vmovntps", 32);
    sweeps!(read_128, stream_128, "sse", xmm_reg, "movups", "movntps", 16);
}
