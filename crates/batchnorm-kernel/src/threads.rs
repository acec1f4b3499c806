//! Work spread over threads. What is computed never depends on how it is spread: parts are fixed by their index, independent,
//! and their results come back in order.
//!
//! An [`Executor`] lends threads, and nothing else is asked of it: parts are claimed here, by atomics, and the calling thread
//! does those that nobody has claimed. So one that calls too often, too rarely, from one thread or not at all costs time and
//! nothing else.

pub mod executor;
#[cfg(feature = "rayon")]
mod pool;

use executor::Executor;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Below this many elements waking threads costs more than it saves.
pub const WORTH_THREADS: usize = 1 << 16;
/// Threads of an executor that are counted: work is cut into some parts for each.
const MAX_THREADS: usize = 1024;

/// The threads that passes run on.
#[derive(Clone, Default)]
pub struct Threads(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Current,
    Calling,
    Lent(Arc<dyn Executor>),
}

impl Threads {
    /// In a task of a rayon pool, or `install`ed in one, its threads. Elsewhere as many as rayon's global pool has: the calling
    /// thread, and helpers beside that pool, which stay awake for 0.2 ms after a call. Without the feature `rayon`, the calling
    /// thread.
    pub fn current_pool() -> Threads {
        Threads(Kind::Current)
    }

    /// The calling thread alone.
    pub fn calling() -> Threads {
        Threads(Kind::Calling)
    }

    /// Those that an executor lends, such as a `rayon::ThreadPool`. One of a single thread is not asked to run anything.
    pub fn of(executor: Arc<dyn Executor>) -> Threads {
        Threads(Kind::Lent(executor))
    }

    /// Those that work over `elements` elements is worth.
    pub(crate) fn for_elements(&self, elements: usize) -> Crew<'_> {
        let executor: Option<&dyn Executor> = match &self.0 {
            _ if elements < WORTH_THREADS || has_failed() => None,
            #[cfg(feature = "rayon")]
            Kind::Current => Some(&pool::Current),
            #[cfg(not(feature = "rayon"))]
            Kind::Current => None,
            Kind::Calling => None,
            Kind::Lent(executor) => Some(&**executor),
        };
        let Some(executor) = executor else { return Crew { executor: None, count: 1 } };
        match catch_unwind(AssertUnwindSafe(|| executor.threads())) {
            Ok(threads) => Crew { executor: Some(executor), count: threads.clamp(1, MAX_THREADS) },
            Err(payload) => {
                fail(payload);
                Crew { executor: None, count: 1 }
            }
        }
    }

    /// Work over `elements` elements in so many independent parts: `part(0)`, `part(1)` .., in order.
    pub fn map<R: Send>(&self, elements: usize, parts: usize, part: impl Fn(usize) -> R + Sync) -> Vec<R> {
        self.for_elements(elements).map(parts, || (), |(), number| part(number))
    }
}

// What an executor's panic leaves of a call is what a success leaves.
impl UnwindSafe for Threads {}
impl RefUnwindSafe for Threads {}

impl PartialEq for Threads {
    /// The same threads: of an executor, the same one.
    fn eq(&self, other: &Threads) -> bool {
        match (&self.0, &other.0) {
            (Kind::Current, Kind::Current) | (Kind::Calling, Kind::Calling) => true,
            (Kind::Lent(one), Kind::Lent(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Current => "Threads::current_pool()",
            Kind::Calling => "Threads::calling()",
            Kind::Lent(_) => "Threads::of(..)",
        })
    }
}

/// The threads of one piece of work.
#[derive(Clone, Copy)]
pub(crate) struct Crew<'e> {
    executor: Option<&'e dyn Executor>,
    count: usize,
}

/// Gives the next task out, as long as there is one.
type NextTask<'t> = dyn FnMut() -> Option<usize> + 't;

impl Crew<'_> {
    /// Number of threads, at least 1.
    pub fn count(self) -> usize {
        self.count
    }

    /// `task(scratch, 0..tasks)` in order of the tasks. Each thread makes its own scratch.
    pub fn map<S, R: Send>(
        self,
        tasks: usize,
        scratch: impl Fn() -> S + Sync,
        task: impl Fn(&mut S, usize) -> R + Sync,
    ) -> Vec<R> {
        let results: Vec<Mutex<Option<R>>> = (0..tasks).map(|_| Mutex::new(None)).collect();
        self.share(tasks, &|next| {
            let mut own = None;
            while let Some(number) = next() {
                let result = task(own.get_or_insert_with(&scratch), number);
                *results[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        });
        let result = |part: Mutex<Option<R>>| part.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.into_iter().map(|part| result(part).expect("each part was claimed and has ended")).collect()
    }

    /// Calls `work` on each thread, which takes one number after the other until it finds none left. Each of `0..tasks` is given
    /// out once, and what is done with it has ended when this returns.
    fn share(self, tasks: usize, work: &(dyn Fn(&mut NextTask) + Sync)) {
        let Some(executor) = self.executor.filter(|_| self.count > 1 && tasks > 1) else {
            let mut all = 0..tasks;
            return work(&mut || all.next());
        };
        let claimed: Vec<AtomicBool> = (0..tasks).map(|_| AtomicBool::new(false)).collect();
        let is_free = |number: &usize| {
            let claimed = &claimed[*number];
            !claimed.load(Ordering::Relaxed) && !claimed.swap(true, Ordering::Relaxed)
        };
        let panicked = Mutex::new(None);
        let share = tasks.div_ceil(self.count);
        let work = |hint: usize| {
            let first = (hint % self.count * share).min(tasks);
            let mut numbers = (first..tasks).chain(0..first);
            // A panic of ours does not go through the executor, which may be another language's.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut || numbers.find(is_free))));
            if let Err(payload) = outcome {
                *panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
            }
        };
        let ran = catch_unwind(AssertUnwindSafe(|| executor.run(&work)));
        work(0);
        if let Some(payload) = panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(payload);
        }
        if let Err(payload) = ran {
            fail(payload);
        }
    }
}

type Payload = Box<dyn std::any::Any + Send>;

thread_local! {
    /// While this thread is in a [`Call`]: what an executor has panicked with in it.
    static CALL: RefCell<Option<Option<Payload>>> = const { RefCell::new(None) };
}

/// A call of a layer, of several pieces of work, from here to where this goes out of scope. Where an executor panics in one of
/// them, the calling thread does the rest, and the panic is passed on at the end of the call: its results are complete then,
/// and so is what it changes.
#[must_use = "a call is as long as this"]
pub struct Call {
    /// Not within another call.
    outermost: bool,
    /// It stays on its thread.
    thread: PhantomData<*const ()>,
}

impl Call {
    /// Begins a call.
    pub fn begin() -> Call {
        let outermost = CALL.with_borrow(Option::is_none);
        if outermost {
            CALL.set(Some(None));
        }
        Call { outermost, thread: PhantomData }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.outermost {
            return;
        }
        if let Some(Some(payload)) = CALL.take()
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

/// Whether an executor has panicked in this call: it is not asked again.
fn has_failed() -> bool {
    CALL.with_borrow(|call| matches!(call, Some(Some(_))))
}

/// Passes a panic on, at the end of the call.
fn fail(payload: Payload) {
    let at_once = CALL.with_borrow_mut(|call| match call {
        Some(failure) => {
            *failure = Some(payload);
            None
        }
        None => Some(payload),
    });
    if let Some(payload) = at_once {
        resume_unwind(payload);
    }
}
