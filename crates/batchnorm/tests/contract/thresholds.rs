//! Every pass, fused or not, at every size where the kernels change their way: one less, the edge, one more. In each
//! type, on every instruction set, in every layout and over several pools, between margins that must stay as they are:
//! right by the twin, and always the same bits.

use crate::support::layout::{Order, Sizes, factors, sizes};
use crate::support::step::{ARRANGEMENTS, Case, PASSES, Pass, Places, Stepping};
use crate::support::{Random, pool};
use batchnorm::Tier;
use batchnorm::thresholds::{
    BLOCK_RUN_BYTES, CHUNK_VALUES, COLUMNS_A_BLOCK, FEW_VALUES, FIRST_IS_NEAR, LANES, LOW_ROWS, MAX_BLOCK_CHANNELS,
    MAX_ROW_CHANNELS, MIN_ALIGNED_RUN, MIN_ROW_CHANNELS, MIN_RUN, MIN_SHIFTED_VALUES, NEAR_COLUMNS, OWN_BYTES,
    ROWS_A_BLOCK, ROWS_A_STEP, SHARED_COEFFICIENTS, STREAM_BYTES, STREAM_RUN_BYTES, TASK_ELEMENTS, TILE_VALUES, WIDTH,
    WORTH_THREADS,
};

/// Arrays of more elements are taken in a third of the passes, and those that are large in one type, each time others.
const EVERY_PASS: usize = 1 << 12;
const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

/// What is at its edge, and the sizes around it.
struct Edge {
    what: &'static str,
    sizes: Vec<Sizes>,
}

fn edge(what: &'static str, edge: usize, sizes: impl Fn(usize) -> Sizes) -> Edge {
    Edge { what, sizes: [edge - 1, edge, edge + 1].map(sizes).to_vec() }
}

