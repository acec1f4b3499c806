//! Channels whose values are all alike: variance 0 and y = beta, to the bit.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let constant = |values: &'static [f64]| {
        move |draft: Draft| {
            let count = values.len();
            let draft = draft.shape(&[6, count, 3, 3]).normal(0.0, 1.0).but(move |_, c, _| values[c]);
            let beta: Vec<f64> = (0..count).map(|c| [0.0, 0.1, -7.3, 1e20][c % 4]).collect();
            draft.gammas(&vec![-3.7; count]).betas(&beta).equal(&["y", "variance"])
        }
    };
    let drafts = [
        case("constant-0", Easy, "all values 0", "dead units, black pictures").with(constant(&[0.0, 0.0])),
        case("constant-1", Easy, "all values 1 and 2", "whole numbers are the easy ones").with(constant(&[1.0, 2.0])),
        case(
            "constant-decimal",
            Hard,
            "all values .1, 100.1, -100.1",
            "n times a decimal over n is not always the decimal",
        )
        .with(constant(&[0.1, 100.1, -100.1])),
        case(
            "constant-1e7",
            Cruel,
            "all values 1e7, 16777217, 1e8",
            "sums of these are rounded: y is 105 where it should be 0",
        )
        .with(constant(&[1e7, 16_777_217.0, 1e8])),
        case("constant-1e30", Cruel, "all values 1e30, -1e30, 1e-30", "far from 1 on both sides")
            .with(constant(&[1e30, -1e30, 1e-30])),
        case("constant-3e38", Cruel, "all values 3e38", "their sum is infinite in f32").with(constant(&[3e38, -3e38])),
        case("constant-denormal", Cruel, "all values 1e-42", "subnormal").with(constant(&[1e-42, -1e-42])),
        case("constant-eps-0", Cruel, "all values alike, eps 0", "0/0: y = beta and dx = 0 by declaration, never NaN")
            .epsilon(0.0)
            .with(constant(&[0.1, 1e7, 3e38])),
        case("constant-f64", Hard, "all values .1, 1e16 + 2, 1e200, f64", "sums are rounded in f64 too")
            .f64()
            .with(constant(&[0.1, 10_000_000_000_000_002.0, 1e200])),
        case("constant-f64-1e308", Cruel, "all values 1.7e308, f64, eps 0", "their sum is infinite in f64")
            .f64()
            .epsilon(0.0)
            .with(constant(&[1.7e308, -1.7e308])),
        case(
            "constant-beside-healthy",
            Hard,
            "a constant channel between two usual ones",
            "one says nothing about the others",
        )
        .shape(&[6, 3, 3, 3])
        .normal(1.0, 2.0)
        .but(|_, c, x| if c == 1 { 100.1 } else { x }),
        case("constant-1025-values", Cruel, "1025 values of 100.1", "long sums drift further")
            .shape(&[1025, 1])
            .x(|_| 100.1)
            .gamma_beta(2.0, 0.0)
            .equal(&["y", "variance"]),
        case("constant-channels-last", Cruel, "all values 100.1 and 1e7, channels last", "the other layout")
            .channels_last(&[6, 3, 3, 2])
            .x(|i| [100.1, 1e7][i % 2])
            .gamma_beta(1.0, 0.0)
            .equal(&["y", "variance"]),
        case(
            "nearly-constant",
            Cruel,
            "all values 1, but one larger by an ulp",
            "not constant: the variance is 1e-16 and counts with eps 0",
        )
        .shape(&[9, 2, 2, 2])
        .epsilon(0.0)
        .x(|i| if i % 36 == 4 { 1.0 + f64::from(f32::EPSILON) } else { 1.0 }),
    ];
    drafts.map(|draft| draft.done()).into()
}
