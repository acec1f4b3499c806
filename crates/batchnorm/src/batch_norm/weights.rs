//! Weights and masks: how often each value of a batch counts.

use crate::call_error::CallError;
use batchnorm_kernel::passes::{Layout, Readable, elements, row_major};
use batchnorm_kernel::{Element, ViewError};
use std::borrow::Cow;
use std::ops::Range;
use thiserror::Error;

/// A weight for each value, or for many values at once: an array of the input's rank in which every axis has the
/// input's length, or 1 where the weights along it are all the same. `[n, 1, 1, 1]` weighs the samples of an
/// `[n, c, h, w]` batch, `[n, 1, h, w]` the positions of each.
///
/// A weight says how often a value counts. Of each channel, with W = sum w over its values,
///
/// ```text
/// mean = 1/W sum w x        variance = 1/W sum w (x - mean)^2        sample variance = sum w (x - mean)^2 / (W - 1)
/// ```
///
/// so that weights of 2 give what the values twice over give, and weights of 1 what no weights give, to about 1e-16.
/// (Weights that say something else, such as importance: scale them to sum up to the number of values.)
///
/// A value of weight 0 is masked: it is not looked at, and may be NaN; its output is 0 and its dx is 0. All others are
/// normalised by the same statistics, whatever their weight, and
///
/// ```text
/// dx = gamma / sqrt(variance + eps) * (dy - w/W sum dy - xhat w/W sum(dy xhat))
/// ```
///
/// with sums over the values that are not masked. (The weight of a value in the *loss* is in dy.) A channel that is all
/// masked goes by [`EmptyBatch`](crate::EmptyBatch), one with a single value or with W <= 1 by
/// [`SingleValue`](crate::SingleValue) (under `UseRunning` the whole batch is normalised by the running statistics
/// then).
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
/// let gradients = layer.backward(Input::weighted(&x, &mask), &dy, &trained.saved)?;
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

    /// Checks weights that are borrowed or owned.
    fn from_cow(values: Cow<'w, [T]>, shape: &[usize]) -> Result<Self, WeightsError> {
        let (expected, got) = (elements(shape)?, values.len());
        if expected != got {
            return Err(ViewError::Length { shape: shape.to_vec(), expected, got }.into());
        }
        let valid = |weight: &T| (0.0..f64::INFINITY).contains(&weight.to_f64());
        match values.iter().position(|weight| !valid(weight)) {
            Some(at) => Err(WeightsError::NoWeight { at, got: values[at].to_f64() }),
            None if let Some(at) = values.iter().position(|weight| weight.to_f64() > MAX_WEIGHT) => {
                Err(WeightsError::TooHeavy { at, got: values[at].to_f64() })
            }
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

    /// The same weights.
    pub(crate) fn borrowed(&self) -> Weights<'_, T> {
        Weights { values: Cow::Borrowed(&self.values), shape: self.shape.clone() }
    }

    /// The weights of some of the samples, which this axis of the input numbers; of an input that they fit.
    pub(crate) fn of_samples(&self, axis: usize, range: Range<usize>) -> Weights<'_, T> {
        let mut shape = self.shape.clone();
        if shape[axis] == 1 {
            return self.borrowed();
        }
        let inner: usize = shape[axis + 1..].iter().product();
        // (Of an axis of length 0 there are no weights to divide, nor pieces.)
        let of_each = self.values.chunks((shape[axis] * inner).max(1));
        let values = of_each.flat_map(|values| &values[range.start * inner..range.end * inner]).copied().collect();
        shape[axis] = range.len();
        Weights { values: Cow::Owned(values), shape }
    }

    /// The weights as an array of the input's shape, repeated along axes of length 1 by a stride of 0, and how it lies.
    ///
    /// # Errors
    /// A shape that cannot be repeated to the input's.
    pub(crate) fn repeated_over(&self, x: &Layout) -> Result<(Layout, Readable<'_, T>), CallError> {
        let fits = |(&length, &x_length): (&usize, &usize)| length == x_length || length == 1;
        if self.shape.len() != x.shape.len() || !self.shape.iter().zip(&x.shape).all(fits) {
            return Err(CallError::WeightsShape { expected: x.shape.clone(), got: self.shape.clone() });
        }
        let dense = row_major(&self.shape).into_iter().zip(&self.shape);
        let strides = dense.map(|(stride, &length)| if length == 1 { 0 } else { stride }).collect();
        let layout = Layout { strides, ..x.clone() };
        let memory = Readable::from_slice(&self.values, 0, &layout);
        Ok((layout, memory))
    }
}

/// The largest weight: sums of 2^60 of them, times squares up to 1e150, stay in f64.
const MAX_WEIGHT: f64 = 1e100;

/// An error of values that cannot be weights.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Another number of weights than their shape has.
    #[error(transparent)]
    Layout(#[from] ViewError),
    /// A weight of which no sums can be taken.
    #[error("weights[{at}]: expected at most 1e100, got {got:?}, of which sums leave f64; divide all of them by it")]
    TooHeavy {
        /// Where it stands.
        at: usize,
        /// The value given.
        got: f64,
    },
    /// A negative weight, NaN or infinity.
    #[error("weights[{at}]: expected a finite number >= 0, got {got:?}; a weight says how often a value counts")]
    NoWeight {
        /// Where it stands.
        at: usize,
        /// The value given.
        got: f64,
    },
}
