//! Means of about four deviations, where E[x^2] is 17 variances: about here an implementation may change from sums of
//! squares to a more careful reduction, channel by channel. It has to be right on both sides, side by side.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

/// Mean and deviation of each channel: on either side of 4, far from it, above and below 0.
const MOMENTS: [(f64, f64); 9] = [
    (0.0, 1.0),
    (3.9, 1.0),
    (-398.0, 100.0),
    (4.1, 1.0),
    (-4.02e-3, 1e-3),
    (1e4, 1.0),
    (3.0, 1.0),
    (5.0, 1.0),
    (0.0, 0.0),
];

/// The last channel is 3 and 5 in turn: mean 4, variance 1, to the bit.
fn exactly_four(draft: Draft) -> Draft {
    let mut next = 0;
    let values: Vec<f64> = draft
        .peek("x")
        .into_iter()
        .enumerate()
        .map(|(place, x)| {
            if draft.channel_of(place) != MOMENTS.len() - 1 {
                return x;
            }
            next += 1;
            if next % 2 == 0 { 3.0 } else { 5.0 }
        })
        .collect();
    draft.x(|i| values[i])
}

fn filled(draft: Draft) -> Draft {
    exactly_four(draft.normal_by_channel(&MOMENTS))
}

/// What 16 bits can hold of it: 32 for 1e4.
fn filled_in_halves(draft: Draft) -> Draft {
    let moments = MOMENTS.map(|(mean, deviation)| (if mean == 1e4 { 32.0 } else { mean }, deviation));
    exactly_four(draft.shape(&[6, 9, 3, 4]).normal_by_channel(&moments))
}

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| filled(draft.shape(&[6, 9, 3, 4]));
    let [mean, variance] = [MOMENTS.map(|(mean, _)| mean), [1.0, 1.0, 1e4, 1.0, 1e-6, 1.0, 0.5625, 1.5625, 1.0]];
    let drafts = [
        case(
            "four-deviations",
            Hard,
            "means of 0, 3, 3.9, 4, 4.1, 5 and 1e4 deviations side by side",
            "E[x^2] - E[x]^2 still has its digits in some channels; what decides it must not spill over",
        )
        .with(usual)
        .twin_strided(&[108, 1, 36, 9]),
        case(
            "four-deviations-channels-last",
            Hard,
            "the same, channels last",
            "in this layout channels of both kinds lie between each other in every row",
        )
        .channels_last(&[6, 3, 4, 9])
        .with(filled),
        case(
            "four-deviations-features",
            Hard,
            "the same, 72 samples of 9 features",
            "a third loop, or the first two again",
        )
        .shape(&[72, 9])
        .with(filled),
        case(
            "four-deviations-relu",
            Hard,
            "the same with a rectifier behind",
            "sums of the gradient about 0 or about the mean, of what the rectifier lets through",
        )
        .with(usual)
        .relu(),
        case(
            "four-deviations-eval",
            Hard,
            "the same in evaluation by running means of that size",
            "dgamma = sum(dy x) - mean sum(dy) has its digits in some channels and not in others",
        )
        .with(usual)
        .eval(&mean, &variance),
        filled_in_halves(
            case("four-deviations-f16", Hard, "the same, f16", "f32 would do for the sums here, not f16").f16(),
        ),
        filled_in_halves(
            case("four-deviations-bf16", Hard, "the same, bf16", "three digits in, the sums need all of them").bf16(),
        ),
        case(
            "four-deviations-long",
            Hard,
            "4200 uniform values a channel, of mean 4 deviations",
            "blocks of a long sum lie on different sides, the whole channel counts",
        )
        .shape(&[2, 3, 2100])
        .recipes((0.6547, 1.0), (-0.4, 1.0)),
    ];
    drafts.map(|draft| draft.done()).into()
}
