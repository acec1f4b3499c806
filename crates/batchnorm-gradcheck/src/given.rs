//! Somebody's gradients, beside the problem that they are of.

use crate::array::{Axes, by_rows, one_channel_axis, same_shape};
use crate::error::ProblemError;
use crate::precision::{Held, Precision};
use crate::problem::Problem;
use batchnorm::{Element, View};

/// Gradients that somebody's code made, to be judged. Any of the three may be absent.
#[derive(Debug, Clone)]
pub struct Given<'p> {
    pub(crate) problem: &'p Problem,
    pub(crate) dx: Option<(Vec<f64>, Held)>,
    pub(crate) dgamma: Option<(Vec<f64>, Held)>,
    pub(crate) dbeta: Option<(Vec<f64>, Held)>,
}

impl Problem {
    /// Begins to judge gradients: of dx, dgamma and dbeta those that there are.
    ///
    /// ```
    /// use batchnorm_gradcheck::{Problem, Verdict};
    /// use batchnorm::{Axes, View};
    /// let (x, dy) = ([1.0f64, 2.0, 6.0, 4.0], [0.3, -1.0, 0.5, 0.1]);
    /// let [x, dy] = [&x, &dy].map(|values| View::new(values, &[4, 1], Axes::NCHW).unwrap());
    /// let problem = Problem::batch_norm(&x, &dy, &[1.5], 1e-5)?;
    ///
    /// // Somebody thinks that mean and variance are constants: dx = gamma / sqrt(variance + eps) * dy.
    /// let r = 1.0 / (3.6875f64 + 1e-5).sqrt();
    /// let theirs = [0.3, -1.0, 0.5, 0.1].map(|dy| 1.5 * r * dy);
    /// let theirs = View::new(&theirs, &[4, 1], Axes::NCHW)?;
    /// let diagnosis = problem.given().dx(&theirs)?.diagnose()?;
    /// let finding = diagnosis.dx.unwrap();
    /// assert_eq!(finding.verdict.mistakes()[0].name, "statistics treated as constants");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn given(&self) -> Given<'_> {
        Given { problem: self, dx: None, dgamma: None, dbeta: None }
    }
}

impl Given<'_> {
    /// The gradient of x, of its shape.
    ///
    /// # Errors
    /// Another shape.
    pub fn dx<T: Element>(mut self, dx: &View<T>) -> Result<Self, ProblemError> {
        let problem = self.problem;
        one_channel_axis("dx", dx)?;
        same_shape("dx", &problem.axes, &Axes::of(dx))?;
        let values = by_rows(dx, &problem.axes, &problem.rows);
        let held = Held::of(&values, Precision::of_type::<T>(), false);
        self.dx = Some((values, held));
        Ok(self)
    }

    /// The gradient of gamma, in gamma's order.
    ///
    /// # Errors
    /// Another length.
    pub fn dgamma<T: Element>(mut self, dgamma: &[T]) -> Result<Self, ProblemError> {
        self.dgamma = Some(self.vector("dgamma", dgamma)?);
        Ok(self)
    }

    /// The gradient of beta, in gamma's order.
    ///
    /// # Errors
    /// Another length.
    pub fn dbeta<T: Element>(mut self, dbeta: &[T]) -> Result<Self, ProblemError> {
        self.dbeta = Some(self.vector("dbeta", dbeta)?);
        Ok(self)
    }

    /// Values of dgamma or dbeta, with the precision they are held to.
    fn vector<T: Element>(&self, argument: &'static str, values: &[T]) -> Result<(Vec<f64>, Held), ProblemError> {
        let (expected, got) = (self.problem.rows.parameters(), values.len());
        if expected != got {
            let shape = self.problem.shape();
            let axis = shape.iter().position(|&length| length == got);
            let hint = axis.map_or(String::new(), |axis| {
                format!(": as many as axis {axis} of {shape:?} has; was it summed over the wrong axis?")
            });
            return Err(ProblemError::Length { argument, expected, got, hint });
        }
        let values: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
        let held = Held::of(&values, Precision::of_type::<T>(), self.problem.half_input);
        Ok((values, held))
    }
}
