//! Every path of the kernels once in few and small arrays, for tools that watch memory and threads and make all slow:
//! AddressSanitizer, ThreadSanitizer, valgrind (`.ci/sanitizers`). Buffers end where the arrays do, so that one element
//! beside them is beside the memory. What is computed is compared with the baseline's; tests/contract/thresholds.rs
//! compares it with the twin.

mod executors;
#[path = "../support/mod.rs"]
mod support;

use batchnorm::thresholds::{CHUNK_VALUES, MAX_ROW_CHANNELS, MIN_RUN, STREAM_BYTES, STREAM_RUN_BYTES, WORTH_THREADS};
use batchnorm::{
    Activation, Axes, BatchNorm, Config, Moments, Parameters, RunningStatistics, Tier, View, WhiteningConfig,
};
use support::Random;
use support::layout::{ORDERS, Order, Sizes, sizes};
use support::place::Place;
use support::samples::{Case as SampleCase, Kind, tight_places};
use support::step::{ARRANGEMENTS, Case, PASSES, Pass, Places, Stepping};

/// On a pool of so many threads, the first of which makes the call: a thread that waits for a pool does so in the
/// standard library, where ThreadSanitizer does not see what that orders.
fn pooled<R: Send>(threads: usize, call: impl FnOnce() -> R + Send) -> R {
    let of_a_pool = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build();
        pool.expect("a pool").install(call)
    };
    std::thread::scope(|scope| scope.spawn(of_a_pool).join()).expect("no panic")
}

/// One step on one thread of the baseline, and the same on each given tier and number of threads: the same bits.
fn same<T: Stepping>(sizes: Sizes, arrangement: [Order; 2], pass: Pass, on: &[(usize, Tier)], random: &mut Random) {
    let case = Case::<T>::new(sizes, random);
    let places = Places::tight(arrangement, sizes);
    let expected = pooled(1, || case.step(pass, Tier::Baseline, &places));
    for &(threads, tier) in on {
        let got = pooled(threads, || case.step(pass, tier, &places));
        assert!(got.same_bits(&expected), "{sizes:?} {arrangement:?} {pass:?} {tier:?} {threads} threads");
    }
}

fn small<T: Stepping>(random: &mut Random) {
    let tiers: Vec<(usize, Tier)> = Tier::available().into_iter().map(|tier| (1, tier)).collect();
    let mut turn = 0;
    for sizes in [
        sizes(1, 1, 7),
        sizes(1, 2, CHUNK_VALUES + 9),
        sizes(3, 2, CHUNK_VALUES - 3),
        sizes(4, 5, MIN_RUN + 1),
        sizes(3, 35, MIN_RUN + 5),
        sizes(5, 3, MIN_RUN - 1),
        sizes(67, 9, 1),
        sizes(21, 33, 1),
        sizes(CHUNK_VALUES / 40, 10, 41),
        sizes(2, MAX_ROW_CHANNELS + 3, 1),
    ] {
        for arrangement in ARRANGEMENTS {
            // Each pass comes to each path in the course of sizes and types.
            same::<T>(sizes, arrangement, PASSES[turn % PASSES.len()], &tiers, random);
            same::<T>(sizes, arrangement, PASSES[(turn + 3) % PASSES.len()], &tiers[tiers.len() - 1..], random);
            turn += 1;
        }
    }
}

#[test]
fn small_arrays_of_f32() {
    small::<f32>(&mut Random::new(801));
}

#[test]
fn small_arrays_of_f64() {
    small::<f64>(&mut Random::new(802));
}

#[cfg(feature = "half")]
#[test]
fn small_arrays_of_f16() {
    small::<half::f16>(&mut Random::new(803));
}

#[cfg(feature = "half")]
#[test]
fn small_arrays_of_bf16() {
    small::<half::bf16>(&mut Random::new(804));
}

#[test]
fn arrays_that_are_worth_threads() {
    let mut random = Random::new(805);
    for (number, sizes) in [
        // One channel cut into subtrees; many channels, each reduced and mapped at once; small planes; rows.
        sizes(1, 1, WORTH_THREADS + 5),
        sizes(2, 17, WORTH_THREADS / 32),
        sizes(9, 150, 49),
        sizes(WORTH_THREADS / 40, 41, 1),
    ]
    .into_iter()
    .enumerate()
    {
        for (turn, arrangement) in ARRANGEMENTS.into_iter().enumerate() {
            let on = [(2, Tier::best()), (3, Tier::best())];
            same::<f32>(sizes, arrangement, PASSES[(number + turn) % PASSES.len()], &on, &mut random);
        }
    }
    #[cfg(feature = "half")]
    same::<half::bf16>(sizes(3, 20, 1200), ARRANGEMENTS[0], PASSES[1], &[(3, Tier::best())], &mut random);
}

