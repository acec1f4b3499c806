//! Values near the ends of the range.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 2, 5, 5]);
    let drafts = [
        case("deviation-1e10", Hard, "deviation 1e10", "squares of 1e20 fit f32, sums of their squares do not")
            .with(usual)
            .normal(0.0, 1e10),
        case("deviation-1e19", Cruel, "deviation 1e19", "squares leave f32: y is all zeros where nobody looks")
            .with(usual)
            .normal(0.0, 1e19),
        case("deviation-1e30", Cruel, "deviation 1e30", "squares are infinite in f32").with(usual).normal(0.0, 1e30),
        case("deviation-1e37", Cruel, "deviation 3e37", "differences too come near the end of f32")
            .with(usual)
            .normal(0.0, 3e37),
        case("mean-1e30-deviation-1e28", Cruel, "mean 1e30, deviation 1e28", "large and not centred")
            .with(usual)
            .normal(1e30, 1e28),
        case("sum-overflows", Cruel, "values about 3e38", "the sum of two is infinite in f32, the mean is not")
            .with(usual)
            .normal(3e38, 1e37)
            .but(|_, _, x| x.min(3.4e38)),
        case("deviation-1e-5-eps-0", Hard, "deviation 1e-5, eps 0", "small, and nothing to help")
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 1e-5),
        case("deviation-1e-19-eps-0", Cruel, "deviation 1e-19, eps 0", "squares are 1e-38, where f32 loses digits")
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 1e-19),
        case("deviation-1e-30-eps-0", Cruel, "deviation 1e-30, eps 0", "squares are 0 in f32")
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 1e-30),
        case("denormal-eps-0", Cruel, "subnormal values, eps 0", "flushed to zero there is nothing left to normalise")
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 2e-40)
            .no_backward(),
        case("denormal", Hard, "subnormal values, eps 1e-5", "y is subnormal too, times 316")
            .with(usual)
            .normal(0.0, 2e-40)
            .gamma_beta(1.0, 0.0),
        case(
            "channels-of-many-sizes",
            Cruel,
            "one channel of 1e20, one of 1e-20, eps 0",
            "one scale for the array is none for either",
        )
        .with(usual)
        .epsilon(0.0)
        .normal_by_channel(&[(0.0, 1e20), (0.0, 1e-20)]),
        case("deviation-1e100-f64", Hard, "deviation 1e100, f64", "squares still fit")
            .f64()
            .with(usual)
            .normal(0.0, 1e100),
        usual(
            case(
                "deviation-1e150-f64",
                Cruel,
                "deviation 1e150, f64",
                "squares still fit, sums of their squares do not",
            )
            .f64(),
        )
        .normal(0.0, 1e150),
        case("deviation-1e-100-f64-eps-0", Hard, "deviation 1e-100, eps 0, f64", "squares still fit")
            .f64()
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 1e-100),
        usual(
            case(
                "deviation-1e-140-f64-eps-0",
                Cruel,
                "deviation 1e-140, eps 0, f64",
                "squares are 1e-280 and have all their digits, just",
            )
            .f64(),
        )
        .epsilon(0.0)
        .normal(0.0, 1e-140),
        usual(
            case(
                "x-and-upstream-of-opposite-sizes",
                Cruel,
                "x of 1e-25, dy of 1e25, eps 0, f64",
                "products are 1, dx is 1e50",
            )
            .f64(),
        )
        .epsilon(0.0)
        .normal(0.0, 1e-25)
        .normal_dy(0.0, 1e25),
    ];
    drafts.map(|draft| draft.done()).into()
}
