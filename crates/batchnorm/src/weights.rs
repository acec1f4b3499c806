//! How much each value of a batch counts: masks and weights.

use crate::element::Element;
use crate::error::{CallError, ViewError, WeightsError};
use crate::kernel::raw::Readable;
use crate::layer::{BatchNorm, Gradients};
use crate::layout::{Layout, elements, row_major};
use crate::rule::same_shape;
use crate::saved::{Kind, ParameterGradients, Saved};
use crate::view::{Tensor, View, ViewMut};
use std::borrow::Cow;

/// A weight for each value, or for many values at once: an array of the input's rank in which every axis has the input's
/// length, or 1 where the weights along it are all the same. `[n, 1, 1, 1]` weighs the samples of an `[n, c, h, w]` batch,
/// `[n, 1, h, w]` the positions of each.
///
/// A weight says how often a value counts. Of each channel, with W = sum w over its values,
///
/// ```text
/// mean = 1/W sum w x        variance = 1/W sum w (x - mean)^2        sample variance = sum w (x - mean)^2 / (W - 1)
/// ```
///
/// so that weights of 2 give what the values twice over give, and weights of 1 what no weights give, to about 1e-16. (Weights
/// that say something else, such as importance: scale them to sum up to the number of values.)
///
/// A value of weight 0 is masked: it is not looked at, and may be NaN; its output is 0 and its dx is 0. All others are
/// normalised by the same statistics, whatever their weight, and
///
/// ```text
/// dx = gamma / sqrt(variance + eps) * (dy - w/W sum dy - xhat w/W sum(dy xhat))
/// ```
///
/// with sums over the values that are not masked. (The weight of a value in the *loss* is in dy.) A channel that is all masked
/// goes by [`EmptyBatch`](crate::EmptyBatch), one with a single value or with W <= 1 by [`SingleValue`](crate::SingleValue)
/// (under `UseRunning` the whole batch is normalised by the running statistics then).
///
/// ```
/// use batchnorm::{Axes, BatchNorm, Input, View, Weights};
/// let mut layer = BatchNorm::new(1)?;
/// // Two sequences of three steps, the second one a step shorter: what pads it is not data.
/// let x = [1.0f32, 2.0, 3.0, 5.0, 9.0, f32::NAN];
/// let x = View::new(&x, &[2, 1, 3], Axes::NCHW)?;
/// let mask = Weights::mask(&[true, true, true, true, true, false], &[2, 1, 3])?;
///
/// let trained = layer.train(Input::weighted(&x, &mask))?;
/// assert_eq!(trained.batch.channels()[0].count(), 5);
/// assert_eq!(trained.batch.channels()[0].mean(), 4.0);
/// assert_eq!(trained.y.data()[5], 0.0);
///
/// let dy = View::new(&[0.5f32; 6], &[2, 1, 3], Axes::NCHW)?;
/// let gradients = layer.backward_weighted(&x, &dy, &mask, &trained.saved)?;
/// assert_eq!(gradients.dbeta, Some(vec![2.5]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weights<'w, T: Clone> {
    values: Cow<'w, [T]>,
    shape: Vec<usize>,
}

impl<'w, T: Element> Weights<'w, T> {
    /// Dense weights in row-major order, in the input's number type: what comes is what counts, and is not rounded.
    ///
    /// # Errors
    /// A buffer of another length than the shape's product; a weight that is negative, NaN or infinite.
    pub fn new(values: &'w [T], shape: &[usize]) -> Result<Self, WeightsError> {
        Self::from_cow(Cow::Borrowed(values), shape)
    }

    fn from_cow(values: Cow<'w, [T]>, shape: &[usize]) -> Result<Self, WeightsError> {
        let (expected, got) = (elements(shape)?, values.len());
        if expected != got {
            return Err(ViewError::Length { shape: shape.to_vec(), expected, got }.into());
        }
        let right = |weight: &T| (0.0..f64::INFINITY).contains(&weight.to_f64());
        match values.iter().position(|weight| !right(weight)) {
            Some(at) => Err(WeightsError::NoWeight { at, got: values[at].to_f64() }),
            None => Ok(Weights { values, shape: shape.to_vec() }),
        }
    }

