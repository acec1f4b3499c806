//! Norms in evaluation as nodes of ONNX.

use batchnorm_model::onnx::NewAttribute;

use super::drawing::Drawing;
use super::error::ExportError;
use super::tensors::{floats, ints};
use super::whitening;
use crate::data::Shape;
use crate::network::NormKind;

/// What stands where a variance may be 0 in use, whatever the data of the training.
const ALIKE: &str = "values that are all alike";
const STILL: &str = "channels that never changed";

/// Draws the norm of a path behind the last value.
pub fn draw(drawing: &mut Drawing, path: &str) -> Result<(), ExportError> {
    let norm = Norm { epsilon: epsilon(drawing, path)?, path, drawing };
    let (kind, groups, is_plane) = (norm.drawing.recipe.norm, norm.drawing.recipe.groups, norm.drawing.is_plane);
    match kind {
        NormKind::None => {}
        NormKind::Batch | NormKind::Renorm => norm.batch(),
        NormKind::Layer if is_plane => norm.group(1),
        NormKind::Layer => norm.layer(),
        NormKind::Group => norm.group(groups),
        NormKind::Instance => norm.instance(),
        NormKind::Rms => norm.rms(),
        NormKind::Decorrelated => norm.decorrelated(groups)?,
    }
    Ok(())
}

/// Epsilon as an attribute: the network's, as far as f32 goes.
fn epsilon(drawing: &Drawing, path: &str) -> Result<f32, ExportError> {
    let (epsilon, kind) = (drawing.recipe.epsilon, drawing.recipe.norm);
    let single = epsilon as f32;
    if !single.is_finite() || (epsilon > 0.0 && !single.is_normal()) {
        return Err(ExportError::Epsilon { path: path.to_owned(), epsilon });
    }
    let still = || drawing.tensors.values(&format!("{path}.running_var")).contains(&0.0);
    let what = match kind {
        NormKind::Batch | NormKind::Renorm => Some(STILL).filter(|_| epsilon == 0.0 && still()),
        NormKind::None | NormKind::Decorrelated => None,
        NormKind::Layer | NormKind::Group | NormKind::Instance | NormKind::Rms => {
            Some(ALIKE).filter(|_| epsilon == 0.0)
        }
    };
    what.map_or(Ok(single), |what| Err(ExportError::NoEpsilon { path: path.to_owned(), what }))
}

struct Norm<'d, 'n> {
    drawing: &'d mut Drawing<'n>,
    path: &'d str,
    epsilon: f32,
}

