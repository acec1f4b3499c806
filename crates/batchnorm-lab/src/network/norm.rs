//! The norms of a network, behind one call.

use batchnorm_burn::{
    Activation, BatchNorm, BatchNormConfig, Decorrelated, DecorrelatedConfig, Renormalization, SampleNorm,
    SampleNormConfig,
};
use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::recipe::{NormKind, Recipe};

/// A norm of a layer.
#[derive(Module, Debug)]
pub enum Norm {
    /// Batch norm, batch renormalisation.
    Batch(BatchNorm),
    /// Norms that do not look at the batch.
    Sample(SampleNorm),
    /// Decorrelated batch norm.
    Decorrelated(Decorrelated),
}

/// What follows a norm in the same pass.
pub(super) struct Then<const D: usize> {
    /// Added to its output.
    pub residual: Option<Tensor<D>>,
    pub relu: bool,
}

impl Norm {
    /// The norm that a recipe asks for, at its start; none if it asks for none.
    pub(super) fn start(recipe: &Recipe, channels: usize, device: &Device) -> Option<Norm> {
        let batch = |renormalization: Option<Renormalization>| {
            let config =
                BatchNormConfig::new(channels).with_epsilon(recipe.epsilon).with_momentum(recipe.weight_of_new);
            Norm::Batch(config.with_ghost(recipe.ghost).with_renormalization(renormalization).init(device))
        };
        let sample = |config: SampleNormConfig| Norm::Sample(config.with_epsilon(recipe.epsilon).init(device));
        let [r_max, d_max] = recipe.renormalization;
        Some(match recipe.norm {
            NormKind::None => return None,
            NormKind::Batch => batch(None),
            NormKind::Renorm => batch(Some(Renormalization::new(r_max, d_max).expect("the recipe is checked"))),
            NormKind::Layer => sample(SampleNormConfig::group(1, channels)),
            NormKind::Group => sample(SampleNormConfig::group(recipe.groups, channels)),
            NormKind::Instance => sample(SampleNormConfig::instance(channels)),
            NormKind::Rms => sample(SampleNormConfig::group_rms(1, channels)),
            NormKind::Decorrelated => Norm::Decorrelated(
                DecorrelatedConfig::new(channels, recipe.groups)
                    .with_epsilon(recipe.epsilon)
                    .with_momentum(recipe.weight_of_new)
                    .init(device),
            ),
        })
    }

    /// The norm, plus the residual, through ReLU, as `then` says; in one pass over memory where the norm can.
    pub(super) fn pass<const D: usize>(&self, input: Tensor<D>, then: Then<D>, training: bool) -> Tensor<D> {
        let activation = if then.relu { Activation::Relu } else { Activation::Identity };
        match (self, then.residual) {
            (Norm::Batch(norm), residual) => {
                let fused = match residual {
                    Some(residual) => norm.adding(residual).then(activation),
                    None => norm.then(activation),
                };
                if training { fused.forward_train(input) } else { fused.forward_eval(input) }
            }
            (Norm::Sample(norm), None) => norm.then(activation).forward(input),
            (Norm::Sample(norm), Some(residual)) => rectified(norm.forward(input) + residual, then.relu),
            (Norm::Decorrelated(norm), residual) => {
                // (A batch norm with frozen statistics is pinned; this one has its flag.)
                let training = training && norm.training.is_enabled();
                let output = if training { norm.forward_train(input) } else { norm.forward_eval(input) };
                let sum = match residual {
                    Some(residual) => output + residual,
                    None => output,
                };
                rectified(sum, then.relu)
            }
        }
    }
}

fn rectified<const D: usize>(x: Tensor<D>, rectifies: bool) -> Tensor<D> {
    if rectifies { relu(x) } else { x }
}
