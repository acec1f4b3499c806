//! Whatever an executor does with the work it is given: the same bits, each output written once, and where it panics a call that
//! has come to its end.

use crate::support::Random;
use crate::support::layout::{Order, Sizes, sizes};
use crate::support::step::{ARRANGEMENTS, Case, PASSES, Places};
use batchnorm::thresholds::WORTH_THREADS;
use batchnorm::{Axes, Config, Executor, SampleConfig, Threads, View, ViewMut, WhiteningConfig};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Work<'w> = &'w (dyn Fn(usize) + Sync);

/// An executor that does as it likes.
struct Odd {
    threads: usize,
    run: fn(Work),
    /// Number of times that it was asked to run something.
    runs: AtomicUsize,
}

impl Executor for Odd {
    fn threads(&self) -> usize {
        self.threads
    }
    fn run(&self, work: Work) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        (self.run)(work);
    }
}

fn odd(threads: usize, run: fn(Work)) -> Arc<Odd> {
    Arc::new(Odd { threads, run, runs: AtomicUsize::new(0) })
}

/// `hint(n)` is what the n-th of three threads calls the work with. (Joined one by one: ThreadSanitizer sees what that orders.)
fn on_three(work: Work, hint: impl Fn(usize) -> usize) {
    std::thread::scope(|scope| {
        let hints = [1, 2].map(&hint);
        let others = hints.map(|hint| scope.spawn(move || work(hint)));
        work(hint(0));
        others.into_iter().for_each(|other| other.join().expect("work does not panic"));
    });
}

/// What it does, its number of threads, and how it runs work.
type Behaviour = (&'static str, usize, fn(Work));

const ODD: [Behaviour; 11] = [
    ("as it should", 3, |work| on_three(work, |n| n)),
    ("never", 2, |_| ()),
    ("once", 4, |work| work(0)),
    ("ten times, from one thread", 3, |work| (0..10).rev().for_each(work)),
    ("always with the same hint", 3, |work| on_three(work, |_| 1)),
    ("with hints that are none", 3, |work| on_three(work, |n| usize::MAX - n)),
    ("on another thread alone", 2, |work| {
        std::thread::scope(|scope| scope.spawn(|| work(0)).join().expect("work does not panic"));
    }),
    ("of no threads", 0, |work| work(0)),
    ("of more threads than can be", usize::MAX, |work| on_three(work, |n| n)),
    ("within a call of a layer on it", 3, |work| {
        let x = View::new(&[1.0f32, 2.0, 6.0], &[3, 1], Axes::NCHW).expect("a right view");
        Config::pytorch().build().expect("a right configuration").train(&x).expect("a right call");
        on_three(work, |n| n);
    }),
    ("twice as many threads", 3, |work| {
        on_three(work, |n| n);
        on_three(work, |n| n + 3);
    }),
];

/// Sizes that are worth threads: one channel cut into subtrees; many channels, each reduced and mapped at once; small planes;
/// rows; few wide rows; planes that are rows of a part of the lanes, and of which only the map takes rows.
const SIZES: [Sizes; 7] = [
    sizes(1, 1, WORTH_THREADS + 5),
    sizes(2, 17, WORTH_THREADS / 32),
    sizes(9, 150, 49),
    sizes(WORTH_THREADS / 40, 41, 1),
    sizes(5, WORTH_THREADS / 5 + 3, 1),
    sizes(70, WORTH_THREADS / 280 + 3, 4),
    sizes(9, WORTH_THREADS / 45 + 3, 5),
];

#[test]
fn an_executor_changes_no_bit_whatever_it_does() {
    let mut random = Random::new(810);
    for (number, sizes) in SIZES.into_iter().enumerate() {
        let case = Case::<f32>::new(sizes, &mut random);
        let (pass, arrangement) = (PASSES[number % PASSES.len()], ARRANGEMENTS[number % 3]);
        let places = Places::tight(arrangement, sizes);
        let on = |threads: Threads| {
            let rule = pass.config().threads(threads).normalizer().expect("a right configuration");
            case.step_by(pass, rule, &places)
        };
        let expected = on(Threads::calling());
        for (what, threads, run) in ODD {
            let executor = odd(threads, run);
            let got = on(Threads::of(executor.clone()));
            assert!(got.same_bits(&expected), "an executor that runs work {what}: {sizes:?} {arrangement:?} {pass:?}");
            let asked = executor.runs.load(Ordering::Relaxed) > 0;
            assert_eq!(asked, threads > 1, "an executor that runs work {what}");
        }
    }
}

#[test]
fn what_is_too_small_for_threads_asks_for_none() {
    let executor = odd(2, |_| ());
    let sizes = sizes(7, 9, 40);
    let case = Case::<f32>::new(sizes, &mut Random::new(811));
    for pass in PASSES {
        let rule = pass.config().threads(Threads::of(executor.clone())).normalizer().expect("a right configuration");
        case.step_by(pass, rule, &Places::tight([Order::Nchw; 2], sizes));
    }
    assert_eq!(executor.runs.load(Ordering::Relaxed), 0);
}

/// Panics, with nothing on stderr.
fn panics(when: &'static str) {
    resume_unwind(Box::new(when));
}

/// Executors that panic: before the work, after some of it, after all of it, and on another thread.
const PANICKING: [fn(Work); 4] = [
    |_| panics("before"),
    |work| {
        work(1);
        panics("before the others");
    },
    |work| {
        on_three(work, |n| n);
        panics("after all");
    },
    |work| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| panics("on another thread"));
            work(0);
            other.join().unwrap_or_else(|payload| resume_unwind(payload));
        });
    },
];

