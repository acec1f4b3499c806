//! The directional derivative of a forward pass (JVP): the speed of the output, from those of input and parameters.

use crate::batch_norm::input::InputKind;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::parameters::ParameterDirection;
use batchnorm_kernel::passes::{
    Backward, Beside, Call, ChannelConstants, GradientSums, Layout, Statistics, TangentCoefficients,
};
use batchnorm_kernel::{Activation, Element, View, ViewMut};

/// Calls to suggest in an error, by the kind of forward pass that has no derivative along a direction of its own.
pub(crate) struct Alternatives {
    pub part: &'static str,
    pub residual: &'static str,
    pub weights: &'static str,
}

const JVP_ALTERNATIVES: Alternatives = Alternatives {
    part: "call `jvp` on the whole batch",
    residual: "call `without_residual().jvp` and add the residual's own direction",
    weights: "call `backward` with the weights: jvp is of passes without weights",
};

impl Saved {
    /// The directional derivative (Jacobian-vector product) of the forward pass that left this, into `out`: y' where x
    /// moves with x' (`direction`), gamma with gamma' and beta with beta'. It is the transpose of
    /// [`backward`](Self::backward): `<u, y'> = <dx, x'> + <dgamma, gamma'> + <dbeta, beta'>` for every upstream
    /// gradient u. With s = gamma / sqrt(variance + eps) and xhat the normalised input, each channel has
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
    /// Shapes and lengths that do not fit each other or the forward pass; a forward pass with a residual or weights, or
    /// of a part of a batch, whose means nobody here knows. `out` is untouched then.
    pub fn jvp<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        self.check_directional(
            &JVP_ALTERNATIVES,
            x,
            parameters,
            &[("direction", direction.layout()), ("out", out.layout())],
        )?;
        let sums = self.used_batch_statistics().then(|| {
            // xhat about the batch's own mean: that one moves with x, whatever mean x is normalised by.
            let about_batch_mean =
                ChannelConstants { xhat_low: self.channels.batch_xhat_low(), ..self.channel_constants() };
            let mut sums = self.gradient_sums(Activation::Identity, about_batch_mean, x, direction);
            sums.resize(self.channels(), GradientSums::default());
            sums
        });
        let coefficients = |channel: usize| {
            self.tangent_coefficients(channel, sums.as_ref().map(|sums| sums[channel]), parameters.at(channel))
        };
        let arrays = [x.memory(), direction.memory()];
        T::operations().tangent(&self.machine, self.activation, arrays, out.memory(), &coefficients);
        Ok(())
    }

    /// Errors unless the pass has a derivative along a direction, being that of a whole batch without residual and
    /// weights, and unless x, the parameters' direction and all other arrays fit it.
    pub(crate) fn check_directional<T: Element>(
        &self,
        alternatives: &Alternatives,
        x: &View<T>,
        parameters: ParameterDirection,
        others: &[(&'static str, &Layout)],
    ) -> Result<(), CallError> {
        self.check_whole(alternatives.part)?;
        let refused = match self.kind {
            InputKind::Plain => None,
            InputKind::WithResidual => Some(alternatives.residual),
            InputKind::Weighted => Some(alternatives.weights),
        };
        if let Some(call) = refused {
            return Err(CallError::OtherPass { forward: self.kind.description(), call });
        }
        others.iter().try_for_each(|&(argument, layout)| same_shape(argument, x.layout(), layout))?;
        self.check_size("x", x)?;
        parameters.check(self.channels())
    }

    /// The sums of an upstream gradient, or of a direction in its place, and of its product with xhat.
    pub(crate) fn gradient_sums<T: Element>(
        &self,
        activation: Activation,
        channels: ChannelConstants,
        x: &View<T>,
        dy: &View<T>,
    ) -> Vec<GradientSums> {
        let (machine, x, beside, statistics) = (&self.machine, x.memory(), Beside::Nothing, Statistics::Constants);
        T::operations().gradient_sums(Backward { machine, activation, channels, x, beside, statistics }, dy.memory())
    }

    /// Coefficients of y' of a channel; from the sums of x' and x' * (x - m) / deviation where the statistics depend on
    /// the batch, `None` where they are constants.
    fn tangent_coefficients(
        &self,
        channel: usize,
        sums: Option<GradientSums>,
        [gamma_t, beta_t]: [f64; 2],
    ) -> TangentCoefficients {
        let (mean, shift) = (self.channels.mean()[channel], self.channels.shift()[channel]);
        let (inverse_deviation, xhat_low) =
            (self.channels.inverse_deviation()[channel], self.channels.xhat_low()[channel]);
        let (scale, offset, xhat_factor) = match sums {
            None => (self.channels.scale()[channel], 0.0, gamma_t),
            Some(sums) => {
                let (n, scale, share) =
                    (self.channels.total_weight()[channel], self.gradient_scale(channel), self.batch_share);
                (scale, share * (sums.dy / n), gamma_t - scale * (share * (sums.dy_xhat / n)))
            }
        };
        let constant = beta_t - xhat_factor * xhat_low;
        TangentCoefficients { mean, scale, shift, offset, inverse_deviation, xhat_factor, constant }
    }
}
