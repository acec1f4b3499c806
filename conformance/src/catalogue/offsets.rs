//! Means that are large beside the deviation: where E[x^2] - E[x]^2 and friends lose their digits.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let nchw = |draft: Draft| draft.shape(&[8, 3, 6, 6]);
    let one = |mean: f64| move |draft: Draft| nchw(draft).normal(mean, 1.0);
    let drafts = [
        case("mean-10", Easy, "mean 10, deviation 1", "temperatures, prices, whatever was not centred").with(one(10.0)),
        case("mean-1e2", Hard, "mean 1e2, deviation 1", "f32 loses two digits to E[x^2] - E[x]^2, and two more")
            .with(one(1e2)),
        case("mean-1e3", Hard, "mean 1e3, deviation 1", "f32 has one digit of the variance left by E[x^2] - E[x]^2")
            .with(one(1e3)),
        case("mean-1e4", Cruel, "mean 1e4, deviation 1", "E[x^2] - E[x]^2 in f32 is noise, and may be negative")
            .with(one(1e4)),
        case("mean-1e6", Cruel, "mean 1e6, deviation 1", "f32 holds x to 1/16: the mean must be kept in more than f32")
            .with(one(1e6)),
        case("mean-minus-1e4", Cruel, "mean -1e4, deviation 1", "the same below 0").with(one(-1e4)),
        case(
            "mean-1e4-channels-last",
            Cruel,
            "mean 1e4, channels last",
            "the other layout often has another algorithm",
        )
        .channels_last(&[8, 6, 6, 3])
        .normal(1e4, 1.0),
        case(
            "mean-1e6-channels-last",
            Cruel,
            "mean 1e6, channels last",
            "the other layout often has another algorithm",
        )
        .channels_last(&[8, 6, 6, 3])
        .normal(1e6, 1.0),
        case("mean-1e4-features", Cruel, "mean 1e4, 100 samples of 7 features", "dense layers often have a third one")
            .shape(&[100, 7])
            .normal(1e4, 1.0),
        case(
            "means-of-many-sizes",
            Cruel,
            "means 0, 1e3 and -1e5 side by side",
            "a shift for one channel is wrong for the next",
        )
        .with(nchw)
        .normal_by_channel(&[(0.0, 1.0), (1e3, 1.0), (-1e5, 1.0)]),
        case("deviation-1e-3-at-1", Hard, "mean 1, deviation 1e-3", "the ratio counts, not the size")
            .with(nchw)
            .normal(1.0, 1e-3),
        case("deviation-1e-6-at-1-eps-0", Cruel, "mean 1, deviation 1e-6, eps 0", "x differs in its last bits only")
            .with(nchw)
            .epsilon(0.0)
            .normal(1.0, 1e-6),
        case(
            "mean-1e4-gamma-beta",
            Cruel,
            "mean 1e4, gammas -.3, 17, 1e-3, betas 11, -1e4, .2",
            "x a + b with a large b",
        )
        .with(nchw)
        .normal(1e4, 1.0)
        .gammas(&[-0.3, 17.0, 1e-3])
        .betas(&[11.0, -1e4, 0.2]),
        case("mean-1e2-f64", Hard, "mean 1e2, f64", "bounds grow with mean/std, not with its square")
            .f64()
            .with(one(1e2)),
        case("mean-1e4-f64", Hard, "mean 1e4, f64", "bounds grow with mean/std, not with its square")
            .f64()
            .with(one(1e4)),
        case("mean-1e6-f64", Hard, "mean 1e6, f64", "by its square four digits would be left").f64().with(one(1e6)),
        case("mean-1e9-f64", Cruel, "mean 1e9, f64", "E[x^2] - E[x]^2 is noise in f64 too").f64().with(one(1e9)),
        case("mean-1e6-f64-channels-last", Hard, "mean 1e6, channels last, f64", "the other layout")
            .f64()
            .channels_last(&[8, 6, 6, 3])
            .normal(1e6, 1.0),
    ];
    drafts.map(|draft| draft.done()).into()
}
