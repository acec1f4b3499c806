//! Masks and weights: values that count more than once, less, or not at all.

use crate::case::{Case, Estimator, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[4, 3, 10]).normal(0.5, 2.0);
    // Sequences of 10, 7, 3 and 8 steps.
    let lengths: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i % 10 < [10, 7, 3, 8][i / 10]))).collect();
    let padded = |i: usize| i % 10 >= [10, 7, 3, 8][i / 30];
    let drafts = [
        case("mask-of-samples", Hard, "one of four samples does not count", "a batch that was filled up")
            .with(usual)
            .weights(&[4, 1, 1], &[1.0, 1.0, 0.0, 1.0]),
        case("mask-of-positions", Hard, "sequences of unequal length", "what pads them is not data")
            .with(usual)
            .weights(&[4, 1, 10], &lengths),
        case(
            "mask-over-nan",
            Cruel,
            "sequences of unequal length, padded with NaN",
            "what is masked must not be looked at",
        )
        .with(usual)
        .but(move |i, _, x| if padded(i) { f64::NAN } else { x })
        .weights(&[4, 1, 10], &lengths),
        case(
            "mask-over-1e30",
            Cruel,
            "sequences of unequal length, padded with 1e30",
            "multiplied by 0 it is 0, but not its square in f32",
        )
        .with(usual)
        .but(move |i, _, x| if padded(i) { 1e30 } else { x })
        .weights(&[4, 1, 10], &lengths),
        case("mask-mean-1e4", Cruel, "a mask at mean 1e4", "the zeros of a product with the mask are outliers")
            .with(usual)
            .normal(1e4, 1.0)
            .weights(&[4, 1, 10], &lengths),
        case("mask-leaves-two", Hard, "two values of each channel count", "as few as there can be")
            .with(usual)
            .weights(&[4, 1, 10], &(0..40).map(|i| f64::from(u8::from(i == 3 || i == 28))).collect::<Vec<f64>>()),
        case("mask-running", Hard, "a mask, and the running statistics by n - 1", "n is what counts, not the shape")
            .with(usual)
            .no_backward()
            .running(0.1, Estimator::Sample)
            .weights(&[4, 1, 10], &lengths),
        case("weights-whole", Hard, "weights 0 to 3", "as if values were there as often")
            .with(usual)
            .weights(&[4, 3, 10], &(0..120).map(|i| ((i * 5) % 7 % 4) as f64).collect::<Vec<f64>>()),
        case("weights-fractions", Hard, "weights of samples 0.25 to 2", "importance")
            .with(usual)
            .weights(&[4, 1, 1], &[0.25, 1.0, 2.0, 0.75]),
        case("weights-f64", Hard, "weights of all values, f64 at mean 1e4", "to the last digit")
            .f64()
            .with(usual)
            .normal(1e4, 1.0)
            .weights(&[4, 3, 10], &(0..120).map(|i| 0.125 * ((i * 5) % 13) as f64).collect::<Vec<f64>>()),
        usual(
            case(
                "weights-light-outlier",
                Cruel,
                "an outlier of 1e6 with weight 1e-6, f64",
                "it must not cost the others their digits",
            )
            .f64(),
        )
        .normal(0.0, 1.0)
        .but(|i, _, x| if i % 10 == 4 && i < 30 { 1e6 } else { x })
        .weights(&[4, 1, 10], &(0..40).map(|i| if i == 4 { 1e-6 } else { 1.0 }).collect::<Vec<f64>>()),
    ];
    drafts.map(|draft| draft.done()).into()
}
