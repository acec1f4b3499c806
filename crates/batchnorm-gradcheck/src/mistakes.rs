//! The usual mistakes, as data: what is missing, how to mend it, and the gradients that each of them gives.
//!
//! A mistake has many variants: in closed form, or node by node with a term left out; in the forward pass with the
//! derivative that belongs to it, or in the backward pass alone. Each variant is a [`Line`] or a [`Multiplier`]; all variants
//! of a mistake go by its name.

use crate::problem::{Kind, Problem};
use crate::renormalized::{through_correction, uncorrected, without_r};
use crate::row::{Line, Multiplier, Row};
use crate::variants::*;

/// A mistake that gradients of batch norm are often made with.
pub struct Mistake {
    /// In a few words.
    pub name: &'static str,
    /// What is missing, in a sentence.
    pub missing: &'static str,
    /// How to mend it, in a sentence.
    pub mend: &'static str,
    /// Whether it can be made here at all.
    pub(crate) applies: fn(&Problem) -> bool,
    pub(crate) dx: fn(&Row) -> Vec<Line>,
    pub(crate) dgamma: fn(&Row) -> Vec<Multiplier>,
    pub(crate) dbeta: fn(&Row) -> Vec<Multiplier>,
    /// Whether all that is wrong may be the inverse standard deviation, or a factor: a lossy sum of squares may look like
    /// that too.
    pub(crate) of_deviation: bool,
    /// Whether it is asked for only where no other explains, because it can look like others.
    pub(crate) last: bool,
}

impl std::fmt::Debug for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Mistake {
    /// By name: each has its own.
    fn eq(&self, other: &Mistake) -> bool {
        self.name == other.name
    }
}

/// A mistake that can always be made, without variants.
pub(crate) const fn mistake(name: &'static str, missing: &'static str, mend: &'static str) -> Mistake {
    Mistake {
        name,
        missing,
        mend,
        applies: |_| true,
        dx: |_| Vec::new(),
        dgamma: |_| Vec::new(),
        dbeta: |_| Vec::new(),
        of_deviation: false,
        last: false,
    }
}

/// The formula of evaluation, by the statistics of the batch; `Given::diagnose` finds it by other statistics too.
pub(crate) const CONSTANTS: Mistake = Mistake {
    applies: Problem::is_centred,
    dx: |row| vec![row.line(row.factors(row.inverse)[0], 0.0, 0.0)],
    ..mistake(
        "statistics treated as constants",
        "mean and variance are functions of x, and both their terms are missing (the formula of evaluation)",
        "subtract mean(dy) and xhat * mean(dy * xhat); do not detach the statistics, nor compute them without gradient",
    )
};

/// Batch norm's gradient in place of batch renormalisation's.
pub(crate) const UNCORRECTED: Mistake = Mistake {
    applies: Problem::is_renormalized,
    dx: without_r,
    dgamma: uncorrected,
    ..mistake(
        "r or d left out",
        "what gamma multiplies is r * xhat + d: r is missing, or d, or both (the gradient of batch norm)",
        "dx has r in front, r * gamma / sqrt(variance + eps) * (...), and dgamma is sum(dy * (r * xhat + d))",
    )
};

/// The gradient whose values are all 0.
pub(crate) const NO_GRADIENT: Mistake = Mistake {
    dx: |row| vec![row.line(0.0, 0.0, 0.0)],
    dgamma: |_| vec![by(0.0, 0.0)],
    dbeta: |_| vec![by(0.0, 0.0)],
    last: true,
    ..mistake(
        "no gradient",
        "all values are 0: nothing flows back",
        "look for detached arrays, an update in place, or a gradient that was cleared before it was saved",
    )
};

