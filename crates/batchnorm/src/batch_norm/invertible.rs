//! The backward pass from the output: the saved values of the invertible forward pass, and the channels that cannot do
//! without their input.

use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::gradients::ParameterGradients;
use crate::tensor::Tensor;
use batchnorm_kernel::passes::{
    Call, GradientSums, Layout, Machine, OutputBackward, OutputGradientCoefficients, Room, put_channels, row_major,
    take_channels,
};
use batchnorm_kernel::{Axes, Element, Moments, Parameter, View, ViewMut};

/// The saved values of an invertible forward pass
/// ([`Normalizer::train_invertible`](crate::Normalizer::train_invertible)): instead of its input, which y has
/// overwritten, the backward pass takes y.
///
/// With y = f(z) and z = gamma * xhat + beta, it computes
///
/// ```text
/// z    = y where y > 0, else y / slope        (of the identity: z = y)
/// xhat = (z - beta) / gamma
/// dz   = dy * f'(z)
/// dx   = gamma / sqrt(variance + eps) * (dz - mean(dz) - xhat * mean(dz * xhat))
/// ```
///
/// # Accuracy
/// y was rounded to its type, so each xhat differs from the ordinary form's by at most
///
/// ```text
/// e = c * (eps * (|beta| + |z|) + tiny * max(1, 1/slope)) / |gamma|
/// ```
///
/// with the type's machine epsilon and smallest positive number; c is 1 for `f32`, 8 for `f64`, where the arithmetic
/// rounds as coarsely as the storage. From that follow, with u = 2.2e-16 for the rounding of the arithmetic in both
/// forms (of sums of up to 1e8 values),
///
/// ```text
/// dbeta   the ordinary form's, to the bit
/// dgamma  differs by at most d = sum(|dz| e) + 100 u sum|dz xhat|
/// dx      differs by at most |gamma| / sqrt(variance + eps) * (e |mean(dz xhat)| + (|xhat| + e) d / n
///                                         + 8 u (|dz| + |mean(dz)| + |xhat mean(dz xhat)|))
/// ```
///
/// before dx is rounded. Relative to max(1, |xhat|), e is at most
/// `c * (eps * (2 |beta| / |gamma| + 1) + tiny * max(1, 1/slope) / |gamma|)`. **A channel where what c multiplies
/// exceeds 1024 eps keeps a copy of its input**: no xhat is off by more than 1.2e-4 in `f32` and 1.8e-12 in `f64`. So
/// does one whose y could overflow (|y| above a quarter of the largest number), or whose gamma / sqrt(variance + eps)
/// is no normal number. gamma = 0 is such a channel; one whose values are all alike is not, for its xhat is 0. A
/// channel with a kept input has the ordinary form's gradients, to the bit; one whose values are all alike has them but
/// for the sign of zeros.
///
/// All bits are the same over threads, tiers and layouts.
///
/// ```
/// use batchnorm::{Activation, Axes, Config, ViewMut, View};
/// let mut layer = Config::pytorch().activation(Activation::LeakyRelu(0.01)).channels(2).build()?;
/// let (shape, mut values) = ([3, 2], [1.0f32, 10.0, 3.0, 30.0, 4.0, 50.0]);
///
/// let mut x = ViewMut::new(&mut values, &shape, Axes::NCHW)?;
/// let (saved, _) = layer.train_invertible(&mut x)?; // values are y from here on
/// assert!(saved.kept_channels().is_empty());
///
/// let mut gradient = [1.0f32, 0.0, 0.0, 0.0, 0.0, 0.0]; // dy, and then dx
/// let mut dy = ViewMut::new(&mut gradient, &shape, Axes::NCHW)?;
/// let parameters = layer.backward_invertible(&View::new(&values, &shape, Axes::NCHW)?, &mut dy, &saved)?;
/// assert_eq!(parameters.dbeta.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Invertible<T> {
    saved: Saved,
    /// beta in the forward pass, of each channel.
    beta: Room,
    /// 1 / gamma of each channel; 0 where all values are alike, and where the input is kept.
    reciprocal: Vec<f64>,
    kept: Option<KeptChannels<T>>,
}

/// Channels that keep their input, with the saved values of an ordinary pass over them alone.
#[derive(Debug, Clone, PartialEq)]
struct KeptChannels<T> {
    channels: Vec<usize>,
    /// Their input, a row for each.
    x: Tensor<T>,
    saved: Saved,
}

/// Words for the copy in the error where there is no memory for it.
const KEPT_COPY: &str = "a copy of the channels that keep their input (`Invertible`), a row each,";

/// Largest error allowed of an xhat from y, in machine epsilons relative to max(1, |xhat|).
const MAX_XHAT_ERROR: f64 = 1024.0;

/// The factor 1 / gamma from z - beta to xhat; `None` where xhat cannot be had from y accurately enough. `inverse` is
/// the inverse standard deviation.
pub(crate) fn reciprocal<T: Parameter>([gamma, beta, slope]: [f64; 3], moments: &Moments, inverse: f64) -> Option<f64> {
    let (scale, shift) = (gamma.abs(), beta.abs());
    // Of n values none is further from the mean than sqrt(n) standard deviations.
    let largest_y = (shift + scale * (moments.count() as f64).sqrt()) * slope.max(1.0);
    // Values that are all alike have xhat = 0 whatever gamma is.
    let constant = moments.is_constant();
    let reciprocal = if constant { 0.0 } else { 1.0 / gamma };
    let rounding = T::EPSILON * (2.0 * shift + scale) + T::TINY * (1.0 / slope).max(1.0);
    // The scale of the forward pass must have all of its digits. (A channel that is not finite is NaN anyhow.)
    let scale_is_exact = constant || !moments.is_finite() || scale * inverse >= f64::MIN_POSITIVE;
    // Infinity and NaN compare false, so that such a channel keeps its input.
    let is_accurate = rounding * reciprocal.abs() <= MAX_XHAT_ERROR * T::EPSILON;
    (scale_is_exact && largest_y <= T::LARGEST / 4.0 && is_accurate).then_some(reciprocal)
}

