//! Whose threads compute: those of the pool a call is made from, and no others. One test, in a program of its own: at
//! its end the global pool must never have been started.
#![cfg(feature = "rayon")]

mod support;

use batchnorm::thresholds::WORTH_THREADS;
use batchnorm::{Axes, Config, Parameters, Tier, View, ViewMut};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;
use support::Random;
use support::layout::{ORDERS, Order, Sizes};
use support::step::{Case, PASSES, Places, Stepped};

const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

/// Nothing here takes a tenth of this.
const DEADLOCK: Duration = Duration::from_secs(300);

/// What a call gives must come, or threads wait for each other.
fn in_time<R: Send + 'static>(what: &str, call: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(call()));
    receiver.recv_timeout(DEADLOCK).unwrap_or_else(|error| panic!("{what}: a deadlock, or a panic ({error})"))
}

/// A layer's work: arrays large enough for threads, in some order.
struct Work {
    cases: Vec<(Case<f32>, Order)>,
}

impl Work {
    fn new() -> Work {
        let mut random = Random::new(900);
        let sizes = [(1, 1, WORTH_THREADS + 9), (2, 13, 3000), (40, 50, 36), (WORTH_THREADS / 40, 41, 1)];
        let cases = sizes.into_iter().flat_map(|(n, c, plane)| ORDERS.map(|order| (Sizes { n, c, plane }, order)));
        Work { cases: cases.map(|(sizes, order)| (Case::new(sizes, &mut random), order)).collect() }
    }

    fn step(&self, number: usize) -> Stepped<f32> {
        let (case, order) = &self.cases[number];
        case.step(PASSES[number % PASSES.len()], Tier::best(), &Places::arranged([*order; 2], case.sizes))
    }

    fn all(&self) -> Vec<Stepped<f32>> {
        (0..self.cases.len()).map(|number| self.step(number)).collect()
    }
}

fn alike(some: &[Stepped<f32>], others: &[Stepped<f32>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.same_bits(other))
}

/// Threads of this process, by number, and how long each has run so far; `None` where the system does not tell.
fn running() -> Option<BTreeMap<usize, u64>> {
    let each = std::fs::read_dir("/proc/self/task").ok()?.map(|entry| {
        let path = entry.ok()?.path();
        // A thread may end while we look: it has run no longer.
        let spent = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let nanoseconds = spent.split(' ').next()?.parse().unwrap_or(0);
        Some((path.file_name()?.to_str()?.parse().ok()?, nanoseconds))
    });
    each.collect()
}

/// The number of the calling thread, as in [`running`].
fn own_number() -> Option<usize> {
    std::fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// Threads there are now and were not before.
fn added(before: &Option<BTreeMap<usize, u64>>) -> Vec<usize> {
    match (before, running()) {
        (Some(before), Some(now)) => now.into_keys().filter(|number| !before.contains_key(number)).collect(),
        _ => Vec::new(),
    }
}

/// A pool whose threads have all started, and their numbers.
fn started(threads: usize) -> (rayon::ThreadPool, Vec<usize>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let numbers = pool.broadcast(|_| own_number()).into_iter().flatten().collect();
    (pool, numbers)
}

#[test]
fn a_call_computes_on_the_pool_it_is_made_from() {
    let work: &'static Work = Box::leak(Box::new(Work::new()));
    // On a pool of one thread, of which the library must know nothing else.
    let expected: &'static [Stepped<f32>] = in_time("one thread", || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        Vec::leak(pool.install(|| work.all()))
    });
    for threads in THREADS {
        respected(threads, work, expected);
        nested(threads, work, expected);
    }
    // It can be started by the first to ask only: nobody asked.
    let first = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    assert!(first.is_ok(), "a call started the global pool");
}

/// Work is done by the threads of the pool alone, by more than one of them if there are, and none are added.
fn respected(threads: usize, work: &'static Work, expected: &'static [Stepped<f32>]) {
    in_time("a pool of the caller's", move || {
        let (pool, numbers) = started(threads);
        let x: Vec<f32> = (0..4_000_000u32).map(|i| (i % 977) as f32).collect();
        let x = View::new(&x, &[4, 100, 10_000], Axes::NCHW).expect("a right view");
        let (rule, mut y) = (Config::pytorch().normalizer().expect("a right configuration"), vec![0.0f32; 4_000_000]);
        // What a thread has run is counted when it rests, at the latest: what this one did so far is none of the call's.
        std::thread::sleep(Duration::from_millis(10));
        let before = running();
        pool.install(|| {
            assert_eq!(rayon::current_num_threads(), threads);
            let mut y = ViewMut::new(&mut y, &[4, 100, 10_000], Axes::NCHW).expect("a right view");
            for _ in 0..40 {
                rule.train(&x, Parameters::<f32>::default(), None, &mut y).expect("a right call");
            }
        });
        assert_eq!(added(&before), [0; 0], "threads that were started");
        if let (Some(before), Some(after)) = (before, running()) {
            let spent =
                |number: &usize| after.get(number).zip(before.get(number)).map_or(0, |(after, before)| after - before);
            let ours: Vec<u64> = numbers.iter().map(spent).collect();
            let others: u64 = after.keys().filter(|number| !numbers.contains(number)).map(spent).sum();
            println!("{threads} threads of the pool ran {ours:?} ns, all others {others} ns");
            let all: u64 = ours.iter().sum();
            assert!(others < all / 20, "work on threads of others");
            let working = ours.iter().filter(|&&time| time > all / 50).count();
            assert!(working >= threads.min(2), "{working} of {threads} threads worked");
        }
        assert!(alike(&pool.install(|| work.all()), expected), "{threads} threads");
    });
}

/// From tasks of the pool, many at once and in each other: all come to their end, with the same bits, and no threads
/// are started for them.
fn nested(threads: usize, work: &'static Work, expected: &'static [Stepped<f32>]) {
    in_time("calls from tasks", move || {
        let (pool, _) = started(threads);
        let before = running();
        let step = |number: usize| {
            assert_eq!((rayon::current_num_threads(), added(&before)), (threads, Vec::new()));
            work.step(number)
        };
        pool.install(|| {
            let all: Vec<_> = (0..work.cases.len()).into_par_iter().map(step).collect();
            assert!(alike(&all, expected), "par_iter, {threads} threads");
            // Tasks that start tasks.
            let step = &step;
            rayon::scope(|scope| {
                for number in 0..4 {
                    scope.spawn(move |scope| {
                        scope.spawn(move |_| assert!(step(number).same_bits(&expected[number])));
                        assert!(step(number + 4).same_bits(&expected[number + 4]));
                    });
                }
            });
            let ((first, second), third) = rayon::join(|| rayon::join(|| step(8), || step(9)), || step(10));
            for (number, got) in [(8, first), (9, second), (10, third)] {
                assert!(got.same_bits(&expected[number]), "join, {threads} threads");
            }
        });
        assert_eq!(added(&before), [0; 0], "threads that were started");
    });
}