#[test]
fn calls_from_tasks_of_a_pool() {
    let mut random = Random::new(806);
    let case = Case::<f32>::new(sizes(2, 17, WORTH_THREADS / 32), &mut random);
    let step = |order: Order| case.step(PASSES[1], Tier::best(), &Places::tight([order; 2], case.sizes));
    let expected = pooled(1, || step(Order::Nchw));
    pooled(3, || {
        use rayon::prelude::*;
        (0..8).into_par_iter().for_each(|task| assert!(step(ORDERS[task % 4]).same_bits(&expected), "task {task}"));
    });
}

#[test]
fn streamed_outputs() {
    // Less than elsewhere is done with so many values, for they take long to watch.
    let sizes = sizes(STREAM_BYTES / STREAM_RUN_BYTES / 8, 8, STREAM_RUN_BYTES / 4);
    let x: Vec<f32> = (0..sizes.n * sizes.c * sizes.plane).map(|i| (i % 251) as f32).collect();
    let running = RunningStatistics::from_parts(&[99.0; 8], &[7.0; 8], 1).expect("right statistics");
    for order in [Order::Nchw, Order::Nhwc] {
        // As if it lay in that order.
        let place = order.place_within(sizes, [0; 2]);
        let view = place.view(&x);
        let [streamed, plain] = [Tier::best(), Tier::Baseline].map(|tier| {
            let mut y = place.blank::<f32>();
            let rule = Config::pytorch().tier(tier).normalizer().expect("an available tier");
            let none = Parameters::<f32>::default();
            pooled(2, || rule.eval(&view, none, Some(&running), &mut place.view_mut(&mut y)).expect("a right call"));
            y
        });
        assert!(streamed == plain, "{order:?}");
    }
}

#[test]
fn the_invertible_form_on_threads() {
    let mut random = Random::new(807);
    let pass = PASSES.into_iter().find(|pass| pass.training && !pass.adding && pass.activation.slope() > 0.0);
    for sizes in [sizes(2, 17, WORTH_THREADS / 32), sizes(WORTH_THREADS / 40, 41, 1), sizes(3, 5, MIN_RUN - 1)] {
        let mut case = Case::<f32>::new(sizes, &mut random);
        // It keeps its input.
        case.gamma[1] = 0.0;
        for order in ORDERS {
            let step = |(threads, tier): (usize, Tier)| {
                let place = order.place_within(sizes, [0; 2]);
                let (mut x, mut dy) = (place.filled(&case.x), place.filled(&case.dy));
                let parameters = Parameters { gamma: Some(&case.gamma[..]), beta: Some(&case.beta[..]) };
                let rule = pass.expect("a pass with an inverse").rule(tier);
                pooled(threads, || {
                    let (saved, _) =
                        rule.train_invertible(&mut place.view_mut(&mut x), parameters, None).expect("a right call");
                    assert_eq!(saved.kept_channels(), [1]);
                    let gradients =
                        saved.backward(&place.view(&x), &mut place.view_mut(&mut dy)).expect("a right call");
                    (place.taken(x), place.taken(dy), gradients)
                })
            };
            let expected = step((1, Tier::Baseline));
            for on in [(1, Tier::best()), (3, Tier::best())] {
                assert!(step(on) == expected, "{sizes:?} {order:?} {on:?}");
            }
        }
    }
}

#[test]
fn decorrelated_groups_on_threads() {
    let mut random = Random::new(809);
    // Ragged chunks and groups; cut into parts; short runs; rows.
    for (sizes, group) in [
        (sizes(3, 5, 100), 2),
        (sizes(1, 4, WORTH_THREADS / 4 + 5), 4),
        (sizes(9, 150, 49), 16),
        (sizes(WORTH_THREADS / 40, 41, 1), 41),
    ] {
        let case = Case::<f32>::new(sizes, &mut random);
        for order in ORDERS {
            let step = |(threads, tier): (usize, Tier)| {
                let place = order.place_within(sizes, [0; 2]);
                let (x, dy) = (place.filled(&case.x), place.filled(&case.dy));
                let (mut y, mut dx) = (place.blank(), place.blank());
                let layer = WhiteningConfig::new(sizes.c, group).tier(tier).build().expect("a right configuration");
                pooled(threads, || {
                    let (x, dy) = (place.view(&x), place.view(&dy));
                    let (saved, _) = layer.forward_train_into(&x, &mut place.view_mut(&mut y)).expect("a right call");
                    let gradients = saved.backward(&x, &dy, &mut place.view_mut(&mut dx)).expect("a right call");
                    (place.taken(y), place.taken(dx), gradients)
                })
            };
            let expected = step((1, Tier::Baseline));
            for on in [(1, Tier::best()), (3, Tier::best())] {
                assert!(step(on) == expected, "{sizes:?} {order:?} {on:?}");
            }
        }
    }
}

