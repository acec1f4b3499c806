//! Running statistics: conventions, and what must not get into them.

use crate::case::Estimator::{Population, Sample};
use crate::case::{Case, Level::*, Operation};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[5, 3, 2, 2]).normal(2.0, 3.0).no_backward();
    let several = |draft: Draft| draft.shape(&[1, 2]);
    let three = [(4, 1.0, 1.0), (9, 3.0, 2.0), (5, -2.0, 0.5)];
    let drafts = [
        case("running-pytorch", Easy, "weight of the new value .1, variance by n - 1", "PyTorch's convention")
            .with(usual)
            .running(0.1, Sample),
        case("running-keras", Easy, "weight of the new value .01, variance by n", "Keras' and Flax' convention")
            .with(usual)
            .running(0.01, Population),
        case("running-onnx", Easy, "weight of the new value .1, variance by n", "ONNX' and Burn's convention")
            .with(usual)
            .running(0.1, Population),
        case("running-replaced", Easy, "weight of the new value 1", "the running statistics are the batch's")
            .with(usual)
            .running(1.0, Sample),
        case("running-kept", Easy, "weight of the new value 0", "they stay, to the bit")
            .with(usual)
            .running_from(&[0.3, -1.0, 7.0], &[1.0, 0.3, 12.0], 0.0, Sample)
            .equal(&["running_mean", "running_variance"]),
        case("running-two-values", Easy, "two values a channel", "n - 1 doubles the variance: mistakes show")
            .shape(&[2, 3])
            .normal(2.0, 3.0)
            .no_backward()
            .running(0.1, Sample),
        case("running-two-values-population", Easy, "two values a channel, by n", "and by n they do not double")
            .shape(&[2, 3])
            .normal(2.0, 3.0)
            .no_backward()
            .running(0.1, Population),
        case("running-f64", Hard, "f64, weight .1", "the update to the last digit")
            .f64()
            .with(usual)
            .normal(2.0, 3.0)
            .running_from(&[0.3, -1.0, 7.0], &[1.0, 0.3, 12.0], 0.1, Sample),
        case("running-mean-1e6", Cruel, "x at 1e6, deviation 1", "a variance that is wrong here is wrong for ever")
            .with(usual)
            .normal(1e6, 1.0)
            .running_from(&[1e6; 3], &[1.0; 3], 0.1, Sample),
        case("updates-three-batches", Easy, "three batches of 4, 9 and 5", "each by its own n - 1")
            .with(several)
            .running(0.1, Sample)
            .batches(Operation::Updates, &three),
        case("updates-thirty-batches", Hard, "thirty batches of mean 10", "rounding must not add up")
            .with(several)
            .running(0.1, Population)
            .batches(Operation::Updates, &[(6, 10.0, 1.0); 30]),
        case(
            "updates-bf16-do-not-stall",
            Cruel,
            "sixty bf16 batches of mean 10, weight .01",
            "statistics kept in bf16 stop half way",
        )
        .with(several)
        .bf16()
        .running(0.01, Population)
        .batches(Operation::Updates, &[(6, 10.0, 1.0); 60]),
        case(
            "updates-debiased",
            Easy,
            "three batches, the start taken out",
            "Haiku's averages; the first batch replaces the start",
        )
        .with(several)
        .running(0.1, Population)
        .debiased()
        .batches(Operation::Updates, &three),
        case("updates-debiased-one", Easy, "one batch, the start taken out", "the running statistics are the batch's")
            .with(several)
            .running(0.01, Sample)
            .debiased()
            .batches(Operation::Updates, &[(7, 3.0, 2.0)]),
        case("updates-debiased-f64", Hard, "forty batches by weight 0.003, f64", "1 - 0.997^k, to the last digit")
            .f64()
            .with(several)
            .running(0.003, Sample)
            .debiased()
            .batches(Operation::Updates, &[(5, 10.0, 1.0); 40]),
        case("updates-an-empty-batch", Hard, "an empty batch between two others", "an empty batch changes nothing")
            .with(several)
            .running(0.1, Sample)
            .batches(Operation::Updates, &[(4, 1.0, 1.0), (0, 0.0, 1.0), (5, -2.0, 0.5)]),
        case(
            "population-unequal-batches",
            Hard,
            "batches of 4, 9 and 5, all together",
            "the mean of means is not the mean of unequal batches",
        )
        .with(several)
        .running(1.0, Sample)
        .batches(Operation::Population, &three),
        case(
            "population-f64-mean-1e4",
            Hard,
            "batches of 2, 31 and 8 at 1e4, f64",
            "means are merged by their differences",
        )
        .with(several)
        .f64()
        .running(1.0, Population)
        .batches(Operation::Population, &[(2, 1e4, 1.0), (31, 1.0001e4, 1.0), (8, 0.9998e4, 0.1)]),
        case("population-far-apart", Cruel, "batches at -1e6, 0 and 1e6", "the variance is that between the batches")
            .with(several)
            .running(1.0, Population)
            .batches(Operation::Population, &[(3, -1e6, 1.0), (7, 0.0, 1.0), (2, 1e6, 1.0)]),
        case("empty-batch", Hard, "no sample at all, in training", "empty y, gradients 0, statistics as they were")
            .shape(&[0, 3, 2, 2])
            .normal(0.0, 1.0)
            .running_from(&[0.3, -1.0, 7.0], &[1.0, 0.3, 12.0], 0.1, Sample)
            .without(&["mean", "variance"])
            .equal(&["running_mean", "running_variance"]),
    ];
    drafts.map(|draft| draft.done()).into()
}
