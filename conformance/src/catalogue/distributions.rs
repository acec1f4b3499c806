//! Data that are not normal, as they come: outliers of 1e10, the ends of f32, whole numbers, timestamps, sorted and
//! repeated values; alone, and a channel of each side by side.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};
use crate::recipe::Values;

/// 8 samples of 5x5: so many values a channel.
const COUNT: usize = 200;

/// A word, and a value by its number in the channel and the number of values there.
type Kind = (&'static str, fn(usize, usize, &mut Values) -> f64);

const SMALLEST: f64 = f32::from_bits(1) as f64;

/// What a channel may hold, all of it in f32.
const KINDS: [Kind; 16] = [
    ("whole numbers 0 to 10", |i, _, _| (i * 7 % 11) as f64),
    ("one-hot", |i, n, _| f64::from(u8::from(i == n / 3))),
    ("two values", |_, _, values| [-0.3, 0.7][values.below(2) as usize]),
    ("two values far from 0", |_, _, values| [100.1, 100.2][values.below(2) as usize]),
    ("pixels", |_, _, values| values.below(256)),
    ("pixels over 255", |_, _, values| values.below(256) / 255.0),
    ("an outlier of 1e10", |i, n, values| if i == n / 2 { 1e10 } else { values.normal() }),
    ("3e38 and -3e38", |_, _, values| [3e38, -3e38][values.below(2) as usize]),
    ("3e38 less a little", |_, _, values| 3e38 * (1.0 - 0.001 * values.uniform())),
    ("subnormal numbers", |_, _, values| values.below(50) * SMALLEST),
    ("whole numbers to 2^24", |_, _, values| values.below(1 << 24)),
    ("timestamps", |i, _, values| 1.7e9 + 128.0 * (i as f64 + values.below(5))),
    ("sorted", |i, n, _| i as f64 / n as f64 - 0.5),
    ("sorted, far from 0", |i, n, _| 1000.0 - i as f64 / n as f64),
    ("repeated", |i, _, _| [1.0, 1.0, 1.0, 2.5][i / 9 % 4]),
    ("all alike but one", |i, n, _| f64::from(if i == n / 2 { 0.01f32.next_up() } else { 0.01 })),
];

/// The size of a channel's dy. Where values are subnormal so would dgamma be, and where they are 3e38 dx: a f32 could not
/// hold these to their bounds.
fn size_of_dy(channel: usize) -> f64 {
    if matches!(KINDS[channel].0, "subnormal numbers" | "3e38 and -3e38") { 1e10 } else { 1.0 }
}

/// A channel of each kind.
fn every_kind(draft: Draft) -> Draft {
    let count = draft.count() / draft.channels();
    draft
        .fill(|channel, i, values| KINDS[channel].1(i, count, values))
        .fill_dy(|channel, _, values| size_of_dy(channel) * values.normal())
}

/// dy on one value of each channel.
fn one_element(draft: Draft) -> Draft {
    let count = draft.count() / draft.channels();
    draft.fill_dy(|channel, i, _| if i == (channel * 31 + 5) % count { 2.5 * size_of_dy(channel) } else { 0.0 })
}

/// Normal values, but for 1e10: first, last, -1e10 in the middle, and one of either sign.
fn outliers(draft: Draft) -> Draft {
    let last = draft.count() / draft.channels() - 1;
    draft.fill(|channel, i, values| match (channel, i) {
        (0, 0) => 1e10,
        (1, i) if i == last => 1e10,
        (2, i) if i == last / 2 => -1e10,
        (3, 7) => 1e10,
        (3, i) if i == last - 3 => -1e10,
        _ => values.normal(),
    })
}

pub fn cases() -> Vec<Case> {
    alone().into_iter().chain(at_the_ends()).chain(side_by_side()).collect()
}

fn alone() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 4, 5, 5]);
    let two = |draft: Draft| draft.shape(&[8, 2, 5, 5]);
    let whole = |draft: Draft| draft.fill(|_, _, values| values.below(1 << 24));
    let seconds = |_: usize, i: usize, values: &mut Values| 1.7e9 + 128.0 * (i as f64 + values.below(5));
    let fractions = |channel: usize, i: usize, values: &mut Values| {
        1.7e9 + [1.0, 0.1][channel] * i as f64 + [1.0, 0.01][channel] * values.uniform()
    };
    let drafts = [
        case(
            "outlier-1e10",
            Cruel,
            "normal values and one of 1e10: first, last, -1e10 amid, one of either sign",
            "beside it the others are lost in f32, and as a shift it is the worst there is",
        )
        .with(usual)
        .with(outliers),
        case("outlier-1e10-channels-last", Cruel, "the same, channels last", "the other layout")
            .channels_last(&[8, 5, 5, 4])
            .with(outliers),
        outliers(usual(
            case("outlier-1e10-f64", Cruel, "the same, f64", "f64 keeps six digits of the others in a sum beside it")
                .f64(),
        )),
        case(
            "outlier-1e10-relu",
            Cruel,
            "the same, a rectifier behind",
            "an outlier decides the sign of all the others",
        )
        .with(usual)
        .with(outliers)
        .relu(),
        case(
            "outlier-1e10-eval",
            Hard,
            "the same in evaluation",
            "y of one is 1e10, y of the others as if it were not there",
        )
        .with(usual)
        .with(outliers)
        .eval(&[0.0, 0.1, -0.2, 1e4], &[1.0, 1.1, 0.9, 1e8]),
        case(
            "whole-numbers-to-2-24",
            Hard,
            "whole numbers up to 2^24",
            "identifiers and counters: f32 has each, but no sum",
        )
        .with(two)
        .with(whole),
        case("whole-numbers-to-2-24-channels-last", Hard, "the same, channels last", "the other layout")
            .channels_last(&[8, 5, 5, 2])
            .with(whole),
        case(
            "timestamps",
            Cruel,
            "1.7e9 and 128 a step, as f32 has them",
            "seconds since 1970 that nobody took a mean off",
        )
        .with(two)
        .fill(seconds),
        case("timestamps-eval", Cruel, "the same in evaluation", "x a + b loses all that differs")
            .with(two)
            .fill(seconds)
            .eval(&[1.7e9, 1.700_012_8e9], &[5.4e7, 1e6]),
        two(case(
            "timestamps-f64",
            Cruel,
            "1.7e9 and fractions of a second, f64",
            "mean/std of 3e7 and 3e8: E[x^2] - E[x]^2 is noise in f64 too",
        )
        .f64())
        .fill(fractions),
        case(
            "sorted",
            Hard,
            "sorted about 0, upwards; at 1000, downwards",
            "the first values say nothing about the last",
        )
        .with(two)
        .fill(|channel, i, _| {
            let part = i as f64 / COUNT as f64;
            [part - 0.5, 1000.0 - part][channel]
        }),
        case(
            "repeated",
            Easy,
            "runs of 1 and 2.5, each value in a row",
            "categories, padded sequences, upsampled pictures",
        )
        .with(two)
        .fill(|channel, i, _| [1.0, 1.0, 1.0, 2.5][i / [9, 1][channel] % 4]),
        case(
            "all-alike-but-one",
            Cruel,
            "all 0 but a 1, all 1e4 but one neighbour of it",
            "not constant, and far below eps: y is beta and a little",
        )
        .with(two)
        .fill(|channel, i, _| match (channel, i == 77) {
            (0, odd) => f64::from(u8::from(odd)),
            (_, odd) => f64::from(if odd { 1e4f32.next_up() } else { 1e4 }),
        })
        .gamma_beta(1.0, 0.0),
    ];
    drafts.map(|draft| draft.done()).into()
}