#[test]
fn norms_that_do_not_look_at_the_batch() {
    let mut random = Random::new(809);
    let small = [
        (Kind::Layer(1), sizes(5, 3, 7)),
        (Kind::Layer(2), sizes(37, 3, 9)),
        (Kind::Rms(1), sizes(1, 2, CHUNK_VALUES + 9)),
        (Kind::Rms(3), sizes(2, 3, 5)),
        (Kind::Group(2), sizes(3, 6, MIN_RUN - 1)),
        (Kind::Group(2), sizes(3, 6, MIN_RUN + 1)),
        (Kind::GroupRms(2), sizes(3, 6, MIN_RUN + 1)),
        (Kind::Instance, sizes(2, 3, MIN_RUN)),
    ];
    let large = [
        (Kind::Layer(1), sizes(3, 43, WORTH_THREADS / 128)),
        (Kind::Layer(2), sizes(2, 7, WORTH_THREADS / 13)),
        (Kind::Rms(1), sizes(WORTH_THREADS / 3, 1, 4)),
        (Kind::Group(3), sizes(WORTH_THREADS / 40, 9, 5)),
        (Kind::Group(3), sizes(9, 9, WORTH_THREADS / 80)),
    ];
    let runs = small.map(|case| (case, 1)).into_iter().chain(large.map(|case| (case, 3)));
    for ((kind, sizes), threads) in runs {
        let plain = SampleCase::<f32>::new(kind, sizes, 1.0, &mut random);
        let activated = plain.clone().behind(Activation::Relu);
        let weighted = plain.clone().weighted(&mut random).behind(Activation::LeakyRelu(0.25));
        for case in [plain, activated, weighted] {
            let config = |tier| kind.config().tier(tier);
            let step = |threads, tier, place: &Place| pooled(threads, || case.step(config(tier), [place; 2]).bits());
            let places = tight_places(kind, sizes);
            let expected = step(1, Tier::Baseline, &places[0]);
            for place in &places {
                assert!(step(threads, Tier::best(), place) == expected, "{kind:?} {sizes:?} {place:?}");
            }
        }
    }
}

#[test]
fn a_layer_and_what_it_returns() {
    let mut random = Random::new(808);
    let mut layer = BatchNorm::new(3).unwrap();
    for shape in [[5, 3, 7], [1, 3, 2], [0, 3, 4], [2, 3, 2000]] {
        let data = random.normals_f32(shape.iter().product(), 1.0, 2.0);
        let x = View::new(&data, &shape, Axes::NCHW).unwrap();
        let trained = layer.train(&x).unwrap();
        let dy = View::new(trained.y.data(), &shape, Axes::NCHW).unwrap();
        assert_eq!(layer.backward(&x, &dy, &trained.saved).unwrap().dx.data().len(), data.len());
        assert_eq!(layer.eval(&x).unwrap().y.data().len(), data.len());
        assert_eq!(Moments::of(&data).count(), data.len() as u64);
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn views_of_ndarray() {
    use batchnorm::ViewMut;
    use ndarray::{Array4, Axis, Slice};
    let layer = BatchNorm::new(5).unwrap();
    let x = Array4::from_shape_fn((6, 9, 10, 4), |(a, b, c, d)| ((a * 31 + b * 17 + c * 7 + d) % 23) as f32);
    let mut y = Array4::zeros((6, 9, 5, 4));
    for step in [1isize, 2, -1, -2] {
        // Every second channel, forwards and backwards: some lie side by side, none reaches over the end.
        let part = x.slice_axis(Axis(2), Slice::new(0, if step.abs() == 1 { Some(5) } else { None }, step));
        let view = View::of(part, Axes::Channel(2)).unwrap();
        y.invert_axis(Axis(1));
        layer.forward_train_into(&view, &mut ViewMut::of(y.view_mut(), Axes::Channel(2)).unwrap()).unwrap();
        assert!(y.iter().all(|value| value.is_finite()) && y.iter().any(|value| *value != 0.0));
    }
}