/// What an executor panics with in a call.
fn caught<R>(call: impl FnOnce() -> R) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(call)).err()?;
    Some(payload.downcast_ref::<&'static str>().copied().expect("the executor's own payload"))
}

fn out<'o>(shape: &[usize], data: &'o mut [f32]) -> ViewMut<'o, f32> {
    ViewMut::new(data, shape, Axes::NCHW).unwrap()
}

#[test]
fn a_call_whose_executor_panics_comes_to_its_end() {
    let mut random = Random::new(812);
    for sizes in SIZES {
        let shape = [sizes.n, sizes.c, sizes.plane];
        let data = random.normals_f32(shape.iter().product(), 1.0, 2.0);
        let x = View::new(&data, &shape, Axes::NCHW).unwrap();
        let layer = |threads| Config::pytorch().channels(sizes.c).threads(threads).build().unwrap();
        let mut right = layer(Threads::calling());
        let (mut y, mut dx) = (data.clone(), data.clone());
        let (saved, _) = right.train_into(&x, &mut out(&shape, &mut y)).unwrap();
        let gradients = saved.backward(&x, &x, &mut out(&shape, &mut dx)).unwrap();

        for run in PANICKING {
            let executor = odd(3, run);
            let asked = || executor.runs.load(Ordering::Relaxed);
            let mut other = layer(Threads::of(executor.clone()));
            let mut got = vec![f32::NAN; data.len()];
            let message = caught(|| other.train_into(&x, &mut out(&shape, &mut got)));
            assert!(
                message.is_some() && asked() == 1,
                "it is passed on, and the executor not asked again in that call"
            );
            assert!(got == y && other.running() == right.running(), "{message:?}: {sizes:?}");

            got.fill(f32::NAN);
            let saved = saved.clone().threads(Threads::of(executor.clone()));
            assert!(caught(|| saved.backward(&x, &x, &mut out(&shape, &mut got))).is_some() && asked() == 2);
            assert!(got == dx, "{message:?}: {sizes:?}");

            // And on other threads all is well.
            let saved = saved.threads(Threads::calling());
            assert_eq!(saved.backward(&x, &x, &mut out(&shape, &mut got)).unwrap(), gradients);
            other.set_threads(Threads::calling());
            other.train(&x).unwrap();
        }
    }
}

#[test]
fn the_other_layers_take_it_too() {
    let mut random = Random::new(813);
    let shape = [40, 8, WORTH_THREADS / 320 + 9];
    let data = random.normals_f32(shape.iter().product(), 1.0, 2.0);
    let x = View::new(&data, &shape, Axes::NCHW).unwrap();
    let executor = odd(2, |work| (0..2).for_each(work));
    let asked = || executor.runs.swap(0, Ordering::Relaxed) > 0;
    let threads = || Threads::of(executor.clone());

    let mut whitening = WhiteningConfig::new(8, 4).threads(threads()).build().unwrap();
    let trained = whitening.train(&x).unwrap();
    assert!(asked());
    whitening.backward(&x, &x, &trained.saved).unwrap();
    assert!(asked());
    for (config, parameters) in [(SampleConfig::layer(2), &shape[1..]), (SampleConfig::group(2), &shape[1..2])] {
        let layer = config.threads(threads()).build(parameters).unwrap();
        let (_, saved) = layer.forward(&x).unwrap();
        assert!(asked());
        layer.backward(&x, &x, &saved).unwrap();
        assert!(asked());
    }
}
