//! Networks, by their recipes: fully connected, convolutional and residual, with any norm of this project.
//!
//! Ioffe and Szegedy's first experiment (2015, section 4.1) at the size of the digits is [`Architecture`]: 64-100-100-100-10 sigmoid
//! units, weights N(0, 0.05); it is what `compare` trains. A narrower network would fit the digits more easily in both arms, but has fewer
//! sigmoids that can saturate than theirs.
//!
//! Before the activation, batch norm makes the bias of the layer in front useless: its beta is that bias.

mod architecture;
mod fold;
mod freeze;
#[cfg(test)]
mod gradient_tests;
mod layers;
mod norm;
mod outline;
mod pass;
mod path;
mod recipe;
mod reuse;
mod start;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::nn::pool::MaxPool2dConfig;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Gradients, Tensor};
use chacha20::ChaCha8Rng;

pub use architecture::Architecture;
pub use freeze::{Affine, BODY, Freeze, HEAD, Statistics};
pub use layers::{Block, Convolution, Hidden};
pub use norm::Norm;
pub use outline::Layer;
pub(crate) use path::{Path, is_of_norm, walk};
pub use recipe::{
    ActivationKind, Convolving, MOST_LAYERS, MOST_OUTPUTS, MOST_WEIGHTS, NAMES, NormKind, Placement, Recipe,
    RecipeError, Stage, Start,
};

use crate::data::Shape;
use crate::hash::Fnv;
use layers::Order;
use pass::Pass;

/// A network from an example's values to one score a class.
#[derive(Module, Debug)]
pub struct Network {
    convolutions: Vec<Convolution>,
    blocks: Vec<Block>,
    hidden: Vec<Hidden>,
    output: Linear,
    #[module(skip)]
    input: Shape,
    /// The pooling behind each convolution.
    #[module(skip)]
    pools: Vec<usize>,
    #[module(skip)]
    order: Order,
    /// Examples of a pass in evaluation.
    #[module(skip)]
    portion: usize,
    #[module(skip)]
    dropout: f64,
}

/// The result of a pass through the network in evaluation.
#[derive(Debug)]
pub struct Forward {
    /// Scores (logits) `[examples, classes]`.
    pub scores: Tensor<2>,
    /// The inputs of the last hidden layer's activations, `[examples, units]`: behind a norm that stands before the activation. None
    /// without a hidden layer.
    pub inputs: Option<Tensor<2>>,
}

impl Network {
    /// Scores (logits) `[examples, classes]` in training, of values `[examples, channels * rows * columns]`: norms go by the batch and
    /// update their statistics. The generator draws what is dropped.
    pub fn forward_train(&self, values: Tensor<2>, dropout: &mut ChaCha8Rng) -> Tensor<2> {
        self.forward(values, &mut Pass { training: true, dropout: Some(dropout), observer: None }).scores
    }

    /// Scores in evaluation, and the inputs of the last hidden layer's activations: norms go by their running statistics, never by the
    /// batch, and nothing is dropped.
    pub fn forward_eval(&self, values: Tensor<2>) -> Forward {
        self.forward(values, &mut Pass { training: false, dropout: None, observer: None })
    }

    /// Scores by the statistics of these examples as a batch: a training pass in which nothing is dropped. Batch norms hear of it: ask a network that
    /// is [apart](Self::apart).
    pub fn forward_by_batch(&self, values: Tensor<2>) -> Tensor<2> {
        self.forward(values, &mut Pass { training: true, dropout: None, observer: None }).scores
    }

    /// Examples that a pass in evaluation should have at most.
    pub fn portion(&self) -> usize {
        self.portion
    }

    /// A network of its own, whose batches this one never hears of. (A mere clone would give it those of its training passes.)
    #[must_use]
    pub fn apart(&self) -> Network {
        self.clone().train()
    }

    /// A training pass without dropout in which someone looks at what each layer gives: its path, and its output behind norm and activation
    /// as `[examples, channels, plane]`.
    pub fn observe(&self, values: Tensor<2>, look: &mut dyn FnMut(&str, Tensor<3>)) {
        let scores = self.forward(values, &mut Pass { training: true, dropout: None, observer: Some(look) }).scores;
        let [examples, classes] = scores.dims();
        look("output", scores.reshape([examples, classes, 1]));
    }

