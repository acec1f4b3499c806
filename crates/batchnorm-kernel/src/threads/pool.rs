//! Rayon's pools as executors.
//!
//! The calling thread works too. A pool beside a thread that only waits for it was seen to run on one processor of two: a
//! system puts a thread that it wakes where it ran last, and may leave it there behind a busy one though another processor is
//! idle. For the same reason helpers linger for a moment when they have nothing to do: calls follow each other, and a thread
//! that has not gone to sleep need not be woken, which takes as long as a small call.

use super::executor::Executor;
use rayon::{Scope, ThreadPool, ThreadPoolBuilder, Yield};
use std::cell::Cell;
use std::hint::spin_loop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a helper looks for further work before it goes to sleep.
const LINGER: Duration = Duration::from_micros(200);

/// The pool that the calling thread belongs to. For a thread of no pool, as many threads as the global pool has: this one, and
/// helpers.
pub(super) struct Current;

impl Executor for Current {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        let threads = self.threads();
        let others = AtomicUsize::new(threads - 1);
        let of_a_pool = rayon::current_thread_index().is_some();
        match if of_a_pool { None } else { helpers(threads) } {
            Some(helpers) => helpers.in_place_scope(|scope| spread(scope, &others, work, true)),
            None => rayon::in_place_scope(|scope| spread(scope, &others, work, false)),
        }
    }
}

impl Executor for ThreadPool {
    fn threads(&self) -> usize {
        self.current_num_threads()
    }

    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        let others = AtomicUsize::new(self.current_num_threads() - 1);
        self.in_place_scope(|scope| spread(scope, &others, work, false));
    }
}

/// Threads beside those of the global pool, one less than it has: with them a thread of no pool makes up that number. (With the
/// pool's own threads there would be one too many, which is woken each time and finds nothing.)
fn helpers(threads: usize) -> Option<&'static ThreadPool> {
    static HELPERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    // They get the processors of the thread that makes them: none that is kept to fewer than there are threads.
    if threads < 2 || (HELPERS.get().is_none() && processors() < threads) {
        return None;
    }
    let name = |number| format!("batchnorm-{number}");
    let build = || ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(name).build().ok();
    HELPERS.get_or_init(build).as_ref()
}

/// One call for each thread, the first on the calling one; `running` is the number of the others.
fn spread<'w>(scope: &Scope<'w>, running: &'w AtomicUsize, work: &'w (dyn Fn(usize) + Sync), by_helpers: bool) {
    let caller = processor();
    for worker in 1..=running.load(Ordering::Relaxed) {
        scope.spawn(move |_| {
            if by_helpers {
                step_aside(caller);
            }
            work(worker);
            running.fetch_sub(1, Ordering::Release);
            if by_helpers && !LINGERS.get() {
                rayon::spawn(look_for_work);
            }
        });
    }
    // A helper that was woken on this processor begins, and steps aside.
    std::thread::yield_now();
    work(0);
    // The others are at their last part: this thread waits awake, as they do.
    if by_helpers {
        let done = Instant::now();
        while running.load(Ordering::Acquire) > 0 && done.elapsed() < LINGER {
            pause();
        }
    }
}

/// A moment awake, in which others may have the processor.
fn pause() {
    (0..32).for_each(|_| spin_loop());
    std::thread::yield_now();
}

thread_local! {
    /// Whether this thread is in [`look_for_work`].
    static LINGERS: Cell<bool> = const { Cell::new(false) };
}

/// Does what comes to the pool, until for a moment nothing has.
fn look_for_work() {
    if LINGERS.replace(true) {
        return;
    }
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < LINGER {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle_since = Instant::now(),
            _ => pause(),
        }
    }
    LINGERS.set(false);
}

/// Number of processors that this thread may run on.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor that this thread runs on.
#[cfg(target_os = "linux")]
fn processor() -> Option<usize> {
    Some(rustix::thread::sched_getcpu())
}

/// Moves this thread, a helper, to another processor than the caller's if it is there.
#[cfg(target_os = "linux")]
fn step_aside(caller: Option<usize>) {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};
    let Some(caller) = caller.filter(|_| processor() == caller) else { return };
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut others = allowed;
    others.unset(caller);
    // Where there is no other one, this is refused, and nothing changes. What was allowed before is allowed again.
    if sched_setaffinity(None, &others).is_ok() {
        let _ = sched_setaffinity(None, &allowed);
    }
}

#[cfg(not(target_os = "linux"))]
fn processor() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
fn step_aside(_: Option<usize>) {}
