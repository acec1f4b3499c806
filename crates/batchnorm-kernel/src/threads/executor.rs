//! What threads are asked for of those who have them.

/// Threads that are somebody's to lend: a pool, or those of a program that this one is part of.
///
/// ```
/// use batchnorm_kernel::{Executor, Threads};
/// use std::sync::Arc;
///
/// /// Two threads, made for each call. (A pool is faster.)
/// struct Two;
///
/// impl Executor for Two {
///     fn threads(&self) -> usize {
///         2
///     }
///     fn run(&self, work: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             scope.spawn(|| work(1));
///             work(0);
///         });
///     }
/// }
/// let threads = Threads::of(Arc::new(Two));
/// assert_eq!(threads, threads.clone());
/// ```
pub trait Executor: Send + Sync {
    /// Number of calls that [`run`](Self::run) makes at once. Work is cut by it; no result depends on it.
    fn threads(&self) -> usize;

    /// Calls `work(0)`, `work(1)` .. `work(threads() - 1)`, at the same time as far as it can, one of them on the calling thread,
    /// and returns when they have returned.
    ///
    /// Each call takes parts of the work until none is left. The number is a hint of which parts to begin with, so that a
    /// thread finds in its cache what it had there: best the same number on the same thread each time. What is left after
    /// this has returned, the calling thread does. No call may go on after that. Where this panics, or [`threads`](Self::threads)
    /// does, the calling thread does the rest of the layer's call, and then the panic is passed on, outputs and state as after a
    /// success. (A module of Burn learns nothing from that call: its own state is beside the layer.)
    fn run(&self, work: &(dyn Fn(usize) + Sync));
}
