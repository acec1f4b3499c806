//! The buffers into which a backward pass writes the gradients of its inputs.

use crate::batch_norm::input::InputKind;
use crate::call_error::CallError;
use crate::check::same_shape;
use batchnorm_kernel::passes::{GradientOutputs, Layout};
use batchnorm_kernel::{Element, ViewMut};
use std::ops::Range;

/// The buffers of a backward pass: a `&mut ViewMut` for dx alone, and one for the residual's gradient where the forward
/// pass had a residual.
///
/// ```
/// use batchnorm::{Axes, BatchNorm, GradientBuffers, Input, View, ViewMut};
/// let layer = BatchNorm::new(1)?;
/// let x = View::new(&[1.0f64, 2.0, 6.0], &[3, 1], Axes::NCHW)?;
/// let trained = layer.forward_train(Input::adding(&x, &x))?;
/// let y = View::new(trained.y.data(), &[3, 1], Axes::NCHW)?;
///
/// let [mut dx, mut dresidual] = [[9.0; 3]; 2];
/// let mut dx = ViewMut::new(&mut dx, &[3, 1], Axes::NCHW)?;
/// let mut into_residual = ViewMut::new(&mut dresidual, &[3, 1], Axes::NCHW)?;
/// let buffers = GradientBuffers::with_residual(&mut dx, &mut into_residual);
/// trained.saved.backward(Input::with_output(&x, &y), &x, buffers)?;
/// assert_eq!(dresidual, [1.0, 2.0, 6.0]); // nothing follows the sum: dy itself
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GradientBuffers<'o, T> {
    dx: ViewMut<'o, T>,
    dresidual: Option<ViewMut<'o, T>>,
}

impl<'o, T: Element> From<&'o mut ViewMut<'_, T>> for GradientBuffers<'o, T> {
    fn from(dx: &'o mut ViewMut<'_, T>) -> Self {
        GradientBuffers { dx: dx.reborrow(), dresidual: None }
    }
}

impl<'o, T: Element> GradientBuffers<'o, T> {
    /// Buffers for dx and the residual's gradient.
    pub fn with_residual(dx: &'o mut ViewMut<'_, T>, dresidual: &'o mut ViewMut<'_, T>) -> Self {
        GradientBuffers { dx: dx.reborrow(), dresidual: Some(dresidual.reborrow()) }
    }

    /// Errors unless these are the buffers that a pass of this kind needs, of the input's shape.
    pub(crate) fn check(&self, x: &Layout, forward: InputKind) -> Result<(), CallError> {
        same_shape("dx", x, self.dx.layout())?;
        match (&self.dresidual, forward) {
            (Some(dresidual), InputKind::WithResidual) => same_shape("dresidual", x, dresidual.layout()),
            (None, InputKind::WithResidual) => Err(CallError::ResidualBuffer { expected: true }),
            (Some(_), _) => Err(CallError::ResidualBuffer { expected: false }),
            (None, _) => Ok(()),
        }
    }

    /// The buffers of some of the samples.
    pub(crate) fn of_samples(&mut self, range: Range<usize>) -> GradientBuffers<'_, T> {
        let dresidual = self.dresidual.as_mut().map(|dresidual| dresidual.of_samples(range.clone()));
        GradientBuffers { dx: self.dx.of_samples(range), dresidual }
    }

    /// The buffers borrowed, as the loops take them.
    pub(crate) fn outputs(&mut self) -> GradientOutputs<'_, T> {
        let dresidual = self.dresidual.as_mut().map(|dresidual| dresidual.memory().reborrow());
        GradientOutputs { dx: self.dx.memory().reborrow(), dresidual }
    }
}