impl<T: Element + Parameter> Invertible<T> {
    /// Copies the channels that must keep their input, `x`, before y overwrites it: those without a [`reciprocal`].
    pub(crate) fn new(saved: Saved, beta: Room, x: &View<T>, reciprocals: Vec<Option<f64>>) -> Result<Self, CallError> {
        let channels: Vec<usize> = (0..x.channels()).filter(|&channel| reciprocals[channel].is_none()).collect();
        let kept = if channels.is_empty() { None } else { Some(KeptChannels::new(&saved, x, channels)?) };
        let reciprocal = reciprocals.into_iter().map(|reciprocal| reciprocal.unwrap_or(0.0)).collect();
        Ok(Invertible { saved, beta, reciprocal, kept })
    }

    /// Saved values as of an ordinary pass.
    pub(crate) fn saved(&self) -> &Saved {
        &self.saved
    }

    /// The channels that keep a copy of their input, ascending.
    pub fn kept_channels(&self) -> &[usize] {
        self.kept.as_ref().map_or(&[], |kept| &kept.channels)
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.saved.channels()
    }

    /// The backward pass, dx over `dy`; the formulas and the accuracy are [above](Invertible). `y` must be the forward
    /// pass's output as it left it. gamma and beta are those of the forward pass, even if they were changed since.
    ///
    /// Needs memory for a second copy of the channels that keep their input, if there are any, and for nothing else
    /// that grows with the batch.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; no memory. `dy` is untouched then.
    pub fn backward(&self, y: &View<T>, dy: &mut ViewMut<T>) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let Invertible { saved, beta, reciprocal, kept } = self;
        same_shape("dy", y.layout(), dy.layout())?;
        saved.check_size("y", y)?;
        // The kept channels first, before dy is overwritten. The loops over all channels write something for these too,
        // which is replaced afterwards.
        let of_kept = kept.as_ref().map(|kept| kept.backward(&dy.as_view())).transpose()?;
        let coefficients = |channel: usize, sums: GradientSums| OutputGradientCoefficients {
            beta: beta[channel],
            gamma_reciprocal: reciprocal[channel],
            scale: saved.gradient_scale(channel),
            mean_dz: sums.dy / saved.channels.total_weight()[channel],
            mean_dz_xhat: sums.dy_xhat / saved.channels.total_weight()[channel],
        };
        let (machine, activation) = (&saved.machine, saved.activation);
        let pass = OutputBackward { machine, activation, beta, gamma_reciprocal: reciprocal, y: y.memory() };
        let sums = T::output_operations().backward_of_output(pass, dy.memory(), &coefficients);
        let mut gradients = saved.corrected_gradients(ParameterGradients::from_sums(sums, saved.channels()));
        if let Some((dx, of_kept)) = of_kept {
            put_channels(machine, rows(&dx).memory(), self.kept_channels(), dy.memory());
            for (row, &channel) in self.kept_channels().iter().enumerate() {
                gradients.dgamma[channel] = of_kept.dgamma[row];
                gradients.dbeta[channel] = of_kept.dbeta[row];
            }
        }
        Ok(gradients)
    }
}

impl<T: Element> KeptChannels<T> {
    /// Copies these channels of x.
    fn new(saved: &Saved, x: &View<T>, channels: Vec<usize>) -> Result<Self, CallError> {
        let (x, ()) = copied(&saved.machine, "x", x, &channels, |_| Ok(()))?;
        Ok(KeptChannels { saved: saved.of_channels(&channels), x, channels })
    }

    /// dx of these channels, and their parameters' gradients, by the ordinary backward pass.
    fn backward(&self, dy: &View<T>) -> Result<(Tensor<T>, ParameterGradients), CallError> {
        copied(&self.saved.machine, "dy", dy, &self.channels, |dy| self.saved.backward_in_place(&rows(&self.x), dy))
    }
}

/// A copy of some channels of an array, a row for each, after `then` has worked on it, and what that returned.
fn copied<T: Element, R>(
    machine: &Machine,
    argument: &'static str,
    from: &View<T>,
    channels: &[usize],
    then: impl FnOnce(&mut ViewMut<T>) -> Result<R, CallError>,
) -> Result<(Tensor<T>, R), CallError> {
    let shape = [channels.len(), from.count()];
    let layout = Layout::new(&shape, row_major(&shape), Axes::Channel(0)).expect("part of an array that is one");
    let copied = Tensor::filled(&layout, |rows| {
        take_channels(machine, from.memory(), channels, rows.memory());
        then(rows)
    });
    copied.map_err(|error| match error {
        CallError::Memory { bytes, shape, .. } => CallError::Memory { argument, what: KEPT_COPY, bytes, shape },
        other => other,
    })
}

/// A view of an array that has a row for each channel.
fn rows<T: Element>(tensor: &Tensor<T>) -> View<'_, T> {
    View::new(tensor.data(), tensor.shape(), Axes::Channel(0)).expect("it was made so")
}
