//! Second derivatives of a pass, from what it left: the Hessian times a direction, and the backward pass of the
//! backward pass.

use crate::batch_norm::input::Input;
use crate::batch_norm::saved::Saved;
use crate::batch_norm::tangent::Alternatives;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use batchnorm_kernel::passes::{Call, GradientAlongCoefficients, GradientSums};
use batchnorm_kernel::{Element, View, ViewMut};

const HVP_ALTERNATIVES: Alternatives =
    Alternatives { part: "call `hvp` on the whole batch", residual: "call `without_residual().hvp` with dy times f'" };

/// The sums over a channel that second derivatives need.
#[derive(Clone, Copy, Default)]
struct SecondOrderSums {
    /// Sums of dz, and of dz xhat.
    upstream: GradientSums,
    /// Sums of x', and of x' xhat (about the batch's own mean).
    direction: GradientSums,
    /// Sum of dz x'.
    product: f64,
}

/// Writes both products of a double backward pass, or on an error neither, and returns the gradient by gamma. `jvp`
/// must not fail after `hvp` did not.
pub(crate) fn hvp_and_jvp<T: Element>(
    [x, of_dx]: [&View<T>; 2],
    by_x: &mut ViewMut<T>,
    by_dy: &mut ViewMut<T>,
    hvp: impl FnOnce(&mut ViewMut<T>) -> Result<ParameterGradients, CallError>,
    jvp: impl FnOnce(&mut ViewMut<T>) -> Result<(), CallError>,
) -> Result<Vec<f64>, CallError> {
    same_shape("of_dx", x.layout(), of_dx.layout())?;
    same_shape("by_x", x.layout(), by_x.layout())?;
    same_shape("by_dy", x.layout(), by_dy.layout())?;
    let by_parameters = hvp(by_x)?;
    jvp(by_dy)?;
    Ok(by_parameters.dgamma)
}

