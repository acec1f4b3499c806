//! eps, gamma and beta.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 3, 3, 3]).normal(0.3, 1.2);
    let drafts = [
        case("eps-0", Easy, "eps 0", "legal where the variance is not 0").with(usual).epsilon(0.0),
        case("eps-1e-12", Easy, "eps 1e-12, f64", "must not be rounded away or up").f64().with(usual).epsilon(1e-12),
        case("eps-1e-3", Easy, "eps 1e-3", "Keras' default, a hundred times PyTorch's").with(usual).epsilon(1e-3),
        case("eps-1", Easy, "eps 1", "large enough to tell an eps outside the root from one inside")
            .with(usual)
            .epsilon(1.0),
        case("eps-1e10", Hard, "eps 1e10", "y is x / 1e5 and must keep its digits").with(usual).epsilon(1e10),
        case("eps-against-tiny-variance", Hard, "deviation 1e-4, eps 1e-5", "eps is a thousand times the variance")
            .shape(&[8, 3, 3, 3])
            .normal(0.3, 1e-4),
        case(
            "eps-equals-variance",
            Hard,
            "deviation 3.2e-3, eps 1e-5, f64",
            "variance and eps of one size: y has deviation .7",
        )
        .f64()
        .shape(&[8, 3, 3, 3])
        .normal(0.3, 3.2e-3),
        case("gamma-0", Easy, "gamma 0 in one channel", "y = beta exactly, dx = 0 exactly, dgamma as ever")
            .with(usual)
            .gammas(&[0.0, 1.0, 0.0])
            .betas(&[0.1, 0.2, -7.3]),
        case("gamma-negative", Easy, "gammas below 0", "abs(gamma) is not gamma")
            .with(usual)
            .gammas(&[-1.0, -0.3, -20.0])
            .betas(&[0.5, 0.0, 1.0]),
        case("gamma-1e30", Cruel, "gamma 1e30", "products of gamma overflow f32 early")
            .with(usual)
            .gammas(&[1e30, -1e30, 3e30])
            .betas(&[0.0, 1.0, 1e29]),
        case("gamma-1e-30", Hard, "gamma 1e-30", "y and dx are tiny and must keep their digits")
            .with(usual)
            .gammas(&[1e-30, -1e-30, 3e-30])
            .betas(&[0.0, 1e-30, 1.0]),
        case("gamma-1e-39", Cruel, "gamma 1e-39", "y is subnormal: flushed to zero it is gone")
            .with(usual)
            .gammas(&[1e-39, -1e-39, 3e-39])
            .betas(&[0.0, 0.0, 1e-39]),
        case("beta-1e4", Hard, "beta -1e4", "x a + b with a large b loses the digits of x a")
            .with(usual)
            .gamma_beta(1.0, -1e4),
        case("beta-1e30", Cruel, "beta 1e30", "y is beta: nothing else may be seen").with(usual).gamma_beta(1.0, 1e30),
        case("beta-cancels", Hard, "gamma 1e3, beta -1e3", "y passes through 0 where its terms are 1e3")
            .with(usual)
            .gamma_beta(1e3, -1e3),
        usual(
            case("beta-cancels-f64", Hard, "gamma 1e6, beta -1e6, f64", "y passes through 0 where its terms are 1e6")
                .f64(),
        )
        .gamma_beta(1e6, -1e6),
        case(
            "parameters-of-many-sizes",
            Hard,
            "gammas 1e-3, 1, 1e3, betas 1e3, 1e-3, 0",
            "one channel's size says nothing about another's",
        )
        .with(usual)
        .gammas(&[1e-3, 1.0, 1e3])
        .betas(&[1e3, 1e-3, 0.0]),
    ];
    drafts.map(|draft| draft.done()).into()
}
