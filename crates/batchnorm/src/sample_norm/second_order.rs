//! Second derivatives of norms that do not look at the batch.

use crate::batch_norm::second_order::hvp_and_jvp;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use crate::sample_norm::grouping::in_parts;
use crate::sample_norm::saved::SampleSaved;
use batchnorm_kernel::passes::{Call, RowDirection, RowSecondDerivatives, pairwise_sum};
use batchnorm_kernel::{Element, View, ViewMut};

impl SampleSaved {
    /// The Hessian of `F = sum dy * y` by (x, gamma, beta) times a direction, which is how fast the gradients of
    /// [`backward`](Self::backward) move where x moves with x' (`direction`) and gamma with gamma', dy held: dx' into
    /// `out`, dgamma' and dbeta' = 0 returned. With r = 1 / sqrt(variance + eps), xhat the normalised input,
    /// g = gamma * dy, g' = gamma' * dy, the means over what was normalised together, w = r * (x' - mean(x')),
    /// p = mean(w * xhat), q = mean(g * xhat) and k = mean((g - mean(g)) * w) - p * q:
    ///
    /// - `dx' = r * (g' - mean(g') - xhat * mean(g' * xhat)) - r * (p * (g - mean(g)) + q * w + (k - 2 * p * q) * xhat)`,
    /// - `dgamma' = sum(dy * (w - xhat * p))`
    ///
    /// (RMS norms: without mean(x'), mean(g) and mean(g')). See [`Saved::hvp`](crate::Saved::hvp).
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `out` is untouched then.
    pub fn hvp<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        self.check(x, ("direction", direction), ("out", out.layout()))?;
        same_shape("dy", x.layout(), dy.layout())?;
        parameters.check(self.gamma.len()).map_err(|error| self.plan.in_elements(error))?;
        let zeros = ParameterGradients::zeros(self.gamma.len());
        if x.layout().is_empty() {
            return Ok(zeros);
        }
        let plan = &self.plan;
        let gamma_t: Vec<f64> = (0..self.gamma.len()).map(|at| parameters.at(at)[0]).collect();
        let gammas = [&self.gamma[..], &gamma_t].map(|values| plan.elements(values));
        let rows = RowSecondDerivatives {
            machine: &self.machine,
            numbers: &self.numbers,
            count: plan.count,
            period: plan.period,
            centred: self.centred,
            gammas: gammas.each_ref().map(|values| &values[..]),
        };
        let (parts, outs) = in_parts([x, dy, direction], out, &plan.arrangement);
        let arrays: Vec<_> = parts.iter().map(|arrays| arrays.each_ref()).collect();
        let directions: Vec<RowDirection> = arrays
            .iter()
            .zip(outs)
            .enumerate()
            .flat_map(|(part, (&arrays, mut out))| T::operations().rows_along(&rows, part, arrays, &mut out))
            .collect();
        let sums = T::operations().parameter_rows_along(&rows, &arrays, &directions);
        // A gamma belongs to all positions of its channel.
        let dgamma = sums.chunks(plan.positions).map(|sums| pairwise_sum(sums.len(), &|at| sums[at])).collect();
        Ok(ParameterGradients { dgamma, ..zeros })
    }

    /// The backward pass of the backward pass (double backward): as
    /// [`Saved::double_backward`](crate::Saved::double_backward), by [`hvp`](Self::hvp) and [`jvp`](Self::jvp).
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `by_x` and `by_dy` are untouched then.
    pub fn double_backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        of_dx: &View<T>,
        of_parameters: ParameterDirection,
        by_x: &mut ViewMut<T>,
        by_dy: &mut ViewMut<T>,
    ) -> Result<Vec<f64>, CallError> {
        let _call = Call::begin();
        let hvp = |by_x: &mut ViewMut<T>| self.hvp(x, dy, of_dx, of_parameters, by_x);
        let jvp = |by_dy: &mut ViewMut<T>| self.jvp(x, of_dx, of_parameters, by_dy);
        hvp_and_jvp([x, of_dx], by_x, by_dy, hvp, jvp)
    }
}
