//! Batch renormalisation: its problem, and the mistakes that are made with r and d.

use crate::correction::{Correction, Corrections};
use crate::error::ProblemError;
use crate::problem::Problem;
use crate::row::{Line, Multiplier, Row};
use batchnorm::{Element, RenormalizationLimits, View};

impl Problem {
    /// Batch renormalisation in training (Ioffe 2017): xhat by the batch, times r plus d, which take it towards the running mean and
    /// variance as far as the limits allow and are constants to the gradient.
    ///
    /// ```
    /// use batchnorm_gradcheck::Problem;
    /// use batchnorm::{Axes, RenormalizationLimits, View};
    /// let (x, dy) = ([2.0f64, 4.0, 9.0], [1.0f64, 0.0, 0.5]);
    /// let [x, dy] = [&x, &dy].map(|values| View::new(values, &[3, 1], Axes::NCHW).unwrap());
    /// let limits = RenormalizationLimits { r_max: 3.0, d_max: 5.0 };
    /// let problem = Problem::renormalized(&x, &dy, &[1.5], 1e-5, &[1.0], &[4.0], limits)?;
    /// // An autodiff that lets the gradient through r and d sees evaluation, of which dx is gamma dy / sqrt(running variance + eps).
    /// let dx = [1.0, 0.0, 0.5].map(|dy| 1.5 * dy / (4.0f64 + 1e-5).sqrt());
    /// let found = problem.given().dx(&View::new(&dx, &[3, 1], Axes::NCHW)?)?.diagnose()?;
    /// let named: Vec<&str> = found.dx.unwrap().verdict.mistakes().iter().map(|mistake| mistake.name).collect();
    /// assert!(named.contains(&"gradient through r and d"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`batch_norm`](Self::batch_norm) and [`evaluation`](Self::evaluation); r_max below 1, d_max below 0.
    pub fn renormalized<T: Element, U: Element>(
        x: &View<T>,
        dy: &View<U>,
        gamma: &[f64],
        epsilon: f64,
        mean: &[f64],
        variance: &[f64],
        limits: RenormalizationLimits,
    ) -> Result<Problem, ProblemError> {
        let RenormalizationLimits { r_max, d_max } = limits;
        for (argument, expected, least, got) in [("r_max", "1 or more", 1.0, r_max), ("d_max", "0 or more", 0.0, d_max)]
        {
            if got.is_nan() || got < least {
                return Err(ProblemError::Number { argument, expected, index: Vec::new(), got });
            }
        }
        Self::check_running(mean, variance, x.channels())?;
        let mut problem = Self::batch_norm(x, dy, gamma, epsilon)?;
        let mut corrections = Vec::with_capacity(mean.len());
        for (channel, (&mean, &variance)) in mean.iter().zip(variance).enumerate() {
            let row = Row::new(&problem, channel)?;
            let batch = [row.mean, (row.variance + epsilon).sqrt()];
            corrections.push(Correction::new(batch, [mean, variance], epsilon, [r_max, d_max]));
        }
        problem.corrections = Some(Corrections::new(corrections));
        Ok(problem)
    }

    /// Whether xhat is corrected by r and d.
    pub(crate) fn is_renormalized(&self) -> bool {
        self.corrections.is_some()
    }
}

/// The gradient that comes of it where r, d or both are functions of x.
pub(crate) fn through_correction(row: &Row) -> Vec<Line> {
    let (Some(correction), Some(all)) = (row.correction, &row.problem.corrections) else { return Vec::new() };
    let Correction { ratio, r, moves: [r_moves, d_moves], .. } = correction;
    let [direct, level, slope] = row.factors(row.inverse);
    // By the product rule r brings the variance term with 1 / S for r / s, and d the mean term.
    let part = ratio / r;
    let less = |moves: bool, factor: f64| if moves { factor - factor * part } else { factor };
    let (through_d, through_r) = (less(d_moves, level), less(r_moves, slope));
    // What is at its limit in every channel has no gradient that could go through it: that is no mistake.
    match all.some_move {
        [true, true] => vec![
            row.line(direct, through_d, through_r),
            row.line(direct, level, through_r),
            row.line(direct, through_d, slope),
        ],
        [true, false] => vec![row.line(direct, level, through_r)],
        [false, true] => vec![row.line(direct, through_d, slope)],
        [false, false] => Vec::new(),
    }
}

/// dx without r, where some channel has another than 1.
pub(crate) fn without_r(row: &Row) -> Vec<Line> {
    let differs = row.problem.corrections.as_ref().is_some_and(|all| all.differ[0]);
    if differs { vec![row.right().times(1.0 / row.r())] } else { Vec::new() }
}

/// dgamma's xhat without r, without d, without both, as far as these change it in some channel.
pub(crate) fn uncorrected(row: &Row) -> Vec<Multiplier> {
    let by = |r: f64, d: f64| Multiplier { slope: r * row.inverse, level: d, power: 0 };
    match row.problem.corrections.as_ref().map_or([false; 2], |all| all.differ) {
        [true, true] => vec![by(1.0, 0.0), by(row.r(), 0.0), by(1.0, row.d())],
        [true, false] | [false, true] => vec![by(1.0, 0.0)],
        [false, false] => Vec::new(),
    }
}
