//! What decorrelated batch norm takes beyond the caller's arrays: matrices of d x d numbers for each group and a fixed
//! scratch for each thread, never a copy of the input. Counted by the allocator.

mod support;

use batchnorm::{Axes, Decorrelated, ParameterDirection, View, ViewMut};
use peak_alloc::PeakAlloc;
use support::{Random, pool};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[test]
fn matrices_and_a_scratch_for_each_thread() {
    const THREADS: usize = 3;
    let mut random = Random::new(1220);
    for (channels, group) in [(32, 16), (40, 1), (24, 24)] {
        let shape = [4, channels, 20_000];
        let x = random.normals_f32(shape.iter().product(), 3.0, 1.0);
        let (mut y, mut dx) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
        let layer = Decorrelated::new(channels, group).expect("a layer");
        let x_view = View::new(&x, &shape, Axes::NCHW).expect("right");
        let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("right");
        let mut gradient = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("right");
        pool(THREADS).install(|| ());
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        pool(THREADS).install(|| {
            let (saved, _) = layer.forward_train_into(&x_view, &mut out).expect("a right call");
            saved.backward(&x_view, &x_view, &mut gradient).expect("a right call");
            let (t, none) = (&x_view, ParameterDirection::default());
            saved.double_backward(&x_view, &x_view, t, none, &mut gradient, &mut out).expect("a right call");
            layer.eval_into(&x_view, &mut out).expect("a right call");
        });
        let extra = MEMORY.peak_usage() - before;
        // Rows of 272 numbers of two arrays and their copy as stored, a tree of 2^8 leaves, the moments' own scratch;
        // parts that wait to be joined, and what the passes save.
        let scratch = (group + 1) * 272 * (8 + 8 + 4) + 9 * (group + 1) * (group + 1) * 8 + (300 << 10);
        let matrices = (channels.div_ceil(group) * 8 + 4 * THREADS) * (group + 1) * (group + 1) * 8;
        let most = THREADS * scratch + matrices + channels * 1000;
        println!(
            "{channels} channels in groups of {group}: {extra} bytes, {most} allowed, the input has {}",
            x.len() * 4
        );
        assert!(extra <= most && extra < x.len() * 4 / 4);
    }
}
