//! Random ranks, lengths, strides, offsets and names of axes, of each array of a call another, inputs broadcast too:
//! every pass against the twin, in every type. Any axes hold the channels, one or several: the bits are those of the array that a
//! caller would transpose and reshape to (samples, channels, positions) himself.

use crate::support::layout::{Order, Sizes};
use crate::support::place::Place;
use crate::support::step::{Case, PASSES, Places, Stepping};
use crate::support::{Random, pool};
use batchnorm::Tier;
use batchnorm::thresholds::WORTH_THREADS;
use std::ops::Range;

/// Numbers from 0 on, in random order.
fn shuffled(count: usize, random: &mut Random) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    (1..count).rev().for_each(|i| numbers.swap(i, random.below(i + 1)));
    numbers
}

/// Lengths of 2 to 5 axes; with `large`, together more than `least` elements.
fn lengths(large: bool, random: &mut Random) -> Vec<usize> {
    let rank = 2 + random.below(4);
    let longest = [60, 20, 9, 6][rank - 2];
    let mut lengths: Vec<usize> = (0..rank).map(|_| 1 + random.below(longest)).collect();
    let at = random.below(rank);
    if large {
        let others: usize = lengths.iter().product::<usize>() / lengths[at];
        lengths[at] = WORTH_THREADS / others + 1 + random.below(100);
    } else if random.below(3) == 0 {
        // One long axis, so that there are chunks.
        lengths[at] += random.below(1500);
    }
    lengths
}

/// Somewhere: axes in any order in memory, any of them from its end, with gaps between and margins around.
fn place(lengths: &[usize], channels: Range<usize>, names: &[usize], broadcast: bool, random: &mut Random) -> Place {
    let dense = random.below(3) == 0;
    let mut gap = |most: usize| if dense { 0 } else { random.below(most + 1).saturating_sub(1) };
    let mut step = 1 + gap(2);
    let mut strides = vec![0; lengths.len()];
    let gaps: Vec<usize> = lengths.iter().map(|_| gap(5)).collect();
    for axis in shuffled(lengths.len(), random) {
        if broadcast && random.below(5) == 0 {
            continue;
        }
        let backwards = !dense && random.below(3) == 0;
        strides[axis] = if backwards { -(step as isize) } else { step as isize };
        step = step * lengths[axis] + gaps[axis];
    }
    let margins = if random.below(2) == 0 { [0; 2] } else { [1 + random.below(20), random.below(20)] };
    // The channel axes may be named anywhere, the others in one order for all arrays of a call.
    let mut named: Vec<usize> = names.iter().copied().filter(|axis| !channels.contains(axis)).collect();
    let axes: Vec<usize> = channels.collect();
    axes.iter().for_each(|&channel| named.insert(random.below(named.len() + 1), channel));
    Place::new(lengths, &strides, &axes, margins).named(&named)
}

fn one_case<T: Stepping>(number: usize, large: bool, random: &mut Random) {
    let lengths = lengths(large, random);
    let rank = lengths.len();
    // Neighbours in the order in which values are handed over, but not all axes.
    let several = 1 + random.below(rank - 1);
    let first = random.below(rank - several + 1);
    let channels = first..first + several;
    let product = |axes: &[usize]| axes.iter().product::<usize>();
    let [n, c, plane] = [0..first, channels.clone(), channels.end..rank].map(|axes| product(&lengths[axes]));
    let sizes = Sizes { n, c, plane };
    // The other axes in the order in which values are handed over, or in any.
    let in_order = random.below(2) == 0;
    let names = if in_order { (0..rank).collect() } else { shuffled(rank, random) };
    let broadcast = random.below(4) == 0;
    let places = Places::each(|read| place(&lengths, channels.clone(), &names, read && broadcast, random));
    let mut case = Case::<T>::new(sizes, random);
    // What is broadcast has one value in many places.
    for (array, place) in [(&mut case.x, &places.x), (&mut case.residual, &places.residual), (&mut case.dy, &places.dy)]
    {
        *array = place.read(&place.filled(array));
    }
    let pass = PASSES[number % PASSES.len()];
    let tiers = Tier::available();
    let (tier, threads) = (tiers[random.below(tiers.len())], 1 + random.below(5));
    let what =
        format!("case {number}: {lengths:?}, channel axes {channels:?}, {tier:?}, {threads} threads, {places:?}");
    let step = std::panic::AssertUnwindSafe(|| pool(threads).install(|| case.step(pass, tier, &places)));
    let got = std::panic::catch_unwind(step).unwrap_or_else(|_| panic!("{what}, {pass:?}"));
    case.check(pass, &got, &what);
    if in_order {
        let reshaped = pool(1).install(|| case.step(pass, Tier::Baseline, &Places::arranged([Order::Nchw; 2], sizes)));
        assert!(got.same_bits(&reshaped), "other bits than of the array reshaped: {what}, {pass:?}");
    }
}

fn cases<T: Stepping>(seed: u64) {
    let mut random = Random::new(seed);
    (0..240).for_each(|number| one_case::<T>(number, false, &mut random));
    (0..16).for_each(|number| one_case::<T>(number, true, &mut random));
}

#[test]
fn arrays_of_f32_anywhere() {
    cases::<f32>(611);
}

#[test]
fn arrays_of_f64_anywhere() {
    cases::<f64>(612);
}

#[cfg(feature = "half")]
#[test]
fn arrays_of_f16_anywhere() {
    cases::<half::f16>(613);
}

#[cfg(feature = "half")]
#[test]
fn arrays_of_bf16_anywhere() {
    cases::<half::bf16>(614);
}
