//! A network in evaluation as a graph of ONNX.

use batchnorm_model::onnx::{NewAttribute, NewGraph};

use super::drawing::{Drawing, SCORES};
use super::error::ExportError;
use super::norms;
use super::preprocessing::Inside;
use super::tensors::Tensors;
use crate::data::{DataSummary, Shape};
use crate::network::{ActivationKind, Placement, Recipe};

/// The graph of a network of this recipe for these data, with these tensors.
pub fn of(recipe: &Recipe, data: &DataSummary, tensors: &Tensors) -> Result<NewGraph, ExportError> {
    let mut drawing = Drawing::new(recipe, tensors, data.input, data.classes.len());
    if let Some(inside) = Inside::of(data) {
        drawing.standardised(inside);
    }
    drawing.network()?;
    Ok(drawing.graph)
}

impl Drawing<'_> {
    fn standardised(&mut self, inside: Inside) {
        let Inside { mean, rest, factor } = inside;
        for (name, number, operator, what) in [
            ("input.centred", mean, "Sub", "input.mean"),
            ("input.centred.rest", rest, "Sub", "input.mean.rest"),
            ("input.standardised", factor, "Mul", "input.factor"),
        ] {
            let constant = self.vector(String::from(what), number);
            self.then(operator, String::from(name), vec![constant], vec![]);
        }
    }

    fn network(&mut self) -> Result<(), ExportError> {
        let recipe = self.recipe;
        for (index, convolving) in recipe.convolutions.iter().enumerate() {
            let path = format!("convolutions.{index}");
            self.convolution(&path, 1);
            self.activated(&path)?;
            if convolving.pool > 1 {
                self.shape.rows /= convolving.pool;
                self.shape.columns /= convolving.pool;
                let lengths = || NewAttribute::Ints(vec![convolving.pool as i64; 2]);
                self.then(
                    "MaxPool",
                    format!("{path}.pool"),
                    vec![],
                    vec![("kernel_shape", lengths()), ("strides", lengths())],
                );
            }
        }
        for (index, (_, stride)) in recipe.blocks().enumerate() {
            self.block(&format!("blocks.{index}"), stride)?;
        }
        if !recipe.stages.is_empty() {
            self.then("GlobalAveragePool", String::from("mean"), vec![], vec![]);
        }
        if self.is_plane {
            self.then("Flatten", String::from("flatten"), vec![], vec![("axis", NewAttribute::Int(1))]);
            self.is_plane = false;
        }
        for index in 0..recipe.hidden.len() {
            let path = format!("hidden.{index}");
            self.linear(&format!("{path}.linear"), format!("{path}.linear"));
            self.activated(&path)?;
        }
        self.linear("output", String::from(SCORES));
        Ok(())
    }

    /// A linear map; its node may have a name of its own.
    fn linear(&mut self, path: &str, name: String) {
        let weight = self.tensors.linear(path);
        self.shape = Shape::features(weight.shape[0]);
        let mut others = vec![self.constant(weight)];
        others.extend(self.bias(path));
        self.then("Gemm", name, others, vec![("transB", NewAttribute::Int(1))]);
    }

    /// The bias of a layer that has one.
    fn bias(&mut self, path: &str) -> Option<String> {
        let name = format!("{path}.bias");
        self.tensors.has(&name).then(|| self.constant(self.tensors.named(&name, name.clone())))
    }

    /// The convolution of a layer.
    fn convolution(&mut self, layer: &str, stride: usize) {
        let path = format!("{layer}.convolution");
        let name = format!("{path}.weight");
        let weight = self.tensors.named(&name, name.clone());
        let kernel = weight.shape[2] as i64;
        let (rows, columns) = (self.shape.rows.div_ceil(stride), self.shape.columns.div_ceil(stride));
        self.shape = Shape { channels: weight.shape[0], rows, columns };
        let mut others = vec![self.constant(weight)];
        others.extend(self.bias(&path));
        let attributes = vec![
            ("kernel_shape", NewAttribute::Ints(vec![kernel; 2])),
            ("strides", NewAttribute::Ints(vec![stride as i64; 2])),
            // (Rows and columns stay, but for the stride.)
            ("pads", NewAttribute::Ints(vec![kernel / 2; 4])),
        ];
        self.then("Conv", path, others, attributes);
    }

    /// Norm and activation of a layer, in their order.
    fn activated(&mut self, layer: &str) -> Result<(), ExportError> {
        match self.recipe.placement {
            Placement::Before => {
                self.norm(layer)?;
                self.activation(layer);
            }
            Placement::After => {
                self.activation(layer);
                self.norm(layer)?;
            }
        }
        Ok(())
    }

    fn activation(&mut self, layer: &str) {
        let (operator, name) = match self.recipe.activation {
            ActivationKind::Sigmoid => ("Sigmoid", "sigmoid"),
            ActivationKind::Tanh => ("Tanh", "tanh"),
            ActivationKind::Relu => ("Relu", "relu"),
        };
        self.then(operator, format!("{layer}.{name}"), vec![], vec![]);
    }

    /// The norm of a layer that has one.
    fn norm(&mut self, layer: &str) -> Result<(), ExportError> {
        let path = format!("{layer}.norm");
        if self.has_norm(&path) { norms::draw(self, &path) } else { Ok(()) }
    }

    fn has_norm(&self, path: &str) -> bool {
        self.tensors.has(&format!("{path}.gamma"))
    }

    /// A residual block, as [`Block`](crate::network::Block) has its order.
    fn block(&mut self, path: &str, stride: usize) -> Result<(), ExportError> {
        let (input, shape) = (self.value(), self.shape);
        let shortcut = format!("{path}.shortcut");
        if self.tensors.has(&format!("{shortcut}.convolution.weight")) {
            self.convolution(&shortcut, stride);
            self.norm(&shortcut)?;
        }
        let past = self.back_to(input);
        self.shape = shape;
        self.convolution(&format!("{path}.first"), stride);
        self.activated(&format!("{path}.first"))?;
        let second = format!("{path}.second");
        self.convolution(&second, 1);
        let is_behind = self.recipe.placement == Placement::After && self.has_norm(&format!("{second}.norm"));
        if is_behind {
            self.activation(&second);
        }
        self.norm(&second)?;
        self.then("Add", format!("{path}.sum"), vec![past], vec![]);
        if !is_behind {
            self.activation(path);
        }
        Ok(())
    }
}
