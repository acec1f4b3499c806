//! Numbers of values, channels and axes: the ends of vectors, chunks and loops.

use crate::case::{Case, Level::*};
use crate::draft::case;

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let values: [(&str, usize); 12] = [
        ("size-2", 2),
        ("size-3", 3),
        ("size-5", 5),
        ("size-7", 7),
        ("size-17", 17),
        ("size-63", 63),
        ("size-65", 65),
        ("size-127", 127),
        ("size-129", 129),
        ("size-257", 257),
        ("size-1023", 1023),
        ("size-1025", 1025),
    ];
    for (name, n) in values {
        let what = format!("{n} values in each of two channels");
        let why = "an odd count leaves a rest behind every vector and block";
        all.push(case(name, Easy, &what, why).shape(&[n, 2]).normal(1.0, 2.0).done());
    }
    let f64s: [(&str, usize); 4] =
        [("size-2-f64", 2), ("size-65-f64", 65), ("size-257-f64", 257), ("size-1025-f64", 1025)];
    for (name, n) in f64s {
        let what = format!("{n} values in each of two channels, f64");
        let why = "sums of so many values keep their digits only if they are summed with care";
        all.push(case(name, Easy, &what, why).f64().shape(&[1, 2, n]).normal(1.0, 2.0).done());
    }
    let drafts = [
        case("channels-1", Easy, "a single channel", "the channel axis has length 1 and may get lost in a squeeze")
            .shape(&[4, 1, 5, 5])
            .normal(0.5, 1.5),
        case("channels-17", Easy, "17 channels of few values", "channels side by side leave a rest too")
            .shape(&[7, 17])
            .normal(0.5, 1.5),
        case("channels-65", Easy, "65 channels of 9 values, channels last", "rows of channels leave a rest too")
            .channels_last(&[3, 3, 65])
            .normal(0.5, 1.5),
        case("one-sample", Easy, "one sample, many positions", "a batch of one is fine where there is space")
            .shape(&[1, 3, 7, 7])
            .normal(0.5, 1.5),
        case("one-position", Easy, "planes of one position", "global pooling leaves (N, C, 1, 1)")
            .shape(&[9, 5, 1, 1])
            .normal(0.5, 1.5),
        case("rank-3", Easy, "sequences: samples, channels, time", "1-D convolutions")
            .shape(&[4, 3, 13])
            .normal(0.5, 1.5),
        case("rank-5", Easy, "videos: samples, channels, time, height, width", "3-D convolutions")
            .shape(&[2, 3, 2, 3, 5])
            .normal(0.5, 1.5),
        case("rank-6", Hard, "six axes", "nothing in the formula stops at five")
            .shape(&[2, 3, 2, 1, 3, 5])
            .normal(0.5, 1.5),
        case(
            "two-close-values",
            Hard,
            "pairs that differ by 1e-3, eps 1e-5",
            "of the gradient only eps / (variance + eps) remains",
        )
        .shape(&[2, 6])
        .x(|i| (i % 6) as f64 + if i < 6 { 0.0 } else { 1e-3 }),
        case(
            "two-values-gradient",
            Cruel,
            "pairs, f64, eps 1e-12",
            "the gradient is 1e-12 of its terms: they must cancel",
        )
        .f64()
        .epsilon(1e-12)
        .shape(&[2, 8])
        .normal(0.0, 1.0),
    ];
    all.extend(drafts.map(|draft| draft.done()));
    all
}