/// A new edge is a line here.
fn table() -> Vec<Edge> {
    vec![
        edge("a vector", WIDTH, |e| sizes(1, 2, e)),
        edge("a vector of one channel", WIDTH, |e| sizes(1, 1, e)),
        edge("two vectors and a bit", 2 * LANES + WIDTH, |e| sizes(1, 2, e)),
        edge("lanes", LANES, |e| sizes(1, 2, e)),
        edge("lanes of rows", LANES, |e| sizes(e, 9, 1)),
        edge("rows added in one step", ROWS_A_STEP * LANES, |e| sizes(e, 9, 1)),
        edge("rows of two arrays added in one step", ROWS_A_STEP / 2 * LANES, |e| sizes(e, 9, 1)),
        edge("few rows", LOW_ROWS, |e| sizes(e, 27, 1)),
        edge("few rows of planes", LANES / 2 / 4, |e| sizes(e, 27, 4)),
        edge("values of which the first is near", FIRST_IS_NEAR, |e| sizes(e, 19, 1)),
        edge("such values in planes", FIRST_IS_NEAR, |e| sizes(factors(e).0, 19, factors(e).1)),
        edge("columns of a block", SHARED_COEFFICIENTS / 3 + COLUMNS_A_BLOCK, |e| {
            sizes(3, e.next_multiple_of(WIDTH), 1)
        }),
        edge("rows of a block", ROWS_A_BLOCK, |e| sizes(e, SHARED_COEFFICIENTS, 1)),
        edge("squares of a transposition", LANES, |e| sizes(e, e, 1)),
        edge("two squares", 2 * LANES, |e| sizes(e, 17, 1)),
        edge("runs", MIN_RUN, |e| sizes(5, 3, e)),
        edge("runs of one sample", MIN_RUN, |e| sizes(1, 3, e)),
        edge("runs that are no array", MIN_RUN, |e| sizes(e, 3, 1)),
        edge("a chunk in one run", CHUNK_VALUES, |e| sizes(1, 2, e)),
        edge("two chunks in one run", 2 * CHUNK_VALUES, |e| sizes(1, 2, e)),
        edge("three chunks of one channel", 3 * CHUNK_VALUES, |e| sizes(1, 1, e)),
        edge("chunks that reach over planes", CHUNK_VALUES, |e| sizes(3, 2, e)),
        edge("planes of whole vectors", 3 * WIDTH, |e| sizes(90, 3, e)),
        edge("planes of half a vector more", 5 * WIDTH / 2, |e| sizes(90, 3, e)),
        edge("what is copied to be overwritten", OWN_BYTES / 4, |e| sizes(2, 3, e)),
        edge("what is copied of f64", OWN_BYTES / 8, |e| sizes(2, 3, e)),
        edge("a run that is aligned", MIN_ALIGNED_RUN, |e| sizes(2, 3, e)),
        edge("a chunk of small planes", CHUNK_VALUES, |e| sizes(factors(e).0, 3, factors(e).1)),
        edge("two chunks of small planes", 2 * CHUNK_VALUES, |e| sizes(factors(e).1, 3, factors(e).0)),
        edge("a chunk of rows", CHUNK_VALUES, |e| sizes(e, 9, 1)),
        edge("a chunk of narrow rows", CHUNK_VALUES, |e| sizes(e, 3, 1)),
        edge("two chunks of rows", 2 * CHUNK_VALUES, |e| sizes(e, 8, 1)),
        edge("rows of planes", CHUNK_VALUES, |e| sizes(factors(e).0, 10, factors(e).1)),
        edge("narrow rows", MIN_ROW_CHANNELS, |e| sizes(70, e, 1)),
        edge("narrow rows of planes", MIN_ROW_CHANNELS, |e| sizes(3, e, 25)),
        edge("channels in two vectors", 2 * WIDTH, |e| sizes(37, e, 1)),
        edge("a block of channels", MAX_BLOCK_CHANNELS, |e| sizes(3, e, 20)),
        edge("two blocks of channels", 2 * MAX_BLOCK_CHANNELS, |e| sizes(2, e, 21)),
        edge("a block of channels without planes", MAX_BLOCK_CHANNELS, |e| sizes(40, e, 1)),
        edge("coefficients that are repeated", 64, |e| sizes(9, e, 1)),
        edge("columns reduced again with their neighbours", NEAR_COLUMNS, |e| sizes(33, 2 * e + 9, 1)),
        edge("what is summed about a shift", MIN_SHIFTED_VALUES, |e| sizes(e, 9, 1)),
        edge("what is summed about a shift, in planes", MIN_SHIFTED_VALUES, |e| sizes(factors(e).0, 9, factors(e).1)),
        edge("a tile of narrow rows", TILE_VALUES, |e| sizes(e, 3, 1)),
        edge("few values a channel", FEW_VALUES, |e| sizes(e, 70, 1)),
        edge("few values a channel, in planes", FEW_VALUES, |e| sizes(factors(e).0, 40, factors(e).1)),
        edge("planes as rows", MIN_RUN, |e| sizes(6, 11, e)),
        edge("planes of a part of the lanes", LANES / 2, |e| sizes(70, 9, e)),
        edge("planes of a quarter of the lanes", LANES / 4, |e| sizes(CHUNK_VALUES / 4 + 5, 5, e)),
        edge("planes of two values", 2, |e| sizes(41, 5, e)),
        edge("rows that share three coefficients", SHARED_COEFFICIENTS / 3, |e| sizes(6, e.next_multiple_of(WIDTH), 1)),
        edge("rows that share five coefficients", SHARED_COEFFICIENTS / 5, |e| sizes(7, e.next_multiple_of(WIDTH), 1)),
        edge("a block of long runs of f64", BLOCK_RUN_BYTES / 8 / MAX_BLOCK_CHANNELS, |e| sizes(2, 33, e)),
        edge("a block of long runs of f32", BLOCK_RUN_BYTES / 4 / MAX_BLOCK_CHANNELS, |e| sizes(2, 33, e)),
        edge("a block of long runs of halves", BLOCK_RUN_BYTES / 2 / MAX_BLOCK_CHANNELS, |e| sizes(2, 33, e)),
        edge("blocks of two channels of f64", BLOCK_RUN_BYTES / 8 / 2, |e| sizes(2, 3, e)),
        edge("blocks of two channels of f32", BLOCK_RUN_BYTES / 4 / 2, |e| sizes(2, 3, e)),
        edge("blocks of two channels of halves", BLOCK_RUN_BYTES / 2 / 2, |e| sizes(2, 3, e)),
        edge("wide rows", MAX_ROW_CHANNELS, |e| sizes(3, e, 1)),
        edge("two blocks of wide rows", 2 * MAX_ROW_CHANNELS, |e| sizes(2, e, 1)),
        edge("wide rows of runs", MAX_ROW_CHANNELS, |e| sizes(1, e, 16)),
        // Large ones: what is worth threads, and how it is cut for them.
        edge("worth threads, one channel", WORTH_THREADS, |e| sizes(1, 1, e)),
        edge("worth threads, planes", WORTH_THREADS, |e| sizes(1, factors(e).0, factors(e).1)),
        edge("worth threads, rows", WORTH_THREADS, |e| sizes(factors(e).1, factors(e).0, 1)),
        edge("a task in one run", TASK_ELEMENTS, |e| sizes(1, 2, e)),
        edge("a task in small planes", TASK_ELEMENTS / 7, |e| sizes(e, 3, 7)),
        edge("a task of rows", TASK_ELEMENTS / 16, |e| sizes(e, 16, 1)),
        edge("two tasks of rows", 2 * TASK_ELEMENTS / 10, |e| sizes(e, 10, 1)),
        edge("rows that are a task each", TASK_ELEMENTS, |e| sizes(2, e, 1)),
        edge("rows of which a vector is a task", TASK_ELEMENTS / WIDTH, |e| sizes(WIDTH + 1, e, 1)),
        edge("channels of a task", TASK_ELEMENTS / 512, |e| sizes(2, e, 512)),
        edge("channels for two threads", 2 * 2, |e| sizes(2, e, 15_000)),
        edge("channels for three threads", 2 * 3, |e| sizes(3, e, 7_000)),
        edge("channels for eight threads", 2 * 8, |e| sizes(41, e, 150)),
        edge("chunks for eight threads", 32 * CHUNK_VALUES, |e| sizes(1, 3, e)),
    ]
}

