//! What a forward pass takes.

use crate::element::Element;
use crate::error::CallError;
use crate::kernel::raw::Readable;
use crate::rule::same_shape;
use crate::saved::Kind;
use crate::view::{View, ViewMut};
use crate::weights::Weights;

/// What a forward pass takes: an array, and maybe a second one of the same shape that is added behind the scale and
/// shift, before the activation, or weights. A `&View` alone is an input too.
///
/// ```
/// use batchnorm::{Activation, Axes, Config, Input, View};
/// let mut layer = Config::pytorch().activation(Activation::Relu).channels(1).build()?;
/// let x = View::new(&[1.0f32, 3.0], &[2, 1], Axes::NCHW)?;
/// let shortcut = View::new(&[0.0f32, -5.0], &[2, 1], Axes::NCHW)?;
/// let y = layer.train(Input::adding(&x, &shortcut))?.y; // relu(norm(x) + shortcut)
/// assert_eq!(y.data(), [0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Input<'i, 'v, T: Clone> {
    x: &'i View<'v, T>,
    beside: Beside<'i, 'v, T>,
}

#[derive(Debug)]
enum Beside<'i, 'v, T: Clone> {
    Nothing,
    Residual(&'i View<'v, T>),
    Weights(&'i Weights<'v, T>),
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
    /// With a residual: the other way around the block, as in a residual network (He et al. 2016).
    pub fn adding(x: &'i View<'v, T>, residual: &'i View<'v, T>) -> Self {
        Input { x, beside: Beside::Residual(residual) }
    }

    /// With weights, or a mask. (A residual has no place beside them: add it to the output.)
    pub fn weighted(x: &'i View<'v, T>, weights: &'i Weights<'v, T>) -> Self {
        Input { x, beside: Beside::Weights(weights) }
    }

    /// The array that is normalised.
    pub(crate) fn x(&self) -> &'i View<'v, T> {
        self.x
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.beside {
            Beside::Nothing => Kind::Plain,
            Beside::Residual(_) => Kind::Adding,
            Beside::Weights(_) => Kind::Weighted,
        }
    }

    pub(crate) fn residual(&self) -> Option<&'i Readable<'v, T>> {
        match self.beside {
            Beside::Residual(residual) => Some(&residual.memory),
            _ => None,
        }
    }

    /// The weights, as an array of the input's shape. The input must have been [checked](Self::check).
    pub(crate) fn weights(&self) -> Option<Readable<'i, T>> {
        match self.beside {
            Beside::Weights(weights) => Some(weights.over(&self.x.layout).expect("checked before")),
            _ => None,
        }
    }

    /// Whether output and residual have the input's shape, and weights fit it.
    pub(crate) fn check(&self, y: &ViewMut<T>) -> Result<(), CallError> {
        same_shape("y", &self.x.layout, &y.layout)?;
        match self.beside {
            Beside::Residual(residual) => same_shape("residual", &self.x.layout, &residual.layout),
            _ => self.check_weights(),
        }
    }

    pub(crate) fn check_weights(&self) -> Result<(), CallError> {
        match self.beside {
            Beside::Weights(weights) => weights.over(&self.x.layout).map(drop),
            _ => Ok(()),
        }
    }
}
