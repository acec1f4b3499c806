//! Upstream gradients and directions.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[6, 3, 4, 4]).normal(0.5, 2.0);
    let like_x = |draft: Draft| {
        let x = draft.peek("x");
        draft.dy(|i| x[i])
    };
    let drafts = [
        case("upstream-ones", Easy, "dy is 1 everywhere", "sum(y) does not depend on x: dx = 0, dgamma = 0, dbeta = n")
            .with(usual)
            .dy(|_| 1.0),
        case("upstream-ones-f64", Easy, "dy is 1 everywhere, f64", "the same, to the last digit")
            .f64()
            .with(usual)
            .dy(|_| 1.0),
        case("upstream-zero", Easy, "dy is 0 everywhere", "all gradients are exactly 0").with(usual).dy(|_| 0.0),
        case(
            "upstream-like-x",
            Hard,
            "dy is x",
            "a gradient along x changes nothing but the scale: of dx only eps remains",
        )
        .with(usual)
        .with(like_x),
        case("upstream-like-x-f64", Hard, "dy is x, f64", "the same, to the last digit").f64().with(usual).with(like_x),
        case("upstream-one-hot", Easy, "dy is 1 in one place of each channel", "shows a column of the Jacobian")
            .with(usual)
            .dy(|i| f64::from(u8::from([5, 70, 47].contains(&i)))),
        case(
            "upstream-mean-1e3",
            Hard,
            "dy of mean 1e3 and deviation 1",
            "the mean must be taken off before digits are lost",
        )
        .with(usual)
        .normal_dy(1e3, 1.0),
        case("upstream-mean-1e6-f64", Hard, "dy of mean 1e6 and deviation 1, f64", "the same, further")
            .f64()
            .with(usual)
            .normal_dy(1e6, 1.0),
        case("upstream-1e-30", Hard, "dy of size 1e-30", "gradients late in training, or a loss that was scaled down")
            .with(usual)
            .normal_dy(0.0, 1e-30),
        case("upstream-1e30", Cruel, "dy of size 1e30", "sums of products overflow f32")
            .with(usual)
            .normal_dy(0.0, 1e30),
        case("upstream-alternating", Hard, "dy is 1e4 and -1e4 in turn, and a little", "sums cancel to the little")
            .with(usual)
            .dy(|i| if i % 2 == 0 { 1e4 } else { -1e4 + (i % 7) as f64 }),
        case(
            "upstream-outlier-first",
            Hard,
            "dy of size 1, its first element 1e6",
            "one sample of a batch dominates the loss",
        )
        .with(usual)
        .dy(|i| if i < 96 && i % 16 == 0 { 1e6 } else { ((i * 7) % 11) as f64 / 5.0 - 1.0 }),
        case(
            "x-1e4-upstream-1e3",
            Cruel,
            "x of mean 1e4, dy of mean 1e3",
            "both means must go before the product is summed",
        )
        .with(usual)
        .normal(1e4, 1.0)
        .normal_dy(1e3, 1.0),
        case(
            "gradient-ten-values",
            Hard,
            "ten values a channel, eps 1e-5, deviation 1e-2",
            "eps is a tenth of the variance and shows in dx",
        )
        .with(usual)
        .shape(&[10, 3])
        .normal(2.0, 1e-2),
        case("gradient-large-deviation", Hard, "deviation 1e4", "dx is small, and must not be lost beside dy")
            .with(usual)
            .normal(0.0, 1e4),
        usual(
            case(
                "direction",
                Hard,
                "the directional derivative, f64",
                "forward mode gives the same Jacobian as the backward pass",
            )
            .f64(),
        )
        .normal_direction(),
        case("direction-f32", Hard, "the directional derivative at mean 1e3", "forward mode in f32")
            .with(usual)
            .normal(1e3, 1.0)
            .normal_direction(),
        usual(
            case(
                "direction-constant",
                Hard,
                "all of x moves by the same, f64",
                "y does not move: the constant direction is in the null space",
            )
            .f64(),
        )
        .direction(|_| 3.0),
    ];
    drafts.map(|draft| draft.done()).into()
}
