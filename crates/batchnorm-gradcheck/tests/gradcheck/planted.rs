//! Batch norm of one channel as people write it, node by node and in closed form, with one mistake planted. Written from
//! the computation graph of CS231n's assignment 2 and the usual closed form, not from the library's table.

use batchnorm_reference::Real;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flaw {
    Nothing,
    /// Node by node: nothing flows into the variance.
    NoVariancePath,
    /// Node by node: nothing flows into the mean.
    NoMeanPath,
    /// Both.
    Detached,
    /// 1 / (sqrt(v) + eps), with the derivative autodiff would give.
    EpsOutside,
    /// The same forward, and the closed form with that inverse.
    EpsOutsideCompact,
    /// The same, and the root's derivative with eps inside.
    EpsOutsideForward,
    /// eps nowhere.
    NoEps,
    /// eps forward, and not in the power of the backward pass.
    NoEpsBackward,
    /// torch.var(x), and what autodiff makes of it.
    SampleVariance,
    /// x.var(ddof=1), and the closed form with 1/n.
    SampleCompact,
    /// n - 1 in the two means of the backward pass.
    SampleBackward,
    /// sum(dy) without 1/n.
    SumOfDy,
    /// sum(dy * xhat) without 1/n.
    SumOfProducts,
    /// Both.
    BothSums,
    /// The 1/n in front forgotten.
    TimesN,
    NoGamma,
    GammaTwice,
    /// dout for dxhat in the path through the variance.
    NoGammaInVariance,
    MinusForgotten,
    /// + xhat mean(dy xhat).
    PlusProducts,
    /// x for x - mean in the sum of the variance path and in its factor.
    Uncentred,
    /// x for x - mean in the sum alone.
    UncentredSum,
    /// 2 (x - mean) without the 2.
    NoTwo,
    /// 1/2 of the root forgotten.
    NoHalf,
    /// dgamma = sum(dy * x).
    DgammaByX,
    /// dgamma = sum(dy * (x - mean)).
    DgammaByCentred,
    /// dgamma and dbeta as means.
    Means,
    /// sum(dxhat * xhat).
    DgammaWithGamma,
    Exchanged,
    /// The use of x - mean in the numerator forgotten.
    NoDirectPath,
    /// gamma * (...) without 1 / sqrt(v + eps).
    NoInverse,
}

/// Each flaw with the name it goes by, and whether it is seen in dx, dgamma and dbeta.
pub const FLAWS: &[(Flaw, &str, [bool; 3])] = {
    use Flaw::*;
    &[
        (NoVariancePath, "variance term dropped", [true, false, false]),
        (NoMeanPath, "mean term dropped", [true, false, false]),
        (Detached, "statistics treated as constants", [true, false, false]),
        (EpsOutside, "eps outside the root", [true, true, false]),
        (EpsOutsideCompact, "eps outside the root", [true, true, false]),
        (EpsOutsideForward, "eps outside the root", [true, true, false]),
        (NoEps, "eps left out", [true, true, false]),
        (NoEpsBackward, "eps left out", [true, false, false]),
        (SampleVariance, "sample instead of population variance", [true, true, false]),
        (SampleCompact, "sample instead of population variance", [true, true, false]),
        (SampleBackward, "sample instead of population variance", [true, false, false]),
        (SumOfDy, "sum instead of mean", [true, false, false]),
        (SumOfProducts, "sum instead of mean", [true, false, false]),
        (BothSums, "sum instead of mean", [true, false, false]),
        (TimesN, "factor n", [true, false, false]),
        (NoGamma, "gamma missing", [true, false, false]),
        (GammaTwice, "gamma applied twice", [true, false, false]),
        (NoGammaInVariance, "gamma missing", [true, false, false]),
        (MinusForgotten, "wrong sign", [true, false, false]),
        (PlusProducts, "wrong sign", [true, false, false]),
        (Uncentred, "xhat not centred", [true, false, false]),
        (UncentredSum, "xhat not centred", [true, false, false]),
        (NoTwo, "factor 2 in the variance term", [true, false, false]),
        (NoHalf, "factor 2 in the variance term", [true, false, false]),
        (DgammaByX, "dgamma by x instead of xhat", [false, true, false]),
        (DgammaByCentred, "dgamma by x - mean instead of xhat", [false, true, false]),
        (Means, "mean instead of sum", [false, true, true]),
        (DgammaWithGamma, "gamma in its own gradient", [false, true, true]),
        (Exchanged, "dgamma and dbeta exchanged", [false, true, true]),
        (NoDirectPath, "direct path dropped", [true, false, false]),
        (NoInverse, "inverse deviation missing or twice", [true, false, false]),
    ]
};

