//! `batchnorm inspect`, `fold` and `recalibrate`, from outside: files in, tables, JSON and exit codes out.

#[path = "../browser/mod.rs"]
mod browser;
#[path = "../markup/mod.rs"]
mod markup;
#[path = "../../../batchnorm-model/tests/support/mod.rs"]
mod models;
#[path = "../support/mod.rs"]
mod support;

mod conversion;
mod files;
mod findings;
mod fix;
mod fold;
mod gap;
mod guide;
mod recalibrate;
mod runs;
mod shown;

use std::path::Path;

use batchnorm_model::onnx::{NewAttribute as A, NewModel, NewNode};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::Value;

/// A healthy network: Conv, norm, Relu, Conv, norm.
fn healthy() -> NewModel {
    let nodes = vec![
        models::node("Conv", &["x", "w1"], &["a"], &[("pads", A::Ints(vec![1; 4]))]),
        models::norm("bn1", "a", "b"),
        models::node("Relu", &["b"], &["c"], &[]),
        models::node("Conv", &["c", "w2"], &["d"], &[]),
        models::norm("bn2", "d", "y"),
    ];
    let tensors = [models::weights("w1", &[4, 3, 3, 3]), models::weights("w2", &[4, 4, 3, 3])];
    let vectors = ["bn1", "bn2"].map(|name| models::vectors(name, 4));
    let all = tensors.into_iter().chain(vectors.into_iter().flatten()).collect();
    models::model(15, &[-1, 3, 9, 9], nodes, all)
}

fn node_of<'m>(model: &'m mut NewModel, name: &str) -> &'m mut NewNode {
    model.graph.nodes.iter_mut().find(|node| node.name == name).expect("a node of the model")
}

fn set(node: &mut NewNode, name: &str, value: A) {
    node.attributes.retain(|(other, _)| other != name);
    node.attributes.push((name.to_owned(), value));
}

/// Named tensors of f32, and counts, as a safetensors file.
fn weights(floats: &[(&str, Vec<f32>)], counts: &[(&str, i64)]) -> Vec<u8> {
    let of_floats = floats.iter().map(|(name, values)| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        ((*name).to_owned(), Dtype::F32, vec![values.len()], bytes)
    });
    let of_counts =
        counts.iter().map(|(name, count)| ((*name).to_owned(), Dtype::I64, vec![], count.to_le_bytes().to_vec()));
    let owned: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = of_floats.chain(of_counts).collect();
    let views = owned.iter().map(|(name, dtype, shape, bytes)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).expect("bytes of the shape"))
    });
    serialize(views, None).expect("a file")
}

fn json(folder: &Path, file: &str, more: &[&str]) -> Value {
    let arguments: Vec<&str> = ["inspect", file, "--json"].into_iter().chain(more.iter().copied()).collect();
    serde_json::from_str(support::done(&support::run(folder, &arguments))).expect("JSON")
}