/// 3e38 and subnormal numbers.
fn at_the_ends() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 3, 5, 5]);
    // (dy of 1e10, so that the gradients are no subnormal numbers, which f32 holds to few digits.)
    let large = |draft: Draft| {
        let large = |channel: usize, i: usize, values: &mut Values| match channel {
            0 => [3e38, -3e38][values.below(2) as usize],
            1 => 3e38 * (1.0 - 0.001 * values.uniform()),
            _ => f64::from(u8::from(i == 50)) * 3e38,
        };
        draft.with(usual).fill(large).normal_dy(0.0, 1e10)
    };
    let small = |draft: Draft| draft.with(usual).fill(|_, _, values| values.below(50) * SMALLEST).normal_dy(0.0, 1e10);
    let drafts = [
        case(
            "values-3e38",
            Cruel,
            "3e38 and -3e38, 3e38 less a little, 3e38 among zeros",
            "sums, differences and squares are all beyond f32, y is about 1",
        )
        .with(large),
        case(
            "values-3e38-relu",
            Cruel,
            "the same, a rectifier behind",
            "infinity less infinity is not above 0 nor below",
        )
        .with(large)
        .relu(),
        case(
            "values-3e38-eval",
            Cruel,
            "the same in evaluation by a running mean of 3e38",
            "x - mean is infinite in f32",
        )
        .with(large)
        .eval(&[3e38, 2.999e38, 0.0], &[1e38, 1e38, 3e38]),
        case(
            "denormal-multiples-eps-0",
            Cruel,
            "0 to 49 times the smallest number of f32, eps 0, dy of 1e-20",
            "whole numbers in disguise, unless somebody takes them for 0",
        )
        .with(small)
        .epsilon(0.0)
        .normal_dy(0.0, 1e-20),
        case(
            "denormal-relu",
            Cruel,
            "the same with eps 1e-5, beta 0, a rectifier behind",
            "y is subnormal: taken for 0 it closes the rectifier",
        )
        .with(small)
        .gammas(&[1.0, 3.0, -1.0])
        .betas(&[0.0; 3])
        .relu(),
        case(
            "denormal-eval-relu",
            Cruel,
            "the same in evaluation by a running mean of 20 times the smallest number",
            "the running mean is subnormal, and some values are it",
        )
        .with(small)
        .gammas(&[1.0, 3.0, -1.0])
        .betas(&[0.0; 3])
        .eval(&[20.0 * SMALLEST, 0.0, 30.0 * SMALLEST], &[0.0; 3])
        .relu(),
    ];
    drafts.map(|draft| draft.done()).into()
}

