//! The input of a pass: the array that is normalised, and maybe one beside it.

use crate::batch_norm::weights::Weights;
use crate::call_error::CallError;
use crate::check::same_shape;
use batchnorm_kernel::passes::{self, Layout, Readable};
use batchnorm_kernel::{Element, View};
use std::ops::Range;

/// The input of a pass: an array, and maybe one more. A `&View` alone is an input too.
///
/// | | forward | backward |
/// |---|---|---|
/// | an array alone | `&x` | `&x` |
/// | with a residual, which is added behind scale and shift and before the activation | [`Input::adding(&x, &residual)`](Self::adding) | [`Input::with_output(&x, &y)`](Self::with_output) |
/// | with weights or a mask | [`Input::weighted(&x, &weights)`](Self::weighted) | the same |
///
/// (Norms that do not look at the batch, [`SampleNorm`](crate::SampleNorm), take the first and the last.)
///
/// ```
/// use batchnorm::{Activation, Axes, Config, Input, View};
/// let mut layer = Config::pytorch().activation(Activation::Relu).channels(1).build()?;
/// let x = View::new(&[1.0f32, 3.0], &[2, 1], Axes::NCHW)?;
/// let shortcut = View::new(&[0.0f32, -5.0], &[2, 1], Axes::NCHW)?;
/// let trained = layer.train(Input::adding(&x, &shortcut))?; // relu(norm(x) + shortcut)
/// assert_eq!(trained.y.data(), [0.0, 0.0]);
///
/// let dy = View::new(&[1.0f32, 1.0], &[2, 1], Axes::NCHW)?;
/// let y = View::new(trained.y.data(), &[2, 1], Axes::NCHW)?;
/// let gradients = layer.backward(Input::with_output(&x, &y), &dy, &trained.saved)?;
/// assert_eq!(gradients.dresidual.map(|dresidual| dresidual.into_data()), Some(vec![0.0, 0.0])); // relu is flat there
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Input<'i, 'v, T: Clone> {
    x: &'i View<'v, T>,
    beside: Beside<'i, 'v, T>,
}

/// The second array of a pass.
#[derive(Debug)]
enum Beside<'i, 'v, T: Clone> {
    Nothing,
    Residual(&'i View<'v, T>),
    /// The output of a forward pass with a residual.
    Output(&'i View<'v, T>),
    Weights(&'i Weights<'v, T>),
}

/// The kind of a forward pass, by the array that it took beside x; its backward pass takes an input of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputKind {
    Plain,
    WithResidual,
    Weighted,
}

impl InputKind {
    /// Words for the forward pass in an error: "the saved forward pass was ...".
    pub fn description(self) -> &'static str {
        match self {
            InputKind::Plain => "without a residual and weights",
            InputKind::WithResidual => "with a residual",
            InputKind::Weighted => "with weights",
        }
    }

    /// Words for the input of its backward pass in an error.
    pub fn backward_input(self) -> &'static str {
        match self {
            InputKind::Plain => "&x",
            InputKind::WithResidual => "Input::with_output(&x, &y)",
            InputKind::Weighted => "Input::weighted(&x, &weights)",
        }
    }
}

impl<T: Clone> Clone for Input<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Clone> Copy for Input<'_, '_, T> {}

impl<T: Clone> Clone for Beside<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Clone> Copy for Beside<'_, '_, T> {}

impl<'i, 'v, T: Clone> From<&'i View<'v, T>> for Input<'i, 'v, T> {
    fn from(x: &'i View<'v, T>) -> Self {
        Input { x, beside: Beside::Nothing }
    }
}

impl<'i, 'v, T: Element> Input<'i, 'v, T> {
    /// The input of a forward pass with a residual, which comes around the block in a residual network (He et al.
    /// 2016).
    pub fn adding(x: &'i View<'v, T>, residual: &'i View<'v, T>) -> Self {
        Input { x, beside: Beside::Residual(residual) }
    }

    /// The input of the backward pass after a forward pass with a residual: that pass's input and output. The output
    /// tells the activation's derivative, so the residual itself need not be kept.
    pub fn with_output(x: &'i View<'v, T>, y: &'i View<'v, T>) -> Self {
        Input { x, beside: Beside::Output(y) }
    }

    /// The input of a pass with weights or a mask. (A residual has no place beside them: add it to the output.)
    pub fn weighted(x: &'i View<'v, T>, weights: &'i Weights<'v, T>) -> Self {
        Input { x, beside: Beside::Weights(weights) }
    }

    /// The array that is normalised.
    pub(crate) fn x(&self) -> &'i View<'v, T> {
        self.x
    }

    /// The kind of forward pass that it belongs to.
    pub(crate) fn kind(&self) -> InputKind {
        match self.beside {
            Beside::Nothing => InputKind::Plain,
            Beside::Residual(_) | Beside::Output(_) => InputKind::WithResidual,
            Beside::Weights(_) => InputKind::Weighted,
        }
    }

    /// The weights, if it has some.
    pub(crate) fn weights(&self) -> Option<&'i Weights<'v, T>> {
        match self.beside {
            Beside::Weights(weights) => Some(weights),
            _ => None,
        }
    }

