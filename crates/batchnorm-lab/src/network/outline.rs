//! The layers of a network with their shapes and parameters, in the order of the data.

use super::recipe::{Convolving, NormKind, Placement, Recipe};
use crate::data::Shape;

/// A layer as a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its path in the network, as in the names of its tensors; none for what has no tensors.
    pub path: String,
    /// What it does.
    pub what: String,
    /// The shape of what it gives for one example.
    pub output: Shape,
    /// Numbers that are learnt.
    pub parameters: usize,
}

/// Said of a layer that has none, for a norm stands behind it.
const WITHOUT_BIAS: &str = " without bias";

impl Layer {
    /// Tells whether it is a norm.
    pub fn is_norm(&self) -> bool {
        self.path.ends_with(".norm")
    }

    /// Tells whether a layer that is no norm has a bias.
    pub(super) fn has_bias(&self) -> bool {
        !self.what.ends_with(WITHOUT_BIAS)
    }
}

impl Recipe {
    /// The layers of the network for inputs of a shape.
    pub fn outline(&self, input: Shape, classes: usize) -> Vec<Layer> {
        let mut outline = Outline { recipe: self, layers: Vec::new(), shape: input };
        for (index, &Convolving { channels, kernel, pool }) in self.convolutions.iter().enumerate() {
            outline.convolution(&format!("convolutions.{index}"), channels, kernel, 1, self.activation());
            if pool > 1 {
                outline.shape.rows /= pool;
                outline.shape.columns /= pool;
                outline.push("", format!("greatest of {pool} x {pool}"), 0);
            }
        }
        for (index, (channels, stride)) in self.blocks().enumerate() {
            outline.block(&format!("blocks.{index}"), channels, stride);
        }
        if !self.stages.is_empty() {
            outline.shape = Shape::features(outline.shape.channels);
            outline.push("", String::from("mean of each channel"), 0);
        }
        let mut inputs = outline.shape.values();
        for (index, &units) in self.hidden.iter().enumerate() {
            let (path, normed) = (format!("hidden.{index}"), self.norms_hidden());
            outline.shape = Shape::features(units);
            let bias = self.has_bias(normed);
            let parameters = inputs.saturating_mul(units).saturating_add(if bias { units } else { 0 });
            outline.push(&format!("{path}.linear"), format!("linear{}", without_bias(bias)), parameters);
            outline.norm(&path, normed, self.activation());
            inputs = units;
        }
        outline.shape = Shape::features(classes);
        outline.push("output", String::from("linear"), inputs.saturating_add(1).saturating_mul(classes));
        outline.layers
    }

    fn activation(&self) -> &'static str {
        match self.activation {
            super::ActivationKind::Sigmoid => "sigmoid",
            super::ActivationKind::Tanh => "tanh",
            super::ActivationKind::Relu => "ReLU",
        }
    }

    /// The name of the norm.
    pub fn norm_name(&self) -> &'static str {
        match self.norm {
            NormKind::None => "none",
            NormKind::Batch => "batch norm",
            NormKind::Renorm => "batch renorm",
            NormKind::Layer => "layer norm",
            NormKind::Group => "group norm",
            NormKind::Instance => "instance norm",
            NormKind::Rms => "RMS norm",
            NormKind::Decorrelated => "decorrelated batch norm",
        }
    }
}

struct Outline<'r> {
    recipe: &'r Recipe,
    layers: Vec<Layer>,
    /// The shape of what the last layer gives.
    shape: Shape,
}

impl Outline<'_> {
    fn push(&mut self, path: &str, what: String, parameters: usize) {
        self.layers.push(Layer { path: path.to_owned(), what, output: self.shape, parameters });
    }

    /// A convolution with its norm; `then` is what follows the two, or stands between them.
    fn convolution(&mut self, path: &str, channels: usize, kernel: usize, stride: usize, then: &str) {
        let normed = self.recipe.norm != NormKind::None;
        let bias = self.recipe.has_bias(normed);
        let weights = kernel.saturating_mul(kernel).saturating_mul(self.shape.channels).saturating_mul(channels);
        let (rows, columns) = (self.shape.rows.div_ceil(stride), self.shape.columns.div_ceil(stride));
        self.shape = Shape { channels, rows, columns };
        let by = if stride > 1 { format!(", every {stride}nd") } else { String::new() };
        let what = format!("convolution {kernel} x {kernel}{by}{}", without_bias(bias));
        self.push(&format!("{path}.convolution"), what, weights.saturating_add(if bias { channels } else { 0 }));
        self.norm(path, normed, then);
    }

    /// The norm and the activation in their order.
    fn norm(&mut self, path: &str, normed: bool, activation: &str) {
        if !normed {
            if !activation.is_empty() {
                self.push("", activation.to_owned(), 0);
            }
            return;
        }
        let after = self.recipe.placement == Placement::After;
        let norm = self.recipe.norm_name();
        let what = match (after, activation) {
            (_, "") => norm.to_owned(),
            (true, _) => format!("{activation}, {norm}"),
            (false, _) => format!("{norm}, {activation}"),
        };
        // Gamma, and beta, which RMS norm does without.
        let vectors = if self.recipe.norm == NormKind::Rms { 1 } else { 2 };
        self.push(&format!("{path}.norm"), what, vectors * self.shape.channels);
    }

    fn block(&mut self, path: &str, channels: usize, stride: usize) {
        let before = self.shape;
        let (inner, last) = match self.recipe.placement {
            Placement::Before => (self.recipe.activation(), ""),
            Placement::After => (self.recipe.activation(), self.recipe.activation()),
        };
        self.convolution(&format!("{path}.first"), channels, 3, stride, inner);
        self.convolution(&format!("{path}.second"), channels, 3, 1, last);
        let after = std::mem::replace(&mut self.shape, before);
        if before != after {
            self.convolution(&format!("{path}.shortcut"), channels, 1, stride, "");
        }
        self.shape = after;
        let then = if last.is_empty() { format!(", {}", self.recipe.activation()) } else { String::new() };
        self.push("", format!("sum with the shortcut{then}"), 0);
    }
}

fn without_bias(bias: bool) -> &'static str {
    if bias { "" } else { WITHOUT_BIAS }
}
