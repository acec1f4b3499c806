//! Refusals: problems that make no sense and must be refused, and those that may be.

use crate::case::{Case, Estimator::Sample, Level::*, Norm, Refusal};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[4, 3, 2, 2]).normal(0.5, 2.0).refusal(Refusal::Required);
    let drafts = [
        case(
            "one-value-a-channel",
            Easy,
            "one sample of three features, in training",
            "nothing to normalise by: an error, or y = beta and dx = 0",
        )
        .shape(&[1, 3])
        .normal(0.5, 2.0)
        .refusal(Refusal::Allowed),
        case("refuse-negative-variance", Easy, "a running variance of -1", "its root is NaN, silently")
            .with(usual)
            .eval(&[0.0; 3], &[1.0, -1.0, 1.0]),
        case("refuse-nan-variance", Hard, "a running variance that is NaN", "a checkpoint that was broken long ago")
            .with(usual)
            .eval(&[0.0; 3], &[1.0, f64::NAN, 1.0]),
        case("refuse-infinite-mean", Hard, "a running mean that is infinite", "a checkpoint that was broken long ago")
            .with(usual)
            .eval(&[0.0, f64::INFINITY, 0.0], &[1.0; 3]),
        case("refuse-negative-eps", Easy, "eps -1", "the root of a negative number, one day").with(usual).epsilon(-1.0),
        case(
            "refuse-weight-above-1",
            Easy,
            "a weight of the new value of 1.5",
            "the running statistics would swing ever wider",
        )
        .with(usual)
        .no_backward()
        .running(1.5, Sample),
        case(
            "refuse-gamma-of-other-length",
            Easy,
            "gamma of two values for three channels",
            "broadcast, it would be silent",
        )
        .with(usual)
        .plain()
        .input("gamma", &[2], &[1.0, 2.0]),
        case(
            "refuse-mean-of-other-length",
            Easy,
            "running statistics of four channels for three",
            "another layer's checkpoint",
        )
        .with(usual)
        .eval(&[0.0; 4], &[1.0; 4]),
        case("refuse-nan-gamma", Hard, "a gamma that is NaN", "a step that blew up, before it spreads")
            .with(usual)
            .gammas(&[1.0, f64::NAN, 1.0])
            .betas(&[0.0; 3]),
        case("refuse-upstream-of-other-shape", Easy, "dy of another shape than x", "broadcast, it would be silent")
            .with(usual)
            .input("dy", &[4, 3, 2, 1], &[1.0; 24]),
        case("refuse-groups-that-do-not-divide", Easy, "two groups of three channels", "a channel would be left over")
            .with(usual)
            .norm(Norm::Group { groups: 2 }),
    ];
    drafts.map(|draft| draft.done()).into()
}
