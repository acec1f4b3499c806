//! Trained networks as files that other programs run: models of ONNX, and weights under PyTorch's names.
//!
//! **The graph** is the network in evaluation: norms go by their running statistics, nothing is dropped. It takes `input`, `[N, channels,
//! rows, columns]` of pictures and `[N, features]` of tables, N open, and gives `scores`, `[N, classes]`, before any softmax. Weights and
//! nodes have the paths of the network (`blocks.0.first.norm.running_var`); what comes out of a node is called as the node. Batch norm and batch
//! renormalisation are BatchNormalization, layer norm of rows LayerNormalization, instance norm InstanceNormalization; group norm, and
//! layer norm of planes, which is group norm of one group, are an InstanceNormalization of the groups between two Reshapes, which engines of
//! any age run, with gamma and beta behind it; RMS norm is its formula, and decorrelated batch norm the mean subtracted and a convolution of 1 by the matrix
//! that its running covariance gives.
//!
//! **What pictures went through** is in the metadata, not in the graph: the entry `batchnorm.recipe` says how `v` of 0 to 255 becomes what
//! the graph takes ([`recipe`]). Tables are standardised in the graph: there is no convention of saying it elsewhere.
//! `batchnorm.note` says in words what a recipe cannot; `batchnorm.classes` has the names of the classes as a list of JSON, `batchnorm.network` the
//! network as TOML ([`Recipe`](crate::network::Recipe)).
//!
//! Running variances are those of the network, which averages the sample variance as PyTorch does: both formats take the same numbers.

mod drawing;
mod error;
mod graph;
mod norms;
mod preprocessing;
mod tensors;
mod weights;
mod whitening;

use batchnorm_model::onnx::NewModel;
use batchnorm_model::weights::NewWeights;

pub use error::ExportError;
pub use preprocessing::{CLASSES, NETWORK, NOTE, note, recipe};

use crate::model::Model;
use tensors::Tensors;

/// The version of ONNX's operators that is written: that in which layer norm became one.
pub const OPSET: i64 = 17;
/// A network as a model of ONNX. The same network gives the same bytes.
///
/// ```
/// use batchnorm_lab::{digits, export, model::{Description, Model}, plan::Plan};
/// let data = digits::data();
/// let plan = Plan { steps: 1, ..Plan::of(true) };
/// let training = plan.training(plan.start(&data.summary), 0);
/// let description = Description { data: data.summary, plan, steps_done: 0, test: None, watch: None, beside: None };
/// let onnx = export::to_onnx(&Model::new(description, &training))?;
/// let norm = onnx.graph.nodes.iter().find(|node| node.operator == "BatchNormalization").unwrap();
/// assert_eq!((&*norm.name, &*norm.inputs[4]), ("hidden.0.norm", "hidden.0.norm.running_var"));
/// # Ok::<(), export::ExportError>(())
/// ```
///
/// # Errors
/// A layer that ONNX cannot say, by its path.
pub fn to_onnx(model: &Model) -> Result<NewModel, ExportError> {
    let description = &model.description;
    let graph = graph::of(&description.plan.network, &description.data, &Tensors::of(&model.network))?;
    let metadata = preprocessing::metadata(description, preprocessing::In::Graph);
    Ok(NewModel {
        producer: String::from("batchnorm"),
        producer_version: String::from(env!("CARGO_PKG_VERSION")),
        opset: OPSET,
        graph,
        functions: Vec::new(),
        metadata,
    })
}

/// A network's tensors as a `torch.nn.Module` of the same structure has them in its `state_dict`, with the counts of batches that it asks
/// for: the steps that the network has behind it. Without a graph tables are not standardised in it: the recipe says by what.
///
/// # Errors
/// A norm that PyTorch has no module for, by its path.
pub fn to_safetensors(model: &Model) -> Result<NewWeights, ExportError> {
    let metadata = preprocessing::metadata(&model.description, preprocessing::In::Weights);
    let tensors = weights::of(&model.description, &Tensors::of(&model.network))?;
    Ok(NewWeights { tensors, metadata })
}
