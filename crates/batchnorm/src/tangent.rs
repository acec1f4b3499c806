//! The directional derivative of a forward pass (JVP): how fast the output moves when input and parameters do.

use crate::config::Activation;
use crate::element::Element;
use crate::error::CallError;
use crate::kernel::leaves::GradientSums;
use crate::kernel::pointwise::Coefficients;
use crate::layout::Layout;
use crate::rule::{same_length, same_shape};
use crate::saved::{Kind, Saved};
use crate::view::{View, ViewMut};

/// How fast gamma and beta move, one number for each of theirs; what is absent stands still.
///
/// ```
/// use batchnorm::ParameterDirection;
/// let of_beta_alone = ParameterDirection { beta: Some(&[1.0, 0.0]), ..ParameterDirection::default() };
/// assert_eq!(of_beta_alone.gamma, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ParameterDirection<'d> {
    /// gamma'.
    pub gamma: Option<&'d [f64]>,
    /// beta'.
    pub beta: Option<&'d [f64]>,
}

impl ParameterDirection<'_> {
    pub(crate) fn check(&self, expected: usize) -> Result<(), CallError> {
        for (argument, values) in [("direction of gamma", self.gamma), ("direction of beta", self.beta)] {
            values.map_or(Ok(()), |values| same_length(argument, expected, values.len()))?;
        }
        Ok(())
    }

    /// gamma' and beta' of one channel.
    pub(crate) fn of(&self, channel: usize) -> [f64; 2] {
        [self.gamma, self.beta].map(|values| values.map_or(0.0, |values| values[channel]))
    }
}

/// What to call instead of a derivative along a direction: after the pass of a part, with a residual, with weights.
pub(crate) struct Instead {
    pub part: &'static str,
    pub residual: &'static str,
    pub weights: &'static str,
}

const JVP: Instead = Instead {
    part: "jvp on the whole batch",
    residual: "without_residual().jvp, and add the residual's own direction",
    weights: "backward_weighted: jvp is of passes without weights",
};

impl Saved {
    /// The directional derivative (Jacobian-vector product) of the forward pass that left this, into `out`: y' where x
    /// moves with x' (`direction`), gamma with gamma' and beta with beta'. It is the transpose of
    /// [`backward`](Self::backward): `<u, y'> = <dx, x'> + <dgamma, gamma'> + <dbeta, beta'>` for every upstream gradient
    /// u. With s = gamma / sqrt(variance + eps) and xhat the normalised input, each channel has
    ///
    /// - after training: `y' = s * (x' - mean(x') - xhat * mean(x' * xhat)) + gamma' * xhat + beta'`,
    /// - after evaluation: `y' = s * x' + gamma' * xhat + beta'`,
    /// - by mixed statistics, w the batch's weight and m its mean:
    ///   `y' = s * (x' - w * mean(x') - w * xhat * mean(x' * (x - m) / sqrt(variance + eps))) + gamma' * xhat + beta'`,
    ///
    /// behind an activation f times `f'(gamma * xhat + beta)`. A channel whose gradient is
    /// [declared](crate::ConstantChannel) to be 0 does not move with x.
    ///
    /// `x` must be the forward pass's input; gamma is that of the forward pass. Where the forward pass had a residual,
    /// take [`without_residual`](Self::without_residual), add the residual's own x' to what comes, and of that the
    /// [`residual_gradient`](Self::residual_gradient), which multiplies by f'.
    ///
    /// ```
    /// use batchnorm::{Axes, BatchNorm, ParameterDirection, View, ViewMut};
    /// let layer = BatchNorm::new(1)?;
    /// let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
    /// let saved = layer.forward_train(&x)?.saved;
    /// // A shift of the whole batch moves nothing.
    /// let shift = View::new(&[1.0f64; 3], &[3, 1], Axes::NCHW)?;
    /// let mut moved = [9.0; 3];
    /// let mut out = ViewMut::new(&mut moved, &[3, 1], Axes::NCHW)?;
    /// saved.jvp(&x, &shift, ParameterDirection::default(), &mut out)?;
    /// assert!(moved.iter().all(|moved| moved.abs() < 1e-15));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Shapes and lengths that do not fit each other or the forward pass; a forward pass with a residual or weights, or of
    /// a part of a batch, whose means nobody here knows. `out` is untouched then.
    pub fn jvp<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        self.check_along(&JVP, x, parameters, &[("direction", &direction.layout), ("out", &out.layout)])?;
        let (isa, arrays) = (self.isa(), [&x.memory, &direction.memory]);
        // About the mean of the batch, which flows, whatever x is normalised by.
        let constants = [&self.mean, &self.scale, &self.shift, &self.inverse_deviation, &self.batch_lag];
        let sums = self.used_batch_statistics().then(|| {
            let constants = constants.map(|vector| &vector[..]);
            let mut sums = T::gradient_sums(isa, Activation::Identity, constants, arrays);
            sums.resize(self.channels(), GradientSums::default());
            sums
        });
        let all = Coefficients::new(self.channels(), |channel| {
            self.tangent(channel, sums.as_ref().map(|sums| sums[channel]), parameters.of(channel))
        });
        T::tangent(isa, self.activation, arrays, &mut out.memory, all);
        Ok(())
    }

    /// Whether a derivative along a direction is that of the pass: of a whole batch, without residual and weights, and of
    /// its shape, as all other arrays are.
    pub(crate) fn check_along<T: Element>(
        &self,
        instead: &Instead,
        x: &View<T>,
        parameters: ParameterDirection,
        others: &[(&'static str, &Layout)],
    ) -> Result<(), CallError> {
        self.check_whole(instead.part)?;
        let refused = match self.kind {
            Kind::Plain => None,
            Kind::Adding => Some(("with a residual", instead.residual)),
            Kind::Weighted => Some(("with weights", instead.weights)),
        };
        if let Some((forward, call)) = refused {
            return Err(CallError::OtherPass { forward, call });
        }
        others.iter().try_for_each(|&(argument, layout)| same_shape(argument, &x.layout, layout))?;
        self.check_size("x", x)?;
        parameters.check(self.channels())
    }

    /// The coefficients of a channel, with the sums of x' and x' * (x - m) / deviation where the statistics flow.
    fn tangent(&self, channel: usize, sums: Option<GradientSums>, [gamma_t, beta_t]: [f64; 2]) -> [f64; 7] {
        let (mean, shift) = (self.mean[channel], self.shift[channel]);
        let (inverse, lag) = (self.inverse_deviation[channel], self.lag[channel]);
        let Some(sums) = sums else {
            return [mean, self.scale[channel], shift, 0.0, inverse, gamma_t, beta_t - gamma_t * lag];
        };
        let (n, scale) = (self.total[channel], self.gradient_scale(channel));
        // What xhat is multiplied by.
        let turn = gamma_t - scale * (self.flow * (sums.dy_xhat / n));
        [mean, scale, shift, self.flow * (sums.dy / n), inverse, turn, beta_t - turn * lag]
    }
}