/// One size in one type: every arrangement on the fastest instruction set, every instruction set in some arrangement,
/// all against the first, and that one against the twin. Returns how many steps were taken.
fn at<T: Stepping>(sizes: Sizes, passes: &[Pass], turn: &mut usize, random: &mut Random) -> usize {
    let case = Case::<T>::new(sizes, random);
    let mut taken = 0;
    for &pass in passes {
        let mut step = |arrangement, tier| {
            *turn += 1;
            taken += 1;
            let threads = THREADS[*turn % THREADS.len()];
            let what = format!("{sizes:?} {} {arrangement:?} {tier:?} {threads} threads", std::any::type_name::<T>());
            (pool(threads).install(|| case.step(pass, tier, &Places::arranged(arrangement, sizes))), what)
        };
        let (first, what) = step(ARRANGEMENTS[0], Tier::Baseline);
        case.check(pass, &first, &what);
        let other_tiers = Tier::available().into_iter().enumerate();
        let by_tiers = other_tiers.map(|(i, tier)| (ARRANGEMENTS[(i + first.y.len()) % ARRANGEMENTS.len()], tier));
        for (arrangement, tier) in
            ARRANGEMENTS.map(|arrangement| (arrangement, Tier::best())).into_iter().chain(by_tiers)
        {
            let (stepped, what) = step(arrangement, tier);
            assert!(stepped.same_bits(&first), "other bits: {what}, {pass:?}");
        }
    }
    taken
}

type At = fn(Sizes, &[Pass], &mut usize, &mut Random) -> usize;
#[cfg(feature = "half")]
const TYPES: [At; 4] = [at::<f32>, at::<half::bf16>, at::<f64>, at::<half::f16>];
#[cfg(not(feature = "half"))]
const TYPES: [At; 2] = [at::<f32>, at::<f64>];

/// A part of the table, so that parts run beside each other.
fn part(number: usize, parts: usize) {
    let mut random = Random::new(700 + number as u64);
    let mut turn = 0;
    for Edge { what, sizes } in table().into_iter().skip(number).step_by(parts) {
        let start = std::time::Instant::now();
        let mut taken = 0;
        for sizes in sizes {
            let len = sizes.n * sizes.c * sizes.plane;
            let (every, first) = if len <= EVERY_PASS { (1, 0) } else { (3, turn % 3) };
            let passes: Vec<Pass> = PASSES.into_iter().skip(first).step_by(every).collect();
            let one = turn % TYPES.len();
            for run in if len < WORTH_THREADS / 2 { &TYPES[..] } else { &TYPES[one..=one] } {
                taken += run(sizes, &passes, &mut turn, &mut random);
            }
        }
        println!("{what}: {taken} steps, {:.2} s", start.elapsed().as_secs_f64());
    }
}

#[test]
fn the_first_half_of_all_edges() {
    part(0, 2);
}

#[test]
fn the_other_half_of_all_edges() {
    part(1, 2);
}

/// Large arrays, in few ways: against the baseline on one thread, which streams nothing.
fn large(sizes: Sizes, arrangement: [Order; 2], passes: &[Pass], random: &mut Random) {
    let case = Case::<f32>::new(sizes, random);
    let places = Places::arranged(arrangement, sizes);
    let slower = Tier::available().into_iter().rev().nth(1).unwrap_or(Tier::Baseline);
    for &pass in passes {
        let expected = pool(1).install(|| case.step(pass, Tier::Baseline, &places));
        for (threads, tier) in [(2, Tier::best()), (3, slower)] {
            let got = pool(threads).install(|| case.step(pass, tier, &places));
            assert!(got.same_bits(&expected), "{arrangement:?} {sizes:?} {pass:?} {tier:?}");
        }
    }
}

#[test]
fn outputs_from_which_on_they_are_streamed_in_runs_that_are_long_enough() {
    let all = sizes(STREAM_BYTES / STREAM_RUN_BYTES / 64, 64, STREAM_RUN_BYTES / size_of::<f32>());
    large(all, [Order::Nchw, Order::Nchw], &PASSES[..1], &mut Random::new(710));
    large(all, [Order::Nhwc, Order::Nhwc], &PASSES[2..3], &mut Random::new(711));
}
