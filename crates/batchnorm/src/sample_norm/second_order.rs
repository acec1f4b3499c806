//! Second derivatives of norms that do not look at the batch.

use crate::batch_norm::input::Input;
use crate::batch_norm::second_order::hvp_and_jvp;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use crate::sample_norm::saved::SampleSaved;
use batchnorm_kernel::passes::{Call, PlainPass};
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
    /// (RMS norms: without mean(x'), mean(g) and mean(g')). Behind an activation f, dy stands for
    /// `dy * f'(gamma * xhat + beta)`, and f' counts as constant. With weights, p and mean(x') are weighted means, the sums in
    /// q, k, mean(g) and mean(g') are divided by the sum of the weights, and each value's weight stands before what these make
    /// of it: `dx' = r * (g' - w * mean(g') - xhat * w * mean(g' * xhat)) - r * (p * (g - w * mean(g)) + w * q * u + w * (k - 2 * p * q) * xhat)`,
    /// where u is what is w above, and k is with g - w * mean(g). See [`Saved::hvp`](crate::Saved::hvp).
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `out` is untouched then.
    pub fn hvp<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let (x, weights) = (input.x(), self.check(input, ("direction", direction), ("out", out.layout()))?);
        same_shape("dy", x.layout(), dy.layout())?;
        parameters.check(self.gamma.len()).map_err(|error| self.plan.in_elements(error))?;
        let zeros = ParameterGradients::zeros(self.gamma.len());
        if x.layout().is_empty() {
            return Ok(zeros);
        }
        let gamma_t: Vec<f64> = (0..self.gamma.len()).map(|at| parameters.at(at)[0]).collect();
        let gamma_t = self.plan.elements(&gamma_t);
        let pass = PlainPass::SecondOrder(&gamma_t);
        let [_, dgamma] = self.plain_pass(pass, &[x, dy, direction], weights, out);
        Ok(ParameterGradients { dgamma, ..zeros })
    }

    /// The backward pass of the backward pass (double backward): as
    /// [`Saved::double_backward`](crate::Saved::double_backward), by [`hvp`](Self::hvp) and [`jvp`](Self::jvp).
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `by_x` and `by_dy` are untouched then.
    pub fn double_backward<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        of_dx: &View<T>,
        of_parameters: ParameterDirection,
        by_x: &mut ViewMut<T>,
        by_dy: &mut ViewMut<T>,
    ) -> Result<Vec<f64>, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let hvp = |by_x: &mut ViewMut<T>| self.hvp(input, dy, of_dx, of_parameters, by_x);
        let jvp = |by_dy: &mut ViewMut<T>| self.jvp(input, of_dx, of_parameters, by_dy);
        hvp_and_jvp([input.x(), of_dx], by_x, by_dy, hvp, jvp)
    }
}
