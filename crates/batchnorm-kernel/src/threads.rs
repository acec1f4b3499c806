//! Work spread over threads. What is computed never depends on how it is spread: tasks are independent and their
//! results come back in order.

/// Below this many elements waking threads costs more than it saves (about 0.3 ms here).
pub const WORTH_THREADS: usize = 1 << 16;

/// Threads that a call over `elements` elements may use.
pub fn threads_for(elements: usize) -> usize {
    #[cfg(feature = "rayon")]
    if elements >= WORTH_THREADS {
        return rayon::current_num_threads();
    }
    let _ = (elements, WORTH_THREADS);
    1
}

/// Enters the pool once for several parallel sections: saves waking it for each.
pub fn together<R: Send>(threads: usize, call: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "rayon")]
    if threads > 1 {
        return rayon::scope(|_| call());
    }
    let _ = threads;
    call()
}

/// `task(scratch, 0..tasks)` in order of the tasks; on the current rayon pool if `threads` > 1. Each thread makes
/// its own scratch.
pub fn map<S, R: Send>(
    tasks: usize,
    threads: usize,
    scratch: impl Fn() -> S + Sync + Send,
    task: impl Fn(&mut S, usize) -> R + Sync + Send,
) -> Vec<R> {
    #[cfg(feature = "rayon")]
    if threads > 1 && tasks > 1 {
        use rayon::prelude::*;
        return (0..tasks).into_par_iter().map_init(scratch, task).collect();
    }
    let _ = threads;
    let mut own = scratch();
    (0..tasks).map(|index| task(&mut own, index)).collect()
}
