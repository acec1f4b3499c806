//! A linear layer by its weights: which output and which input each of them is of.

use std::ops::Range;

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

/// Weights that lie side by side: all of one output, so many; one of each output; or neither.
pub(super) enum Rows {
    OfAnOutput(usize),
    OfAllOutputs,
    Else,
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

    /// How weights lie in rows.
    pub fn rows(&self) -> Rows {
        match self.target {
            Target::Conv | Target::BatchNorm => Rows::OfAnOutput(self.shape.iter().skip(1).product()),
            Target::Gemm if self.transposed => Rows::OfAnOutput(self.shape[1]),
            Target::Gemm | Target::MatMul if self.shape.len() == 2 => Rows::OfAllOutputs,
            Target::Gemm | Target::MatMul | Target::ConvTranspose => Rows::Else,
        }
    }

    /// The weights between one output and one input, which lie side by side, for all outputs and inputs: their places, output, input.
    pub fn blocks(&self) -> impl Iterator<Item = (Range<usize>, usize, usize)> + '_ {
        let (first, second) = (self.shape[0], self.shape.get(1).copied().unwrap_or(1));
        let length: usize = self.shape.iter().skip(2).product();
        let of_group = first / self.group;
        (0..first).flat_map(move |one| {
            // Of a convolution the second axis counts within a group, inputs or outputs.
            let before = one / of_group * second;
            (0..second).map(move |other| {
                let (output, input) = match self.target {
                    Target::Conv => (one, before + other),
                    Target::ConvTranspose => (before + other, one),
                    Target::Gemm if self.transposed => (one, other),
                    Target::Gemm | Target::MatMul => (other, one),
                    Target::BatchNorm => (one, one),
                };
                let at = (one * second + other) * length;
                (at..at + length, output, input)
            })
        })
    }
}
