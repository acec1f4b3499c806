//! Room that a thread keeps between calls, so that small ones need not ask the system for it. (Alone in its process, for it is
//! counted by the allocator.)

use batchnorm::{Axes, Config, Parameters, Threads, View, ViewMut};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const KEPT: usize = 1 << 20;
/// What a thread itself takes.
const THREAD: usize = 16 << 10;

/// A training step and its backward pass.
fn step(sizes: [usize; 3], axes: Axes) {
    let rule = Config::pytorch().threads(Threads::calling()).normalizer().expect("a right configuration");
    let len = sizes.iter().product();
    let x: Vec<f32> = (0..len).map(|at| (at % 11) as f32).collect();
    let mut out = vec![0.0; len];
    let x = View::new(&x, &sizes, axes).expect("a dense array");
    let mut out = ViewMut::new(&mut out, &sizes, axes).expect("a dense array");
    let (saved, _) = rule.train(&x, Parameters::<f32>::default(), None, &mut out).expect("right");
    saved.backward(&x, &x, &mut out).expect("right");
}

#[test]
fn what_a_thread_keeps_between_calls_is_bounded_and_ends_with_it() {
    let peak = || {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        step([8, 1024, 1], Axes::NCHW);
        MEMORY.peak_usage().saturating_sub(before)
    };
    let (first, second) = std::thread::spawn(move || (peak(), peak())).join().expect("a thread that ends");
    // x, the output, the moments of the batch, sums and gradients of parameters are asked for each time.
    println!("{first} bytes, then {second}");
    assert!(second + (64 << 10) < first, "{first} bytes, then {second}");

    let start = MEMORY.current_usage();
    let calls = || {
        let before = MEMORY.current_usage();
        for (turn, channels) in [1, 7, 100, 2048, 30_000, 513, 4096, 64].into_iter().cycle().take(40).enumerate() {
            let (n, plane) = (3 + turn % 5, 1 + turn % 3);
            step([n, channels, plane], Axes::NCHW);
            step([n, plane, channels], Axes::NHWC);
            let kept = MEMORY.current_usage().saturating_sub(before);
            assert!(kept <= KEPT + THREAD, "after turn {turn} the thread keeps {kept} bytes");
        }
        MEMORY.current_usage().saturating_sub(before)
    };
    let kept = std::thread::spawn(calls).join().expect("a thread that ends");
    let left = MEMORY.current_usage().saturating_sub(start);
    println!("{kept} bytes kept, {left} left when the thread had ended");
    assert!(kept > THREAD && left <= THREAD, "{kept} bytes kept, {left} left when the thread had ended");
}