    /// Weights 1 where the mask is true, 0 where it is false.
    ///
    /// # Errors
    /// A mask of another length than the shape's product.
    pub fn mask(mask: &[bool], shape: &[usize]) -> Result<Self, WeightsError> {
        let values = mask.iter().map(|&counts| T::from_f64(f64::from(u8::from(counts)))).collect();
        Self::from_cow(Cow::Owned(values), shape)
    }

    /// The weights, dense in row-major order of their own [shape](Self::shape).
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Lengths of the axes: those of the input, or 1 where weights are to be repeated.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// As an array of the input's shape.
    pub(crate) fn over(&self, x: &Layout) -> Result<Readable<'_, T>, CallError> {
        self.view_over(x).map(|view| view.memory)
    }

    /// The same with its layout.
    pub(crate) fn view_over(&self, x: &Layout) -> Result<View<'_, T>, CallError> {
        let fits = |(&own, &length): (&usize, &usize)| own == length || own == 1;
        if self.shape.len() != x.shape.len() || !self.shape.iter().zip(&x.shape).all(fits) {
            return Err(CallError::WeightsShape { expected: x.shape.clone(), got: self.shape.clone() });
        }
        let dense = row_major(&self.shape).into_iter().zip(&self.shape);
        let strides = dense.map(|(stride, &length)| if length == 1 { 0 } else { stride }).collect();
        let layout = Layout { strides, ..x.clone() };
        Ok(View { memory: Readable::from_slice(&self.values, 0, &layout), layout })
    }
}

impl Saved {
    /// The backward pass of a forward pass with weights ([`Input::weighted`](crate::Input::weighted)), dx into a buffer; the
    /// formulas are at [`Weights`]. `x` and `weights` must be the forward pass's.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; a forward pass without weights. `dx` is untouched then.
    pub fn backward_weighted<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        weights: &Weights<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check_whole("backward_part_weighted")?;
        same_shape("dx", &x.layout, &dx.layout)?;
        let sums = self.parameter_gradients_weighted(x, dy, weights)?;
        self.input_gradient_weighted(x, dy, weights, &sums, dx)?;
        Ok(sums)
    }

    /// dgamma and dbeta alone, as [`parameter_gradients`](Self::parameter_gradients): the sums of a part of a batch, too.
    ///
    /// # Errors
    /// As [`backward_weighted`](Self::backward_weighted).
    pub fn parameter_gradients_weighted<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        weights: &Weights<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check(x, &dy.layout, Kind::Weighted)?;
        let arrays = [&x.memory, &dy.memory, &weights.over(&x.layout)?];
        Ok(self.parameters(T::gradient_sums_weighted(self.isa(), self.activation, self.constants(), arrays)))
    }

    /// [`backward_part`](Self::backward_part) of a part with weights, by the sums over the whole batch
    /// ([`parameter_gradients_weighted`](Self::parameter_gradients_weighted) of each part, added).
    ///
    /// # Errors
    /// As there. `dx` is untouched then.
    pub fn backward_part_weighted<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        weights: &Weights<T>,
        whole: &ParameterGradients,
        dx: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        self.check(x, &dy.layout, Kind::Weighted)?;
        same_shape("dx", &x.layout, &dx.layout)?;
        self.check_sums(whole)?;
        self.input_gradient_weighted(x, dy, weights, whole, dx)
    }

    fn input_gradient_weighted<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        weights: &Weights<T>,
        sums: &ParameterGradients,
        dx: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let arrays = [&x.memory, &dy.memory, &weights.over(&x.layout)?];
        let all = self.gradient_coefficients(sums);
        T::input_gradient_weighted(self.isa(), self.activation, arrays, &mut dx.memory, all);
        Ok(())
    }
}

impl BatchNorm {
    /// [`backward`](Self::backward) of a forward pass with weights.
    ///
    /// # Errors
    /// As [`Saved::backward_weighted`].
    pub fn backward_weighted<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        weights: &Weights<T>,
        saved: &Saved,
    ) -> Result<Gradients<T>, CallError> {
        self.check_channels(x)?;
        let (dx, parameters) = Tensor::filled(&x.layout, |dx| saved.backward_weighted(x, dy, weights, dx))?;
        Ok(self.gradients(dx, parameters, saved.trains_parameters()))
    }
}