/// Every mistake that [`Given::diagnose`](crate::Given::diagnose) knows within rows; [`ACROSS`](crate::ACROSS) has those of the
/// wrong axis.
///
/// ```
/// let names: Vec<&str> = batchnorm_gradcheck::MISTAKES.iter().map(|mistake| mistake.name).collect();
/// assert!(names.contains(&"variance term dropped"));
/// ```
pub static MISTAKES: &[Mistake] = &[
    Mistake {
        applies: Problem::is_scaled,
        dx: |row| {
            let [direct, level, _] = row.factors(row.inverse);
            vec![row.line(direct, level, 0.0)]
        },
        ..mistake(
            "variance term dropped",
            "the variance is a function of x too: -xhat * mean(dy * xhat) is missing",
            "subtract xhat * mean(dy * xhat) inside the brackets; staged: add the path through the variance",
        )
    },
    Mistake {
        applies: Problem::is_centred,
        dx: |row| {
            let [direct, _, slope] = row.factors(row.inverse);
            vec![row.line(direct, 0.0, slope)]
        },
        ..mistake(
            "mean term dropped",
            "the mean is a function of x too: -mean(dy) is missing",
            "subtract mean(dy) inside the brackets; staged: add the path through the mean to every value",
        )
    },
    CONSTANTS,
    UNCORRECTED,
    Mistake {
        applies: Problem::is_renormalized,
        dx: through_correction,
        ..mistake(
            "gradient through r and d",
            "r and d count as constants: here the gradient goes through one of them or both (unlimited, it is that of evaluation)",
            "detach r and d: tf.stop_gradient, torch.no_grad, jax.lax.stop_gradient",
        )
    },
    Mistake {
        applies: |problem| matches!(problem.kind, Kind::Constants { .. }),
        dx: training_in_evaluation,
        dgamma: |row| vec![by(row.unweighted_inverse(), row.unweighted_inverse() * (row.mean - row.unweighted.mean.0))],
        ..mistake(
            "training formula used after evaluation",
            "in evaluation mean and variance are constants: there is no path through them",
            "dx = gamma / sqrt(running variance + eps) * dy, and xhat by the running statistics",
        )
    },
    Mistake {
        applies: |problem| problem.epsilon > 0.0,
        dx: |row| {
            let outside = 1.0 / (row.variance.sqrt() + row.problem.epsilon);
            let mut variants = with_deviation(row, outside);
            // The derivative of 1 / (sqrt(v) + eps) itself.
            let root = if row.variance == 0.0 { f64::INFINITY } else { row.variance.sqrt() };
            let [direct, level, slope] = row.factors(outside);
            variants.push(row.line(direct, level, slope / outside / root).with(outside));
            variants
        },
        dgamma: |row| vec![by(1.0 / (row.variance.sqrt() + row.problem.epsilon), 0.0)],
        of_deviation: true,
        ..mistake(
            "eps outside the root",
            "eps belongs to the variance: 1 / sqrt(variance + eps), not 1 / (sqrt(variance) + eps)",
            "add eps before the root is taken, forward and backward",
        )
    },
    Mistake {
        applies: |problem| problem.epsilon > 0.0,
        dx: |row| with_deviation(row, 1.0 / row.variance.sqrt()),
        dgamma: |row| vec![by(1.0 / row.variance.sqrt(), 0.0)],
        of_deviation: true,
        ..mistake(
            "eps left out",
            "eps is missing under the root: 1 / sqrt(variance + eps)",
            "add eps to the variance wherever the root is taken, forward and backward",
        )
    },
    Mistake {
        applies: Problem::is_centred,
        dx: sample_variance,
        dgamma: |row| vec![by(sample_inverse(row), 0.0)],
        of_deviation: true,
        ..mistake(
            "sample instead of population variance",
            "the variance that normalises is divided by n, not by n - 1",
            "use ddof=0, correction=0 or unbiased=False; n - 1 is for running estimates alone",
        )
    },
    Mistake {
        applies: Problem::is_scaled,
        dx: sums_for_means,
        ..mistake(
            "sum instead of mean",
            "a term of dx has a sum where a mean belongs: 1/n is missing",
            "divide sum(dy) and sum(dy * xhat) by the number of values normalised together",
        )
    },
    Mistake {
        dx: |row| {
            let n = row.n;
            let [direct, level, slope] = row.factors(row.inverse);
            let right = row.right();
            vec![right.times(n), right.times(1.0 / n), row.line(direct / n, level, slope)]
        },
        dgamma: |row| vec![by(row.inverse * values_a_parameter(row), 0.0)],
        dbeta: |row| vec![by(0.0, values_a_parameter(row))],
        of_deviation: true,
        ..mistake(
            "factor n",
            "the gradient is n times too large or too small, or dy lacks the n of 1/n (n dy - sum(dy) - ...)",
            "in 1/n * gamma / sqrt(variance + eps) * (n dy - sum(dy) - xhat sum(dy xhat)) both n must be there",
        )
    },
    Mistake {
        dgamma: |row| means(row).map(|n| by(row.inverse / n, 0.0)).collect(),
        dbeta: |row| means(row).map(|n| by(0.0, 1.0 / n)).collect(),
        ..mistake(
            "mean instead of sum",
            "gamma and beta act on every value: their gradients are sums, not means",
            "take sum(dy * xhat) and sum(dy); an average over the batch is part of dy, if the loss has one",
        )
    },
    Mistake {
        applies: |problem| problem.kind == Kind::Batch && problem.samples_and_positions().into_iter().min() > Some(1),
        dx: wrong_count,
        ..mistake(
            "wrong count",
            "the means divide by the number of samples (or of positions) alone, not by all values of a channel",
            "divide by samples * positions: N * H * W behind a convolution",
        )
    },
    Mistake {
        applies: |problem| problem.gamma.iter().any(|gamma| *gamma != 1.0),
        dx: |row| by_powers_of_gamma(row, 0),
        ..mistake(
            "gamma missing",
            "dx goes through the scaling: gamma is missing, in all terms or in some",
            "multiply dy by gamma first (dxhat = gamma * dy), and use dxhat in every term of dx",
        )
    },
    Mistake {
        applies: |problem| problem.gamma.iter().any(|gamma| *gamma != 1.0),
        dx: |row| by_powers_of_gamma(row, 2),
        ..mistake(
            "gamma applied twice",
            "dx has gamma once: here dxhat is multiplied by it again, in all terms or in some",
            "use either dxhat = gamma * dy, or gamma in front of the brackets, not both",
        )
    },
    Mistake {
        applies: Problem::gamma_varies,
        dx: |row| vec![gamma_behind(row)],
        ..mistake(
            "gamma behind the means",
            "where each element has its own gamma, the means are of gamma * dy: here gamma is multiplied on afterwards",
            "compute dxhat = gamma * dy first, and take the means of dxhat and of dxhat * xhat",
        )
    },
    Mistake {
        applies: |problem| problem.gamma.iter().any(|gamma| *gamma != 1.0),
        dgamma: |row| vec![Multiplier { power: 1, ..by(row.inverse, 0.0) }],
        dbeta: |_| vec![Multiplier { power: 1, ..by(0.0, 1.0) }],
        ..mistake(
            "gamma in its own gradient",
            "dgamma and dbeta are sums of dy; here they are of gamma * dy (dxhat)",
            "take sum(dy * xhat) and sum(dy), with dy as it comes from above",
        )
    },
    Mistake {
        dx: wrong_signs,
        dgamma: |row| vec![by(-row.inverse, 0.0)],
        dbeta: |_| vec![by(0.0, -1.0)],
        ..mistake(
            "wrong sign",
            "a term has the other sign",
            "both terms are subtracted: dy - mean(dy) - xhat * mean(dy * xhat); 1/x and x - mean each bring a minus",
        )
    },
    Mistake {
        applies: |problem| problem.kind != Kind::RootMeanSquare,
        dx: uncentred,
        dgamma: |row| {
            let by_root = rms_inverse(row);
            vec![by(row.inverse, row.inverse * row.mean), by(by_root, by_root * row.mean)]
        },
        of_deviation: true,
        ..mistake(
            "xhat not centred",
            "xhat is (x - mean) / sqrt(variance + eps): the mean was not subtracted",
            "subtract the mean before dividing, and keep the centred values for the backward pass",
        )
    },
    Mistake {
        applies: |problem| problem.kind == Kind::RootMeanSquare,
        dx: |row| {
            let inverse = row.unweighted_inverse();
            let (product, size) = row.product_about(-row.unweighted.mean.0);
            let slope = inverse * inverse * inverse / row.n;
            let whole = row.line(inverse, inverse / row.n, 0.0).with(inverse);
            let centred = whole.less(slope * product, -row.unweighted.mean.0, slope * size);
            vec![centred, row.line(row.inverse, row.inverse / row.n, row.factors(row.inverse)[2])]
        },
        dgamma: |row| vec![by(row.unweighted_inverse(), -row.unweighted_inverse() * row.unweighted.mean.0)],
        ..mistake(
            "centred as in layer norm",
            "RMS norm does not subtract the mean, so that dx has no term in mean(dy)",
            "divide x by sqrt(mean(x^2) + eps) alone; dx = r * (g - xhat * mean(g * xhat)) with g = gamma * dy",
        )
    },
    Mistake {
        dgamma: |row| vec![by(1.0, row.mean)],
        ..mistake(
            "dgamma by x instead of xhat",
            "dgamma is sum(dy * xhat): here x itself was taken",
            "multiply dy by the normalised input, (x - mean) / sqrt(variance + eps)",
        )
    },
    Mistake {
        applies: |problem| problem.kind != Kind::RootMeanSquare,
        dgamma: |_| vec![by(1.0, 0.0)],
        ..mistake(
            "dgamma by x - mean instead of xhat",
            "dgamma is sum(dy * xhat): the division by the standard deviation is missing",
            "multiply dy by the normalised input, (x - mean) / sqrt(variance + eps)",
        )
    },
    Mistake {
        dgamma: |_| vec![by(0.0, 1.0)],
        dbeta: |row| vec![by(row.inverse, 0.0)],
        ..mistake(
            "dgamma and dbeta exchanged",
            "dgamma is sum(dy * xhat) and dbeta is sum(dy): here one is computed as the other",
            "check the order in which they are returned, and that dgamma has the factor xhat",
        )
    },
    Mistake {
        applies: Problem::is_scaled,
        dx: |row| {
            let [direct, level, slope] = row.factors(row.inverse);
            [2.0, 0.5].map(|factor| row.line(direct, level, slope * factor)).to_vec()
        },
        ..mistake(
            "factor 2 in the variance term",
            "the 2 of d(x - mean)^2 and the 1/2 of the root cancel: one of them is missing, or there twice",
            "staged: dvariance = -1/2 r^3 sum(dxhat * (x - mean)), and from there 2/n * (x - mean) * dvariance",
        )
    },
    Mistake {
        applies: Problem::is_scaled,
        dx: |row| {
            let [direct, level, slope] = row.factors(row.inverse);
            [-2, -1, 1, 2].map(|power| row.line(direct, level, slope * row.inverse.powi(power))).to_vec()
        },
        // (A large deviation to a wrong power leaves as good as nothing of the term, which has another name.)
        last: true,
        ..mistake(
            "wrong power in the variance term",
            "d (v + eps)^(-1/2) / dv is -1/2 (v + eps)^(-3/2): the power of the deviation is another",
            "staged: 1/deviation gives -1/deviation^2, and the root 1/2 / deviation: r^3 in all",
        )
    },
    Mistake {
        dx: |row| [-2, -1, 1].map(|power| row.right().times(row.inverse.powi(power))).to_vec(),
        of_deviation: true,
        ..mistake(
            "inverse deviation missing or twice",
            "dx has 1 / sqrt(variance + eps) in front once",
            "multiply the brackets by gamma / sqrt(variance + eps)",
        )
    },
    Mistake {
        applies: Problem::is_scaled,
        dx: |row| {
            let [_, level, slope] = row.factors(row.inverse);
            vec![row.line(0.0, level, slope), row.line(0.0, 0.0, slope), row.line(0.0, level, 0.0)]
        },
        ..mistake(
            "direct path dropped",
            "x reaches y directly too, not only through mean and variance: the term dy is missing",
            "add up all uses of x (and of x - mean) in the computation graph",
        )
    },
    Mistake {
        applies: |problem| problem.weights.is_some(),
        dx: weights_ignored,
        dgamma: |row| {
            vec![by(row.unweighted_inverse(), -row.unweighted_inverse() * (row.unweighted.mean.0 - row.mean))]
        },
        ..mistake(
            "weights ignored",
            "masked or weighted values count in mean and variance by their weight",
            "mean = sum(w x) / sum(w), and the terms of dx with w / sum(w); dx = 0 where w = 0",
        )
    },
    NO_GRADIENT,
    Mistake {
        applies: Problem::is_scaled,
        dx: |row| other_deviations(row).flat_map(|inverse| with_deviation(row, inverse)).collect(),
        dgamma: |row| other_deviations(row).map(|inverse| by(inverse, 0.0)).collect(),
        of_deviation: true,
        last: true,
        ..mistake(
            "another eps",
            "the gradient is right for another eps: 1e-3, 1e-4, 5e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, twice this one, or this one \
             subtracted",
            "give --epsilon as the layer has it; or add eps once",
        )
    },
];

/// The mistakes that can be made of a problem.
pub(crate) fn possible(problem: &Problem) -> Vec<&'static Mistake> {
    MISTAKES.iter().filter(|mistake| (mistake.applies)(problem)).collect()
}
