//! A linear layer by its weights: which output and which input each of them is of.

use crate::foldable::Target;

/// The shape of a layer's weights, and what it means.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub target: Target,
    pub shape: Vec<usize>,
    pub group: usize,
    /// Gemm's `transB`.
    pub transposed: bool,
    /// Gemm's `alpha`, 1 elsewhere.
    pub alpha: f64,
}

impl Linear {
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn outputs(&self) -> usize {
        match self.target {
            Target::Conv | Target::BatchNorm => self.shape[0],
            Target::ConvTranspose => self.shape[1] * self.group,
            Target::Gemm if self.transposed => self.shape[0],
            Target::Gemm | Target::MatMul => self.shape[1],
        }
    }

    pub fn inputs(&self) -> usize {
        match self.target {
            Target::Conv => self.shape[1] * self.group,
            Target::ConvTranspose | Target::BatchNorm => self.shape[0],
            Target::Gemm if self.transposed => self.shape[1],
            Target::Gemm | Target::MatMul => self.shape[0],
        }
    }

    /// Output and input of a weight.
    pub fn ends(&self, weight: usize) -> (usize, usize) {
        let (first, second, rest) = match &self.shape[..] {
            [first] => (*first, 1, 1),
            [first, second, rest @ ..] => (*first, *second, rest.iter().product::<usize>()),
            [] => return (0, 0),
        };
        let (one, other) = (weight / (second * rest), weight / rest % second);
        match self.target {
            Target::Conv => (one, one / (first / self.group) * second + other),
            Target::ConvTranspose => (one / (first / self.group) * second + other, one),
            Target::Gemm if self.transposed => (one, other),
            Target::Gemm | Target::MatMul => (other, one),
            Target::BatchNorm => (weight, weight),
        }
    }
}