    fn forward(&self, values: Tensor<2>, pass: &mut Pass) -> Forward {
        let [examples, _] = values.dims();
        let mut below = values;
        if !self.convolutions.is_empty() {
            let Shape { channels, rows, columns } = self.input;
            let mut planes = below.reshape([examples, channels, rows, columns]);
            for (index, (layer, &pool)) in self.convolutions.iter().zip(&self.pools).enumerate() {
                planes = layer.forward(planes, self.order, pass);
                pass.observe(|| format!("convolutions.{index}"), &planes);
                if pool > 1 {
                    planes = MaxPool2dConfig::new([pool, pool]).with_strides([pool, pool]).init().forward(planes);
                }
            }
            for (index, block) in self.blocks.iter().enumerate() {
                planes = block.forward(planes, self.order, pass);
                pass.observe(|| format!("blocks.{index}"), &planes);
            }
            if !self.blocks.is_empty() {
                planes = adaptive_avg_pool2d(planes, [1, 1]);
            }
            below = planes.flatten(1, 3);
        }
        let mut inputs = None;
        for (index, layer) in self.hidden.iter().enumerate() {
            let (output, of_activation) = layer.forward(below, self.order, pass);
            pass.observe(|| format!("hidden.{index}"), &output);
            (below, inputs) = (pass.dropped(output, self.dropout), of_activation);
        }
        if self.hidden.is_empty() {
            below = pass.dropped(below, self.dropout);
        }
        Forward { scores: self.output.forward(below), inputs }
    }

    /// The Frobenius norm of each weight's gradient, from the input to the classes: of linear maps and convolutions, not of biases, gammas
    /// and betas; without frozen ones.
    pub fn gradient_norms(&self, gradients: &Gradients) -> Vec<f64> {
        let mut norms = GradientNorms { gradients, norms: Vec::new() };
        self.visit(&mut norms);
        norms.norms
    }

    /// A fingerprint of all weights, parameters and running statistics: the FNV-1a hash (64 bits) of their bits in the
    /// module's order. Two runs that end alike end in the same fingerprint.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        walk(self, |met| met.values().into_iter().for_each(|value| hash.take(&value.to_bits().to_le_bytes())));
        hash.hash()
    }
}

struct GradientNorms<'g> {
    gradients: &'g Gradients,
    norms: Vec<f64>,
}

impl ModuleVisitor for GradientNorms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D > 1 {
            // (Frozen weights have none.)
            let Some(gradient) = param.val().grad(self.gradients) else { return };
            let gradient = gradient.into_data();
            self.norms.push(gradient.iter::<f64>().map(|value| value * value).sum::<f64>().sqrt());
        }
    }
}

/// Numbers of a network that are trained.
#[cfg(test)]
fn trained_parameters(network: &Network) -> usize {
    let mut count = 0;
    walk(network, |met| count += if met.is_trained { met.shape.iter().product::<usize>() } else { 0 });
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn both_arms_start_from_the_same_weights() {
        let device = Device::default();
        let architecture = Architecture::default();
        let [with, without] = [true, false].map(|norm| architecture.start(norm, 7, &device));
        for (with, without) in with.hidden.iter().zip(&without.hidden) {
            assert_eq!(with.linear.weight.val().into_data(), without.linear.weight.val().into_data());
            assert!(with.linear.bias.is_none() && without.linear.bias.is_some());
            assert!(with.norm.is_some() && without.norm.is_none());
        }
        assert_eq!(with.output.weight.val().into_data(), without.output.weight.val().into_data());
        assert_ne!(with.fingerprint(), architecture.start(true, 8, &device).fingerprint());
    }

    #[test]
    fn start_weights_have_their_deviation() {
        let network = Architecture::default().start(false, 1, &Device::default());
        let weights: Vec<f64> = network.hidden[1].linear.weight.val().into_data().iter::<f64>().collect();
        let square = weights.iter().map(|weight| weight * weight).sum::<f64>() / weights.len() as f64;
        assert_eq!(weights.len(), 10_000);
        // Three standard errors of a deviation over 10,000 numbers: 2 %.
        assert!((square.sqrt() / 0.05 - 1.0).abs() < 0.02, "{}", square.sqrt());
    }
}
