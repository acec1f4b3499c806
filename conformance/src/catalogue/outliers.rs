//! Few values that are far from the others.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    // The first or last value of every channel.
    let first = |size: f64| move |i: usize, _: usize, x: f64| if i < 75 && i.is_multiple_of(25) { x + size } else { x };
    let last = |size: f64| move |i: usize, _: usize, x: f64| if i >= 525 && i % 25 == 24 { x + size } else { x };
    let usual = |draft: Draft| draft.shape(&[8, 3, 5, 5]).normal(0.0, 1.0);
    let drafts = [
        case(
            "outlier-first-1e3",
            Hard,
            "the first value of each channel is 1e3",
            "a shift by the first value is a bad one",
        )
        .with(usual)
        .but(first(1e3)),
        case(
            "outlier-first-1e6",
            Cruel,
            "the first value of each channel is 1e6",
            "a shift by the first value is a bad one",
        )
        .with(usual)
        .but(first(1e6)),
        usual(
            case(
                "outlier-first-1e8-f64",
                Cruel,
                "the first value of each channel is 1e8, f64",
                "a shift by it costs f64 eight digits",
            )
            .f64(),
        )
        .but(first(1e8)),
        usual(
            case(
                "outlier-first-minus-1e6-f64",
                Hard,
                "the first value of each channel is -1e6, f64",
                "a shift by it costs f64 six digits",
            )
            .f64(),
        )
        .but(first(-1e6)),
        case("outlier-last-1e6", Cruel, "the last value of each channel is 1e6", "what came before is small beside it")
            .with(usual)
            .but(last(1e6)),
        case(
            "outlier-at-mean-1e4",
            Cruel,
            "mean 1e4, the first value 0",
            "a zero that was padded in front of the data",
        )
        .with(usual)
        .normal(1e4, 1.0)
        .but(|i, _, x| if i < 75 && i % 25 == 0 { 0.0 } else { x }),
        case("two-clusters", Hard, "half of the values at -1e4, half at 1e4", "no value is near the mean")
            .with(usual)
            .but(|i, _, x| x + if i % 2 == 0 { 1e4 } else { -1e4 }),
        case(
            "drifting",
            Hard,
            "a ramp from 0 to 1e4 through the batch",
            "the first values say nothing about the last ones",
        )
        .with(usual)
        .but(|i, _, x| x + (i / 75) as f64 * 1250.0),
        case("long-tail", Hard, "normal values to the fifth power", "activations with a long tail")
            .with(usual)
            .but(|_, _, x| x * x * x * x * x),
        case("one-channel-outlier", Hard, "one channel has a value of 1e30, the others none", "stays in its channel")
            .with(usual)
            .but(|i, _, x| if i == 30 { 1e30 } else { x }),
    ];
    drafts.map(|draft| draft.done()).into()
}
