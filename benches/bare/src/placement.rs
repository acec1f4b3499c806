//! Threads bound to a processor each: to see whether two processors are two cores.

/// The processors that this thread may use; none where the system does not say.
pub fn processors() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    {
        let mut mask = [0u64; WORDS];
        // SAFETY: the kernel writes at most as many bytes as it is told.
        if unsafe { sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr()) } < 0 {
            return Vec::new();
        }
        (0..64 * WORDS).filter(|&processor| mask[processor / 64] >> (processor % 64) & 1 == 1).collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Binds this thread to the processor at a place of the list, counted round. Without processors nothing happens.
pub fn bind(processors: &[usize], place: usize) {
    #[cfg(target_os = "linux")]
    if let Some(&processor) = processors.get(place % processors.len().max(1)) {
        let mut mask = [0u64; WORDS];
        mask[processor / 64] |= 1 << (processor % 64);
        // SAFETY: the kernel reads as many bytes as it is told. Where it refuses, the thread stays as it is.
        unsafe { sched_setaffinity(0, size_of_val(&mask), mask.as_ptr()) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (processors, place);
}

/// Words of a mask of processors.
#[cfg(target_os = "linux")]
const WORDS: usize = 16;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn sched_getaffinity(thread: i32, bytes: usize, mask: *mut u64) -> i32;
    fn sched_setaffinity(thread: i32, bytes: usize, mask: *const u64) -> i32;
}