/// dx, dgamma and dbeta, all in the arithmetic of R, with running sums.
pub fn planted<R: Real>(x: &[R], gamma: R, eps: R, dout: &[R], flaw: Flaw) -> (Vec<R>, R, R) {
    use Flaw::*;
    let c = R::constant;
    let (zero, one, two, half) = (c(0.0), c(1.0), c(2.0), c(0.5));
    let n = c(x.len() as f64);
    let total = |values: &[R]| values.iter().fold(zero, |sum, &value| sum + value);
    let with = |one: &[R], other: &[R]| one.iter().zip(other).map(|(&a, &b)| a * b).collect::<Vec<R>>();
    let scaled = |values: &[R], by: R| values.iter().map(|&value| value * by).collect::<Vec<R>>();

    // Forward.
    let mu = total(x) / n;
    let xmu: Vec<R> = x.iter().map(|&x| x - mu).collect();
    let squares = total(&with(&xmu, &xmu));
    let var = match flaw {
        SampleVariance | SampleCompact => squares / (n - one),
        _ => squares / n,
    };
    let sqrtvar = match flaw {
        EpsOutside | EpsOutsideCompact | EpsOutsideForward => var.sqrt() + eps,
        NoEps => var.sqrt(),
        _ => (var + eps).sqrt(),
    };
    let ivar = one / sqrtvar;
    let xhat = scaled(&xmu, ivar);

    // Parameters.
    let mut dbeta = total(dout);
    let mut dgamma = total(&with(dout, &xhat));
    match flaw {
        DgammaByX => dgamma = total(&with(dout, x)),
        DgammaByCentred => dgamma = total(&with(dout, &xmu)),
        Means => (dgamma, dbeta) = (dgamma / n, dbeta / n),
        DgammaWithGamma => {
            let dxhat = scaled(dout, gamma);
            (dgamma, dbeta) = (total(&with(&dxhat, &xhat)), total(&dxhat));
        }
        Exchanged => (dgamma, dbeta) = (dbeta, dgamma),
        _ => {}
    }

    // Closed form, where that is how the mistake is made.
    let compact = |front: R, mean_of_dy: R, mean_of_products: R| {
        let inner = dout.iter().zip(&xhat).map(|(&dy, &xhat)| dy - mean_of_dy - xhat * mean_of_products);
        inner.map(|value| front * value).collect::<Vec<R>>()
    };
    let (sum_dy, sum_products) = (total(dout), total(&with(dout, &xhat)));
    let front = gamma * ivar;
    let closed = match flaw {
        EpsOutsideCompact | SampleCompact => Some(compact(front, sum_dy / n, sum_products / n)),
        SampleBackward => Some(compact(front, sum_dy / (n - one), sum_products / (n - one))),
        SumOfDy => Some(compact(front, sum_dy, sum_products / n)),
        SumOfProducts => Some(compact(front, sum_dy / n, sum_products)),
        BothSums => Some(compact(front, sum_dy, sum_products)),
        TimesN => Some(
            dout.iter()
                .zip(&xhat)
                .map(|(&dy, &xhat)| front * (n * dy - sum_dy - xhat * sum_products))
                .collect::<Vec<R>>(),
        ),
        NoGamma => Some(compact(ivar, sum_dy / n, sum_products / n)),
        GammaTwice => Some(compact(gamma * front, sum_dy / n, sum_products / n)),
        PlusProducts => Some(compact(front, sum_dy / n, -(sum_products / n))),
        NoInverse => Some(compact(gamma, sum_dy / n, sum_products / n)),
        _ => None,
    };
    if let Some(dx) = closed {
        return (dx, dgamma, dbeta);
    }

    // Node by node.
    let dxhat = scaled(dout, gamma);
    let into_variance = match flaw {
        NoGammaInVariance => dout.to_vec(),
        _ => dxhat.clone(),
    };
    let deviations = match flaw {
        Uncentred | UncentredSum => x.to_vec(),
        _ => xmu.clone(),
    };
    let divar = total(&with(&into_variance, &deviations));
    let dxmu1 = scaled(&dxhat, ivar);
    let dsqrtvar = -(divar / (sqrtvar * sqrtvar));
    let dvar = match flaw {
        EpsOutside | NoEps => half * dsqrtvar / var.sqrt(),
        NoEpsBackward => -(half * divar / (var * var.sqrt())),
        NoHalf => dsqrtvar / (var + eps).sqrt(),
        _ => half * dsqrtvar / (var + eps).sqrt(),
    };
    let dsq = match flaw {
        SampleVariance => dvar / (n - one),
        _ => dvar / n,
    };
    let factors = match flaw {
        Uncentred => x.to_vec(),
        _ => xmu,
    };
    let dxmu2 = match flaw {
        NoVariancePath | Detached => vec![zero; x.len()],
        NoTwo => scaled(&factors, dsq),
        _ => scaled(&factors, two * dsq),
    };
    let dx1: Vec<R> = match flaw {
        NoDirectPath => dxmu2.clone(),
        _ => dxmu1.iter().zip(&dxmu2).map(|(&a, &b)| a + b).collect(),
    };
    let dmu = match flaw {
        NoMeanPath | Detached => zero,
        MinusForgotten => total(&dx1),
        // (The path through the mean is that of the numerator; the centred values add up to 0.)
        Uncentred | NoDirectPath => -total(&dxmu1),
        _ => -total(&dx1),
    };
    let dx = dx1.iter().map(|&d| d + dmu / n).collect();
    (dx, dgamma, dbeta)
}
