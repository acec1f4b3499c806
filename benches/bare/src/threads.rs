//! Work in fixed parts: thread 0 is the caller, the others come from the current rayon pool.

use std::ops::Range;

/// `part(thread)` for every thread, at once.
pub fn each(threads: usize, part: impl Fn(usize) + Sync) {
    if threads == 1 {
        return part(0);
    }
    rayon::in_place_scope(|scope| {
        let part = &part;
        for thread in 1..threads {
            scope.spawn(move |_| part(thread));
        }
        part(0);
    });
}

/// The part of `0..len` that a thread has, cut at multiples of `grain`.
pub fn part(len: usize, grain: usize, thread: usize, threads: usize) -> Range<usize> {
    let grains = len.div_ceil(grain);
    let at = |thread: usize| (grains * thread / threads * grain).min(len);
    at(thread)..at(thread + 1)
}
