//! Arrays too large to be stored: made by a recipe, looked at in some places.

use crate::case::{Case, Level::*};
use crate::draft::case;

pub fn cases() -> Vec<Case> {
    let drafts = [
        case("huge-16777217", Cruel, "2^24 + 1 values in 0..1", "a count in f32 stops at 2^24, and so do sums of ones")
            .shape(&[1, 1, (1 << 24) + 1])
            .recipes((0.0, 1.0), (-0.5, 1.0)),
        case("huge-mean-1e4", Cruel, "2^20 values of 1e4 to 10001, two channels", "long sums of large values")
            .shape(&[4, 2, 1 << 18])
            .recipes((1e4, 1.0), (-0.5, 1.0)),
        case(
            "huge-channels-last",
            Cruel,
            "2^20 values of 3 to 4, three channels last",
            "one running sum a channel, over many rows",
        )
        .channels_last(&[16, 1 << 16, 3])
        .recipes((3.0, 1.0), (-0.5, 1.0)),
        case("huge-f16", Cruel, "2^18 values of f16 in 0..1", "no sum of so many fits f16")
            .f16()
            .shape(&[64, 2, 1 << 12])
            .recipes((0.0, 1.0), (-0.5, 1.0)),
    ];
    drafts.map(|draft| draft.done()).into()
}
