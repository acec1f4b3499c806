//! Half precision: statistics and parameters are wider than the arrays, and results are rounded once.

use crate::case::{Case, Level::*};
use crate::draft::{Draft, case};

pub fn cases() -> Vec<Case> {
    let usual = |draft: Draft| draft.shape(&[8, 3, 4, 4]);
    let drafts = [
        case("f16", Easy, "usual values in f16", "computed in f32 or wider, rounded once")
            .f16()
            .with(usual)
            .normal(0.3, 1.2),
        case("bf16", Easy, "usual values in bf16", "computed in f32 or wider, rounded once")
            .bf16()
            .with(usual)
            .normal(0.3, 1.2),
        case("f16-mean-30", Hard, "mean 30 in f16", "squares of 900 leave f16 few digits")
            .f16()
            .with(usual)
            .normal(30.0, 1.0),
        case("bf16-mean-30", Hard, "mean 30 in bf16", "x itself has two digits").bf16().with(usual).normal(30.0, 1.0),
        case("f16-deviation-1e4", Cruel, "deviation 1e4 in f16", "squares overflow f16 at 256")
            .f16()
            .with(usual)
            .normal(0.0, 1e4),
        case("f16-deviation-1e-4-eps-0", Cruel, "deviation 1e-4 in f16, eps 0", "squares are 0 in f16")
            .f16()
            .with(usual)
            .epsilon(0.0)
            .normal(0.0, 1e-4)
            .no_backward(),
        case("bf16-deviation-1e30", Cruel, "deviation 1e30 in bf16", "squares overflow f32")
            .bf16()
            .with(usual)
            .normal(0.0, 1e30),
        case("f16-500-values", Hard, "500 values of 3 features in f16", "sums in f16 lose count")
            .f16()
            .shape(&[500, 3])
            .normal(5.0, 2.0),
        case("bf16-500-values", Hard, "500 values of 3 features in bf16", "sums in bf16 stop at 256 ones")
            .bf16()
            .shape(&[500, 3])
            .normal(5.0, 2.0),
        case("f16-constant-6e4", Cruel, "all values 6e4 in f16", "their sum is infinite in f16")
            .f16()
            .with(usual)
            .x(|_| 6e4)
            .gamma_beta(2.0, 0.0)
            .equal(&["y", "variance"]),
        case("f16-eval", Easy, "evaluation in f16", "by f32 statistics")
            .f16()
            .with(usual)
            .normal(3.0, 1.0)
            .eval(&[3.0, 2.9, 3.1], &[1.0, 0.5, 2.0]),
        case("bf16-eval-mean-100", Hard, "evaluation in bf16 at mean 100", "by f32 statistics")
            .bf16()
            .with(usual)
            .normal(100.0, 1.0)
            .eval(&[100.1, 99.9, 100.0], &[1.0, 0.5, 2.0]),
    ];
    drafts.map(|draft| draft.done()).into()
}
