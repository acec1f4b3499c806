//! Work in fixed parts, on the threads that batchnorm has.

use batchnorm_kernel::Threads;
use std::ops::Range;

/// `part(thread)` for every thread, at once.
pub fn each(threads: usize, part: impl Fn(usize) + Sync) {
    if threads == 1 {
        return part(0);
    }
    Threads::default().map(usize::MAX, threads, part);
}

/// The part of `0..len` that a thread has, cut at multiples of `grain`.
pub fn part(len: usize, grain: usize, thread: usize, threads: usize) -> Range<usize> {
    let grains = len.div_ceil(grain);
    let at = |thread: usize| (grains * thread / threads * grain).min(len);
    at(thread)..at(thread + 1)
}
