//! What the processor is told of memory beside loads and stores: what is wanted next, and to finish what was streamed.
#![allow(unsafe_code)]

/// Bytes of a cache line.
const LINE: usize = 64;

/// Prefetches some values, line by line. Any place will do, even none of ours.
#[inline(always)]
pub fn prefetch<T>(first: *const T, len: usize) {
    for byte in (0..len * size_of::<T>()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has this instruction, which reads nothing that could be seen and never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(first.cast::<i8>().wrapping_add(byte))
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (first, byte);
    }
}

/// Number of elements before the first cache line.
#[inline(always)]
pub fn elements_to_line<T>(first: *const T) -> usize {
    (first as usize).wrapping_neg() % LINE / size_of::<T>()
}

/// Makes streamed stores visible, in order before whatever follows.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has this instruction; it touches no memory of ours.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}
