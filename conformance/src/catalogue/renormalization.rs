//! Batch renormalisation: small batches, corrected towards running statistics.

use crate::case::{Case, Estimator, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[4, 3, 2]).normal_by_channel(&[(1.0, 2.0), (-3.0, 0.5), (0.2, 1.0)]);
    let near = |draft: Draft| draft.renormalized(3.0, 5.0, &[0.5, -2.6, 0.1], &[6.0, 0.4, 0.8]);
    let drafts = [
        case("renorm-within-limits", Easy, "neither r nor d at its limit", "y is that of evaluation")
            .with(usual)
            .with(near),
        case("renorm-closed", Easy, "r_max 1 and d_max 0", "it is batch norm").with(usual).renormalized(
            1.0,
            0.0,
            &[0.5, -2.6, 0.1],
            &[6.0, 0.4, 0.8],
        ),
        case("renorm-at-the-start", Easy, "running statistics 0 and 1", "the first batch, at the paper's last limits")
            .with(usual)
            .renormalized(3.0, 5.0, &[0.0; 3], &[1.0; 3]),
        case("renorm-r-at-its-limits", Hard, "deviations far above and below the running ones", "1 / r_max and r_max")
            .with(usual)
            .renormalized(1.5, 5.0, &[0.5, -2.9, 0.1], &[0.3, 9.0, 1.1]),
        case("renorm-d-at-its-limits", Hard, "means far on either side of the running ones", "-d_max and d_max")
            .with(usual)
            .renormalized(3.0, 0.5, &[9.0, -8.0, 0.1], &[6.0, 0.4, 0.8]),
        case("renorm-r-alone", Hard, "d_max 0", "the batch's mean, another deviation").with(usual).renormalized(
            3.0,
            0.0,
            &[0.5, -2.6, 0.1],
            &[6.0, 0.4, 0.8],
        ),
        case("renorm-two-samples", Hard, "two values a channel", "what it is for")
            .shape(&[2, 4])
            .normal(0.3, 1.0)
            .renormalized(3.0, 5.0, &[0.1, -0.3, 0.2, 0.0], &[1.0, 0.7, 1.4, 1.1]),
        case("renorm-running", Easy, "the running statistics behind it", "they take in the batch as it is")
            .with(usual)
            .running_from(&[0.5, -2.6, 0.1], &[6.0, 0.4, 0.8], 0.1, Estimator::Sample)
            .renormalized(3.0, 5.0, &[0.5, -2.6, 0.1], &[6.0, 0.4, 0.8]),
        case("renorm-relu", Hard, "a rectifier behind it", "the sign is that of the corrected value")
            .with(usual)
            .with(near)
            .relu(),
        case("renorm-constant-channel", Hard, "a channel whose values are all alike", "y is gamma d + beta")
            .with(usual)
            .but(|_, channel, x| if channel == 1 { 0.25 } else { x })
            .with(near),
        case("renorm-nan", Hard, "a NaN in one channel", "it stays there")
            .with(usual)
            .but(|i, channel, x| if channel == 1 && i < 6 { f64::NAN } else { x })
            .with(near),
        case("renorm-mean-1e4", Cruel, "mean 1e4, running mean near it", "d is a difference of large numbers")
            .shape(&[8, 3, 5])
            .normal(1e4, 1.0)
            .renormalized(3.0, 5.0, &[1e4, 9999.5, 10001.0], &[1.0, 2.0, 0.2]),
        case("renorm-f64-mean-1e6", Cruel, "f64 at mean 1e6", "to the last digit")
            .f64()
            .shape(&[8, 3, 5])
            .normal(1e6, 1.0)
            .renormalized(1.2, 0.5, &[1e6, 999999.5, 1000001.0], &[1.0, 2.0, 0.2]),
    ];
    drafts.map(|draft| draft.done()).into()
}
