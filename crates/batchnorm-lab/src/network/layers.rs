//! The layers that networks are made of: each a linear map with its norm and activation.

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid, tanh};

use super::norm::{Norm, Then};
use super::pass::Pass;
use super::recipe::{ActivationKind, Placement};
use crate::convolution::convolve;

/// The order of things behind a linear map, of the whole network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub activation: ActivationKind,
    pub placement: Placement,
}

/// A hidden layer: `f(norm(x W))`, `norm(f(x W + b))` or `f(x W + b)`.
#[derive(Module, Debug)]
pub struct Hidden {
    pub(super) linear: Linear,
    pub(super) norm: Option<Norm>,
}

/// A convolution with its norm, and what follows as in [`Hidden`].
#[derive(Module, Debug)]
pub struct Convolution {
    pub(super) convolution: Conv2d,
    pub(super) norm: Option<Norm>,
}

/// A residual block. With the norms before the activation it is `f(norm(w2 * f(norm(w1 * x))) + shortcut)`, else
/// `norm(f(w2 * norm(f(w1 * x)))) + shortcut`; the shortcut is x, or a convolution of 1 x 1 and its norm where the shape changes.
#[derive(Module, Debug)]
pub struct Block {
    pub(super) first: Convolution,
    pub(super) second: Convolution,
    pub(super) shortcut: Option<Convolution>,
}

impl ActivationKind {
    pub(super) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            ActivationKind::Sigmoid => sigmoid(x),
            ActivationKind::Tanh => tanh(x),
            ActivationKind::Relu => relu(x),
        }
    }
}

/// Norm and activation of sums, in their order; ReLU behind a norm, and a residual between the two, in the norm's own pass.
fn activated<const D: usize>(
    norm: Option<&Norm>,
    sums: Tensor<D>,
    residual: Option<Tensor<D>>,
    order: Order,
    training: bool,
) -> Tensor<D> {
    let Order { activation, placement } = order;
    let added = |x: Tensor<D>, residual: Option<Tensor<D>>| match residual {
        Some(residual) => x + residual,
        None => x,
    };
    match (norm, placement) {
        (Some(norm), Placement::Before) => {
            let fused = activation == ActivationKind::Relu;
            let output = norm.pass(sums, Then { residual, relu: fused }, training);
            if fused { output } else { activation.apply(output) }
        }
        (Some(norm), Placement::After) => norm.pass(activation.apply(sums), Then { residual, relu: false }, training),
        (None, _) => activation.apply(added(sums, residual)),
    }
}

impl Hidden {
    /// The output; in evaluation also the inputs of the activation, in front of which the norm then makes a pass of its own.
    pub(super) fn forward(&self, x: Tensor<2>, order: Order, pass: &mut Pass) -> (Tensor<2>, Option<Tensor<2>>) {
        let sums = self.linear.forward(x);
        match (&self.norm, order.placement) {
            (Some(norm), Placement::Before) if !pass.training => {
                let inputs = norm.pass(sums, Then { residual: None, relu: false }, false);
                (order.activation.apply(inputs.clone()), Some(inputs))
            }
            (norm, _) => {
                let inputs = (!pass.training).then(|| sums.clone());
                (activated(norm.as_ref(), sums, None, order, pass.training), inputs)
            }
        }
    }
}

impl Convolution {
    pub(super) fn forward(&self, x: Tensor<4>, order: Order, pass: &mut Pass) -> Tensor<4> {
        activated(self.norm.as_ref(), convolve(&self.convolution, x), None, order, pass.training)
    }

    /// The convolution and its norm alone.
    fn normed(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let sums = convolve(&self.convolution, x);
        match &self.norm {
            Some(norm) => norm.pass(sums, Then { residual: None, relu: false }, pass.training),
            None => sums,
        }
    }
}

impl Block {
    pub(super) fn forward(&self, x: Tensor<4>, order: Order, pass: &mut Pass) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.normed(x.clone(), pass),
            None => x.clone(),
        };
        let inner = self.first.forward(x, order, pass);
        let Convolution { convolution, norm } = &self.second;
        activated(norm.as_ref(), convolve(convolution, inner), Some(shortcut), order, pass.training)
    }
}