impl Norm<'_, '_> {
    fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.path)
    }

    fn epsilon(&self) -> (&'static str, NewAttribute) {
        ("epsilon", NewAttribute::Float(self.epsilon))
    }

    /// A tensor of the norm under its name in PyTorch, one number a channel in one axis.
    fn flat(&mut self, of_burn: &str, name: &str) -> String {
        let tensor = self.drawing.tensors.named(&self.named(of_burn), self.named(name));
        self.drawing.constant(tensor)
    }

    /// The same, in as many axes as reach all of a channel.
    fn spread(&mut self, of_burn: &str, name: &str) -> String {
        let values = self.drawing.tensors.values(&self.named(of_burn));
        self.drawing.vector(self.named(name), values)
    }

    fn batch(mut self) {
        let mut inputs = vec![self.flat("gamma", "weight"), self.flat("beta", "bias")];
        inputs.extend(["running_mean", "running_var"].map(|name| self.flat(name, name)));
        // (ONNX's is the weight of the old value.)
        let momentum = 1.0 - self.drawing.recipe.weight_of_new;
        let attributes = vec![self.epsilon(), ("momentum", NewAttribute::Float(momentum as f32))];
        self.drawing.then("BatchNormalization", self.path.to_owned(), inputs, attributes);
    }

    fn layer(mut self) {
        let inputs = vec![self.flat("gamma", "weight"), self.flat("beta", "bias")];
        let attributes = vec![("axis", NewAttribute::Int(-1)), self.epsilon()];
        self.drawing.then("LayerNormalization", self.path.to_owned(), inputs, attributes);
    }

    fn instance(mut self) {
        let inputs = vec![self.flat("gamma", "weight"), self.flat("beta", "bias")];
        let attributes = vec![self.epsilon()];
        self.drawing.then("InstanceNormalization", self.path.to_owned(), inputs, attributes);
    }

    /// The groups as instances of one axis, back into their shape, and gamma and beta of each channel.
    fn group(mut self, groups: usize) {
        self.reshape("grouped", vec![0, groups as i64, -1]);
        let [ones, zeros] = [("ones", 1.0), ("zeros", 0.0)]
            .map(|(name, number)| self.drawing.constant(floats(self.named(name), vec![groups], vec![number; groups])));
        let attributes = vec![self.epsilon()];
        self.drawing.then("InstanceNormalization", self.named("normalized"), vec![ones, zeros], attributes);
        self.back();
        let gamma = self.spread("gamma", "weight");
        self.drawing.then("Mul", self.named("scaled"), vec![gamma], vec![]);
        let beta = self.spread("beta", "bias");
        self.drawing.then("Add", self.path.to_owned(), vec![beta], vec![]);
    }

    fn reshape(&mut self, name: &str, shape: Vec<i64>) {
        let shape = self.drawing.constant(ints(format!("{}.{name}.shape", self.path), shape));
        self.drawing.then("Reshape", self.named(name), vec![shape], vec![]);
    }

    /// Back into the shape that the value had.
    fn back(&mut self) {
        let Shape { channels, rows, columns } = self.drawing.shape;
        let lengths: &[usize] = if self.drawing.is_plane { &[0, channels, rows, columns] } else { &[0, channels] };
        self.reshape("back", lengths.iter().map(|&length| length as i64).collect());
    }

    fn rms(mut self) {
        let value = self.drawing.value();
        self.drawing.then("Mul", self.named("square"), vec![value.clone()], vec![]);
        let axes = if self.drawing.is_plane { vec![1, 2, 3] } else { vec![1] };
        let attributes = vec![("axes", NewAttribute::Ints(axes)), ("keepdims", NewAttribute::Int(1))];
        self.drawing.then("ReduceMean", self.named("mean_square"), vec![], attributes);
        let epsilon = floats(self.named("epsilon"), Vec::new(), vec![f64::from(self.epsilon)]);
        let epsilon = self.drawing.constant(epsilon);
        self.drawing.then("Add", self.named("sum"), vec![epsilon], vec![]);
        self.drawing.then("Sqrt", self.named("root"), vec![], vec![]);
        let root = self.drawing.back_to(value);
        self.drawing.then("Div", self.named("normalized"), vec![root], vec![]);
        let gamma = self.spread("gamma", "weight");
        self.drawing.then("Mul", self.path.to_owned(), vec![gamma], vec![]);
    }

    /// The mean taken off, then gamma times the matrix as a convolution of 1 in groups. Rows of a linear map get an axis for it.
    fn decorrelated(mut self, group: usize) -> Result<(), ExportError> {
        let (tensors, channels) = (self.drawing.tensors, self.drawing.shape.channels);
        let values = |name: &str| tensors.values(&format!("{}.{name}", self.path));
        let matrices = whitening::matrices(
            self.path,
            &values("running_covariance"),
            channels,
            group,
            self.drawing.recipe.epsilon,
        )?;
        let gamma = values("gamma");
        let weights = matrices.iter().enumerate().map(|(at, value)| gamma[at / group] * value).collect();
        let mean = self.spread("running_mean", "running_mean");
        self.drawing.then("Sub", self.named("centred"), vec![mean], vec![]);
        let is_plane = self.drawing.is_plane;
        if !is_plane {
            self.reshape("widened", vec![0, channels as i64, 1]);
        }
        let (axes, name) = if is_plane { (2, self.path.to_owned()) } else { (1, self.named("whitened")) };
        let shape = [vec![channels, group], vec![1; axes]].concat();
        let weight = self.drawing.constant(floats(self.named("weight"), shape, weights));
        let bias = self.flat("beta", "bias");
        let attributes = vec![
            ("group", NewAttribute::Int((channels / group) as i64)),
            ("kernel_shape", NewAttribute::Ints(vec![1; axes])),
        ];
        self.drawing.then("Conv", name, vec![weight, bias], attributes);
        if !is_plane {
            let shape = self.drawing.constant(ints(self.named("back.shape"), vec![0, channels as i64]));
            self.drawing.then("Reshape", self.path.to_owned(), vec![shape], vec![]);
        }
        Ok(())
    }
}
