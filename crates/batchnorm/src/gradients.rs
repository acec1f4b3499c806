//! The results of backward passes.

use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::policies::Affine;
use crate::tensor::Tensor;
use batchnorm_kernel::passes::GradientSums;
use batchnorm_kernel::{Element, Number};

/// The gradients that a backward pass returns.
#[derive(Debug, Clone)]
pub struct Gradients<T: Element> {
    /// Gradient of the input, of its shape.
    pub dx: Tensor<T>,
    /// Gradient of the residual, if the pass had one.
    pub dresidual: Option<Tensor<T>>,
    /// Gradient of gamma, if the layer has one and the pass trains it.
    pub dgamma: Option<Vec<T::Param>>,
    /// Gradient of beta, if the layer has one and the pass trains it.
    pub dbeta: Option<Vec<T::Param>>,
}

impl<T: Element> Gradients<T> {
    /// The gradients of what a layer has, rounded to the parameters' type.
    pub(crate) fn rounded(
        affine: Affine,
        dx: Tensor<T>,
        dresidual: Option<Tensor<T>>,
        parameters: ParameterGradients,
    ) -> Gradients<T> {
        let round = |values: Vec<f64>| values.into_iter().map(Number::from_f64).collect();
        Gradients {
            dx,
            dresidual,
            dgamma: affine.scales().then(|| round(parameters.dgamma)),
            dbeta: affine.shifts().then(|| round(parameters.dbeta)),
        }
    }
}

/// The gradients of gamma and beta in `f64`, before rounding to a parameter type.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGradients {
    /// Sum of dy * xhat, of each channel.
    pub dgamma: Vec<f64>,
    /// Sum of dy, of each channel.
    pub dbeta: Vec<f64>,
}

impl ParameterGradients {
    /// The sums over no values.
    pub(crate) fn zeros(channels: usize) -> ParameterGradients {
        ParameterGradients { dgamma: vec![0.0; channels], dbeta: vec![0.0; channels] }
    }

    /// The gradients of so many channels from the sums of each. The loops give no sums for an empty batch, whose
    /// gradients are zeros.
    pub(crate) fn from_sums(mut sums: Vec<GradientSums>, channels: usize) -> ParameterGradients {
        sums.resize(channels, GradientSums::default());
        ParameterGradients {
            dgamma: sums.iter().map(|sums| sums.dy_xhat).collect(),
            dbeta: sums.iter().map(|sums| sums.dy).collect(),
        }
    }

    /// Adds the gradients of another part of the batch.
    ///
    /// # Errors
    /// Another number of channels; nothing is added then.
    pub fn add(&mut self, other: &ParameterGradients) -> Result<(), CallError> {
        same_length("other", self.dgamma.len(), other.dgamma.len())?;
        same_length("other", self.dbeta.len(), other.dbeta.len())?;
        self.dgamma.iter_mut().zip(&other.dgamma).for_each(|(own, other)| *own += other);
        self.dbeta.iter_mut().zip(&other.dbeta).for_each(|(own, other)| *own += other);
        Ok(())
    }
}
