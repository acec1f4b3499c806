//! A small network with a skip connection, and numbers for it.
#![allow(dead_code)]

use std::ops::Range;

use batchnorm_model::engine::{Array, Source, Written};
use batchnorm_model::onnx::{Model, NewAttribute, NewModel};
use batchnorm_model::recalibrate::Request;
use batchnorm_model::statistics::{self, Statistics};

use super::support::*;

/// Numbers of samples, all of one shape.
pub struct Numbers {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Numbers {
    pub fn of(samples: usize, shape: &[usize], seed: u64) -> Numbers {
        let count = samples * shape.iter().product::<usize>();
        let values = numbers(count, seed).into_iter().map(|number| (2.0 * number + 0.7) as f32).collect();
        Numbers { shape: shape.to_vec(), values }
    }
}

impl Source for Numbers {
    fn len(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>()
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let length: usize = self.shape.iter().product();
        let shape = std::iter::once(places.len()).chain(self.shape.iter().copied()).collect();
        let values = self.values[places.start * length..places.end * length].to_vec();
        Ok(vec![("x".into(), Array::floats(shape, values))])
    }
}

pub fn request(layers: Vec<usize>) -> Request {
    Request { layers, one_pass: false, batch: 8, mix: None, cut: None, memory: 1 << 30, files: 1 << 30 }
}

pub fn written(file: &[u8]) -> Written {
    let model = Model::read(file).unwrap();
    model.check().unwrap();
    Written::of(&model, file, &|_, _, _| Err("none".into())).unwrap()
}

/// The file with other statistics in some norms, by the places of their nodes.
pub fn with(file: &[u8], changes: &[(usize, Statistics)]) -> Vec<u8> {
    let model = Model::read(file).unwrap();
    let edits = statistics::put(&model, file, &|_, _, _| Err("none".into()), changes).unwrap();
    let mut new = Vec::new();
    edits.write(file, &mut new).unwrap();
    new
}

pub fn conv(name: &str, from: &str, pad: i64) -> batchnorm_model::onnx::NewNode {
    node("Conv", &[from, &format!("{name}.w")], &[name], &[("pads", NewAttribute::Ints(vec![pad; 4]))])
}

/// Conv, norm, ReLU; conv and norm beside a skip connection; a norm of the sum. The norms' inputs are outputs too.
pub fn network() -> NewModel {
    let nodes = vec![
        conv("c1", "x", 1),
        norm("n1", "c1", "b1"),
        node("Relu", &["b1"], &["r1"], &[]),
        conv("c2", "r1", 1),
        norm("n2", "c2", "b2"),
        node("Add", &["b2", "r1"], &["sum"], &[]),
        norm("n3", "sum", "b3"),
        node("Relu", &["b3"], &["y"], &[]),
    ];
    let mut tensors = vec![weights("c1.w", &[4, 3, 3, 3]), weights("c2.w", &[4, 4, 3, 3])];
    ["n1", "n2", "n3"].iter().for_each(|name| tensors.extend(vectors(name, 4)));
    let mut model = model(15, &[-1, 3, 6, 6], nodes, tensors);
    for name in ["c1", "c2", "sum"] {
        model.graph.outputs.push(shapeless(name));
    }
    model
}

pub fn close(one: &Statistics, other: &Statistics, most: f64) {
    for (channel, variance) in other.variance.iter().enumerate() {
        let mean = (one.mean[channel] - other.mean[channel]).abs() / variance.sqrt();
        let ratio = (one.variance[channel] / variance - 1.0).abs();
        assert!(mean < most && ratio < most, "channel {channel}: {mean:e}, {ratio:e}");
    }
}
