//! Evaluation by running statistics.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[5, 3, 4, 4]);
    let drafts = [
        case("eval", Easy, "running mean and variance of usual size", "evaluation, and its gradient gamma inv_std dy")
            .with(usual)
            .normal(0.5, 2.0)
            .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0]),
        case("eval-f64", Easy, "the same in f64", "to the last digit")
            .f64()
            .with(usual)
            .normal(0.5, 2.0)
            .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0]),
        case("eval-fresh", Easy, "running mean 0 and variance 1", "a layer that has seen nothing passes x through")
            .with(usual)
            .normal(0.0, 1.0)
            .eval(&[0.0; 3], &[1.0; 3])
            .gamma_beta(1.0, 0.0),
        case("eval-one-value", Easy, "one sample of three features", "evaluation never needs a batch")
            .shape(&[1, 3])
            .normal(0.0, 1.0)
            .eval(&[0.1, 0.2, 0.3], &[1.0, 2.0, 3.0]),
        case("eval-empty", Hard, "no sample at all", "the last batch of a loader may be empty: so is y")
            .shape(&[0, 3, 4, 4])
            .normal(0.0, 1.0)
            .eval(&[0.1, 0.2, 0.3], &[1.0, 2.0, 3.0]),
        case("eval-mean-1e2", Hard, "x and running mean at 1e2", "x a + (b - mean a) loses two digits")
            .with(usual)
            .normal(1e2, 1.0)
            .eval(&[1e2, 100.37, 98.0], &[1.0, 0.5, 3.0]),
        case("eval-mean-1e4", Cruel, "x and running mean at 1e4", "x a + (b - mean a) loses four digits")
            .with(usual)
            .normal(1e4, 1.0)
            .eval(&[1e4, 10_000.37, 9998.0], &[1.0, 0.5, 3.0]),
        case("eval-mean-1e6", Cruel, "x and running mean at 1e6", "x a + (b - mean a) loses six digits of seven")
            .with(usual)
            .normal(1e6, 1.0)
            .eval(&[1e6, 1_000_000.4, 999_998.0], &[1.0, 0.5, 3.0]),
        case("eval-mean-1e4-beta-1e3", Cruel, "running mean 1e4, gamma 30, beta 1e3", "a large shift on both sides")
            .with(usual)
            .normal(1e4, 1.0)
            .eval(&[1e4, 10_000.37, 9998.0], &[1.0, 0.5, 3.0])
            .gammas(&[1.0, -0.4, 30.0])
            .betas(&[0.0, 5.0, 1e3]),
        case(
            "eval-variance-0",
            Hard,
            "running variance 0",
            "a feature that was constant in training: eps alone divides",
        )
        .with(usual)
        .normal(0.5, 1e-3)
        .eval(&[0.5; 3], &[0.0, 1e-12, 1.0]),
        case("eval-variance-1e30", Hard, "running variance 1e30", "y is beta and a little")
            .with(usual)
            .normal(0.0, 1.0)
            .eval(&[0.0; 3], &[1e30, 1e20, 1e10]),
        case(
            "eval-variance-1e-12-eps-0",
            Cruel,
            "running variance 1e-12, eps 0",
            "y is 1e6: there is no eps to rely on",
        )
        .with(usual)
        .epsilon(0.0)
        .normal(0.0, 1.0)
        .eval(&[0.0, 0.1, 0.2], &[1e-12, 1e-14, 1e-10]),
        case("eval-far-from-training", Hard, "x at 1e5, running mean 0", "another domain than in training")
            .with(usual)
            .normal(1e5, 1.0)
            .eval(&[0.0; 3], &[1.0, 2.0, 0.5]),
        case("eval-channels-last", Easy, "channels last", "evaluation in the other layout")
            .channels_last(&[5, 4, 4, 3])
            .normal(0.5, 2.0)
            .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0]),
        case(
            "eval-nan",
            Hard,
            "one NaN, one infinity",
            "in evaluation elements know nothing of each other: the others are right",
        )
        .with(usual)
        .normal(0.5, 2.0)
        .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0])
        .but(|i, _, x| {
            if i == 7 {
                f64::NAN
            } else if i == 150 {
                f64::INFINITY
            } else {
                x
            }
        })
        .no_backward(),
        case("eval-plain", Easy, "neither gamma nor beta", "y is x normalised")
            .with(usual)
            .normal(0.5, 2.0)
            .eval(&[0.4, -0.2, 1.1], &[3.9, 0.7, 12.0])
            .plain(),
    ];
    drafts.map(|draft| draft.done()).into()
}
