//! Values near the ends of the range.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 2, 5, 5]);
    let drafts = [
        usual(case("deviation-1e10", Hard, "deviation 1e10", "squares of 1e20 fit f32, sums of their squares do not"))
            .normal(0.0, 1e10),
        usual(case("deviation-1e19", Cruel, "deviation 1e19", "squares leave f32: y is all zeros where nobody looks"))
            .normal(0.0, 1e19),
        usual(case("deviation-1e30", Cruel, "deviation 1e30", "squares are infinite in f32")).normal(0.0, 1e30),
        usual(case("deviation-1e37", Cruel, "deviation 3e37", "differences too come near the end of f32"))
            .normal(0.0, 3e37),
        usual(case("mean-1e30-deviation-1e28", Cruel, "mean 1e30, deviation 1e28", "large and not centred"))
            .normal(1e30, 1e28),
        usual(case("sum-overflows", Cruel, "values about 3e38", "the sum of two is infinite in f32, the mean is not"))
            .normal(3e38, 1e37)
            .but(|_, _, x| x.min(3.4e38)),
        usual(case("deviation-1e-5-eps-0", Hard, "deviation 1e-5, eps 0", "small, and nothing to help"))
            .epsilon(0.0)
            .normal(0.0, 1e-5),
        usual(case(
            "deviation-1e-19-eps-0",
            Cruel,
            "deviation 1e-19, eps 0",
            "squares are 1e-38, where f32 loses digits",
        ))
        .epsilon(0.0)
        .normal(0.0, 1e-19),
        usual(case("deviation-1e-30-eps-0", Cruel, "deviation 1e-30, eps 0", "squares are 0 in f32"))
            .epsilon(0.0)
            .normal(0.0, 1e-30),
        usual(case(
            "denormal-eps-0",
            Cruel,
            "subnormal values, eps 0",
            "flushed to zero there is nothing left to normalise",
        ))
        .epsilon(0.0)
        .normal(0.0, 2e-40)
        .no_backward(),
        usual(case("denormal", Hard, "subnormal values, eps 1e-5", "y is subnormal too, times 316"))
            .normal(0.0, 2e-40)
            .gamma_beta(1.0, 0.0),
        usual(case(
            "channels-of-many-sizes",
            Cruel,
            "one channel of 1e20, one of 1e-20, eps 0",
            "one scale for the array is none for either",
        ))
        .epsilon(0.0)
        .normal_by_channel(&[(0.0, 1e20), (0.0, 1e-20)]),
        usual(case("deviation-1e100-f64", Hard, "deviation 1e100, f64", "squares still fit").f64()).normal(0.0, 1e100),
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
        usual(case("deviation-1e-100-f64-eps-0", Hard, "deviation 1e-100, eps 0, f64", "squares still fit").f64())
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
                "x of 1e-25, dy of 1e25, eps 0",
                "their product is 1; dx is 1e50, beyond f32",
            )
            .f64(),
        )
        .epsilon(0.0)
        .normal(0.0, 1e-25)
        .normal_dy(0.0, 1e25),
    ];
    drafts.map(|draft| draft.done()).into()
}
