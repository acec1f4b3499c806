//! Values that are the mean itself, beta 0: y is 0 to the bit there, and a rectifier behind it passes no gradient. Data of
//! which this is true in every batch: whole numbers, one-hot features, two values, pixels.

use crate::case::{Case, Level, Level::*};
use crate::draft::{Draft, case};

/// A value by its channel and its number in it.
type Fill = fn(usize, usize) -> f64;

/// Data of one kind: a word, what a value is, the running mean and variance of each channel that evaluation has, and why.
struct Kind {
    /// The names of the cases, by training and evaluation, each without a rectifier and with it.
    names: [[&'static str; 2]; 2],
    what: &'static str,
    fill: Fill,
    running: [[f64; 3]; 2],
    why: [&'static str; 2],
}

const KINDS: [Kind; 4] = [
    Kind {
        names: [["whole-0-to-10", "whole-0-to-10-relu"], ["whole-0-to-10-eval", "whole-0-to-10-eval-relu"]],
        what: "whole numbers 0 to 10",
        fill: |channel, i| ((i * 7 + channel) % 11) as f64,
        running: [[5.0, 3.0, 0.0], [10.0, 7.0, 2.5]],
        why: ["every eleventh value is the mean", "counts and ratings: many are the running mean to the bit"],
    },
    Kind {
        names: [["one-hot", "one-hot-relu"], ["one-hot-eval", "one-hot-eval-relu"]],
        what: "1 in one place of eleven, else 0",
        fill: |channel, i| f64::from(u8::from(i % 11 == 3 * channel)),
        running: [[0.0, 1.0, 0.0625], [1.0, 0.25, 0.0]],
        why: [
            "nearly all values are alike, and all below the mean",
            "nearly all values are the running mean to the bit",
        ],
    },
    Kind {
        names: [["two-valued", "two-valued-relu"], ["two-valued-eval", "two-valued-eval-relu"]],
        what: "two values, -0.3 and 0.7, 100.1 and 100.2, -1 and 1",
        fill: |channel, i| {
            let [low, high] = [[-0.3, 0.7], [100.1, 100.2], [-1.0, 1.0]][channel];
            if (i * 7 + i / 3 + channel) % 3 == 0 { low } else { high }
        },
        // (The middle channel's is 100.1 as f32 has it.)
        running: [[0.7, 100.1, -1.0], [0.2, 0.01, 1.0]],
        why: ["switches and signs: y has two values too", "one of the two is the running mean to the bit"],
    },
    Kind {
        names: [["pixels", "pixels-relu"], ["pixels-eval", "pixels-eval-relu"]],
        what: "whole numbers 0 to 255 of mean 128",
        // In pairs about 128, and 0, 255 and 129, whose mean it is too.
        fill: |channel, i| match i {
            0 => 128.0,
            1 => 0.0,
            2 => 255.0,
            3 => 129.0,
            _ => {
                let distance = (i / 2 * (37 + 24 * channel) % 128) as f64;
                128.0 + if i % 2 == 0 { distance } else { -distance }
            }
        },
        running: [[128.0, 127.5, 255.0], [5461.25, 5000.0, 65.0]],
        why: ["pixels as they come: some are the mean", "pixels as they come: some are the running mean"],
    },
];

const RECTIFIED: &str =
    "where x is the mean the rectifier is closed: no gradient comes back, and no sum has a part of it";

/// 44 values in each of three channels, beta 0.
fn usual(draft: Draft) -> Draft {
    draft.shape(&[11, 3, 2, 2]).gammas(&[1.0, 1.7, -0.4]).betas(&[0.0; 3])
}

fn of_kind(kind: &Kind) -> impl Iterator<Item = Case> {
    [false, true].into_iter().flat_map(move |eval| {
        [false, true].into_iter().map(move |relu| {
            let name = kind.names[usize::from(eval)][usize::from(relu)];
            let level = if relu { Hard } else { Easy };
            let pass = if eval { ", evaluation" } else { "" };
            let behind = if relu { ", a rectifier behind" } else { "" };
            let what = format!("{}, beta 0{pass}{behind}", kind.what);
            let why = if relu { RECTIFIED } else { kind.why[usize::from(eval)] };
            let draft = usual(case(name, level, &what, why)).fill(|channel, i, _| (kind.fill)(channel, i));
            let draft = if eval { draft.eval(&kind.running[0], &kind.running[1]) } else { draft };
            if relu { draft.relu().done() } else { draft.done() }
        })
    })
}

/// 0 to 10 with something added.
fn from(offset: f64) -> impl Fn(Draft) -> Draft {
    move |draft| usual(draft).fill(|channel, i, _| offset + ((i * 7 + channel) % 11) as f64)
}

pub fn cases() -> Vec<Case> {
    let far = |name, level: Level, what: &str, why: &str| case(name, level, what, why);
    let drafts = [
        far(
            "whole-at-1e6-relu",
            Cruel,
            "1e6 to 1e6 + 10, beta 0, a rectifier behind",
            "x a + b is not 0 at the mean, of either sign",
        )
        .with(from(1e6))
        .relu(),
        far(
            "whole-at-1e6-eval-relu",
            Cruel,
            "the same in evaluation",
            "x a + b is not 0 at the running mean, of either sign",
        )
        .with(from(1e6))
        .eval(&[1_000_005.0, 1e6, 1_000_010.0], &[10.0, 7.0, 2.5])
        .relu(),
        from(1e9)(
            far(
                "whole-at-1e9-f64-relu",
                Cruel,
                "1e9 to 1e9 + 10, f64, beta 0, a rectifier behind",
                "0 is 0 in f64 too, and nothing near it will do",
            )
            .f64(),
        )
        .relu(),
        case(
            "relu-normal",
            Easy,
            "normal values, a rectifier behind",
            "the layer and what follows it in most networks",
        )
        .shape(&[8, 3, 4, 4])
        .normal(0.5, 2.0)
        .relu(),
        case("relu-channels-last", Easy, "normal values, channels last, a rectifier behind", "the other layout")
            .channels_last(&[8, 4, 4, 3])
            .normal(0.5, 2.0)
            .relu(),
        case("relu-f64", Easy, "normal values, f64, a rectifier behind", "to the last digit")
            .f64()
            .shape(&[10, 4])
            .normal(0.5, 2.0)
            .relu(),
        case("relu-eval", Easy, "evaluation, a rectifier behind", "the layer in use, and frozen in fine-tuning")
            .shape(&[5, 3, 4, 4])
            .normal(0.5, 2.0)
            .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0])
            .relu(),
        case(
            "relu-all-closed",
            Hard,
            "betas of -10, 10 and 0, a rectifier behind",
            "a dead channel: y and all gradients are exactly 0; one that the rectifier never touches",
        )
        .shape(&[8, 3, 4, 4])
        .normal(0.5, 2.0)
        .gammas(&[1.0, 1.0, 0.0])
        .betas(&[-10.0, 10.0, 0.0])
        .relu(),
        case(
            "relu-constant",
            Hard,
            "constant channels, betas 0.1, 0 and -7.3, a rectifier behind",
            "all of y is the rectified beta, to the bit",
        )
        .shape(&[8, 3, 3, 3])
        .fill(|channel, _, _| [100.1, 1e7, -0.1][channel])
        .gammas(&[2.0; 3])
        .betas(&[0.1, 0.0, -7.3])
        .equal(&["y", "variance"])
        .relu(),
    ];
    KINDS.iter().flat_map(of_kind).chain(drafts.map(|draft| draft.done())).collect()
}