fn side_by_side() -> Vec<Case> {
    let usual = |draft: Draft| every_kind(draft.shape(&[6, KINDS.len(), 3, 3]));
    let (mean, variance) =
        ([5.0, 0.0, 0.7, 100.1, 128.0, 0.5, 0.0, 3e38, 3e38, 0.0, 8e6, 1.7e9, 0.0, 1e3, 1.0, 0.01], {
            [10.0, 0.02, 0.25, 0.0025, 5461.0, 0.1, 1.0, 3e38, 1e38, 0.0, 2e13, 4e6, 0.1, 0.1, 0.5, 0.0]
        });
    let drafts = [
        case(
            "side-by-side",
            Cruel,
            "whole numbers, one-hot, two values, pixels, 1e10, 3e38, subnormal, timestamps, sorted .. in one array",
            "what one channel asks for is wrong for the next",
        )
        .with(usual)
        .twin_strided(&[144, 1, 48, 16]),
        case("side-by-side-channels-last", Cruel, "the same, channels last", "all of them in every row")
            .channels_last(&[6, 3, 3, KINDS.len()])
            .with(every_kind),
        case("side-by-side-features", Cruel, "the same, 54 samples of 16 features", "all of them in every row")
            .shape(&[54, KINDS.len()])
            .with(every_kind),
        case("side-by-side-eval", Cruel, "the same in evaluation", "running statistics as far apart as the data")
            .with(usual)
            .eval(&mean, &variance),
        case(
            "one-element",
            Cruel,
            "the same, dy on one element of each channel",
            "a column of each Jacobian: dx is about -dy/n everywhere else",
        )
        .with(usual)
        .with(one_element),
        case(
            "one-element-relu",
            Cruel,
            "the same, beta 0, a rectifier behind",
            "where it is closed there, all gradients of the channel are exactly 0",
        )
        .with(usual)
        .with(one_element)
        .gammas(&[1.0; KINDS.len()])
        .betas(&[0.0; KINDS.len()])
        .relu(),
        case("one-element-channels-last", Cruel, "the same without a rectifier, channels last", "the other layout")
            .channels_last(&[6, 3, 3, KINDS.len()])
            .with(every_kind)
            .with(one_element),
    ];
    drafts.map(|draft| draft.done()).into()
}
