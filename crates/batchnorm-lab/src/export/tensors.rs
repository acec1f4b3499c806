//! The tensors of a network by their paths.

use std::collections::BTreeMap;

use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{NewTensor, NewValues};

use crate::network::{Network, walk};

/// The tensors of a network by their paths, under Burn's names and in its orientation.
pub struct Tensors {
    by_path: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// In the order of the network.
    paths: Vec<String>,
}

impl Tensors {
    pub fn of(network: &Network) -> Tensors {
        let mut tensors = Tensors { by_path: BTreeMap::new(), paths: Vec::new() };
        walk(network, |met| {
            tensors.paths.push(met.path.clone());
            tensors.by_path.insert(met.path.clone(), (met.shape.clone(), met.values()));
        });
        tensors
    }

    /// All paths, in the order of the network.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    pub fn has(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    pub fn shape(&self, path: &str) -> &[usize] {
        &self.get(path).0
    }

    /// # Panics
    /// If there is no tensor of that path, which a network of its recipe has.
    pub fn values(&self, path: &str) -> Vec<f64> {
        self.get(path).1.iter().map(|&value| f64::from(value)).collect()
    }

    fn get(&self, path: &str) -> &(Vec<usize>, Vec<f32>) {
        self.by_path.get(path).unwrap_or_else(|| panic!("a network of its recipe has {path}"))
    }

    /// The weight of a linear map as PyTorch and Gemm have it: a row for each output. (Burn has a column.)
    pub fn linear(&self, path: &str) -> NewTensor {
        let name = format!("{path}.weight");
        let (&[inputs, outputs], values) = (self.shape(&name).as_array().expect("two axes"), self.values(&name));
        let row = |output: usize| values[output..].iter().step_by(outputs).copied();
        let rows = (0..outputs).flat_map(row).collect();
        floats(name, vec![outputs, inputs], rows)
    }

    /// A tensor as it is, under another name.
    pub fn named(&self, path: &str, name: String) -> NewTensor {
        floats(name, self.shape(path).to_vec(), self.values(path))
    }
}

/// A tensor of f32.
pub fn floats(name: String, shape: Vec<usize>, values: Vec<f64>) -> NewTensor {
    NewTensor { name, shape, values: NewValues::Floats(Precision::F32, values) }
}

/// A tensor of i64.
pub fn ints(name: String, values: Vec<i64>) -> NewTensor {
    NewTensor { name, shape: vec![values.len()], values: NewValues::Ints(values) }
}