    /// Errors unless it is the input of a forward pass: the second array must fit, and `y` have the input's shape.
    pub(crate) fn check_forward(&self, y: &Layout) -> Result<BesideMemory<'i, 'v, T>, CallError> {
        same_shape("y", self.x.layout(), y)?;
        match self.beside {
            Beside::Output(_) => Err(CallError::BackwardInput),
            _ => self.beside_memory(),
        }
    }

    /// Errors unless it is the input of the backward pass of a forward pass of this kind, and the second array fits.
    pub(crate) fn check_backward(&self, forward: InputKind) -> Result<BesideMemory<'i, 'v, T>, CallError> {
        match self.beside {
            Beside::Residual(_) => Err(CallError::ForwardInput),
            _ if self.kind() != forward => {
                let (forward, input) = (forward.description(), forward.backward_input());
                Err(CallError::OtherInput { forward, input })
            }
            _ => self.beside_memory(),
        }
    }

    /// The weights of the input of a norm that takes no residual, placed over the array; errors where it has a residual, or
    /// is of another kind than the forward pass's.
    pub(crate) fn check_sibling(&self, forward: Option<InputKind>) -> Result<Option<PlacedWeights<'i, T>>, CallError> {
        let kind = self.kind();
        if kind == InputKind::WithResidual {
            return Err(CallError::NoResidual);
        }
        if let Some(forward) = forward.filter(|&forward| forward != kind) {
            let (forward, input) = (forward.description(), forward.backward_input());
            return Err(CallError::OtherInput { forward, input });
        }
        self.weights().map(|weights| weights.repeated_over(self.x.layout())).transpose()
    }

    /// The second array, checked to fit the first.
    fn beside_memory(&self) -> Result<BesideMemory<'i, 'v, T>, CallError> {
        Ok(match self.beside {
            Beside::Nothing => BesideMemory::Nothing,
            Beside::Residual(residual) => {
                same_shape("residual", self.x.layout(), residual.layout())?;
                BesideMemory::Residual(residual.memory())
            }
            Beside::Output(y) => {
                same_shape("y", self.x.layout(), y.layout())?;
                BesideMemory::Residual(y.memory())
            }
            Beside::Weights(weights) => BesideMemory::Weights(weights.repeated_over(self.x.layout())?.1),
        })
    }
}

/// The input of a pass over some of the samples.
pub(crate) struct InputOfSamples<'i, T: Clone> {
    x: View<'i, T>,
    beside: BesideOfSamples<'i, T>,
}

/// The second array of such an input.
enum BesideOfSamples<'i, T: Clone> {
    Nothing,
    Residual(View<'i, T>),
    Output(View<'i, T>),
    Weights(Weights<'i, T>),
}

impl<'i, 'v: 'i, T: Element> Input<'i, 'v, T> {
    /// The same of some of the samples; of an input whose second array fits.
    pub(crate) fn of_samples(&self, range: Range<usize>) -> InputOfSamples<'i, T> {
        let layout = self.x.layout();
        let beside = match self.beside {
            Beside::Nothing => BesideOfSamples::Nothing,
            Beside::Residual(residual) => BesideOfSamples::Residual(residual.of_samples(range.clone())),
            Beside::Output(y) => BesideOfSamples::Output(y.of_samples(range.clone())),
            Beside::Weights(weights) if layout.samples == 0 => BesideOfSamples::Weights(weights.borrowed()),
            Beside::Weights(weights) => BesideOfSamples::Weights(weights.of_samples(layout.others[0], range.clone())),
        };
        InputOfSamples { x: self.x.of_samples(range), beside }
    }
}

impl<T: Element> InputOfSamples<'_, T> {
    /// The input that it holds.
    pub fn as_input(&self) -> Input<'_, '_, T> {
        let x = &self.x;
        match &self.beside {
            BesideOfSamples::Nothing => x.into(),
            BesideOfSamples::Residual(residual) => Input::adding(x, residual),
            BesideOfSamples::Output(y) => Input::with_output(x, y),
            BesideOfSamples::Weights(weights) => Input::weighted(x, weights),
        }
    }
}

/// Weights as an array of the input's shape, and how it lies.
pub(crate) type PlacedWeights<'w, T> = (Layout, Readable<'w, T>);

/// The second array of a pass, checked to fit the first.
pub(crate) enum BesideMemory<'i, 'v, T> {
    Nothing,
    Residual(&'i Readable<'v, T>),
    Weights(Readable<'i, T>),
}

impl<T> BesideMemory<'_, '_, T> {
    /// The weights, if these are what it is.
    pub fn weights(&self) -> Option<&Readable<'_, T>> {
        match self {
            BesideMemory::Weights(weights) => Some(weights),
            _ => None,
        }
    }

    /// The second array borrowed, as the loops take it.
    pub fn as_beside(&self) -> passes::Beside<'_, T> {
        match self {
            BesideMemory::Nothing => passes::Beside::Nothing,
            BesideMemory::Residual(residual) => passes::Beside::Residual(residual),
            BesideMemory::Weights(weights) => passes::Beside::Weights(weights),
        }
    }
}
