//! NaN and infinity: they stay in their channel, and out of the running statistics.

use crate::case::{Case, Estimator, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let at = |places: &'static [usize], value: f64| {
        move |i: usize, _: usize, x: f64| if places.contains(&i) { value } else { x }
    };
    // Channel 1 has the places 16 to 31 of every 48.
    let usual = |draft: Draft| draft.shape(&[4, 3, 4, 4]).normal(0.5, 2.0).without(&["mean", "variance"]);
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let drafts = [
        case(
            "nan-beside-healthy",
            Hard,
            "one NaN in the second of three channels",
            "the others must not change by a bit",
        )
        .with(usual)
        .spoilt(&[1], at(&[20], nan)),
        case(
            "infinity-beside-healthy",
            Hard,
            "one infinity in the second of three channels",
            "the others must not change by a bit",
        )
        .with(usual)
        .spoilt(&[1], at(&[20], infinity)),
        case(
            "minus-infinity-first",
            Hard,
            "minus infinity as the first value of the second channel",
            "a shift by the first value gives NaN everywhere",
        )
        .with(usual)
        .spoilt(&[1], at(&[16], -infinity)),
        case("infinities-of-both-signs", Hard, "both infinities in the second channel", "their sum is NaN")
            .with(usual)
            .spoilt(&[1], |i, _, x| {
                if i == 20 {
                    infinity
                } else if i == 70 {
                    -infinity
                } else {
                    x
                }
            }),
        case("nan-last", Hard, "NaN as the last value of the last channel", "the end of a vector")
            .with(usual)
            .spoilt(&[2], at(&[191], nan)),
        case("nan-everywhere-in-a-channel", Hard, "the first channel is all NaN", "a layer before it has blown up")
            .with(usual)
            .spoilt(&[0], |_, c, x| if c == 0 { nan } else { x }),
        case(
            "nan-channels-last",
            Cruel,
            "NaN in one of five channels, channels last",
            "channels share their vectors there",
        )
        .channels_last(&[4, 3, 3, 5])
        .normal(0.5, 2.0)
        .without(&["mean", "variance"])
        .spoilt(&[2], at(&[62], nan)),
        case("nan-f64", Hard, "one NaN in f64", "the same").f64().with(usual).spoilt(&[1], at(&[20], nan)),
        case(
            "nan-running-statistics",
            Cruel,
            "one NaN in a batch that updates the running statistics",
            "kept for ever, it makes every evaluation NaN",
        )
        .with(usual)
        .no_backward()
        .running_from(&[0.3, -1.0, 7.0], &[1.0, 0.3, 12.0], 0.1, Estimator::Sample)
        .but(at(&[20], nan)),
        case(
            "infinity-running-statistics",
            Cruel,
            "one infinity in a batch that updates the running statistics",
            "kept for ever, it makes every evaluation NaN",
        )
        .with(usual)
        .no_backward()
        .running_from(&[0.3, -1.0, 7.0], &[1.0, 0.3, 12.0], 0.1, Estimator::Sample)
        .but(at(&[20], infinity)),
        case("nan-upstream", Hard, "one NaN in the second channel of dy", "the gradients of the others are right")
            .with(usual)
            .dy(|i| if i == 20 { nan } else { ((i * 7) % 11) as f64 / 5.0 - 1.0 }),
    ];
    drafts.map(|draft| draft.done()).into()
}
