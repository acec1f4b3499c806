//! The directional derivative of a forward pass (JVP): the speed of the output, from those of input and parameters.

use crate::batch_norm::input::{BesideMemory, Input, InputKind};
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::parameters::ParameterDirection;
use batchnorm_kernel::passes::{Call, ChannelConstants, GradientSums, Layout, Readable, TangentCoefficients};
use batchnorm_kernel::{Element, View, ViewMut};

/// Calls to suggest in an error, by the kind of forward pass that has no derivative along a direction of its own.
pub(crate) struct Alternatives {
    pub part: &'static str,
    pub residual: &'static str,
}

const JVP_ALTERNATIVES: Alternatives = Alternatives {
    part: "call `jvp` on the whole batch",
    residual: "call `without_residual().jvp` and add the residual's own direction",
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
    /// behind an activation f times `f'(gamma * xhat + beta)`. With [weights](crate::Weights) all these means are weighted, and a
    /// masked value does not move; of a [renormalised](crate::Renormalization) pass r and d are constants. A channel whose gradient is
    /// [declared](crate::ConstantChannel) to be 0 does not move with x.
    ///
    /// The input must be the forward pass's, with its weights; gamma is that of the forward pass. Where the forward pass had a residual,
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
    /// Shapes and lengths that do not fit each other or the forward pass; a forward pass with a residual, or of a part of a batch,
    /// whose means nobody here knows. `out` is untouched then.
    pub fn jvp<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let others = [("direction", direction.layout()), ("out", out.layout())];
        let beside = self.check_directional(&JVP_ALTERNATIVES, input, parameters, &others)?;
        let sums = self.used_batch_statistics().then(|| self.direction_sums(input.x(), direction, beside.weights()));
        let coefficients = |channel: usize| {
            let parameters = self.batch_norm_parameters(channel, parameters.at(channel));
            self.tangent_coefficients(channel, sums.as_ref().map(|sums| sums[channel]), parameters)
        };
        let arrays = [input.x().memory(), direction.memory()];
        let (machine, activation) = (&self.machine, self.activation);
        T::operations().tangent(machine, activation, arrays, beside.weights(), out.memory(), &coefficients);
        Ok(())
    }

    /// Errors unless the pass has a derivative along a direction, being that of a whole batch without a residual, and unless the
    /// input, the parameters' direction and all other arrays fit it. Gives what stands beside x.
    pub(crate) fn check_directional<'i, 'v, T: Element>(
        &self,
        alternatives: &Alternatives,
        input: Input<'i, 'v, T>,
        parameters: ParameterDirection,
        others: &[(&'static str, &Layout)],
    ) -> Result<BesideMemory<'i, 'v, T>, CallError> {
        self.check_whole(alternatives.part)?;
        if self.kind == InputKind::WithResidual {
            return Err(CallError::OtherPass { forward: self.kind.description(), call: alternatives.residual });
        }
        let (x, beside) = (input.x(), input.check_backward(self.kind)?);
        others.iter().try_for_each(|&(argument, layout)| same_shape(argument, x.layout(), layout))?;
        self.check_size("x", x)?;
        parameters.check(self.channels())?;
        Ok(beside)
    }

    /// The sums of a direction and of its product with xhat about the batch's own mean, which moves with x whatever mean x is
    /// normalised by.
    pub(crate) fn direction_sums<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        weights: Option<&Readable<T>>,
    ) -> Vec<GradientSums> {
        let channels = ChannelConstants { xhat_low: self.channels.batch_xhat_low(), ..self.channel_constants() };
        let arrays = [x.memory(), direction.memory()];
        let mut sums = T::operations().direction_sums(&self.machine, channels, arrays, weights);
        // The loops give none for an empty batch.
        sums.resize(self.channels(), GradientSums::default());
        sums
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