impl Saved {
    /// The Hessian of `F = sum dy * y` by (x, gamma, beta) times a direction, which is how fast the gradients of
    /// [`backward`](Self::backward) move where x moves with x' (`direction`) and gamma with gamma', dy held: dx' into
    /// `out`, dgamma' and dbeta' returned. With s = gamma / sqrt(variance + eps), r = 1 / sqrt(variance + eps), xhat
    /// the normalised input, p = mean(x' * xhat), q = mean(dy * xhat) and
    /// k = mean(dy * x') - mean(dy) * mean(x') - p * q, each channel of n values has
    ///
    /// - after training:
    ///   `dx' = gamma' * r * (dy - mean(dy) - xhat * q) - s * r * (p * (dy - mean(dy)) + q * (x' - mean(x')) + (k - 2 * p * q) * xhat)`
    ///   and `dgamma' = n * r * k`,
    /// - after evaluation: `dx' = gamma' * r * dy`, `dgamma' = r * sum(dy * x')`,
    /// - by mixed statistics of weight w: as after training with w before mean(dy), in k before both products, and
    ///   before whatever came through the variance ([`reference::second_order`](crate::reference::second_order) has it
    ///   line by line),
    /// - all: `dbeta' = 0`, and beta' does not matter.
    ///
    /// With [weights](crate::Weights) the sums of dy and of dy times something are over the values that count, those of x' weighted, n is
    /// the sum of the weights, and what came through the statistics counts as often as its value:
    /// `dx' = gamma' * r * (dy - v * mean(dy) - v * xhat * q) - s * r * (p * (dy - v * mean(dy)) + v * q * (x' - mean(x')) + v * (k - 2 * p * q) * xhat)`
    /// for a value of weight v. Of a [renormalised](crate::Renormalization) pass r and d are constants.
    ///
    /// Behind an activation f, dy stands for `dy * f'(gamma * xhat + beta)`; f' counts as constant, as it is but at 0.
    /// A channel whose gradient is [declared](crate::ConstantChannel) to be 0 has dx' = 0 and dgamma' = 0.
    ///
    /// For a loss whose own gradient dy moves with dy', the whole Hessian-vector product is this plus
    /// [`backward`](Self::backward) of dy'; for `L(y)`, dy' is L's Hessian times [`jvp`](Self::jvp).
    ///
    /// ```
    /// use batchnorm::{Axes, BatchNorm, ParameterDirection, View, ViewMut};
    /// let layer = BatchNorm::new(1)?;
    /// let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
    /// let dy = View::new(&[1.0f64, 0.0, 0.0], &[3, 1], Axes::NCHW)?;
    /// let saved = layer.forward_train(&x)?.saved;
    /// // A shift of the whole batch does not move the gradient.
    /// let shift = View::new(&[1.0f64; 3], &[3, 1], Axes::NCHW)?;
    /// let mut moved = [9.0; 3];
    /// let mut out = ViewMut::new(&mut moved, &[3, 1], Axes::NCHW)?;
    /// let of_parameters = saved.hvp(&x, &dy, &shift, ParameterDirection::default(), &mut out)?;
    /// assert!(moved.iter().all(|moved| moved.abs() < 1e-15) && of_parameters.dgamma[0].abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        let others = [("dy", dy.layout()), ("direction", direction.layout()), ("out", out.layout())];
        let beside = self.check_directional(&HVP_ALTERNATIVES, input, parameters, &others)?;
        let (x, machine, activation, channels) = (input.x(), &self.machine, self.activation, self.channel_constants());
        // Where the statistics are constants, only the products dz x' matter.
        let [upstream_sums, along_sums] = if self.used_batch_statistics() {
            let pass = self.pass(x, beside.as_beside());
            let upstream = T::operations().gradient_sums(pass, dy.memory());
            [upstream, self.direction_sums(x, direction, beside.weights())]
        } else {
            [Vec::new(), Vec::new()]
        };
        let arrays = [x.memory(), dy.memory(), direction.memory()];
        let products = T::operations().sums_along(machine, activation, channels, arrays, beside.weights());
        let sums = |channel: usize| SecondOrderSums {
            upstream: upstream_sums.get(channel).copied().unwrap_or_default(),
            direction: along_sums.get(channel).copied().unwrap_or_default(),
            product: products.get(channel).map_or(0.0, |sums| sums.dy_xhat),
        };
        let coefficients = |channel| {
            let [gamma_t, _] = self.batch_norm_parameters(channel, parameters.at(channel));
            self.gradient_along_coefficients(channel, sums(channel), gamma_t)
        };
        T::operations().gradient_along(machine, activation, arrays, beside.weights(), out.memory(), &coefficients);
        let dgamma = |channel| {
            self.channels.inverse_deviation()[channel]
                * self.channels.total_weight()[channel]
                * self.curvature(channel, sums(channel))
        };
        let channels = 0..self.channels();
        Ok(self.corrected_gradients(ParameterGradients {
            // 0 for an empty batch, as its gradients are: the formula divides by n = 0.
            dgamma: channels.clone().map(|channel| if self.count == 0 { 0.0 } else { dgamma(channel) }).collect(),
            dbeta: channels.map(|_| 0.0).collect(),
        }))
    }

    /// The backward pass of the backward pass (double backward): an outer function S of dx, dgamma and dbeta has the
    /// gradients `of_dx` (of dx) and `of_parameters` (of dgamma and dbeta) there; those of S by x and by dy are
    /// written to `by_x` and `by_dy`, and that by gamma is returned. (S does not depend on beta but behind an
    /// activation at 0.) Since the Hessian is symmetric and [`jvp`](Self::jvp) the transpose of
    /// [`backward`](Self::backward),
    ///
    /// - by x, and by gamma: [`hvp`](Self::hvp) along (`of_dx`, `of_parameters`),
    /// - by dy: [`jvp`](Self::jvp) along the same.
    ///
    /// This is what a gradient penalty needs, and what PyTorch calls double backward.
    ///
    /// ```
    /// use batchnorm::{Axes, BatchNorm, ParameterDirection, View, ViewMut};
    /// let layer = BatchNorm::new(1)?;
    /// let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
    /// let dy = View::new(&[1.0f64, 0.0, 0.0], &[3, 1], Axes::NCHW)?;
    /// let trained = layer.forward_train(&x)?;
    /// let dx = layer.backward(&x, &dy, &trained.saved)?.dx;
    /// // A penalty S = 1/2 sum dx^2, whose gradient by dx is dx.
    /// let [mut by_x, mut by_dy] = [[0.0; 3]; 2];
    /// let by_gamma = trained.saved.double_backward(
    ///     &x,
    ///     &dy,
    ///     &View::new(dx.data(), &[3, 1], Axes::NCHW)?,
    ///     ParameterDirection::default(),
    ///     &mut ViewMut::new(&mut by_x, &[3, 1], Axes::NCHW)?,
    ///     &mut ViewMut::new(&mut by_dy, &[3, 1], Axes::NCHW)?,
    /// )?;
    /// // dx is proportional to gamma = 1, so S by gamma is sum dx^2.
    /// assert!((by_gamma[0] - dx.data().iter().map(|dx| dx * dx).sum::<f64>()).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// k, the speed of mean(dz xhat) times the deviation.
    fn curvature(&self, channel: usize, SecondOrderSums { upstream, direction, product }: SecondOrderSums) -> f64 {
        let (n, w) = (self.channels.total_weight()[channel], self.batch_share);
        let (p, q) = (direction.dy_xhat / n, upstream.dy_xhat / n);
        product / n - w * (upstream.dy / n * (direction.dy / n)) - w * (p * q)
    }

    /// Coefficients of dx' of a channel, where gamma moves with `gamma_t`.
    fn gradient_along_coefficients(
        &self,
        channel: usize,
        sums: SecondOrderSums,
        gamma_t: f64,
    ) -> GradientAlongCoefficients {
        let (n, w, xhat_low) =
            (self.channels.total_weight()[channel], self.batch_share, self.channels.batch_xhat_low()[channel]);
        let inverse_deviation = self.channels.inverse_deviation()[channel];
        let constants = GradientAlongCoefficients {
            mean: self.channels.mean()[channel],
            scale: self.channels.scale()[channel],
            shift: self.channels.shift()[channel],
            inverse_deviation,
            dz_factor: gamma_t * inverse_deviation,
            dz_offset: 0.0,
            direction_factor: 0.0,
            direction_offset: 0.0,
            xhat_factor: 0.0,
            constant: 0.0,
        };
        if w == 0.0 {
            // The statistics are constants. The sums play no part: infinite ones times w = 0 would be NaN.
            return constants;
        }
        let SecondOrderSums { upstream, direction, .. } = sums;
        let (p, q) = (direction.dy_xhat / n, upstream.dy_xhat / n);
        // From here on, what flows through the statistics: these depend on x by the share w.
        let scaled_share = w * self.gradient_scale(channel);
        let curvature = self.curvature(channel, sums) - 2.0 * w * (p * q);
        let xhat_factor = -scaled_share * (inverse_deviation * curvature) - gamma_t * inverse_deviation * (w * q);
        GradientAlongCoefficients {
            dz_factor: gamma_t * inverse_deviation - scaled_share * (inverse_deviation * p),
            dz_offset: w * (upstream.dy / n),
            direction_factor: -scaled_share * q,
            direction_offset: direction.dy / n,
            xhat_factor,
            constant: -xhat_factor * xhat_low,
            ..constants
        }
    }
}
