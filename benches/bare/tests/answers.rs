//! Every form of every loop against plain scalar code, at sizes beside those of vectors, lines and blocks; and sweeps.

use batchnorm_bare_loops::{Bare, Buffers, InstructionSet, Order, Shape, Traffic, second_thread, sweeps};

/// Random bits spread over -3..3.
fn array(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 * 6.0 - 3.0
    };
    (0..len).map(next).collect()
}

fn check(shape: Shape, set: InstructionSet, threads: usize) {
    let (len, channels) = (shape.values(), shape.channels);
    let Some(mut bare) = Bare::new(shape, set, threads) else { return };
    let (x, dy) = (array(len, 1), array(len, 2));
    let (gamma, beta, mean) = (array(channels, 3), array(channels, 4), array(channels, 5));
    let variance: Vec<f32> = array(channels, 6).iter().map(|value| value.abs() + 0.1).collect();
    let (mut y, mut dx) = (vec![0.0; len], vec![0.0; len]);
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let mut buffers = Buffers {
        x: &x,
        dy: &dy,
        gamma: &gamma,
        beta: &beta,
        running_mean: &mean,
        running_variance: &variance,
        y: &mut y,
        dx: &mut dx,
        dgamma: &mut dgamma,
        dbeta: &mut dbeta,
    };
    bare.prepare(&mut buffers).unwrap_or_else(|wrong| panic!("{shape:?} {set:?} {threads}: {wrong}"));
}

#[test]
fn every_form_has_the_right_answers() {
    for set in [InstructionSet::Avx2, InstructionSet::Avx512] {
        for order in [Order::Planes, Order::Rows] {
            for (samples, channels, plane) in [
                (2, 1, 1),
                (3, 5, 7),
                (2, 3, 15),
                (2, 3, 16),
                (2, 3, 17),
                (9, 8, 1),
                (17, 33, 1),
                (5, 130, 49),
                (8, 1024, 1),
                (7, 261, 49),
                (2, 40, 1024),
                (4, 16, 28 * 28 * 25),
                (3, 17, 21001),
            ] {
                for threads in [1, 2, 3] {
                    check(Shape { samples, channels, plane, order }, set, threads);
                }
            }
        }
    }
}

#[test]
fn a_sweep_copies_every_byte() {
    for len in [0, 1, 15, 16, 17, 1000, 1 << 16, (1 << 18) + 5] {
        let x = array(len + 3, 7);
        for (from, threads) in [(0, 1), (1, 2), (3, 3)] {
            let x = &x[from..from + len];
            let (mut copied, mut streamed) = (vec![0.0; len], vec![0.0; len]);
            sweeps::read(x, threads);
            sweeps::copy(x, &mut copied, threads);
            sweeps::stream(x, &mut streamed, threads);
            assert!(x == copied && x == streamed, "{len} values from {from}, {threads} threads");
        }
    }
}

#[test]
fn floors_are_those_of_the_targets() {
    let (read, copy) = (2.0, 5.0);
    let floor = |traffic: Traffic| traffic.floor(read, copy);
    assert_eq!(floor(Traffic::train(false, false)), copy);
    assert_eq!(floor(Traffic::train(true, false)), read + copy);
    assert_eq!(floor(Traffic::backward(false, false)), read + copy);
    // Two reads of both inputs, and the write.
    assert_eq!(floor(Traffic::backward(true, false)), 4.0 * read + (copy - read));
    assert_eq!(floor(Traffic::eval(false)), copy);
    // A residual: read beside x; backward y is read too, and a second gradient written.
    assert_eq!(floor(Traffic::train(true, true)), 2.0 * read + copy);
    assert_eq!(floor(Traffic::backward(false, true)), read + 2.0 * copy);
    // Where a copy seems faster than a read, a write costs nothing, not less.
    assert_eq!(Traffic::eval(false).floor(3.0, 2.0), 3.0);
}

#[test]
fn one_thread_holds_up_nobody() {
    let alone = second_thread(1);
    assert!(alone.alone > 0.0 && alone.verdict() == "one thread", "{alone:?}");
    // (Of more threads nothing is certain on a machine that others use.)
    let two = second_thread(2);
    assert!(two.together > 0.0 && two.verdict().starts_with("2 threads at once took "), "{two:?}");
}
